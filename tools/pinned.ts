// C sources that we build ourselves, once per user: crates that native/deps pins. cargo fetches and checks them, CMake builds them.

import {
  capture,
  digest,
  exists,
  findProgram,
  ROOT,
  type RunOptions,
  withLock,
} from "./support.ts";

const MANIFEST = `${ROOT}/native/deps/Cargo.toml`;

export interface Compiler {
  c: string;
  cxx: string;
}

/** What is built, and how. */
export interface Pinned {
  /** For people. */
  title: string;
  /** Its crates; the folder in the cache has their versions. */
  crates: readonly string[];
  /** The beginning of that folder's name. */
  name: string;
  /** Whatever changes the result, beside versions and compiler. */
  flags: readonly string[];
  /** The archive that was made last: it is there, so is the rest. */
  archive: string;
  /** Fills `out` (include/, lib/, licences) from the crates' folders, which are in their order; `build` is for what is left over. */
  make(
    crates: string[],
    folders: { build: string; out: string },
    compiler: Compiler,
    log: (line: string) => void,
  ): Promise<void>;
}

/** The folder with include/ and lib/, made if it is not there yet. */
export async function pinned(
  what: Pinned,
  log: (line: string) => void,
): Promise<string> {
  const versions = await versionsOf(what.crates);
  const compiler = await chooseCompiler();
  const made = await key(what.flags, compiler);
  const folder = `${cacheRoot()}/${what.name}-${versions.join("-")}-${made}`;
  const isThere = () => exists(`${folder}/lib/${what.archive}`);
  const tell = (text: string) => log(`${what.title}: ${text}`);
  if (await isThere()) return folder;
  return await withLock(`${folder}.lock`, async () => {
    // Another checkout may have built it while we waited.
    if (!await isThere()) await makeInto(folder, what, compiler, tell);
    return folder;
  }, () => tell("another build is making it, waiting"));
}

async function makeInto(
  folder: string,
  what: Pinned,
  compiler: Compiler,
  tell: (text: string) => void,
) {
  const crates = await foldersOf(what.crates, tell);
  const partial = `${folder}.partial`;
  if (await exists(partial)) await Deno.remove(partial, { recursive: true });
  const [build, out] = [`${partial}/build`, `${partial}/out`];
  await Deno.mkdir(`${out}/lib`, { recursive: true });
  await what.make(crates, { build, out }, compiler, tell);
  if (await exists(folder)) await Deno.remove(folder, { recursive: true });
  await Deno.rename(out, folder);
  await Deno.remove(partial, { recursive: true });
}

/** Configures and builds `target` of a CMake project. */
export async function cmake(
  source: string,
  build: string,
  { c, cxx }: Compiler,
  flags: readonly string[],
  targets: readonly string[],
  options: RunOptions = {},
) {
  await capture([
    ...["cmake", "-G", "Ninja", "-S", source, "-B", build, ...flags],
    ...[`-DCMAKE_C_COMPILER=${c}`, `-DCMAKE_CXX_COMPILER=${cxx}`],
  ]);
  await capture(["cmake", "--build", build, "--target", ...targets], options);
}

function cacheRoot(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME") ||
    `${Deno.env.get("HOME") || "/tmp"}/.cache`;
  return `${cache}/sluice`;
}

async function versionsOf(crates: readonly string[]): Promise<string[]> {
  const lock = await Deno.readTextFile(`${ROOT}/native/deps/Cargo.lock`);
  return crates.map((name) => {
    const match = lock.match(`name = "${name}"\nversion = "([^"]+)"`);
    if (!match) throw new Error(`native/deps/Cargo.lock does not pin ${name}`);
    return match[1];
  });
}

// GCC makes poor code of chains of additions with carry: with Clang X25519 takes two thirds of the time, a tenth of a full handshake.
async function chooseCompiler(): Promise<Compiler> {
  for (const suffix of ["", "-19", "-18", "-17", "-16", "-15", "-14"]) {
    const [c, cxx] = [`clang${suffix}`, `clang++${suffix}`];
    if (await findProgram(c) && await findProgram(cxx)) {
      // It may lack the C++ library of the GCC that it has chosen.
      const trial = [cxx, "-fsyntax-only", "-xc++", "-"];
      const works = await capture(trial, { input: "#include <atomic>\n" })
        .then(() => true, () => false);
      if (works) return { c, cxx };
    }
  }
  return { c: "cc", cxx: "c++" };
}

async function key(
  flags: readonly string[],
  { c }: Compiler,
): Promise<string> {
  const version = await capture([c, "-dumpversion"]);
  const machine = await capture([c, "-dumpmachine"]);
  return digest([...flags, c, version.trim(), machine.trim()].join("\n"));
}

async function foldersOf(
  crates: readonly string[],
  tell: (text: string) => void,
): Promise<string[]> {
  const locate = [
    ...["cargo", "metadata", "--format-version=1", "--locked", "--offline"],
    ...["--manifest-path", MANIFEST],
  ];
  const metadata = await capture(locate).catch(async () => {
    tell("fetching its sources");
    await capture(["cargo", "fetch", "--locked", "--manifest-path", MANIFEST]);
    return await capture(locate);
  });
  const { packages } = JSON.parse(metadata) as {
    packages: { name: string; manifest_path: string }[];
  };
  return crates.map((crate) => {
    const found = packages.find(({ name }) => name === crate);
    if (!found) throw new Error(`cargo metadata does not list ${crate}`);
    return found.manifest_path.replace(/\/Cargo\.toml$/, "");
  });
}

/** Reports ninja's "[n/m]" at most every five seconds. */
export function ninjaProgress(
  report: (text: string) => void,
): (line: string) => void {
  let next = Date.now() + 5000;
  return (line) => {
    const step = line.match(/^\[(\d+)\/(\d+)\]/);
    if (!step || Date.now() < next) return;
    next = Date.now() + 5000;
    report(`${step[1]} of ${step[2]}`);
  };
}
