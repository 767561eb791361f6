// `deno task build`: BoringSSL, libsluice.a, the library that Deno opens, and the generated files. Does nothing in a blink if nothing changed.
//
//   deno task build                        what `deno task start` needs
//   deno task build --profile asan         libsluice.a and the native tests under a sanitizer: release, debug, asan, tsan or fuzz
//   deno task build --check-only           does not rewrite generated files (the tests prove that they are current)
//   deno task build --boringssl            prints BoringSSL's folder, for a C compiler by hand
//   deno task build --compression          prints that of brotli and zlib

import { boringssl } from "./boringssl.ts";
import { compression } from "./compression.ts";
import { abi, bindings, write } from "./gen.ts";
import { ninjaProgress } from "./pinned.ts";
import {
  capture,
  CARGO_DIR,
  CommandError,
  digestFiles,
  exists,
  filesUnder,
  findProgram,
  LIBRARY,
  readOr,
  removeIfThere,
  ROOT,
  withLock,
} from "./support.ts";

export const PROFILES = ["release", "debug", "asan", "tsan", "fuzz"] as const;
export type Profile = (typeof PROFILES)[number];

export interface BuildOptions {
  /** @default "release" */
  profile?: Profile;
  /** Also the native tests; the profiles other than release exist for them. @default profile is not "release" */
  tests?: boolean;
  /** The library for Deno, too. @default profile is "release" */
  library?: boolean;
  /** Rewrite generated files that are not current. @default true */
  generate?: boolean;
  /** Called with each line of progress; never if there is nothing to do. */
  log?: (line: string) => void;
}

/** What the build cannot do without, and how to get it. */
export class MissingTool extends Error {
  override name = "MissingTool";
}

interface Tool {
  programs: string[];
  why: string;
  install: string;
}

const APT = "apt-get update && apt-get install -y";
const TOOLS: Tool[] = [
  { programs: ["cc"], why: "compiles the data plane", install: `${APT} gcc` },
  { programs: ["c++"], why: "compiles BoringSSL", install: `${APT} g++` },
  {
    programs: ["cmake"],
    why: "builds BoringSSL and the data plane",
    install: `${APT} cmake`,
  },
  {
    programs: ["ninja"],
    why: "runs what cmake wrote",
    install: `${APT} ninja-build`,
  },
  {
    programs: ["cargo"],
    why: "fetches pinned C sources and builds the library for Deno",
    install:
      "curl --proto '=https' -sSf https://sh.rustup.rs | sh -s -- -y && . ~/.cargo/env",
  },
];
const CLANG: Tool = {
  programs: ["clang-14", "clang"],
  why: "has libFuzzer",
  install: `${APT} clang-14 libclang-rt-14-dev`,
};

/** Builds what is not current; answers whether there was anything to do. */
export async function build(options: BuildOptions = {}): Promise<boolean> {
  const profile = options.profile ?? "release";
  const {
    tests = profile !== "release",
    library = profile === "release",
    generate = true,
    log = () => {},
  } = options;
  const path = `${ROOT}/native/build/${profile}.stamp`;
  const current = async () =>
    covers(
      await readStamp(path),
      await inputs(tests, library, library && generate),
    ) &&
    (!library || await exists(LIBRARY));
  if (await current()) return false;
  return await withLock(`${ROOT}/native/build/.lock`, async () => {
    if (await current()) return false;
    const before = await readStamp(path);
    const now = await inputs(tests, library, false);
    await removeIfThere(path);
    await requireTools(profile === "fuzz" ? [...TOOLS, CLANG] : TOOLS);
    const pinned = {
      SLUICE_BORINGSSL_DIR: await boringssl(log),
      SLUICE_COMPRESSION_DIR: await compression(log),
    };
    await buildNative(profile, tests, pinned, log);
    if (library) await buildLibrary(pinned, log);
    if (library && generate) await writeGenerated(log);
    const made = merged(before, now);
    if (library && generate) made.generated = await digestFiles(GENERATED);
    await Deno.writeTextFile(path, JSON.stringify(made));
    return true;
  }, () => log("another build runs, waiting for it"));
}

/** Digests of what the results of a profile were made of; absent: not made, or not wanted. */
export interface Stamp {
  sources?: string;
  tests?: string;
  library?: string;
  generated?: string;
}

const GENERATED = ["ffi/abi.ts", "ffi/bindings/mod.ts"];
const TOOL_FILES = [
  ...["boringssl", "build", "compression", "gen", "pinned", "support"],
].map((name) => `tools/${name}.ts`);

/** Whether what was made is all that is wanted now. */
export function covers(made: Stamp, wanted: Stamp): boolean {
  return Object.entries(wanted).every(([part, digest]) =>
    made[part as keyof Stamp] === digest
  );
}

/** What is there after a build: what it left alone is as current as before, if it was made of the same sources. */
export function merged(before: Stamp, now: Stamp): Stamp {
  return before.sources === now.sources ? { ...before, ...now } : now;
}

