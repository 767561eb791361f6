import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { type Context, Hono, type Next } from "hono";
import { methodNotAllowed as honoMethodNotAllowed } from "hono/method-not-allowed";
import { ALL_FORMS, describeForms, type Form } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { cors } from "./cors.ts";
import { headers } from "./headers.ts";
import {
  methodNotAllowed,
  type MethodNotAllowedOptions,
} from "./method_not_allowed.ts";
import { respond } from "./respond.ts";

describe("methodNotAllowed()", () => {
  const wrong: [options: MethodNotAllowedOptions, reason: RegExp][] = [
    [undefined as never, /app.*Hono app/],
    [{ app: {} } as never, /app.*Hono app/],
    [
      { app: new Hono(), onMethodNotAllowed: "x" as never },
      /onMethodNotAllowed.*function/,
    ],
    [{ app: new Hono(), methods: [] } as never, /methods.*known keys/],
  ];
  for (const [i, [options, reason]] of wrong.entries()) {
    it(`refuses wrong options, ${i}`, () => {
      expect(() => methodNotAllowed(options)).toThrow(OptionsError);
      expect(() => methodNotAllowed(options)).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(methodNotAllowed({ app: new Hono() }).name).toBe("methodNotAllowed");
  });
});

type Make = typeof methodNotAllowed;
const pass = (_: Context, next: Next) => next();

function routes(app: Hono, make: Make): void {
  app.use("/*", headers({ response: { set: { "x-outer": "1" } } }));
  app.use("/cors/*", cors());
  app.use("/*", make({ app }));
  app.use("/code/*", pass);
  for (const base of ["", "/code", "/cors"]) {
    app.get(`${base}/one`, respond("one"));
    app.post(`${base}/two`, (c) => c.text("two"));
    app.get(`${base}/two`, respond("two"));
    app.put(`${base}/:id{[0-9]+}`, respond("number"));
    app.delete(`${base}/:id`, respond("deleted"));
    app.on(["PURGE", "LOCK"], `${base}/odd`, respond("odd"));
    app.get(`${base}/opt/:id?`, respond("opt"));
    app.options(`${base}/asked`, respond("asked"));
    app.post(`${base}/wild/*`, respond("wild"));
    app.patch(`${base}/g\u00e9`, respond("escaped"));
    app.get(`${base}/only-headers`, headers({}));
    app.all(`${base}/all`, respond("all"));
    app.get(`${base}/missing`, (c) => c.notFound());
  }
}

const METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "PATCH",
  "OPTIONS",
  "PURGE",
];
const PATHS = [
  "/one",
  "/two",
  "/7",
  "/seven",
  "/odd",
  "/opt",
  "/opt/x",
  "/opt/x/y",
  "/asked",
  "/wild",
  "/wild/a/b",
  "/g%C3%A9",
  "/only-headers",
  "/all",
  "/missing",
  "/nowhere/at/all",
  "/one/",
  "/one?x=1",
];

const hono = new Hono();
routes(hono, honoMethodNotAllowed as Make);

describeForms(
  "methodNotAllowed()",
  (app) => routes(app, methodNotAllowed),
  (served: Form) => {
    for (const base of ["", "/code", "/cors"]) {
      for (const path of PATHS) {
        it(`answers as Hono's own: ${base}${path}`, async () => {
          for (const method of METHODS) {
            const ours = await fetch(served.base + base + path, { method });
            const theirs = await hono.request(base + path, { method });
            const seen = (response: Response) =>
              ["allow", "x-outer", "access-control-allow-origin"].map((name) =>
                response.headers.get(name)
              );
            expect([method, ours.status, seen(ours), await ours.text()])
              .toEqual([
                method,
                theirs.status,
                seen(theirs),
                method === "HEAD" ? "" : await theirs.text(),
              ]);
          }
        });
      }
    }

    if (served.form === "native") {
      it("is done in C", async () => {
        const before = served.gateway.stats();
        await (await fetch(`${served.base}/one`, { method: "PUT" })).text();
        await (await fetch(`${served.base}/one`, { method: "POST" })).text();
        const after = served.gateway.stats();
        expect(after.requests_typescript).toBe(before.requests_typescript);
        expect(String(served.gateway.explain("PUT", "/one"))).toContain(
          "405 where only the method is wrong",
        );
      });
    }
  },
  undefined,
  ALL_FORMS,
);

describe("methodNotAllowed() in TypeScript", () => {
  const own = (c: Context, methods: string[]) =>
    c.text(`not ${c.req.method}`, 405, { Allow: methods.join("+") });
  const sub = new Hono();
  sub.use(methodNotAllowed({ app: sub }));
  sub.get("/in", (c) => c.text("in"));

  describeForms("with its own answer, and in a sub-app", (app) => {
    app.use("/own/*", methodNotAllowed({ app, onMethodNotAllowed: own }));
    app.get("/own/x", respond("x"));
    app.route("/", sub);
  }, (served) => {
    it("asks onMethodNotAllowed", async () => {
      const init = { method: "PUT" };
      const response = await fetch(`${served.base}/own/x`, init);
      expect([response.status, response.headers.get("allow")]).toEqual([
        405,
        "GET+HEAD",
      ]);
      expect(await response.text()).toBe("not PUT");
    });

    it("knows the routes of its app", async () => {
      const response = await fetch(`${served.base}/in`, { method: "PUT" });
      expect([response.status, response.headers.get("allow")]).toEqual([
        405,
        "GET, HEAD",
      ]);
      await response.text();
    });
  });
});
