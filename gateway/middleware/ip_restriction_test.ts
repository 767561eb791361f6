import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { ipRestriction as honoIpRestriction } from "hono/ip-restriction";
import { ALL_FORMS, describeForms, type Form } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { headers } from "./headers.ts";
import { ipRestriction, type IpRestrictionOptions } from "./ip_restriction.ts";
import { respond } from "./respond.ts";

describe("ipRestriction()", () => {
  const wrong: [options: IpRestrictionOptions, reason: RegExp][] = [
    [{ denyList: "10.0.0.1" as never }, /denyList.*list/],
    [{ denyList: ["10.0.0.1", "10.0.0.0/40"] }, /denyList\[1\].*range/],
    [{ allowList: ["example.org"] }, /allowList\[0\].*range/],
    [{ allowList: [(() => true) as never] }, /allowList\[0\].*range/],
    [{ trustedProxies: ["10.0.0.0/8/8"] }, /trustedProxies\[0\].*range/],
    [{ forwardedHeader: "X-Real-IP" as never }, /forwardedHeader.*Forwarded/],
    [{ allow: [] } as never, /allow.*known keys.*allowList/],
  ];
  for (const [options, reason] of wrong) {
    it(`refuses ${JSON.stringify(options)}`, () => {
      expect(() => ipRestriction(options)).toThrow(OptionsError);
      expect(() => ipRestriction(options)).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(ipRestriction({}).name).toBe("ipRestriction");
  });

  it("refuses a request of which nobody knows where it is from", async () => {
    const app = new Hono().use(ipRestriction({})).get("/", (c) => c.text("in"));
    expect((await app.request("/")).status).toBe(403);
  });

  it("answers as Hono's own", async () => {
    const lists = [
      { denyList: ["192.0.2.0/24"] },
      { allowList: ["192.0.2.0/24", "2001:db8::/32"] },
      { allowList: ["*"], denyList: ["192.0.2.7"] },
      { denyList: ["*"], allowList: ["192.0.2.7"] },
      {},
    ];
    const addresses = [
      "192.0.2.7",
      "192.0.2.8",
      "10.0.0.1",
      "2001:db8::1",
      "::1",
    ];
    for (const rules of lists) {
      const hono = new Hono();
      const ours = new Hono();
      hono.use(honoIpRestriction((c) => c.env.remoteAddr.hostname, rules));
      ours.use(ipRestriction(rules));
      for (const app of [hono, ours]) app.get("/", (c) => c.text("in"));
      for (const hostname of addresses) {
        const answers = await Promise.all([hono, ours].map(async (app) => {
          const env = { remoteAddr: { hostname } };
          const response = await app.request("/", {}, env);
          const type = response.headers.get("content-type")!.toLowerCase();
          return [response.status, await response.text(), type];
        }));
        expect(answers[0]).toEqual(answers[1]);
      }
    }
  });
});

const PROXY = ["127.0.0.0/8", "10.0.0.0/8"];

function build(app: Hono): void {
  app.use("/*", headers({ response: { set: { "x-outer": "1" } } }));
  const route = (path: string, options: IpRestrictionOptions) =>
    app.use(`${path}/*`, ipRestriction(options))
      .all(`${path}/native`, respond("in"))
      .all(`${path}/text`, (c) => c.text("in"));
  route("/open", {});
  route("/allowed", { allowList: ["127.0.0.1", "::1"] });
  route("/denied", { denyList: ["127.0.0.0/8"] });
  route("/both", { allowList: ["*"], denyList: ["127.0.0.1"] });
  route("/others", { allowList: ["192.0.2.0/24"] });
  route("/v6", { denyList: ["::/0"] });
  route("/all-denied", { denyList: ["*"] });
  route("/behind", { allowList: ["192.0.2.0/24"], trustedProxies: PROXY });
  route("/forwarded", {
    allowList: ["192.0.2.0/24"],
    trustedProxies: PROXY,
    forwardedHeader: "Forwarded",
  });
  route("/untrusted", {
    allowList: ["192.0.2.0/24"],
    trustedProxies: ["10.0.0.0/8"],
  });
  app.use("/cut/*", headers({ request: { remove: ["x-forwarded-for"] } }));
  route("/cut", { denyList: ["192.0.2.0/24"], trustedProxies: PROXY });
}

function suite(served: Form): void {
  async function check(
    path: string,
    allowed: boolean,
    fields: Record<string, string> = {},
  ): Promise<void> {
    for (const end of ["native", "text"]) {
      const response = await fetch(`${served.base}${path}/${end}`, {
        headers: fields,
      });
      expect(response.headers.get("x-outer")).toBe("1");
      expect([response.status, await response.text()]).toEqual(
        allowed ? [200, "in"] : [403, "Forbidden"],
      );
      if (!allowed) {
        expect(response.headers.get("content-type")).toBe(
          "text/plain; charset=UTF-8",
        );
      }
    }
  }

  it("judges by the connection's other end", async () => {
    await check("/open", true);
    await check("/allowed", true);
    await check("/denied", false);
    await check("/both", false);
    await check("/others", false);
    await check("/v6", true);
    await check("/all-denied", false);
  });

  it("believes nobody who is no trusted proxy", async () => {
    await check("/others", false, { "x-forwarded-for": "192.0.2.1" });
    await check("/untrusted", false, { "x-forwarded-for": "192.0.2.1" });
  });

  it("judges by whom a trusted proxy names", async () => {
    const by = (value: string) => ({ "x-forwarded-for": value });
    await check("/behind", false);
    await check("/behind", true, by("192.0.2.1"));
    await check("/behind", true, by("198.51.100.1, 192.0.2.1, 10.0.0.1"));
    await check("/behind", false, by("192.0.2.1, 198.51.100.1"));
    await check("/behind", false, by("192.0.2.1, garbage"));
    await check("/behind", false, { forwarded: "for=192.0.2.1" });
    await check("/forwarded", true, { forwarded: "for=192.0.2.1;by=x" });
    await check("/forwarded", false, by("192.0.2.1"));
  });

  it("sees the request as the steps before it have left it", async () => {
    await check("/cut", true, { "x-forwarded-for": "192.0.2.1" });
  });

  it("answers a body that it does not read", async () => {
    const response = await fetch(`${served.base}/denied/native`, {
      method: "POST",
      body: "x".repeat(1000),
    });
    expect([response.status, await response.text()]).toEqual([
      403,
      "Forbidden",
    ]);
  });

  if (served.form === "native") {
    it("runs in C, and says what it does", () => {
      const how = served.gateway.explain("GET", "/behind/native");
      expect(how.answeredBy).toBe("native");
      expect(String(how)).toContain("192.0.2.0-192.0.2.255 but none");
      expect(String(how)).toContain("x-forwarded-for of 10.0.0.0");
    });
  }
}

describeForms("ipRestriction()", build, suite, undefined, ALL_FORMS);
