/**
 * What end-to-end tests share: gateways in this process and as the real command, a raw client, a scripted upstream. Everything
 * listens on port 0, and every wait has a bound: nothing here sleeps to let something happen.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import net from "node:net";
import {
  type App,
  defineGateway,
  type Gateway,
  type GatewayOptions,
} from "sluice";

/** How long anything may take before its test fails. */
export const WAIT_MS = 10_000;

const encoder = new TextEncoder();

/** The repository's folder. */
export const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname)
  .replace(/\/$/, "");

/** The result of `promise`, or a failure that says what did not come in time. */
export async function within<T>(
  promise: PromiseLike<T>,
  what: string | (() => string),
  ms = WAIT_MS,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const text = typeof what === "string" ? what : what();
      reject(new Error(`after ${ms} ms still waiting for ${text}`));
    }, ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until the answer is true: for states that nobody announces. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  ms = WAIT_MS,
): Promise<void> {
  const end = performance.now() + ms;
  while (!await holds()) {
    if (performance.now() > end) {
      throw new Error(`after ${ms} ms it still does not hold: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Bytes as text, one character each. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    "latin1",
  );
}

/** The I/O backend that this run of the suite is about. */
export function ioUnderTest(): "auto" | "uring" | "epoll" {
  return (Deno.env.get("SLUICE_IO") || "auto") as "auto" | "uring" | "epoll";
}

// ---- Connections, byte by byte

/** A head as it came, and its fields. */
export class Head {
  /** The status line or request line. */
  readonly line: string;
  /** In the order in which they came; names in lower case. */
  readonly fields: [string, string][];

  /** `text`: up to the blank line, without it. */
  constructor(readonly text: string) {
    const [line, ...fields] = text.split("\r\n");
    this.line = line;
    this.fields = fields.map((field) => {
      const colon = field.indexOf(":");
      return [
        field.slice(0, colon).toLowerCase(),
        field.slice(colon + 1).trim(),
      ];
    });
  }

  /** A field's value; several of one name are joined by ", ". */
  get(name: string): string | undefined {
    const values = this.all(name);
    return values.length > 0 ? values.join(", ") : undefined;
  }

  all(name: string): string[] {
    return this.fields.filter(([other]) => other === name).map(([, value]) =>
      value
    );
  }
}

/** A whole answer as it came over the wire. */
export interface RawAnswer {
  status: number;
  head: Head;
  body: Uint8Array;
  /** The body as UTF-8. */
  text: string;
  /** Trailer fields, as text. */
  trailers: string;
}

/** A whole request as an upstream got it. */
export interface RawRequest {
  method: string;
  target: string;
  head: Head;
  body: Uint8Array;
}

/** Both ends of a connection as tests use them: bytes in, bytes out. */
export class Wire {
  #pull: () => Promise<Uint8Array | null>;
  #buffer: Uint8Array = new Uint8Array();

  /** `pull` gives the next bytes, or null at the end; it throws if the connection was reset. */
  constructor(pull: () => Promise<Uint8Array | null>) {
    this.#pull = pull;
  }

  /** How long a head may be waited for; 0: as long as the connection lasts. */
  protected headWaitMs = WAIT_MS;

  async #more(what: string, waitMs = WAIT_MS): Promise<boolean> {
    const part = waitMs === 0 ? await this.#pull() : await within(
      this.#pull(),
      () => `${what}; so far: ${show(this.#buffer)}`,
      waitMs,
    );
    if (part === null) return false;
    this.#buffer = this.#buffer.length === 0
      ? part
      : concat([this.#buffer, part]);
    return true;
  }

  #take(count: number): Uint8Array {
    const taken = this.#buffer.subarray(0, count);
    this.#buffer = this.#buffer.subarray(count);
    return taken;
  }

  /** The next bytes, as many as come together; null at the end. */
  async read(): Promise<Uint8Array | null> {
    if (this.#buffer.length === 0 && !await this.#more("bytes")) return null;
    return this.#take(this.#buffer.length);
  }

  /** Exactly so many bytes. */
  async readBytes(count: number): Promise<Uint8Array> {
    if (this.#buffer.length >= count) return this.#take(count);
    const parts = [this.#take(this.#buffer.length)];
    for (let left = count - parts[0].length; left > 0;) {
      const part = await this.read();
      if (part === null) {
        throw new Error(`the connection ended ${left} bytes before ${count}`);
      }
      if (part.length > left) this.#buffer = part.subarray(left);
      parts.push(part.subarray(0, left));
      left -= parts[parts.length - 1].length;
    }
    return concat(parts);
  }

  /** Text up to and with `end`. */
  async readUntil(end: string): Promise<string> {
    for (let from = 0;;) {
      const at = Buffer.from(
        this.#buffer.buffer,
        this.#buffer.byteOffset,
        this.#buffer.length,
      )
        .indexOf(end, from, "latin1");
      if (at >= 0) return latin1(this.#take(at + end.length));
      from = Math.max(0, this.#buffer.length - end.length);
      if (!await this.#more(JSON.stringify(end))) {
        throw new Error(
          `the connection ended before ${JSON.stringify(end)}: ${
            show(this.#buffer)
          }`,
        );
      }
    }
  }

  /** All that comes until the other side ends the connection. A reset throws. */
  async readAll(): Promise<string> {
    return latin1(await this.readRest());
  }

  /** As `readAll`, as bytes. */
  async readRest(): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (
      let part = await this.read();
      part !== null;
      part = await this.read()
    ) parts.push(part);
    return concat(parts);
  }

  /** The next head; undefined if the connection ends before its first byte. */
  async readHead(): Promise<Head | undefined> {
    if (
      this.#buffer.length === 0 && !await this.#more("a head", this.headWaitMs)
    ) {
      return undefined;
    }
    return new Head((await this.readUntil("\r\n\r\n")).slice(0, -4));
  }

  async readChunks(): Promise<{ body: Uint8Array; trailers: string }> {
    const parts: Uint8Array[] = [];
    for (;;) {
      const size = parseInt(await this.readUntil("\r\n"), 16);
      if (!(size >= 0)) throw new Error("not the size of a chunk");
      if (size === 0) break;
      parts.push(await this.readBytes(size));
      if (await this.readUntil("\r\n") !== "\r\n") {
        throw new Error("no CRLF behind a chunk");
      }
    }
    let trailers = "";
    for (let line = ""; line !== "\r\n"; trailers += line) {
      line = await this.readUntil("\r\n");
    }
    return { body: concat(parts), trailers: trailers.slice(0, -2) };
  }
}

/** A client that sends what it is told, byte by byte. */
export class RawClient extends Wire {
  #conn: Deno.Conn;
  #closed = false;

  constructor(conn: Deno.Conn) {
    const chunk = new Uint8Array(65536);
    super(async () => {
      const count = await conn.read(chunk);
      return count === null ? null : chunk.slice(0, count);
    });
    this.#conn = conn;
  }

  /** Sends all of it. */
  async send(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? encoder.encode(data) : data;
    for (let at = 0; at < bytes.length;) {
      at += await within(this.#conn.write(bytes.subarray(at)), "room to send");
    }
  }

  /** The next final answer; interim ones are skipped. `toHead`: it answers a HEAD. */
  async readAnswer(options: { toHead?: boolean } = {}): Promise<RawAnswer> {
    for (;;) {
      const head = await this.readHead();
      if (head === undefined) {
        throw new Error("the connection ended before an answer");
      }
      const status = Number(/^HTTP\/1\.1 (\d{3})(?: |$)/.exec(head.line)?.[1]);
      if (!status) {
        throw new Error(`not a status line: ${JSON.stringify(head.line)}`);
      }
      if (status < 200) continue;
      const { body, trailers } = await this.#readBody(
        status,
        head,
        options.toHead ?? false,
      );
      return {
        status,
        head,
        body,
        text: new TextDecoder().decode(body),
        trailers,
      };
    }
  }

  async #readBody(
    status: number,
    head: Head,
    toHead: boolean,
  ): Promise<{ body: Uint8Array; trailers: string }> {
    const length = head.get("content-length");
    const isChunked = head.get("transfer-encoding") === "chunked";
    if (toHead || status === 204 || status === 304) {
      return { body: new Uint8Array(), trailers: "" };
    }
    if (isChunked) {
      if (length !== undefined) {
        throw new Error("an answer with a length and chunks");
      }
      return await this.readChunks();
    }
    const body = length === undefined
      ? await this.readRest()
      : await this.readBytes(Number(length));
    return { body, trailers: "" };
  }

  /** Sends a request and reads its answer. */
  async ask(
    request: string,
    options: { toHead?: boolean } = {},
  ): Promise<RawAnswer> {
    await this.send(request);
    return await this.readAnswer(options);
  }

  /** Says that nothing more will be sent. */
  async closeWrite(): Promise<void> {
    await (this.#conn as Deno.TcpConn).closeWrite();
  }

  close(): void {
    if (!this.#closed) this.#conn.close();
    this.#closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Connects a raw client to a port of 127.0.0.1. */
export async function rawClient(port: number): Promise<RawClient> {
  return new RawClient(
    await within(Deno.connect({ hostname: "127.0.0.1", port }), "a connection"),
  );
}

// ---- Gateways

/** That the books of a closed gateway balance, whatever its test was about; native tests have the same in native/tests/balance.h. */
export function assertNothingLeft(stats: ReturnType<Gateway["stats"]>): void {
  const sums = {
    io_ops: stats.io_ops_done + stats.io_ops_armed,
    io_bufs: stats.io_bufs_free + stats.io_bufs_kernel + stats.io_bufs_lent,
    io_slots: stats.io_slots_free + stats.io_slots_live,
    conns_accepted: stats.conns_closed + stats.conns_live,
  };
  const { io_ops, io_bufs, io_slots, conns_accepted } = stats;
  assertEquals({ io_ops, io_bufs, io_slots, conns_accepted }, sums);
  const empty = [
    ...["conns_live", "requests_live", "exchanges_live", "upgrades_live"],
    ...["io_slots_live"],
    ...["io_ops_armed", "io_bufs_lent", "io_starved"],
    ...["io_stale_cqes", "io_kernel_threads", "bad_verdicts"],
    ...["certs_compressed_late"],
  ] as Exclude<keyof typeof stats, "byStatus" | "connsByWorker">[];
  const left = empty.filter((name) => stats[name] !== 0)
    .map((name) => `${name} ${stats[name]}`);
  assertEquals(left, []);
}

/** A gateway in this process. */
export interface RunningGateway extends AsyncDisposable {
  gateway: Gateway;
  /** What its start told. */
  warnings: string[];
  /** Of the first listener. */
  port: number;
  ports: number[];
  /** `http://127.0.0.1:PORT` of the first listener. */
  base: string;
  /** A raw client of the first listener. */
  connect(): Promise<RawClient>;
  /** Drains and closes, and asserts that nothing was left over. */
  stop(): Promise<void>;
}

/** Starts a gateway in this process, with one worker and on a free port if the options say nothing else. */
export async function startGateway(
  app: App,
  options: GatewayOptions = {},
): Promise<RunningGateway> {
  const gateway = defineGateway(app, {
    listeners: [{ address: "127.0.0.1:0" }],
    workers: 1,
    io: ioUnderTest(),
    ...options,
  });
  const { addresses, warnings } = await within(
    gateway.start(),
    "the gateway's start",
  );
  const ports = addresses.map((address) => address.port);
  const scheme = gateway.options.listeners?.[0].tls ? "https" : "http";
  const stop = async () => {
    await within(gateway.close({ deadlineMs: 2000 }), "the gateway's end");
    assertNothingLeft(gateway.stats());
  };
  return {
    gateway,
    warnings,
    port: ports[0],
    ports,
    base: `${scheme}://127.0.0.1:${ports[0]}`,
    connect: () => rawClient(ports[0]),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** How the command is run. */
export interface CommandOptions {
  /** The folder where the user types it. @default a new empty one */
  folder?: string;
  env?: Record<string, string>;
  /** A program in front of the command, with its arguments. */
  through?: string[];
  /** The module says where to listen. @default on a free port, if no word of the command says where */
  ownListeners?: boolean;
  /** Go through `deno task` itself, as users do; else what the task runs is started. */
  task?: boolean;
}

/** How a command ended. */
export interface CommandResult {
  code: number;
  out: string;
  err: string;
}

/** Words of the command line that `deno task start gateway` stands for. */
export function startWords(args: readonly string[], task = false): string[] {
  if (task) {
    const config = ["--config", `${ROOT}/deno.json`];
    return [Deno.execPath(), "task", ...config, "start", "gateway", ...args];
  }
  const permissions = ["read", "write", "env", "run"].map((name) =>
    `--allow-${name}`
  );
  const run = [Deno.execPath(), "run", "--no-config", ...permissions];
  return [...run, `${ROOT}/tools/start.ts`, "gateway", ...args];
}

// Text that a process writes, searchable while it comes.
class Output {
  text = "";
  readonly ended: Promise<void>;
  #waiting = new Set<() => void>();

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.ended = this.#read(stream);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const part of stream.pipeThrough(new TextDecoderStream())) {
      this.text += part;
      this.#tell();
    }
    this.#isOver = true;
    this.#tell();
  }

  #isOver = false;

  #tell(): void {
    for (const tell of this.#waiting) tell();
    this.#waiting.clear();
  }

  async match(pattern: RegExp, ms: number): Promise<RegExpExecArray> {
    const find = async () => {
      for (;;) {
        const found = pattern.exec(this.text);
        if (found) return found;
        if (this.#isOver) {
          throw new Error(`it ended without ${pattern}:\n${this.text}`);
        }
        await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
    };
    return await within(find(), () => `${pattern} in:\n${this.text}`, ms);
  }
}

/** The command while it runs. */
export class RunningCommand implements AsyncDisposable {
  #child: Deno.ChildProcess;
  #out: Output;
  #err: Output;
  #cleanUp: () => Promise<void>;
  /** The gateway's own process, as it says: the child of the one that was started. */
  pid = 0;
  /** Ports in the order of the command line, HTTP first. */
  ports: number[] = [];

  constructor(child: Deno.ChildProcess, cleanUp: () => Promise<void>) {
    this.#child = child;
    this.#out = new Output(child.stdout);
    this.#err = new Output(child.stderr);
    this.#cleanUp = cleanUp;
  }

  /** The process that was started; its child is the gateway. */
  get taskPid(): number {
    return this.#child.pid;
  }

  get port(): number {
    return this.ports[0];
  }

  get base(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** What it has written to standard error until now. */
  get err(): string {
    return this.#err.text;
  }

  /** What it has written to standard output until now. */
  get out(): string {
    return this.#out.text;
  }

  /** Waits for text on standard error. */
  async says(pattern: RegExp, ms = WAIT_MS): Promise<RegExpExecArray> {
    return await this.#err.match(pattern, ms);
  }

  /** Waits for text on standard output. */
  async prints(pattern: RegExp, ms = WAIT_MS): Promise<RegExpExecArray> {
    return await this.#out.match(pattern, ms);
  }

  async ready(): Promise<void> {
    this.pid = Number((await this.says(/^sluice: pid (\d+)/m, 2 * WAIT_MS))[1]);
    const [line] = await this.says(/^sluice: ready .*\n/m, 2 * WAIT_MS);
    this.ports = Array.from(
      line.matchAll(/https?:\/\/\S+:(\d+)/g),
      ([, port]) => Number(port),
    );
  }

  connect(): Promise<RawClient> {
    return rawClient(this.port);
  }

  /** Sends a signal to the gateway's own process. */
  kill(signal: Deno.Signal): void {
    Deno.kill(this.pid, signal);
  }

  /** Waits for its end. */
  async end(ms = WAIT_MS): Promise<CommandResult> {
    const { code } = await within(
      this.#child.status,
      () => `the command's end; it says:\n${this.err}`,
      ms,
    );
    await within(
      Promise.all([this.#out.ended, this.#err.ended]),
      "the end of its output",
    );
    await this.#cleanUp();
    return { code, out: this.out, err: this.err };
  }

  /** SIGTERM, and its end. */
  async stop(): Promise<CommandResult> {
    this.kill("SIGTERM");
    return await this.end();
  }

  // After a failed test, or after `stop`: nothing may stay behind.
  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of [this.pid, this.#child.pid]) {
      try {
        if (pid) Deno.kill(pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    }
    await this.end();
  }
}

async function spawn(
  words: readonly string[],
  options: CommandOptions,
): Promise<RunningCommand> {
  const home = await Deno.makeTempDir({ prefix: "sluice-e2e-" });
  const folder = options.folder ?? `${home}/folder`;
  await Deno.mkdir(folder, { recursive: true });
  const all = [...options.through ?? [], ...words];
  const child = new Deno.Command(all[0], {
    args: all.slice(1),
    cwd: folder,
    env: {
      NO_COLOR: "1",
      INIT_CWD: folder,
      XDG_STATE_HOME: `${home}/state`,
      ...options.env,
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let isThere = true;
  return new RunningCommand(child, async () => {
    if (isThere) await Deno.remove(home, { recursive: true });
    isThere = false;
  });
}

/** Starts the real command line on a free port (if `args` name none) and waits until it is ready. */
export async function startCommand(
  args: readonly string[] = [],
  options: CommandOptions = {},
): Promise<RunningCommand> {
  const hasAddress = options.ownListeners ||
    args.some((word) => /^--https?(?:=|$)/.test(word));
  const command = await spawn(
    startWords(
      hasAddress ? args : [...args, "--http", "127.0.0.1:0"],
      options.task,
    ),
    options,
  );
  try {
    await command.ready();
  } catch (error) {
    await command[Symbol.asyncDispose]();
    throw error;
  }
  return command;
}

/** Runs the real command line, which is expected to end by itself. */
export async function runCommand(
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  await using command = await spawn(startWords(args, options.task), options);
  return await command.end(2 * WAIT_MS);
}

/** Runs a program to its end, whatever its exit code. */
export async function runProgram(
  command: readonly string[],
  options: { input?: string; folder?: string; env?: Record<string, string> } =
    {},
): Promise<CommandResult> {
  const child = new Deno.Command(command[0], {
    args: command.slice(1),
    cwd: options.folder,
    env: options.env,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  writer.write(encoder.encode(options.input ?? "")).then(() => writer.close())
    .catch(() => {});
  try {
    const { code, stdout, stderr } = await within(
      child.output(),
      command.join(" "),
    );
    return { code, out: latin1(stdout), err: latin1(stderr) };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

/** A folder with these files, that goes away at the end. */
export async function folderOf(
  files: Record<string, string>,
): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "sluice-folder-" });
  for (const [name, text] of Object.entries(files)) {
    const file = `${path}/${name}`;
    await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(file, text);
  }
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** A certificate for 127.0.0.1 that signs itself, or a CA's, and its key. */
export async function certificate(
  ca = false,
): Promise<{ cert: string; key: string }> {
  const folder = await Deno.makeTempDir();
  const words =
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:${
      ca ? "TRUE" : "FALSE"
    }`;
  await runProgram(["openssl", ...words.split(" ")], { folder });
  const [cert, key] = await Promise.all([
    Deno.readTextFile(`${folder}/c`),
    Deno.readTextFile(`${folder}/k`),
  ]);
  await Deno.remove(folder, { recursive: true });
  return { cert, key };
}

// ---- A scripted upstream

/** One connection of an upstream, as its script sees it. */
export class UpstreamConn extends Wire {
  protected override headWaitMs = 0; // pooled connections wait for their next request, until stop() at the latest
  #socket: net.Socket;

  constructor(socket: net.Socket) {
    const parts: (Uint8Array | null | Error)[] = [];
    let waiting: (() => void) | undefined;
    const add = (part: Uint8Array | null | Error) => {
      parts.push(part);
      if (part) socket.pause(); // one part ahead of the script: what it does not read stays in the kernel
      waiting?.();
    };
    socket.on("data", add).on("end", () => add(null)).on("error", add).on(
      "close",
      () => add(null),
    );
    super(async () => {
      if (parts.length === 0) {
        await new Promise<void>((resolve) => {
          waiting = resolve;
          socket.resume();
        });
      }
      const part = parts[0];
      if (part instanceof Error) throw part;
      if (part !== null) parts.shift();
      return part;
    });
    this.#socket = socket;
  }

  /** The next request with its body; undefined if the connection ends before one. */
  async readRequest(): Promise<RawRequest | undefined> {
    const head = await this.readHead();
    if (head === undefined) return undefined;
    const [method, target] = head.line.split(" ");
    const length = Number(head.get("content-length") ?? 0);
    const body = head.get("transfer-encoding") === "chunked"
      ? (await this.readChunks()).body
      : await this.readBytes(length);
    return { method, target, head, body };
  }

  /** Sends all of it; waits while the other side does not read. */
  async send(data: string | Uint8Array): Promise<void> {
    if (this.#socket.write(data)) return;
    await within(
      new Promise<void>((resolve, reject) => {
        this.#socket.once("drain", resolve).once(
          "close",
          () => reject(new Error("closed")),
        );
      }),
      "room to send",
    );
  }

  /** Ends in order, after what was sent. */
  end(): void {
    this.#socket.end();
  }

  /** Ends by a reset. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }
}

/** An upstream that does what a script says. */
export interface Upstream extends AsyncDisposable {
  port: number;
  url: string;
  /** Connections that it has accepted. */
  conns: number;
  /** Ends all connections and waits for the scripts; what one has thrown is thrown here. */
  stop(): Promise<void>;
}

/** Starts an upstream: `script` runs once for each connection, `index` counts them; it ends in order when the script returns. */
export async function startUpstream(
  script: (conn: UpstreamConn, index: number) => Promise<void>,
): Promise<Upstream> {
  const sockets = new Set<net.Socket>();
  const scripts: Promise<void>[] = [];
  let isStopping = false;
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    const conn = new UpstreamConn(socket);
    const run = script(conn, upstream.conns++).then(
      () => conn.end(),
      (error) => {
        socket.destroy();
        if (!isStopping) throw error;
      },
    );
    run.catch(() => {}); // stop() tells
    scripts.push(run);
  });
  await within(
    new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)),
    "the upstream's port",
  );
  const { port } = server.address() as net.AddressInfo;
  const stop = async () => {
    isStopping = true;
    for (const socket of sockets) socket.destroy();
    await within(
      new Promise<unknown>((resolve) => server.close(resolve)),
      "the upstream's end",
    );
    await within(Promise.all(scripts), "the upstream's scripts");
  };
  let stopped: Promise<void> | undefined;
  const once = () => stopped ??= stop();
  const upstream: Upstream = {
    port,
    url: `http://127.0.0.1:${port}`,
    conns: 0,
    stop: once,
    [Symbol.asyncDispose]: once,
  };
  return upstream;
}

/** A script that answers every request of a connection with what `answer` makes of it. */
export function answering(
  answer: (request: RawRequest, index: number) => string | Uint8Array,
): (conn: UpstreamConn) => Promise<void> {
  let count = 0;
  return async (conn) => {
    for (
      let request = await conn.readRequest();
      request;
      request = await conn.readRequest()
    ) {
      await conn.send(answer(request, count++));
    }
  };
}

// ---- Small things

function concat(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function show(bytes: Uint8Array): string {
  const text = JSON.stringify(latin1(bytes.subarray(0, 300)));
  return bytes.length > 300 ? `${text} and more, ${bytes.length} bytes` : text;
}
