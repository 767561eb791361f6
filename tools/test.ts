// `deno task test`: builds, then runs everything that can fail and says so in one last line, "N passed, N failed, N skipped".
//
//   deno task test                     all
//   deno task test static              layers, documents, generated files
//   deno task test native [PATTERN]    C tests plain, under ASan with UBSan, under TSan; a fuzz smoke
//   deno task test deno [PATTERN]      Deno tests beside their sources
//   deno task test e2e [PATTERN]       end to end over real sockets, once per I/O backend
//
// PATTERN picks files by name; if no file has it in its name, tests by theirs.

import { build, failureText, type Profile } from "./build.ts";
import { checkCode, checkDocs } from "./check_docs.ts";
import { findViolations, readSources } from "./check_layers.ts";
import { undocumented } from "./doc_lint.ts";
import { generated, isCurrent, staleText } from "./gen.ts";
import { type StdChoice, testFlags } from "./std.ts";
import {
  capture,
  exists,
  filesUnder,
  findProgram,
  LIBRARY,
  readOr,
  ROOT,
} from "./support.ts";
import {
  type Counts,
  fuzzFinding,
  none,
  parseFuzz,
  parseJunit,
  parseNative,
  reproduceLine,
  sum,
} from "./test_output.ts";

// `deno task soak` is the same run with longer fuzzing and more repetitions (tests read SLUICE_SOAK too).
const SOAK = Boolean(Deno.env.get("SLUICE_SOAK"));
const NATIVE_TIMEOUT_S = SOAK ? 1200 : 300;
const DENO_TIMEOUT_S = SOAK ? 3600 : 900;
// Of each target, two at a time on two CPUs; .ci/run asks for more.
const FUZZ_SECONDS = SOAK
  ? 600
  : Number(Deno.env.get("SLUICE_FUZZ_SECONDS") ?? 5);
// An input that takes longer has found a loop without end.
const FUZZ_INPUT_SECONDS = 60;
const UNIT_FOLDERS = ["ffi", "gateway", "tls", "tools", "examples", "bench"];
// What bounds a time from above runs when nothing else does: by file, and why.
const ALONE: Record<string, string> = {
  "bench/isolation_test.ts": "bounds the latency beside an isolate that spins",
  "tests/drain_test.ts": "a drain ends within its timeout",
  "tools/build_test.ts": "a build without work takes under two seconds",
  ...Deno.env.get("SLUICE_SOAK") && {
    "tests/hostile_test.ts":
      "two times 5,000 clients that do not read are more than the kernel has memory for TCP",
  },
};

interface Context {
  pattern: string;
  total: Counts;
}

/** Adds a step's counts and shows what failed of it. */
function report(
  context: Context,
  name: string,
  counts: Counts,
  started: number,
  output = "",
) {
  context.total = sum(context.total, counts);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const words = [`${counts.passed} passed`];
  if (counts.failed) words.push(`${counts.failed} FAILED`);
  if (counts.skipped) words.push(`${counts.skipped} skipped`);
  if (counts.failed && output) console.log(output.trimEnd());
  for (const line of counts.failures) console.log(`  failed: ${line}`);
  for (const line of counts.skips) console.log(`  skipped: ${line}`);
  console.log(`${name}: ${words.join(", ")} (${seconds} s)`);
}

function outcome(name: string, failure?: string): Counts {
  return failure === undefined
    ? { ...none(), passed: 1 }
    : { ...none(), failed: 1, failures: [`${name}: ${failure}`] };
}

function skip(name: string, why: string): Counts {
  return { ...none(), skipped: 1, skips: [`${name}: ${why}`] };
}

async function buildFor(
  context: Context,
  profile: Profile,
  library: boolean,
): Promise<boolean> {
  const started = performance.now();
  try {
    const log = (line: string) => console.log(`build: ${line}`);
    await build({ profile, tests: true, library, generate: false, log });
    return true;
  } catch (error) {
    const failed = outcome(`build ${profile}`, "does not build");
    report(context, `build ${profile}`, failed, started, failureText(error));
    return false;
  }
}

async function testStatic(context: Context) {
  const started = performance.now();
  const violations = findViolations(await readSources());
  let counts = outcome(
    "layers",
    violations.length
      ? violations.map(({ file, line, text }) => `${file}:${line}: ${text}`)
        .join("\n    ")
      : undefined,
  );
  const documents = {
    documents: [...await checkDocs(), ...await checkCode()],
    "documented types": await undocumented(),
  };
  for (const [name, broken] of Object.entries(documents)) {
    const text = broken.length ? broken.join("\n    ") : undefined;
    counts = sum(counts, outcome(name, text));
  }
  for await (const file of generated()) {
    const stale = await isCurrent(file) ? undefined : staleText(file);
    counts = sum(counts, outcome("generated", stale));
  }
  report(
    context,
    "static (layers, documents, generated files)",
    counts,
    started,
  );
}

