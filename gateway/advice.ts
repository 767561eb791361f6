/**
 * What to type next after a start that failed: the words that the user typed, with what was wrong in them changed.
 *
 * @module
 */
import { type GatewayError, nearest } from "./errors.ts";
import type { CheckedOptions, ListenerOptions } from "./options.ts";

/** What was typed, and what it meant, as far as the start came. */
export interface Attempt {
  /** Behind `deno task start gateway`. */
  words: readonly string[];
  options?: Pick<CheckedOptions, "listeners">;
}

/** The words of `SLUICE_WORDS`, where tools/start.ts or the packed binary has put those that it does not pass on, too; else main's own. */
export function typedWords(
  given: string | undefined,
  own: readonly string[],
): readonly string[] {
  return given ? JSON.parse(given) : own;
}

/** The next step after an error of the gateway, if there is one to name. */
export function adviceFor(
  { kind, message }: GatewayError,
  attempt: Attempt,
): string | undefined {
  if (kind === "address_in_use") {
    return `Stop that process, or take another address: ${
      elsewhere(message, attempt, (host) => `${host}:0`)
    }`;
  }
  if (/^listen on .*: Permission denied$/.test(message)) {
    return `This user may not listen there; ports from 1024 on are free to all: ${
      elsewhere(message, attempt, (host, port) => `${host}:${8000 + port}`)
    }`;
  }
  if (/^listen on .*: Cannot assign requested address$/.test(message)) {
    return `Take an address that this machine has (ip addr), or all of them: ${
      elsewhere(message, attempt, (_, port) => `0.0.0.0:${port}`)
    }`;
  }
  if (kind === "io_unavailable") {
    return `Let the gateway choose: ${
      command([...without(attempt.words, ["--io"]), "--io", "auto"])
    }`;
  }
  if (kind === "tls_config") return certificateAdvice(message, attempt);
  return undefined;
}

/** The command that gives a module a permission that it lacks. */
export function withPermission(
  { words }: Attempt,
  permission: string,
): string {
  return `Give it that permission: ${command([...words, permission])}`;
}

/** What to say of a MODULE that is no file, and one of the words: `folder` is the user's, `path` where the module would lie. */
export async function noModule(
  module: string,
  words: readonly string[],
  folder: string,
  path: string,
): Promise<string> {
  if (await Deno.stat(path).then((it) => it.isDirectory, () => false)) {
    return `Cannot load ${module}: it is a folder.\n${NAME_A_FILE}`;
  }
  const at = module.lastIndexOf("/") + 1;
  const meant = nearest(module.slice(at), await modulesBeside(path));
  return `Cannot load ${module}: there is no such file in ${folder}.\n${
    meant
      ? `Did you mean: ${
        command(
          words.map((word) =>
            word === module ? module.slice(0, at) + meant : word
          ),
        )
      }`
      : NAME_A_FILE
  }`;
}

const NAME_A_FILE =
  "Name a file that exports a Hono app or a gateway, or none for the welcome page: deno task start gateway";

async function modulesBeside(path: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (
      const { name } of Deno.readDir(path.slice(0, path.lastIndexOf("/")))
    ) if (/\.[mc]?[jt]sx?$/.test(name)) names.push(name);
  } catch {
    // There is no such folder.
  }
  return names.sort();
}

/** The command that shows what becomes of each request. */
export function withLog({ words }: Attempt): string {
  const log = command([...without(words, ["--log"]), "--log", "text"]);
  return `Each with its reason: ${log}`;
}

// ---- Addresses

// The command with the listener that failed at another address.
function elsewhere(
  message: string,
  { words, options }: Attempt,
  other: (host: string, port: number) => string,
): string {
  const listeners = (options?.listeners ?? []).map((listener) => {
    const { address } = listener;
    if (!message.startsWith(`listen on ${address}: `)) return listener;
    const colon = address.lastIndexOf(":");
    const port = Number(address.slice(colon + 1));
    return { ...listener, address: other(address.slice(0, colon), port) };
  });
  return command(withListeners(words, listeners));
}

const ADDRESSES = ["--http", "--https"];
const CERTIFICATES = ["--cert", "--key"];

// The flags replace all listeners of a module, so all are named.
function withListeners(
  words: readonly string[],
  listeners: readonly ListenerOptions[],
): string[] {
  return [
    ...without(words, ADDRESSES),
    ...listeners.flatMap(({ address, tls }) => [
      tls ? "--https" : "--http",
      address,
    ]),
  ];
}

// ---- Certificates

const PLACE = /^listeners\[(\d+)\]\.tls\.certificates\[(\d+)\]/;

function certificateAdvice(
  message: string,
  { words, options }: Attempt,
): string | undefined {
  const [, i, j] = PLACE.exec(message) ?? [];
  const listener = options?.listeners[Number(i)];
  const pair = listener?.tls?.certificates[Number(j)];
  if (!options || !pair) return undefined;
  if (/^[^ ]*\.(cert|key): cannot read /.test(message)) {
    const local = command(
      withListeners(without(words, CERTIFICATES), options.listeners),
    );
    return `Name files that this user can read, or go on with a local certificate: ${local}`;
  }
  return `Look into the files: openssl x509 -noout -subject -dates -in ${
    fileOr(pair.cert, "CERT")
  }; openssl pkey -noout -check -in ${fileOr(pair.key, "KEY")}`;
}

function fileOr(pem: string, name: string): string {
  return pem.includes("-----BEGIN ") ? name : quoted(pem);
}

// ---- Words

// Without these options, each of which takes a value.
function without(words: readonly string[], options: string[]): string[] {
  return words.filter((word, i) =>
    !options.includes(word.split("=")[0]) && !options.includes(words[i - 1])
  );
}

function command(words: readonly string[]): string {
  return ["deno task start gateway", ...words.map(quoted)].join(" ");
}

function quoted(word: string): string {
  return /^[\w@%+=:,./[\]-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", `'\\''`)}'`;
}
