import { expect } from "@std/expect";
import { afterAll, describe, it } from "@std/testing/bdd";
import type { Hono } from "hono";
import { connect } from "node:net";
import { ALL_FORMS, describeForms } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import {
  concurrencyLimit,
  type ConcurrencyLimitOptions,
} from "./concurrency_limit.ts";
import { headers } from "./headers.ts";
import { proxy } from "./proxy.ts";
import { respond } from "./respond.ts";

describe("concurrencyLimit()", () => {
  const with_ = (options: Partial<ConcurrencyLimitOptions>) => () =>
    concurrencyLimit({ max: 1, ...options });
  const wrong: [what: string, make: () => unknown, reason: RegExp][] = [
    ["nobody", with_({ max: 0 }), /max: must be an integer from 1/],
    ["half a request", with_({ max: 1.5 }), /max/],
    ["no max", with_({ max: undefined }), /max/],
    ["too many", with_({ max: 16_777_216 }), /to 16777215/],
    ["another status", with_({ status: 500 as 503 }), /status.*503 or 429/],
    ["another key", with_({ key: "ip" as "route" }), /key: must be/],
    ["no keys", with_({ keysMax: 0 }), /keysMax/],
    ["a typo", with_({ maximum: 3 } as never), /maximum: is not an option/],
  ];
  for (const [what, make, reason] of wrong) {
    it(`refuses ${what}`, () => {
      expect(make).toThrow(OptionsError);
      expect(make).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(concurrencyLimit({ max: 1 }).name).toBe("concurrencyLimit");
  });
});

// Requests that have come here and wait for the test to let them go on.
const arrived = new Map<string, PromiseWithResolvers<void>>();
const held = new Map<string, PromiseWithResolvers<void>>();
const at = (map: typeof held, id: string) => {
  let entry = map.get(id);
  if (!entry) map.set(id, entry = Promise.withResolvers<void>());
  return entry;
};
async function hold(id: string | null): Promise<void> {
  if (!id) return;
  at(arrived, id).resolve();
  await at(held, id).promise;
}
const idOf = (url: string) => new URL(url).searchParams.get("hold");

const encode = (text: string) => new TextEncoder().encode(text);
// Its head is there at once, its end when the test says so; `fail`: no end, but an error.
function streamed(id: string | null, fail: boolean) {
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async start(controller) {
      controller.enqueue(encode("begun "));
      await hold(id);
      try {
        if (fail) controller.error(new Error("broken"));
        else controller.close();
      } catch { /* it was cancelled */ }
    },
  });
}

const upstream = Deno.serve(
  {
    hostname: "127.0.0.1",
    port: 0,
    onListen() {},
    onError: () => new Response(null, { status: 500 }),
  },
  async (request) => {
    const { pathname } = new URL(request.url);
    const id = idOf(request.url);
    if (pathname.endsWith("/stream")) return new Response(streamed(id, false));
    if (pathname.endsWith("/broken")) return new Response(streamed(id, true));
    await hold(id);
    return new Response("up");
  },
);
const UPSTREAM = `http://127.0.0.1:${upstream.addr.port}`;
const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
const CLOSED = `http://127.0.0.1:${closed.addr.port}`;
closed.close();
afterAll(async () => {
  for (const each of held.values()) each.resolve();
  await upstream.shutdown();
});

