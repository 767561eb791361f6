import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { explain } from "./explain.ts";
import { headers } from "./middleware/headers.ts";
import { proxy } from "./middleware/proxy.ts";
import { requestId } from "./middleware/request_id.ts";
import { respond } from "./middleware/respond.ts";
import { checkOptions, type GatewayOptions } from "./options.ts";
import { compilePlan } from "./plan.ts";

function plan(options: GatewayOptions = {}) {
  const app = new Hono();
  app.get("/healthz", respond("ok"));
  app.use("/app/*", function auth(_, next) {
    return next();
  });
  app.all("/app/*", proxy("http://127.0.0.1:1"));
  app.all("/api/*", proxy({ upstream: "api" }));
  app.get("/n/:id{.*}", (c) => c.text("n"));
  return compilePlan(
    app,
    checkOptions({
      upstreams: { api: { url: "http://127.0.0.1:2" } },
      ...options,
    }),
  );
}

describe("explain()", () => {
  it("names the native step and its upstream", () => {
    const { answeredBy, steps } = explain(plan(), "POST", "http://h/api/x?y");
    expect(answeredBy).toBe("native");
    expect(steps).toEqual([{
      route: "ALL /api/*",
      name: "proxy",
      runs: "native",
      upstream: "api, 127.0.0.1:2",
    }]);
  });

  it("shows the whole chain of TypeScript, with the reason", () => {
    const explanation = explain(plan(), "GET", "/app/x");
    expect(explanation.answeredBy).toBe("TypeScript");
    expect(explanation.steps.map(({ name, runs }) => [name, runs])).toEqual(
      [["auth", "TypeScript"], ["proxy", "TypeScript"]],
    );
    expect(String(explanation)).toContain("auth at ALL /app/* is code");
  });

  it("shows a chain's steps in order, with what they do and why", () => {
    const app = new Hono();
    app.use(headers({ response: { set: { a: "1" }, remove: ["b"] } }));
    app.get("/n", headers({ request: { append: { c: "1" } } }), respond("n"));
    app.get("/t", function hello(c) {
      return c.text("t");
    });
    app.use("/t", headers({}));
    const plan = compilePlan(app, checkOptions());
    expect(String(explain(plan, "GET", "/n"))).toBe(
      "GET /n: native, because respond() ends the chain in C\n" +
        "  1. ALL /*  headers  native (response -b =a)\n" +
        "  2. GET /n  headers  native (request +c)\n" +
        "  3. GET /n  respond  native",
    );
    expect(String(explain(plan, "GET", "/t"))).toBe(
      "GET /t: TypeScript, because hello at GET /t is code\n" +
        "  1. ALL /*  headers  native (response -b =a)\n" +
        "  2. GET /t  hello  TypeScript\n" +
        "  3. ALL /t  headers  TypeScript, because it comes after hello at GET /t",
    );
    expect(explain(plan, "GET", "/nope").steps.length).toBe(1);
  });

  it("follows HEAD as GET and decodes the path as Hono does", () => {
    expect(explain(plan(), "HEAD", "/%68ealthz").answeredBy).toBe("native");
    expect(explain(plan(), "GET", "/api%2Fx").steps).toEqual([]);
  });

  it("says that a pattern is not exact, and why", () => {
    expect(explain(plan(), "GET", "/n/x").reason).toContain(
      "exactly (the expression of :id{.*})",
    );
  });

  it("says why a middleware of ours is TypeScript", () => {
    const app = new Hono().use(requestId({ generator: () => "id" }));
    const compiled = compilePlan(app, checkOptions());
    expect(explain(compiled, "GET", "/").reason).toBe(
      "requestId at ALL /* is TypeScript: its generator is a function",
    );
  });

  it("says what C refuses before it looks for a route", () => {
    for (const path of ["/a/../b", "/.", "/a/%2e%2E", "/a%00"]) {
      const { answeredBy, reason, steps } = explain(plan(), "GET", path);
      expect([answeredBy, steps]).toEqual(["native", []]);
      expect(reason).toContain("400");
    }
    expect(explain(plan(), "TRACE", "/").reason).toContain("501");
    const lenient = plan({ paths: "hono" });
    expect(explain(lenient, "GET", "/a/../b").reason).toContain("no route");
    expect(explain(plan(), "GET", "/...").reason).toContain("no route");
  });

  it("shows the limits of whoever answers", () => {
    const options = checkOptions({ limits: { bodyBytesMax: 77 } });
    const names = (path: string) =>
      explain(plan(), "GET", path, { options }).limits.map(({ name }) => name);
    expect(names("/healthz")).not.toContain("limits.bodyBytesMax");
    expect(names("/api/x")).toContain("upstream.headTimeoutMs");
    expect(names("/n/1")).toContain("limits.handlerTimeoutMs");
    expect(names("/n/1")).not.toContain("limits.notFoundInFlight");
    expect(names("/nope")).toContain("limits.notFoundInFlight");
    expect(String(explain(plan(), "GET", "/n/1", { options }))).toContain(
      "\n  limits.bodyBytesMax 77: bytes of the body, else 413\n",
    );
  });

  it("shows which certificate a host name gets", () => {
    const options = checkOptions({
      listeners: [{
        address: "127.0.0.1:0",
        tls: {
          certificates: [
            { cert: "a", key: "a", names: ["example.org"] },
            { cert: "b", key: "b", names: ["*.example.org"] },
          ],
        },
      }],
    });
    const of = (url: string, headers?: HeadersInit) =>
      explain(plan(), "GET", url, { options, headers }).certificate;
    expect(of("https://example.org/")).toContain("certificates[0]");
    expect(of("https://A.example.org:8443/")).toContain("certificates[1]");
    expect(of("/", { host: "a.example.org" })).toContain("certificates[1]");
    expect(of("https://a.b.example.org/")).toContain("none has");
    expect(of("/")).toBe(undefined);
  });

  it("says that a hook may choose another certificate", () => {
    const certificates = [{ cert: "a", key: "a" }];
    const options = checkOptions({
      listeners: [
        { address: "127.0.0.1:0", tls: { certificates } },
        {
          address: "127.0.0.1:0",
          tls: { certificates, onClientHello: () => undefined },
        },
      ],
    });
    const { certificate } = explain(plan(), "GET", "https://a.b/", { options });
    expect(certificate).toMatch(
      /go by their own; listeners\[1\]\.tls\.onClientHello may choose another$/,
    );
  });

  it("says who answers where no route matches", () => {
    expect(explain(plan(), "GET", "/nope").reason).toContain(
      "Hono's not-found",
    );
    expect(explain(plan({ notFound: "native" }), "GET", "/nope").answeredBy)
      .toBe("native");
  });

  it("says why all is TypeScript", () => {
    const app = new Hono({ getPath: () => "/" });
    const all = compilePlan(app, checkOptions());
    expect(explain(all, "GET", "/").reason).toContain("own getPath");
  });

  it("drops a last slash where the app is not strict", () => {
    const app = new Hono({ strict: false }).get("/x", respond("x"));
    const loose = compilePlan(app, checkOptions());
    expect(explain(loose, "GET", "/x/").answeredBy).toBe("native");
  });
});
