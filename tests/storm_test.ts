/**
 * Many clients at once that do what clients do, at random from a seed: ask, pipeline, upload, leave in the middle of anything. No
 * answer may reach another request, and at the end nothing may be left over.
 *
 * @module
 */
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import net from "node:net";
import { Hono } from "hono";
import { proxy, respond } from "sluice";
import {
  answering,
  certificate,
  RawClient,
  startGateway,
  startUpstream,
  until,
  within,
} from "./support.ts";

const CLIENTS = 24;
const STEPS = 40;

// A generator with a seed (mulberry32), so that a failure can be looked at again: SLUICE_SEED.
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    this.#state = this.#state + 0x6d2b79f5 | 0;
    let t = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) % limit;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
}

function createApp(upstream: string): Hono {
  const app = new Hono();
  app.get("/native", respond("native"));
  app.get("/large", respond("L".repeat(200_000)));
  app.get("/sync/:id", (c) => c.text(`sync ${c.req.param("id")}`));
  app.get("/later/:id", async (c) => {
    await new Promise((resolve) => setTimeout(resolve, 2));
    return c.text(`later ${c.req.param("id")}`);
  });
  app.post("/echo", async (c) => c.body(await c.req.arrayBuffer()));
  app.post("/pipe", (c) => new Response(c.req.raw.body));
  app.post("/unread/:id", (c) => c.text(`unread ${c.req.param("id")}`));
  app.get("/stream/:id", (c) => {
    let left = 20;
    const part = new TextEncoder().encode(`${c.req.param("id")};`.repeat(1000));
    return new Response(
      new ReadableStream({
        pull(controller) {
          if (left-- === 0) controller.close();
          else controller.enqueue(part);
        },
      }),
    );
  });
  app.all("/up/*", proxy(upstream));
  return app;
}

interface Exchange {
  request: string;
  expected: string;
}

