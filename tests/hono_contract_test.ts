/**
 * Every Hono app runs unmodified: one app, served by Deno.serve and by Sluice, is asked the same things by the same raw client,
 * and what comes back is compared.
 *
 * @module
 */
import { gzipSync } from "node:zlib";
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { type Context, Hono } from "hono";
import { basicAuth } from "hono/basic-auth";
import { bodyLimit } from "hono/body-limit";
import { compress } from "hono/compress";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { cors } from "hono/cors";
import { csrf } from "hono/csrf";
import { getConnInfo, serveStatic } from "hono/deno";
import { etag } from "hono/etag";
import { HTTPException } from "hono/http-exception";
import { logger } from "hono/logger";
import { methodOverride } from "hono/method-override";
import { poweredBy } from "hono/powered-by";
import { prettyJSON } from "hono/pretty-json";
import { proxy as proxyHelper } from "hono/proxy";
import { requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import { stream, streamSSE, streamText } from "hono/streaming";
import { timeout } from "hono/timeout";
import { timing } from "hono/timing";
import { validator } from "hono/validator";
import {
  answering,
  folderOf,
  latin1,
  type RawAnswer,
  RawClient,
  rawClient,
  startGateway,
  startUpstream,
  until,
  type Upstream,
  within,
} from "./support.ts";

const encoder = new TextEncoder();

// ---- The app, as anyone would write it

interface World {
  app: Hono;
  /** What handlers have told, in order. */
  told: string[];
}

function createWorld(upstream: string, folder: string): World {
  const told: string[] = [];
  const app = new Hono();
  addMiddleware(app, told, folder);
  addBodies(app);
  addAnswers(app);
  addStreams(app, told);
  addFetches(app, upstream);
  addErrors(app);
  return { app, told };
}

function addMiddleware(app: Hono, told: string[], folder: string): void {
  app.use(
    "/cors/*",
    cors({
      origin: ["https://a.example", "https://b.example"],
      credentials: true,
      exposeHeaders: ["x-one", "x-two"],
      maxAge: 600,
    }),
  );
  app.use(
    "/log/*",
    logger((line) => told.push(line.replace(/\d+m?s/, "N ms"))),
  );
  app.use("/secure/*", secureHeaders());
  app.use("/etag/*", etag());
  app.use("/compress/*", compress({ threshold: 10 }));
  app.use("/auth/*", basicAuth({ username: "ada", password: "engine" }));
  app.use("/csrf/*", csrf());
  app.use(
    "/limit/*",
    bodyLimit({ maxSize: 10, onError: (c) => c.text("too much", 413) }),
  );
  app.use("/override/*", methodOverride({ app }));
  app.use("/pretty/*", prettyJSON());
  app.use("/timeout/*", timeout(50));
  app.use(
    "/id/*",
    requestId({ generator: () => "made-here" }),
    poweredBy(),
    timing({ total: false }),
  );
  app.use(
    "/static/*",
    serveStatic({ root: folder, rewriteRequestPath: (path) => path.slice(7) }),
  );
  app.use("/after/*", async (c, next) => {
    await next();
    c.res.headers.append("x-after", "1");
    c.header("x-after", "2", { append: true });
    if (c.req.path === "/after/replaced") {
      c.res = new Response("replaced", {
        status: 201,
        headers: { "x-new": "1" },
      });
    }
  });
  for (
    const name of [
      "cors",
      "log",
      "secure",
      "etag",
      "auth",
      "csrf",
      "limit",
      "id",
      "after",
    ]
  ) {
    app.all(`/${name}/*`, (c) => c.text(`${name} of ${c.req.path}`));
  }
  app.all("/compress/*", (c) => c.text("compressed ".repeat(100)));
  app.delete("/override/*", (c) => c.text("deleted"));
  app.get("/pretty/*", (c) => c.json({ a: [1, { b: null }], c: "\u20ac" }));
  app.get("/timeout/*", async (c) => {
    await new Promise((resolve) =>
      c.req.raw.signal.addEventListener("abort", resolve)
    );
    return c.text("never");
  });
  app.get("/conn", (c) => {
    const { remote } = getConnInfo(c);
    return c.json({
      ...remote,
      port: remote.port === Number(c.req.query("port")),
    });
  });
  app.get("/wait-until", (c) => {
    c.executionCtx.waitUntil(Promise.resolve().then(() => told.push("waited")));
    return c.text("later");
  });
}

function addBodies(app: Hono): void {
  app.post("/body/text", async (c) => c.text(await c.req.text()));
  app.post("/body/json", async (c) => c.json(await c.req.json()));
  app.post(
    "/body/buffer",
    async (c) => c.text(await digestOf(await c.req.arrayBuffer())),
  );
  app.post("/body/blob", async (c) => {
    const blob = await c.req.blob();
    return c.text(`${blob.type} ${blob.size} ${await blob.text()}`);
  });
  app.post(
    "/body/bytes",
    async (c) => c.text(String((await c.req.raw.bytes()).length)),
  );
  app.post(
    "/body/form",
    async (c) => c.json(await describeForm(await c.req.formData())),
  );
  app.post("/body/parse", async (c) => {
    const body = await c.req.parseBody({ all: true });
    return c.json(
      Object.fromEntries(
        Object.entries(body).map(([name, value]) => [name, String(value)]),
      ),
    );
  });
  app.post("/body/twice", async (c) => {
    const first = await c.req.text();
    return c.json([
      first,
      await c.req.text(),
      (await c.req.arrayBuffer()).byteLength,
      c.req.raw.bodyUsed,
    ]);
  });
  app.post("/body/raw-twice", async (c) => {
    const { raw } = c.req;
    const before = raw.bodyUsed;
    const first = await raw.text();
    const again = await raw.text().then(
      () => "no error",
      (error) => error.name,
    );
    return c.json([before, first, again, raw.bodyUsed, raw.body !== null]);
  });
  app.post("/body/clone", async (c) => {
    const copy = c.req.raw.clone();
    return c.json([
      await copy.text(),
      await c.req.raw.text(),
      copy.headers.get("x-a"),
    ]);
  });
  app.post("/body/new-request", async (c) => {
    const copy = new Request(c.req.raw);
    return c.json([
      copy instanceof Request,
      copy.method,
      copy.url.slice(-19),
      await copy.text(),
      c.req.raw.bodyUsed,
    ]);
  });
  app.post("/body/new-request-init", async (c) => {
    const changed = new Request(c.req.raw, {
      method: "PUT",
      headers: { "x-new": "1" },
      body: "other",
    });
    return c.json([
      changed.method,
      changed.headers.get("x-new"),
      changed.headers.get("x-a"),
      await changed.text(),
    ]);
  });
  app.post("/body/new-request-url", async (c) => {
    const moved = new Request("http://moved.example/", c.req.raw);
    return c.json([
      moved.url,
      moved.method,
      moved.headers.get("x-a"),
      await moved.text(),
    ]);
  });
  app.post("/body/reader", async (c) => {
    let length = 0;
    for await (const part of c.req.raw.body!) length += part.length;
    return c.text(String(length));
  });
  app.post("/body/cancel", async (c) => {
    await c.req.raw.body!.cancel();
    return c.text(`used: ${c.req.raw.bodyUsed}`);
  });
  app.all(
    "/body/none",
    (c) => c.json([c.req.raw.body === null, c.req.raw.bodyUsed]),
  );
  app.post(
    "/body/echo",
    (c) =>
      new Response(c.req.raw.body, {
        headers: c.req.raw.headers.has("x-a") ? { "x-a": "1" } : {},
      }),
  );
  app.post("/body/upper", (c) =>
    c.body(
      c.req.raw.body!.pipeThrough(new TextDecoderStream()).pipeThrough(
        new TransformStream<string, string>({
          transform: (text, to) => to.enqueue(text.toUpperCase()),
        }),
      ).pipeThrough(new TextEncoderStream()),
    ));
  app.post(
    "/body/validated",
    validator(
      "json",
      (value, c) =>
        typeof value.name === "string" ? value : c.text("no name", 422),
    ),
    (c) => c.text(c.req.valid("json").name),
  );
  app.post(
    "/body/validated-form",
    validator("form", (value) => value),
    (c) => c.json(c.req.valid("form")),
  );
}

async function digestOf(
  bytes: ArrayBuffer | Uint8Array<ArrayBuffer>,
): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", bytes);
  return `${bytes.byteLength} ${new Uint8Array(hash).toHex()}`;
}

