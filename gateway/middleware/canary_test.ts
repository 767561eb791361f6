import { expect } from "@std/expect";
import { afterAll, describe, it } from "@std/testing/bdd";
import type { Hono } from "hono";
import { ALL_FORMS, describeForms, rawExchange } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { canary, type CanaryOptions } from "./canary.ts";
import { headers } from "./headers.ts";
import { proxy } from "./proxy.ts";
import { respond } from "./respond.ts";

const serve = (name: string) =>
  Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const { pathname, search } = new URL(request.url);
    return new Response(`${name} ${request.method} ${pathname}${search}`);
  });
const upstreams = { old: serve("old"), new: serve("new") };
const urlOf = (name: "old" | "new") =>
  `http://127.0.0.1:${upstreams[name].addr.port}`;
afterAll(async () => {
  await upstreams.old.shutdown();
  await upstreams.new.shutdown();
});

describe("canary()", () => {
  const with_ = (options: Partial<CanaryOptions>) => () =>
    canary({ to: "http://h", ...options });
  const wrong: [what: string, make: () => unknown, reason: RegExp][] = [
    ["no target", with_({ to: undefined }), /canary\(\) to: must be/],
    ["a path", with_({ to: "http://h/p" }), /to: must be an origin/],
    ["a negative weight", with_({ weight: -1 }), /weight.*from 0 to 100/],
    ["a weight of NaN", with_({ weight: NaN }), /weight/],
    ["too much", with_({ weight: 101 }), /weight/],
    ["a bad field", with_({ header: { name: "a b" } }), /header\.name/],
    [
      "a field of lines",
      with_({ header: { name: "a", value: "b\nc" } }),
      /header\.value.*printable/,
    ],
    [
      "blanks around a value",
      with_({ header: { name: "a", value: " b" } }),
      /header\.value.*blanks/,
    ],
    ["a bad cookie", with_({ cookie: { name: "a=b" } }), /cookie\.name/],
    [
      "a cookie of two",
      with_({ cookie: { name: "a", value: "b; c" } }),
      /cookie\.value.*cannot be/,
    ],
    ["a bad sticky", with_({ sticky: "ip" as never }), /sticky: must be/],
    ["a sticky blank", with_({ sticky: { cookie: "" } }), /sticky: must be/],
    ["a typo", with_({ wieght: 3 } as never), /wieght: is not an option/],
  ];
  for (const [what, make, reason] of wrong) {
    it(`refuses ${what}`, () => {
      expect(make).toThrow(OptionsError);
      expect(make).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(canary({ to: "http://h" }).name).toBe("canary");
  });
});

function build(app: Hono): void {
  const guard = (path: string, options: Partial<CanaryOptions>) => {
    const middleware = canary({ to: urlOf("new"), ...options });
    app.all(`/${path}/up`, middleware, proxy(urlOf("old")));
    app.get(`/${path}/native`, middleware, respond("native"));
    app.get(`/${path}/code`, middleware, (c) => c.text("code"));
    app.get(`/${path}/none`, middleware);
  };
  guard("nobody", {});
  guard("all", { weight: 100 });
  guard("named", { weight: 100, to: { upstream: "new" } });
  guard("header", { header: { name: "X-Canary" } });
  guard("value", { header: { name: "X-Canary", value: "yes" } });
  guard("cookie", { cookie: { name: "canary" } });
  guard("crumb", { cookie: { name: "canary", value: "yes" } });
  guard("either", { header: { name: "a" }, cookie: { name: "b" } });
  for (const weight of [1, 25, 50, 75, 99.5]) {
    guard(`sticky${weight}`, { weight, sticky: { cookie: "id" } });
    guard(`address${weight}`, { weight });
  }
  guard("behind", { weight: 50, trustedProxies: ["127.0.0.0/8"] });
  app.use("/set/*", headers({ request: { set: { "x-canary": "1" } } }));
  app.get(
    "/set/up",
    canary({ to: urlOf("new"), header: { name: "x-canary" } }),
    proxy(urlOf("old")),
  );
  app.use("/edited/*", headers({ response: { set: { "x-edit": "1" } } }));
  app.get("/edited/up", canary({ to: urlOf("new"), weight: 100 }));
}

// How many of these are there with each weight: the same in every form and for ever.
const COUNTS = [3, 42, 103, 152, 198];
// Of 127.0.0.1, in percent: with this weight it is there.
const OUR_SHARE = 42.5;
// The same of 200 addresses behind a proxy.
const NAMED = 103;
const IDS = Array.from({ length: 200 }, (_, i) => `client-${i}`);

describeForms(
  "canary()",
  build,
  (served) => {
    const ask = async (path: string, fields: Record<string, string> = {}) => {
      const answer = await fetch(served.base + path, { headers: fields });
      return (await answer.text()).split(" ")[0];
    };
    const ends = ["up", "native", "code"];
    const passed = { up: "old", native: "native", code: "code" };

    for (const end of ["up", "native", "code"] as const) {
      it(`passes on who is not meant, ${end}`, async () => {
        expect(await ask(`/nobody/${end}`)).toBe(passed[end]);
        expect(await ask(`/header/${end}`)).toBe(passed[end]);
        expect(await ask(`/cookie/${end}`)).toBe(passed[end]);
      });

      it(`sends everybody where it is said, ${end}`, async () => {
        expect(await ask(`/all/${end}`)).toBe("new");
        if (served.form === "Deno.serve") return; // it has no options
        expect(await ask(`/named/${end}`)).toBe("new");
      });
    }

    it("passes on to nothing", async () => {
      expect(await ask("/nobody/none")).toBe("404");
      expect(await ask("/all/none")).toBe("new");
    });

    const marks: [
      path: string,
      fields: Record<string, string>,
      new: boolean,
    ][] = [
      ["header", { "x-canary": "" }, true],
      ["header", { "x-canary": "0" }, true],
      ["header", { "x-canaries": "1" }, false],
      ["value", { "x-canary": "yes" }, true],
      ["value", { "x-canary": " yes\t" }, true],
      ["value", { "x-canary": "Yes" }, false],
      ["value", { "x-canary": "yes, yes" }, false],
      ["value", { "x-canary": "" }, false],
      ["cookie", { cookie: "a=b; canary=" }, true],
      ["cookie", { cookie: "canary" }, false],
      ["cookie", { cookie: "Canary=1" }, false],
      ["cookie", { cookie: "a=canary=1" }, false],
      ["crumb", { cookie: "canary=yes" }, true],
      ["crumb", { cookie: "a=b;canary=yes;c=d" }, true],
      ["crumb", { cookie: 'a="b"; canary="yes"' }, true],
      ["crumb", { cookie: "canary=no; canary=yes" }, false],
      ["crumb", { cookie: "canary=yes; canary=no" }, true],
      ["crumb", { cookie: "canary=yess" }, false],
      ["crumb", { cookie: ";;=;canary = yes" }, true],
      ["either", { a: "1" }, true],
      ["either", { cookie: "b=1" }, true],
      ["either", { b: "1", cookie: "a=1" }, false],
    ];
    for (const [path, fields, there] of marks) {
      it(`${there ? "takes" : "passes"} ${path} ${JSON.stringify(fields)}`, async () => {
        expect(await ask(`/${path}/up`, fields)).toBe(there ? "new" : "old");
      });
    }

    it("sends method, path and body on", async () => {
      const answer = await fetch(`${served.base}/all/up?a=b%20c`, {
        method: "POST",
        body: "x".repeat(100_000),
      });
      expect(await answer.text()).toBe("new POST /all/up?a=b%20c");
    });

    it("keeps clients where they are, and more of them with more weight", async () => {
      const counts = [];
      let before = new Set<string>();
      for (const weight of [1, 25, 50, 75, 99.5]) {
        const there = new Set<string>();
        for (const id of IDS) {
          const cookie = `a=b; id=${id}`;
          if (await ask(`/sticky${weight}/up`, { cookie }) === "new") {
            there.add(id);
          }
        }
        for (const id of before) expect(there.has(id)).toBe(true);
        before = there;
        counts.push(there.size);
      }
      expect(counts).toEqual(COUNTS);
    });

    it("takes who has no cookie by its address", async () => {
      for (const weight of [1, 25, 50, 75, 99.5]) {
        const there = weight >= OUR_SHARE;
        const expected = there ? "new" : "old";
        expect(await ask(`/address${weight}/up`)).toBe(expected);
        expect(await ask(`/sticky${weight}/up`)).toBe(expected);
        expect(await ask(`/sticky${weight}/up`, { cookie: "x=y" })).toBe(
          expected,
        );
      }
    });

    it("takes who comes through a proxy by the address that it names", async () => {
      let there = 0;
      for (let i = 0; i < 200; i++) {
        const fields = { "x-forwarded-for": `192.0.2.${i}, 2001:db8:${i}::1` };
        if (await ask("/behind/up", fields) === "new") there++;
      }
      expect(there).toBe(NAMED);
    });

    it("sees what the steps before it have written", async () => {
      expect(await ask("/set/up")).toBe("new");
    });

    it("is edited by the steps around it", async () => {
      const answer = await fetch(`${served.base}/edited/up`);
      expect(await answer.text()).toBe("new GET /edited/up");
      expect(answer.headers.get("x-edit")).toBe("1");
    });

    it("reads all lines of cookies", async () => {
      for (const lines of [["a=1", "canary=yes"], ["canary=yes", "a=1"]]) {
        const answer = await rawExchange(
          served.base,
          `GET /crumb/up HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${
            lines.map((line) => `Cookie: ${line}\r\n`).join("")
          }\r\n`,
        );
        expect(answer).toMatch(/new GET/);
      }
    });

    it("takes any bytes", async () => {
      for (const cookie of ["\xff=\xfe", "id=\xff", "id", '"', "id=;;;"]) {
        const answer = await rawExchange(
          served.base,
          `GET /sticky50/up HTTP/1.1\r\nHost: h\r\nConnection: close\r\nCookie: ${cookie}\r\n\r\n`,
        );
        expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*(old|new) GET/);
      }
    });

    if (served.form === "native") {
      it("runs in C, and says what it does", () => {
        const how = (path: string) => served.gateway.explain("GET", path);
        for (const end of ends) {
          expect(how(`/all/${end}`).steps[0].runs).toBe("native");
        }
        const text = String(how("/sticky25/up"));
        expect(text).toContain("25 % of clients by cookie id");
        expect(String(how("/value/up"))).toContain('field x-canary = "yes"');
        expect(String(how("/nobody/up"))).toContain("nobody");
      });
    }
  },
  () => ({ upstreams: { new: { url: urlOf("new") } } }),
  ALL_FORMS,
);
