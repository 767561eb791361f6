// `deno task compile`: one executable, dist/sluice, that needs nothing but Linux and glibc and does what `deno task start gateway` does.
//
//   deno task compile                      dist/sluice
//   deno task compile --module app.ts      with app.ts and what it imports inside, which runs where the command line names no MODULE
//   deno task compile --out FILE           another file
//   --allow-...                            a permission that every run has
//
// It is packed by us rather than by `deno compile`: that needs the denort runtime from dl.deno.land, which a build behind an npm mirror does not
// reach, and its programs resolve a MODULE on disk only as they were compiled. Here Deno's own executable lies inside, as npm's package has it.
// tools/pack.ts has the form of the file.

import { fromFileUrl } from "@std/path";
import { build, failureText } from "./build.ts";
import { honoFiles, moduleFlags } from "./module_map.ts";
import { archiveOf, pack, type Packed, sha256 } from "./pack.ts";
import { userFolder } from "./start_arguments.ts";
import { OFFLINE_MAP, PRODUCT_LOCK, productFlags } from "./std.ts";
import { capture, exists, filesUnder, LIBRARY, ROOT } from "./support.ts";

export interface CompileOptions {
  /** A file to put inside. */
  module?: string;
  /** @default "dist/sluice" */
  out?: string;
  /** Flags for Deno that every run has. */
  permissions?: string[];
  log?: (line: string) => void;
}

// ---- What it needs of the system

const GLIBC =
  /^(libc|libm|libdl|librt|libpthread|ld-linux-[a-z0-9-]+)\.so\.\d+$/;
// Deno names it; it lies inside for systems that have glibc alone.
const BROUGHT = ["libgcc_s.so.1"];

/** The libraries that an executable or library names, and the newest glibc that it asks for. */
export async function needsOf(
  path: string,
): Promise<{ libraries: string[]; glibc: string }> {
  const text = await capture(["readelf", "-W", "-d", "-V", path]);
  const libraries = Array.from(
    text.matchAll(/\(NEEDED\).*\[(.*)\]/g),
    ([, name]) => name,
  );
  const versions = Array.from(
    text.matchAll(/\bGLIBC_(\d+(?:\.\d+)+)\b/g),
    ([, version]) => version,
  );
  return { libraries, glibc: versions.reduce(newer, "0") };
}

export function newer(a: string, b: string): string {
  return a.localeCompare(b, "en", { numeric: true }) < 0 ? b : a;
}

/** The newest glibc that all of them ask for. Throws if one needs a library that is neither glibc's nor inside. */
export async function checkNeeds(
  parts: Record<string, { path: string; mayName: readonly string[] }>,
): Promise<string> {
  let glibc = "0";
  for (const [name, { path, mayName }] of Object.entries(parts)) {
    const needs = await needsOf(path);
    glibc = newer(glibc, needs.glibc);
    const others = needs.libraries.filter((library) =>
      !GLIBC.test(library) && !mayName.includes(library)
    );
    if (others.length > 0) {
      throw new Error(
        `${name} needs ${others.join(", ")}, which not every system has`,
      );
    }
  }
  return glibc;
}

// ---- Its parts

async function launcher(temp: string): Promise<Uint8Array> {
  const out = `${temp}/launcher`;
  const flags = "-std=gnu11 -O2 -Wall -Wextra -Werror -static-pie -s".split(
    " ",
  );
  await capture([
    "cc",
    ...flags,
    "-o",
    out,
    `${ROOT}/native/launcher/launcher.c`,
  ]);
  return await Deno.readFile(out);
}

async function libgcc(): Promise<string> {
  const path = (await capture(["cc", "-print-file-name=libgcc_s.so.1"])).trim();
  if (!path.startsWith("/")) {
    throw new Error("cc does not know where libgcc_s.so.1 lies");
  }
  return path;
}

const BUNDLE = ["bundle", "--quiet", "--platform=deno", "--format=esm"];
const EXTERNAL = ["hono", "hono/*", "sluice"];

