// What a signal does to a gateway under load: every request that was sent gets its whole answer, and nobody new is let in.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  answering,
  folderOf,
  type RawClient,
  rawClient,
  type RunningCommand,
  startCommand,
  startUpstream,
  until,
  within,
} from "./support.ts";

const CLIENTS = 64;
const VISITORS = 8;
// `SLUICE_SOAK=1` repeats what an issue asks for twenty times; a test run does so thrice.
const SIGNALS = Deno.env.get("SLUICE_SOAK") ? 20 : 3;

function moduleText(upstream: string, drainMs = 30_000): string {
  return `
import { Hono } from "hono";
import { defineGateway, proxy, respond } from "sluice";
const app = new Hono();
app.get("/native", respond("native"));
app.get("/name/:name", (c) => c.text(c.req.param("name")));
app.all("/up/*", proxy(${JSON.stringify(upstream)}));
app.get("/spin", () => { for (;;); });
app.get("/endless", (c) => c.body(new ReadableStream({
  start(controller) { controller.enqueue(new TextEncoder().encode("begun")); },
})));
export default defineGateway(app, { limits: { drainMs: ${drainMs} } });
`;
}

async function startModule(
  upstream: string,
  drainMs?: number,
): Promise<AsyncDisposable & { command: RunningCommand }> {
  const folder = await folderOf({ "app.ts": moduleText(upstream, drainMs) });
  try {
    const command = await startCommand(["app.ts"], { folder: folder.path });
    return {
      command,
      async [Symbol.asyncDispose]() {
        await command[Symbol.asyncDispose]();
        await folder[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: drain\r\n\r\n`;

// What one client of the load has seen.
interface Account {
  answered: number;
  /** Requests whose head had left before the signal, and that have no whole answer. */
  lost: string[];
  /** Resets and broken answers, whenever they came. */
  broken: string[];
}

// One request after the other on one connection until the gateway says that it closes.
async function load(
  client: RawClient,
  number: number,
  signal: { at: number },
): Promise<Account> {
  const account: Account = { answered: 0, lost: [], broken: [] };
  for (let i = 0;; i++) {
    const name = `${number}-${i}`;
    const [path, body] = [
      ["/native", "native"],
      [`/name/${name}`, name],
      [`/up/${name}`, `/up/${name}`],
    ][(number + i) % 3];
    let sentAt = Infinity;
    try {
      await client.send(get(path));
      sentAt = performance.now();
      const answer = await client.readAnswer();
      assertEquals([answer.status, answer.text], [200, body]);
      account.answered++;
      if (answer.head.get("connection") === "close") break;
    } catch (error) {
      const text = `${path}: ${(error as Error).message}`;
      if (sentAt < signal.at) account.lost.push(text);
      // An end instead of an answer is what a client must expect that sends after the signal; a reset or half an answer is not.
      if (!text.endsWith("the connection ended before an answer")) {
        account.broken.push(text);
      }
      break;
    }
  }
  client.close();
  return account;
}

// One connection after the other, each for one request, until connects are refused.
async function visit(port: number, signal: { at: number }): Promise<Account> {
  const account: Account = { answered: 0, lost: [], broken: [] };
  for (let i = 0;; i++) {
    let sentAt = Infinity;
    try {
      using client = await rawClient(port);
      await client.send(get("/native"));
      sentAt = performance.now();
      assertEquals((await client.readAnswer()).text, "native");
      account.answered++;
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionRefused) return account;
      const text = `visit ${i}: ${error}`;
      if (sentAt < signal.at) account.lost.push(text);
      account.broken.push(text);
      return account;
    }
  }
}

async function isRefused(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return false;
  } catch (error) {
    assert(error instanceof Deno.errors.ConnectionRefused, String(error));
    return true;
  }
}

// Sends SIGTERM and waits until the workers have heard of it. A SYN in the moment before is dropped, and comes again after a second: no
// attempt is waited for so long.
async function terminate(command: RunningCommand): Promise<void> {
  command.kill("SIGTERM");
  let refused = false;
  await until("connects are refused", () => {
    if (!refused) {
      isRefused(command.port).then((is) => {
        refused ||= is;
      }, () => {});
    }
    return refused;
  });
}

describe("drain", () => {
  for (let round = 1; round <= SIGNALS; round++) {
    it(`SIGTERM under load of ${CLIENTS} clients answers every request that was sent, round ${round}`, async () => {
      await using upstream = await startUpstream(
        answering(({ target }) =>
          `HTTP/1.1 200 OK\r\nContent-Length: ${target.length}\r\n\r\n${target}`
        ),
      );
      await using running = await startModule(upstream.url);
      const { command } = running;
      const signal = { at: Infinity };
      const clients = await Promise.all(
        Array.from({ length: CLIENTS }, () => command.connect()),
      );
      const loads = clients.map((client, i) => load(client, i, signal));
      for (let i = 0; i < VISITORS; i++) {
        loads.push(visit(command.port, signal));
      }
      // Another moment in each round, and all clients in the middle of something.
      await new Promise((resolve) => setTimeout(resolve, 300 + 37 * round));
      signal.at = performance.now();
      command.kill("SIGTERM");
      await command.says(/SIGTERM: draining/);
      const accounts = await within(Promise.all(loads), "the clients' ends");
      assert(await isRefused(command.port), "connects are still accepted");
      const { code, err } = await command.end();
      const lost = accounts.flatMap((account) => account.lost);
      const broken = accounts.flatMap((account) => account.broken);
      assertEquals({ lost, broken, code }, { lost: [], broken: [], code: 0 });
      const answered = accounts.reduce((sum, a) => sum + a.answered, 0);
      assert(answered > 10 * CLIENTS, `only ${answered} answers: no load`);
      assert(accounts.every((account) => account.answered > 0));
      assertMatch(err, /closed after \d+ answers on \d+ connections/);
    });
  }

  it("lets a connection that idles send one more request, answers it with close, and ends", async () => {
    await using running = await startModule("http://127.0.0.1:9");
    const { command } = running;
    using client = await command.connect();
    assertEquals((await client.ask(get("/native"))).status, 200);
    await terminate(command);
    const answer = await client.ask(get("/name/last"));
    assertEquals([answer.text, answer.head.get("connection")], [
      "last",
      "close",
    ]);
    assertEquals(await client.readAll(), "");
    client.close();
    assertEquals((await command.end()).code, 0);
  });

  it("answers every request of a pipeline that was sent, and says close with the last", async () => {
    const drained = Promise.withResolvers<void>();
    await using upstream = await startUpstream(async (conn) => {
      await conn.readRequest();
      await drained.promise;
      await conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
    });
    await using running = await startModule(upstream.url);
    const { command } = running;
    using client = await command.connect();
    await client.send(
      get("/up/first") + get("/name/second") + get("/native"),
    );
    await until("the first request is there", () => upstream.conns > 0);
    await terminate(command);
    drained.resolve();
    const texts = [];
    for (let i = 0; i < 3; i++) texts.push((await client.readAnswer()).text);
    assertEquals(texts, ["first", "second", "native"]);
    assertEquals(await client.readAll(), "");
    client.close();
    assertEquals((await command.end()).code, 0);
  });

  it("finishes an answer that streams, and does not wait for its idle connection after it", async () => {
    const drained = Promise.withResolvers<void>();
    await using upstream = await startUpstream(async (conn) => {
      await conn.readRequest();
      await conn.send("HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n");
      await conn.send("a".repeat(200_000));
      await drained.promise;
      await conn.send("b".repeat(200_000));
      await conn.readHead();
    });
    await using running = await startModule(upstream.url);
    const { command } = running;
    using client = await command.connect();
    await client.send(get("/up/stream"));
    const head = await client.readHead();
    assertEquals(head?.get("content-length"), "400000");
    assertEquals(head?.get("connection"), undefined);
    await client.readBytes(100_000);
    await terminate(command);
    drained.resolve();
    const rest = await client.readBytes(300_000);
    assertEquals(rest.filter((byte) => byte === 98).length, 200_000);
    const started = performance.now();
    assertEquals(await client.readAll(), ""); // the client keeps its connection: the gateway ends it
    client.close();
    assertEquals((await command.end()).code, 0);
    const ms = performance.now() - started;
    assert(ms < 5000, `it waited ${ms} ms for an idle connection`);
  });

  it("waits for what a handler gave to waitUntil, which may ask others", async () => {
    const asked = Promise.withResolvers<void>();
    const drained = Promise.withResolvers<void>();
    await using upstream = await startUpstream(async (conn) => {
      for (let i = 0; await conn.readRequest(); i++) {
        asked.resolve();
        await drained.promise;
        await conn.send(
          `HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n${1000 + i}`,
        );
      }
    });
    await using folder = await folderOf({
      "app.ts": `
import { Hono } from "hono";
const app = new Hono();
app.get("/", (c) => {
  c.executionCtx.waitUntil((async () => {
    let text = "";
    for (let i = 0; i < 500; i++) text = await (await fetch("${upstream.url}")).text();
    console.log("background", text);
  })());
  return c.text("answered");
});
export default app;
`,
    });
    await using command = await startCommand(["app.ts"], {
      folder: folder.path,
    });
    using client = await command.connect();
    assertEquals((await client.ask(get("/"))).text, "answered");
    await within(asked.promise, "the background work");
    await terminate(command);
    assertEquals(await client.readAll(), "");
    client.close(); // nothing but the work keeps it
    drained.resolve();
    const { code, out } = await command.end();
    assertEquals([code, out], [0, "background 1499\n"]);
  });

  it("cuts at the deadline what does not end, and says how many", async () => {
    await using running = await startModule("http://127.0.0.1:9", 1500);
    const { command } = running;
    const clients = await Promise.all([0, 1, 2].map(() => command.connect()));
    for (const client of clients) {
      await client.send(get("/endless"));
      assertEquals(
        (await client.readHead())?.get("transfer-encoding"),
        "chunked",
      );
    }
    const started = performance.now();
    command.kill("SIGTERM");
    for (const client of clients) {
      const end = await client.readAll().catch((error: Error) => error);
      assert(end instanceof Error, "a cut answer looks whole");
      client.close();
    }
    const { code, err } = await command.end();
    const ms = performance.now() - started;
    assertEquals(code, 0);
    assert(ms > 1400 && ms < 4000, `${ms} ms with a deadline of 1500`);
    assertMatch(err, /cut 3 connections at the deadline of 1500 ms/);
  });

  it("a handler in an endless loop does not stop it, nor native routes before", async () => {
    await using running = await startModule("http://127.0.0.1:9", 1500);
    const { command } = running;
    using spinning = await command.connect();
    await spinning.send(get("/spin"));
    using client = await command.connect();
    for (let i = 0; i < 20; i++) {
      assertEquals((await client.ask(get("/native"))).text, "native");
    }
    const started = performance.now();
    await terminate(command);
    assertEquals(
      (await client.ask(get("/native"))).head.get("connection"),
      "close",
    );
    const { code } = await command.end();
    const ms = performance.now() - started;
    assertEquals(code, 0);
    assert(ms < 4000, `${ms} ms with a deadline of 1500`);
  });
});
