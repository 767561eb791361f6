/**
 * Every Hono app runs unmodified: one app, served by Deno.serve and by Sluice, is asked the same things by the same raw client,
 * and what comes back is compared.
 *
 * @module
 */
import { gzipSync } from "node:zlib";
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { createWorld } from "./hono_contract_app.ts";
import {
  ask,
  type Case,
  comparable,
  digestOf,
  get,
  head,
  send,
  serveByDeno,
  serveBySluice,
  type Server,
  TYPES,
} from "./hono_servers.ts";
import {
  answering,
  folderOf,
  latin1,
  RawClient,
  ROOT,
  startCommand,
  startUpstream,
  until,
  type Upstream,
  within,
} from "./support.ts";

const encoder = new TextEncoder();

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

// The same app as a plain module, `export default app`, that the command line starts. What its handlers tell stays in its process.
async function serveAsModule(
  upstream: string,
  folder: string,
): Promise<Server> {
  const files = await folderOf({
    "app.ts":
      `import { createWorld } from "${ROOT}/tests/hono_contract_app.ts";\n` +
      `export default createWorld(${JSON.stringify(upstream)}, ${
        JSON.stringify(folder)
      }).app;\n`,
  });
  const command = await startCommand(["app.ts"], { folder: files.path });
  return {
    app: new Hono(),
    told: [],
    name: "a module",
    port: command.port,
    connect: () => command.connect(),
    async stop() {
      await command.stop();
      await files[Symbol.asyncDispose]();
    },
  };
}

// A plain module has the default limit of a body; and these ask what handlers have told.
const NOT_OF_A_MODULE =
  /echoed as it comes|logger\(\)|waitUntil|second handler|hears? /;

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
  let module: Server;
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
    module = await serveAsModule(upstream.url, folder.path);
  });

  afterAll(async () => {
    await sluice.stop();
    await module.stop();
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
          if (NOT_OF_A_MODULE.test(case_[0])) return;
          expect(await case_[1](module)).toEqual(expected.get(case_));
        });
      }
    });
  }
});
