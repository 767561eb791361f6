/**
 * `deno task bench parse`: what parsing a request head costs, beside picohttpparser and httparse; and how many instructions, for the tests.
 *
 * All are compiled by one compiler at -O3 and take turns in one process; `parse_bench.c` says how. The heads are those of `corpus/`.
 *
 * @module
 */
import { findProgram, ROOT } from "./peers.ts";
import { columns, median, quantile } from "./table.ts";

const BENCH = `${ROOT}/bench`;
const CRATE = `${BENCH}/peers/parsers/Cargo.toml`;
const TARGET = `${ROOT}/ffi/target/bench`;

/** The heads, from the smallest. `browser` is the one that picohttpparser's own bench has. */
export const HEADS = ["curl", "browser", "cookies", "large"] as const;
export type Head = (typeof HEADS)[number];
/** What is measured, as parse_bench.c names it; ours first. */
export const PARSERS = [
  "avx2",
  "sse42",
  "scalar",
  "picohttpparser-sse42",
  "picohttpparser-plain",
  "httparse",
] as const;
const BASE = "picohttpparser-sse42";

const headPath = (head: Head) => `${BENCH}/corpus/${head}.http`;

/** Why the bench cannot be built here, as a sentence; undefined: it can. */
export async function parseMissing(): Promise<string | undefined> {
  for (const program of ["cc", "cargo"]) {
    if (!await findProgram(program)) {
      return `parse is left out: no ${program}`;
    }
  }
}

async function run(command: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command[0], {
    args: command.slice(1),
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (!success) {
    throw new Error(
      `bench: \`${command.join(" ")}\` failed\n${
        new TextDecoder().decode(stderr)
      }`,
    );
  }
  return new TextDecoder().decode(stdout);
}

/** Where picohttpparser's source lies, fetched if it is not there yet. */
async function picohttpparser(): Promise<string> {
  const text = await run([
    "cargo",
    "metadata",
    "--format-version=1",
    "--locked",
    `--manifest-path=${CRATE}`,
  ]);
  const { packages } = JSON.parse(text) as {
    packages: { name: string; manifest_path: string }[];
  };
  const found = packages.find(({ name }) => name === "picohttpparser-sys");
  return found!.manifest_path.replace(/Cargo\.toml$/, "deps/picohttpparser");
}

/** Compiles the bench into a folder; answers the program's path. */
export async function buildParse(folder: string): Promise<string> {
  await run([
    "cargo",
    "build",
    "--release",
    "--locked",
    `--manifest-path=${CRATE}`,
    `--target-dir=${TARGET}`,
  ]);
  const pico = await picohttpparser();
  const native = `${ROOT}/native`;
  const flags = [
    "-std=gnu11",
    "-O3",
    "-g",
    "-D_GNU_SOURCE",
    "-fno-omit-frame-pointer",
    "-fno-strict-aliasing",
    "-fstack-protector-strong",
    `-I${native}/include`,
    `-I${native}/src`,
    `-I${pico}`,
  ];
  // Two copies of one source under other names.
  const renamed = (suffix: string) =>
    [
      "parse_request",
      "parse_response",
      "parse_headers",
      "decode_chunked",
      "decode_chunked_is_in_data",
    ].map((name) =>
      `-Dphr_${name}=bench_pico_${suffix}${
        name === "parse_request" ? "" : `_${name}`
      }`
    );
  const src = (name: string) => `${native}/src/${name}.c`;
  const objects: [name: string, source: string, extra: string[]][] = [
    ["parse", src("http1_parse"), []],
    ["scalar", src("http1_parse_scalar"), []],
    ["sse42", src("http1_parse_sse42"), ["-msse4.2"]],
    ["avx2", src("http1_parse_avx2"), ["-mavx2", "-mbmi", "-mbmi2"]],
    ["base", src("base"), []],
    ["status", src("status"), []],
    ["pico_sse42", `${pico}/picohttpparser.c`, [
      "-msse4.2",
      ...renamed("sse42"),
    ]],
    ["pico_plain", `${pico}/picohttpparser.c`, renamed("plain")],
    ["bench", `${BENCH}/parse_bench.c`, []],
  ];
  for (const [name, source, extra] of objects) {
    await run([
      "cc",
      ...flags,
      ...extra,
      "-c",
      source,
      "-o",
      `${folder}/${name}.o`,
    ]);
  }
  const program = `${folder}/parse_bench`;
  await run([
    "cc",
    ...objects.map(([name]) => `${folder}/${name}.o`),
    `${TARGET}/release/libsluice_bench_parsers.a`,
    "-lpthread",
    "-ldl",
    "-lm",
    "-o",
    program,
  ]);
  return program;
}

/** Nanoseconds per head, by head and parser, one for each round. */
export type ParseTimes = Record<string, Record<string, number[]>>;

/** Takes the times: `rounds` turns of all parsers, each with heads for `batchUs`. */
export async function measureParse(
  program: string,
  rounds: number,
  batchUs: number,
): Promise<ParseTimes> {
  const files = HEADS.map(headPath);
  const command = [program, "time", String(rounds), String(batchUs), ...files];
  const times: ParseTimes = {};
  for (const line of (await run(command)).trim().split("\n")) {
    const [file, parser, ns] = line.split(" ");
    const head = HEADS[files.indexOf(file)];
    ((times[head] ??= {})[parser] ??= []).push(Number(ns));
  }
  return times;
}

/** A table for each head; ratios are medians over the rounds' own pairs. */
export function renderParse(times: ParseTimes): string {
  return Object.entries(times).map(([head, parsers]) => {
    const bytes = Deno.statSync(headPath(head as Head)).size;
    const rows = Object.entries(parsers).map(([parser, all]) => [
      parser,
      median(all).toFixed(1),
      `${quantile(all, 0.1).toFixed(1)}-${quantile(all, 0.9).toFixed(1)}`,
      (bytes / median(all)).toFixed(2),
      ratio(all, parsers[BASE]),
      parser === "avx2" || parser === "sse42"
        ? ratio(all, parsers.scalar)
        : parser === "scalar"
        ? `${ratio(all, parsers["picohttpparser-plain"])} of plain`
        : "",
    ]);
    const title = ["parser", "ns", "p10-p90", "GB/s", "ratio", "of scalar"];
    return [`${head}, ${bytes} bytes`, ...columns([title, ...rows])].join("\n");
  }).join("\n\n");
}

/** The median of each round's own ratio. */
export function ratio(all: number[], base: number[] | undefined): string {
  return base
    ? median(all.map((ns, round) => ns / base[round])).toFixed(2)
    : "";
}

/** Instructions that one of our parsers takes for a head, counted by valgrind's callgrind. */
export async function instructions(
  program: string,
  parser: string,
  head: Head,
): Promise<number> {
  const heads = 100;
  const folder = await Deno.makeTempDir({ prefix: "sluice-callgrind-" });
  try {
    await run([
      "valgrind",
      "--tool=callgrind",
      "--toggle-collect=bench_count",
      `--callgrind-out-file=${folder}/out`,
      program,
      "count",
      parser,
      String(heads),
      headPath(head),
    ]);
    const text = await Deno.readTextFile(`${folder}/out`);
    return Number(text.match(/^(?:summary|totals): (\d+)/m)![1]) / heads;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
