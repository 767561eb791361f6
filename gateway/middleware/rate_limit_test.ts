import { expect } from "@std/expect";
import { afterAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { ALL_FORMS, describeForms, rawExchange } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { defineGateway } from "../gateway.ts";
import { headers } from "./headers.ts";
import { proxy } from "./proxy.ts";
import { rateLimit, type RateLimitOptions } from "./rate_limit.ts";
import { respond } from "./respond.ts";

describe("rateLimit()", () => {
  const with_ = (options: Partial<RateLimitOptions>) => () =>
    rateLimit({ key: "route", rate: 1, ...options });
  const wrong: [what: string, make: () => unknown, reason: RegExp][] = [
    ["no key", with_({ key: undefined }), /key: must be "client-ip"/],
    ["another key", with_({ key: "ip" as "route" }), /key: must be/],
    ["a bad field", with_({ key: { header: "a b" } }), /key: must be/],
    ["a rate of 0", with_({ rate: 0 }), /rate: must be a number from 1\/86400/],
    ["a rate of NaN", with_({ rate: NaN }), /rate/],
    ["too high a rate", with_({ rate: 100_001 }), /to 100000/],
    ["a text as rate", with_({ rate: "1" as never }), /rate/],
    ["a burst of 0", with_({ burst: 0 }), /burst: must be an integer from 1/],
    ["a broken burst", with_({ burst: 1.5 }), /burst/],
    ["a burst of days", with_({ burst: 86401 }), /from 1 to 86400/],
    [
      "a bad proxy",
      with_({ trustedProxies: ["10.0.0.0/33"] }),
      /trustedProxies\[0\]/,
    ],
    ["no keys", with_({ keysMax: 0 }), /keysMax/],
    ["a dry run of text", with_({ dryRun: "yes" as never }), /dryRun/],
    ["a long name", with_({ name: "x".repeat(33) }), /name: must be 1 to 32/],
    ["quotes in a name", with_({ name: '"' }), /name/],
    ["a typo", with_({ brust: 3 } as never), /brust: is not an option/],
  ];
  for (const [what, make, reason] of wrong) {
    it(`refuses ${what}`, () => {
      expect(make).toThrow(OptionsError);
      expect(make).toThrow(reason);
    });
  }

  it("takes the ends of its ranges", () => {
    rateLimit({ key: "route", rate: 1 / 86400 });
    rateLimit({ key: "route", rate: 100_000, burst: 1_000_000 });
    rateLimit({ key: "route", rate: 1, burst: 86400, keysMax: 16_777_216 });
  });

  it("returns a function of the same name", () => {
    expect(rateLimit({ key: "route", rate: 1 }).name).toBe("rateLimit");
  });
});

const upstream = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  () => new Response("up", { headers: { "x-up": "1" } }),
);
const UPSTREAM = `http://127.0.0.1:${upstream.addr.port}`;
afterAll(() => upstream.shutdown());

// One request an hour in the long run: what passes is the burst, however slow this machine is.
const slow = (options: Partial<RateLimitOptions> = {}) =>
  rateLimit({ key: "route", rate: 1 / 3600, burst: 3, ...options });

