import { assert, assertEquals } from "@std/assert";
import { checkTypesOf, findBlocks } from "./doc_blocks.ts";
import { testFlags } from "./std.ts";
import { findUntyped } from "./check_docs.ts";

Deno.test("findBlocks() finds a document's blocks, with the line of their first one and why they are not run", () => {
  const text = "# A\n\n```ts\nconst a = 1;\n```\n" +
    "<!-- by hand: it is slow -->\n```console\n$ true\n```\n\n    indented\n\n```\nplain\n```\n";
  assertEquals(findBlocks("a.md", text), [
    { file: "a.md", line: 4, language: "ts", text: "const a = 1;\n" },
    {
      file: "a.md",
      line: 8,
      language: "console",
      text: "$ true\n",
      byHand: "it is slow",
    },
    { file: "a.md", line: 14, language: "", text: "plain\n" },
  ]);
});

Deno.test("findBlocks() takes the stars off examples of JSDoc, and nothing else of a source", () => {
  const text =
    "const fence = `\n```ts\n`;\n  /**\n   * @example\n   * ```ts\n   * f(\n   *   1,\n   * );\n   * ```\n   */\n";
  assertEquals(findBlocks("a.ts", text), [
    { file: "a.ts", line: 7, language: "ts", text: "f(\n  1,\n);\n" },
  ]);
});

Deno.test("checkTypesOf() names the file and the line of what is wrong", async () => {
  const { flags } = await testFlags();
  const good = { file: "a.md", line: 3, language: "ts", text: "export {};\n" };
  assertEquals(await checkTypesOf([good], flags), undefined);
  const text = 'import "hono";\nconst a: number = "x";\n';
  const bad = { file: "docs/b.md", line: 7, language: "ts", text };
  const problem = await checkTypesOf([good, bad], flags) ?? "";
  assert(problem.includes("docs/b.md:8:7"), problem);
});

Deno.test("findUntyped() names a shell block that types nothing", () => {
  const block = { file: "a.md", line: 3, language: "sh", text: "true\n" };
  assertEquals(findUntyped([block]), [
    'a.md:3: a shell block begins with a "$ " command',
  ]);
  assertEquals(findUntyped([{ ...block, byHand: "it is slow" }]), []);
  assertEquals(findUntyped([{ ...block, text: "$ true\n" }]), []);
});
