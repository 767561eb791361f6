// BoringSSL, built once per user, version, flags and compiler. Its sources come as a crate that native/deps pins; cargo fetches and checks
// them, CMake builds them.

import {
  capture,
  digest,
  exists,
  findProgram,
  ROOT,
  type RunOptions,
  withLock,
} from "./support.ts";

const OPTIMISED = "-O2 -DNDEBUG -g0 -ffunction-sections -fdata-sections";
const FLAGS = [
  "-DCMAKE_BUILD_TYPE=Release",
  "-DCMAKE_POSITION_INDEPENDENT_CODE=ON",
  "-DBUILD_TESTING=OFF",
  `-DCMAKE_C_FLAGS_RELEASE=${OPTIMISED}`,
  `-DCMAKE_CXX_FLAGS_RELEASE=${OPTIMISED}`,
];
const MANIFEST = `${ROOT}/native/deps/Cargo.toml`;

interface Compiler {
  c: string;
  cxx: string;
}

/** The folder with include/ and lib/, built if it is not there yet. */
export async function boringssl(log: (line: string) => void): Promise<string> {
  const version = await pinnedVersion();
  const compiler = await chooseCompiler();
  const folder = `${cacheRoot()}/boringssl-${version}-${await key(compiler)}`;
  if (await exists(`${folder}/lib/libssl.a`)) return folder;
  return await withLock(`${folder}.lock`, async () => {
    // Another checkout may have built it while we waited.
    if (!await exists(`${folder}/lib/libssl.a`)) {
      await buildInto(folder, version, compiler, log);
    }
    return folder;
  }, () => log(`BoringSSL ${version}: another build is making it, waiting`));
}

function cacheRoot(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME") ||
    `${Deno.env.get("HOME") || "/tmp"}/.cache`;
  return `${cache}/sluice`;
}

async function pinnedVersion(): Promise<string> {
  const lock = await Deno.readTextFile(`${ROOT}/native/deps/Cargo.lock`);
  const match = lock.match(/name = "boring-sys"\nversion = "([^"]+)"/);
  if (!match) throw new Error("native/deps/Cargo.lock does not pin boring-sys");
  return match[1];
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

async function key({ c }: Compiler): Promise<string> {
  const version = await capture([c, "-dumpversion"]);
  const machine = await capture([c, "-dumpmachine"]);
  return digest([...FLAGS, c, version.trim(), machine.trim()].join("\n"));
}

async function buildInto(
  folder: string,
  version: string,
  { c, cxx }: Compiler,
  log: (line: string) => void,
) {
  const source = await sources(version, log);
  const partial = `${folder}.partial`;
  if (await exists(partial)) await Deno.remove(partial, { recursive: true });
  await Deno.mkdir(`${partial}/out/lib`, { recursive: true });

  log(
    `BoringSSL ${version}: building with ${c}, once for this user (about two minutes on two cores)`,
  );
  const options: RunOptions = {
    onLine: ninjaProgress((text) => log(`BoringSSL ${version}: ${text}`)),
  };
  await capture([
    "cmake",
    "-G",
    "Ninja",
    "-S",
    source,
    "-B",
    `${partial}/build`,
    ...FLAGS,
    `-DCMAKE_C_COMPILER=${c}`,
    `-DCMAKE_CXX_COMPILER=${cxx}`,
  ]);
  await capture([
    "cmake",
    "--build",
    `${partial}/build`,
    "--target",
    "ssl",
    "crypto",
  ], options);

  for (const name of ["libssl.a", "libcrypto.a"]) {
    await Deno.rename(`${partial}/build/${name}`, `${partial}/out/lib/${name}`);
  }
  await capture(["cp", "-r", `${source}/include`, `${partial}/out/include`]);
  await capture(["cp", `${source}/LICENSE`, `${partial}/out/LICENSE`]);
  if (await exists(folder)) await Deno.remove(folder, { recursive: true });
  await Deno.rename(`${partial}/out`, folder);
  await Deno.remove(partial, { recursive: true });
}

async function sources(
  version: string,
  log: (line: string) => void,
): Promise<string> {
  const locate = [
    "cargo",
    "metadata",
    "--format-version=1",
    "--locked",
    "--offline",
    "--manifest-path",
    MANIFEST,
  ];
  const metadata = await capture(locate).catch(async () => {
    log(`BoringSSL ${version}: fetching its sources`);
    await capture(["cargo", "fetch", "--locked", "--manifest-path", MANIFEST]);
    return await capture(locate);
  });
  const { packages } = JSON.parse(metadata) as {
    packages: { name: string; manifest_path: string }[];
  };
  const crate = packages.find(({ name }) => name === "boring-sys");
  if (!crate) throw new Error("cargo metadata does not list boring-sys");
  return crate.manifest_path.replace(/Cargo\.toml$/, "deps/boringssl");
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