async function describeForm(form: FormData): Promise<unknown[]> {
  const all: unknown[] = [];
  for (const [name, value] of form) {
    all.push(
      typeof value === "string"
        ? [name, value]
        : [name, value.name, value.type, await value.text()],
    );
  }
  return all;
}

function addAnswers(app: Hono): void {
  app.get(
    "/url",
    (c) =>
      c.json([
        c.req.url,
        c.req.path,
        c.req.query(),
        c.req.queries("q") ?? null,
      ]),
  );
  app.get("/param/:a/:b{[0-9]+}", (c) => c.json(c.req.param()));
  app.get(
    "/headers",
    (c) =>
      c.json([
        c.req.header(),
        [...c.req.raw.headers],
        c.req.raw.headers.get("cookie"),
      ]),
  );
  app.get("/cookies", (c) => {
    setCookie(c, "a", "1", { httpOnly: true, path: "/" });
    setCookie(c, "b", "2 \u20ac", { maxAge: 60 });
    deleteCookie(c, "c");
    return c.json(getCookie(c));
  });
  app.get(
    "/status/:code",
    (c) => c.body(null, Number(c.req.param("code")) as 200),
  );
  app.get(
    "/status-text/:code",
    (c) =>
      new Response("text", {
        status: Number(c.req.param("code")),
        statusText: "Chosen",
      }),
  );
  app.get(
    "/json",
    (c) => c.json({ a: 1, text: "\u20ac" }, 201, { "x-json": "1" }),
  );
  app.get("/html", (c) => c.html("<p>\u00e9</p>"));
  app.get("/redirect", (c) => c.redirect("/to?a=b", 307));
  app.get("/latin", (c) => c.text("latin", 200, { "x-latin": "caf\u00e9" }));
  const kinds: Record<string, () => Response> = {
    string: () => new Response("text"),
    empty: () => new Response(),
    "empty-string": () => new Response(""),
    buffer: () => new Response(encoder.encode("buffer").buffer),
    bytes: () => new Response(encoder.encode("bytes")),
    view: () => new Response(new Uint16Array([0x6261, 0x6463])),
    slice: () => new Response(encoder.encode("0123456789").subarray(3, 6)),
    blob: () => new Response(new Blob(["blob"], { type: "text/x-blob" })),
    params: () => new Response(new URLSearchParams({ a: "1", b: "2 3" })),
    json: () => Response.json({ a: 1 }, { status: 202 }),
    redirect: () => Response.redirect("http://h.example/x", 303),
    typed: () =>
      new Response("typed", { headers: { "content-type": "text/x-mine" } }),
    lengthy: () =>
      new Response("12345", { headers: { "content-length": "5" } }),
    large: () => new Response("\u20ac".repeat(400_000)),
    "large-bytes": () => new Response(new Uint8Array(2_000_000).fill(0x61)),
    clone: () => new Response("cloned").clone(),
    "new-from-old": () =>
      new Response(
        new Response("old").body,
        new Response("x", { status: 203, headers: { "x-a": "1" } }),
      ),
    hop: () =>
      new Response("hop", {
        headers: {
          connection: "x-hop",
          "keep-alive": "timeout=1",
          "x-hop": "1",
        },
      }),
  };
  app.get("/kind/:kind", (c) => kinds[c.req.param("kind")]());
  app.get("/default-headers", (c) => {
    c.header("x-one", "1");
    c.status(206);
    c.header("x-two", "2");
    return c.body("body");
  });
}

