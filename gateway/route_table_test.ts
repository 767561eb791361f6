import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Hono, type MiddlewareHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import { basicAuth } from "./middleware/basic_auth.ts";
import { bearerAuth } from "./middleware/bearer_auth.ts";
import { bodyLimit } from "./middleware/body_limit.ts";
import { concurrencyLimit } from "./middleware/concurrency_limit.ts";
import { cors } from "./middleware/cors.ts";
import { rateLimit } from "./middleware/rate_limit.ts";
import { timeout } from "./middleware/timeout.ts";
import { requestId } from "./middleware/request_id.ts";
import { respond } from "./middleware/respond.ts";
import { routeLines } from "./narrate.ts";
import { checkOptions } from "./options.ts";
import { compilePlan } from "./plan.ts";
import { routeTable, routeText } from "./route_table.ts";

const compile = (app: Hono) => compilePlan(app, checkOptions());

describe("routeTable()", () => {
  it("has a row for each handler, with where it runs and why", () => {
    const inner = new Hono().get("/x", respond("x"));
    inner.onError((_, c) => c.text("inner", 500));
    const app = new Hono();
    app.get("/a/:id?", respond("a"), (c) => c.text("unreached"));
    app.use("/b/*", function auth(_, next) {
      return next();
    });
    app.get("/b/c", respond("b"));
    app.get("/d/:x{.*}", respond("d"));
    app.use("/e", requestId({ generator: () => "id" }));
    app.route("/in", inner);
    const rows = routeTable(compile(app));
    expect(
      rows.map((row) =>
        [row.method, row.path, row.name, row.runs, row.reason].join(" ").trim()
      ),
    ).toEqual([
      "GET /a/:id? respond native",
      "GET /a/:id?  TypeScript",
      "ALL /b/* auth TypeScript",
      "GET /b/c respond TypeScript auth at ALL /b/* comes first",
      "GET /d/:x{.*} respond TypeScript C cannot match this pattern exactly (the expression of :x{.*})",
      "ALL /e requestId TypeScript its generator is a function",
      "GET /in/x respond native",
    ]);
    expect(routeText(rows)[3]).toBe(
      "  GET  /b/c       TypeScript  respond, because auth at ALL /b/* comes first",
    );
  });

  it("leaves a step native that one of its two patterns reaches", () => {
    const app = new Hono();
    app.get("/a/:id", (c) => c.text("code"));
    app.get("/a/:id?", respond("a"));
    const plan = compile(app);
    expect(routeTable(plan)[1].runs).toBe("native");
    expect(plan.warnings).toEqual([]);
  });
});

describe("a middleware of ours that needs TypeScript", () => {
  const text = () => "x";
  const table: [middleware: MiddlewareHandler, reason: string][] = [
    [requestId({ generator: text }), "its generator is a function"],
    [rateLimit({ key: text, rate: 1 }), "its key is a function"],
    [concurrencyLimit({ key: text, max: 1 }), "its key is a function"],
    [
      basicAuth({ verifyUser: () => true }),
      "one of its options is a function",
    ],
    [
      bearerAuth({ verifyToken: () => true }),
      "one of its options is a function",
    ],
    [
      timeout(1000, new HTTPException(503)),
      "it throws an exception of its own",
    ],
    [
      cors({ origin: text }),
      "its origin or allowMethods is a function",
    ],
    [
      bodyLimit({ maxSize: 1, onError: (c) => c.text("x") }),
      "its onError is a function",
    ],
  ];
  for (const [middleware, reason] of table) {
    it(`says why: ${middleware.name}, ${reason}`, () => {
      const [row] = routeTable(compile(new Hono().use(middleware)));
      expect([row.runs, row.reason]).toEqual(["TypeScript", reason]);
    });
  }
});

describe("routeLines()", () => {
  it("cuts a long table with a line that says how to see all", () => {
    const app = new Hono();
    for (let i = 0; i < 25; i++) app.get(`/${i}`, respond("x"));
    const lines = routeLines(compile(app), "app.ts");
    expect(lines[0]).toBe("routes: 25, of which 25 native and 0 TypeScript");
    expect(lines.length).toBe(22);
    expect(lines.at(-1)).toBe("  and 5 more: deno task explain app.ts");
  });
});
