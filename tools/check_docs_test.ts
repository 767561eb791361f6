import { assertEquals } from "@std/assert";
import { findBroken } from "./check_docs.ts";

const FILES = ["README.md", "docs/a.md", "native/src/io.h"];
const judge = (text: string) =>
  findBroken(
    [{ path: "docs/a.md", text }, {
      path: "README.md",
      text: "# The `first` one!\n",
    }],
    ["test"],
    (path) => Promise.resolve(FILES.includes(path)),
  );

Deno.test("findBroken() takes links, headings, files and tasks that exist", async () => {
  const text =
    "[a](../README.md#the-first-one) [b](https://x.example/y) `native/src/io.h` `deno task test`\n" +
    "```\n[not](a link)\n```\n";
  assertEquals(await judge(text), []);
});

for (
  const [text, complaint] of [
    ["[a](../gone.md)", "docs/a.md: links to gone.md, which is not there"],
    ["[a](../README.md#second)", "docs/a.md: README.md has no heading #second"],
    [
      "`native/src/gone.c`",
      "docs/a.md: names native/src/gone.c, which is not there",
    ],
    ["`deno task gone`", 'docs/a.md: deno.json has no task "gone"'],
  ]
) {
  Deno.test(`findBroken() refuses ${text}`, async () => {
    assertEquals(await judge(text), [complaint]);
  });
}
