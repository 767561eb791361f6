/**
 * HTTP/1.1 over real sockets: what a client sees, byte by byte, of native and TypeScript routes on one connection.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { respond } from "sluice";
import {
  type RawAnswer,
  type RunningGateway,
  startGateway,
  until,
  within,
} from "./support.ts";

const BODY_MAX = 1_000_000;

// Handlers that wait here go on when the test says so.
class Gate {
  #open = () => {};
  #entered = () => {};
  readonly entered = new Promise<void>((resolve) => this.#entered = resolve);
  readonly opened = new Promise<void>((resolve) => this.#open = resolve);

  async pass(): Promise<void> {
    this.#entered();
    await within(this.opened, "the gate to open");
  }

  open(): void {
    this.#open();
  }
}

let gate = new Gate();

function createApp(): Hono {
  const app = new Hono();
  app.get("/native", respond("native\n", { headers: { "x-by": "C" } }));
  app.get(
    "/native/cookies",
    respond("", { headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"]] }),
  );
  app.get("/native/large", respond("n".repeat(300_000)));
  app.get("/text/:id", (c) => c.text(`text ${c.req.param("id")}`));
  app.get("/gate", async (c) => {
    await gate.pass();
    return c.text("gate");
  });
  app.all("/echo", async (c) => c.body(await c.req.arrayBuffer()));
  app.post(
    "/length",
    async (c) => c.text(String((await c.req.arrayBuffer()).byteLength)),
  );
  app.all("/unread", (c) => c.text("did not read"));
  app.get("/url", (c) => c.text(c.req.url));
  app.get(
    "/fields/:name",
    (c) => c.text(c.req.header(c.req.param("name")) ?? "none"),
  );
  app.get("/cookies", () => {
    const headers = new Headers();
    for (let i = 0; i < 20; i++) {
      headers.append("set-cookie", `c${i}=${i}; Path=/`);
    }
    return new Response("cookies", { headers });
  });
  app.get("/large-field/:bytes", (c) => {
    c.header("x-large", "v".repeat(Number(c.req.param("bytes"))));
    return c.text("large");
  });
  app.get("/stream", () => {
    const parts = ["one ", "two ", "three"];
    return new Response(
      new ReadableStream({
        pull(controller) {
          const part = parts.shift();
          if (part === undefined) controller.close();
          else controller.enqueue(new TextEncoder().encode(part));
        },
      }),
    );
  });
  app.get("/throws", () => {
    throw new Error("thrown by a test's handler");
  });
  app.on("PURGE", "/purge", (c) => c.text("purged"));
  app.notFound((c) => c.text(`no ${c.req.path}`, 404));
  return app;
}

function get(path: string, more = ""): string {
  return `GET ${path} HTTP/1.1\r\nHost: h.example\r\n${more}\r\n`;
}

function post(path: string, length: number, more = ""): string {
  return `POST ${path} HTTP/1.1\r\nHost: h.example\r\nContent-Length: ${length}\r\n${more}\r\n`;
}

function summary({ status, text }: RawAnswer): [number, string] {
  return [status, text];
}

// console.error is where handlers' failures go; a test that provokes one waits for it, and keeps it out of the report.
async function silently<T>(run: () => Promise<T>): Promise<[T, unknown[][]]> {
  const { error } = console;
  const said: unknown[][] = [];
  console.error = (...words: unknown[]) => said.push(words);
  try {
    const result = await run();
    await until("the handler's failure is told", () => said.length > 0);
    return [result, said];
  } finally {
    console.error = error;
  }
}

describe("HTTP/1.1", () => {
  let server: RunningGateway;

  beforeAll(async () => {
    server = await startGateway(createApp(), {
      limits: { bodyBytesMax: BODY_MAX },
    });
  });
  afterAll(() => server.stop());

  // One connection, one exchange after which the connection must be usable.
  async function ask(
    request: string,
    options: { toHead?: boolean } = {},
  ): Promise<RawAnswer> {
    using client = await server.connect();
    const answer = await client.ask(request, options);
    expect(answer.head.get("connection")).toBe(undefined);
    expect(summary(await client.ask(get("/native")))).toEqual([
      200,
      "native\n",
    ]);
    return answer;
  }

  // One connection, one exchange after which it must end in order: FIN, not RST.
  async function askLast(request: string): Promise<RawAnswer> {
    using client = await server.connect();
    const answer = await client.ask(request);
    expect(answer.head.get("connection")).toBe("close");
    expect(await client.readAll()).toBe("");
    return answer;
  }

  describe("keep-alive", () => {
    it("serves native and TypeScript routes in turn on one connection", async () => {
      const before = server.gateway.stats();
      using client = await server.connect();
      for (let i = 0; i < 50; i++) {
        expect(summary(await client.ask(get("/native")))).toEqual([
          200,
          "native\n",
        ]);
        expect(summary(await client.ask(get(`/text/${i}`)))).toEqual([
          200,
          `text ${i}`,
        ]);
      }
      const after = server.gateway.stats();
      expect(after.conns_accepted - before.conns_accepted).toBe(1);
      expect(after.requests_native - before.requests_native).toBe(50);
      expect(after.requests_typescript - before.requests_typescript).toBe(50);
    });

    it("ends after `Connection: close`, and answers nothing that comes behind it", async () => {
      for (const path of ["/native", "/text/1"]) {
        using client = await server.connect();
        await client.send(get(path, "Connection: close\r\n") + get("/native"));
        const answer = await client.readAnswer();
        expect([answer.status, answer.head.get("connection")]).toEqual([
          200,
          "close",
        ]);
        expect(await client.readAll()).toBe("");
      }
    });

    it("has a Date that is now, and no field that the route did not ask for", async () => {
      const { head } = await ask(get("/native"));
      expect(head.line).toBe("HTTP/1.1 200 OK");
      expect(Math.abs(Date.parse(head.get("date")!) - Date.now())).toBeLessThan(
        3000,
      );
      expect(head.fields.map(([name]) => name).sort()).toEqual(
        ["content-length", "content-type", "date", "x-by"],
      );
    });

    it("takes a head that comes byte by byte, and empty lines before it", async () => {
      using client = await server.connect();
      for (const byte of `\r\n\r\n${get("/text/bytes", "X-Split: yes\r\n")}`) {
        await client.send(byte);
      }
      expect(summary(await client.readAnswer())).toEqual([200, "text bytes"]);
    });
  });

  describe("pipelining", () => {
    it("answers in order, whoever answers", async () => {
      const paths = [
        "/native",
        "/text/a",
        "/none",
        "/stream",
        "/native/large",
        "/text/b",
        "/cookies",
      ];
      const requests = Array.from(
        { length: 70 },
        (_, i) => paths[i % paths.length],
      );
      using client = await server.connect();
      await client.send(requests.map((path) => get(path)).join(""));
      for (const path of requests) {
        const { status, text } = await client.readAnswer();
        const expected = {
          "/native": "native\n",
          "/text/a": "text a",
          "/none": "no /none",
          "/stream": "one two three",
          "/native/large": "n".repeat(300_000),
          "/text/b": "text b",
          "/cookies": "cookies",
        }[path]!;
        expect([path, status, text.length]).toEqual([
          path,
          path === "/none" ? 404 : 200,
          expected.length,
        ]);
        expect(text).toBe(expected);
      }
    });

    it("keeps a native answer behind a TypeScript one that takes longer", async () => {
      gate = new Gate();
      using client = await server.connect();
      using other = await server.connect();
      await client.send(get("/gate") + get("/native"));
      await within(gate.entered, "the handler");
      expect((await other.ask(get("/native"))).status).toBe(200); // C was not idle
      gate.open();
      expect((await client.readAnswer()).text).toBe("gate");
      expect((await client.readAnswer()).text).toBe("native\n");
    });

    it("finds the next request behind bodies, read and unread", async () => {
      using client = await server.connect();
      const chunked =
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" +
        "3;x=y\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n";
      await client.send(
        post("/echo", 5) + "hello" + chunked + post("/unread", 7) + "ignored" +
          post("/native", 3) + "xyz" +
          get("/text/last"),
      );
      const texts = [];
      for (let i = 0; i < 5; i++) texts.push((await client.readAnswer()).text);
      expect(texts).toEqual([
        "hello",
        "abc",
        "did not read",
        "no /native",
        "text last",
      ]);
    });
  });

  describe("HEAD", () => {
    for (
      const path of ["/native", "/text/1", "/none", "/cookies", "/native/large"]
    ) {
      it(`gives for ${path} what GET gives, without the body`, async () => {
        const whole = await ask(get(path));
        const head = await ask(get(path).replace("GET", "HEAD"), {
          toHead: true,
        });
        expect(head.status).toBe(whole.status);
        const names = (answer: RawAnswer) =>
          answer.head.fields.filter(([name]) => name !== "date");
        expect(names(head)).toEqual(names(whole));
      });
    }

    it("knows no length for a stream, and sends no chunk of it", async () => {
      const head = await ask(get("/stream").replace("GET", "HEAD"), {
        toHead: true,
      });
      expect(head.head.get("transfer-encoding")).toBe("chunked");
    });
  });

  describe("answers", () => {
    it("is 404 by the app's own handler", async () => {
      expect(summary(await ask(get("/none")))).toEqual([404, "no /none"]);
      expect(summary(await ask(post("/none", 4) + "body"))).toEqual([
        404,
        "no /none",
      ]);
    });

    it("is 404 by C with `notFound: native`", async () => {
      await using native = await startGateway(createApp(), {
        notFound: "native",
      });
      using client = await native.connect();
      expect(summary(await client.ask(get("/none")))).toEqual([
        404,
        "404 Not Found",
      ]);
      expect(summary(await client.ask(post("/none", 4) + "body"))).toEqual([
        404,
        "404 Not Found",
      ]);
      expect(summary(await client.ask(get("/text/1")))).toEqual([
        200,
        "text 1",
      ]);
      expect(native.gateway.stats().requests_typescript).toBe(1);
    });

    it("sends a stream in chunks", async () => {
      const answer = await ask(get("/stream"));
      expect([answer.text, answer.head.get("transfer-encoding")]).toEqual([
        "one two three",
        "chunked",
      ]);
    });

    it("keeps many Set-Cookie fields apart and in order", async () => {
      const cookies = Array.from(
        { length: 20 },
        (_, i) => `c${i}=${i}; Path=/`,
      );
      expect((await ask(get("/cookies"))).head.all("set-cookie")).toEqual(
        cookies,
      );
      expect((await ask(get("/native/cookies"))).head.all("set-cookie"))
        .toEqual(["a=1", "b=2"]);
    });

    it("sends large fields whole, and too large ones not at all", async () => {
      expect((await ask(get("/large-field/15000"))).head.get("x-large")).toBe(
        "v".repeat(15000),
      );
      const [answer, said] = await silently(() =>
        ask(get("/large-field/17000"))
      );
      expect(answer.status).toBe(500);
      expect(String(said[0][0])).toMatch(
        /headers have 17\d+ bytes; at most 16384/,
      );
    });

    it("is 500 when a handler throws, and the connection lives on", async () => {
      const [answer, said] = await silently(() => ask(get("/throws")));
      expect(summary(answer)).toEqual([500, "Internal Server Error"]);
      expect(String(said[0][0])).toMatch(/thrown by a test's handler/);
    });

    it("is 504 when a handler takes too long", async () => {
      gate = new Gate();
      await using slow = await startGateway(createApp(), {
        limits: { handlerTimeoutMs: 100 },
      });
      using client = await slow.connect();
      expect(summary(await client.ask(get("/gate")))).toEqual([
        504,
        "The handler did not answer in time.\n",
      ]);
      gate.open();
      expect(summary(await client.ask(get("/text/1")))).toEqual([
        200,
        "text 1",
      ]);
      await until(
        "the late answer was seen",
        () => slow.gateway.stats().exchanges_live === 0,
      );
    });
  });

  describe("request bodies", () => {
    for (const size of [0, 1, 1000, 16383, 16384, 16385, 40_000, 1_000_000]) {
      it(`reach TypeScript whole: ${size} bytes by length and in chunks`, async () => {
        const body = "0123456789".repeat(size / 10 + 1).slice(0, size);
        const byLength = await ask(post("/echo", size) + body);
        expect(byLength.status).toBe(200);
        expect(byLength.text === body).toBe(true);
        let chunks = "";
        for (let at = 0; at < size; at += 7777) {
          const part = body.slice(at, at + 7777);
          chunks += `${part.length.toString(16)}\r\n${part}\r\n`;
        }
        const head =
          "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        const byChunks = await ask(`${head}${chunks}0\r\n\r\n`);
        expect(byChunks.text === body).toBe(true);
      });
    }

    it("may come byte by byte, with extensions and trailers", async () => {
      using client = await server.connect();
      const body = '4;a=b;c="d"\r\nwxyz\r\n1\r\n!\r\n0\r\nX-Sum: 5\r\n\r\n';
      await client.send(
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
      );
      for (const byte of body) await client.send(byte);
      expect(summary(await client.readAnswer())).toEqual([200, "wxyz!"]);
    });

    it("are 413 above the limit, by length before and by chunks when it is passed", async () => {
      const text = "The request body is too large.\n";
      expect(summary(await askLast(post("/length", BODY_MAX + 1)))).toEqual([
        413,
        text,
      ]);
      using client = await server.connect();
      await client.send(
        "POST /length HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
      );
      const chunk = `8000\r\n${"x".repeat(0x8000)}\r\n`;
      for (let sent = 0; sent <= BODY_MAX; sent += 0x8000) {
        await client.send(chunk);
      }
      const [answer, said] = await silently(() => client.readAnswer());
      expect(summary(answer)).toEqual([413, text]);
      expect(String(said[0][0])).toBe(
        `AbortError: The request was cut off: ${text.trimEnd()}`,
      );
      expect(await client.readAll()).toBe("");
      expect((await ask(post("/length", BODY_MAX) + "x".repeat(BODY_MAX))).text)
        .toBe(String(BODY_MAX));
    });

    it("break nothing when they are malformed", async () => {
      for (
        const chunk of [
          "zz\r\n",
          "3\r\nabcd\r\n",
          "-1\r\n",
          "0x1\r\na\r\n",
          "ffffffffffffffffff\r\n",
        ]
      ) {
        using client = await server.connect();
        await client.send(
          `POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`,
        );
        const [answer] = await silently(() => client.readAnswer());
        expect([chunk, answer.status]).toEqual([chunk, 400]);
        expect(await client.readAll()).toBe("");
      }
    });
  });

  describe("Expect: 100-continue", () => {
    it("is answered when the handler begins to read", async () => {
      using client = await server.connect();
      await client.send(post("/echo", 4, "Expect: 100-continue\r\n"));
      expect(await client.readUntil("\r\n\r\n")).toBe(
        "HTTP/1.1 100 Continue\r\n\r\n",
      );
      expect(summary(await client.ask("body"))).toEqual([200, "body"]);
      expect(summary(await client.ask(get("/native")))).toEqual([
        200,
        "native\n",
      ]);
    });

    it("is not answered when the body came along", async () => {
      using client = await server.connect();
      await client.send(post("/echo", 4, "Expect: 100-continue\r\n") + "body");
      await client.send(get("/native"));
      const all = await client.readUntil("native\n");
      expect(all.match(/HTTP\/1\.1 \d+/g)).toEqual([
        "HTTP/1.1 200",
        "HTTP/1.1 200",
      ]);
    });

    it("is answered by the final answer alone when nobody reads", async () => {
      const unread = await askLast(
        post("/unread", 4, "Expect: 100-continue\r\n"),
      );
      expect(summary(unread)).toEqual([200, "did not read"]);
      const native = await askLast(
        "GET /native HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
      );
      expect(summary(native)).toEqual([200, "native\n"]);
      const large = await askLast(
        post("/echo", BODY_MAX + 1, "Expect: 100-continue\r\n"),
      );
      expect(large.status).toBe(413);
    });

    it("is 417 if it expects something else", async () => {
      expect((await askLast(post("/echo", 4, "Expect: wonders\r\n"))).status)
        .toBe(417);
    });
  });

  describe("limits of the head", () => {
    it("is 414 for a long request line", async () => {
      expect((await ask(get(`/none?${"q".repeat(8000)}`))).status).toBe(404);
      const answer = await askLast(get(`/none?${"q".repeat(9000)}`));
      expect(summary(answer)).toEqual([414, "The request line is too long.\n"]);
    });

    it("is 431 for a large head, and for many fields", async () => {
      const value = "v".repeat(15000);
      expect((await ask(get("/fields/x-large", `X-Large: ${value}\r\n`))).text)
        .toBe(value);
      expect(
        (await askLast(get("/native", `X-Large: ${value}${value}\r\n`))).status,
      ).toBe(431);
      const fields = (count: number) =>
        Array.from({ length: count }, (_, i) => `X-${i}: ${i}\r\n`).join("");
      expect((await ask(get("/fields/x-98", fields(99)))).text).toBe("98");
      expect((await askLast(get("/native", fields(100)))).status).toBe(431);
    });
  });

  describe("deadlines", () => {
    it("is 408 for half a head, however it trickles", async () => {
      await using hasty = await startGateway(createApp(), {
        limits: { headTimeoutMs: 150 },
      });
      using client = await hasty.connect();
      await client.send("GET /native HTTP/1.1\r\nX-Slow: ");
      const answer = client.readAnswer();
      let isOver = false;
      answer.finally(() => isOver = true).catch(() => {});
      await until("the gateway loses patience", async () => {
        if (!isOver) await client.send("x").catch(() => {});
        return isOver;
      });
      expect(summary(await answer)).toEqual([
        408,
        "The request head took too long.\n",
      ]);
    });

    it("closes a connection that is idle, before and after a request, without a word", async () => {
      await using hasty = await startGateway(createApp(), {
        limits: { idleTimeoutMs: 150 },
      });
      using unused = await hasty.connect();
      using used = await hasty.connect();
      expect((await used.ask(get("/text/1"))).status).toBe(200);
      expect(await unused.readAll()).toBe("");
      expect(await used.readAll()).toBe("");
    });

    it("is 408 for a body that does not come, and tells the handler", async () => {
      await using hasty = await startGateway(createApp(), {
        limits: { bodyTimeoutMs: 150 },
      });
      using client = await hasty.connect();
      await client.send(post("/echo", 10) + "half");
      const [answer, said] = await silently(() => client.readAnswer());
      expect(summary(answer)).toEqual([
        408,
        "The request body took too long.\n",
      ]);
      expect(String(said[0][0])).toMatch(/^AbortError: /);
      expect(await client.readAll()).toBe("");
      await until(
        "the handler has ended",
        () => hasty.gateway.stats().exchanges_live === 0,
      );
    });
  });

  describe("lingering close", () => {
    // The client sends all before it reads: if the gateway closed with unread bytes, a reset would destroy the answer.
    for (const size of [1000, 60_000]) {
      it(`does not destroy an answer before ${size} bytes that nobody reads`, async () => {
        using client = await server.connect();
        await client.send(post("/unread", size));
        await client.send("x".repeat(size));
        expect(summary(await client.readAnswer())).toEqual([
          200,
          "did not read",
        ]);
        expect(summary(await client.ask(get("/native")))).toEqual([
          200,
          "native\n",
        ]);
      });
    }

    it("is announced if more is coming than will be read on", async () => {
      using client = await server.connect();
      await client.send(post("/unread", 900_000) + "x".repeat(60_000));
      const answer = await client.readAnswer();
      expect([answer.status, answer.text, answer.head.get("connection")])
        .toEqual([200, "did not read", "close"]);
      expect(await client.readAll()).toBe("");
    });

    it("does not destroy a refusal", async () => {
      using client = await server.connect();
      await client.send(
        "GET / HTTP/1.1\r\nBad Field: 1\r\n\r\n" + "x".repeat(50_000),
      );
      expect((await client.readAnswer()).status).toBe(400);
      expect(await client.readAll()).toBe("");
    });
  });

  describe("HTTP/1.0", () => {
    it("closes unless the client asks to keep the connection", async () => {
      for (const path of ["/native", "/text/1"]) {
        using client = await server.connect();
        const answer = await client.ask(`GET ${path} HTTP/1.0\r\n\r\n`);
        expect([answer.status, answer.head.get("connection")]).toEqual([
          200,
          "close",
        ]);
        expect(await client.readAll()).toBe("");
      }
      using client = await server.connect();
      for (let i = 0; i < 2; i++) {
        const answer = await client.ask(
          "GET /native HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        );
        expect(answer.head.get("connection")).toBe("keep-alive");
      }
    });

    it("gets no chunks: a stream ends with the connection", async () => {
      using client = await server.connect();
      const answer = await client.ask(
        "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
      );
      expect(answer.head.get("transfer-encoding")).toBe(undefined);
      expect([answer.text, answer.head.get("connection")]).toEqual([
        "one two three",
        "close",
      ]);
    });

    it("gets no 100, and a URL without Host", async () => {
      using client = await server.connect();
      await client.send(
        "POST /echo HTTP/1.0\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
      );
      expect(await client.readUntil("\r\n")).toBe("HTTP/1.1 200 OK\r\n");
      using other = await server.connect();
      const answer = await other.ask("GET /url HTTP/1.0\r\n\r\n");
      expect(answer.text).toBe(`http://localhost:${server.port}/url`);
    });
  });

  describe("targets", () => {
    it("takes the absolute form, whose host wins", async () => {
      const absolute = (url: string) =>
        `GET ${url} HTTP/1.1\r\nHost: ignored\r\n\r\n`;
      expect((await ask(absolute("http://other.example:81/url?a=b"))).text)
        .toBe("http://other.example:81/url?a=b");
      expect((await ask(absolute("http://other.example/native"))).text).toBe(
        "native\n",
      );
      expect((await ask(absolute("http://other.example"))).text).toBe("no /");
    });

    it("matches escaped paths as Hono does, natively, too", async () => {
      expect((await ask(get("/n%61tive"))).text).toBe("native\n");
      expect((await ask(get("/native%2Flarge"))).status).toBe(404);
      expect((await ask(get("/text/a%20b%2Fc%E2%82%AC"))).text).toBe(
        "text a b/c\u20ac",
      );
      expect((await ask(get("//native"))).status).toBe(404);
      expect((await ask(get("/native/"))).status).toBe(404);
      expect((await ask(get("/url?q=%41&r=//..//"))).text).toBe(
        "http://h.example/url?q=%41&r=//..//",
      );
    });

    it("refuses dot segments with 400, escaped, too", async () => {
      for (
        const path of [
          "/a/../native",
          "/./native",
          "/%2e%2E/native",
          "/native/..",
          "/a/.%2e/b",
        ]
      ) {
        expect([path, (await askLast(get(path))).status]).toEqual([path, 400]);
      }
      expect((await ask(get("/text/..."))).text).toBe("text ...");
    });

    it("lets dot segments pass with `paths: hono`", async () => {
      await using loose = await startGateway(createApp(), { paths: "hono" });
      using client = await loose.connect();
      expect((await client.ask(get("/text/.."))).text).toBe("text ..");
      expect((await client.ask(get("/a/../native"))).text).toBe(
        "no /a/../native",
      );
    });

    it("knows methods that nobody else knows", async () => {
      expect((await ask(get("/purge").replace("GET", "PURGE"))).text).toBe(
        "purged",
      );
      expect((await ask(get("/purge"))).status).toBe(404);
      expect((await ask(get("*").replace("GET", "OPTIONS"))).status).toBe(200);
      expect((await askLast(get("/native").replace("GET", "TRACE"))).status)
        .toBe(501);
    });
  });

  describe("requests that could be two", () => {
    const rows: [string, string, number][] = [
      ["bare LF", "GET /native HTTP/1.1\nHost: h\n\n", 400],
      ["no Host", "GET /native HTTP/1.1\r\n\r\n", 400],
      ["two Hosts", get("/native", "Host: other\r\n"), 400],
      ["two lengths", post("/echo", 4, "Content-Length: 4\r\n") + "body", 400],
      [
        "length and chunks",
        post("/echo", 4, "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        400,
      ],
      ["a signed length", get("/native", "Content-Length: +1\r\n"), 400],
      [
        "chunked not last",
        get("/native", "Transfer-Encoding: chunked, gzip\r\n"),
        400,
      ],
      [
        "unknown coding",
        get("/native", "Transfer-Encoding: gzip, chunked\r\n"),
        501,
      ],
      ["space before colon", get("/native", "X : 1\r\n"), 400],
      ["a folded line", get("/native", "X: 1\r\n 2\r\n"), 400],
      ["NUL in a value", get("/native", "X: \0\r\n"), 400],
      ["another version", "GET /native HTTP/1.2\r\nHost: h\r\n\r\n", 505],
      ["two spaces", "GET  /native HTTP/1.1\r\nHost: h\r\n\r\n", 400],
      [
        "TLS on a plain port",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        400,
      ],
    ];
    for (const [what, request, status] of rows) {
      it(`are refused with ${status}: ${what}`, async () => {
        using client = await server.connect();
        await client.send(request + get("/native"));
        const answer = await client.readAnswer();
        expect([answer.status, answer.head.get("connection")]).toEqual([
          status,
          "close",
        ]);
        expect(await client.readAll()).toBe("");
      });
    }
  });

  it("leaves nothing behind", async () => {
    await until("all exchanges have ended", () => {
      const { exchanges_live, requests_live, conns_live } = server.gateway
        .stats();
      return exchanges_live + requests_live + conns_live === 0;
    });
    const { bad_verdicts, io_stale_cqes, io_bufs_lent } = server.gateway
      .stats();
    expect({ bad_verdicts, io_stale_cqes, io_bufs_lent }).toEqual({
      bad_verdicts: 0,
      io_stale_cqes: 0,
      io_bufs_lent: 0,
    });
  });
});
