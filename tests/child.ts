/**
 * Programs of their own that tests start: a gateway whose process can be looked at and stopped, and clients in C for many connections.
 *
 * @module
 */
import type { GatewayOptions } from "sluice";
import { ioUnderTest, ROOT, runProgram, within } from "./support.ts";

// Lines of JSON that a program writes.
class Lines {
  #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  }

  async next<T>(what: string, ms: number): Promise<T> {
    const read = async () => {
      for (;;) {
        const end = this.#text.indexOf("\n");
        if (end >= 0) {
          const line = this.#text.slice(0, end);
          this.#text = this.#text.slice(end + 1);
          return JSON.parse(line);
        }
        const { done, value } = await this.#reader.read();
        if (done) throw new Error(`the program ended before ${what}`);
        this.#text += value;
      }
    };
    return await within(read(), what, ms);
  }
}

/** A program with lines of JSON, while it runs. */
export class Child implements AsyncDisposable {
  #process: Deno.ChildProcess;
  #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #lines: Lines;
  #ended = false;

  constructor(words: readonly string[], env: Record<string, string> = {}) {
    this.#process = new Deno.Command(words[0], {
      args: words.slice(1),
      env: { NO_COLOR: "1", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#process.stdin.getWriter();
    this.#lines = new Lines(this.#process.stdout);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The next line. */
  async line<T>(what: string, ms = 30_000): Promise<T> {
    return await this.#lines.next(what, ms);
  }

  /** Sends a line and reads one. */
  async ask<T>(command: string): Promise<T> {
    await this.#writer.write(new TextEncoder().encode(`${command}\n`));
    return await this.line(command);
  }

  /** Ends its input: it finishes what it does. */
  async finish(): Promise<void> {
    await this.#writer.close();
  }

  kill(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Its exit code. */
  async end(): Promise<number> {
    const { code } = await within(this.#process.status, "a program's end");
    this.#ended = true;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#process.status;
  }
}

type Stats = Record<string, number>;

/** A gateway in a process of its own. */
export class ChildGateway extends Child {
  ports: number[] = [];

  get port(): number {
    return this.ports[0];
  }

  async stats(): Promise<Stats> {
    return await this.ask("stats");
  }

  /** Bytes of JavaScript's heap that are in use after a collection. */
  async heapUsed(): Promise<number> {
    return await this.ask("heap");
  }

  /** Drains and ends it. */
  async stop(): Promise<void> {
    await this.finish();
    const code = await this.end();
    if (code !== 0) throw new Error(`the gateway ended with code ${code}`);
  }

  /** Resident bytes of the process. */
  async residentBytes(): Promise<number> {
    const text = await Deno.readTextFile(`/proc/${this.pid}/status`);
    return Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1]) * 1024;
  }

  /** Open descriptors of the gateway: TCP and the kernel's objects, not what the runtime opens at some time. */
  async descriptors(): Promise<number> {
    let count = 0;
    const folder = `/proc/${this.pid}/fd`;
    const local = await Deno.readTextFile(`/proc/${this.pid}/net/unix`);
    for await (const { name } of Deno.readDir(folder)) {
      const target = await Deno.readLink(`${folder}/${name}`).catch(() => "");
      const socket = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (socket && !new RegExp(` ${socket}\\b`).test(local)) count++;
      if (target.startsWith("anon_inode:")) count++;
    }
    return count;
  }
}

/** Starts `child_gateway.ts`: its routes, with these options. `through`: words in front of the command. */
export async function startChild(
  options: GatewayOptions = {},
  more: {
    upstream?: string;
    pool?: { connsMax?: number; connectTimeoutMs?: number };
    env?: Record<string, string>;
    through?: string[];
  } = {},
): Promise<ChildGateway> {
  const start = {
    options: { io: ioUnderTest(), ...options },
    upstream: more.upstream ?? "",
    pool: more.pool,
  };
  const child = new ChildGateway([
    ...more.through ?? [],
    Deno.execPath(),
    "run",
    "--no-config",
    `--import-map=${ROOT}/tools/std/offline.json`,
    "--no-lock",
    "--v8-flags=--expose-gc",
    "--allow-all",
    `${ROOT}/tests/child_gateway.ts`,
    JSON.stringify(start),
  ], more.env);
  try {
    child.ports = await child.line<number[]>("its ports");
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  return child;
}

const clients = new Map<string, Promise<string>>();

// Compiled once per run of a test file.
async function compile(name: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "sluice-client-" });
  const source = `${ROOT}/bench/client/${name}.c`;
  const { code, err } = await runProgram([
    ...["cc", "-O2", "-o", `${folder}/${name}`],
    source,
  ]);
  if (code !== 0) throw new Error(`${source} does not compile:\n${err}`);
  globalThis.addEventListener(
    "unload",
    () => Deno.removeSync(folder, { recursive: true }),
  );
  return `${folder}/${name}`;
}

/** The path of a client of `bench/client`, compiled. */
export function client(name: string): Promise<string> {
  const known = clients.get(name) ?? compile(name);
  clients.set(name, known);
  return known;
}

/** Runs a client of `bench/client` to its end; its lines of JSON. */
export async function runClient<T>(
  name: string,
  args: readonly (string | number)[],
  ms = 60_000,
): Promise<T[]> {
  const program = await client(name);
  const child = new Deno.Command(program, {
    args: args.map(String),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  try {
    const { code, stdout, stderr } = await within(
      child.output(),
      [name, ...args].join(" "),
      ms,
    );
    const decoder = new TextDecoder();
    if (code !== 0) {
      throw new Error(
        `${name} ended with code ${code}: ${decoder.decode(stderr)}`,
      );
    }
    const lines = decoder.decode(stdout).trim().split("\n");
    return lines.map((line) => JSON.parse(line));
  } catch (error) {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    throw error;
  }
}

/** Starts a client of `bench/client` that holds its connections; waits until they are where they should be. */
export async function holdClient(
  name: string,
  args: readonly (string | number)[],
): Promise<Child> {
  const child = new Child([await client(name), ...args.map(String)]);
  try {
    await child.line("its connections");
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  return child;
}
