// The first thing that the packed binary runs, in a process of its own: unpacks what the gateway needs as files into a private folder, and tells the
// launcher (native/launcher/launcher.c) with which words and environment the gateway, or `sluice explain`, starts.
//
//   $SLUICE_CACHE                      this place or none
//   $CACHE_DIRECTORY                   systemd's CacheDirectory=
//   ${XDG_CACHE_HOME:-~/.cache}/sluice
//   ${TMPDIR:-/tmp}/sluice-UID
//
// The folder there is named after the contents. It belongs to this user, nobody else may write to it, and each start compares the digest of all
// files in it with the one in the binary; what does not agree is unpacked again.

import { absolute, type Home, moduleFlags, withoutNpm } from "./module_map.ts";
import {
  concat,
  contentsOffset,
  type Manifest,
  readManifest,
  sha256,
} from "./pack.ts";
import {
  explainedModule,
  modulePath,
  parseArguments,
  permissionFlags,
  userFolder,
} from "./start_arguments.ts";
import { exists } from "./support.ts";

const LIBRARY = "libsluice_ffi.so";
const ID_CHARS = 16;
// What the launcher names where the environment names no place for Deno's cache.
const NO_DENO_DIR = "/dev/null/none";

/** Why a place does not do; the next one may. */
class Unfit extends Error {}
class BootError extends Error {}

interface Archive {
  manifest: Manifest;
  /** Names this state of everything. */
  id: string;
  /** All files, one after the other. */
  contents: () => Promise<Uint8Array>;
}

function readAt(path: string, off: number, len: number): Uint8Array {
  using file = Deno.openSync(path);
  file.seekSync(off, Deno.SeekMode.Start);
  const bytes = new Uint8Array(len);
  for (let done = 0; done < len;) {
    const got = file.readSync(bytes.subarray(done));
    if (got === null) throw new BootError(`${path} ends too early`);
    done += got;
  }
  return bytes;
}

async function readArchive(
  path: string,
  off: number,
  len: number,
): Promise<Archive> {
  const size = readAt(path, off, 4);
  const contentsAt = contentsOffset(size);
  const { manifest, text } = readManifest(readAt(path, off, contentsAt));
  const contents = async () => {
    const bytes = readAt(path, off + contentsAt, len - contentsAt);
    if (await sha256(bytes) === manifest.sha256) return bytes;
    throw new BootError(
      `${path} is damaged: its contents do not have the digest that it names. Copy it again.`,
    );
  };
  return { manifest, id: (await sha256(text)).slice(0, ID_CHARS), contents };
}

// ---- Where it is unpacked

function places(): string[] {
  const env = (name: string) => Deno.env.get(name) || undefined;
  const own = env("SLUICE_CACHE");
  if (own !== undefined) return [own];
  const home = env("XDG_CACHE_HOME") ??
    (env("HOME") && `${env("HOME")}/.cache`);
  return [
    env("CACHE_DIRECTORY")?.split(":")[0],
    home && `${home}/sluice`,
    `${env("TMPDIR") ?? "/tmp"}/sluice-${Deno.uid()}`,
  ].filter((place) => place !== undefined);
}

function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/^(.*?) \(os error \d+\).*$/s, "$1");
}

/** Makes the folder, if need be, and sees that nobody else can change what is in it. */
function claim(place: string): void {
  try {
    Deno.mkdirSync(place, { recursive: true, mode: 0o700 });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) {
      throw new Unfit(reasonOf(error));
    }
  }
  const { isDirectory, isSymlink, uid, mode } = Deno.lstatSync(place);
  if (isSymlink) throw new Unfit("it is a symbolic link");
  if (!isDirectory) throw new Unfit("it is no folder");
  if (uid !== Deno.uid()) throw new Unfit(`it belongs to user ${uid}`);
  if (mode! & 0o022) {
    throw new Unfit("others may write to it (chmod go-w)");
  }
}

