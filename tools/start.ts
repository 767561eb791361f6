// `deno task start gateway [MODULE] [options]`: makes sure that the library is built, then runs gateway/main.ts with the permissions it needs
// and no more. Flags that begin with --allow-, --deny- or --inspect are Deno's and passed to it; all others are main.ts's.

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build, failureText } from "./build.ts";
import { moduleFlags } from "./module_map.ts";
import { productFlags } from "./std.ts";
import { exists, LIBRARY, ROOT } from "./support.ts";

// Options of main.ts that take a value: the word after them is not the MODULE.
const WITH_VALUE = new Set(
  [
    "http",
    "https",
    "cert",
    "key",
    "upstream",
    "workers",
    "isolates",
    "io",
    "log",
  ].map((name) => `--${name}`),
);
const SIGNALS: Deno.Signal[] = ["SIGTERM", "SIGINT", "SIGHUP"];
const SIGNAL_NUMBERS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGTERM: 15,
};

export interface StartArguments {
  /** For `deno run`. */
  permissions: string[];
  /** For gateway/main.ts, as typed. */
  gateway: string[];
  /** What the user wants to run; undefined for the embedded default. */
  module?: string;
  /** Options by name, those without a value as "". */
  options: Map<string, string>;
}

/** Sorts the words of the command line. Whether options exist is main.ts's to judge. */
export function parseArguments(args: string[]): StartArguments {
  const result: StartArguments = {
    permissions: [],
    gateway: [],
    options: new Map(),
  };
  for (let i = 0; i < args.length; i++) {
    const word = args[i];
    if (/^--(allow|deny)-|^--inspect(-brk|-wait)?(=|$)/.test(word)) {
      result.permissions.push(word);
      continue;
    }
    result.gateway.push(word);
    if (!word.startsWith("-")) {
      result.module ??= word;
      continue;
    }
    const [name, value] = word.split(/=(.*)/s);
    const takesNext = value === undefined && WITH_VALUE.has(name) &&
      i + 1 < args.length;
    if (takesNext) result.gateway.push(args[++i]);
    result.options.set(name, takesNext ? args[i] : value ?? "");
  }
  return result;
}

/** The folder where the user typed the command: `deno task` changes it. */
export function userFolder(): string {
  return Deno.env.get("INIT_CWD") || Deno.cwd();
}

/** The file that will be imported, if it is one that a project can belong to. */
export async function modulePath(
  { module, options }: Pick<StartArguments, "module" | "options">,
): Promise<string | undefined> {
  if (module?.startsWith("file:")) return fileURLToPath(module);
  if (module && /^[a-z]+:/.test(module)) return undefined;
  if (module) return resolve(userFolder(), module);
  const byConvention = `${userFolder()}/gateway.ts`;
  return !options.has("--upstream") && await exists(byConvention)
    ? byConvention
    : undefined;
}

/** The permissions of a gateway: net, read, env, and ffi for our library alone. */
export function permissionFlags(
  { options, permissions }: StartArguments,
  library: string,
): string[] {
  const state = Deno.env.get("XDG_STATE_HOME") ||
    `${Deno.env.get("HOME") || "/"}/.local/state`;
  // The local certificate is kept in one folder; with a certificate of the user's own nothing is written.
  const write = options.has("--cert") ? [] : [`--allow-write=${state}/sluice`];
  return [
    "--allow-net",
    "--allow-read",
    "--allow-env",
    `--allow-ffi=${library}`,
    ...write,
    "--no-prompt",
    ...permissions,
  ];
}

async function run(args: string[]): Promise<number> {
  const parsed = parseArguments(args);
  const asksOnly = parsed.options.has("--help") || parsed.options.has("-h") ||
    parsed.options.has("--version");
  const library = Deno.env.get("SLUICE_LIBRARY") || LIBRARY;
  if (!asksOnly && library === LIBRARY) {
    await build({ log: (line) => console.error(`build: ${line}`) });
  }
  const path = asksOnly ? undefined : await modulePath(parsed);
  const temp = path ? await Deno.makeTempDir({ prefix: "sluice-" }) : undefined;
  try {
    const flags = path && temp ? await moduleFlags(path, temp) : productFlags();
    return await runChild([
      "run",
      ...flags,
      ...permissionFlags(parsed, library),
      `${ROOT}/gateway/main.ts`,
      ...parsed.gateway,
    ], {
      ...temp ? { SLUICE_IMPORT_MAP: `${temp}/import_map.json` } : {},
      ...parsed.permissions.some((word) => word.startsWith("--inspect"))
        ? { SLUICE_DEBUG: "1" }
        : {},
    });
  } finally {
    if (temp) await Deno.remove(temp, { recursive: true });
  }
}

// Each signal that reaches us reaches the child once; a terminal's Ctrl-C also reaches it directly, and main.ts takes both as one.
async function runChild(
  args: string[],
  env: Record<string, string>,
): Promise<number> {
  const folder = userFolder();
  const child = new Deno.Command(Deno.execPath(), {
    args,
    cwd: folder,
    env: { INIT_CWD: folder, ...env },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  const forwards = SIGNALS.map((signal) => {
    const forward = () => {
      try {
        child.kill(signal);
      } catch {
        // It has ended meanwhile.
      }
    };
    Deno.addSignalListener(signal, forward);
    return () => Deno.removeSignalListener(signal, forward);
  });
  const { code, signal } = await child.status;
  for (const stop of forwards) stop();
  return signal ? 128 + (SIGNAL_NUMBERS[signal] ?? 0) : code;
}

const USAGE =
  "usage: deno task start gateway [MODULE] [options]     (options: deno task start gateway --help)";

async function main([what, ...args]: string[]): Promise<number> {
  if (what !== "gateway") {
    console.error(
      `start: ${
        what ? `"${what}" is not something to start` : "say what to start"
      }\n${USAGE}`,
    );
    return 2;
  }
  try {
    return await run(args);
  } catch (error) {
    console.error(`start: ${failureText(error)}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
