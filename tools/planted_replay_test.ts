// Would the replay test of native/tests/early_data_test.c notice if early data were accepted twice? With SL_TEST_REPLAY, which no product is built
// with, the single-use set always says yes, and the test must fail; without, the same build of it passes.

import { assert, assertEquals } from "@std/assert";
import { boringssl } from "./boringssl.ts";
import { build } from "./build.ts";
import { compression } from "./compression.ts";
import { findProgram, LIBRARY, ROOT } from "./support.ts";

const REPLAY = "a_replay_runs_nothing_twice";
const MARK = "SL_TEST_REPLAY is set";

async function isMarked(path: string): Promise<boolean> {
  return new TextDecoder("latin1").decode(await Deno.readFile(path))
    .includes(MARK);
}

/** Builds early_data_test with its own ticket.c in front of the library's, and runs its replay. */
async function replay(dir: string, flags: string[]) {
  const cc = await findProgram("cc");
  assert(cc, "no C compiler");
  const ssl = await boringssl(() => {});
  const archives = await compression(() => {});
  const native = `${ROOT}/native`;
  const compiled = await new Deno.Command(cc, {
    args: [
      ...["-std=gnu11", "-O1", "-g", "-D_GNU_SOURCE", ...flags],
      ...["include", "src", "tests"].map((name) => `-I${native}/${name}`),
      `-I${ssl}/include`,
      `${native}/tests/early_data_test.c`,
      `${native}/src/ticket.c`,
      `${native}/build/release/libsluice.a`,
      ...[`${ssl}/lib/libssl.a`, `${ssl}/lib/libcrypto.a`],
      `${archives}/lib/libcompression.a`,
      ...["-lstdc++", "-lpthread", "-lm", "-o", `${dir}/replay`],
    ],
  }).output();
  assert(compiled.success, new TextDecoder().decode(compiled.stderr));
  const marked = await isMarked(`${dir}/replay`);
  const { success, stdout } = await new Deno.Command(`${dir}/replay`, {
    args: [REPLAY],
    signal: AbortSignal.timeout(60_000),
  }).output();
  return { success, marked, said: new TextDecoder().decode(stdout) };
}

Deno.test("early_data_test finds a single-use set that always says yes", async () => {
  await build();
  const dir = await Deno.makeTempDir({ prefix: "sluice-planted-" });
  try {
    const right = await replay(dir, []);
    assert(right.success && !right.marked, right.said);
    const wrong = await replay(dir, ["-DSL_TEST_REPLAY=1"]);
    assert(!wrong.success, `it was not found:\n${wrong.said}`);
    assert(wrong.marked, "no mark, by which a product would be known");
    assert(wrong.said.includes(`not ok - ${REPLAY}`), wrong.said);
    assert(/: 13, expected 1$/m.test(wrong.said), wrong.said); // tls_early: the client's own and twelve replays
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("no product is built with it", async () => {
  assertEquals(await isMarked(LIBRARY), false);
});