function build(app: Hono): void {
  app.get("/native", slow(), respond("native"));
  app.get("/code", slow(), (c) => c.text("code"));
  app.get("/raw", slow(), () => new Response("raw"));
  app.get("/up", slow(), proxy(UPSTREAM));
  app.get("/throws", slow(), () => {
    throw new Error("of the handler");
  });
  app.get("/alone", slow({ burst: 1 }));
  app.get("/ip", slow({ key: "client-ip" }), respond("ip"));
  const behind = { key: "client-ip", trustedProxies: ["127.0.0.1"] } as const;
  app.get("/behind", slow(behind), respond("behind"));
  app.get(
    "/forwarded",
    slow({ ...behind, forwardedHeader: "Forwarded" }),
    respond("forwarded"),
  );
  app.get("/header", slow({ key: { header: "X-User" } }), respond("header"));
  app.get("/dry", slow({ dryRun: true }), respond("dry"));
  app.get("/fast", slow({ rate: 1000, burst: 5 }), respond("fast"));
  const shared = slow();
  app.get("/one", shared, respond("one"));
  app.get("/two", shared, respond("two"));
  app.use("/below/*", shared);
  app.get("/below/a", respond("a"));
  app.get("/below/b", (c) => c.text("b"));
  app.use(
    "/twice/*",
    slow({ burst: 9, name: "out" }),
    slow({ burst: 2, name: "in" }),
  );
  app.get("/twice/native", respond("t"));
  app.get("/twice/code", (c) => c.text("t"));
  app.use("/edited/*", headers({ response: { set: { "x-edit": "1" } } }));
  app.get("/edited/a", slow({ burst: 1 }), respond("e"));
  app.get(
    "/set/a",
    headers({ request: { set: { "x-user": "us" } } }),
    slow({ key: { header: "x-user" } }),
    respond("s"),
  );
  app.get("/key", slow({ key: (c) => c.req.query("who")! }), respond("k"));
  app.get(
    "/late-key",
    slow({ key: (c) => Promise.resolve(c.req.query("who")!) }),
    respond("k"),
  );
}