function addStreams(app: Hono, told: string[]): void {
  app.get("/stream/text", (c) =>
    streamText(c, async (stream) => {
      for (const word of ["one ", "two ", "three"]) await stream.write(word);
    }));
  app.get("/stream/bytes", (c) =>
    stream(c, async (stream) => {
      for (let i = 0; i < 50; i++) {
        await stream.write(new Uint8Array(20_000).fill(i));
      }
    }));
  app.get(
    "/stream/pipe",
    (c) =>
      stream(
        c,
        (stream) => stream.pipe(new Blob(["piped ".repeat(10_000)]).stream()),
      ),
  );
  app.get("/stream/sse", (c) =>
    streamSSE(c, async (stream) => {
      for (let i = 0; i < 3; i++) {
        await stream.writeSSE({
          data: `line ${i}\nmore`,
          event: "tick",
          id: String(i),
        });
      }
    }));
  app.get("/stream/sse-forever", (c) =>
    streamSSE(c, async (stream) => {
      stream.onAbort(() => void told.push("sse aborted"));
      await stream.writeSSE({ data: "first" });
      await new Promise<void>((resolve) => stream.onAbort(() => resolve()));
    }));
  app.get("/stream/caught", (c) =>
    stream(c, async (stream) => {
      await stream.write("before");
      throw new Error("in a stream");
    }, async (error, stream) => {
      told.push(`caught ${error.message}`);
      await stream.write(" after");
    }));
  app.get("/stream/error", () =>
    new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(encoder.encode("before")),
        pull: (controller) => controller.error(new Error("in a stream")),
      }),
    ));
  app.get("/stream/declared", () =>
    new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(encoder.encode("12345"));
          controller.close();
        },
      }),
      { headers: { "content-length": "5" } },
    ));
  app.get("/stream/signal", (c) => {
    c.req.raw.signal.addEventListener(
      "abort",
      () => told.push("signal aborted"),
    );
    return new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(encoder.encode("first")),
        cancel: () => void told.push("stream cancelled"),
      }),
    );
  });
  app.get("/stream/pending", async (c) => {
    told.push("entered");
    await new Promise((resolve) =>
      c.req.raw.signal.addEventListener("abort", resolve)
    );
    told.push("signal aborted");
    return c.text("too late");
  });
}

