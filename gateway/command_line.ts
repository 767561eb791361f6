/**
 * The command line's words: what is asked for, or why it cannot be meant.
 *
 * @module
 */
import { nearest, show } from "./errors.ts";
import { addressProblem } from "./options.ts";
import { parseOrigin } from "./upstream.ts";

/** What the user typed. */
export interface Command {
  module?: string;
  http: string[];
  https: string[];
  /** One for each of `key`. */
  cert: string[];
  key: string[];
  upstream?: string;
  workers?: number;
  isolates?: number;
  io?: "auto" | "uring" | "epoll";
  log?: "off" | "text" | "json";
  /** Reload when the module's files change. */
  watch: boolean;
  help: boolean;
  version: boolean;
}

/** Words that make no command; `main` shows the message and exits with 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** What `--help` prints. */
export const HELP = `Sluice: an edge gateway that you program as a Hono app.

usage: deno task start gateway [MODULE] [options]

MODULE is a file whose default export is a gateway (defineGateway) or a Hono app.
Without it: gateway.ts of this folder, else a welcome page on 127.0.0.1:8080 and :8443.

  --http ADDR       listen for HTTP on ADDR: host:port, or a port on 127.0.0.1
  --https ADDR      listen for HTTPS on ADDR
  --cert FILE       a certificate chain for HTTPS, PEM (default: a local one, made here)
  --key FILE        its private key, PEM; of several pairs the server name (SNI) chooses
  --upstream URL    proxy everything to URL, without a MODULE
  --workers N       native threads, 1 to 64 (default: by CPUs and quota)
  --isolates N      V8 isolates for TypeScript routes, 1 to 16 (default: 1)
  --io KIND         auto, uring or epoll (default: auto; SLUICE_IO sets it too)
  --log FORM        one line per request: text, json or off (default: off)
  --watch           reload when MODULE or a file that it imports is saved
  --allow-...       a permission for MODULE, passed on to Deno
  --inspect[=ADDR]  let a debugger attach; passed on to Deno
  --help, --version

Options override what MODULE says. SIGTERM and Ctrl-C drain and exit; SIGHUP reloads
MODULE once.

examples:
  deno task start gateway
  deno task start gateway gateway.ts --http 0.0.0.0:80 --log text
  deno task start gateway --upstream http://127.0.0.1:3000
`;

type Apply = (command: Command, value: string, option: string) => void;

const VALUES: Record<string, Apply> = {
  "--http": (command, value, option) =>
    command.http.push(address(value, option)),
  "--https": (command, value, option) =>
    command.https.push(address(value, option)),
  "--cert": (command, value) => command.cert.push(value),
  "--key": (command, value) => command.key.push(value),
  "--upstream": (command, value, option) =>
    command.upstream = origin(value, option),
  "--workers": (command, value, option) =>
    command.workers = count(value, option, 64),
  "--isolates": (command, value, option) =>
    command.isolates = count(value, option, 16),
  "--io": (command, value, option) =>
    command.io = word(value, option, ["auto", "uring", "epoll"]),
  "--log": (command, value, option) =>
    command.log = word(value, option, ["off", "text", "json"]),
};

const FLAGS: Record<string, (command: Command) => void> = {
  "--watch": (command) => command.watch = true,
  "--help": (command) => command.help = true,
  "-h": (command) => command.help = true,
  "--version": (command) => command.version = true,
};

/** Reads the words. Throws a {@linkcode UsageError} that names the word, and what was probably meant. */
export function parseCommand(args: readonly string[]): Command {
  const command: Command = {
    http: [],
    https: [],
    cert: [],
    key: [],
    watch: false,
    help: false,
    version: false,
  };
  for (let i = 0; i < args.length; i++) {
    const [, name, inline] = /^(-[^=]*)(?:=([^]*))?$/.exec(args[i]) ?? [];
    if (name === undefined) takeModule(command, args[i]);
    else if (name in FLAGS) flag(command, name, inline);
    else if (name in VALUES) {
      const value = inline ?? args[++i];
      if (value === undefined || value === "") {
        throw new UsageError(`${name} needs a value: ${usageOf(name)}`);
      }
      VALUES[name](command, value, name);
    } else throw unknown(name);
  }
  if (!command.help && !command.version) checkTogether(command);
  return command;
}

function flag(
  command: Command,
  name: string,
  inline: string | undefined,
): void {
  if (inline !== undefined) {
    throw new UsageError(`${name} takes no value (got ${show(inline)})`);
  }
  FLAGS[name](command);
}

function takeModule(command: Command, value: string): void {
  if (command.module !== undefined) {
    throw new UsageError(
      `there can be one MODULE only (got ${show(command.module)} and ${
        show(value)
      })`,
    );
  }
  command.module = value;
}

function unknown(name: string): UsageError {
  const meant = nearest(name, [...Object.keys(VALUES), ...Object.keys(FLAGS)]);
  const hint = meant
    ? `did you mean ${meant}?`
    : "`deno task start gateway --help` lists the options";
  return new UsageError(`there is no option ${name}; ${hint}`);
}

function usageOf(option: string): string {
  return HELP.split("\n").find((line) => line.trim().startsWith(`${option} `))
    ?.trim() ?? option;
}

function checkTogether(command: Command): void {
  const { cert, key } = command;
  if (cert.length !== key.length) {
    const [has, lacks] = cert.length < key.length
      ? ["--key", "--cert"]
      : ["--cert", "--key"];
    const all = Math.max(cert.length, key.length) > 1
      ? ` (${cert.length} --cert, ${key.length} --key)`
      : "";
    throw new UsageError(`each ${has} needs ${lacks} FILE, too${all}`);
  }
  if (command.module !== undefined && command.upstream !== undefined) {
    throw new UsageError(
      "MODULE and --upstream cannot go together: proxy() in the module does the same",
    );
  }
}

function address(value: string, option: string): string {
  const full = /^:?\d+$/.test(value)
    ? `127.0.0.1:${value.replace(":", "")}`
    : value;
  const problem = addressProblem(full);
  if (problem) {
    throw new UsageError(`${option} ${problem} (got ${show(value)})`);
  }
  return full;
}

function origin(value: string, option: string): string {
  const parsed = parseOrigin(value);
  if ("reason" in parsed) {
    throw new UsageError(`${option} ${parsed.reason} (got ${show(value)})`);
  }
  return parsed.origin;
}

function count(value: string, option: string, max: number): number {
  const number = /^\d+$/.test(value) ? Number(value) : 0;
  if (number >= 1 && number <= max) return number;
  throw new UsageError(
    `${option} must be a number from 1 to ${max} (got ${show(value)})`,
  );
}

function word<const T extends string>(
  value: string,
  option: string,
  words: readonly T[],
): T {
  if (words.includes(value as T)) return value as T;
  const meant = nearest(value, words);
  const hint = meant ? `; did you mean ${meant}?` : "";
  throw new UsageError(
    `${option} must be ${
      words.join(", ").replace(/, ([^,]*)$/, " or $1")
    }${hint} (got ${show(value)})`,
  );
}
