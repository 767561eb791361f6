import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import {
  type CharacterClass,
  compilePattern,
  patternCovers,
  patternMatches,
  type RouterName,
} from "./pattern.ts";

function show(path: string, router?: RouterName): string[] {
  return compilePattern(path, router).map((pattern) => {
    const parts = pattern.segments.map((segment) => {
      if (segment.kind === "static") return segment.text;
      if (segment.kind === "tail") return "<.+>";
      if (segment.kind === "class") return `<${classText(segment)}>`;
      return segment.kind === "param" ? "<>" : "**";
    });
    return `${pattern.exact ? "=" : "~"}/${parts.join("/")}`;
  });
}

function classText({ set, min, max }: CharacterClass): string {
  const chars = Array.from({ length: 128 }, (_, code) => code)
    .filter((code) => set[code >> 3] & 1 << code % 8)
    .map((code) => String.fromCharCode(code)).join("");
  return `[${chars.replace("0123456789", "0-9")}]{${min},${
    max < 1000 ? max : ""
  }}`;
}

describe("compilePattern()", () => {
  const table: [pattern: string, compiled: string[]][] = [
    ["/", ["=/"]],
    ["/a/b", ["=/a/b"]],
    ["/a/", ["=/a/"]],
    ["/v1/users:batch", ["=/v1/users:batch"]],
    ["/a/:id", ["=/a/<>"]],
    ["/a/:id/b", ["=/a/<>/b"]],
    ["/*", ["=/**"]],
    ["/api/*", ["=/api/**"]],
    ["/a/:id?", ["=/a", "=/a/<>"]],
    ["/:id?", ["=/", "=/<>"]],
    ["/a/:x?/:y?", ["~/a/**"]],
    ["/a//:x?", ["~/a/**"]],
    ["/api*", ["~/**"]],
    ["/f/*/g", ["~/f/**"]],
    ["/w/*.js", ["~/w/**"]],
    ["/a/:id{[0-9]+}", ["=/a/<[0-9]{1,}>"]],
    ["/a/:id{\\d{4}}/b", ["=/a/<[0-9]{4,4}>/b"]],
    ["/a/:id{[a-c_-]}?", ["=/a", "=/a/<[-_abc]{1,1}>"]],
    ["/a/:id{[.]{2,}}/*", ["=/a/<[.]{2,}>/**"]],
    ["/a/:id{[^/]+}", ["~/a/**"]],
    ["/a/:id{.+}", ["=/a/<.+>"]],
    ["/:id{.+}?", ["=/", "=/<.+>"]],
    ["/a/:id{.+}/b", ["~/a/**"]],
    ["/a/:id{.*}", ["~/a/**"]],
    ["/a/:id{[a-z/]+}", ["~/a/**"]],
    ["/a/:id{[^.]+}", ["~/a/**"]],
    ["/a/:id{[0-9]*}", ["~/a/**"]],
    ["/a/:id{[0-9]{0,3}}", ["~/a/**"]],
    ["/a/:id{[0-9]+x}", ["~/a/**"]],
    ["/a/:id{[é]+}", ["~/a/**"]],
    ["/a/:id{[0-9]+}/a+b", ["~/a/**"]],
    ["/a/:id{[^/]+/x}/b", ["~/a/**"]],
    ["/a/:id/a:b", ["~/a/<>/**"]],
    ["/a%41", ["~/**"]],
    ["/\ud800", ["~/**"]],
  ];
  for (const [pattern, compiled] of table) {
    it(`makes ${compiled.join(" and ")} of ${JSON.stringify(pattern)}`, () => {
      expect(show(pattern)).toEqual(compiled);
    });
  }

  it("has a * that is not last only as RegExpRouter matches it", () => {
    expect(show("/f/*/g", "TrieRouter")).toEqual(["~/f/**"]);
    expect(show("/f/*/g", "RegExpRouter")).toEqual(["=/f/<>/g"]);
    expect(show("/f/*/:g?", "RegExpRouter")).toEqual(["~/f/**"]);
    expect(show("/f/*/a/:g?", "RegExpRouter")).toEqual([
      "=/f/<>/a",
      "=/f/<>/a/<>",
    ]);
  });

  it("says why a pattern is not exact", () => {
    for (
      const path of ["/a/*/b", "/a/x*", "/a/:id{.*}", "/a/:b?/:c?", "/a%41"]
    ) {
      const why = compilePattern(path)[0].why!;
      expect(why).toMatch(/^(a|an|the) /);
    }
  });

  it("cuts a pattern of more than 64 segments", () => {
    const [pattern] = compilePattern("/a".repeat(100));
    expect(pattern.segments.length).toBe(64);
    expect(pattern.exact).toBe(false);
    expect(patternMatches(pattern.segments, "/a".repeat(100))).toBe(true);
  });
});

describe("patternMatches()", () => {
  const table: [pattern: string, path: string, matches: boolean][] = [
    ["/api/*", "/api", true],
    ["/api/*", "/api/", true],
    ["/api/*", "/api/x/y", true],
    ["/api/*", "/apix", false],
    ["/a/:id", "/a/", false],
    ["/a/:id", "/a/1/", false],
    ["/a/:id", "//a/1", false],
    ["/x/", "/x", false],
    ["/x", "/x/", false],
    ["/*", "/", true],
    ["/", "/", true],
    ["/", "//", false],
    ["/a/:id{.+}", "/a/b/c/", true],
    ["/a/:id{.+}", "/a/", false],
    ["/a/:id{.+}", "/a/b\nc", false],
    ["/a/:id{[0-9]+}", "/a/12", true],
    ["/a/:id{[0-9]+}", "/a/1x", false],
    ["/a/:id{[0-9]+}", "/a/", false],
    ["/a/:id{[0-9]+}", "/a/\u0661", false],
    ["/a/:id{\\w{2,3}}", "/a/a", false],
    ["/a/:id{\\w{2,3}}", "/a/abcd", false],
  ];
  for (const [pattern, path, matches] of table) {
    it(`${pattern} ${matches ? "takes" : "does not take"} ${path}`, () => {
      expect(patternMatches(compilePattern(pattern)[0].segments, path)).toBe(
        matches,
      );
    });
  }
});

describe("patternCovers()", () => {
  const table: [wide: string, narrow: string, covers: boolean][] = [
    ["/*", "/a/b", true],
    ["/a/*", "/a", true],
    ["/a/*", "/b/*", false],
    ["/a", "/*", false],
    ["/a/:id", "/a/b", true],
    ["/a/:id", "/a/", false],
    ["/a/:id", "/a/:id{[0-9]+}", true],
    ["/a/:id{[0-9]+}", "/a/:id", false],
    ["/a/:id{[0-9]+}", "/a/:x{\\d+}", true],
    ["/a/:id{[0-9]+}", "/a/12", true],
    ["/a/:id{[0-9]+}", "/a/b", false],
    ["/:id", "/a/b", false],
    ["/:id", "/:id{.+}", false],
    ["/*", "/:id{.+}", true],
    ["/:id{.+}", "/:x{.+}", true],
    ["/:id{.+}", "/a/b", false],
  ];
  for (const [wide, narrow, covers] of table) {
    it(`${wide} ${covers ? "covers" : "does not cover"} ${narrow}`, () => {
      const [a, b] = [compilePattern(wide)[0], compilePattern(narrow)[0]];
      expect(patternCovers(a.segments, b.segments)).toBe(covers);
    });
  }
});