function addFetches(app: Hono, upstream: string): void {
  app.get("/fetch/plain", () => fetch(`${upstream}/plain`));
  app.get("/fetch/gzip", () => fetch(`${upstream}/gzip`));
  app.get("/fetch/changed", async () => {
    const response = await fetch(`${upstream}/plain`);
    return new Response(response.body, {
      status: 203,
      headers: { ...Object.fromEntries(response.headers), "x-changed": "1" },
    });
  });
  app.get("/fetch/same-init", async () => {
    const response = await fetch(`${upstream}/plain`);
    return new Response(response.body, response);
  });
  app.post(
    "/fetch/post",
    (c) => fetch(new Request(`${upstream}/echo`, c.req.raw)),
  );
  app.post(
    "/fetch/body",
    (c) =>
      fetch(`${upstream}/echo`, {
        method: "POST",
        body: c.req.raw.body,
        headers: { "x-a": "1" },
      }),
  );
  app.all(
    "/fetch/helper",
    (c) =>
      proxyHelper(`${upstream}/echo`, {
        ...c.req,
        headers: { ...c.req.header(), "x-helped": "1" },
      }),
  );
  app.get("/fetch/raw", (c) => {
    const url = new URL(c.req.url);
    url.host = new URL(upstream).host;
    url.pathname = "/plain";
    return fetch(new Request(url, c.req.raw));
  });
}

function addErrors(app: Hono): void {
  app.get("/error/thrown", () => {
    throw new Error("thrown");
  });
  app.get("/error/later", async () => {
    await Promise.resolve();
    throw new Error("later");
  });
  app.get("/error/http", () => {
    throw new HTTPException(418, { message: "teapot" });
  });
  app.get("/error/response", () => {
    throw new HTTPException(401, {
      res: new Response("log in", {
        status: 401,
        headers: { "www-authenticate": "Basic" },
      }),
    });
  });
  // deno-lint-ignore no-explicit-any -- what a careless user writes
  app.get("/error/nothing", (() => {}) as any);
  app.get("/error/header", (c) => {
    c.header("bad name", "x");
    return c.text("never");
  });
  const inner = new Hono();
  inner.get("/thrown", () => {
    throw new Error("inner");
  });
  inner.onError((error, c) => c.text(`inner handler: ${error.message}`, 500));
  app.route("/inner", inner);
  app.mount(
    "/mounted",
    (request) =>
      new Response(
        `mounted ${new URL(request.url).pathname} ${request.method}`,
      ),
  );
  app.onError((error, c) =>
    error instanceof HTTPException
      ? error.getResponse()
      : c.text(`app's handler: ${error.message}`, 500)
  );
  app.notFound((c: Context) => c.text(`nothing at ${c.req.path}`, 404));
}

// ---- Servers

interface Server extends World {
  name: string;
  port: number;
  connect(): Promise<RawClient>;
  stop(): Promise<void>;
}

function serveByDeno(world: World): Server {
  const context = {
    waitUntil: (promise: Promise<unknown>) => void promise,
    passThroughOnException() {},
    props: {},
  };
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request, info) => world.app.fetch(request, info, context),
  );
  const { port } = server.addr;
  return {
    ...world,
    name: "Deno.serve",
    port,
    connect: () => rawClient(port),
    stop: () => server.shutdown(),
  };
}

