import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { type Context, Hono, type Next } from "hono";
import { RegExpRouter } from "hono/router/reg-exp-router";
import { nativeOf } from "./define_middleware.ts";
import { headers } from "./middleware/headers.ts";
import { respond } from "./middleware/respond.ts";
import { proxy } from "./middleware/proxy.ts";
import { checkOptions } from "./options.ts";
import {
  compilePattern,
  compilePlan,
  matchChain,
  patternMatches,
  type Plan,
  resolveUpstreams,
} from "./plan.ts";

const text = (c: Context) => c.text("typescript");

function compile(app: Hono, options = {}): Plan {
  return compilePlan(app, checkOptions(options));
}

function show(path: string): string[] {
  return compilePattern(path).map((pattern) => {
    const parts = pattern.segments.map((segment) =>
      segment.kind === "static"
        ? segment.text
        : segment.kind === "param"
        ? "<>"
        : "**"
    );
    return `${pattern.exact ? "=" : "~"}/${parts.join("/")}`;
  });
}

// A small generator with a seed, so that a failure can be run again.
function random(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const PARTS = [
  "a",
  "b",
  "api",
  "a.js",
  "",
  ":id",
  ":name",
  ":n{[0-9]+}",
  ":n{a|b}",
  ":n{.+}",
  "*",
  "a*",
  "x:y",
  "ü",
  "$()",
];
const PATH_PARTS = [
  "a",
  "b",
  "api",
  "a.js",
  "",
  "1",
  "ab",
  "x:y",
  "ü",
  "%61",
  "%2F",
  "%C3%BC",
  "%zz",
  "$()",
];

function randomPattern(rand: (below: number) => number): string {
  const parts = Array.from(
    { length: 1 + rand(3) },
    () => PARTS[rand(PARTS.length)],
  );
  if (rand(4) === 0) parts.push("*");
  const optional = rand(8) === 0 && parts.at(-1)!.startsWith(":") ? "?" : "";
  return "/" + parts.join("/") + optional;
}

function randomApp(rand: (below: number) => number): Hono {
  const app = new Hono();
  const methods = ["GET", "POST", "PURGE", "HEAD"];
  for (let i = 0, n = 1 + rand(6); i < n; i++) {
    const handler = [
      respond(`native ${i}`),
      headers({ response: { set: { [`x-${i}`]: "1" } } }),
      (_: Context, next: Next) => next(),
    ][rand(3)];
    const pattern = randomPattern(rand);
    if (rand(3) === 0) app.use(pattern, handler);
    else app.on(methods[rand(methods.length)], pattern, handler);
  }
  return app;
}

describe("compilePattern()", () => {
  const table: [pattern: string, compiled: string[]][] = [
    ["/", ["=/"]],
    ["/a/b", ["=/a/b"]],
    ["/a/", ["=/a/"]],
    ["/v1/users:batch", ["=/v1/users:batch"]],
    ["/a/:id", ["=/a/<>"]],
    ["/a/:id/b", ["=/a/<>/b"]],
    ["/*", ["=/**"]],
    ["/api/*", ["=/api/**"]],
    ["/a/:id?", ["=/a", "=/a/<>"]],
    ["/:id?", ["=/", "=/<>"]],
    ["/a/:x?/:y?", ["~/a/**"]],
    ["/a//:x?", ["~/a/**"]],
    ["/api*", ["~/**"]],
    ["/f/*/g", ["~/f/**"]],
    ["/w/*.js", ["~/w/**"]],
    ["/a/:id{[0-9]+}", ["~/a/**"]],
    ["/a/:id{[^/]+/x}/b", ["~/a/**"]],
    ["/a/:id/a:b", ["~/a/<>/**"]],
    ["/a%41", ["~/**"]],
    ["/\ud800", ["~/**"]],
  ];
  for (const [pattern, compiled] of table) {
    it(`makes ${compiled.join(" and ")} of ${JSON.stringify(pattern)}`, () => {
      expect(show(pattern)).toEqual(compiled);
    });
  }

  it("cuts a pattern of more than 64 segments", () => {
    const [pattern] = compilePattern("/a".repeat(100));
    expect(pattern.segments.length).toBe(64);
    expect(pattern.exact).toBe(false);
    expect(patternMatches(pattern.segments, "/a".repeat(100))).toBe(true);
  });
});

describe("patternMatches()", () => {
  const table: [pattern: string, path: string, matches: boolean][] = [
    ["/api/*", "/api", true],
    ["/api/*", "/api/", true],
    ["/api/*", "/api/x/y", true],
    ["/api/*", "/apix", false],
    ["/a/:id", "/a/", false],
    ["/a/:id", "/a/1/", false],
    ["/a/:id", "//a/1", false],
    ["/x/", "/x", false],
    ["/x", "/x/", false],
    ["/*", "/", true],
    ["/", "/", true],
    ["/", "//", false],
  ];
  for (const [pattern, path, matches] of table) {
    it(`${pattern} ${matches ? "takes" : "does not take"} ${path}`, () => {
      expect(patternMatches(compilePattern(pattern)[0].segments, path)).toBe(
        matches,
      );
    });
  }
});

describe("compilePlan()", () => {
  it("decides as Hono's router does, for random tables and paths", () => {
    let natives = 0;
    let prefixes = 0;
    let tables = 0;
    for (let seed = 1; seed <= 3000; seed++) {
      const rand = random(seed);
      const app = randomApp(rand);
      const plan = compile(app);
      if (plan.allTypeScript !== undefined) continue;
      tables++;
      for (let i = 0; i < 12; i++) {
        const raw = "/" +
          Array.from(
            { length: 1 + rand(4) },
            () => PATH_PARTS[rand(PATH_PARTS.length)],
          ).join("/");
        const path = app.getPath({ url: `http://h${raw}` } as Request);
        const method = ["GET", "POST", "PURGE", "PUT"][rand(4)];
        const chain = app.router.match(method, path)[0].map(([pair]) =>
          pair as unknown as [unknown, unknown]
        );
        const { prefix, end } = matchChain(plan, method, path);
        const at = `seed ${seed}: ${method} ${raw} in ${
          app.routes.map((r) => `${r.method} ${r.path}`).join(", ")
        }`;
        // What C executes is what Hono would have run, in its order.
        for (const [k, { step }] of prefix.entries()) {
          prefixes++;
          expect([at, chain[k]?.[1]]).toEqual([at, app.routes[step.route]]);
          expect(nativeOf(chain[k][0])).toBe(plan.headers[step.arg]);
        }
        const decides = chain[prefix.length];
        if (end === undefined) expect([at, decides]).toEqual([at, undefined]);
        else if (end.step.op !== "typescript") {
          natives++;
          expect([at, decides?.[1]]).toEqual([at, app.routes[end.step.route]]);
          expect(nativeOf(decides[0])).toBe(plan.responds[end.step.arg]);
        }
      }
    }
    expect(prefixes).toBeGreaterThan(500);
    expect(natives).toBeGreaterThan(500);
    expect(tables).toBeGreaterThan(1000);
  });

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
    ["strict: false", new Hono({ strict: false }), /getPath/],
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
    const plan = compile(new Hono().get("/x/:id{[0-9]+}", respond("x")));
    expect(plan.entries[0].steps[0].op).toBe("typescript");
    expect(plan.warnings[0]).toContain("/x/:id{[0-9]+}");
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
