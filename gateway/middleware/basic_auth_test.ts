import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Hono, type MiddlewareHandler } from "hono";
import { basicAuth as honoBasicAuth } from "hono/basic-auth";
import { ALL_FORMS, describeForms, rawExchange } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { basicAuth, type BasicAuthOptions } from "./basic_auth.ts";
import { headers } from "./headers.ts";
import { respond } from "./respond.ts";

const ADA = { username: "ada", password: "lovelace" };

describe("basicAuth()", () => {
  const wrong: [what: string, options: BasicAuthOptions, reason: RegExp][] = [
    ["nobody", {}, /must say who may pass/],
    ["no password", { username: "a" }, /password: must be well-formed text/],
    ["no name", { password: "a" }, /username: must be/],
    ["a colon", { username: "a:b", password: "" }, /username.*colon/],
    ["two lines", { username: "a", password: "b\nc" }, /password.*one line/],
    ["half a character", { username: "\ud800", password: "" }, /username/],
    ["a stand-in", { username: "a", password: "\ufffd" }, /password/],
    ["a realm of lines", { ...ADA, realm: "a\nb" }, /realm.*CR, LF/],
    ["a wide realm", { ...ADA, realm: "\u0100" }, /realm/],
    ["no function", { verifyUser: true as never }, /verifyUser.*function/],
    ["a typo", { ...ADA, user: "x" } as never, /user: is not an option/],
  ];
  for (const [what, options, reason] of wrong) {
    it(`refuses ${what}`, () => {
      expect(() => basicAuth(options)).toThrow(OptionsError);
      expect(() => basicAuth(options)).toThrow(reason);
    });
  }

  it("shows no secret in its errors", () => {
    for (const secret of ["s3cr\net", "s3cr\ud800et"]) {
      const make = () => basicAuth(ADA, { username: "a", password: secret });
      expect(make).toThrow(/users\[0\]\.password.*got "not shown"/);
      expect(make).not.toThrow(/s3cr/);
    }
  });

  it("returns a function of the same name", () => {
    expect(basicAuth(ADA).name).toBe("basicAuth");
  });
});

const encode = (text: string) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text)));
const basic = (text: string) => `Basic ${encode(text)}`;
const binary = (...bytes: number[]) =>
  `Basic ${btoa(String.fromCharCode(...bytes))}`;

// What is sent, and whether it is ada's, alan's or nobody's.
const CASES: [value: string | string[] | undefined, passes: boolean][] = [
  [undefined, false],
  ["", false],
  [basic("ada:lovelace"), true],
  [basic("alan:tur:ings"), true],
  [basic("\u00fcn\u00ef:c\u00f6d\u00e9\u{1f512}"), true],
  [basic("nobody:"), true],
  [basic("ada:lovelac"), false],
  [basic("ada:lovelace "), false],
  [basic("ada:lovelacelovelace"), false],
  [basic("ada:Lovelace"), false],
  [basic("ada:tur:ings"), false],
  [basic("alan:lovelace"), false],
  [basic("ad:alovelace"), false],
  [basic("ada"), false],
  [basic(":"), false],
  [basic("nobody:x"), false],
  [basic(":lovelace"), false],
  [basic("ada:lovelace\n"), false],
  [basic("\ufeffada:lovelace"), true], // a byte order mark is no part of a text
  [basic("\ufeff\ufeffada:lovelace"), false],
  [basic("ada:lovelace").replace("Basic", "bAsIc"), true],
  [basic("ada:lovelace").replace(" ", "    "), true],
  [basic("ada:lovelace").replace(" ", "\t"), false],
  [basic("ada:lovelace").replace("Basic", "Bearer"), false],
  [basic("ada:lovelace").replace("Basic ", "Basic"), false],
  [basic("ada:lovelace").replace("Basic ", ""), false],
  [basic("ada:lovelace") + ", x", false],
  [basic("ada:lovelace") + " x", false],
  [basic("ada:lovelace") + "=", false],
  [basic("ada:lovelace") + "A", false],
  [basic("alan:tur:ings").replace(/=+$/, ""), true], // padding may be missing
  [basic("alan:tur:ings").replace(/=+$/, "") + "=", false],
  [basic("alan:tur:ings") + "=", false],
  [basic("ada:lovelace").replace("m", "-"), false],
  [basic("ada:lovelace").replace("Y", "."), false],
  [binary(0x61, 0x64, 0x61, 0x3a, 0xff), false],
  [binary(0xff, 0x3a, 0x61), false],
  [binary(0xc3, 0x3a, 0x61), false],
  ["Basic ====", false],
  ["Basic", false],
  ["Basic !", false],
  ["Basic " + "A".repeat(7000), false],
  [[basic("ada:lovelace"), basic("ada:lovelace")], false],
  [["", basic("ada:lovelace")], false],
];

const USERS = [
  { username: "alan", password: "tur:ings" },
  { username: "\u00fcn\u00ef", password: "c\u00f6d\u00e9\u{1f512}" },
  { username: "nobody", password: "" },
];

type Factory = typeof basicAuth;

