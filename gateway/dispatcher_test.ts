import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { getConnInfo } from "hono/deno";
import { streamSSE } from "hono/streaming";
import * as abi from "../ffi/abi.ts";
import { type Doorbell, requestRunning, runDispatchers } from "./dispatcher.ts";
import { backgroundDone } from "./request_env.ts";
import { installResponse } from "./response.ts";
import { headersOf, Peer, textOf } from "./peer_test.ts";

installResponse();

const encode = (text: string) => new TextEncoder().encode(text);

function peerOf(build: (app: Hono) => void): Peer {
  const app = new Hono();
  build(app);
  return new Peer(app as never);
}

function silence<T>(run: () => Promise<T>): Promise<T> {
  const { error } = console;
  console.error = () => {};
  return run().finally(() => console.error = error);
}

describe("Dispatcher", () => {
  it("answers a synchronous handler within the drain", () => {
    const peer = peerOf((app) =>
      app.get("/hello/:name", (c) => c.text(`Hello, ${c.req.param("name")}!`))
    );
    const { answer } = peer.send({ target: "/hello/Ada?x=1" });
    expect(answer).toMatchObject({ status: 200, ended: true, length: 11 });
    expect(textOf(answer)).toBe("Hello, Ada!");
    expect(answer.lines).toBe("content-type: text/plain;charset=UTF-8\r\n");
    expect(peer.verdicts).toEqual([abi.SL_VERDICT_RESPOND]);
    expect(peer.dispatcher.live).toBe(0);
  });

  const urls: [
    what: string,
    request: Parameters<Peer["send"]>[0],
    url: string,
  ][] = [
    ["plain", { target: "/a//b?c=%20" }, "http://example.org:8080/a//b?c=%20"],
    ["TLS", { target: "/", tls: true }, "https://example.org:8080/"],
    [
      "without Host",
      { target: "/x", hostless: true },
      "http://localhost:8080/x",
    ],
    [
      "absolute form",
      { target: "http://other:1/p?q", absolute: true },
      "http://other:1/p?q",
    ],
    ["absolute form without a path", {
      target: "http://other?q",
      absolute: true,
    }, "http://other?q"],
  ];
  for (const [what, request, url] of urls) {
    it(`makes an absolute URL: ${what}`, () => {
      let seen = "";
      const peer = new Peer({
        fetch: (r: Request) => {
          seen = r.url;
          return new Response();
        },
      });
      peer.send(request);
      expect(seen).toBe(url.replace("other?", "other/?"));
    });
  }

  it("passes unusual methods as they are", async () => {
    const peer = peerOf((app) =>
      app.on("PURGE", "/x", (c) => c.text(c.req.raw.method))
    );
    const ask = (method: string) => peer.ask({ method, target: "/x" });
    expect(textOf(await ask("PURGE"))).toBe("PURGE");
    expect((await ask("purge")).status).toBe(404);
  });

  it("gives the client's address to getConnInfo", () => {
    const peer = peerOf((app) =>
      app.get("/", (c) => c.json(getConnInfo(c).remote))
    );
    const ask = (bytes: number[], port: number) =>
      JSON.parse(textOf(peer.send({ remote: { bytes, port } }).answer));
    expect(ask([10, 0, 0, 255], 65535)).toEqual({
      address: "10.0.0.255",
      port: 65535,
      transport: "tcp",
    });
    expect(ask([10, 0, 0, 1], 65535).address).toBe("10.0.0.1");
    expect(ask([10, 0, 0, 1], 65535).address).toBe("10.0.0.1");
    const v6 = [0x20, 1, 0x0d, 0xb8, ...Array(11).fill(0), 1];
    expect(ask(v6, 7)).toEqual({
      address: "2001:db8::1",
      port: 7,
      transport: "tcp",
    });
  });

  it("answers an asynchronous handler", async () => {
    const peer = peerOf((app) =>
      app.get("/", async (c) => c.text(await Promise.resolve("later")))
    );
    const answer = await peer.ask({});
    expect([answer.status, textOf(answer)]).toEqual([200, "later"]);
  });

  it("runs Hono's own middleware", async () => {
    const peer = peerOf((app) => {
      app.use(cors());
      app.use(async (c, next) => {
        await next();
        c.header("x-after", "1");
      });
      app.get("/", (c) => c.text("x", 201, { "x-own": "2" }));
    });
    const answer = await peer.ask({ headers: [["origin", "http://o"]] });
    expect(answer).toMatchObject({ status: 201, length: 1 });
    const headers = headersOf(answer);
    expect([
      headers.get("access-control-allow-origin"),
      headers.get("x-after"),
      headers.get("x-own"),
    ]).toEqual(
      ["*", "1", "2"],
    );
  });

  it("writes text outside of ASCII, and headers outside of ASCII as latin1", () => {
    const peer = peerOf((app) =>
      app.get(
        "/",
        (c) => c.text("h\u00e9llo \u{1f600}", 200, { "x-l": "caf\u00e9" }),
      )
    );
    const { answer } = peer.send({});
    expect(textOf(answer)).toBe("h\u00e9llo \u{1f600}");
    expect(headersOf(answer).get("x-l")).toBe("caf\u00e9");
  });

  for (
    const size of [0, 1, 127, 129, 20_000, 32_700, 32_768, 40_000, 70_000]
  ) {
    it(`sends ${size} characters and ${size} bytes whole`, async () => {
      const text = "ab\u00fc".repeat(size).slice(0, size);
      const bytes = encode(text);
      const peer = peerOf((app) => {
        app.get("/text", (c) => c.text(text));
        app.get("/bytes", (c) => c.body(bytes));
      });
      for (const target of ["/text", "/bytes"]) {
        const answer = await peer.ask({ target });
        expect(answer.length).toBe(bytes.length);
        expect(answer.body).toEqual(bytes);
      }
      expect(peer.dispatcher.live).toBe(0);
    });
  }

  it("keeps several Set-Cookie as several lines", () => {
    const peer = peerOf((app) =>
      app.get("/", (c) => {
        c.header("set-cookie", "a=1", { append: true });
        c.header("set-cookie", "b=2", { append: true });
        return c.text("x");
      })
    );
    expect(headersOf(peer.send({}).answer).getSetCookie()).toEqual([
      "a=1",
      "b=2",
    ]);
  });

  it("answers HEAD with the length that GET has, and without a body", async () => {
    const peer = peerOf((app) => app.get("/", (c) => c.text("12345")));
    const answer = await peer.ask({ method: "HEAD" });
    expect(answer).toMatchObject({ status: 200, length: 5, ended: true });
    expect(answer.body.length).toBe(0);
  });

  it("answers HEAD without a length where GET streams", async () => {
    let cancelled = false;
    const stream = () =>
      new ReadableStream({ cancel: () => void (cancelled = true) });
    const peer = new Peer({ fetch: () => new Response(stream()) });
    const answer = await peer.ask({ method: "HEAD" });
    expect(answer).toMatchObject({ length: -1, ended: true });
    expect(answer.body.length).toBe(0);
    expect(cancelled).toBe(true);
  });

  for (const status of [204, 205, 304]) {
    it(`answers ${status} without a body`, () => {
      const peer = peerOf((app) =>
        app.get("/", (c) => c.body(null, status as 204))
      );
      expect(peer.send({}).answer).toMatchObject({
        status,
        ended: true,
        writes: [0],
      });
    });
  }

  // Errors.

  it("answers 500 for what app.fetch throws, and goes on", () =>
    silence(async () => {
      const outcomes: (() => Response | Promise<Response>)[] = [
        () => {
          throw new Error("sync");
        },
        () => Promise.reject(new Error("async")),
        () => undefined as unknown as Response,
        () => Promise.resolve(null as unknown as Response),
        () => new Response("x", { headers: { a: "b".repeat(17_000) } }),
        () => {
          const response = new Response("x");
          response.body!.getReader();
          return response;
        },
        () =>
          new Response(
            new ReadableStream({
              pull: () => Promise.reject(new Error("stream")),
            }),
          ),
      ];
      for (const outcome of outcomes) {
        const peer = new Peer({ fetch: outcome });
        const answer = await peer.ask({});
        expect([answer.status, textOf(answer)]).toEqual([
          500,
          "Internal Server Error",
        ]);
      }
    }));

  it("lets the app's onError answer first", async () => {
    const peer = peerOf((app) => {
      app.get("/", () => {
        throw new Error("mine");
      });
      app.onError((error, c) => c.text(error.message, 418));
    });
    expect(textOf(await peer.ask({}))).toBe("mine");
  });

  it("answers 504 for a TimeoutError", () =>
    silence(async () => {
      const peer = new Peer({
        fetch: () => Promise.reject(new DOMException("late", "TimeoutError")),
      });
      expect((await peer.ask({})).status).toBe(504);
    }));

  // The request's body.

  it("reads a body in parts, and asks for it only if it is read", async () => {
    const peer = peerOf((app) => {
      app.post("/read", async (c) => c.text(await c.req.text()));
      app.post("/not", (c) => c.text("unread"));
    });
    const body = [encode("one "), encode("two "), encode("three")];
    expect(textOf(await peer.ask({ method: "POST", target: "/read", body })))
      .toBe("one two three");
    expect(peer.verdicts).toEqual([
      abi.SL_VERDICT_BODY_WANTED,
      abi.SL_VERDICT_BODY_TAKEN,
      abi.SL_VERDICT_BODY_TAKEN,
      abi.SL_VERDICT_RESPOND,
    ]);
    peer.verdicts = [];
    expect(textOf(await peer.ask({ method: "POST", target: "/not", body })))
      .toBe("unread");
    expect(peer.verdicts).toEqual([abi.SL_VERDICT_RESPOND]);
  });

  it("takes parts only as fast as the handler reads", async () => {
    let step = () => {};
    const seen: string[] = [];
    const peer = peerOf((app) =>
      app.post("/", async (c) => {
        const reader = c.req.raw.body!.getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return c.text("done");
          seen.push(new TextDecoder().decode(value));
          await new Promise<void>((resolve) => step = resolve);
        }
      })
    );
    const exchange = peer.send({
      method: "POST",
      body: [encode("a"), encode("b"), encode("c")],
    });
    await peer.until(() => seen.length === 1);
    await peer.until(() => true);
    expect(seen).toEqual(["a"]);
    const taken = () =>
      peer.verdicts.filter((kind) => kind === abi.SL_VERDICT_BODY_TAKEN).length;
    expect(taken()).toBe(1);
    step();
    await peer.until(() => seen.length === 2);
    expect(taken()).toBe(2);
    step();
    await peer.until(() => seen.length === 3);
    step();
    await peer.until(() => exchange.answer.ended);
  });

  it("echoes a body as a stream", async () => {
    const peer = peerOf((app) => app.post("/", (c) => c.body(c.req.raw.body!)));
    const body = Array.from(
      { length: 5 },
      (_, i) => new Uint8Array(14_336).fill(i),
    );
    const answer = await peer.ask({ method: "POST", body });
    expect(answer).toMatchObject({ length: -1, ended: true });
    expect(answer.body.length).toBe(5 * 14_336);
    expect([...new Set(answer.body)]).toEqual([0, 1, 2, 3, 4]);
  });

  it("works with Hono's bodyLimit and parseBody", async () => {
    const peer = peerOf((app) => {
      app.use(bodyLimit({ maxSize: 10 }));
      app.post("/", async (c) => c.json(await c.req.parseBody()));
    });
    const headers: [string, string][] = [
      ["content-type", "application/x-www-form-urlencoded"],
      ["transfer-encoding", "chunked"],
    ];
    const small = await peer.ask({
      method: "POST",
      headers,
      body: [encode("a=1"), encode("&b=2")],
    });
    expect(JSON.parse(textOf(small))).toEqual({ a: "1", b: "2" });
    const large = await peer.ask({
      method: "POST",
      headers,
      body: [encode("a=1"), encode("x".repeat(20))],
    });
    expect(large.status).toBe(413);
  });

  it("has no body on GET, even if one was sent", async () => {
    const peer = peerOf((app) =>
      app.get(
        "/",
        async (c) => c.text(`${c.req.raw.body} ${await c.req.text()}`),
      )
    );
    expect(textOf(await peer.ask({ body: [encode("x")] }))).toBe("null ");
  });

  it("fails what is read after the answer", async () => {
    let request: Request | undefined;
    const peer = new Peer({
      fetch: (r: Request) => {
        request = r;
        return new Response("early");
      },
    });
    await peer.ask({
      method: "POST",
      body: [encode("x")],
      headers: [["x-kept", "yes"]],
    });
    await expect(request!.text()).rejects.toThrow("has ended");
    expect(request!.headers.get("x-kept")).toBe("yes");
  });

  it("never shows memory of the ring to a handler", async () => {
    const seen: ArrayBufferLike[] = [];
    const peer = peerOf((app) =>
      app.post("/", async (c) => {
        for await (const part of c.req.raw.body!) seen.push(part.buffer);
        return c.text("x");
      })
    );
    await peer.ask({ method: "POST", body: [encode("a"), encode("b")] });
    expect(seen.length).toBe(2);
    for (const buffer of seen) {
      expect(buffer instanceof SharedArrayBuffer).toBe(false);
      expect(buffer.byteLength).toBe(1);
    }
  });

  // Streams.

  it("flushes each chunk by itself", async () => {
    const chunks = [encode("a"), encode("bb"), encode("ccc")];
    const stream = () =>
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          const chunk = chunks.shift();
          if (chunk) controller.enqueue(chunk);
          else controller.close();
        },
      });
    const peer = new Peer({ fetch: () => new Response(stream()) });
    const answer = await peer.ask({});
    expect(answer.writes).toEqual([0, 1, 2, 3, 0]);
    expect(textOf(answer)).toBe("abbccc");
  });

  it("sends head and first chunk together where that is there", async () => {
    const stream = () =>
      new ReadableStream({
        start(controller) {
          controller.enqueue(encode("now"));
          controller.close();
        },
      });
    const peer = new Peer({ fetch: () => new Response(stream()) });
    expect((await peer.ask({})).writes).toEqual([3, 0]);
  });

  it("cuts large chunks, also one that does not fit behind the head", async () => {
    const bytes = new Uint8Array(100_000).map((_, i) => i);
    const stream = () =>
      new ReadableStream({ start: (c) => (c.enqueue(bytes), c.close()) });
    const peer = new Peer({
      fetch: () =>
        new Response(stream(), { headers: { "content-length": "100000" } }),
    });
    const answer = await peer.ask({});
    expect(answer.length).toBe(100_000);
    expect(answer.body).toEqual(bytes);
  });

  it("does not pull more while the client is slow", async () => {
    let pulled = 0;
    const stream = () =>
      new ReadableStream({
        pull(controller) {
          pulled++;
          controller.enqueue(encode("x"));
        },
      }, { highWaterMark: 0 });
    const peer = new Peer({ fetch: () => new Response(stream()) });
    const exchange = peer.send({});
    peer.hold(exchange);
    await peer.until(() => exchange.answer.status === 200);
    const before = pulled;
    for (let i = 0; i < 5; i++) await peer.until(() => true);
    expect(pulled - before).toBeLessThan(2);
    peer.resume(exchange);
    await peer.until(() => pulled > before + 3);
    peer.abort(exchange);
  });

  it("breaks the answer off if its stream fails", () =>
    silence(async () => {
      let pulls = 0;
      const stream = () =>
        new ReadableStream({
          pull(controller) {
            if (pulls++ > 1) throw new Error("broken");
            controller.enqueue(encode("x"));
          },
        }, { highWaterMark: 0 });
      const peer = new Peer({ fetch: () => new Response(stream()) });
      const answer = await peer.ask({});
      expect(answer).toMatchObject({ status: 200, failed: true, ended: false });
    }));

  it("serves server-sent events, and tells the handler when the client goes", async () => {
    let aborted = false;
    const peer = peerOf((app) =>
      app.get("/", (c: Context) =>
        streamSSE(c, async (stream) => {
          stream.onAbort(() => void (aborted = true));
          await stream.writeSSE({ data: "1" });
          await stream.writeSSE({ data: "2" });
          await new Promise<void>((resolve) => stream.onAbort(resolve));
        }))
    );
    const exchange = peer.send({});
    await peer.until(() => textOf(exchange.answer).includes("data: 2"));
    expect(headersOf(exchange.answer).get("content-type")).toBe(
      "text/event-stream",
    );
    expect(exchange.answer.writes.length).toBeGreaterThan(1);
    peer.abort(exchange);
    await peer.until(() => aborted);
    await exchange.released;
    expect(peer.dispatcher.live).toBe(0);
  });

  it("sends a response that fetch() gave", async () => {
    const server = Deno.serve(
      { port: 0, onListen() {} },
      () => new Response("up", { headers: { "x-up": "1" } }),
    );
    const peer = new Peer({
      fetch: () => fetch(`http://127.0.0.1:${server.addr.port}/`),
    });
    const answer = await peer.ask({});
    expect([textOf(answer), headersOf(answer).get("x-up"), answer.length])
      .toEqual(["up", "1", 2]);
    await server.shutdown();
  });

  // Disconnects.

  it("gives the slot back at once when the client goes, and drops the late answer", async () => {
    let reason: unknown;
    let finish = (_: Response) => {};
    const peer = new Peer({
      fetch: (request: Request) => {
        request.signal.addEventListener(
          "abort",
          () => reason = request.signal.reason,
        );
        return new Promise<Response>((resolve) => finish = resolve);
      },
    });
    const exchange = peer.send({});
    peer.abort(exchange);
    expect(peer.verdicts).toEqual([abi.SL_VERDICT_RELEASE]);
    await exchange.released;
    expect((reason as Error).name).toBe("AbortError");
    let cancelled = false;
    finish(
      new Response(
        new ReadableStream({ cancel: () => void (cancelled = true) }),
      ),
    );
    await peer.until(() => cancelled);
    expect(peer.verdicts.length).toBe(1);
  });

  it("ignores events that crossed with its last verdict", () => {
    const peer = peerOf((app) => app.get("/", (c) => c.text("x")));
    const first = peer.send({});
    const second = peer.send({});
    peer.abort(first);
    peer.abort(second);
    expect(peer.verdicts).toEqual([
      abi.SL_VERDICT_RESPOND,
      abi.SL_VERDICT_RESPOND,
    ]);
  });

  it("does not take an event of a slot's earlier life for its own", async () => {
    const peer = peerOf((app) =>
      app.get("/slow", async (c) => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return c.text("slow");
      }).get("/", (c) => c.text("x"))
    );
    const first = peer.send({});
    const second = peer.send({ target: "/slow" });
    expect(second.slot).toBe(first.slot);
    peer.abort(first);
    await second.released;
    expect(textOf(second.answer)).toBe("slow");
  });

  it("does not abort the signal of a request that succeeded", async () => {
    let signal: AbortSignal | undefined;
    const peer = new Peer({
      fetch: (request: Request) => {
        signal = request.signal;
        return new Response("x");
      },
    });
    await peer.ask({ method: "POST", body: [encode("x")] });
    expect(signal!.aborted).toBe(false);
  });

  // Around requests.

  it("waits for waitUntil", async () => {
    let done = false;
    const peer = peerOf((app) =>
      app.get("/", (c) => {
        c.executionCtx.waitUntil(
          new Promise((resolve) => setTimeout(resolve, 5)).then(() =>
            done = true
          ),
        );
        return c.text("x");
      })
    );
    await peer.ask({});
    expect(done).toBe(false);
    await backgroundDone();
    expect(done).toBe(true);
  });

  it("wakes the worker once for a batch", () => {
    const peer = peerOf((app) => app.get("/", (c) => c.text("x")));
    peer.send({});
    expect(peer.wakes).toBe(1);
  });

  it("serves many requests on the same slots", async () => {
    const peer = peerOf((app) =>
      app.post(
        "/:n",
        async (c) => c.text(c.req.param("n") + await c.req.text()),
      )
    );
    for (let n = 0; n < 400; n++) {
      const answer = await peer.ask({
        method: "POST",
        target: `/${n}`,
        body: [encode("-"), encode("!")],
      });
      expect(textOf(answer)).toBe(`${n}-!`);
    }
  });
});

