// A gateway in a process of its own, for what is told by a process: memory, threads, descriptors, signals. Started by child.ts; commands are
// lines on standard input, answers lines on standard output.

import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import {
  defineGateway,
  type GatewayOptions,
  proxy,
  respond,
  upgradeWebSocket,
} from "sluice";

interface Start {
  options: GatewayOptions;
  /** Where /up goes; empty: this one is an upstream itself. */
  upstream: string;
  /** Connections to it. */
  pool?: { connsMax?: number; connectTimeoutMs?: number };
}

const { options, upstream, pool }: Start = JSON.parse(Deno.args[0]);
const { error } = console;
console.error = (...values: unknown[]) => { // handlers whose clients have gone are part of the tests
  if ((values[0] as Error)?.name !== "AbortError") error(...values);
};
const MIB = 1 << 20;
const app = new Hono();
app.get("/native", respond("native"));
app.post("/native", respond("native"));
app.get("/native/mib", respond("n".repeat(MIB)));
app.get("/ts/:id", (c) => c.text(`ts ${c.req.param("id")}`));
app.get("/ts/mib/:id", (c) => {
  let left = 64;
  const part = new Uint8Array(MIB / 64).fill(116);
  return c.body(
    new ReadableStream({
      pull(controller) {
        if (left-- === 0) controller.close();
        else controller.enqueue(part);
      },
    }),
  );
});
app.get("/fields", (c) => {
  const { "user-agent": agent } = c.req.header();
  return c.json({ agent, host: c.req.header("host"), q: c.req.query("q") });
});
app.post("/text", async (c) => c.text(String((await c.req.text()).length)));
app.post("/bytes", async (c) => c.body(await c.req.arrayBuffer()));
app.post("/piped", (c) => new Response(c.req.raw.body));
app.get("/streamed", (c) => {
  let left = 3;
  return c.body(
    new ReadableStream({
      pull(controller) {
        if (left-- === 0) controller.close();
        else controller.enqueue(new Uint8Array(1000));
      },
    }),
  );
});
app.get("/later", async (c) => {
  await new Promise((resolve) => setTimeout(resolve, 1));
  return c.text("later");
});
app.get("/events/:count/:everyMs", (c) => {
  const { count, everyMs } = c.req.param();
  return streamSSE(c, async (stream) => {
    for (let i = 0; i < Number(count); i++) {
      await stream.sleep(Number(everyMs));
      await stream.writeSSE({ data: `${i}` });
    }
  });
});
app.get(
  "/echo",
  upgradeWebSocket(() => ({
    onMessage: ({ data }, ws) => ws.send(data as string),
  })),
);
if (upstream) app.all("/up/*", proxy(upstream, pool));
else {
  app.get("/up/mib", respond("u".repeat(MIB)));
  app.post(
    "/up/text",
    async (c) => c.text(String((await c.req.text()).length)),
  );
  app.all("/up/*", respond("up"));
}

const gateway = defineGateway(app, {
  workers: 1,
  listeners: [{ address: "127.0.0.1:0" }],
  ...options,
});
const { addresses } = await gateway.start();
const say = (value: unknown) => console.log(JSON.stringify(value));
say(addresses.map(({ port }) => port));

const gc = (globalThis as { gc?: () => void }).gc;
const commands: Record<string, () => unknown> = {
  cut: () => gateway.close({ deadlineMs: 1 }).then(() => "cut"),
  stats: () => gateway.stats(),
  heap: async () => {
    for (let i = 0; i < 4; i++) { // what one collection finalizes is free after the next
      gc!();
      await new Promise((resolve) => setTimeout(resolve));
    }
    return Deno.memoryUsage().heapUsed;
  },
};
let rest = "";
for await (
  const part of Deno.stdin.readable.pipeThrough(new TextDecoderStream())
) {
  const lines = (rest + part).split("\n");
  rest = lines.pop()!;
  for (const line of lines) say(await commands[line]());
}
await gateway.close({ deadlineMs: 2000 });
