/**
 * proxy() behind middleware in TypeScript: the middleware sees and edits both heads, and no byte of a body enters V8 unless somebody reads
 * it. The same app on Deno.serve, where everything goes by fetch(), says what is right.
 *
 * @module
 */
import { brotliCompressSync, gzipSync } from "node:zlib";
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { compress } from "hono/compress";
import { cors } from "hono/cors";
import { etag } from "hono/etag";
import { requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import { headers, proxy } from "sluice";
import { ask, head, serveByDeno, type Server } from "./hono_servers.ts";
import {
  answering,
  latin1,
  type RawClient,
  type RunningGateway,
  startGateway,
  startUpstream,
  type Upstream,
  type UpstreamConn,
  within,
} from "./support.ts";

const encoder = new TextEncoder();

// ---- What goes on around proxy(); `ringed`: the body of the answer or of the request is read here, so it does not stay native

interface Around {
  middleware: MiddlewareHandler;
  method?: string;
  path?: string;
  fields?: Record<string, string>;
  body?: string;
  ringed?: true;
  /** On Deno.serve a request's headers are immutable, so this is what is right. */
  says?: string;
}

const upper = (c: Context, stream: ReadableStream<Uint8Array>) =>
  new Response(
    stream.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (part, to) =>
          to.enqueue(
            encoder.encode(new TextDecoder().decode(part).toUpperCase()),
          ),
      }),
    ),
    c.res,
  );