async function serveBySluice(world: World): Promise<Server> {
  const server = await startGateway(world.app, {
    limits: { bodyBytesMax: 64 << 20 },
  });
  return {
    ...world,
    name: "Sluice",
    port: server.port,
    connect: server.connect,
    stop: server.stop,
  };
}

// ---- What is asked

type Case = [name: string, ask: (server: Server) => Promise<unknown>];

// What differs by right: the time, what Deno.serve adds for its compression, how a connection is kept, and how a body is framed.
const APART = new Set([
  "date",
  "vary",
  "connection",
  "keep-alive",
  "content-length",
  "transfer-encoding",
]);

function comparable(answer: RawAnswer): unknown {
  const names = new Set(answer.head.fields.map(([name]) => name));
  const fields = [...names].filter((name) => !APART.has(name)).sort()
    .map((name) => {
      // Whether values of one name come on one line or several means nothing, but for Set-Cookie.
      const value = name === "set-cookie"
        ? answer.head.all(name)
        : answer.head.get(name)!;
      return [name, value];
    });
  const body = answer.body.length > 2000
    ? `${answer.body.length} bytes`
    : latin1(answer.body);
  return {
    status: answer.status,
    fields,
    body: body.replaceAll(/127\.0\.0\.1:\d+/g, "*"),
  };
}

async function ask(
  server: Server,
  request: string | Uint8Array,
  toHead = false,
): Promise<unknown> {
  using client = await server.connect();
  await client.send(request);
  const answer = await client.readAnswer({ toHead });
  const digest = answer.body.length > 2000
    ? await digestOf(answer.body as Uint8Array<ArrayBuffer>)
    : "";
  return [comparable(answer), digest];
}