// Sanitizers of today's compilers do not know the address layouts of today's kernels: run them without randomisation where that is allowed.
async function plainAddresses(): Promise<string[]> {
  const setarch = ["setarch", "-R"];
  const works = await capture([...setarch, "true"]).then(
    () => true,
    () => false,
  );
  return works ? setarch : [];
}

const SANITIZER_ENV = {
  ASAN_OPTIONS: "detect_stack_use_after_return=1:strict_string_checks=1",
  UBSAN_OPTIONS: "print_stacktrace=1",
  TSAN_OPTIONS: "second_deadlock_stack=1",
};

async function testNative(context: Context, profile: Profile) {
  const all =
    (await filesUnder("native/tests", (path) => path.endsWith("_test.c")))
      .map((path) => path.replace(/^.*\/|\.c$/g, ""));
  const named = all.filter((name) => name.includes(context.pattern));
  const byName = named.length > 0;
  const prefix = profile === "release" ? [] : await plainAddresses();
  let counts = none(), output = "";
  const started = performance.now();
  await inParallel(byName ? named : all, async (name) => {
    const binary = `${ROOT}/native/build/${profile}/${name}`;
    const args = byName || !context.pattern ? [] : [context.pattern];
    const result = await run(
      [...prefix, binary, ...args],
      NATIVE_TIMEOUT_S,
      SANITIZER_ENV,
    );
    const part = parseNative(name, result);
    if (part.failed) output += result.output;
    counts = sum(counts, part);
  });
  report(context, `native (${profile})`, counts, started, output);
}

async function testFuzz(context: Context) {
  const started = performance.now();
  const prefix = await plainAddresses();
  let counts = none(), output = "";
  const done: string[] = [];
  const files = await filesUnder(
    "native/fuzz",
    (path) => path.endsWith("_fuzz.c"),
  );
  const names = files.map((path) => path.replace(/^.*\/|\.c$/g, ""))
    .filter((name) => name.includes(context.pattern));
  await inParallel(names, async (name) => {
    const corpus = `${ROOT}/native/fuzz/corpus/${name.replace(/_fuzz$/, "")}`;
    const found = await Deno.makeTempDir({ prefix: `sluice-${name}-` });
    const command = [
      `${ROOT}/native/build/fuzz/${name}`,
      `-max_total_time=${FUZZ_SECONDS}`,
      `-timeout=${FUZZ_INPUT_SECONDS}`,
      "-print_final_stats=1",
      "-seed=1",
      `-artifact_prefix=${found}/`,
      found,
      ...await exists(corpus) ? [corpus] : [],
    ];
    const result = await run(
      [...prefix, ...command],
      FUZZ_SECONDS + NATIVE_TIMEOUT_S, // it ends by itself
      SANITIZER_ENV,
    );
    if (result.code === 0) {
      counts = sum(counts, outcome(name));
    } else {
      const inputs = await findings(found);
      const why = inputs.length > 0
        ? "found something, its input is above"
        : `ended with code ${result.code}`;
      counts = sum(counts, outcome(name, why));
      const lines = inputs.map((input) => reproduceLine(name, input));
      output += [`fuzz: ${name}`, fuzzFinding(result.output), ...lines, ""]
        .join("\n");
    }
    await Deno.remove(found, { recursive: true });
    done.push(`fuzz: ${name}: ${parseFuzz(result.output)}`);
  });
  if (done.length > 0) console.log(done.join("\n"));
  report(context, "native (fuzz)", counts, started, output);
}

// The folder has what the fuzzer learned, too, named by digest alone. A unit that was only slow is no failure.
async function findings(folder: string): Promise<Uint8Array[]> {
  const inputs: Uint8Array[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    if (/^(crash|leak|timeout|oom)-/.test(name)) {
      inputs.push(await Deno.readFile(`${folder}/${name}`));
    }
  }
  return inputs;
}

async function noFuzzer(): Promise<string | undefined> {
  const clang = await findProgram("clang-14") ?? await findProgram("clang");
  if (!clang) return "no clang (apt-get install clang-14 libclang-rt-14-dev)";
  const program =
    "int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }";
  const command = [
    clang,
    "-fsanitize=fuzzer,address",
    "-xc",
    "-",
    "-o",
    "/dev/null",
  ];
  return await capture(command, { input: program }).then(
    () => undefined,
    () => `${clang} has no libFuzzer (apt-get install libclang-rt-14-dev)`,
  );
}

interface DenoGroup {
  name: string;
  folders: string[];
  env: Record<string, string>;
}

async function testDeno(
  context: Context,
  std: StdChoice,
  { name, folders, env }: DenoGroup,
  alone: boolean,
) {
  const started = performance.now();
  const files: string[] = [];
  for (const folder of folders) {
    if (await exists(`${ROOT}/${folder}`)) {
      files.push(
        ...await filesUnder(folder, (path) => /_test\.tsx?$/.test(path)),
      );
    }
  }
  const named = files.filter((path) => path.includes(context.pattern));
  const picked = (named.length > 0 ? named : files)
    .filter((path) => path in ALONE === alone);
  if (picked.length === 0) return;
  const junit = await Deno.makeTempFile({ prefix: "sluice-junit-" });
  const filter = named.length === 0 && context.pattern
    ? [`--filter=${context.pattern}`]
    : [];
  const command = [
    Deno.execPath(),
    "test",
    ...std.flags,
    "--allow-all",
    `--junit-path=${junit}`,
    ...filter,
    ...picked,
  ];
  const result = await run(command, DENO_TIMEOUT_S, { ...env, NO_COLOR: "1" });
  const counts = parseJunit(name, await readOr(junit, ""), result);
  await Deno.remove(junit);
  const title = alone ? `${name}, alone` : name;
  report(context, title, counts, started, result.output);
}

