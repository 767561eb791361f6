// Readers of server-sent events and WebSockets that have their messages echoed, many of each, by Deno's own fetch and WebSocket: a program of its
// own for streams_test.ts. Every number must come once, in order. Writes two lines of JSON: when all are open, and what came of them.

const [port, count, messages, everyMs] = Deno.args.map(Number);
const origin = `127.0.0.1:${port}`;

let errors = 0;
let first = "";

function fail(what: string): void {
  errors++;
  first ||= what;
}

/** Counts the numbers of one stream. */
class Numbers {
  next = 0;
  constructor(readonly name: string) {}

  take(text: string): void {
    if (text !== `${this.next}`) fail(`${this.name}: ${text} for ${this.next}`);
    this.next++;
  }

  end(): void {
    if (this.next !== messages) {
      fail(`${this.name} ended after ${this.next} of ${messages}`);
    }
  }
}

async function readEvents(index: number, open: () => void): Promise<void> {
  const numbers = new Numbers(`events ${index}`);
  const answer = await fetch(`http://${origin}/events/${messages}/${everyMs}`);
  open();
  let rest = "";
  for await (const part of answer.body!.pipeThrough(new TextDecoderStream())) {
    const events = (rest + part).split("\n\n");
    rest = events.pop()!;
    for (const event of events) numbers.take(event.replace("data: ", ""));
  }
  numbers.end();
}

function echo(index: number, open: () => void): Promise<void> {
  const numbers = new Numbers(`socket ${index}`);
  const socket = new WebSocket(`ws://${origin}/echo`);
  let timer: ReturnType<typeof setInterval> | undefined;
  let sent = 0;
  const send = () => {
    socket.send(`${sent++}`);
    if (sent === messages) clearInterval(timer);
  };
  return new Promise((resolve) => {
    socket.onopen = () => {
      open();
      timer = setInterval(send, everyMs);
    };
    socket.onmessage = ({ data }) => {
      numbers.take(data);
      if (numbers.next === messages) socket.close(1000);
    };
    socket.onerror = (event) =>
      fail(`socket ${index}: ${(event as ErrorEvent).message}`);
    socket.onclose = ({ code }) => {
      clearInterval(timer);
      if (code !== 1000) fail(`socket ${index} closed with ${code}`);
      numbers.end();
      resolve();
    };
  });
}

let opened = 0;
const open = () => {
  if (++opened === 2 * count) console.log(JSON.stringify({ opened }));
};
const ends: Promise<void>[] = [];
for (let i = 0; i < count; i++) {
  ends.push(
    readEvents(i, open).catch((error) => fail(`events ${i}: ${error}`)),
    echo(i, open),
  );
  if (i % 20 === 19) await new Promise((resolve) => setTimeout(resolve, 5)); // not all in the same moment
}
await Promise.all(ends);
console.log(JSON.stringify({ streams: 2 * count, messages, errors, first }));
