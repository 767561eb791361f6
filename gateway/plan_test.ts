import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { RegExpRouter } from "hono/router/reg-exp-router";
import { basicAuth } from "./middleware/basic_auth.ts";
import { bearerAuth } from "./middleware/bearer_auth.ts";
import { bodyLimit } from "./middleware/body_limit.ts";
import { canary } from "./middleware/canary.ts";
import { concurrencyLimit } from "./middleware/concurrency_limit.ts";
import { cors } from "./middleware/cors.ts";
import { earlyData } from "./middleware/early_data.ts";
import { ipRestriction } from "./middleware/ip_restriction.ts";
import { methodNotAllowed } from "./middleware/method_not_allowed.ts";
import { rateLimit } from "./middleware/rate_limit.ts";
import { requestId } from "./middleware/request_id.ts";
import { timeout } from "./middleware/timeout.ts";
import { POLICY_OPS } from "./policies.ts";
import { headers } from "./middleware/headers.ts";
import { respond } from "./middleware/respond.ts";
import { proxy } from "./middleware/proxy.ts";
import { checkOptions } from "./options.ts";
import {
  compilePlan,
  matchChain,
  type Plan,
  resolveUpstreams,
} from "./plan.ts";

// One of each policy: a new one without a line here fails the test that posts them.
const STEPS: Record<keyof typeof POLICY_OPS, () => MiddlewareHandler> = {
  requestId: () => requestId({ trust: ["10.0.0.0/8"] }),
  cors: () => cors({ origin: ["https://a.example"] }),
  bodyLimit: () => bodyLimit({ maxSize: 10 }),
  earlyData: () => earlyData({ others: "refuse" }),
  ipRestriction: () => ipRestriction({ allowList: ["10.0.0.0/8"] }),
  rateLimit: () => rateLimit({ key: "client-ip", rate: 1 }),
  concurrencyLimit: () => concurrencyLimit({ max: 1 }),
  timeout: () => timeout(1000),
  basicAuth: () => basicAuth({ username: "a", password: "b" }),
  bearerAuth: () => bearerAuth({ token: "abcdef" }),
  canary: () => canary({ to: "http://127.0.0.1:1", weight: 1 }),
  methodNotAllowed: () => methodNotAllowed({ app: new Hono() }),
};

const text = (c: Context) => c.text("typescript");

function compile(app: Hono, options = {}): Plan {
  return compilePlan(app, checkOptions(options));
}

