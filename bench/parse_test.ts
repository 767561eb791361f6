/**
 * The bench of the head parser runs, tiny; and a head costs no more instructions than it did. Never a time.
 */
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import {
  buildParse,
  type Head,
  HEADS,
  instructions,
  measureParse,
  parseMissing,
  PARSERS,
  ratio,
  renderParse,
} from "./parse.ts";
import { findProgram } from "./peers.ts";

// Instructions per head, as gcc 12 makes them, and a tenth: other compilers differ by less, and a scan that went wrong costs more.
const BOUNDS: Record<string, Partial<Record<Head, number>>> = {
  avx2: { curl: 1_070, browser: 1_350 },
  sse42: { curl: 1_255, browser: 2_000 },
  scalar: { curl: 1_970, browser: 4_800 },
};

const missing = await parseMissing();
const valgrind = await findProgram("valgrind");
const here = PARSERS.filter((parser) =>
  parser !== "avx2" || Deno.readTextFileSync("/proc/cpuinfo").includes(" avx2 ")
);
const itIfBuilt = missing ? it.skip : it;

describe("deno task bench parse", () => {
  let folder: string, program: string;
  beforeAll(async () => {
    if (missing) return;
    folder = await Deno.makeTempDir({ prefix: "sluice-parse-" });
    program = await buildParse(folder);
  });
  afterAll(async () => {
    if (folder) await Deno.remove(folder, { recursive: true });
  });

  itIfBuilt("measures every parser with every head", async () => {
    const times = await measureParse(program, 2, 20);
    assertEquals(Object.keys(times), [...HEADS]);
    for (const head of HEADS) {
      assertEquals(Object.keys(times[head]), [...here]);
      for (const all of Object.values(times[head])) {
        assertEquals(all.length, 2);
        assert(all.every((ns) => ns > 0));
      }
    }
    const text = renderParse(times);
    for (const parser of here) assert(text.includes(`\n${parser} `), text);
  });

  for (const [parser, bounds] of Object.entries(BOUNDS)) {
    const counted = valgrind && here.some((name) => name === parser);
    for (const [head, most] of Object.entries(bounds)) {
      (counted ? itIfBuilt : it.skip)(
        `${parser} takes at most ${most} instructions for ${head}`,
        async () => {
          const count = await instructions(program, parser, head as Head);
          console.log(`# ${parser}, ${head}: ${count} instructions`);
          assert(count > most / 2, `${count}: what was counted?`);
          assert(count <= most, `${count} of ${most}`);
        },
      );
    }
  }
});

describe("ratio()", () => {
  it("is the median of each round's own", () => {
    assertEquals(ratio([1, 4, 9], [2, 2, 3]), "2.00");
    assertEquals(ratio([1], undefined), "");
  });
});