describe("an isolate that C has given up", () => {
  const closed = abi.SL_RING_CLOSED_OFF / 4;

  it("begins no request any more, not even of the same batch", async () => {
    const begun: string[] = [];
    const peer = peerOf((app) =>
      app.get("/:n", (c) => {
        begun.push(c.req.param("n"));
        if (c.req.param("n") === "1") { // C closes while this one runs
          Atomics.store(peer.ring.words, closed, 1);
          peer.send({ target: "/nested" }); // is handled by another drain
        }
        return c.text("");
      })
    );
    await peer.ask({ target: "/0" });
    peer.send({ target: "/1" });
    peer.send({ target: "/2" });
    expect(begun).toEqual(["0", "1"]);
    expect([peer.dispatcher.drain(), peer.ring.pending()]).toEqual([0, 0]);
  });
});

describe("requestRunning()", () => {
  it("tells what an isolate is handling, while it does", () => {
    const seen: (string | undefined)[] = [];
    const peer = peerOf((app) =>
      app.on("PURGE", "/x/:y", async (c) => {
        seen.push(requestRunning(peer.ring));
        await Promise.resolve();
        return c.text("");
      })
    );
    peer.send({ method: "PURGE", target: "/x/y?z" });
    seen.push(requestRunning(peer.ring));
    expect(seen).toEqual(["PURGE http://example.org:8080/x/y?z", undefined]);
  });
});

describe("runDispatchers()", () => {
  it("sleeps only when no event is there, and ends with its doorbell", async () => {
    const peer = peerOf((app) => app.get("/", (c) => c.text("x")));
    const sleeping = () =>
      Atomics.load(peer.ring.words, abi.SL_RING_ISOLATE_SLEEPING_OFF / 4);
    const rings: ((alive: boolean) => void)[] = [];
    const doorbell: Doorbell = {
      rung: () => new Promise((resolve) => rings.push(resolve)),
    };
    const running = runDispatchers([peer.dispatcher], doorbell);
    await peer.until(() => rings.length === 1);
    expect(sleeping()).toBe(1);
    const exchange = peer.send({});
    rings[0](true);
    await peer.until(() => rings.length === 2);
    await exchange.released;
    expect(sleeping()).toBe(1);
    rings[1](false);
    await running;
  });
});