function head(
  method: string,
  path: string,
  fields: Record<string, string> = {},
): string {
  const lines = Object.entries({ host: "h.example", ...fields }).map((
    [name, value],
  ) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

function get(path: string, fields?: Record<string, string>): Case {
  const more = fields ? ` ${JSON.stringify(fields)}` : "";
  return [
    `GET ${path}${more}`,
    (server) => ask(server, head("GET", path, fields)),
  ];
}

function send(
  method: string,
  path: string,
  body: string,
  fields: Record<string, string> = {},
  name = `${method} ${path} ${JSON.stringify(body.slice(0, 40))}`,
): Case {
  const bytes = encoder.encode(body);
  const request =
    head(method, path, { "content-length": String(bytes.length), ...fields }) +
    body;
  return [name, (server) => ask(server, request)];
}

const TYPES = {
  json: "application/json",
  form: "application/x-www-form-urlencoded",
};

const MULTIPART = [
  "--b0undary",
  'Content-Disposition: form-data; name="text"',
  "",
  "caf\u00e9",
  "--b0undary",
  'Content-Disposition: form-data; name="file"; filename="a.txt"',
  "Content-Type: text/x-file",
  "",
  "line 1\r\nline 2",
  "--b0undary--",
  "",
].join("\r\n");

const MIDDLEWARE: Case[] = [
  get("/cors/x", { origin: "https://a.example" }),
  get("/cors/x", { origin: "https://evil.example" }),
  ["a preflight", (server) =>
    ask(
      server,
      head("OPTIONS", "/cors/x", {
        origin: "https://b.example",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "x-a, x-b",
      }),
    )],
  ["logger()", async (server) => {
    await ask(server, head("GET", "/log/a?b=c"));
    await ask(server, head("DELETE", "/log/d"));
    return server.told.splice(0);
  }],
  get("/secure/x"),
  get("/etag/x"),
  get("/etag/x", {
    "if-none-match": '"74a1b1b5ab0fb2d5eea6d4bbf5e4ac1c3d55a2b9"',
  }),
  ["etag() answers 304 to its own tag", async (server) => {
    using client = await server.connect();
    const tag = (await client.ask(head("GET", "/etag/y"))).head.get("etag")!;
    const again = await client.ask(
      head("GET", "/etag/y", { "if-none-match": tag }),
    );
    return [
      tag,
      comparable(again),
      comparable(await client.ask(head("GET", "/etag/z"))),
    ];
  }],
  get("/compress/x", { "accept-encoding": "gzip" }),
  get("/auth/x"),
  get("/auth/x", { authorization: `Basic ${btoa("ada:engine")}` }),
  send("POST", "/csrf/x", "a=1", {
    "content-type": TYPES.form,
    origin: "http://h.example",
  }),
  send("POST", "/csrf/x", "a=1", {
    "content-type": TYPES.form,
    origin: "http://evil.example",
  }),
  send("POST", "/limit/x", "small"),
  send("POST", "/limit/x", "larger than ten bytes"),
  [
    "bodyLimit() of chunks",
    (server) =>
      ask(
        server,
        head("POST", "/limit/x", { "transfer-encoding": "chunked" }) +
          "14\r\n01234567890123456789\r\n0\r\n\r\n",
      ),
  ],
  send("POST", "/override/x", "_method=DELETE", { "content-type": TYPES.form }),
  get("/pretty/x?pretty"),
  get("/timeout/x"),
  get("/id/x"),
  get("/id/x", { "x-request-id": "given" }),
  get("/static/a.txt"),
  get("/static/sub/"),
  get("/static/none.txt"),
  [
    "HEAD of a static file",
    (server) => ask(server, head("HEAD", "/static/a.txt"), true),
  ],
  get("/after/kept"),
  get("/after/replaced"),
  ["getConnInfo()", async (server) => {
    const conn = await Deno.connect({
      hostname: "127.0.0.1",
      port: server.port,
    });
    using client = new RawClient(conn);
    return comparable(
      await client.ask(
        head("GET", `/conn?port=${(conn.localAddr as Deno.NetAddr).port}`),
      ),
    );
  }],
  ["waitUntil()", async (server) => {
    const answer = await ask(server, head("GET", "/wait-until"));
    await until("the work is done", () => server.told.length > 0);
    return [answer, server.told.splice(0)];
  }],
];

const BODIES: Case[] = [
  ...[
    "text",
    "json",
    "buffer",
    "blob",
    "bytes",
    "twice",
    "raw-twice",
    "clone",
    "new-request",
    "new-request-init",
    "new-request-url",
    "reader",
    "cancel",
    "echo",
    "upper",
    "none",
  ]
    .map((kind) =>
      send("POST", `/body/${kind}`, '{"a": "caf\u00e9"}', {
        "content-type": TYPES.json,
        "x-a": "1",
      })
    ),
  ...["text", "json", "buffer", "blob", "bytes", "clone"]
    .map((kind) => send("POST", `/body/${kind}`, "", { "x-a": "1" })),
  get("/body/none"),
  [
    "GET with a body",
    (server) =>
      ask(
        server,
        head("GET", "/body/none", { "content-length": "4" }) + "body",
      ),
  ],
  send("POST", "/body/json", "not json", { "content-type": TYPES.json }),
  send("POST", "/body/form", "a=1&b=2+3&b=%E2%82%AC", {
    "content-type": TYPES.form,
  }),
  send("POST", "/body/form", MULTIPART, {
    "content-type": "multipart/form-data; boundary=b0undary",
  }, "formData(), multipart"),
  send("POST", "/body/parse", MULTIPART, {
    "content-type": "multipart/form-data; boundary=b0undary",
  }, "parseBody(), multipart"),
  send("POST", "/body/parse", "a=1&a=2", { "content-type": TYPES.form }),
  send(
    "POST",
    "/body/form",
    "text",
    { "content-type": "text/plain" },
    "formData() of something else",
  ),
  send("POST", "/body/validated", '{"name": "Ada"}', {
    "content-type": TYPES.json,
  }),
  send("POST", "/body/validated", "{}", { "content-type": TYPES.json }),
  send("POST", "/body/validated", "{", { "content-type": TYPES.json }),
  send("POST", "/body/validated-form", "a=1&b=2", {
    "content-type": TYPES.form,
  }),
  send(
    "POST",
    "/body/buffer",
    "0123456789abcdef".repeat(200_000),
    {},
    "arrayBuffer() of 3 MB",
  ),
  send(
    "POST",
    "/body/reader",
    "x".repeat(1_000_000),
    {},
    "reading 1 MB part by part",
  ),
  ["a body echoed as it comes", async (server) => {
    const size = 24 << 20;
    const body = new Uint8Array(size);
    for (let i = 0; i < size; i += 4096) body.fill(i >> 12, i, i + 4096);
    using client = await server.connect();
    const sent = (async () => {
      await client.send(
        head("POST", "/body/echo", { "content-length": String(size) }),
      );
      await client.send(body);
    })();
    const answer = await within(client.readAnswer(), "the echo", 20_000);
    await sent;
    return [
      answer.status,
      await digestOf(answer.body as Uint8Array<ArrayBuffer>) ===
        await digestOf(body),
    ];
  }],
  ["each part of a body is there as it was sent", async (server) => {
    using client = await server.connect();
    await client.send(
      head("POST", "/body/upper", { "transfer-encoding": "chunked" }),
    );
    const echoed = [];
    for (const word of ["one", "two", "three"]) {
      await client.send(`${word.length.toString(16)}\r\n${word}\r\n`);
      echoed.push(
        (await client.readUntil(word.toUpperCase())).slice(-word.length),
      );
    }
    await client.send("0\r\n\r\n");
    await client.readUntil("0\r\n\r\n");
    return echoed;
  }],
];

const ANSWERS: Case[] = [
  get("/url?q=1&q=%32&r=a+b%26c"),
  get("/url"),
  get("/url?"),
  get("/param/a%20b/12"),
  get("/param/a/x"),
  get("/headers", {
    "X-Mixed-Case": "Kept",
    accept: "a/b, c/d;q=0.1",
    cookie: "a=1; b=2",
    "x-empty": "",
  }),
  ["repeated and Latin-1 fields", (server) =>
    ask(
      server,
      Uint8Array.from(
        "GET /headers HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-B: caf\u00e9\r\nx-a:  2 \r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
        (char) => char.charCodeAt(0),
      ),
    )],
  get("/cookies", { cookie: "a=0; c=%20x" }),
  ...[200, 201, 204, 304, 404, 500].map((code) => get(`/status/${code}`)),
  get("/status-text/200"),
  get("/status-text/404"),
  get("/json"),
  get("/html"),
  get("/redirect"),
  get("/latin"),
  ...[
    "string",
    "empty",
    "empty-string",
    "buffer",
    "bytes",
    "view",
    "slice",
    "blob",
    "params",
    "json",
    "redirect",
    "typed",
    "lengthy",
    "large",
    "large-bytes",
    "clone",
    "new-from-old",
  ]
    .map((kind) => get(`/kind/${kind}`)),
  ...[
    "/kind/string",
    "/kind/large",
    "/kind/blob",
    "/json",
    "/status/204",
    "/status/304",
    "/none",
    "/kind/empty",
    "/stream/text",
    "/fetch/plain",
  ]
    .map((
      path,
    ): Case => [
      `HEAD ${path}`,
      (server) => ask(server, head("HEAD", path), true),
    ]),
  get("/default-headers"),
];

const STREAMS: Case[] = [
  ...["text", "bytes", "pipe", "sse", "declared", "caught"].map((kind) =>
    get(`/stream/${kind}`)
  ),
  ["the second handler of stream()", async (server) => {
    server.told.length = 0;
    const answer = await ask(server, head("GET", "/stream/caught"));
    return [answer, server.told.splice(0)];
  }],
  ["an error inside a stream breaks the answer", async (server) => {
    using client = await server.connect();
    await client.send(head("GET", "/stream/error"));
    await client.readUntil("before");
    const end = await client.readAll().catch((error) =>
      error.name === "ConnectionReset" ? "broken" : String(error)
    );
    return end.includes("0\r\n\r\n") ? "looks whole" : "broken";
  }],
  ["streamSSE() hears that the client is gone", async (server) => {
    server.told.length = 0;
    const client = await server.connect();
    await client.send(head("GET", "/stream/sse-forever"));
    await client.readUntil("data: first");
    client.close();
    await until("the abort was heard", () => server.told.length > 0);
    return server.told.splice(0);
  }],
  [
    "a stream and the request's signal hear that the client is gone",
    async (server) => {
      server.told.length = 0;
      const client = await server.connect();
      await client.send(head("GET", "/stream/signal"));
      await client.readUntil("first");
      client.close();
      await until("both have heard", () => server.told.length === 2);
      return server.told.splice(0).sort();
    },
  ],
  [
    "a handler hears before its answer that the client is gone",
    async (server) => {
      server.told.length = 0;
      const client = await server.connect();
      await client.send(head("GET", "/stream/pending"));
      await until("the handler runs", () => server.told.length === 1);
      client.close();
      await until("it has heard", () => server.told.length === 2);
      return server.told.splice(0);
    },
  ],
];

const FETCHES: Case[] = [
  ...["plain", "gzip", "changed", "same-init", "raw"].map((kind) =>
    get(`/fetch/${kind}`)
  ),
  send("POST", "/fetch/post", "posted", { "x-a": "1" }),
  send("POST", "/fetch/body", "streamed"),
  send("POST", "/fetch/helper", "helped"),
  get("/fetch/helper"),
];

const ERRORS: Case[] = [
  ...["thrown", "later", "http", "response", "nothing", "header"].map((kind) =>
    get(`/error/${kind}`)
  ),
  get("/inner/thrown"),
  get("/inner/none"),
  get("/mounted/a/b"),
  get("/none"),
  send("PUT", "/none", "body"),
];

// ---- The comparison

function upstreamScript() {
  return answering(({ method, target, head, body }) => {
    if (target === "/gzip") {
      const zipped = gzipSync("zipped");
      const start =
        `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${zipped.length}\r\nX-Up: 1\r\n\r\n`;
      return Uint8Array.from([...encoder.encode(start), ...zipped]);
    }
    const text = target === "/plain"
      ? "plain"
      : `${method} ${latin1(body)} ${head.get("x-a") ?? "-"} ${
        head.get("x-helped") ?? "-"
      }`;
    return `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\nSet-Cookie: u=1\r\nSet-Cookie: v=2\r\nX-Up: 1\r\n` +
      `Content-Type: text/x-up\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n${text}`;
  });
}

describe("an unmodified Hono app", () => {
  const groups = { MIDDLEWARE, BODIES, ANSWERS, STREAMS, FETCHES, ERRORS };
  const expected = new Map<Case, unknown>();
  let upstream: Upstream;
  let folder: Awaited<ReturnType<typeof folderOf>>;
  let sluice: Server;
  const { error } = console;

  // All of Deno.serve's answers first: a gateway's start replaces this isolate's Response.
  beforeAll(async () => {
    console.error = () => {}; // handlers fail on purpose
    upstream = await startUpstream(upstreamScript());
    folder = await folderOf({
      "a.txt": "static a\n",
      "sub/index.html": "<p>index",
    });
    const deno = serveByDeno(createWorld(upstream.url, folder.path));
    for (const case_ of Object.values(groups).flat()) {
      expected.set(
        case_,
        await case_[1](deno).catch((error) => `Deno.serve: ${error}`),
      );
    }
    await within(deno.stop(), "Deno.serve's end");
    sluice = await serveBySluice(createWorld(upstream.url, folder.path));
  });

  afterAll(async () => {
    await sluice.stop();
    await upstream.stop();
    await folder[Symbol.asyncDispose]();
    console.error = error;
  });

  describe("framing", () => {
    for (
      const kind of [
        "string",
        "empty",
        "empty-string",
        "buffer",
        "bytes",
        "view",
        "slice",
        "lengthy",
        "large",
        "large-bytes",
      ]
    ) {
      it(`declares the length of a whole body: ${kind}`, async () => {
        using client = await sluice.connect();
        const { head: { fields }, body } = await client.ask(
          head("GET", `/kind/${kind}`),
        );
        const framing = fields.filter(([name]) =>
          name === "content-length" || name === "transfer-encoding"
        );
        expect(framing).toEqual([["content-length", String(body.length)]]);
      });
    }

    it("gives 205 no body", async () => {
      using client = await sluice.connect(); // Deno.serve does not answer
      const answer = await client.ask(head("GET", "/status/205"));
      expect([answer.status, answer.head.get("content-length")]).toEqual([
        205,
        "0",
      ]);
    });

    it("gives HEAD the length that GET has", async () => {
      using client = await sluice.connect(); // Deno.serve says 0
      for (const path of ["/kind/string", "/kind/large", "/json", "/none"]) {
        const answer = await client.ask(head("HEAD", path), { toHead: true });
        const whole = await client.ask(head("GET", path));
        expect([path, answer.head.get("content-length")]).toEqual([
          path,
          String(whole.body.length),
        ]);
      }
    });
  });

  for (const [group, cases] of Object.entries(groups)) {
    describe(group.toLowerCase(), () => {
      for (const case_ of cases) {
        it(case_[0], async () => {
          expect(await case_[1](sluice)).toEqual(expected.get(case_));
        });
      }
    });
  }
});
