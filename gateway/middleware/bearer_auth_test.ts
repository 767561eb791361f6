import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import type { Hono, MiddlewareHandler } from "hono";
import { bearerAuth as honoBearerAuth } from "hono/bearer-auth";
import { ALL_FORMS, describeForms, rawExchange } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { bearerAuth, type BearerAuthOptions } from "./bearer_auth.ts";
import { headers } from "./headers.ts";
import { respond } from "./respond.ts";

describe("bearerAuth()", () => {
  const token = "t";
  const wrong: [what: string, options: BearerAuthOptions, reason: RegExp][] = [
    ["no token", {}, /token: must be a token or a list/],
    ["an empty token", { token: "" }, /token: must be of/],
    ["an empty list", { token: [] }, /token: must be a token/],
    ["a token of blanks", { token: ["a", "b c"] }, /token: must be of/],
    ["a number", { token: [3 as never] }, /token: must be of/],
    ["a prefix of blanks", { token, prefix: "Bearer " }, /prefix.*token of/],
    ["a bad field", { token, headerName: "a b" }, /headerName.*field name/],
    ["a realm of lines", { token, realm: "a\nb" }, /realm.*CR, LF/],
    ["no function", { verifyToken: true as never }, /verifyToken.*function/],
    [
      "a challenge of lines",
      { token, invalidToken: { wwwAuthenticateHeader: "a\r\nb: c" } },
      /invalidToken\.wwwAuthenticateHeader.*field value/,
    ],
    [
      "a typo inside",
      { token, invalidToken: { text: "" } as never },
      /invalidToken text: is not an option/,
    ],
    ["a typo", { token, tokens: [] } as never, /tokens: is not an option/],
  ];
  for (const [what, options, reason] of wrong) {
    it(`refuses ${what}`, () => {
      expect(() => bearerAuth(options)).toThrow(OptionsError);
      expect(() => bearerAuth(options)).toThrow(reason);
    });
  }

  it("shows no secret in its errors", () => {
    const make = () => bearerAuth({ token: ["s3cr et"] });
    expect(make).toThrow(/got "not shown"/);
    expect(make).not.toThrow(/s3cr/);
  });

  it("returns a function of the same name", () => {
    expect(bearerAuth({ token }).name).toBe("bearerAuth");
  });
});

const MISSING = [401, 'Bearer realm=""', "Unauthorized"] as const;
const BAD = [400, 'Bearer error="invalid_request"', "Bad Request"] as const;
const WRONG = [401, 'Bearer error="invalid_token"', "Unauthorized"] as const;
const IN = [200, undefined, "in"] as const;

const CASES: [
  value: string | string[] | undefined,
  expected: readonly [number, string | undefined, string],
][] = [
  [undefined, MISSING],
  ["", MISSING],
  ["Bearer one", IN],
  ["Bearer two==", IN],
  ["Bearer a.b_c~d+e/f-1=", IN],
  ["bearer one", IN],
  ["BEARER    one", IN],
  ["Bearer \t one", IN],
  ["Bearer \xa0one", IN],
  ["Bearer one ", IN],
  ["Bearer on", WRONG],
  ["Bearer onee", WRONG],
  ["Bearer oneone", WRONG],
  ["Bearer One", WRONG],
  ["Bearer one=", WRONG],
  ["Bearer two=", WRONG],
  ["Bearer two", WRONG],
  ["Bearer " + "o".repeat(7000), WRONG],
  ["Bearer", BAD],
  ["Bearer =", BAD],
  ["Bearer\tone", BAD],
  ["Bearerone", BAD],
  ["Bearer one two", BAD],
  ["Bearer one,", BAD],
  ["Bearer o=ne", BAD],
  ["Bearer \xe9", BAD],
  ["Basic one", BAD],
  ["one", BAD],
  [["Bearer one", "Bearer one"], BAD],
  [["Bearer one", "x"], BAD],
];

type Factory = typeof bearerAuth;

function build(app: Hono, make: Factory): void {
  const own = make === bearerAuth;
  const guard = (path: string, middleware: MiddlewareHandler) => {
    app.use(`/${path}/*`, middleware);
    app.get(`/${path}/native`, own ? respond("in") : (c) => c.text("in"));
    app.get(`/${path}/code`, (c) => c.text("in"));
  };
  guard("tokens", make({ token: ["one", "two==", "a.b_c~d+e/f-1="] }));
  guard("one", make({ token: "one", realm: 'a "b" \\ c\u00e9' }));
  guard("bare", make({ token: "one", prefix: "" }));
  guard(
    "named",
    make({ token: "one", headerName: "X-Api-Key", prefix: "Key" }),
  );
  guard(
    "worded",
    make({
      token: "one",
      noAuthenticationHeader: { message: { no: "header" } },
      invalidAuthenticationHeader: {
        message: "malformed",
        wwwAuthenticateHeader: { error: "bad", hint: "none" },
      },
      invalidToken: { wwwAuthenticateHeader: "Other scheme" },
    }),
  );
  guard(
    "functions",
    make({
      token: "one",
      invalidToken: {
        message: (c) => ({ at: c.req.path }),
        wwwAuthenticateHeader: () => Promise.resolve({ a: "b" }),
      },
    }),
  );
  guard(
    "verify",
    make({ verifyToken: (token) => Promise.resolve(token === "good") }),
  );
  guard(
    "hash",
    make({ token: "one", hashFunction: (text: unknown) => `#${text}` }),
  );
}

