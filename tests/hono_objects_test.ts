/**
 * The Request that a handler gets and the Response that it makes are light: these handlers do with them what a real one allows, and
 * what they find must be what they find on Deno.serve.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import {
  ask,
  head,
  serveByDeno,
  serveBySluice,
  type Server,
} from "./hono_servers.ts";
import {
  answering,
  startGateway,
  startUpstream,
  type Upstream,
  within,
} from "./support.ts";

type Handler = (c: Context) => Response | Promise<Response>;

const encoder = new TextEncoder();
const CapturedResponse = Response; // before a gateway's start makes it light
let upstream: Upstream;

// What a statement throws, by name: messages are the runtime's own affair.
async function outcome(run: () => unknown): Promise<unknown> {
  try {
    return await run() ?? null;
  } catch (error) {
    return (error as Error).name;
  }
}

// ---- Handlers, each asked once with a body of text

const REQUESTS: Record<string, Handler> = {
  "is a Request for everyone who asks": (c) => {
    const { raw } = c.req;
    return c.json([
      raw instanceof Request,
      raw.headers instanceof Headers,
      Object.prototype.toString.call(raw),
      Object.prototype.toString.call(raw.headers),
      raw.constructor === Request,
      raw.headers.constructor === Headers,
      raw.constructor.name,
      raw.signal instanceof AbortSignal,
    ]);
  },
  "has the attributes of a Request": (c) => {
    const { raw } = c.req;
    return c.json([
      raw.method,
      raw.url,
      "url" in raw,
      "nothing" in raw,
      typeof raw.clone,
      raw.signal.aborted,
    ]);
  },
  "takes no new url": async (c) =>
    c.json(
      await outcome(() => {
        (c.req.raw as { url: string }).url = "http://other.example/";
      }),
    ),
  "can be the start of a subclass": async (c) => {
    class Mine extends Request {
      get mine() {
        return `mine of ${this.method}`;
      }
    }
    const mine = new Mine(c.req.raw);
    return c.json([
      mine instanceof Request,
      mine.mine,
      mine.headers.get("x-a"),
      await mine.text(),
    ]);
  },
  "is copied with another signal": async (c) => {
    const controller = new AbortController();
    const copy = new Request(c.req.raw, { signal: controller.signal });
    controller.abort();
    return c.json([
      copy.signal.aborted,
      c.req.raw.signal.aborted,
      await copy.text(),
    ]);
  },
  "is copied once: then its body is used": async (c) => {
    const first = new Request(c.req.raw);
    return c.json([
      await outcome(() => new Request(c.req.raw) && "copied"),
      await outcome(() => c.req.raw.clone() && "cloned"),
      await outcome(() => c.req.raw.text()),
      await first.text(),
    ]);
  },
  "is cloned twice": async (c) => {
    const [a, b] = [c.req.raw.clone(), c.req.raw.clone()];
    return c.json([
      await a.text(),
      await b.text(),
      c.req.raw.bodyUsed,
      await c.req.raw.text(),
    ]);
  },
  "is not cloned after its body was read": async (c) => {
    await c.req.raw.text();
    return c.json([
      await outcome(() => c.req.raw.clone() && "cloned"),
      c.req.raw.bodyUsed,
      await outcome(() => new Request(c.req.raw) && "copied"),
    ]);
  },
  "gives its body once as a stream": async (c) => {
    const { body } = c.req.raw;
    const reader = body!.getReader();
    const { value } = await reader.read();
    const { done } = await reader.read();
    return c.json([
      body === c.req.raw.body,
      body!.locked,
      done,
      value!.constructor.name,
      c.req.raw.bodyUsed,
      await outcome(() => c.req.raw.text()),
    ]);
  },
  "gives its body in two": async (c) => {
    const [a, b] = c.req.raw.body!.tee();
    return c.json([
      await new CapturedResponse(a).text(),
      await new Response(b).text(),
    ]);
  },
  "gives its body as bytes, and bytes that are the handler's own": async (
    c,
  ) => {
    const buffer = await c.req.raw.arrayBuffer();
    return c.json([buffer.byteLength, structuredClone(buffer).byteLength]);
  },
  "gives text that is not UTF-8 with replacements": async (c) =>
    c.text(await c.req.text()),
  "has fields that can be looked at in every way": (c) => {
    const { headers } = c.req.raw;
    const all: string[] = [];
    headers.forEach((value, name) => all.push(`${name}=${value}`));
    return c.json([
      headers.get("X-A"),
      headers.has("x-A"),
      headers.has("x-none"),
      headers.get("x-none"),
      headers.getSetCookie(),
      [...headers.keys()],
      [...headers.entries()].length,
      [...headers.values()].length,
      all,
      Object.fromEntries(headers),
      new Headers(headers).get("x-a"),
    ]);
  },
  "tells wrong names of fields": async (c) =>
    c.json([
      await outcome(() => c.req.raw.headers.get("bad name")),
      await outcome(() => c.req.raw.headers.has("")),
    ]),
  "goes on by fetch() with changed fields": async (c) => {
    const copy = new Request(`${upstream.url}/echo`, c.req.raw);
    copy.headers.set("x-a", "changed");
    copy.headers.delete("x-b");
    return await fetch(copy);
  },
  "goes on by fetch() with other fields of an init": (c) =>
    fetch(
      new Request(`${upstream.url}/echo`, c.req.raw),
      { headers: { "x-a": "init" } },
    ),
  "is Hono's own request again": async (c) => {
    const inner = new Hono();
    inner.post("*", async (c) => c.text(`inner ${await c.req.text()}`));
    return await inner.fetch(c.req.raw);
  },
  "is Hono's own request after a rewrite": async (c) => {
    const inner = new Hono();
    inner.put(
      "/else",
      async (c) =>
        c.json([c.req.path, c.req.header("x-a"), await c.req.json()]),
    );
    const url = new URL("/else", c.req.url);
    return await inner.fetch(
      new Request(url, {
        method: "PUT",
        headers: c.req.raw.headers,
        body: JSON.stringify(await c.req.text()),
      }),
    );
  },
  "keeps what Hono has read of it": async (c) => {
    const text = await c.req.text();
    const form = await outcome(() => c.req.formData());
    const blob = await c.req.blob();
    return c.json([text, form, blob.size, await c.req.text()]);
  },
};

const RESPONSES: Record<string, Handler> = {
  "is a Response for everyone who asks": (c) => {
    const response = new Response("x");
    return c.json([
      response instanceof Response,
      Object.prototype.toString.call(response),
      response.constructor === Response,
      response.constructor.name,
      Response.name,
      c.res instanceof Response,
      Response.json({}) instanceof Response,
      Response.error().type,
      CapturedResponse.json(1) instanceof Response,
      new CapturedResponse("x") instanceof Response,
    ]);
  },
  "has the attributes of a Response": (c) => {
    const response = new Response("x", { status: 201, statusText: "Made" });
    const plain = new Response("y");
    return c.json([
      response.status,
      response.statusText,
      response.ok,
      response.redirected,
      response.type,
      response.url,
      response.bodyUsed,
      plain.statusText,
      new Response(null, { status: 404 }).ok,
    ]);
  },
  "is refused with a status that is none": async (c) =>
    c.json([
      await outcome(() => new Response("x", { status: 99 }).status),
      await outcome(() => new Response("x", { status: 600 }).status),
      await outcome(() => new Response("x", { status: 204 }).status),
      await outcome(() => new Response(null, { status: 204 }).status),
      await outcome(() => new Response("x", { headers: { "bad name": "1" } })),
      await outcome(() => new Response("x", { headers: { a: "b\nc" } })),
      await outcome(() => Response.redirect("/x", 200).status),
      await outcome(() => (Response as unknown as () => Response)().status),
    ]),
  "of a class before the gateway's start": () =>
    new CapturedResponse("captured", { status: 202, headers: { "x-a": "1" } }),
  "of a subclass": () => {
    class Mine extends Response {}
    return new Mine("mine", { status: 203 });
  },
  "of a subclass that adds a field": () => {
    class Mine extends Response {
      constructor(text: string) {
        super(text, { headers: { "content-type": "text/x-mine" } });
        this.headers.set("x-mine", "1");
      }
    }
    return new Mine("mine");
  },
  "with fields that are changed before it is sent": () => {
    const response = new Response("x", { headers: { "x-a": "1", "x-b": "2" } });
    response.headers.set("x-a", "3");
    response.headers.append("x-a", "4");
    response.headers.delete("x-b");
    response.headers.append("set-cookie", "a=1");
    response.headers.append("set-cookie", "b=2");
    return response;
  },
  "with cookies of Headers, of pairs and of a record": (c) => {
    const headers = new Headers([["set-cookie", "a=1"], ["set-cookie", "b=2"]]);
    if (c.req.header("x-never")) headers.set("x", "y");
    return new Response("x", { headers });
  },
  "with pairs": () =>
    new Response("x", {
      headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-a", "1"], [
        "x-a",
        "2",
      ]],
    }),
  "is cloned, and each half is read": async (c) => {
    const response = new Response("twice", { headers: { "x-a": "1" } });
    const copy = response.clone();
    return c.json([
      await copy.text(),
      copy.headers.get("x-a"),
      response.bodyUsed,
      await response.text(),
      response.bodyUsed,
      await outcome(() => response.clone() && "cloned"),
    ]);
  },
  "is sent after its clone was read": async () => {
    const response = new Response("both");
    await response.clone().text();
    return response;
  },
  "is read in every way": async (c) =>
    c.json([
      await new Response('{"a":1}').json(),
      (await new Response("four").arrayBuffer()).byteLength,
      (await new Response("four").blob()).type,
      (await new Response("four").bytes()).length,
      await outcome(() => new Response("x").formData()),
      (await new Response(new URLSearchParams({ a: "1" })).formData()).get("a"),
    ]),
  "made of parts of another": (c) => {
    const { body, status, headers } = new Response("parts", {
      status: 206,
      headers: { "x-a": "1" },
    });
    if (c.req.header("x-never")) return c.text("never");
    return new Response(body, { status, headers });
  },
  "made of another, twice": () => {
    const once = new Response(new Response("deep").body, { status: 201 });
    return new Response(once.body, once);
  },
  "of an async generator": () =>
    new Response(
      (async function* () {
        yield encoder.encode("one ");
        await Promise.resolve();
        yield encoder.encode("two");
      })() as unknown as BodyInit,
    ),
  "of a stream of bytes": () =>
    new Response(
      new ReadableStream({
        type: "bytes",
        pull(controller) {
          controller.enqueue(encoder.encode("bytes"));
          controller.close();
        },
      }),
    ),
  "of an empty stream": () =>
    new Response(
      new ReadableStream({ start: (controller) => controller.close() }),
    ),
  "of a stream with an empty part": () =>
    new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new Uint8Array());
          controller.enqueue(encoder.encode("after"));
          controller.enqueue(new Uint8Array());
          controller.close();
        },
      }),
    ),
  "of a transform": () => {
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    writer.write(encoder.encode("through ")).then(() =>
      writer.write(encoder.encode("a transform"))
    ).then(() => writer.close());
    return new Response(readable);
  },
  "of another's stream, piped, with its fields": () => {
    const old = new Response(new Blob(["piped on"]).stream(), {
      status: 203,
      headers: { "x-a": "1" },
    });
    const piped = old.body!.pipeThrough(new TransformStream());
    const response = new Response(piped, {
      status: old.status,
      headers: old.headers,
    });
    response.headers.set("x-used", String(old.ok));
    return response;
  },
  "of another's stream, piped, made of the other": () => {
    const old = new Response(new Blob(["piped on"]).stream(), {
      headers: { "x-a": "1" },
    });
    const response = new Response(
      old.body!.pipeThrough(new TransformStream()),
      old,
    );
    response.headers.set("x-b", old.headers.get("x-a")!);
    return response;
  },
  "of a number and an object": (c) =>
    c.req.header("x-never")
      ? c.text("")
      : new Response(12 as unknown as BodyInit),
  "of a DataView": () =>
    new Response(new DataView(encoder.encode("0123456789").buffer, 2, 3)),
  "of a Blob with a type of its own field": () =>
    new Response(new Blob(["blob"], { type: "text/x-blob" }), {
      headers: { "content-type": "text/x-field" },
    }),
  "of a stream that is locked": async (c) => {
    const stream = new Blob(["x"]).stream();
    stream.getReader();
    return c.json(await outcome(() => new Response(stream) && "made"));
  },
  "given by Hono's c.body, c.newResponse and c.header": (c) => {
    c.header("x-a", "1");
    c.header("x-a", "2", { append: true });
    c.header("x-b", "3");
    c.header("x-b", undefined);
    return c.newResponse("new", { status: 201, headers: { "x-c": "4" } });
  },
};

// ---- Middleware around an answer, and what HEAD makes of it

const AFTER: Record<string, (c: Context) => unknown> = {
  "sets a field": (c) => c.res.headers.set("x-after", "1"),
  "takes a field away": (c) => c.res.headers.delete("x-handler"),
  "replaces the answer": (c) => {
    c.res = new Response("replaced", { status: 201 });
  },
  "replaces the body alone": (c) => {
    c.res = new Response("other", c.res);
  },
  "reads the answer and makes another": async (c) => {
    const text = await c.res.text();
    c.res = new Response(text.toUpperCase(), c.res);
  },
  "reads a clone of the answer": async (c) => {
    c.header("x-length", String((await c.res.clone().text()).length));
  },
  "takes the answer away first": (c) => {
    c.res = undefined;
    c.res = new Response("new", { status: 202 });
  },
  "sets a status": (c) => c.status(299 as 200),
  "adds a cookie": (c) => c.header("set-cookie", "after=1", { append: true }),
  "pipes the body through a stream": (c) => {
    const upper = new TransformStream<Uint8Array, Uint8Array>({
      transform: (part, to) =>
        to.enqueue(
          encoder.encode(new TextDecoder().decode(part).toUpperCase()),
        ),
    });
    c.res = new Response(c.res.body!.pipeThrough(upper), c.res);
  },
};

function createApp(): Hono {
  const app = new Hono();
  const add = (group: string, handlers: Record<string, Handler>) => {
    for (const [i, handler] of Object.values(handlers).entries()) {
      app.post(`/${group}/${i}`, handler);
    }
  };
  add("request", REQUESTS);
  add("response", RESPONSES);
  for (const [i, after] of Object.values(AFTER).entries()) {
    const around: MiddlewareHandler = async (c, next) => {
      await next();
      await after(c);
    };
    app.get(
      `/after/${i}`,
      around,
      (c) => c.text("handler", 200, { "x-handler": "1" }),
    );
    app.get(
      `/streamed/${i}`,
      around,
      (c) =>
        c.body(new Blob(["a ", "stream"]).stream(), 200, {
          "content-type": "text/plain",
          "x-handler": "1",
        }),
    );
  }
  return app;
}

interface Question {
  name: string;
  request: string | Uint8Array;
  toHead?: boolean;
}

const BODY = "caf\u00e9 \ufffd body";

function questions(group: string, handlers: Record<string, unknown>) {
  return Object.keys(handlers).map((name, i): Question => {
    const bytes = encoder.encode(
      name.includes("not UTF-8") ? "" : BODY,
    );
    const body = name.includes("not UTF-8")
      ? Uint8Array.of(0xef, 0xbb, 0xbf, 0x61, 0xff, 0xe2, 0x82)
      : bytes;
    const text = head("POST", `/${group}/${i}`, {
      "content-length": String(body.length),
      "content-type": "text/plain",
      "X-A": "1",
      "x-b": "2",
    });
    return {
      name,
      request: Uint8Array.from([...encoder.encode(text), ...body]),
    };
  });
}

// The same around a handler whose answer is a stream.
const STREAMED_QUESTIONS = Object.keys(AFTER).map((name, i): Question => ({
  name: `${name}, of a stream`,
  request: head("GET", `/streamed/${i}`),
}));

const AFTER_QUESTIONS = Object.keys(AFTER).flatMap((name, i): Question[] => [
  { name: `${name}, GET`, request: head("GET", `/after/${i}`) },
  { name: `${name}, HEAD`, request: head("HEAD", `/after/${i}`), toHead: true },
]);

const GROUPS: Record<string, Question[]> = {
  "a handler's Request": questions("request", REQUESTS),
  "a Response": questions("response", RESPONSES),
  "middleware after the handler": [...AFTER_QUESTIONS, ...STREAMED_QUESTIONS],
};

describe("light objects", () => {
  const expected = new Map<Question, unknown>();
  let sluice: Server;
  const { error } = console;

  beforeAll(async () => {
    console.error = () => {}; // some handlers fail on purpose
    upstream = await startUpstream(answering(({ method, head, body }) => {
      const text = `${method} ${head.get("x-a")} ${head.get("x-b")} ${
        new TextDecoder().decode(body)
      }`;
      const { length } = encoder.encode(text);
      return encoder.encode(
        `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n${text}`,
      );
    }));
    const told: string[] = [];
    const deno = serveByDeno({ app: createApp(), told });
    for (const question of Object.values(GROUPS).flat()) {
      const { request, toHead } = question;
      expected.set(question, await ask(deno, request, toHead));
    }
    await within(deno.stop(), "Deno.serve's end");
    sluice = await serveBySluice({ app: createApp(), told });
  });

  afterAll(async () => {
    await sluice.stop();
    await upstream.stop();
    console.error = error;
  });

  for (const [group, all] of Object.entries(GROUPS)) {
    describe(group, () => {
      for (const question of all) {
        it(question.name, async () => {
          const { request, toHead } = question;
          expect(await ask(sluice, request, toHead)).toEqual(
            expected.get(question),
          );
        });
      }
    });
  }
});

// ---- What a gateway promises besides

describe("what Deno.serve does otherwise", () => {
  it("a body is read into the reader's own buffer, which Deno.serve does not do", async () => {
    const app = new Hono();
    app.post("*", async (c) => {
      const reader = c.req.raw.body!.getReader({ mode: "byob" });
      let text = "";
      for (;;) {
        const { done, value } = await reader.read(new Uint8Array(3));
        if (done) return c.text(text);
        text += `${String.fromCharCode(...value!)}|`;
      }
    });
    await using server = await startGateway(app);
    using client = await server.connect();
    const asked = head("POST", "/", { "content-length": "8" }) + "12345678";
    expect((await client.ask(asked)).text).toBe("123|456|78|");
  });

  it("an answer that was read before it is sent is a 500 that says what it is", async () => {
    const app = new Hono();
    app.get("*", async () => {
      const response = new Response("read");
      await response.text();
      return response;
    });
    const { error } = console;
    const told: unknown[] = [];
    console.error = (text) => told.push(text);
    await using server = await startGateway(app);
    using client = await server.connect();
    const { status, text } = await client.ask(head("GET", "/"));
    console.error = error;
    expect([status, text]).toEqual([500, "Internal Server Error"]);
    expect(told.map(String)).toEqual([
      "TypeError: The response's body was read before it could be sent",
    ]);
  });
});

describe("a body", () => {
  it("is read up to the limit, then 413, also without a length", async () => {
    const app = new Hono();
    const seen: string[] = [];
    app.post("*", async (c) => {
      let bytes = 0;
      try {
        for await (const part of c.req.raw.body!) bytes += part.length;
      } catch (error) {
        seen.push((error as Error).name);
        throw error;
      }
      return c.text(String(bytes));
    });
    const { error } = console;
    console.error = () => {};
    try {
      await using server = await startGateway(app, {
        limits: { bodyBytesMax: 20_000 },
      });
      const answers: [number, string][] = [];
      for (const size of [20_000, 20_001]) {
        for (const isChunked of [false, true]) {
          using client = await server.connect();
          const body = "x".repeat(size);
          const framed = isChunked
            ? `${size.toString(16)}\r\n${body}\r\n0\r\n\r\n`
            : body;
          const [name, value] = isChunked
            ? ["transfer-encoding", "chunked"]
            : ["content-length", String(size)];
          await client.send(head("POST", "/", { [name]: value }));
          await client.send(framed);
          const { status, text } = await client.readAnswer();
          answers.push([status, status === 200 ? text : ""]);
        }
      }
      expect(answers).toEqual([
        [200, "20000"],
        [200, "20000"],
        [413, ""],
        [413, ""],
      ]);
      expect(seen).toEqual(["AbortError"]); // the declared one did not come to the handler
    } finally {
      console.error = error;
    }
  });

  it("that nobody reads does not keep the next request away", async () => {
    const app = new Hono();
    app.post("*", (c) => c.text("unread"));
    await using server = await startGateway(app);
    using client = await server.connect();
    for (let i = 0; i < 3; i++) {
      const { status, text } = await client.ask(
        head("POST", `/${i}`, { "content-length": "30000" }) +
          "y".repeat(30_000),
      );
      expect([status, text]).toEqual([200, "unread"]);
    }
  });
});

describe("an event stream", () => {
  it("has no time in which it must end: handlers have one to begin", async () => {
    const app = new Hono();
    let go = Promise.withResolvers<void>();
    app.get("/events", (c) =>
      c.body(
        new ReadableStream({
          start: (controller) => controller.enqueue(encoder.encode("one")),
          async pull(controller) {
            await go.promise;
            controller.enqueue(encoder.encode("two"));
            controller.close();
          },
        }),
      ));
    app.get("/never", () => new Promise<Response>(() => {}));
    await using server = await startGateway(app, {
      limits: { handlerTimeoutMs: 100 },
    });
    using events = await server.connect();
    await events.send(head("GET", "/events"));
    await events.readUntil("one");
    // Two that began later have been cut off by the time: the stream has lived longer than it.
    for (let i = 0; i < 2; i++) {
      using client = await server.connect();
      expect((await client.ask(head("GET", "/never"))).status).toBe(504);
    }
    go.resolve();
    go = Promise.withResolvers();
    await events.readUntil("two\r\n0\r\n\r\n");
  });
});