const AROUND: Record<string, Around> = {
  "nothing but next()": { middleware: (_, next) => next() },
  "a field on either head": {
    middleware: async (c, next) => {
      c.req.raw.headers.set("x-request", "edited");
      c.req.raw.headers.delete("x-client");
      await next();
      c.header("x-response", "edited");
      c.res.headers.delete("x-up");
    },
    says:
      "GET /x x-client=- x-request=edited x-real-ip=- via=1.1 sluice host=h.example \n",
  },
  "another Request with other fields, and an upload": {
    middleware: async (c, next) => {
      const fields = new Headers(c.req.raw.headers);
      fields.set("x-request", "new");
      c.req.raw = new Request(c.req.raw, { headers: fields });
      await next();
    },
    method: "POST",
    body: "an uploaded body",
  },
  "another path with an upload": {
    middleware: async (c, next) => {
      c.req.raw = new Request(new URL("/moved", c.req.url), c.req.raw);
      await next();
    },
    method: "POST",
    body: "moved on",
  },
  "another Request with other fields": {
    middleware: async (c, next) => {
      const fields = new Headers(c.req.raw.headers);
      fields.set("x-request", "new");
      c.req.raw = new Request(c.req.raw, { headers: fields });
      await next();
    },
  },
  "another path and query": {
    middleware: async (c, next) => {
      c.req.raw = new Request(
        new URL("/moved/to?q=1", c.req.url),
        c.req.raw,
      );
      await next();
    },
  },
  "another method": {
    middleware: async (c, next) => {
      c.req.raw = new Request(c.req.raw, { method: "DELETE" });
      await next();
    },
  },
  "another status": {
    middleware: async (c, next) => {
      await next();
      c.res = new Response(c.res.body, { status: 299, headers: c.res.headers });
    },
  },
  "the answer made anew of its parts": {
    middleware: async (c, next) => {
      await next();
      c.res = new Response(c.res.body, c.res);
    },
  },
  "fields set before next()": {
    middleware: async (c, next) => {
      c.header("x-before", "1");
      c.header("set-cookie", "a=1", { append: true });
      c.header("set-cookie", "b=2", { append: true });
      await next();
    },
  },
  "a look at everything": {
    middleware: async (c, next) => {
      await next();
      c.header(
        "x-looked",
        [c.res.status, c.res.headers.get("x-up"), c.res.ok, c.res.bodyUsed]
          .join(" "),
      );
    },
  },
  "a body that is not there": {
    middleware: (_, next) => next(),
    path: "/empty",
  },
  "a 204": { middleware: (_, next) => next(), path: "/204" },
  "a 304 with an edited head": {
    middleware: async (c, next) => {
      await next();
      c.header("x-response", "edited");
    },
    path: "/304",
  },
  "HEAD": { middleware: (_, next) => next(), method: "HEAD" },
  "HEAD with an edited head": {
    middleware: async (c, next) => {
      await next();
      c.header("x-response", "edited");
    },
    method: "HEAD",
  },
  "a redirect": { middleware: (_, next) => next(), path: "/302" },
  "several cookies": {
    middleware: async (c, next) => {
      await next();
      c.header("set-cookie", "mine=1", { append: true });
    },
    path: "/cookies",
  },
  "an upload": {
    middleware: async (c, next) => {
      c.req.raw.headers.set("x-request", "edited");
      await next();
    },
    method: "POST",
    body: "an uploaded body",
    says:
      "POST /x x-client=1 x-request=edited x-real-ip=- via=1.1 sluice host=h.example an uploaded body\n",
  },
  "an upload that the handler only looks at": {
    middleware: async (c, next) => {
      c.header("x-has-body", String(c.req.raw.body !== null));
      await next();
    },
    method: "PUT",
    body: "not read",
  },
  "Hono's cors, secureHeaders and requestId": {
    middleware: async (c, next) => {
      await cors({ origin: "*" })(c, async () => {
        await secureHeaders()(c, async () => {
          await requestId({ generator: () => "made" })(c, next);
        });
      });
    },
    fields: { origin: "https://a.example" },
  },
  "our headers() in TypeScript": {
    middleware: async (c, next) => {
      await headers({
        request: { set: { "x-real-ip": "10.1.1.1", "x-request": "set" } },
        response: { set: { "x-response": "set" }, remove: ["x-up"] },
      })(c, next);
    },
    fields: { "x-real-ip": "192.0.2.1", connection: "x-request" },
  },
  "a coded answer, passed on": {
    middleware: (_, next) => next(),
    path: "/gzip",
    fields: { "accept-encoding": "gzip" },
  },
  "a coded answer with an edited head": {
    middleware: async (c, next) => {
      await next();
      c.header("x-response", "edited");
    },
    path: "/gzip",
    fields: { "accept-encoding": "gzip" },
  },
  // From here on a body is read.
  "a body that is read and replaced": {
    middleware: async (c, next) => {
      await next();
      c.res = new Response((await c.res.text()).toUpperCase(), c.res);
    },
    ringed: true,
  },
  "a body that is piped through": {
    middleware: async (c, next) => {
      await next();
      c.res = upper(c, c.res.body!);
    },
    ringed: true,
  },
  "a clone that is read": {
    middleware: async (c, next) => {
      await next();
      c.header("x-length", String((await c.res.clone().text()).length));
    },
    ringed: true,
  },
  "a clone that is read later": {
    middleware: async (c, next) => {
      await next();
      const copy = c.res.clone();
      c.executionCtx.waitUntil(
        Promise.resolve().then(() => Promise.resolve()).then(() => copy.text()),
      );
    },
    ringed: true,
  },
  "Hono's etag()": { middleware: etag(), ringed: true },
  "Hono's compress()": {
    middleware: compress({ threshold: 1 }),
    fields: { "accept-encoding": "gzip" },
    ringed: true,
  },
  "a gzip answer that is read": {
    middleware: async (c, next) => {
      await next();
      c.res = new Response((await c.res.text()).toUpperCase(), c.res);
    },
    path: "/gzip",
    fields: { "accept-encoding": "gzip" },
    ringed: true,
  },
  "a brotli answer that is read": {
    middleware: async (c, next) => {
      await next();
      c.res = new Response((await c.res.text()).toUpperCase(), c.res);
    },
    path: "/br",
    fields: { "accept-encoding": "br" },
    ringed: true,
  },
  "a request's body that is read and made anew": {
    middleware: async (c, next) => {
      const text = await c.req.raw.text();
      c.req.raw = new Request(c.req.raw.url, {
        method: "POST",
        headers: { "x-request": "made", host: "h.example" },
        body: text.toUpperCase(),
      });
      await next();
    },
    method: "POST",
    body: "made anew",
    ringed: true,
  },
  "an answer of the handler's own": {
    middleware: async (c, next) => {
      await next();
      c.res = new Response("mine", { status: 203 });
    },
    ringed: true, // and so RESPOND in place of FORWARD
  },
  "a thrown error after the answer": {
    middleware: async (_, next) => {
      await next();
      throw new Error("after the answer");
    },
    ringed: true,
  },
};

