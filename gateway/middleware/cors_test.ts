import { expect } from "@std/expect";
import { afterAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { cors as honoCors } from "hono/cors";
import {
  ALL_FORMS,
  describeForms,
  type Form,
  rawExchange,
} from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { cors, type CorsOptions } from "./cors.ts";
import { headers } from "./headers.ts";
import { ipRestriction } from "./ip_restriction.ts";
import { proxy } from "./proxy.ts";
import { respond } from "./respond.ts";

describe("cors()", () => {
  const wrong: [options: CorsOptions, reason: RegExp][] = [
    [{ origin: "" }, /cors\(\) origin.*must be "\*" or an origin/],
    [{ origin: "https://a, https://b" }, /origin.*must be/],
    [{ origin: ["https://a", "b\r\n"] }, /origin\[1\].*must be/],
    [{ origin: 3 as never }, /origin.*must be/],
    [{ allowMethods: "GET" as never }, /allowMethods.*list/],
    [{ allowMethods: ["GET", "P UT"] }, /allowMethods\[1\].*name/],
    [{ allowHeaders: ["x-a", "x,b"] }, /allowHeaders\[1\].*name/],
    [{ exposeHeaders: [""] }, /exposeHeaders\[0\].*name/],
    [{ maxAge: 1.5 }, /maxAge.*integer/],
    [{ maxAge: "600" as never }, /maxAge.*integer/],
    [{ origins: "*" } as never, /origins.*known keys/],
    [{ allowHeaders: ["x".repeat(5000)] }, /too many bytes/],
  ];
  for (const [options, reason] of wrong) {
    it(`refuses ${JSON.stringify(options).slice(0, 70)}`, () => {
      expect(() => cors(options)).toThrow(OptionsError);
      expect(() => cors(options)).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(cors().name).toBe("cors");
  });
});

const A = "https://a.example";
const B = "https://b.example:8443";

// By name; each is judged beside Hono's own.
const CASES: Record<string, CorsOptions> = {
  defaults: {},
  any: { origin: "*", credentials: true, exposeHeaders: ["x-a", "x-b"] },
  one: { origin: A },
  list: {
    origin: [B, A, "null"],
    allowMethods: ["POST", "PURGE"],
    allowHeaders: ["X-Custom", "Upgrade-Insecure-Requests"],
    exposeHeaders: ["Content-Length"],
    maxAge: 600,
    credentials: true,
  },
  many: {
    origin: Array.from({ length: 50 }, (_, i) => `https://${i}.example`).concat(
      A,
    ),
    maxAge: 0,
  },
  bare: { origin: [], allowMethods: [], allowHeaders: ["*"] },
  code: { origin: (origin) => origin.endsWith(".example") ? origin : null },
  methods: { allowMethods: (origin) => origin === A ? ["PUT"] : ["GET"] },
};
const TYPESCRIPT = ["code", "methods"];

const ORIGINS = [
  undefined,
  A,
  B,
  `${A}/`,
  "https://A.example",
  "https://7.example",
  "https://77.example",
  "null",
  "*",
  "a",
];
const ASKED = [
  undefined,
  "x-one",
  "X-One,x-two , x-three",
  " , ,",
  "",
  "caf\u00e9,\u00a0x\u00a0",
];

function ends(app: Hono, path: string): void {
  const given = { "x-a": "1", vary: "Accept-Encoding" };
  app.get(`${path}/native`, respond("native", { headers: given }));
  app.get(`${path}/plain`, respond("plain"));
  app.get(`${path}/text`, (c) => c.text("text", 200, given));
  app.get(
    `${path}/raw`,
    () => new Response("raw", { headers: { ...given, "x-raw": "1" } }),
  );
  app.post(`${path}/text`, (c) => c.text("posted"));
  app.options(`${path}/text`, (c) => c.text("never"));
  app.get(`${path}/throws`, () => {
    throw new Error("of the handler");
  });
}

function build(app: Hono): void {
  for (const [name, options] of Object.entries(CASES)) {
    app.use(`/${name}/*`, cors(options));
    ends(app, `/${name}`);
  }
  // On the answers of other policies, and of an upstream that does it, too.
  app.use(
    "/refused/*",
    cors({ origin: A }),
    ipRestriction({ denyList: ["*"] }),
  );
  app.get("/refused/x", (c) => c.text("in"));
  app.use("/up/*", cors({ origin: A }));
  app.all("/up/*", proxy(UPSTREAM));
  // The request as the steps before it have left it.
  app.use("/set/*", headers({ request: { set: { origin: A } } }));
  app.use("/set/*", cors({ origin: A }));
  app.get("/set/x", respond("x"));
  app.use("/cut/*", headers({ request: { remove: ["origin"] } }));
  app.use("/cut/*", cors({ origin: A }));
  app.get("/cut/x", respond("x"));
}

const upstream = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  () =>
    new Response("up", {
      headers: { "access-control-allow-origin": "*", vary: "Accept" },
    }),
);
const UPSTREAM = `http://127.0.0.1:${upstream.addr.port}`;
afterAll(() => upstream.shutdown());

const hono = new Hono();
for (const [name, options] of Object.entries(CASES)) {
  hono.use(`/${name}/*`, honoCors(options));
  ends(hono, `/${name}`);
}

// What a server adds by itself; and how one writes a type.
const OF_THE_SERVER = ["date", "content-length", "connection"];

function fieldsOf(response: Response): [string, string][] {
  return [...response.headers].filter(([name]) => !OF_THE_SERVER.includes(name))
    .map(([name, value]) => [
      name,
      name === "content-type" ? value.toLowerCase().replace(" ", "") : value,
    ]);
}

describeForms(
  "cors()",
  build,
  (served: Form) => {
    // Deno's server adds Accept-Encoding to Vary where it compresses: not here.
    const send = (path: string, method: string, fields: [string, string][]) =>
      fetch(served.base + path, {
        method,
        headers: [...fields, ["accept-encoding", "identity"]],
      });

    async function compare(
      path: string,
      method: string,
      fields: [string, string][],
    ): Promise<void> {
      const ours = await send(path, method, fields);
      const theirs = await hono.request(path, { method, headers: fields });
      const about = `${method} ${path} ${JSON.stringify(fields)}`;
      expect([about, ours.status, fieldsOf(ours)]).toEqual([
        about,
        theirs.status,
        fieldsOf(theirs),
      ]);
      expect(await ours.text()).toBe(await theirs.text());
    }

    for (const name of Object.keys(CASES)) {
      it(`answers as Hono's own: ${name}`, async () => {
        for (const origin of ORIGINS) {
          const fields: [string, string][] = origin ? [["origin", origin]] : [];
          for (const end of ["native", "plain", "text", "raw", "throws"]) {
            await compare(`/${name}/${end}`, "GET", fields);
          }
          await compare(`/${name}/text`, "POST", fields);
          await compare(`/${name}/native`, "HEAD", fields);
          await compare(`/${name}/missing`, "GET", fields);
        }
      });

      it(`answers preflights as Hono's own: ${name}`, async () => {
        for (const origin of ORIGINS) {
          for (const asked of ASKED) {
            const fields: [string, string][] = [
              ["access-control-request-method", "PUT"],
            ];
            if (origin) fields.push(["origin", origin]);
            if (asked !== undefined) {
              fields.push(["access-control-request-headers", asked]);
            }
            await compare(`/${name}/text`, "OPTIONS", fields);
          }
          await compare(`/${name}/missing`, "OPTIONS", []);
        }
      });
    }

    it("joins what a preflight asks for in several lines", async () => {
      const answer = await rawExchange(
        served.base,
        "OPTIONS /one/text HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" +
          "Access-Control-Request-Headers: a , b\r\n" +
          "Access-Control-Request-Headers: c\r\n\r\n",
      );
      expect(answer).toMatch(/^HTTP\/1\.1 204 /);
      expect(answer).toMatch(/access-control-allow-headers: a,b,c\r/i);
      expect(answer).toMatch(/vary: Origin, Access-Control-Request-Headers\r/i);
      expect(answer).not.toMatch(/content-length|content-type/i);
    });

    it("lets nobody in by two origins", async () => {
      const answer = await rawExchange(
        served.base,
        `GET /one/plain HTTP/1.1\r\nHost: h\r\nConnection: close\r\nOrigin: ${A}\r\nOrigin: ${A}\r\n\r\n`,
      );
      expect(answer).not.toMatch(/access-control-allow-origin/i);
    });

    it("shows a page what another policy has answered", async () => {
      const response = await send("/refused/x", "GET", [["origin", A]]);
      expect([response.status, await response.text()]).toEqual([
        403,
        "Forbidden",
      ]);
      expect(response.headers.get("access-control-allow-origin")).toBe(A);
      expect(response.headers.get("vary")).toBe("Origin");
    });

    it("has the last word over an upstream, and keeps its Vary", async () => {
      const response = await send("/up/x", "GET", [["origin", A]]);
      expect(await response.text()).toBe("up");
      expect(response.headers.get("access-control-allow-origin")).toBe(A);
      expect(response.headers.get("vary")).toBe("Accept, Origin");
    });

    it("sees the request as the steps before it have left it", async () => {
      const origin = async (path: string, fields: [string, string][]) => {
        const response = await send(path, "GET", fields);
        await response.body?.cancel();
        return response.headers.get("access-control-allow-origin");
      };
      expect(await origin("/set/x", [])).toBe(A);
      expect(await origin("/set/x", [["origin", B]])).toBe(A);
      expect(await origin("/cut/x", [["origin", A]])).toBe(null);
    });

    if (served.form === "native") {
      it("runs in C where it can", () => {
        for (const name of Object.keys(CASES)) {
          const { answeredBy } = served.gateway.explain(
            "GET",
            `/${name}/native`,
          );
          expect([name, answeredBy]).toEqual([
            name,
            TYPESCRIPT.includes(name) ? "TypeScript" : "native",
          ]);
        }
        const how = String(served.gateway.explain("GET", "/list/native"));
        expect(how).toContain(`readable for ${B}, ${A}, null`);
      });
    }
  },
  undefined,
  ALL_FORMS,
);