function build(app: Hono, make: Factory): void {
  const own = make === basicAuth;
  const guard = (path: string, middleware: MiddlewareHandler) => {
    app.use(`/${path}/*`, middleware);
    app.get(`/${path}/native`, own ? respond("in") : (c) => c.text("in"));
    app.get(`/${path}/code`, (c) => c.text("in"));
  };
  guard("users", make({ ...ADA }, ...USERS.map((user) => ({ ...user }))));
  guard("realm", make({ ...ADA, realm: 'a "b" \\ c\u00e9' }));
  guard("text", make({ ...ADA, invalidUserMessage: "Who are you?" }));
  guard("json", make({ ...ADA, invalidUserMessage: { who: "are you?" } }));
  guard(
    "message",
    make({
      ...ADA,
      invalidUserMessage: (c) => Promise.resolve(`not at ${c.req.path}`),
    }),
  );
  guard(
    "verify",
    make({
      verifyUser: (name, password) => Promise.resolve(name + password === "xy"),
    }),
  );
  guard(
    "hash",
    make({ ...ADA, hashFunction: (text: unknown) => `#${text}` }),
  );
  guard("no-hash", make({ ...ADA, hashFunction: () => undefined }));
  guard(
    "success",
    make({ ...ADA, onAuthSuccess: (c, name) => c.header("x-user", name) }),
  );
}

function suiteOf(served: { base: string }) {
  const ask = async (path: string, value?: string) => {
    const answer = await fetch(served.base + path, {
      headers: value === undefined ? {} : { authorization: value },
    });
    return { answer, status: answer.status, text: await answer.text() };
  };

  for (const end of ["native", "code"]) {
    CASES.forEach(([value, passes], i) => {
      const shown = String(value).slice(0, 60);
      it(`${passes ? "lets pass" : "refuses"} ${i}: ${shown}, ${end}`, async () => {
        const lines = value === undefined ? [] : [value].flat();
        const text = await rawExchange(
          served.base,
          `GET /users/${end} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${
            lines.map((line) => `Authorization: ${line}\r\n`).join("")
          }\r\n`,
        );
        expect(text.slice(9, 12)).toBe(passes ? "200" : "401");
        const challenge = /^www-authenticate: (.*)\r$/mi.exec(text)?.[1];
        expect(challenge).toBe(
          passes ? undefined : 'Basic realm="Secure Area"',
        );
        expect(text.endsWith("in")).toBe(passes);
        expect(text.includes("Unauthorized\r\n\r\n")).toBe(false);
      });
    });
  }

  it("answers as Hono's", async () => {
    const { answer, status, text } = await ask("/users/native");
    expect([status, text]).toEqual([401, "Unauthorized"]);
    expect(answer.headers.get("content-type")).toMatch(
      /^text\/plain; ?charset=utf-8$/i,
    );
    const realm = (await ask("/realm/native")).answer;
    expect(realm.headers.get("www-authenticate")).toBe(
      'Basic realm="a \\"b\\" \\\\ c\u00e9"',
    );
    expect((await ask("/text/native")).text).toBe("Who are you?");
    const json = await ask("/json/native");
    expect([json.status, json.text]).toEqual([401, '{"who":"are you?"}']);
    expect(json.answer.headers.get("content-type")).toBe("application/json");
    expect((await ask("/message/native")).text).toBe("not at /message/native");
  });

  it("asks functions", async () => {
    expect((await ask("/verify/native", basic("x:y"))).status).toBe(200);
    expect((await ask("/verify/native", basic("x:z"))).status).toBe(401);
    expect((await ask("/hash/native", basic("ada:lovelace"))).status).toBe(200);
    expect((await ask("/hash/native", basic("ada:lovelacf"))).status).toBe(401);
    expect((await ask("/no-hash/native", basic("ada:lovelace"))).status).toBe(
      401,
    );
    const { answer } = await ask("/success/code", basic("ada:lovelace"));
    expect([answer.status, answer.headers.get("x-user")]).toEqual([200, "ada"]);
  });
}

describeForms(
  "basicAuth()",
  (app) => {
    build(app, basicAuth);
    app.use("/edited/*", headers({ response: { set: { "x-edit": "1" } } }));
    app.get("/edited/a", basicAuth(ADA), respond("in"));
    app.use(
      "/set/*",
      headers({ request: { set: { authorization: basic("ada:lovelace") } } }),
    );
    app.get("/set/a", basicAuth(ADA), respond("in"));
    app.onError((_, c) => c.text("onError", 500));
  },
  (served) => {
    suiteOf(served);

    it("is edited by the steps around it", async () => {
      const answer = await fetch(`${served.base}/edited/a`);
      await answer.body?.cancel();
      expect([answer.status, answer.headers.get("x-edit")]).toEqual([401, "1"]);
    });

    it("sees what the steps before it have written", async () => {
      const answer = await fetch(`${served.base}/set/a`);
      expect([answer.status, await answer.text()]).toEqual([200, "in"]);
    });

    if (served.form === "native") {
      it("runs in C where it can, and tells no secret", () => {
        const how = (path: string) => served.gateway.explain("GET", path);
        expect(how("/users/native").answeredBy).toBe("native");
        expect(how("/json/code").steps[0].runs).toBe("native");
        for (const path of ["verify", "hash", "success", "message"]) {
          expect(how(`/${path}/native`).answeredBy).toBe("TypeScript");
        }
        const all = JSON.stringify(how("/users/native")) +
          String(how("/users/native"));
        expect(all).toContain("users: 4");
        expect(all).not.toMatch(/ada|lovelace|alan|tur:ings/);
      });
    }
  },
  () => ({}),
  ALL_FORMS,
);

describeForms(
  "Hono's own basicAuth()",
  (app) => build(app, honoBasicAuth as unknown as Factory),
  suiteOf,
  () => ({}),
  ["Deno.serve"],
);
