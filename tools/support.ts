// What the tools share: where things lie, and how to run a program.

export const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname)
  .replace(/\/$/, "");
/** Where cargo builds; the library that is used is copied from here in one step. */
export const CARGO_OUT = `${ROOT}/ffi/target/cargo/release`;
export const LIBRARY = `${ROOT}/ffi/target/release/libsluice_ffi.so`;

/** A program that failed, with what it said. */
export class CommandError extends Error {
  override name = "CommandError";
  constructor(
    readonly command: string[],
    readonly code: number,
    readonly output: string,
  ) {
    super(`\`${command.join(" ")}\` failed with ${code}\n${output}`);
  }
}

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
}

/** Runs a program with `input` on stdin and returns its stdout; a failure throws with its stderr. */
export async function capture(
  command: string[],
  input = "",
  options: RunOptions = {},
): Promise<string> {
  const child = new Deno.Command(command[0], {
    args: command.slice(1),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    ...options,
  }).spawn();
  const output = child.output();
  const writer = child.stdin.getWriter();
  // A program that ends without reading all of its input is judged by its exit code.
  await writer.write(new TextEncoder().encode(input)).then(() => writer.close())
    .catch(() => {});
  const { code, stdout, stderr } = await output;
  const text = new TextDecoder().decode(stdout);
  if (code !== 0) {
    throw new CommandError(
      command,
      code,
      text + new TextDecoder().decode(stderr),
    );
  }
  return text;
}

/** First words of a file or "" if it is not there. */
export async function readOr(path: string, missing = ""): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return missing;
    throw error;
  }
}