function createApp(upstream: string): Hono {
  const app = new Hono();
  for (const [i, { middleware }] of Object.values(AROUND).entries()) {
    app.use(`/${i}/*`, middleware);
  }
  app.all("/*", proxy(upstream));
  app.onError((error, c) => c.text(`error: ${error.message}`, 500));
  return app;
}

function script() {
  return answering(({ method, target, head, body }) => {
    const path = target.replace(/^\/\d+/, "");
    const start = (status: string, length: number, more = "") =>
      `HTTP/1.1 ${status}\r\nX-Up: 1\r\nContent-Type: text/plain\r\n${more}` +
      `Content-Length: ${length}\r\n\r\n`;
    if (path === "/empty") return start("200 OK", 0);
    if (path === "/204") return "HTTP/1.1 204 No Content\r\nX-Up: 1\r\n\r\n";
    if (path === "/304") {
      return 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nX-Up: 1\r\n\r\n';
    }
    if (path === "/302") return start("302 Found", 0, "Location: /there\r\n");
    if (path === "/gzip" || path === "/br") {
      const coded = path === "/br"
        ? brotliCompressSync("a coded text")
        : gzipSync("a coded text");
      const first = encoder.encode(
        start("200 OK", coded.length, `Content-Encoding: ${path.slice(1)}\r\n`),
      );
      return Uint8Array.from([...first, ...coded]);
    }
    const names = ["x-client", "x-request", "x-real-ip", "via", "host"];
    const said = names.map((name) => `${name}=${head.get(name) ?? "-"}`);
    const text = `${method} ${target.replace(/^\/\d+/, "")} ${said.join(" ")} ${
      latin1(body)
    }\n`;
    const more = path === "/cookies"
      ? "Set-Cookie: u=1\r\nSet-Cookie: v=2\r\n"
      : "";
    return start("200 OK", text.length, more) + (method === "HEAD" ? "" : text);
  });
}

function requestOf(
  { method = "GET", path = "/x", fields, body }: Around,
  i: number,
) {
  const length: Record<string, string> = body === undefined
    ? {}
    : { "content-length": String(body.length) };
  return head(method, `/${i}${path}`, {
    "x-client": "1",
    ...length,
    ...fields,
  }) + (body ?? "");
}

// Where fetch() stands between, a coded answer comes decoded: what is compared is what a client makes of it.
const DECODED_BY_FETCH = /^a coded answer/;

