// What the words after `deno task start gateway` ask of Deno and of gateway/main.ts, and those after `deno task explain`: for tools/start.ts and
// tools/explain.ts, and for the packed binary (tools/boot.ts).

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { exists } from "./support.ts";

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

/** The MODULE of `explain [MODULE] [METHOD URL]`: an odd number of words begins with it. What is wrong with others is gateway/explain_command.ts's to say. */
export function explainedModule(words: readonly string[]): string | undefined {
  const plain = words.filter((word, i) =>
    !word.startsWith("-") && !/^(--header|-H)$/.test(words[i - 1] ?? "")
  );
  return plain.length % 2 === 1 ? plain[0] : undefined;
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
