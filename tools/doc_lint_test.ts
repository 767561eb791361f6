import { assertEquals, assertRejects } from "@std/assert";
import { judgeLint, lintDocs, withoutExample } from "./doc_lint.ts";
import { CommandError } from "./support.ts";

const MODULE = `import type { Context } from "hono";
interface Hidden { key: string }
/** Documented, but for its member. */
export interface Shown {
  bare: number;
  /** Of Hono. */
  c: Context;
  /** Of nobody that can be imported. */
  hidden: Hidden;
}
`;

async function lint(text: string): Promise<string> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/a.ts`, text);
    const output = await lintDocs(`${folder}/a.ts`);
    return output.replaceAll(`${folder}/`, "");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const BARE =
  "a.ts:5:3: missing-jsdoc: exported symbol is missing JSDoc documentation";
const HIDDEN =
  `a.ts:9:3: private-type-ref: public type 'Shown["hidden"]' references private type 'Hidden'`;
const CONTEXT =
  `a.ts:7:3: private-type-ref: public type 'Shown["c"]' references private type 'Context'`;

Deno.test("a lint of documents: only listed pairs pass", async () => {
  const output = await lint(MODULE);
  const judge = (allowed: Record<string, string[]>) =>
    judgeLint(output, allowed).sort();
  assertEquals(judge({ 'Shown["c"]': ["Context"] }), [BARE, HIDDEN]);
  // The type's name alone, or the symbol's, is not enough.
  assertEquals(judge({ 'Shown["hidden"]': ["Context"] }), [
    'HONO_TYPES has Shown["hidden"] -> Context, which is not there any more',
    BARE,
    CONTEXT,
    HIDDEN,
  ]);
});

Deno.test("a lint of documents: a listed pair that is gone is stale", async () => {
  const output = await lint("/** Good. */\nexport const a = 1;\n");
  assertEquals(judgeLint(output, {}), []);
  assertEquals(judgeLint(output, { a: ["Context", "Next"] }), [
    "HONO_TYPES has a -> Context, which is not there any more",
    "HONO_TYPES has a -> Next, which is not there any more",
  ]);
});

Deno.test("a lint of documents: what cannot be read is not passed over", () => {
  assertEquals(
    judgeLint("error: Found 2 documentation lint errors.\n", {}),
    ["2 errors, of which 0 are readable"],
  );
});

Deno.test("a lint of documents: a module that cannot be read is an error", async () => {
  await assertRejects(() => lintDocs("no/such/module.ts"), CommandError);
});

Deno.test("examples of documents: functions, classes and variables have one", () => {
  const symbol = (name: string, kind: string, ...tags: string[]) => ({
    name,
    declarations: [{ kind, jsDoc: { tags: tags.map((kind) => ({ kind })) } }],
  });
  const symbols = [
    symbol("shown", "function", "example"),
    symbol("bare", "function", "default"),
    symbol("Known", "class"),
  ];
  assertEquals(withoutExample(symbols, { Known: "why", shown: "stale" }), [
    "bare has no @example",
    "NO_EXAMPLE has shown, which needs no exception",
  ]);
});

Deno.test("examples of documents: types have one, or what names them has", () => {
  const symbol = (name: string, typeName: string, doc?: string) => ({
    name,
    declarations: [{
      kind: doc?.includes("(") ? "function" : "interface",
      jsDoc: { tags: doc ? [{ kind: "example", doc }] : [] },
      def: { tsType: { value: { typeName } } },
    }],
  });
  const symbols = [
    symbol("make", "Options", "make() as Made"),
    symbol("Options", "Part"),
    symbol("Part", "Options"), // each other
    symbol("Made", "string"),
    symbol("Alone", "Part"),
  ];
  assertEquals(withoutExample(symbols, {}), ["Alone has no @example"]);
});