describeForms(
  "rateLimit()",
  build,
  (served) => {
    const ask = async (path: string, fields: Record<string, string> = {}) => {
      const answer = await fetch(served.base + path, { headers: fields });
      return { answer, status: answer.status, text: await answer.text() };
    };
    const statuses = async (path: string, n: number, fields = {}) => {
      const all = [];
      for (let i = 0; i < n; i++) all.push((await ask(path, fields)).status);
      return all;
    };
    const limitOf = (answer: Response) => {
      const match = /^"default";r=(\d+);t=(\d+)$/.exec(
        answer.headers.get("ratelimit")!,
      );
      return match!.slice(1).map(Number);
    };

    for (const path of ["/native", "/code", "/raw", "/up"]) {
      it(`lets the burst pass and answers 429 then, ${path}`, async () => {
        for (const left of [2, 1, 0]) {
          const { answer, status, text } = await ask(path);
          expect([status, text]).toEqual([200, path.slice(1)]);
          expect(answer.headers.get("ratelimit-policy")).toBe(
            '"default";q=3;w=10800',
          );
          const [remaining, full] = limitOf(answer);
          expect(remaining).toBe(left);
          expect(full).toBeGreaterThan((3 - left) * 3600 - 60);
          expect(full).toBeLessThanOrEqual((3 - left) * 3600);
          expect(answer.headers.get("retry-after")).toBe(null);
        }
        for (let i = 0; i < 3; i++) {
          const { answer, status, text } = await ask(path);
          expect([status, text]).toEqual([429, "Too many requests.\n"]);
          expect(answer.headers.get("content-type")).toBe(
            "text/plain;charset=UTF-8",
          );
          expect(limitOf(answer)[0]).toBe(0);
          const wait = Number(answer.headers.get("retry-after"));
          expect(wait).toBeGreaterThan(3600 - 60);
          expect(wait).toBeLessThanOrEqual(3600);
          expect(answer.headers.get("x-up")).toBe(null);
        }
      });
    }

    it("counts what fails behind it", async () => {
      expect(await statuses("/throws", 4)).toEqual([500, 500, 500, 429]);
    });

    it("passes on to nothing", async () => {
      const { answer, status } = await ask("/alone");
      expect([status, limitOf(answer)[0]]).toEqual([404, 0]);
      const refused = await ask("/alone");
      expect([refused.status, limitOf(refused.answer)[0]]).toEqual([429, 0]);
    });

    it("counts by client address", async () => {
      expect(await statuses("/ip", 4)).toEqual([200, 200, 200, 429]);
    });

    it("counts by the client that a trusted proxy names", async () => {
      const all = [200, 200, 200, 429];
      const by = (value: string, n: number) =>
        statuses("/behind", n, { "x-forwarded-for": value });
      expect(await by("192.0.2.1", 4)).toEqual(all);
      expect(await by("1.1.1.1, 192.0.2.1", 1)).toEqual([429]);
      expect(await by("192.0.2.2", 4)).toEqual(all);
      expect(await by("2001:db8::1", 2)).toEqual([200, 200]);
      expect(await by("2001:db8::ffff:0:0:2", 2)).toEqual([200, 429]); // one /64
      expect(await by("2001:db8:0:1::1", 1)).toEqual([200]);
      expect(await by("nonsense", 1)).toEqual([200]); // the proxy itself
      expect(await statuses("/behind", 3)).toEqual([200, 200, 429]);
      const forwarded = (value: string, n: number) =>
        statuses("/forwarded", n, { forwarded: value });
      expect(await forwarded("for=192.0.2.1;proto=http", 4)).toEqual(all);
      expect(await forwarded('for="[2001:db8::1]:80"', 4)).toEqual(all);
      // Of another route whose peers are not trusted nobody can say who it is.
      expect(await statuses("/ip", 1, { "x-forwarded-for": "192.0.2.9" }))
        .toEqual([429]);
    });

    it("counts by a field, and all without it together", async () => {
      const by = (user: string, n: number) =>
        statuses("/header", n, { "x-user": user });
      expect(await by("a", 4)).toEqual([200, 200, 200, 429]);
      expect(await by("b", 4)).toEqual([200, 200, 200, 429]);
      expect(await by("A", 1)).toEqual([200]);
      expect(await statuses("/header", 4)).toEqual([200, 200, 200, 429]);
      expect(await by("a", 1)).toEqual([429]);
    });

    it("counts several lines of a field as another value", async () => {
      const request =
        "GET /header HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" +
        "X-User: l1\r\nX-User: l2\r\n\r\n";
      const seen = [];
      for (let i = 0; i < 4; i++) {
        seen.push((await rawExchange(served.base, request)).slice(9, 12));
      }
      expect(seen).toEqual(["200", "200", "200", "429"]);
      expect(await statuses("/header", 1, { "x-user": "l1" })).toEqual([200]);
    });

    it("counts each route for itself", async () => {
      expect(await statuses("/one", 4)).toEqual([200, 200, 200, 429]);
      expect(await statuses("/two", 4)).toEqual([200, 200, 200, 429]);
      expect(await statuses("/below/a", 2)).toEqual([200, 200]);
      expect(await statuses("/below/b", 2)).toEqual([200, 429]);
      expect(await statuses("/below/a", 1)).toEqual([429]);
    });

    for (const path of ["/twice/native", "/twice/code"]) {
      it(`tells of each limit of a chain, ${path}`, async () => {
        const { answer } = await ask(path);
        const left = answer.headers.get("ratelimit")!;
        expect(left).toMatch(/^"in";r=\d;t=\d+, "out";r=\d;t=\d+$/);
        expect(answer.headers.get("ratelimit-policy")).toBe(
          '"in";q=2;w=7200, "out";q=9;w=32400',
        );
      });
    }

    it("takes from every limit of a chain", async () => {
      // Two of the inner one went above; its refusals cost the outer one, too.
      const seen = await statuses("/twice/native", 9);
      expect(seen.slice(0, 7)).toEqual(Array(7).fill(429));
      const { answer } = await ask("/twice/code");
      expect(answer.headers.get("ratelimit-policy")).toBe(
        '"out";q=9;w=32400',
      );
    });

    it("only looks on in a dry run", async () => {
      for (let i = 0; i < 5; i++) {
        const { answer, status } = await ask("/dry");
        expect([status, answer.headers.get("ratelimit")]).toEqual([200, null]);
      }
      if (served.form === "native") {
        expect(served.gateway.stats().rate_limited_dry_run).toBe(2);
      }
    });

    it("is edited by the steps around it", async () => {
      for (const expected of [200, 429]) {
        const { answer, status } = await ask("/edited/a");
        expect([status, answer.headers.get("x-edit")]).toEqual([expected, "1"]);
      }
    });

    it("sees what the steps before it have written", async () => {
      expect(await statuses("/set/a", 2, { "x-user": "1" })).toEqual([
        200,
        200,
      ]);
      expect(await statuses("/set/a", 2, { "x-user": "2" })).toEqual([
        200,
        429,
      ]);
    });

    it("counts HEAD as well, and answers it without a body", async () => {
      const head = async () => {
        const answer = await fetch(`${served.base}/fast`, { method: "HEAD" });
        expect(await answer.text()).toBe("");
        return limitOf(answer)[0];
      };
      expect(await head()).toBe(4);
      expect(await head()).toBeLessThan(5);
    });

    for (const path of ["/key", "/late-key"]) {
      it(`asks a function for the key, ${path}`, async () => {
        expect(await statuses(`${path}?who=a`, 4)).toEqual([
          200,
          200,
          200,
          429,
        ]);
        expect(await statuses(`${path}?who=b`, 1)).toEqual([200]);
      });
    }

    if (served.form === "native") {
      it("runs in C where it can, and says what it does", () => {
        const how = (path: string) => served.gateway.explain("GET", path);
        expect(how("/native").answeredBy).toBe("native");
        expect(how("/code").steps[0].runs).toBe("native");
        expect(how("/key").answeredBy).toBe("TypeScript");
        expect(String(how("/header"))).toContain("by field x-user, 3 at once");
        expect(String(how("/ip"))).toContain("by client address");
      });

      it("counts refusals", () => {
        const counters = served.gateway.stats();
        expect(counters.rate_limited).toBeGreaterThan(20);
        expect(counters.rate_limit_evictions).toBe(0);
      });
    }
  },
  () => ({}),
  ALL_FORMS,
);