describe("compilePlan()", () => {
  it("finds a native step inside of a sub-app with its own onError", () => {
    const inner = new Hono().get("/x", respond("x"));
    inner.onError((_, c) => c.text("inner", 500));
    const outer = new Hono().route("/in", inner);
    outer.onError((_, c) => c.text("outer", 500));
    const plan = compile(new Hono().route("/out", outer));
    expect(plan.entries.map((entry) => [entry.path, entry.steps[0].op]))
      .toEqual([["/out/in/x", "respond"]]);
  });

  it("leaves out HEAD routes, which Hono never matches", () => {
    const app = new Hono().on("HEAD", "/x", respond("head")).get("/x", text);
    expect(compile(app).entries.map((entry) => entry.method)).toEqual(["GET"]);
  });

  it("follows a HEAD request along the GET routes", () => {
    const plan = compile(new Hono().get("/x", respond("x")));
    expect(matchChain(plan, "HEAD", "/x").end?.step.op).toBe("respond");
  });

  it("gives a method with more than 32 bytes to TypeScript", () => {
    const plan = compile(new Hono().on("M".repeat(33), "/x", respond("x")));
    expect(plan.entries[0]).toMatchObject({
      method: "ALL",
      steps: [{ op: "typescript" }],
    });
  });

  it("makes one entry of handlers for the same pattern, up to the end", () => {
    const edit = headers({ request: { remove: ["x"] } });
    const app = new Hono();
    app.get("/x/:id?", edit, headers({}), respond("x"));
    app.get("/x/:id?", text);
    app.post("/x/:id?", edit);
    const plan = compile(app);
    expect(plan.entries.map(({ method, segments, steps }) => [
      method,
      segments.length,
      steps.map(({ op, arg, route }) => `${op} ${arg} ${route}`),
    ])).toEqual([
      ["GET", 1, ["headers 0 0", "headers 1 1", "respond 0 2"]],
      ["GET", 2, ["headers 0 0", "headers 1 1", "respond 0 2"]],
      ["GET", 1, ["typescript 0 3"]],
      ["GET", 2, ["typescript 0 3"]],
      ["POST", 1, ["headers 0 4"]],
      ["POST", 2, ["headers 0 4"]],
    ]);
  });

  it("leaves what a chain cannot hold to TypeScript", () => {
    const app = new Hono();
    for (let i = 0; i < 20; i++) app.use(headers({}));
    const { prefix, end, rest, limit } = matchChain(compile(app), "GET", "/");
    expect([prefix.length, end?.step.route, rest.length]).toEqual([16, 16, 3]);
    expect(limit).toContain("at most 16 steps");
    const large = headers({ request: { set: { x: "v".repeat(5000) } } });
    const two = compile(new Hono().use(large, large));
    expect(matchChain(two, "GET", "/").limit).toContain("8192 bytes");
  });

  const allTypeScript: [what: string, app: Hono, reason: RegExp][] = [
    [
      "its own getPath",
      new Hono({ getPath: (r) => new URL(r.url).pathname }),
      /getPath/,
    ],
    ["another router", new Hono({ router: new RegExpRouter() }), /router/],
    [
      "a hazardous pattern",
      new Hono().get("/a|b/:id", text).get("/c/:id", respond("c")),
      /pattern/,
    ],
    [
      "{ fetch } alone",
      { fetch: () => new Response() } as unknown as Hono,
      /Hono/,
    ],
  ];
  for (const [what, app, reason] of allTypeScript) {
    it(`sends everything to TypeScript for ${what}`, () => {
      const plan = compile(app);
      expect(plan.allTypeScript).toMatch(reason);
      expect(plan.entries).toEqual([]);
    });
  }

  it("sends everything to TypeScript if fetch was replaced", () => {
    const app = new Hono().get("/x", respond("x"));
    const { fetch } = app;
    app.fetch = (request) => fetch(new Request(request));
    expect(compile(app).allTypeScript).toMatch(/fetch/);
  });

  it("warns of a native step that a TypeScript middleware hides", () => {
    const app = new Hono();
    app.use(function logger(_, next) {
      return next();
    });
    app.all("/api/*", proxy("http://127.0.0.1:1"));
    const [warning] = compile(app).warnings;
    expect(warning).toContain("ALL /api/*");
    expect(warning).toContain("logger");
  });

  it("warns of a native step on a pattern that C cannot match exactly", () => {
    const plan = compile(new Hono().get("/x/:id{.*}", respond("x")));
    expect(plan.entries[0].steps[0].op).toBe("typescript");
    expect(plan.warnings[0]).toContain("the expression of :id{.*}");
  });

  it("shares an upstream between routes with the same limits", () => {
    const app = new Hono();
    app.all("/a/*", proxy("http://127.0.0.1:1"));
    app.all("/b/*", proxy("http://127.0.0.1:1"));
    app.all("/c/*", proxy("http://127.0.0.1:1", { connsMax: 7 }));
    app.all("/d/*", proxy({ upstream: "d" }));
    const plan = compile(app, {
      upstreams: { d: { url: "http://[::1]:9", idleMax: 3 } },
    });
    expect(plan.entries.map((entry) => entry.steps[0].arg)).toEqual([
      0,
      0,
      1,
      2,
    ]);
    expect(plan.upstreams[1]).toMatchObject({ connsMax: 7, idleMax: 7 });
    expect(plan.upstreams[2]).toMatchObject({
      name: "d",
      hostname: "::1",
      port: 9,
      idleMax: 3,
    });
  });

  it("makes a plan that an isolate can post, whatever its steps are", () => {
    const app = new Hono();
    const { methodNotAllowed: _, ...factories } = STEPS;
    for (const make of Object.values(factories)) app.use("/x", make());
    app.use("/x", methodNotAllowed({ app }));
    app.get("/x", respond("x"));
    const plan = compile(app);
    expect(plan.policies.map(({ step }) => step.op).sort())
      .toEqual(Object.keys(POLICY_OPS).sort());
    expect(structuredClone(plan)).toEqual(plan);
  });

  it("names an unknown upstream and the known ones", () => {
    const app = new Hono().all("/*", proxy({ upstream: "nope" }));
    expect(() => compile(app, { upstreams: { api: { url: "http://h:1" } } }))
      .toThrow(/nope[^]*known: api|known: api[^]*nope/);
  });
});

describe("resolveUpstreams()", () => {
  it("warns of a name without an address", async () => {
    const plan = compile(
      new Hono().all("/a", proxy("http://here:1")).all(
        "/b",
        proxy("http://gone:2"),
      ),
    );
    await resolveUpstreams(
      plan,
      (name) => Promise.resolve(name === "here" ? [10, 0, 0, 7] : undefined),
    );
    expect(plan.upstreams.map((upstream) => upstream.address)).toEqual([[
      10,
      0,
      0,
      7,
    ], []]);
    expect(plan.warnings[0]).toContain("gone");
  });
});