function build(app: Hono): void {
  app.use("/one/*", concurrencyLimit({ max: 1 }));
  app.get("/one/native", respond("native"));
  app.get("/one/up/*", proxy(UPSTREAM));
  app.get("/one/down", proxy(CLOSED));
  app.get("/one/code", async (c) => {
    await hold(idOf(c.req.url));
    return c.text("code");
  });
  app.get("/one/throws", async (c) => {
    await hold(idOf(c.req.url));
    throw new Error("of the handler");
  });
  app.get("/one/stream", (c) => c.body(streamed(idOf(c.req.url), false)));
  app.get("/one/broken", (c) => c.body(streamed(idOf(c.req.url), true)));
  app.get("/one/none", (c) => c.body(null, 204));
  app.get("/two/*", concurrencyLimit({ max: 2, status: 429 }), proxy(UPSTREAM));
  app.get(
    "/user/*",
    concurrencyLimit({ max: 1, key: { header: "x-user" } }),
    proxy(UPSTREAM),
  );
  app.get(
    "/ip/*",
    concurrencyLimit({ max: 1, key: "client-ip" }),
    proxy(UPSTREAM),
  );
  app.get(
    "/key/*",
    concurrencyLimit({ max: 1, key: (c) => c.req.query("who") ?? "" }),
    proxy(UPSTREAM),
  );
  app.use("/edited/*", headers({ response: { set: { "x-edit": "1" } } }));
  app.get("/edited/*", concurrencyLimit({ max: 1 }), proxy(UPSTREAM));
  app.onError((error, c) => c.text(error.message, 500));
}

let ids = 0;