async function bundle(
  entries: string[],
  flags: readonly string[],
  out: string,
): Promise<void> {
  await capture([
    Deno.execPath(),
    ...BUNDLE,
    ...flags,
    "--code-splitting",
    `--outdir=${out}`,
    ...entries,
  ], { env: { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" } });
}

async function filesOf(folder: string): Promise<Packed[]> {
  const files: Packed[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) {
      const inside = await filesOf(path);
      files.push(
        ...inside.map((file) => ({ ...file, path: `${name}/${file.path}` })),
      );
    } else files.push({ path: name, bytes: await Deno.readFile(path) });
  }
  return files.sort((a, b) => a.path < b.path ? -1 : 1);
}

// What the sources say for `deno task`, and what stands instead of it in the binary. Each must be there: a change of the sources is noticed here.
const REWRITES: [from: string, to: string][] = [
  [`"./isolate.ts"`, `"./isolate.js"`],
  ["deno task start gateway", "sluice"],
  ["deno task explain", "sluice explain"],
  [
    "Make it with \\`deno task build\\`, or name another file in SLUICE_LIBRARY",
    "Name another place for it in SLUICE_CACHE",
  ],
];

export function rewrite(files: readonly Packed[]): Packed[] {
  const missing = new Set(REWRITES.map(([from]) => from));
  const rewritten = files.map(({ path, bytes }) => {
    let text = new TextDecoder().decode(bytes);
    for (const [from, to] of REWRITES) {
      if (text.includes(from)) missing.delete(from);
      text = text.replaceAll(from, to);
    }
    return { path, bytes: new TextEncoder().encode(text) };
  });
  if (missing.size > 0) {
    throw new Error(
      `the bundle does not say ${
        [...missing].join(", ")
      }: see REWRITES in tools/compile.ts`,
    );
  }
  return rewritten;
}

// gateway/main.js and explain_command.js, and what they share with the isolates and with `sluice`, all in one folder: each finds the others beside it.
async function gatewayFiles(temp: string): Promise<Packed[]> {
  const out = `${temp}/gateway`;
  const entries = [
    "gateway/main.ts",
    "gateway/isolate.ts",
    "gateway/explain_command.ts",
    "mod.ts",
  ];
  await bundle(entries.map((path) => `${ROOT}/${path}`), [
    ...productFlags(),
    ...EXTERNAL.slice(0, 2).map((name) => `--external=${name}`),
  ], out);
  const files = (await filesOf(out)).map(({ path, bytes }) => {
    const text = new TextDecoder().decode(bytes)
      .replaceAll('"../chunk-', '"./chunk-');
    return {
      path: path.replace(/^.*\//, ""),
      bytes: new TextEncoder().encode(text),
    };
  });
  return rewrite(files).map((file) => ({
    ...file,
    path: `gateway/${file.path}`,
  }));
}

async function stdFiles(temp: string): Promise<Packed[]> {
  const out = `${temp}/std`;
  const names = (await filesUnder("tools/std", (path) => path.endsWith(".ts")))
    .map((path) => `${ROOT}/${path}`);
  await bundle(names, productFlags(), out);
  return (await filesOf(out)).map((file) => ({
    ...file,
    path: `std/${file.path}`,
  }));
}

/** hono's modules as its package has them, and its names. */
async function honoPackage(): Promise<
  { files: Packed[]; names: Record<string, string> }
> {
  const names = await honoFiles();
  const root = fromFileUrl(new URL("..", names.hono));
  const files = (await filesOf(root)).filter(({ path }) =>
    path === "LICENSE" ||
    /^dist\/.*\.js$/.test(path) && !/^dist\/(cjs|types)\//.test(path)
  );
  return {
    files: files.map((file) => ({ ...file, path: `hono/${file.path}` })),
    names: Object.fromEntries(
      Object.entries(names).map((
        [name, url],
      ) => [name, `./hono/${fromFileUrl(url).slice(root.length)}`]),
    ),
  };
}

async function importMap(hono: Record<string, string>): Promise<Packed> {
  const { imports } = JSON.parse(await Deno.readTextFile(OFFLINE_MAP)) as {
    imports: Record<string, string>;
  };
  const std = Object.entries(imports)
    .filter(([name]) => name.startsWith("@std/"))
    .map(([name, target]) => [
      name,
      target.replace(/^\.\/(.*)\.ts$/, "./std/$1.js"),
    ]);
  const all = {
    ...Object.fromEntries(std),
    ...hono,
    sluice: "./gateway/mod.js",
  };
  return {
    path: "import_map.json",
    bytes: new TextEncoder().encode(JSON.stringify({ imports: all }, null, 1)),
  };
}

async function moduleFiles(path: string, temp: string): Promise<Packed[]> {
  const flags = `${temp}/flags`;
  await Deno.mkdir(flags);
  await bundle([path], [
    ...await moduleFlags(path, flags),
    ...EXTERNAL.map((name) => `--external=${name}`),
  ], `${temp}/module`);
  return (await filesOf(`${temp}/module`)).map((file) => ({
    ...file,
    path: `module/${file.path}`,
  }));
}

async function bootScript(temp: string): Promise<Uint8Array> {
  const out = `${temp}/boot`;
  await bundle([`${ROOT}/tools/boot.ts`], [...productFlags(), "--minify"], out);
  return await Deno.readFile(`${out}/boot.js`);
}

export interface Compiled {
  path: string;
  bytes: number;
  glibc: string;
  denoSha256: string;
}

export async function compile(options: CompileOptions = {}): Promise<Compiled> {
  const { permissions = [], log = () => {} } = options;
  const out = options.out ?? `${ROOT}/dist/sluice`;
  const module = options.module;
  if (module && !await exists(module)) {
    throw new Error(`there is no ${module} to put inside`);
  }
  await build({ log: (line) => log(`build: ${line}`) });
  const temp = await Deno.makeTempDir({ prefix: "sluice-compile-" });
  try {
    const libgccPath = await libgcc();
    const launcherBytes = await launcher(temp);
    const glibc = await checkNeeds({
      "the library": { path: LIBRARY, mayName: [] },
      "libgcc_s.so.1": { path: libgccPath, mayName: [] },
      "the launcher": { path: `${temp}/launcher`, mayName: [] },
      "Deno": { path: Deno.execPath(), mayName: BROUGHT },
    });
    const library = `${temp}/libsluice_ffi.so`;
    await capture(["strip", "--strip-debug", "-o", library, LIBRARY]);
    const hono = await honoPackage();
    const own = module ? await moduleFiles(module, temp) : [];
    const files: Packed[] = [
      { path: "libsluice_ffi.so", bytes: await Deno.readFile(library) },
      { path: "deno.lock", bytes: await Deno.readFile(PRODUCT_LOCK) },
      await importMap(hono.names),
      ...await gatewayFiles(temp),
      ...await stdFiles(temp),
      ...hono.files,
      ...own,
    ];
    const entry = module &&
      `module/${module.replace(/^.*\//, "").replace(/\.[^.]*$/, ".js")}`;
    if (entry && !own.some(({ path }) => path === entry)) {
      throw new Error(`the bundle of ${module} has no ${entry}`);
    }
    const deno = await Deno.readFile(Deno.execPath());
    const whole = pack({
      launcher: launcherBytes,
      deno,
      boot: await bootScript(temp),
      libgcc: await Deno.readFile(libgccPath),
      archive: await archiveOf(files, { module: entry, permissions }),
    });
    await Deno.mkdir(out.replace(/\/[^/]*$/, "") || "/", { recursive: true });
    // In one step: a process that runs the old file keeps it.
    await Deno.writeFile(`${out}.partial`, whole, { mode: 0o755 });
    await Deno.rename(`${out}.partial`, out);
    return {
      path: out,
      bytes: whole.length,
      glibc,
      denoSha256: await sha256(deno),
    };
  } finally {
    await Deno.remove(temp, { recursive: true });
  }
}

// ---- How long it takes to start

/** Milliseconds from its start to "sluice: ready", the first time (nothing unpacked) and again. */
export async function startTimes(
  path: string,
): Promise<{ coldMs: number; warmMs: number }> {
  const cache = await Deno.makeTempDir({ prefix: "sluice-start-" });
  try {
    const coldMs = await startOnce(path, cache);
    return { coldMs, warmMs: await startOnce(path, cache) };
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
}

async function startOnce(path: string, cache: string): Promise<number> {
  const started = performance.now();
  const child = new Deno.Command(path, {
    args: ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"],
    cwd: cache,
    env: { SLUICE_CACHE: cache, DENO_DIR: `${cache}/deno` },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let text = "", ms = 0;
  for await (const part of child.stderr.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (ms === 0 && /^sluice: ready/m.test(text)) {
      ms = performance.now() - started;
      child.kill("SIGTERM");
    }
  }
  await child.status;
  if (ms === 0) throw new Error(`it does not start:\n${text}`);
  return ms;
}

async function main(args: string[]): Promise<number> {
  const options: CompileOptions = { permissions: [] };
  const folder = userFolder();
  for (let i = 0; i < args.length; i++) {
    const [name, inline] = args[i].split(/=(.*)/s);
    if (/^--(allow|deny)-/.test(name)) options.permissions!.push(args[i]);
    else if (name === "--module" || name === "--out") {
      const value = inline ?? args[++i];
      if (!value) throw new Error(`${name} needs a file`);
      options[name === "--module" ? "module" : "out"] = value.startsWith("/")
        ? value
        : `${folder}/${value}`;
    } else {
      console.error(
        `compile: there is no option ${
          args[i]
        }\nusage: deno task compile [--module FILE] [--out FILE] [--allow-...]`,
      );
      return 2;
    }
  }
  const log = (line: string) => console.error(`compile: ${line}`);
  const { path, bytes, glibc, denoSha256 } = await compile({ ...options, log });
  log(
    `packed with Deno ${Deno.version.deno} inside (sha256 ${denoSha256}), not by \`deno compile\``,
  );
  log(`needs glibc ${glibc} or later, and no other library`);
  if (options.module) log(`runs ${options.module}, which is inside`);
  else {
    const { coldMs, warmMs } = await startTimes(path);
    log(
      `ready in ${coldMs.toFixed(0)} ms the first time, ${
        warmMs.toFixed(0)
      } ms then`,
    );
  }
  const shown = path.startsWith(`${folder}/`)
    ? path.slice(folder.length + 1)
    : path;
  log(`${shown}: ${(bytes / 1e6).toFixed(1)} MB`);
  return 0;
}

if (import.meta.main) {
  Deno.exit(
    await main(Deno.args).catch((error) => {
      console.error(`compile: ${failureText(error)}`);
      return 1;
    }),
  );
}