/** Whether the files in a folder are those of the archive, bit by bit. */
async function isWhole(folder: string, manifest: Manifest): Promise<boolean> {
  const parts: Uint8Array[] = [];
  try {
    for (const [path, length] of manifest.files) {
      const bytes = Deno.readFileSync(`${folder}/${path}`);
      if (bytes.length !== length) return false;
      parts.push(bytes);
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
  return await sha256(concat(parts)) === manifest.sha256;
}

function write(folder: string, manifest: Manifest, contents: Uint8Array) {
  let at = 0;
  for (const [path, length] of manifest.files) {
    const file = `${folder}/${path}`;
    Deno.mkdirSync(file.slice(0, file.lastIndexOf("/")), {
      recursive: true,
      mode: 0o700,
    });
    Deno.writeFileSync(file, contents.subarray(at, at + length), {
      mode: 0o600,
    });
    at += length;
  }
}

// Whether code in it may run is for the kernel to say: the mount may forbid it.
function probe(folder: string): void {
  try {
    Deno.dlopen(`${folder}/${LIBRARY}`, {}).close();
  } catch (error) {
    const text = reasonOf(error).replaceAll("\n", " ");
    throw new Unfit(
      /failed to map|Operation not permitted/.test(text)
        ? "programs may not run from there (noexec)"
        : text,
    );
  }
}

async function unpackAt(place: string, archive: Archive): Promise<string> {
  claim(place);
  const folder = `${place}/${archive.id}`;
  if (await isWhole(folder, archive.manifest)) return folder;
  const contents = await archive.contents();
  const fresh = Deno.makeTempDirSync({ dir: place, prefix: ".unpacking-" });
  try {
    write(fresh, archive.manifest, contents);
    probe(fresh);
    replace(fresh, folder);
  } finally {
    if (await exists(fresh)) Deno.removeSync(fresh, { recursive: true });
  }
  // Somebody else's, if two starts met: then it is judged as any other.
  if (await isWhole(folder, archive.manifest)) return folder;
  throw new Unfit(`${folder} changes while it is unpacked`);
}

// A folder with other contents goes out of the way first; who has its files open keeps them.
function replace(fresh: string, folder: string): void {
  for (let tries = 0;; tries++) {
    try {
      return Deno.renameSync(fresh, folder);
    } catch (error) {
      if (tries === 2) throw error;
      try {
        const aside = `${fresh}-${tries}`;
        Deno.renameSync(folder, aside);
        Deno.removeSync(aside, { recursive: true });
      } catch (gone) {
        if (!(gone instanceof Deno.errors.NotFound)) throw gone;
      }
    }
  }
}

interface Unpacked {
  place: string;
  /** In the place, with the files of the archive. */
  folder: string;
}

async function unpack(archive: Archive): Promise<Unpacked> {
  const reasons: string[] = [];
  for (const place of places()) {
    try {
      return { place, folder: await unpackAt(place, archive) };
    } catch (error) {
      if (error instanceof BootError) throw error;
      reasons.push(`  ${place}: ${reasonOf(error)}`);
    }
  }
  const total = archive.manifest.files.reduce((sum, [, n]) => sum + n, 0);
  throw new BootError(
    `there is no place for ${
      (total / 1e6).toFixed(0)
    } MB of files that it needs beside it:\n${
      reasons.join("\n")
    }\nName a folder that this user can write to and run programs from: SLUICE_CACHE=/folder ${
      ["sluice", ...Deno.args.slice(3)].join(" ")
    }`,
  );
}

// ---- What the gateway starts with

function fileUrl(path: string): URL {
  return new URL(
    `file://${encodeURI(path).replace(/[?#]/g, encodeURIComponent)}`,
  );
}

function homeIn(folder: string): Home {
  const map = `${folder}/import_map.json`;
  const { imports } = JSON.parse(Deno.readTextFileSync(map));
  const names = absolute(imports, fileUrl(map));
  return {
    names: (byFile) => Promise.resolve(byFile ? withoutNpm(names) : names),
    lock: `${folder}/deno.lock`,
  };
}

// Files that flags name lie beside what was unpacked. Their folder is named after what they say, so that starts at the same time share it.
async function projectFlags(
  path: string,
  place: string,
  folder: string,
): Promise<{ flags: string[]; importMap: string }> {
  const fresh = Deno.makeTempDirSync({ dir: place, prefix: ".module-" });
  const flags = await moduleFlags(path, fresh, homeIn(folder));
  const texts = [...Deno.readDirSync(fresh)].map(({ name }) => name).sort()
    .map((name) => Deno.readFileSync(`${fresh}/${name}`));
  const id = (await sha256(concat(texts))).slice(0, ID_CHARS);
  const project = `${place}/module-${id}`;
  try {
    Deno.renameSync(fresh, project);
  } catch (error) {
    if (!await exists(project)) throw error;
    Deno.removeSync(fresh, { recursive: true });
  }
  return {
    flags: flags.map((flag) => flag.replace(fresh, project)),
    importMap: `${project}/import_map.json`,
  };
}

function hasCacheOfDeno(): boolean {
  return ["DENO_DIR", "XDG_CACHE_HOME", "HOME"].some((name) =>
    ![undefined, "", NO_DENO_DIR].includes(Deno.env.get(name))
  );
}

/** What Deno is to run: `=NAME=VALUE` for its environment, `+WORD` for each of its words. */
async function answer(archive: Archive, words: string[]): Promise<string[]> {
  const unpacked = await unpack(archive);
  const [first, ...others] = words;
  return first === "explain"
    ? await explainAnswer(archive, unpacked, others)
    : await gatewayAnswer(archive, unpacked, words);
}

async function gatewayAnswer(
  archive: Archive,
  { place, folder }: Unpacked,
  words: string[],
): Promise<string[]> {
  const { module: bundled, permissions } = archive.manifest;
  const given = parseArguments(words);
  const parsed = {
    ...given,
    permissions: [...permissions, ...given.permissions],
  };
  const gateway = [...parsed.gateway];
  const asksOnly = ["--help", "-h", "--version"].some((name) =>
    parsed.options.has(name)
  );
  const isBundled = bundled !== undefined && !given.module &&
    !given.options.has("--upstream") && !asksOnly;
  if (isBundled) gateway.unshift(`${folder}/${bundled}`);
  const path = asksOnly || isBundled ? undefined : await modulePath(parsed);
  const project = path && await exists(path)
    ? await projectFlags(path, place, folder)
    : undefined;
  const library = Deno.env.get("SLUICE_LIBRARY") || `${folder}/${LIBRARY}`;
  const env: Record<string, string> = {
    SLUICE_LIBRARY: library,
    SLUICE_IMPORT_MAP: project?.importMap ?? `${folder}/import_map.json`,
    SLUICE_WORDS: JSON.stringify(words),
  };
  if (parsed.permissions.some((word) => word.startsWith("--inspect"))) {
    env.SLUICE_DEBUG = "1";
  }
  return wordsOf(place, env, [
    ...project?.flags ?? ownFlags(folder),
    ...permissionFlags(parsed, library),
    `${folder}/gateway/main.js`,
    ...gateway,
  ]);
}

async function explainAnswer(
  archive: Archive,
  { place, folder }: Unpacked,
  words: string[],
): Promise<string[]> {
  const permissions = words.filter((word) => /^--(allow|deny)-/.test(word));
  const others = words.filter((word) => !permissions.includes(word));
  const { module: bundled, permissions: packed } = archive.manifest;
  const module = explainedModule(others);
  const path = bundled !== undefined && module === undefined
    ? `${folder}/${bundled}`
    : await modulePath({ module, options: new Map() });
  if (path && !await exists(path)) {
    throw new BootError(
      `there is no ${module} in ${userFolder()}\nusage: sluice explain [MODULE] [METHOD URL]`,
    );
  }
  const isOwn = path === undefined || path.startsWith(`${folder}/`);
  const flags = isOwn
    ? ownFlags(folder)
    : (await projectFlags(path, place, folder)).flags;
  const url = path ? fileUrl(path).href : module ?? "";
  return wordsOf(place, { SLUICE_MODULE: url }, [
    ...flags,
    ...["--allow-net", "--allow-read", "--allow-env", "--no-prompt"],
    ...packed,
    ...permissions,
    `${folder}/gateway/explain_command.js`,
    ...others,
  ]);
}

function ownFlags(folder: string): string[] {
  return ["--no-config", "--no-lock", `--import-map=${folder}/import_map.json`];
}

function wordsOf(
  place: string,
  own: Record<string, string>,
  words: string[],
): string[] {
  const env = { INIT_CWD: userFolder(), DENO_NO_UPDATE_CHECK: "1", ...own };
  const cache = hasCacheOfDeno() ? {} : { DENO_DIR: `${place}/deno` };
  return [
    ...Object.entries({ ...env, ...cache }).map(([name, value]) =>
      `=${name}=${value}`
    ),
    ...["run", ...words].map((word) => `+${word}`),
  ];
}

async function main([path, off, len, ...words]: string[]): Promise<void> {
  Deno.env.delete("INIT_CWD"); // of a task runner around us, perhaps
  try {
    const archive = await readArchive(path, Number(off), Number(len));
    const text = (await answer(archive, words)).map((word) => `${word}\0`)
      .join("");
    const bytes = new TextEncoder().encode(text);
    for (let done = 0; done < bytes.length;) {
      done += Deno.stdout.writeSync(bytes.subarray(done));
    }
  } catch (error) {
    console.error(`sluice: ${reasonOf(error)}`);
    Deno.exit(1);
  }
}

await main(Deno.args);