describeForms(
  "concurrencyLimit()",
  build,
  (served) => {
    const ask = async (path: string, init?: RequestInit) => {
      const answer = await fetch(served.base + path, init);
      return [answer.status, await answer.text()] as const;
    };
    const FULL = [503, "Too many requests are in flight.\n"];

    // A request that has come to its end and waits there.
    const begin = async (path: string, init?: RequestInit) => {
      const id = `${++ids}`;
      const answer = fetch(`${served.base}${path}?hold=${id}`, init);
      answer.catch(() => {});
      await at(arrived, id).promise;
      return { answer, end: () => at(held, id).resolve() };
    };
    // Until there is a place again: it is given back when the answer's last byte has left, not when the client has it.
    const untilFree = async (path = "/one/native") => {
      for (let i = 0; i < 2000; i++) {
        const [status] = await ask(path);
        if (status !== 503 && status !== 429) return status;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      throw new Error("the place was never given back");
    };

    it("lets one after the other pass", async () => {
      for (let i = 0; i < 5; i++) expect(await untilFree()).toBe(200);
      expect(await untilFree("/one/none")).toBe(204);
      expect(await untilFree("/one/nothing")).toBe(404);
      expect(await untilFree()).toBe(200);
    });

    for (const path of ["/one/code", "/one/up/x", "/one/throws"]) {
      it(`is full while a request waits for its head, ${path}`, async () => {
        const first = await begin(path);
        for (let i = 0; i < 3; i++) {
          expect(await ask("/one/native")).toEqual(FULL);
        }
        first.end();
        await (await first.answer).text();
        expect(await untilFree()).toBe(200);
      });
    }

    for (const path of ["/one/stream", "/one/up/stream"]) {
      it(`is full until the body's end, ${path}`, async () => {
        const first = await begin(path);
        const answer = await first.answer;
        expect(answer.status).toBe(200);
        expect(await ask("/one/native")).toEqual(FULL);
        first.end();
        expect(await answer.text()).toBe("begun ");
        expect(await untilFree()).toBe(200);
      });
    }

    for (const path of ["/one/broken", "/one/up/broken"]) {
      it(`has a place again when an answer breaks, ${path}`, async () => {
        const first = await begin(path);
        const answer = await first.answer;
        expect(await ask("/one/native")).toEqual(FULL);
        first.end();
        await expect(answer.text()).rejects.toThrow();
        expect(await untilFree()).toBe(200);
      });
    }

    // A client that goes with a reset.
    const leaving = async (path: string) => {
      const { hostname, port } = new URL(served.base);
      const id = `${++ids}`;
      const socket = connect(Number(port), hostname);
      socket.write(`GET ${path}?hold=${id} HTTP/1.1\r\nHost: h\r\n\r\n`);
      await at(arrived, id).promise;
      return {
        leave: () => socket.resetAndDestroy(),
        end: () => at(held, id).resolve(),
      };
    };
    // In TypeScript a handler is in flight until it has answered, whoever waits for it.
    const beforeHead = served.form === "native"
      ? ["/one/code", "/one/up/x"]
      : [];
    for (const path of ["/one/stream", "/one/up/stream", ...beforeHead]) {
      it(`has a place again when a client leaves, ${path}`, async () => {
        const first = await leaving(path);
        expect(await ask("/one/native")).toEqual(FULL);
        first.leave();
        expect(await untilFree()).toBe(200);
        const second = await begin(path); // and not twice
        expect(await ask("/one/native")).toEqual(FULL);
        first.end();
        expect(await ask("/one/native")).toEqual(FULL);
        second.end();
        await (await second.answer).text();
        expect(await untilFree()).toBe(200);
      });
    }

    it("has a place again when the upstream is down", async () => {
      for (let i = 0; i < 3; i++) {
        expect(await untilFree("/one/down")).toBe(502);
      }
      expect(await untilFree()).toBe(200);
    });

    it("answers as it is told, with Retry-After", async () => {
      const both = [await begin("/two/x"), await begin("/two/x")];
      const answer = await fetch(`${served.base}/two/x`);
      expect([answer.status, answer.headers.get("retry-after")]).toEqual([
        429,
        "1",
      ]);
      await answer.body?.cancel();
      for (const each of both) {
        each.end();
        await (await each.answer).text();
      }
      expect(await untilFree("/two/x")).toBe(200);
    });

    it("counts each value of a field for itself", async () => {
      const by = (user: string) => ({ headers: { "x-user": user } });
      const first = await begin("/user/x", by("a"));
      expect((await ask("/user/x", by("a")))[0]).toBe(503);
      expect((await ask("/user/x", by("b")))[0]).toBe(200);
      const without = await begin("/user/x");
      expect((await ask("/user/x"))[0]).toBe(503);
      for (const each of [first, without]) {
        each.end();
        await (await each.answer).text();
      }
    });

    it("counts by client address, and by a function's word", async () => {
      const first = await begin("/ip/x");
      expect((await ask("/ip/x"))[0]).toBe(503);
      first.end();
      await (await first.answer).text();
      const second = await begin("/key/x");
      expect((await ask("/key/x"))[0]).toBe(503);
      expect((await ask("/key/x?who=a"))[0]).toBe(200);
      second.end();
      await (await second.answer).text();
    });

    it("gives back the place of HEAD", async () => {
      for (const path of ["/one/code", "/one/up/x", "/one/native"]) {
        await untilFree();
        const head = async () =>
          (await fetch(served.base + path, { method: "HEAD" })).status;
        let status = await head();
        for (let i = 0; i < 2000 && status === 503; i++) status = await head();
        expect(status).toBe(200);
      }
      expect(await untilFree()).toBe(200);
    });

    it("is edited by the steps around it", async () => {
      const first = await begin("/edited/x");
      const answer = await fetch(`${served.base}/edited/x`);
      await answer.body?.cancel();
      expect([answer.status, answer.headers.get("x-edit")]).toEqual([503, "1"]);
      first.end();
      await (await first.answer).text();
    });

    if (served.form === "native") {
      it("runs in C where it can, and says what it does", () => {
        const how = (path: string) => served.gateway.explain("GET", path);
        expect(how("/one/native").answeredBy).toBe("native");
        expect(how("/one/code").steps[0].runs).toBe("native");
        expect(how("/key/x").answeredBy).toBe("TypeScript");
        expect(String(how("/user/x"))).toContain("1 in flight by field x-user");
        const stats = served.gateway.stats();
        expect(stats.concurrency_limited).toBeGreaterThan(10);
        expect(stats.concurrency_unlimited).toBe(0);
      });
    }
  },
  () => ({}),
  ALL_FORMS,
);