describe("middleware around proxy()", () => {
  const expected: unknown[] = [];
  let upstream: Upstream;
  let sluice: RunningGateway;
  let asServer: Server;
  const { error } = console;

  beforeAll(async () => {
    console.error = () => {};
    upstream = await startUpstream(script());
    const deno = serveByDeno({ app: createApp(upstream.url), told: [] });
    for (const [i, around] of Object.values(AROUND).entries()) {
      expected.push(
        await ask(deno, requestOf(around, i), around.method === "HEAD"),
      );
    }
    await within(deno.stop(), "Deno.serve's end");
    const app = createApp(upstream.url);
    sluice = await startGateway(app);
    asServer = {
      app,
      told: [],
      name: "Sluice",
      port: sluice.port,
      connect: sluice.connect,
      stop: sluice.stop,
    };
  });
  afterAll(async () => {
    await sluice.stop();
    await upstream.stop();
    console.error = error;
  });

  for (const [i, [name, around]] of Object.entries(AROUND).entries()) {
    it(`${name}${around.ringed ? "" : ": the bodies stay native"}`, async () => {
      const before = sluice.gateway.stats();
      const got = await ask(
        asServer,
        requestOf(around, i),
        around.method === "HEAD",
      );
      const after = sluice.gateway.stats();
      if (around.says) {
        const [{ body }] = got as [{ body: string }];
        expect(body).toBe(around.says);
      } else if (!DECODED_BY_FETCH.test(name)) {
        expect(got).toEqual(expected[i]);
      } else {
        const [{ status, fields, body }] = got as [
          { status: number; fields: string[][]; body: string },
        ];
        expect([status, Object.fromEntries(fields)["content-encoding"]])
          .toEqual([200, "gzip"]);
        const whole = Uint8Array.from(body, (char) => char.charCodeAt(0));
        const stream = new Blob([whole]).stream()
          .pipeThrough(new DecompressionStream("gzip"));
        expect(await new Response(stream).text()).toBe("a coded text");
      }
      // REQUEST and ANSWER, PROXY and FORWARD: nothing of a body is among them.
      const counts = [
        after.events - before.events,
        after.verdicts - before.verdicts,
      ];
      if (!around.ringed) expect(counts).toEqual([2, 2]);
      expect(after.requests_proxied - before.requests_proxied).toBe(
        name.startsWith("a request's body") ? 0 : 1,
      );
      expect(after.bad_verdicts).toBe(0);
    });
  }
});

const SOAK = Boolean(Deno.env.get("SLUICE_SOAK"));
const LARGE = SOAK ? 1 << 30 : 64 << 20;

describe("a large body behind middleware", () => {
  const part = new Uint8Array(1 << 20).fill(0x61);

  async function count(
    script: (conn: UpstreamConn) => Promise<void>,
    talk: (client: RawClient) => Promise<void>,
  ): Promise<[events: number, verdicts: number]> {
    await using upstream = await startUpstream(script);
    const app = new Hono();
    app.use(async (c, next) => {
      c.req.raw = new Request(c.req.raw, {
        headers: { ...c.req.header(), "x-request": "edited" },
      });
      await next();
      c.header("x-response", "edited");
    });
    app.all("/*", proxy(upstream.url));
    await using running = await startGateway(app);
    using client = await running.connect();
    await talk(client);
    const { events, verdicts } = running.gateway.stats();
    return [events, verdicts];
  }

  it(`of ${LARGE >> 20} MiB comes down in two events and two verdicts`, async () => {
    const counts = await count(async (conn) => {
      await conn.readRequest();
      await conn.send(`HTTP/1.1 200 OK\r\nContent-Length: ${LARGE}\r\n\r\n`);
      for (let sent = 0; sent < LARGE; sent += part.length) {
        await conn.send(part);
      }
    }, async (client) => {
      await client.send(head("GET", "/"));
      const answer = await client.readHead();
      expect(answer?.get("x-response")).toBe("edited");
      for (let left = LARGE; left > 0; left -= part.length) {
        await client.readBytes(part.length);
      }
    });
    expect(counts).toEqual([2, 2]);
  });

  it(`of ${LARGE >> 20} MiB goes up in two events and two verdicts, beyond the limit of handlers`, async () => {
    const counts = await count(async (conn) => {
      const request = await conn.readHead();
      expect(request?.get("x-request")).toBe("edited");
      for (let left = LARGE; left > 0; left -= part.length) {
        await conn.readBytes(part.length);
      }
      await conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      await conn.readHead();
    }, async (client) => {
      await client.send(
        head("POST", "/", { "content-length": String(LARGE) }),
      );
      for (let sent = 0; sent < LARGE; sent += part.length) {
        await client.send(part);
      }
      expect((await client.readAnswer()).text).toBe("ok");
    });
    expect(counts).toEqual([2, 2]);
  });

  it("is refused with 413 when the handler reads it", async () => {
    const app = new Hono();
    app.use(async (c, next) => {
      await c.req.text();
      await next();
    });
    app.all("/*", proxy("http://127.0.0.1:9"));
    await using running = await startGateway(app, {
      limits: { bodyBytesMax: 10 },
    });
    using client = await running.connect();
    const answer = await client.ask(
      head("POST", "/", { "content-length": "11" }) + "01234567890",
    );
    expect(answer.status).toBe(413);
  });
});

