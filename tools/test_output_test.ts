import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  fuzzFinding,
  parseFuzz,
  parseJunit,
  parseNative,
  reproduceLine,
} from "./test_output.ts";

const PLAIN =
  "ok - a\nskip - b: no kernel\nnot ok - c\n# 1 passed, 1 failed, 1 skipped\n";

Deno.test("parseNative() takes the last line's counts and the names", () => {
  assertEquals(parseNative("x_test", { code: 1, output: PLAIN }), {
    passed: 1,
    failed: 1,
    skipped: 1,
    failures: ["x_test: c"],
    skips: ["x_test: b: no kernel"],
  });
});

Deno.test("parseNative() counts a crash after some tests as one failure", () => {
  const counts = parseNative("x_test", {
    code: 139,
    output: "ok - a\nok - b\n",
  });
  assertEquals([counts.passed, counts.failed], [2, 1]);
  assertStringIncludes(counts.failures[0], "signal 11");
});

Deno.test("parseNative() counts a sanitizer's exit code although all tests passed", () => {
  const counts = parseNative("x_test", {
    code: 66,
    output: "# 5 passed, 0 failed, 0 skipped\n",
  });
  assertEquals([counts.passed, counts.failed], [5, 1]);
});

Deno.test("parseNative() counts silence as a failure", () => {
  assertEquals(parseNative("x_test", { code: 0, output: "" }).failed, 1);
});

Deno.test("parseNative() says that a test did not end in time", () => {
  const counts = parseNative("x_test", { code: 124, output: "ok - a\n" });
  assertStringIncludes(counts.failures[0], "did not end in time");
});

Deno.test("parseFuzz() tells executions and the last coverage", () => {
  const output = [
    "INFO: seed corpus: files: 165 min: 1b max: 4096b total: 36116b rss: 31Mb",
    "#166\tINITED cov: 1201 ft: 3000 corp: 160/35Kb exec/s: 0 rss: 40Mb",
    "#4096\tpulse  cov: 1240 ft: 3111 corp: 171/36Kb lim: 4096 exec/s: 2048 rss: 40Mb",
    "#20000\tDONE   cov: 1244 ft: 3120 corp: 172/36Kb lim: 4096 exec/s: 2000 rss: 41Mb",
    "stat::number_of_executed_units: 20000",
  ].join("\n");
  assertEquals(
    parseFuzz(output),
    "20000 executions (165 of the corpus), 1244 edges, 3120 features",
  );
  assertEquals(
    parseFuzz("==1==ERROR"),
    "? executions (? of the corpus), ? edges, ? features",
  );
});

Deno.test("fuzzFinding() keeps the words and the stack of what was found, none of the progress", () => {
  const output = `INFO: Seed: 1
#2\tINITED cov: 3 ft: 3 corp: 1/1b exec/s: 0 rss: 30Mb
#9\tNEW    cov: 5 ft: 5 corp: 2/4b lim: 4 exec/s: 0 rss: 30Mb L: 3/3 MS: 2 CrossOver-InsertByte-
\tNEW_FUNC[1/2]: 0x5555 in parse parse.c:3
#5441\tREDUCE cov: 7 ft: 7 corp: 4/10b lim: 53 exec/s: 0 rss: 31Mb L: 3/3 MS: 1 EraseBytes-
#8192\tpulse  cov: 7 ft: 7 corp: 4/10b lim: 53 exec/s: 0 rss: 31Mb
conn.c:10: assert failed: books balance
==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602000000052
    #0 0x55555566dd7e in parse parse.c:6:66
    #1 0x55555566dd36 in LLVMFuzzerTestOneInput a_fuzz.c:6:83
    #2 0x5555555962f3 in fuzzer::Fuzzer::ExecuteCallback(unsigned char const*, unsigned long)
    #3 0x5555555afe72 in main (a_fuzz+0x5be72)

SUMMARY: AddressSanitizer: heap-buffer-overflow parse.c:6:66 in parse
Shadow bytes around the buggy address:
  0x0c047fff7fb0: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
=>0x0c047fff8000: fa fa 03 fa fa fa 03 fa fa fa[02]fa fa fa fa fa
Shadow byte legend (one shadow byte represents 8 application bytes):
  Addressable:           00
  Partially addressable: 01 02 03 04 05 06 07 
  Heap left redzone:       fa
==1==ABORTING
MS: 2 CopyPart-ChangeByte-; base unit: d0c024ef2b7b748a5af917ab7fd801b15d318c88
0x48,0x69,0x21,
Hi!
artifact_prefix='f/'; Test unit written to f/crash-c0a0
Base64: SGkh
stat::number_of_executed_units: 20867
`;
  assertEquals(
    fuzzFinding(output),
    `conn.c:10: assert failed: books balance
==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602000000052
    #0 0x55555566dd7e in parse parse.c:6:66
    #1 0x55555566dd36 in LLVMFuzzerTestOneInput a_fuzz.c:6:83

SUMMARY: AddressSanitizer: heap-buffer-overflow parse.c:6:66 in parse
==1==ABORTING`,
  );
});

Deno.test("reproduceLine() makes an input of any bytes again in a shell", async () => {
  const input = Uint8Array.from({ length: 4096 }, (_, at) => at * 7);
  const line = reproduceLine("conn_fuzz", input);
  assertEquals(line.includes("\n"), false);
  assertStringIncludes(line, "; native/build/fuzz/conn_fuzz input");
  const made = line.replace(/^reproduce: | > input;.*$/g, "");
  const { stdout } = await new Deno.Command("bash", { args: ["-c", made] })
    .output();
  assertEquals(stdout, input);
});

const JUNIT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="6" failures="2">
  <testsuite name="./a_test.ts">
    <testcase name="plain &lt;one&gt;" classname="./a_test.ts" time="0.001" line="1" col="1">
    </testcase>
    <testcase name="left" classname="./a_test.ts" time="0.001" line="1" col="1">
      <skipped/>
    </testcase>
    <testcase name="step" classname="./a_test.ts" time="0.001" line="1" col="1">
      <failure message="1 test step failed">1 test step failed.</failure>
    </testcase>
    <testcase name="step &gt; x" classname="./a_test.ts" time="0.000" line="1" col="1">
    </testcase>
    <testcase name="step &gt; y" classname="./a_test.ts" time="0.000" line="1" col="1">
      <failure message="no">no</failure>
    </testcase>
    <testcase name="leaks" classname="./a_test.ts" time="0.000" line="1" col="1">
      <failure message="no">no</failure>
    </testcase>
    <testcase name="leaks &gt; x" classname="./a_test.ts" time="0.000" line="1" col="1"/>
  </testsuite>
</testsuites>`;

Deno.test("parseJunit() counts steps instead of their parent, and a parent that failed by itself", () => {
  assertEquals(parseJunit("deno", JUNIT, { code: 1, output: "" }), {
    passed: 3,
    failed: 2,
    skipped: 1,
    failures: ["./a_test.ts: step > y", "./a_test.ts: leaks"],
    skips: ["./a_test.ts: left"],
  });
});

Deno.test("parseJunit() counts a file that does not compile as a failure", () => {
  assertEquals(parseJunit("deno", "", { code: 1, output: "" }).failed, 1);
});

Deno.test("parseJunit() names the test that was running when the time was up", () => {
  const output =
    "running 1 test from ./a_test.ts\nouter ...\n  one ... ok (1ms)\n  two ...'outer' has been running for over (1m0s)\n";
  const counts = parseJunit("deno", "", { code: 124, output });
  assertEquals([counts.passed, counts.failures], [1, [
    'deno, in "two": did not end in time',
  ]]);
});