function suiteOf(served: { base: string }) {
  const ask = async (path: string, fields: Record<string, string> = {}) => {
    const answer = await fetch(served.base + path, { headers: fields });
    const challenge = answer.headers.get("www-authenticate") ?? undefined;
    return [answer.status, challenge, await answer.text()] as const;
  };
  const by = (authorization: string) => ({ authorization });

  for (const end of ["native", "code"]) {
    CASES.forEach(([value, expected], i) => {
      const shown = String(value).slice(0, 60);
      it(`answers ${expected[0]} to ${i}: ${shown}, ${end}`, async () => {
        const lines = value === undefined ? [] : [value].flat();
        const text = await rawExchange(
          served.base,
          `GET /tokens/${end} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${
            lines.map((line) => `Authorization: ${line}\r\n`).join("")
          }\r\n`,
        );
        const challenge = /^www-authenticate: (.*)\r$/mi.exec(text)?.[1];
        const body = text.includes("chunked") || end === "code"
          ? /in|Unauthorized|Bad Request/.exec(text.split("\r\n\r\n")[1])?.[0]
          : text.split("\r\n\r\n")[1];
        expect([Number(text.slice(9, 12)), challenge, body]).toEqual([
          ...expected,
        ]);
      });
    });
  }

  it("takes other fields and prefixes, or none", async () => {
    expect(await ask("/bare/native", by("one"))).toEqual(IN);
    expect((await ask("/bare/native", by("Bearer one")))[0]).toBe(400);
    expect(await ask("/bare/native")).toEqual([
      401,
      'realm=""',
      "Unauthorized",
    ]);
    expect(await ask("/named/native", { "x-api-key": "key one" })).toEqual(IN);
    expect(await ask("/named/native", { "x-api-key": "Key two" })).toEqual([
      401,
      'Key error="invalid_token"',
      "Unauthorized",
    ]);
    expect((await ask("/named/native", by("Key one")))[0]).toBe(401);
  });

  it("escapes the realm", async () => {
    expect((await ask("/one/native"))[1]).toBe(
      'Bearer realm="a \\"b\\" \\\\ c\u00e9"',
    );
  });

  it("words refusals as it is told", async () => {
    expect(await ask("/worded/native")).toEqual([
      401,
      'Bearer realm=""',
      '{"no":"header"}',
    ]);
    expect(await ask("/worded/native", by("x"))).toEqual([
      400,
      'Bearer error="bad",hint="none"',
      "malformed",
    ]);
    expect(await ask("/worded/native", by("Bearer x"))).toEqual([
      401,
      "Other scheme",
      "Unauthorized",
    ]);
  });

  it("asks functions", async () => {
    expect(await ask("/functions/native", by("Bearer x"))).toEqual([
      401,
      'Bearer a="b"',
      '{"at":"/functions/native"}',
    ]);
    expect(await ask("/verify/native", by("Bearer good"))).toEqual(IN);
    expect(await ask("/verify/native", by("Bearer bad"))).toEqual(WRONG);
    expect(await ask("/verify/native", by("bad"))).toEqual(BAD);
    expect(await ask("/hash/native", by("Bearer one"))).toEqual(IN);
    expect(await ask("/hash/native", by("Bearer two"))).toEqual(WRONG);
  });
}

describeForms(
  "bearerAuth()",
  (app) => {
    build(app, bearerAuth);
    app.use("/edited/*", headers({ response: { set: { "x-edit": "1" } } }));
    app.get("/edited/a", bearerAuth({ token: "one" }), respond("in"));
    app.onError((_, c) => c.text("onError", 500));
  },
  (served) => {
    suiteOf(served);

    it("is edited by the steps around it", async () => {
      const answer = await fetch(`${served.base}/edited/a`);
      await answer.body?.cancel();
      expect([answer.status, answer.headers.get("x-edit")]).toEqual([401, "1"]);
    });

    if (served.form === "native") {
      it("runs in C where it can, and tells no secret", () => {
        const how = (path: string) => served.gateway.explain("GET", path);
        expect(how("/tokens/native").answeredBy).toBe("native");
        expect(how("/worded/code").steps[0].runs).toBe("native");
        for (const path of ["verify", "hash", "functions"]) {
          expect(how(`/${path}/native`).answeredBy).toBe("TypeScript");
        }
        const all = JSON.stringify(how("/tokens/native")) +
          String(how("/tokens/native"));
        expect(all).toContain("authorization, tokens: 3");
        expect(all).not.toMatch(/two==|a\.b_c/);
      });
    }
  },
  () => ({}),
  ALL_FORMS,
);

describeForms(
  "Hono's own bearerAuth()",
  (app) => build(app, honoBearerAuth as unknown as Factory),
  suiteOf,
  () => ({}),
  ["Deno.serve"],
);
