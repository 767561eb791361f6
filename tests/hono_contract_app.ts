/**
 * A Hono app as anyone would write it, with everything that Hono has: what tests/hono_contract_test.ts asks two servers about.
 *
 * @module
 */
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
import { digestOf, type World } from "./hono_servers.ts";

const encoder = new TextEncoder();

export function createWorld(upstream: string, folder: string): World {
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
