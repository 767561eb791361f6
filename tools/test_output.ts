// What test programs say, as counts. Whatever cannot be understood counts as a failure: silence must never look like success.

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
  /** One line per failed test, as far as they are known by name. */
  failures: string[];
  /** One line per skipped test, with the reason where one was given. */
  skips: string[];
}

export interface Ended {
  code: number;
  output: string;
}

export function none(): Counts {
  return { passed: 0, failed: 0, skipped: 0, failures: [], skips: [] };
}

export function sum(a: Counts, b: Counts): Counts {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
    failures: [...a.failures, ...b.failures],
    skips: [...a.skips, ...b.skips],
  };
}

/** Reads a C test binary's output (native/tests/test.h). */
export function parseNative(name: string, { code, output }: Ended): Counts {
  const named = (pattern: RegExp) =>
    [...output.matchAll(pattern)].map((match) => `${name}: ${match[1]}`);
  const failures = named(/^not ok - (.*)$/gm);
  const skips = named(/^skip - (.*)$/gm);
  const last = output.match(/^# (\d+) passed, (\d+) failed, (\d+) skipped$/m);
  const counts = last
    ? {
      passed: Number(last[1]),
      failed: Number(last[2]),
      skipped: Number(last[3]),
      failures,
      skips,
    }
    : {
      passed: named(/^ok - (.*)$/gm).length,
      failed: failures.length,
      skipped: skips.length,
      failures,
      skips,
    };
  // A crash, a timeout, or a sanitizer that spoke after the last test.
  if (!last || code !== 0 && counts.failed === 0) {
    return sum(counts, endedBadly(name, code));
  }
  return counts;
}

/** What a run of libFuzzer with -print_final_stats=1 has done: executions, and coverage as its last line of progress has it. */
export function parseFuzz(output: string): string {
  const count = (pattern: RegExp) =>
    [...output.matchAll(pattern)].at(-1)?.[1] ?? "?";
  const replayed = count(/^INFO: seed corpus: files: (\d+)/gm);
  const done = count(/^stat::number_of_executed_units: +(\d+)$/gm);
  const edges = count(/^#\d+\s.* cov: (\d+) /gm);
  const features = count(/^#\d+\s.* ft: (\d+) /gm);
  return `${done} executions (${replayed} of the corpus), ${edges} edges, ${features} features`;
}

// Progress, counters and the map of the shadow memory: thousands of lines, none of which says what is wrong.
const FUZZ_NOISE =
  /^(#\d+\t|INFO: |stat::|\s*NEW_(FUNC|PC)|=?>? *0x[0-9a-f]+: |Shadow byte| +[A-Z][A-Za-z ]+: +[0-9a-f ]+$)/;
// How libFuzzer came to call the target, the same for every input.
const FUZZ_FRAME = /^ +#\d+ 0x[0-9a-f]+ in (fuzzer::|main|__libc_start|_start)/;
// How it made the input, and the input, which reproduceLine() says whole.
const FUZZ_INPUT = /^MS: [^]*?^artifact_prefix=.*\n(Base64: .*\n)?/gm;

/** What a run of libFuzzer that found something says about it: what the target printed, the sanitizer's words, and the stack. */
export function fuzzFinding(output: string): string {
  return output.replace(FUZZ_INPUT, "").split("\n")
    .filter((line) => !FUZZ_NOISE.test(line) && !FUZZ_FRAME.test(line))
    .join("\n").trim();
}

/** A line for a shell that makes an input again and runs its target on it: a CI machine's files are gone when one reads its log. */
export function reproduceLine(target: string, input: Uint8Array): string {
  const text = btoa(
    Array.from(input, (byte) => String.fromCharCode(byte)).join(""),
  );
  return `reproduce: base64 -d <<< '${text}' > input; native/build/fuzz/${target} input`;
}

/** Reads the JUnit file of `deno test`; a test with steps counts by its steps. */
export function parseJunit(
  name: string,
  xml: string,
  { code, output }: Ended,
): Counts {
  const cases = [
    ...xml.matchAll(
      /<testcase name="([^"]*)" classname="([^"]*)"[^>]*?(?:\/>|>([^]*?)<\/testcase>)/g,
    ),
  ]
    .map(([, test, file, body = ""]) => ({
      name: unescape(test),
      file: unescape(file),
      failed: /<(failure|error)\b/.test(body),
      skipped: /<skipped\b/.test(body),
    }));
  // A run that was ended has written no file: what it printed is all there is.
  if (!xml) return parsePrinted(name, code, output);
  const counts = none();
  for (const test of cases) {
    const steps = cases.filter((other) =>
      other.name.startsWith(`${test.name} > `)
    );
    // A parent whose step failed is failed by that step alone.
    if (
      steps.length > 0 && (!test.failed || steps.some(({ failed }) => failed))
    ) continue;
    const line = `${test.file}: ${test.name}`;
    if (test.failed) counts.failed++, counts.failures.push(line);
    else if (test.skipped) counts.skipped++, counts.skips.push(line);
    else counts.passed++;
  }
  // A file that does not compile or throws at its top has no test case.
  return code !== 0 && counts.failed === 0
    ? sum(counts, endedBadly(name, code))
    : counts;
}

function parsePrinted(name: string, code: number, output: string): Counts {
  const lines = output.split("\n");
  const passed =
    lines.filter((line) => /^\s+\S.* \.\.\. ok \(/.test(line)).length;
  const running = lines.findLast((line) =>
    /^\s*\S.* \.\.\.(?! (ok|FAILED|ignored)\b)/.test(line)
  )
    ?.replace(/ \.\.\..*/, "").trim();
  const counts = { ...none(), passed };
  return sum(
    counts,
    endedBadly(running ? `${name}, in "${running}"` : name, code),
  );
}

const TIMEOUT_CODE = 124;

function endedBadly(name: string, code: number): Counts {
  const why = code === TIMEOUT_CODE || code === 137
    ? "did not end in time"
    : code > 128
    ? `was ended by signal ${code - 128}`
    : `ended with code ${code} although no test failed`;
  return { ...none(), failed: 1, failures: [`${name}: ${why}`] };
}

function unescape(text: string): string {
  const names: Record<string, string> = {
    lt: "<",
    gt: ">",
    quot: '"',
    apos: "'",
    amp: "&",
  };
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => names[name]);
}
