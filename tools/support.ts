// What the tools share: where things lie, and how to run a program.

export const ROOT = decodeURIComponent(
  new URL("..", import.meta.url).pathname,
).replace(/\/$/, "");
/** Where cargo builds; the library that is used is copied from here in one step. */
export const CARGO_DIR = `${ROOT}/ffi/target/cargo`;
export const LIBRARY = `${ROOT}/ffi/target/release/libsluice_ffi.so`;

/** A program that failed, with what it said. */
export class CommandError extends Error {
  override name = "CommandError";
  constructor(
    readonly command: string[],
    readonly code: number,
    readonly output: string,
  ) {
    super(`\`${command.join(" ")}\` failed with code ${code}\n${output}`);
  }
}

export interface RunOptions {
  /** Bytes for its stdin. @default "" */
  input?: string;
  cwd?: string;
  env?: Record<string, string>;
  /** Called with each line of stdout and stderr as it comes. */
  onLine?: (line: string) => void;
}

/** Runs a program and returns its stdout; a failure throws with all that it said. */
export async function capture(
  command: string[],
  { input = "", onLine, ...options }: RunOptions = {},
): Promise<string> {
  const child = new Deno.Command(command[0], {
    args: command.slice(1),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    ...options,
  }).spawn();
  const stdout = drain(child.stdout, onLine);
  const stderr = drain(child.stderr, onLine);
  const writer = child.stdin.getWriter();
  // A program that ends without reading all of its input is judged by its exit code.
  await writer.write(new TextEncoder().encode(input)).then(() => writer.close())
    .catch(() => {});
  const { code } = await child.status;
  const text = await stdout;
  if (code !== 0) throw new CommandError(command, code, text + await stderr);
  await stderr;
  return text;
}

async function drain(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine?: (line: string) => void,
): Promise<string> {
  let text = "", seen = 0;
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    text += part;
    for (
      let end;
      onLine && (end = text.indexOf("\n", seen)) >= 0;
      seen = end + 1
    ) {
      onLine(text.slice(seen, end));
    }
  }
  return text;
}

/** The text of a file, or `missing` if it is not there. */
export async function readOr(path: string, missing: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return missing;
    throw error;
  }
}

export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

export async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Where a program lies on PATH. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of (Deno.env.get("PATH") ?? "").split(":")) {
    if (folder && await exists(`${folder}/${name}`)) return `${folder}/${name}`;
  }
  return undefined;
}

/** All files under a folder of the repository that `wanted` takes, sorted, relative to the repository. */
export async function filesUnder(
  folder: string,
  wanted: (path: string) => boolean = () => true,
): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(`${ROOT}/${folder}`)) {
    const path = folder ? `${folder}/${entry.name}` : entry.name;
    if (entry.isDirectory && !SKIPPED.has(entry.name)) {
      found.push(...await filesUnder(path, wanted));
    } else if (entry.isFile && wanted(path)) {
      found.push(path);
    }
  }
  return found.sort();
}

const SKIPPED = new Set([
  ".git",
  "build",
  "target",
  "node_modules",
  "dist",
  "results",
]);

/** A short name for any text: the first 12 hex digits of its SHA-256. */
export async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest(
    "SHA-256",
    new TextEncoder().encode(text),
  );
  return Array.from(
    new Uint8Array(hash, 0, 6),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
}

/** One name for the contents of many files; a missing file counts as empty. */
export async function digestFiles(paths: string[]): Promise<string> {
  const texts = await Promise.all(
    paths.map(async (path) =>
      `${path}\n${await readOr(`${ROOT}/${path}`, "")}`
    ),
  );
  return digest(texts.join("\0"));
}

/** Runs `work` while holding an exclusive lock on a file; `onWait` is called if another process has it. */
export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
  onWait: () => void,
): Promise<T> {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  using file = await Deno.open(path, { create: true, write: true });
  const slow = setTimeout(onWait, 300);
  try {
    await file.lock(true);
  } finally {
    clearTimeout(slow);
  }
  return await work();
}
