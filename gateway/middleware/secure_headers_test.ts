import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { type Context, Hono } from "hono";
import { NONCE, secureHeaders as honoSecureHeaders } from "hono/secure-headers";
import { ALL_FORMS, describeForms, type Form } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { respond } from "./respond.ts";
import { secureHeaders, type SecureHeadersOptions } from "./secure_headers.ts";

describe("secureHeaders()", () => {
  const wrong: [options: SecureHeadersOptions, reason: RegExp][] = [
    [{ xFrameOptions: 3 as never }, /xFrameOptions.*true, false or/],
    [{ xFrameOptions: "a\r\nb: c" }, /x-frame-options.*CR/],
    [{ referrerPolicy: "\u0100" }, /referrer-policy.*U\+00FF/],
    [{ frameOptions: true } as never, /frameOptions.*known keys/],
    [{ contentSecurityPolicy: { defaultSrc: ["a\n"] } }, /CR/],
    [{ reportTo: [{ group: "x".repeat(9000) }] as never }, /too many bytes/],
  ];
  for (const [options, reason] of wrong) {
    it(`refuses ${JSON.stringify(options).slice(0, 70)}`, () => {
      expect(() => secureHeaders(options)).toThrow(OptionsError);
      expect(() => secureHeaders(options)).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(secureHeaders().name).toBe("secureHeaders");
  });
});

// By name; each is judged beside Hono's own.
const CASES: Record<string, SecureHeadersOptions> = {
  defaults: {},
  none: {
    crossOriginResourcePolicy: false,
    crossOriginOpenerPolicy: false,
    originAgentCluster: false,
    referrerPolicy: false,
    strictTransportSecurity: false,
    xContentTypeOptions: false,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xFrameOptions: false,
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
    removePoweredBy: false,
  },
  own: {
    crossOriginEmbedderPolicy: true,
    strictTransportSecurity: "max-age=1",
    xFrameOptions: "DENY",
    xXssProtection: "",
  },
  csp: {
    contentSecurityPolicy: {
      defaultSrc: ["'self'"],
      baseUri: ["'self'"],
      scriptSrcAttr: ["'none'"],
      upgradeInsecureRequests: [],
      reportTo: "endpoint",
      reportUri: ["/a", "/b"],
    },
    contentSecurityPolicyReportOnly: { imgSrc: ["'self'", "data:"] },
  },
  permissions: {
    permissionsPolicy: {
      fullscreen: ["self"],
      bluetooth: ["none"],
      payment: ["self", "https://example.com"],
      syncXhr: [],
      camera: false,
      microphone: true,
      geolocation: ["*"],
      accelerometer: ["self", "src", "example.com"],
    },
  },
  reports: {
    reportingEndpoints: [{ name: "e1", url: "https://e/1" }, {
      name: "e2",
      url: "https://e/2",
    }],
    reportTo: [{
      group: "g",
      max_age: 10886400,
      endpoints: [{ url: "https://e/reports" }],
    }],
  },
  keep: { overwrite: false },
  nonce: {
    contentSecurityPolicy: { scriptSrc: ["'self'", () => "'nonce-1'"] },
  },
};
const TYPESCRIPT = ["keep", "nonce"];

const GIVEN: [string, string][] = [
  ["x-powered-by", "handler"],
  ["x-frame-options", "ALLOW-FROM here"],
  ["x-other", "kept"],
];

function ends(app: Hono, path: string): void {
  app.get(`${path}/native`, respond("native", { headers: GIVEN }));
  app.get(
    `${path}/text`,
    (c) => c.text("text", 200, Object.fromEntries(GIVEN)),
  );
  app.get(`${path}/raw`, () => new Response("raw", { headers: GIVEN }));
  app.get(`${path}/throws`, () => {
    throw new Error("of the handler");
  });
  app.get(`${path}/missing`, (c) => c.notFound());
}

function build(app: Hono): void {
  for (const [name, options] of Object.entries(CASES)) {
    app.use(`/${name}/*`, secureHeaders(options));
    ends(app, `/${name}`);
  }
  app.use(
    "/real-nonce",
    secureHeaders({ contentSecurityPolicy: { scriptSrc: [NONCE] } }),
  );
  app.get(
    "/real-nonce",
    (c: Context) => c.text(c.get("secureHeadersNonce") ?? "none"),
  );
}

const hono = new Hono();
for (const [name, options] of Object.entries(CASES)) {
  hono.use(`/${name}/*`, honoSecureHeaders(options));
  ends(hono, `/${name}`);
}

// What a server adds by itself.
const OF_THE_SERVER = ["date", "content-length", "vary", "connection"];

function fieldsOf(response: Response): [string, string][] {
  return [...response.headers].filter(([name]) => !OF_THE_SERVER.includes(name))
    .map(([name, value]) => [
      name,
      name === "content-type" ? value.toLowerCase().replace(" ", "") : value,
    ]);
}

describeForms(
  "secureHeaders()",
  build,
  (served: Form) => {
    for (const name of Object.keys(CASES)) {
      for (const end of ["native", "text", "raw", "throws", "missing"]) {
        it(`sets what Hono's own sets: ${name}, ${end}`, async () => {
          const path = `/${name}/${end}`;
          const ours = await fetch(served.base + path);
          const theirs = await hono.request(path);
          expect(fieldsOf(ours)).toEqual(fieldsOf(theirs));
          expect([ours.status, await ours.text()]).toEqual([
            theirs.status,
            await theirs.text(),
          ]);
        });
      }
    }

    it("makes a nonce for each request", async () => {
      const seen = new Set<string>();
      for (let i = 0; i < 2; i++) {
        const response = await fetch(`${served.base}/real-nonce`);
        const nonce = await response.text();
        expect(response.headers.get("content-security-policy")).toBe(
          `script-src 'nonce-${nonce}'`,
        );
        seen.add(nonce);
      }
      expect(seen.size).toBe(2);
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
      });
    }
  },
  undefined,
  ALL_FORMS,
);