describe("rateLimit() and workers", () => {
  it("counts all of them together, exactly", async () => {
    const app = new Hono();
    app.get("/x", slow({ rate: 1 / 1000, burst: 50 }), respond("x"));
    await using gateway = defineGateway(app, {
      listeners: [{ address: "127.0.0.1:0" }],
      workers: 2,
    });
    const { addresses } = await gateway.start();
    // A connection for each, so that the kernel spreads them.
    const request = "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    const base = `http://127.0.0.1:${addresses[0].port}`;
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => rawExchange(base, request)),
    );
    const passed = answers.filter((text) => text.startsWith("HTTP/1.1 200"));
    expect(passed).toHaveLength(50);
    expect(gateway.stats().rate_limited).toBe(150);
  });
});

describe("rateLimit() and reload", () => {
  it("goes on counting if its options are the same", async () => {
    const app = (burst: number) => {
      const app = new Hono();
      app.get("/x", slow({ burst }), respond("x"));
      app.get("/y", slow({ burst }), respond("y"));
      return app;
    };
    await using gateway = defineGateway(app(2), {
      listeners: [{ address: "127.0.0.1:0" }],
      workers: 1,
    });
    const { addresses } = await gateway.start();
    const ask = async (path: string) => {
      const answer = await fetch(
        `http://127.0.0.1:${addresses[0].port}${path}`,
      );
      await answer.body?.cancel();
      return answer.status;
    };
    expect([await ask("/x"), await ask("/x"), await ask("/x")]).toEqual([
      200,
      200,
      429,
    ]);
    await gateway.reload(app(2));
    expect([await ask("/x"), await ask("/y")]).toEqual([429, 200]);
    await gateway.reload(app(4));
    expect([await ask("/x"), await ask("/y")]).toEqual([200, 200]);
  });
});