const BODYLESS: ((id: string) => Exchange)[] = [
  () => ({ request: get("/native"), expected: "native" }),
  () => ({ request: get("/large"), expected: "L".repeat(200_000) }),
  (id) => ({ request: get(`/sync/${id}`), expected: `sync ${id}` }),
  (id) => ({ request: get(`/later/${id}`), expected: `later ${id}` }),
  (id) => ({
    request: get(`/stream/${id}`),
    expected: `${id};`.repeat(20_000),
  }),
  (id) => ({ request: get(`/up/${id}`), expected: `up GET /up/${id} 0` }),
  (id) => ({ request: get(`/none/${id}`), expected: "404 Not Found" }),
];

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`;
}

function upload(random: Random, id: string): Exchange {
  const path = random.pick(["/echo", "/pipe", `/unread/${id}`, `/up/${id}`]);
  // Of an unread body the gateway reads 64 KiB on, for the next request's sake.
  const most = path.startsWith("/unread") ? [10, 3000] : [10, 3000, 20_000];
  const body = `${id},`.repeat(1 + random.below(random.pick(most)));
  const head = `POST ${path} HTTP/1.1\r\nHost: h\r\n`;
  const request = random.below(2)
    ? `${head}Content-Length: ${body.length}\r\n\r\n${body}`
    : `${head}Transfer-Encoding: chunked\r\n\r\n${
      body.length.toString(16)
    }\r\n${body}\r\n0\r\n\r\n`;
  const expected = path.startsWith("/un")
    ? `unread ${id}`
    : path.startsWith("/up")
    ? `up POST ${path} ${body.length}`
    : body;
  return { request, expected };
}

// One connection of one client, until it ends by itself or the client leaves it.
async function visit(
  random: Random,
  name: string,
  connect: () => Promise<RawClient>,
  port: number,
): Promise<number> {
  using client = await connect();
  let answered = 0;
  for (let step = 0; step < STEPS; step++) {
    const id = `${name}.${step}`;
    const action = random.below(20);
    const batch = Array.from(
      { length: 1 + (action === 0 ? random.below(8) : 0) },
      (_, i) =>
        random.below(3)
          ? random.pick(BODYLESS)(`${id}.${i}`)
          : upload(random, `${id}.${i}`),
    );
    const bytes = batch.map(({ request }) => request).join("");
    if (action === 1) { // leaves in the middle of a request
      await client.send(bytes.slice(0, random.below(bytes.length)));
      return answered;
    }
    if (action === 2) { // leaves in the middle of an answer
      await client.send(bytes);
      await client.readUntil("\r\n");
      return answered;
    }
    if (action === 3) await resetAfter(bytes, port);
    let closes = false;
    const sent = client.send(bytes).catch((error) => {
      if (!closes) throw error; // the gateway said `close` before it had all
    });
    sent.catch(() => {}); // told below, if the answers have not told before
    for (const { expected } of batch) {
      const answer = await client.readAnswer();
      if (answer.text !== expected) {
        throw new Error(
          `${id}: ${JSON.stringify(answer.text.slice(0, 80))} instead of ${
            JSON.stringify(expected.slice(0, 80))
          }`,
        );
      }
      answered++;
      closes = answer.head.get("connection") === "close";
      if (closes) return answered;
    }
    await sent;
  }
  return answered;
}

// A connection of its own that ends by a reset, with the request just sent.
async function resetAfter(bytes: string, port: number): Promise<void> {
  const socket = net.connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await within(
    new Promise<void>((resolve) => socket.write(bytes, () => resolve())),
    "the request to go out",
  );
  const closed = new Promise<void>((resolve) =>
    socket.on("close", () => resolve())
  );
  socket.resetAndDestroy();
  await within(closed, "the reset");
}

describe("a storm", () => {
  const seed = Number(Deno.env.get("SLUICE_SEED") ?? 20260);

  it(`of ${CLIENTS} clients over HTTP and HTTPS mixes no answers and leaves nothing behind (seed ${seed})`, async () => {
    const script = answering(({ method, target, body }) => {
      const text = `up ${method} ${target} ${body.length}`;
      return `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
    });
    // A client that leaves takes its upstream connection with it.
    await using upstream = await startUpstream((conn) =>
      script(conn).catch(() => {})
    );
    const tls = await certificate();
    await using server = await startGateway(createApp(upstream.url), {
      workers: 2,
      listeners: [{ address: "127.0.0.1:0" }, {
        address: "127.0.0.1:0",
        tls: { certificates: [tls] },
      }],
    });
    const { error } = console;
    console.error = () => {}; // handlers whose clients have gone
    try {
      const visits = await Promise.allSettled(
        Array.from({ length: CLIENTS }, async (_, i) => {
          const random = new Random(seed + i);
          const isTls = i % 3 === 0;
          const port = server.ports[isTls ? 1 : 0];
          const options = { hostname: "127.0.0.1", port };
          const connect = async () =>
            new RawClient(
              await within<Deno.Conn>(
                isTls
                  ? Deno.connectTls({ ...options, caCerts: [tls.cert] })
                  : Deno.connect(options),
                "a connection",
              ),
            );
          let answered = 0;
          for (let round = 0; round < 6; round++) {
            answered += await visit(
              random,
              `${i}.${round}`,
              connect,
              server.ports[0],
            );
          }
          return answered;
        }),
      );
      const failures = visits.filter((visit) => visit.status === "rejected");
      expect(failures.map(({ reason }) => String(reason))).toEqual([]);
      for (const visit of visits) {
        if (visit.status === "fulfilled") {
          expect(visit.value).toBeGreaterThan(5);
        }
      }
      await until("all has ended", () => {
        const { conns_live, requests_live, exchanges_live } = server.gateway
          .stats();
        return conns_live + requests_live + exchanges_live === 0;
      });
    } finally {
      console.error = error;
    }
    const {
      bad_verdicts,
      io_stale_cqes,
      io_bufs_lent,
      io_cq_overflow,
      conns_accepted,
      conns_closed,
      ring_full,
    } = server.gateway.stats();
    expect({ bad_verdicts, io_stale_cqes, io_cq_overflow, ring_full }).toEqual({
      bad_verdicts: 0,
      io_stale_cqes: 0,
      io_cq_overflow: 0,
      ring_full: 0,
    });
    expect(conns_closed).toBe(conns_accepted);
    expect(io_bufs_lent).toBe(0);
  });
});
