import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { build, covers, failureText, merged, missingText } from "./build.ts";
import { CommandError, LIBRARY, ROOT } from "./support.ts";

Deno.test("build() does nothing, within two seconds, when nothing changed", async () => {
  await build({ generate: false });
  const lines: string[] = [];
  const started = performance.now();
  const worked = await build({
    generate: false,
    log: (line) => lines.push(line),
  });
  assertEquals([worked, lines], [false, []]);
  assert(performance.now() - started < 2000);
  assert((await Deno.stat(LIBRARY)).isFile);
});

Deno.test("missingText() names each tool, what it is for and the line that installs it", () => {
  const text = missingText([{
    programs: ["cmake"],
    why: "builds",
    install: "apt-get install -y cmake",
  }]);
  assertStringIncludes(text, "cmake: builds");
  assertStringIncludes(text, "apt-get install -y cmake");
});

Deno.test("the build names what is missing from PATH", async () => {
  const path = await Deno.makeTempDir();
  try {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-config",
        "--no-lock",
        "--allow-all",
        `${ROOT}/tools/build.ts`,
        "--boringssl",
      ],
      env: { PATH: path },
    }).output();
    const text = new TextDecoder().decode(stderr);
    assertEquals(code, 1);
    for (const tool of ["cc", "c++", "cmake", "ninja", "cargo"]) {
      assertStringIncludes(text, `  ${tool}: `);
    }
    assertStringIncludes(text, "apt-get install -y ninja-build");
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("failureText() of a program is what it said, then its command line", () => {
  const text = failureText(
    new CommandError(["cc", "x.c"], 1, "x.c:1: error\n"),
  );
  assertEquals(text, "x.c:1: error\n`cc x.c` failed");
});

Deno.test("covers() wants every part that is asked for to be made of the same files", () => {
  const made = { sources: "1", tests: "2", library: "3" };
  assertEquals(covers(made, { sources: "1", library: "3" }), true);
  assertEquals(covers(made, { sources: "1", tests: "9" }), false);
  assertEquals(covers(made, { sources: "1", generated: "4" }), false);
  assertEquals(covers({}, { sources: "1" }), false);
});

Deno.test("merged() forgets parts that were made of other sources", () => {
  const before = { sources: "1", tests: "2", library: "3" };
  assertEquals(merged(before, { sources: "1", library: "4" }), {
    sources: "1",
    tests: "2",
    library: "4",
  });
  assertEquals(merged(before, { sources: "5", library: "4" }), {
    sources: "5",
    library: "4",
  });
});