describe("an upstream's failure behind middleware", () => {
  it("is an answer that middleware sees: its status, its text, Retry-After", async () => {
    const app = new Hono();
    const seen: unknown[] = [];
    app.use(async (c, next) => {
      await next();
      seen.push(c.res.status, c.res.headers.get("retry-after"));
      c.header("x-response", "edited");
    });
    const free = Deno.listen({ port: 0, hostname: "127.0.0.1" });
    const { port } = free.addr;
    free.close();
    await using silent = await startUpstream(async (conn) => {
      await conn.readRequest();
      await conn.readHead();
    });
    app.all("/refused", proxy(`http://127.0.0.1:${port}`));
    app.all("/late", proxy(silent.url, { headTimeoutMs: 50 }));
    app.all("/nowhere", proxy("http://nowhere.invalid"));
    await using running = await startGateway(app);
    const answers: unknown[] = [];
    for (const path of ["/refused", "/late", "/nowhere"]) {
      using client = await running.connect();
      const { status, text, head: answer } = await client.ask(
        head("GET", path),
      );
      answers.push([status, text, answer.get("x-response")]);
    }
    expect(answers).toEqual([
      [502, "The upstream refused the connection.\n", "edited"],
      [504, "The upstream did not answer in time.\n", "edited"],
      [503, "All connections to the upstream are in use.\n", "edited"],
    ]);
    expect(seen).toEqual([502, null, 504, null, 503, "1"]);
    const { byStatus } = running.gateway.stats();
    expect([
      byStatus.upstream_refused,
      byStatus.upstream_timeout,
      byStatus.upstream_full,
    ]).toEqual([1, 1, 1]);
  });

  it("inside a body that is read throws there; one that is passed on is broken", async () => {
    await using upstream = await startUpstream(async (conn) => {
      await conn.readRequest();
      await conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
    const app = new Hono();
    app.use("/read", async (c, next) => {
      await next();
      const text = await c.res.text().catch((error) => String(error));
      c.res = new Response(text);
    });
    app.use("/passed", async (c, next) => {
      await next();
      c.header("x-response", "edited");
    });
    app.all("/*", proxy(upstream.url));
    await using running = await startGateway(app);
    using client = await running.connect();
    expect((await client.ask(head("GET", "/read"))).text).toBe(
      "TypeError: The upstream broke off inside its answer.",
    );
    const passed = async () => {
      await client.send(head("GET", "/passed"));
      await client.readUntil("half");
      return await client.readAll();
    };
    expect(await passed().catch((error) => error.name)).toBe("ConnectionReset");
  });

  it("is not waited for by a client that has left: the handler hears, the upstream's connection ends", async () => {
    const asked = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<unknown>();
    await using upstream = await startUpstream(async (conn) => {
      await conn.readRequest();
      asked.resolve();
      ended.resolve(await conn.readHead().catch((error) => error));
    });
    const heard = Promise.withResolvers<string>();
    const app = new Hono();
    app.use(async (_, next) => {
      await next().catch(() => {});
      heard.resolve("next() is over");
    });
    app.all("/*", proxy(upstream.url));
    await using running = await startGateway(app);
    const client = await running.connect();
    await client.send(head("GET", "/"));
    await within(asked.promise, "the request");
    client.close();
    expect(await within(heard.promise, "the handler")).toBe("next() is over");
    await within(ended.promise, "the upstream's end");
  });
});
