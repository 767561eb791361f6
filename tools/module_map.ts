// How a user's MODULE finds its dependencies although it lies outside of this repository.
//
// `hono`, `sluice` and the `@std/*` names that we serve resolve to ours everywhere. Whatever else the module imports resolves as its own
// project says, the nearest folder above it with a deno.json(c) or package.json: Deno by itself reads neither for a module that another
// program imports. So we write one import map in which that folder is a scope, and a configuration with its compiler options (JSX).
//
//   deno.json(c)                       its `imports`, and those of a workspace root above it
//   package.json and node_modules      Deno's own resolution in node_modules; then our hono must be named by file, because
//                                      Deno looks for every npm: name in one place only
//   package.json alone                 each dependency as npm:name@range
//
// Where only a package.json is, the project was written for bundlers and Node, whose modules name each other without extensions: so may it.

import { fileURLToPath as fromFileUrl, pathToFileURL } from "node:url";
import { OFFLINE_MAP, PRODUCT_LOCK, productFlags } from "./std.ts";
import { capture, exists, readOr } from "./support.ts";

export type Names = Record<string, string>;
type Options = Record<string, unknown>;

// A gateway is a Hono app, so its JSX is Hono's unless the project says otherwise.
const JSX: Options = { jsx: "react-jsx", jsxImportSource: "hono/jsx" };

export interface ImportMap {
  imports: Names;
  scopes: Record<string, Names>;
}

interface Project {
  folder: string;
  names: Names;
  compilerOptions?: Options;
  nodeModules: boolean;
  /** `./other` is `./other.ts`, and `./folder` its index. */
  sloppyImports: boolean;
  lock?: string;
}

/** Where our own names lie: in this repository, or in what the packed binary has unpacked. */
export interface Home {
  /** With absolute targets. `byFile`: nothing of it is npm's. */
  names: (byFile: boolean) => Promise<Names>;
  /** The lock file of what is. */
  lock: string;
}

const REPOSITORY: Home = { names: ourNames, lock: PRODUCT_LOCK };

/** Flags for `deno run` so that the module at `path` finds what it imports. Files are written to `temp`, which must outlive the run. */
export async function moduleFlags(
  path: string,
  temp: string,
  home: Home = REPOSITORY,
): Promise<string[]> {
  const project = await projectOf(path);
  const map = importMap(project, await home.names(project.nodeModules));
  const files = {
    map: `${temp}/import_map.json`,
    config: `${temp}/deno.json`,
    lock: `${temp}/deno.lock`,
  };
  await Deno.writeTextFile(files.map, JSON.stringify(map, null, 2));
  await Deno.writeTextFile(
    files.config,
    JSON.stringify({
      compilerOptions: project.compilerOptions?.jsx
        ? project.compilerOptions
        : { ...JSX, ...project.compilerOptions },
    }),
  );
  await Deno.writeTextFile(
    files.lock,
    await mergedLock(home.lock, project.lock),
  );
  // Not --frozen: the module's dependencies are its own affair. Ours stay pinned, because the lock starts with them.
  const flags = [
    `--config=${files.config}`,
    `--import-map=${files.map}`,
    `--lock=${files.lock}`,
  ];
  if (project.sloppyImports) flags.push("--sloppy-imports");
  return project.nodeModules ? [...flags, "--node-modules-dir=manual"] : flags;
}

/** The nearest folder at or above the module's with a deno.json(c) or package.json, and what it says. */
export async function projectOf(path: string): Promise<Project> {
  const start = dirname(path);
  for (const folder of upwards(start)) {
    const config = await readConfig(folder);
    const manifest = await readJson(`${folder}/package.json`);
    if (!config && !manifest) continue;
    const dependencies = {
      ...manifest?.devDependencies,
      ...manifest?.dependencies,
    } as Names;
    const nodeModules = Object.keys(dependencies).length > 0 &&
      await hasNodeModules(folder);
    const fromManifest = nodeModules ? {} : npmNames(dependencies);
    const lock = `${folder}/deno.lock`;
    return {
      folder,
      names: {
        ...fromManifest,
        ...await workspaceNames(folder),
        ...await configNames(config, folder),
      },
      compilerOptions: config?.compilerOptions ??
        await tsconfigOptions(folder),
      nodeModules,
      sloppyImports: config
        ? config.unstable?.includes("sloppy-imports") ?? false
        : true,
      lock: await exists(lock) ? lock : undefined,
    };
  }
  return {
    folder: start,
    names: {},
    nodeModules: false,
    sloppyImports: false,
  };
}

