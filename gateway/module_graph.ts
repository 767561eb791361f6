/**
 * The files that a module is made of, and when they change. Read from the sources, because no permission to run `deno info` is needed for that:
 * each specifier that stands in an import, export or require as a string. One too many costs a look at a file; one that is computed at run time
 * is not seen.
 *
 * @module
 */

/** What names resolve to, as in an import map file. */
export interface ImportMap {
  imports?: Record<string, string>;
  scopes?: Record<string, Record<string, string>>;
}

/** The files of a module as they are now. */
export interface ModuleGraph {
  /** Their paths; some may not exist. */
  files: Set<string>;
  /** Of names and contents of all files: equal only if nothing has changed. */
  sum: string;
}

const SPECIFIER =
  /\b(?:from|import|require)\s*\(?\s*(?:"([^"\n]+)"|'([^'\n]+)'|`([^`$\n]+)`)/g;
const SOURCE = /\.(?:[cm]?[jt]s|[jt]sx)$/;
const FILES_MAX = 10_000;

// Packages change by being installed, and this gateway by being updated: for both it is started again.
const OURS = new URL("..", import.meta.url).href;
function isWatched(url: string): boolean {
  if (!url.startsWith("file:") || url.includes("/node_modules/")) return false;
  return !url.startsWith(OURS) ||
    !/^(?:gateway|ffi|tls|tools\/std)\/|^mod\.ts$/.test(url.slice(OURS.length));
}

/** Reads the graph of the module at `entry`, a file URL. */
export async function readGraph(
  entry: string,
  map: ImportMap = {},
): Promise<ModuleGraph> {
  const contents = new Map<string, Uint8Array<ArrayBuffer> | undefined>();
  const left = [entry];
  for (let url = left.pop(); url !== undefined; url = left.pop()) {
    if (contents.has(url) || contents.size === FILES_MAX) continue;
    const bytes = await Deno.readFile(new URL(url)).catch(() => undefined);
    contents.set(url, bytes);
    if (!bytes || !SOURCE.test(url)) continue;
    left.push(...importsOf(new TextDecoder().decode(bytes), url, map));
  }
  const urls = [...contents.keys()].sort();
  const sums = await Promise.all(
    urls.map(async (url) => `${url} ${await digest(contents.get(url))}`),
  );
  return {
    files: new Set(
      urls.map((url) => decodeURIComponent(new URL(url).pathname)),
    ),
    sum: await digest(new TextEncoder().encode(sums.join("\n"))),
  };
}

async function digest(
  bytes: Uint8Array<ArrayBuffer> | undefined,
): Promise<string> {
  if (!bytes) return "none";
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The URLs of the files that a source imports, as far as they are watched. */
export function importsOf(
  source: string,
  referrer: string,
  map: ImportMap = {},
): string[] {
  const urls = Array.from(
    source.matchAll(SPECIFIER),
    ([, a, b, c]) => resolve(a ?? b ?? c, referrer, map),
  );
  return [...new Set(urls)].filter((url) => url !== undefined && isWatched(url))
    .map((url) => url!.replace(/[?#].*$/, ""));
}

function resolve(
  name: string,
  referrer: string,
  map: ImportMap,
): string | undefined {
  const isPath = /^\.{0,2}\//.test(name);
  const scopes = Object.keys(map.scopes ?? {})
    .filter((scope) => referrer.startsWith(scope))
    .sort((a, b) => b.length - a.length);
  const tables = [...scopes.map((scope) => map.scopes![scope]), map.imports];
  const url = isPath ? new URL(name, referrer).href : name;
  for (const table of tables) {
    const target = table && lookUp(url, table);
    if (target !== undefined) return target;
  }
  return isPath || URL.canParse(name) ? url : undefined;
}

function lookUp(
  name: string,
  table: Record<string, string>,
): string | undefined {
  if (name in table) return table[name];
  const prefix = Object.keys(table)
    .filter((key) => key.endsWith("/") && name.startsWith(key))
    .sort((a, b) => b.length - a.length)[0];
  return prefix && table[prefix] + name.slice(prefix.length);
}

// ---- Changes

// An editor may write a file in several steps, or several files: what comes within this is one change.
const SETTLE_MS = 15;
const SETTLE_MAX_MS = 200;
// Of another file beside them: perhaps the target of a symbolic link, more often nothing of ours.
const OTHER_FILE_MS = 250;

/** Tells that files may have changed: of the folders that they lie in, since editors replace files by others of the same name. */
export class FileWatcher {
  #onChange: () => void;
  #files = new Set<string>();
  #folders = "";
  #watcher: Deno.FsWatcher | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #since = 0;

  /** `onChange` is called when nothing more has come for a moment. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** Watches these files from now on; what has changed before is for the caller to find. */
  async watch(files: Set<string>): Promise<void> {
    const folders = await foldersOf(files);
    this.#files = files;
    const key = folders.join("\n");
    if (key === this.#folders) return;
    const before = this.#watcher;
    this.#watcher = Deno.watchFs(folders, { recursive: false });
    this.#folders = key;
    before?.close();
    this.#listen(this.#watcher);
  }

  async #listen(watcher: Deno.FsWatcher): Promise<void> {
    for await (const { kind, paths } of watcher) {
      if (kind === "access") continue; // we read them ourselves
      this.#settle(paths.some((path) => this.#files.has(path)));
    }
  }

  #settle(isOurs: boolean): void {
    const now = performance.now();
    if (this.#timer === undefined) this.#since = now;
    else if (!isOurs) return; // something is waiting already
    clearTimeout(this.#timer);
    const left = Math.max(0, this.#since + SETTLE_MAX_MS - now);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#onChange();
    }, isOurs ? Math.min(SETTLE_MS, left) : OTHER_FILE_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#watcher?.close();
  }
}

// Those that exist; of a file that is a link also the one that it points into.
async function foldersOf(files: Set<string>): Promise<string[]> {
  const folders = new Set<string>();
  for (const file of files) {
    for (const path of [file, await Deno.realPath(file).catch(() => file)]) {
      const folder = path.slice(0, path.lastIndexOf("/")) || "/";
      if (await isFolder(folder)) folders.add(folder);
    }
  }
  return [...folders].sort();
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch {
    return false;
  }
}
