import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { ALL_FORMS, describeForms } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { headers } from "./headers.ts";
import { redirect, type RedirectStatus } from "./redirect.ts";

describe("redirect()", () => {
  const status = (code: number) => () => redirect("/", code as RedirectStatus);
  const wrong: [what: string, make: () => unknown, reason: RegExp][] = [
    ["a status of 200", status(200), /one of 301, 302, 303, 307, 308/],
    ["a status of 300", status(300), /one of/],
    ["a status of 304", status(304), /one of/],
    ["a status of 305", status(305), /one of/],
    ["a status of 302.5", status(302.5), /one of/],
    ["CRLF", () => redirect("/\r\nset-cookie: a=b"), /CR, LF, NUL/],
    ["NUL", () => redirect("/\0"), /CR, LF, NUL/],
    ["half a character", () => redirect("/\ud800"), /well-formed/],
    ["a number", () => redirect(3 as unknown as string), /must be a URL/],
  ];
  for (const [what, make, reason] of wrong) {
    it(`refuses ${what}`, () => {
      expect(make).toThrow(OptionsError);
      expect(make).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(redirect("/").name).toBe("redirect");
  });
});

const CASES: [
  given: string | URL,
  location: string,
  status?: RedirectStatus,
][] = [
  ["/other", "/other"],
  ["/moved", "/moved", 301],
  ["/found", "/found", 302],
  ["/see", "/see", 303],
  ["/again", "/again", 307],
  ["/for-ever", "/for-ever", 308],
  ["https://example.org/a?b=c#d", "https://example.org/a?b=c#d"],
  [new URL("http://Example.org:80/ü"), "http://example.org/%C3%BC"],
  ["//example.org/x", "//example.org/x"],
  ["relative?q", "relative?q"],
  ["?only=query", "?only=query"],
  ["#top", "#top"],
  ["", ""],
  ["  /blanks\t", "/blanks"],
  ["/a b", "/a b"],
  ["/caf\u00e9", "/caf\u00e9"], // latin1 stays, as in c.redirect
  ["/\u65e5\u672c?\u00e9=%20 x", "/%E6%97%A5%E6%9C%AC?%C3%A9=%2520%20x"],
  ["\u00a0/no-break", "\u00a0/no-break"],
];

describeForms(
  "redirect()",
  (app) => {
    CASES.forEach(([given, , status], i) => {
      app.all(`/${i}`, redirect(given, status));
      app.all(`/hono/${i}`, (c) => c.redirect(given, status));
    });
    app.get(
      "/edited",
      headers({ response: { set: { a: "1" } } }),
      redirect("/x"),
    );
    app.get("/all/*", redirect("/x"));
  },
  (served) => {
    const ask = (path: string, method = "GET") =>
      fetch(served.base + path, { method, redirect: "manual" });

    CASES.forEach(([given, location, status = 302], i) => {
      it(`sends to ${JSON.stringify(given)} with ${status}, as c.redirect`, async () => {
        for (const path of [`/${i}`, `/hono/${i}`]) {
          const answer = await ask(path);
          expect([answer.status, answer.headers.get("location")]).toEqual([
            status,
            location,
          ]);
          expect(answer.headers.get("content-type")).toBe(null);
          expect(answer.headers.get("content-length")).toBe("0");
          expect(await answer.text()).toBe("");
        }
      });
    });

    it("answers every method", async () => {
      for (const method of ["HEAD", "POST", "DELETE", "OPTIONS"]) {
        const answer = await ask("/0", method);
        await answer.body?.cancel();
        expect([method, answer.status]).toEqual([method, 302]);
        expect(answer.headers.get("location")).toBe("/other");
      }
    });

    it("is edited by headers()", async () => {
      const answer = await ask("/edited");
      expect([answer.status, answer.headers.get("a")]).toEqual([302, "1"]);
      await answer.body?.cancel();
    });

    it("takes a wildcard", async () => {
      const answer = await ask("/all/x/y");
      expect(answer.headers.get("location")).toBe("/x");
      await answer.body?.cancel();
    });

    if (served.form !== "Deno.serve") {
      it("runs where it should", () => {
        const { answeredBy, steps } = served.gateway.explain("GET", "/0");
        expect([answeredBy, steps.at(-1)?.name]).toEqual([
          served.form,
          "redirect",
        ]);
      });
    }
  },
  () => ({}),
  ALL_FORMS,
);