function importMap(project: Project, ours: Names): ImportMap {
  const theirs = Object.entries(project.names).filter(([name]) =>
    !isOurs(name, ours)
  );
  return {
    imports: ours,
    scopes: { [`${fileUrl(project.folder)}/`]: Object.fromEntries(theirs) },
  };
}

/** Whether a bare name is served by this gateway in every module. */
export function isOurs(name: string, ours: Names): boolean {
  return /^(hono|sluice)(\/|$)/.test(name) || name in ours ||
    name.replace(/\/$/, "") in ours;
}

// Our names with absolute targets.
async function ourNames(byFile: boolean): Promise<Names> {
  const { imports } = JSON.parse(await Deno.readTextFile(OFFLINE_MAP)) as {
    imports: Names;
  };
  const base = fileUrl(OFFLINE_MAP);
  const names = absolute(imports, base);
  return byFile ? { ...withoutNpm(names), ...await honoFiles() } : names;
}

/** Targets that are relative to `base` as URLs. */
export function absolute(names: Names, base: string | URL): Names {
  return Object.fromEntries(
    Object.entries(names).map((
      [name, target],
    ) => [name, target.startsWith(".") ? new URL(target, base).href : target]),
  );
}

/** What can be had without a registry. */
export function withoutNpm(names: Names): Names {
  return Object.fromEntries(
    Object.entries(names).filter(([, target]) => !target.startsWith("npm:")),
  );
}

/** Every export of hono by the file that it lies in, in Deno's cache. */
export async function honoFiles(): Promise<Names> {
  const main = (await capture([
    Deno.execPath(),
    "eval",
    ...productFlags(),
    `console.log(import.meta.resolve("hono"))`,
  ])).trim();
  const root = new URL("..", main);
  const manifest = JSON.parse(
    await Deno.readTextFile(new URL("package.json", root)),
  );
  const names: Names = {};
  for (
    const [key, target] of Object.entries(
      manifest.exports as Record<string, { import?: string }>,
    )
  ) {
    if (target.import) {
      Object.assign(names, await exportNames(key, target.import, root));
    }
  }
  return names;
}

// "./cors" is one file; "./utils/*" is one for each that fits "./dist/utils/*.js".
async function exportNames(
  key: string,
  target: string,
  root: URL,
): Promise<Names> {
  const name = key.replace(/^\./, "hono");
  if (!key.includes("*")) return { [name]: new URL(target, root).href };
  const [before, after] = target.split("*");
  const folder = new URL(before, root);
  const names: Names = {};
  for await (const { name: file, isFile } of Deno.readDir(folder)) {
    if (isFile && file.endsWith(after)) {
      names[name.replace("*", file.slice(0, -after.length))] =
        new URL(file, folder).href;
    }
  }
  return names;
}

async function configNames(
  config: Config | undefined,
  folder: string,
): Promise<Names> {
  if (!config) return {};
  // `importMap` names a file that holds what `imports` would.
  const file = config.importMap
    ? new URL(config.importMap, `${fileUrl(folder)}/`)
    : undefined;
  const imports = file
    ? (await readJson(fromFileUrl(file)))?.imports
    : config.imports;
  const base = file ?? `${fileUrl(folder)}/`;
  const names: Names = {};
  for (const [name, target] of Object.entries((imports ?? {}) as Names)) {
    names[name] = /^\.{0,2}\//.test(target)
      ? new URL(target, base).href
      : target;
    // As Deno does for its own configuration: a package also serves its subpaths.
    const scheme = target.match(/^(npm|jsr):\/?(?=[^/])/);
    if (scheme && !name.endsWith("/") && !(`${name}/` in (imports as Names))) {
      names[`${name}/`] = `${scheme[1]}:/${target.slice(scheme[0].length)}/`;
    }
  }
  return names;
}