/** End to end tests of the backends that are here. */
async function e2eGroups(context: Context): Promise<DenoGroup[]> {
  const groups: DenoGroup[] = [];
  for (const io of ["uring", "epoll"]) {
    const name = `e2e (${io})`;
    const why = await backendMissing(io);
    if (why) report(context, name, skip(name, why), performance.now());
    else groups.push({ name, folders: ["tests"], env: { SLUICE_IO: io } });
  }
  return groups;
}

// Asks the library itself: probing is its business.
async function backendMissing(io: string): Promise<string | undefined> {
  const script = `
    import { gatewayFree, gatewayNew } from "${ROOT}/ffi/mod.ts";
    import { SL_CONFIG_IO_OFF, SL_CONFIG_BYTES, SL_IO_${io.toUpperCase()} } from "${ROOT}/ffi/abi.ts";
    const config = new Uint32Array(SL_CONFIG_BYTES / 4);
    config[SL_CONFIG_IO_OFF / 4] = SL_IO_${io.toUpperCase()};
    try { gatewayFree(gatewayNew(config)); } catch (error) {
      if (error.label !== "io_unavailable") throw error;
      console.log(error.text);
    }`;
  const command = [
    Deno.execPath(),
    "run",
    "--no-config",
    "--no-lock",
    `--allow-ffi=${LIBRARY}`,
    "--allow-env",
    "-",
  ];
  return (await capture(command, { input: script })).trim() || undefined;
}

export interface RunResult {
  code: number;
  output: string;
}

// timeout(1) ends the whole process group, so that no gateway of a hanging test stays behind.
async function run(
  command: string[],
  seconds: number,
  env: Record<string, string>,
): Promise<RunResult> {
  const { code, stdout, stderr } = await new Deno.Command("timeout", {
    args: ["--kill-after=5", String(seconds), ...command],
    cwd: ROOT,
    env,
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** As many at a time as there are CPUs. */
async function inParallel<T>(items: T[], work: (item: T) => Promise<void>) {
  const left = [...items];
  const take = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) {
      await work(item);
    }
  };
  await Promise.all(
    Array.from({ length: navigator.hardwareConcurrency }, take),
  );
}

/** Builds every configuration before the first test runs, and gives the runs of those that built. */
async function buildNative(
  context: Context,
  built: boolean,
): Promise<(() => Promise<void>)[]> {
  const runs = built ? [() => testNative(context, "release")] : [];
  for (const profile of ["asan", "tsan"] as const) {
    if (await buildFor(context, profile, false)) {
      runs.push(() => testNative(context, profile));
    }
  }
  const why = await noFuzzer();
  if (why) {
    const skipped = skip("fuzz smoke", why);
    report(context, "native (fuzz)", skipped, performance.now());
  } else if (await buildFor(context, "fuzz", false)) {
    runs.push(() => testFuzz(context));
  }
  return runs;
}

const GROUPS = ["static", "native", "deno", "e2e"];

async function main([group, pattern = ""]: string[]): Promise<number> {
  if (group && !GROUPS.includes(group)) {
    console.error(`test: "${group}" is not one of ${GROUPS.join(", ")}`);
    return 2;
  }
  const wants = (name: string) => !group || group === name;
  const context: Context = { pattern, total: none() };
  for (const path of Object.keys(ALONE)) {
    if (!await exists(`${ROOT}/${path}`)) {
      throw new Error(`tools/test.ts: ALONE names ${path}, which is not there`);
    }
  }
  const built = await buildFor(context, "release", true);
  if (wants("static") && built) await testStatic(context);
  const native = wants("native") ? await buildNative(context, built) : [];
  const groups: DenoGroup[] = [];
  if (built && wants("deno")) {
    groups.push({ name: "deno", folders: UNIT_FOLDERS, env: {} });
  }
  if (built && wants("e2e")) groups.push(...await e2eGroups(context));
  const std = groups.length > 0 ? await testFlags() : undefined;
  if (std) console.log(`deno: @std from ${std.std} (${std.why})`);
  // Deno tests mostly wait, native ones compute: both go on at once.
  await Promise.all([
    (async () => {
      for (const test of native) await test();
    })(),
    inParallel(groups, (group) => testDeno(context, std!, group, false)),
  ]);
  for (const group of groups) await testDeno(context, std!, group, true);
  const { passed, failed, skipped } = context.total;
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  return failed || passed + skipped === 0 ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
