import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { certificateWarnings, ocspRefusal } from "./certificate.ts";

const DAY = 86_400;
const NOW = Date.UTC(2026, 10, 24) / 1000;

describe("certificateWarnings()", () => {
  const rows: [
    what: string,
    days: [from: number, until: number],
    dns: string[],
    names: string[],
    warnings: RegExp[],
  ][] = [
    ["a good one", [-1, 90], ["a.b"], ["a.b"], []],
    ["one for the names that it has", [-1, 90], [], [], []],
    ["an expired one", [-90, -1], ["a.b"], [], [/expired on 2026-11-23/]],
    ["one of 14 days", [-1, 14], ["a.b"], [], []],
    ["one of 13 days", [-1, 13], ["a.b"], [], [/2026-12-07, in 13 days/]],
    ["one of a day", [-1, 1], ["a.b"], [], [/in 1 day$/]],
    ["a future one", [2, 90], ["a.b"], [], [/not valid before 2026-11-26/]],
    ["a missing name", [-1, 90], ["a.b"], ["a.b", "c.b"], [
      /does not cover c\.b \(it has a\.b\)/,
    ]],
    ["no name", [-1, 90], [], ["c.b"], [/c\.b \(it has no DNS name\)/]],
    ["a wildcard", [-1, 90], ["*.b.c"], ["a.b.c", "*.b.c"], []],
    ["a wildcard's limits", [-1, 90], ["*.b.c"], ["b.c", "x.a.b.c"], [
      /b\.c, x\.a\.b\.c/,
    ]],
    ["a wildcard that the certificate lacks", [-1, 90], ["a.b.c"], ["*.b.c"], [
      /\*\.b\.c/,
    ]],
    ["two things at once", [-9, -1], ["a.b"], ["c.b"], [/expired/, /c\.b/]],
  ];
  for (const [what, [from, until], dns, names, expected] of rows) {
    it(`says of ${what}: ${expected.length || "nothing"}`, () => {
      const facts = {
        notBefore: NOW + from * DAY,
        notAfter: NOW + until * DAY,
        serial: "1",
        dns,
      };
      const warnings = certificateWarnings(facts, names, NOW);
      expect(warnings.length).toBe(expected.length);
      expected.forEach((reason, i) => expect(warnings[i]).toMatch(reason));
    });
  }
});

describe("ocspRefusal()", () => {
  const answer = (from: number, until?: number) => ({
    serial: "0A",
    status: "good" as const,
    thisUpdate: NOW + from,
    ...until !== undefined && { nextUpdate: NOW + until },
  });
  const rows: [
    what: string,
    got: string | undefined,
    expected: RegExp | "ok",
  ][] = [
    ["a good one", ocspRefusal([answer(-1, 1)], "0A", NOW), "ok"],
    ["one without an end", ocspRefusal([answer(-DAY)], "0A", NOW), "ok"],
    ["a clock behind", ocspRefusal([answer(299)], "0A", NOW), "ok"],
    ["a future one", ocspRefusal([answer(301)], "0A", NOW), /not hold before/],
    [
      "an expired one",
      ocspRefusal([answer(-9, -1)], "0A", NOW),
      /expired at 2026-11-23T23:59Z/,
    ],
    [
      "another's",
      ocspRefusal([answer(-1)], "0B", NOW),
      /another certificate \(0A; this one is 0B\)/,
    ],
    [
      "revoked",
      ocspRefusal([{ ...answer(-1), status: "revoked" }], "0A", NOW),
      /revoked/,
    ],
    [
      "unknown",
      ocspRefusal([{ ...answer(-1), status: "unknown" }], "0A", NOW),
      /unknown/,
    ],
  ];
  for (const [what, got, expected] of rows) {
    it(`judges ${what}`, () => {
      if (expected === "ok") expect(got).toBe(undefined);
      else expect(got).toMatch(expected);
    });
  }
});
