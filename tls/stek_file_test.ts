import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { parseSteks, stekFile } from "./stek_file.ts";

const A = new Uint8Array(32).fill(1);
const B = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);
const base64 = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes));

describe("stekFile()", () => {
  it("reads a key of each line, and skips comments and empty lines", () => {
    const text = `# keys\n\n1769817600000 ${
      base64(A)
    }\r\n  2026-02-01T00:00:00Z\t${base64(B)}  \n2026-02-01T01:00+01:00 ${
      base64(A)
    }`;
    expect(parseSteks(text, "steks")).toEqual([
      { notBeforeMs: 1769817600000, key: A },
      { notBeforeMs: Date.UTC(2026, 1, 1), key: B },
      { notBeforeMs: Date.UTC(2026, 1, 1), key: A },
    ]);
  });

  it("says which line is wrong, and never what it holds", () => {
    const key = base64(A);
    const rows: [string, RegExp][] = [
      ["", /^steks has no keys; a line is/],
      ["# nothing\n", /^steks has no keys/],
      [`\n${key}`, /^steks:2: a line is <ISO time or Unix milliseconds> /],
      [`0 ${key} x`, /^steks:1: a line is/],
      [`0 ${base64(A.subarray(1))}`, /^steks:1: the second word must be 32/],
      ["0 %%%", /^steks:1: the second word must be 32 bytes in base64$/],
      [`soon ${key}`, /^steks:1: the first word must be a time, as /],
      [`-1 ${key}`, /^steks:1: the first word must be a time/],
      [`2026-13-01T00:00:00Z ${key}`, /^steks:1: the first word must be/],
      [`2026-02-01T00:00:00 ${key}`, /^steks:1: the first word must be/], // of which zone?
    ];
    for (const [text, message] of rows) {
      let said = "nothing";
      try {
        parseSteks(text, "steks");
      } catch (error) {
        said = (error as Error).message;
      }
      expect(said).toMatch(message);
      expect(said).not.toContain(key);
    }
  });

  it("warns once while others may read the file", async () => {
    const path = await Deno.makeTempFile();
    const said: string[] = [];
    const { error } = console;
    console.error = (text: string) => said.push(text);
    try {
      await Deno.writeTextFile(path, `0 ${base64(A)}`);
      const stek = stekFile(path, { refreshMs: 1234 });
      expect(stek.refreshMs).toBe(1234);
      for (const mode of [0o600, 0o640, 0o640, 0o400, 0o604]) {
        await Deno.chmod(path, mode);
        expect(await stek.keys()).toEqual([{ notBeforeMs: 0, key: A }]);
      }
    } finally {
      console.error = error;
      await Deno.remove(path);
    }
    expect(said).toEqual(
      ["640", "604"].map((mode) =>
        `sluice: warning: ${path} has keys and others may read it (mode ${mode}): chmod 600 ${path}`
      ),
    );
  });
});
