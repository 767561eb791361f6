import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { explainText, parseExplain } from "./explain_command.ts";

describe("parseExplain()", () => {
  it("takes a module, or a request, or both", () => {
    const parts = (words: string) => {
      const command = parseExplain(words.split(" ").filter(Boolean));
      if (typeof command === "string") return command;
      const { module, request, json } = command;
      return [module, request?.method, request?.url, json];
    };
    expect(parts("")).toEqual([undefined, undefined, undefined, false]);
    expect(parts("app.ts --json")).toEqual([
      "app.ts",
      undefined,
      undefined,
      true,
    ]);
    expect(parts("GET /x")).toEqual([undefined, "GET", "/x", false]);
    expect(parts("app.ts PURGE /x")).toEqual(["app.ts", "PURGE", "/x", false]);
  });

  it("reads header fields", () => {
    const words = ["GET", "/", "--header", "Host: a.example", "-H", "x: 1"];
    const command = parseExplain(words);
    expect(typeof command === "string" || [...command.request!.headers])
      .toEqual([["host", "a.example"], ["x", "1"]]);
  });

  const wrong: [words: string[], says: string][] = [
    [["a", "GET", "/", "x"], '"x" is one word too many'],
    [["--jsn"], "there is no option --jsn"],
    [["GET:", "/"], '"GET:" is not a method'],
    [["GET", "/", "-H"], '-H needs "NAME: VALUE" (got undefined)'],
    [["GET", "/", "-H", "a b: c"], "needs a field name and a value"],
  ];
  for (const [words, says] of wrong) {
    it(`says what is wrong with ${words.join(" ")}`, () => {
      expect(parseExplain(words)).toContain(says);
    });
  }
});

describe("explainText()", () => {
  const module = (text: string) =>
    `data:application/javascript,${encodeURIComponent(text)}`;
  const command = (...words: string[]) => {
    const parsed = parseExplain(words);
    if (typeof parsed === "string") throw new Error(parsed);
    return parsed;
  };

  it("shows the table of a module's routes, or one request", async () => {
    expect(await explainText(command(), undefined)).toContain(
      "routes: 6, of which 3 native and 3 TypeScript\n  ALL  /*",
    );
    expect(await explainText(command("GET", "/hello/x"), undefined)).toContain(
      "GET /hello/x: TypeScript, because",
    );
    const rows = JSON.parse(await explainText(command("--json"), undefined));
    expect(rows.length).toBe(6);
    const json = command("GET", "/whoami", "--json");
    expect(JSON.parse(await explainText(json, undefined)).answeredBy)
      .toBe("native");
  });

  it("takes any object with fetch, and says what is none", async () => {
    const plain = module("export default { fetch: () => new Response() }");
    expect(await explainText(command("a.js"), plain)).toContain(
      "all in TypeScript, because the module is not a Hono app",
    );
    await expect(explainText(command("a.js"), module("export default 1")))
      .rejects.toThrow("neither a gateway nor an object with fetch (got 1)");
  });
});