// What of tsconfig.json changes the JavaScript that comes out.
async function tsconfigOptions(folder: string): Promise<Options | undefined> {
  const all = (await readJson(`${folder}/tsconfig.json`))?.compilerOptions;
  const names = [
    "jsx",
    "jsxImportSource",
    "jsxFactory",
    "jsxFragmentFactory",
    "experimentalDecorators",
  ];
  const wanted = names.filter((name) => all && name in all);
  return wanted.length
    ? Object.fromEntries(wanted.map((name) => [name, all[name]]))
    : undefined;
}

// A workspace member inherits the imports of its root.
async function workspaceNames(folder: string): Promise<Names> {
  for (const above of upwards(folder).slice(1)) {
    const config = await readConfig(above);
    if (config?.workspace) return await configNames(config, above);
  }
  return {};
}

function npmNames(dependencies: Names): Names {
  const names: Names = {};
  for (const [name, range] of Object.entries(dependencies)) {
    // "file:", "link:" and "workspace:" need a node_modules folder.
    if (/^(file|link|workspace|git|https?):/.test(range)) continue;
    const target = range.startsWith("npm:")
      ? range.slice(4)
      : `${name}@${range}`;
    names[name] = `npm:${target}`;
    names[`${name}/`] = `npm:/${target}/`;
  }
  return names;
}

async function hasNodeModules(folder: string): Promise<boolean> {
  for (const above of upwards(folder)) {
    if (await exists(`${above}/node_modules`)) return true;
  }
  return false;
}

// Ours win: what a gateway runs on is what was tested with it.
async function mergedLock(
  path: string,
  theirs: string | undefined,
): Promise<string> {
  const ours = await Deno.readTextFile(path);
  const other = theirs ? await readJson(theirs) : undefined;
  const lock = JSON.parse(ours);
  if (!other || other.version !== lock.version) return ours;
  for (const part of ["specifiers", "jsr", "npm", "redirects", "remote"]) {
    if (lock[part] || other[part]) {
      lock[part] = { ...other[part], ...lock[part] };
    }
  }
  return JSON.stringify(lock, null, 2);
}

interface Config {
  imports?: Names;
  importMap?: string;
  workspace?: unknown;
  unstable?: string[];
  compilerOptions?: Options;
}

async function readConfig(folder: string): Promise<Config | undefined> {
  return await readJson(`${folder}/deno.json`) ??
    await readJson(`${folder}/deno.jsonc`);
}

// deno-lint-ignore no-explicit-any -- any JSON; each reader checks what it takes
async function readJson(path: string): Promise<any> {
  const text = await readOr(path, "");
  if (!text) return undefined;
  try {
    return JSON.parse(stripComments(text));
  } catch (cause) {
    throw new Error(`Cannot read ${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** JSON of JSON with comments and trailing commas; strings are left alone. */
export function stripComments(text: string): string {
  const string = `"(?:\\\\.|[^"\\\\])*"`;
  return text
    .replace(new RegExp(`(${string})|//[^\n]*|/\\*[^]*?\\*/`, "g"), "$1")
    .replace(new RegExp(`(${string})|,(?=\\s*[}\\]])`, "g"), "$1");
}

/** The folder and all above it, nearest first. */
function upwards(folder: string): string[] {
  const folders = [folder];
  for (let at = folder; at !== "/"; folders.push(at)) at = dirname(at);
  return folders;
}

function dirname(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

function fileUrl(path: string): string {
  return pathToFileURL(path).href.replace(/\/$/, "");
}