async function readStamp(path: string): Promise<Stamp> {
  return JSON.parse(await readOr(path, "{}"));
}

// Everything that can change a result, but for the installed tools themselves.
async function inputs(
  tests: boolean,
  library: boolean,
  generated: boolean,
): Promise<Stamp> {
  const native = await filesUnder(
    "native",
    (path) => /\.(c|h|d|txt|json|toml|lock|rs)$/.test(path),
  );
  const isTest = (path: string) => /^native\/(tests|fuzz)\//.test(path);
  const ffi = await filesUnder("ffi", (path) => /\.(rs|toml|lock)$/.test(path));
  return {
    sources: await digestFiles([
      ...native.filter((path) => !isTest(path)),
      ...TOOL_FILES,
    ]),
    ...library && { library: await digestFiles(ffi) },
    ...tests && { tests: await digestFiles(native.filter(isTest)) },
    ...generated && { generated: await digestFiles(GENERATED) },
  };
}

async function requireTools(tools: Tool[]) {
  const missing: Tool[] = [];
  for (const tool of tools) {
    const found = await Promise.all(tool.programs.map(findProgram));
    if (!found.some(Boolean)) missing.push(tool);
  }
  if (missing.length > 0) throw new MissingTool(missingText(missing));
}

/** One line per tool: its name, what for, and the line that installs it. */
export function missingText(missing: Tool[]): string {
  const lines = missing.map(({ programs, why, install }) =>
    `  ${programs.join(" or ")}: ${why}\n      ${install}`
  );
  return `not on PATH:\n${lines.join("\n")}`;
}

async function buildNative(
  profile: Profile,
  tests: boolean,
  pinned: Record<string, string>,
  log: (line: string) => void,
) {
  log(`native (${profile}): libsluice.a${tests ? " and its tests" : ""}`);
  const native = `${ROOT}/native`;
  const configure = [
    "cmake",
    "--preset",
    profile,
    ...Object.entries(pinned).map(([name, folder]) => `-D${name}=${folder}`),
  ];
  if (profile === "fuzz" && !await findProgram("clang-14")) {
    configure.push("-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++");
  }
  await capture(configure, { cwd: native });
  await capture([
    "cmake",
    "--build",
    "--preset",
    profile,
    "--target",
    tests ? "all" : "sluice",
  ], {
    cwd: native,
    onLine: ninjaProgress((text) => log(`native (${profile}): ${text}`)),
  });
}

async function buildLibrary(
  pinned: Record<string, string>,
  log: (line: string) => void,
) {
  log("ffi: the library for Deno");
  await capture(
    [
      "cargo",
      "build",
      "--release",
      "--locked",
      `--manifest-path=${ROOT}/ffi/Cargo.toml`,
      `--target-dir=${CARGO_DIR}`,
    ],
    {
      env: {
        SLUICE_NATIVE_DIR: `${ROOT}/native/build/release`,
        ...pinned,
      },
    },
  );
  // One step, so that a process that starts meanwhile sees the old file or the new one.
  await Deno.mkdir(LIBRARY.slice(0, LIBRARY.lastIndexOf("/")), {
    recursive: true,
  });
  await Deno.copyFile(
    `${CARGO_DIR}/release/libsluice_ffi.so`,
    `${LIBRARY}.partial`,
  );
  await Deno.rename(`${LIBRARY}.partial`, LIBRARY);
}

async function writeGenerated(log: (line: string) => void) {
  for (const file of [await abi(), await bindings()]) {
    if (await write(file)) log(`${file.path} has changed: commit it`);
  }
}

/** What went wrong, for a person: a compiler's words stand for themselves. */
export function failureText(error: unknown): string {
  if (error instanceof MissingTool) return error.message;
  if (error instanceof CommandError) {
    return `${error.output.trimEnd()}\n\`${error.command.join(" ")}\` failed`;
  }
  return error instanceof Error ? error.message : String(error);
}

const FOLDERS = { "--boringssl": boringssl, "--compression": compression };

async function main(args: string[]): Promise<number> {
  for (const [flag, folder] of Object.entries(FOLDERS)) {
    if (!args.includes(flag)) continue;
    await requireTools(TOOLS);
    console.log(await folder((line) => console.error(`build: ${line}`)));
    return 0;
  }
  const profile = args.includes("--profile")
    ? args[args.indexOf("--profile") + 1]
    : "release";
  if (!PROFILES.includes(profile as Profile)) {
    console.error(
      `build: --profile is "${profile}", not one of ${PROFILES.join(", ")}`,
    );
    return 2;
  }
  const start = performance.now();
  const seconds = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  const worked = await build({
    profile: profile as Profile,
    generate: !args.includes("--check-only"),
    log: (line) => console.error(`build: ${line}`),
  });
  console.error(
    worked
      ? `build: done in ${seconds()}`
      : `build: nothing to do (${seconds()})`,
  );
  return 0;
}

if (import.meta.main) {
  Deno.exit(
    await main(Deno.args).catch((error) => {
      console.error(`build: ${failureText(error)}`);
      return 1;
    }),
  );
}
