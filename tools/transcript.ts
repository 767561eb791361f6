// Runs the shell blocks of a document as a reader would: in one folder, one after the other, in a network of their own, so that the ports are those of
// the text. A line that begins with `$ ` is typed; what stands below it must come, but for numbers and dates, and `...` is any lines. A gateway that a line
// starts is waited for until it is ready, or has said what the text shows, and `kill` means its process; the next start, or the document's end, ends it,
// but for a start that is to find the address in use. What a `console` block shows before it types anything is what the gateway has said since.
// The modules of the document whose first line is a comment with a file's name are in the folder.

import { type Block, isShell, placeOf } from "./doc_blocks.ts";
import { capture, ROOT } from "./support.ts";

export interface Step {
  /** Of the command, in the document. */
  place: string;
  /** "": it shows the gateway's terminal. */
  command: string;
  expected: string[];
}

/** What a block types, and what it expects to see. */
export function stepsOf(block: Block): Step[] {
  const steps: Step[] = [];
  const lines = block.text.trimEnd().split("\n");
  for (const [i, text] of lines.entries()) {
    const place = placeOf({ ...block, line: block.line + i });
    if (text.startsWith("$ ")) {
      steps.push({ place, command: text.slice(2), expected: [] });
    } else if (steps.length > 0) {
      steps[steps.length - 1].expected.push(text);
    } else if (block.language === "console") {
      steps.push({ place, command: "", expected: [text] });
    } else {
      throw new Error(`${place}: a shell block begins with a "$ " command`);
    }
  }
  return steps;
}

/** The first line that was expected and did not come; `...` stands for any lines. Machines differ in numbers, dates and what follows `~`. */
export function firstMissing(
  expected: string[],
  seen: string[],
): string | undefined {
  const lines = seen.map(normal);
  let at = 0, loose = false;
  for (const line of expected) {
    if (line.trim() === "...") {
      loose = true;
      continue;
    }
    const found: number = loose
      ? lines.indexOf(normal(line), at)
      : lines[at] === normal(line)
      ? at
      : -1;
    if (found < 0) return line;
    [at, loose] = [found + 1, false];
  }
  return undefined;
}

const READY = /^sluice: ready .*\n/m;

// What the machine decides is compared by its first words.
const MACHINE = /^(sluice: (?:io|workers|memory): ).*/;

function normal(line: string): string {
  return line.trimEnd().replace(MACHINE, "$1")
    .replace(/\b[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} /, "Day, 1 Mon ")
    .replace(/^(user-agent: ).*/, "$1")
    .replace(/\d+(\.\d+)*/g, "#");
}

/** Why transcripts cannot run here, if so. */
export async function whyNoTranscripts(): Promise<string | undefined> {
  return await capture([...PRIVATE_NETWORK, "true"]).then(
    () => undefined,
    () => "unshare -rn --pid is not allowed here",
  );
}

// Processes of their own, too: whatever a command leaves behind ends with the shell.
const PRIVATE_NETWORK = ["unshare", "-rn", "--pid", "--fork"].concat(
  "--mount-proc",
  "--kill-child",
);
const WAIT_MS = 20_000;
const IN_USE = /: the address is in use/;
const START = /^deno task start gateway(?!.* --(?:help|version)\b)/;

/** Types all shell blocks of a document that are not run by hand. Returns what went wrong first, with its place. */
export async function runTranscript(
  blocks: Block[],
  files: Record<string, string> = {},
): Promise<string | undefined> {
  const steps = blocks.filter((block) => isShell(block) && !block.byHand)
    .flatMap(stepsOf);
  await Deno.mkdir(`${ROOT}/native/build`, { recursive: true });
  const folder = await Deno.makeTempDir({
    dir: `${ROOT}/native/build`,
    prefix: "transcript-",
  });
  try {
    for (const [name, text] of Object.entries({ ...files, ...named(blocks) })) {
      await Deno.writeTextFile(`${folder}/${name}`, text);
    }
    // In a terminal curl shows no progress beside the answer; here it would.
    await Deno.writeTextFile(`${folder}/.curlrc`, "no-progress-meter\n");
    await Deno.symlink(`${ROOT}/examples`, `${folder}/examples`);
    const shell = new Shell(folder);
    try {
      for (const step of steps) {
        const problem = await shell.run(step);
        if (problem) return `${step.place}: $ ${step.command}\n${problem}`;
      }
      const problem = await shell.stopGateway();
      if (problem) return `${steps.at(-1)?.place}: at the end: ${problem}`;
    } finally {
      await shell.close();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The modules of a document that say in their first line how they are called. */
export function named(blocks: Block[]): Record<string, string> {
  return Object.fromEntries(
    blocks.flatMap(({ text }) => {
      const [, name] = /^\/\/ ([\w-]+\.[jt]sx?)$/m.exec(text.split("\n")[0]) ??
        [];
      return name ? [[name, text]] : [];
    }),
  );
}

class Shell {
  #child: Deno.ChildProcess;
  #stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #text = "";
  #tell = () => {};
  #reading: Promise<void>;
  /** The folder, which is the home, too. */
  #home: string;
  #log = ""; // of the gateway that runs
  #logs = 0;
  /** Of the gateway that runs. */
  #pid = 0;
  /** How much of its log a block has shown. */
  #shown = 0;

  constructor(folder: string) {
    this.#home = folder;
    const home = Deno.env.get("HOME") ?? "/";
    const kept = (name: string, fallback: string) =>
      Deno.env.get(name) || `${home}/${fallback}`;
    this.#child = new Deno.Command(PRIVATE_NETWORK[0], {
      args: [...PRIVATE_NETWORK.slice(1), "bash"],
      cwd: folder,
      env: {
        NO_COLOR: "1",
        PWD: folder,
        HOME: folder,
        XDG_STATE_HOME: "",
        XDG_CACHE_HOME: kept("XDG_CACHE_HOME", ".cache"),
        CARGO_HOME: kept("CARGO_HOME", ".cargo"),
        RUSTUP_HOME: kept("RUSTUP_HOME", ".rustup"),
        PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:${
          Deno.env.get("PATH") ?? ""
        }`,
      },
      stdin: "piped",
      stdout: "piped",
      stderr: "null", // joined with stdout
    }).spawn();
    this.#stdin = this.#child.stdin.getWriter();
    this.#reading = this.#read();
    // INIT_CWD is of the task that runs the tests, if one does.
    this.#type("exec 2>&1; unset INIT_CWD; ip link set lo up");
  }

  #type(line: string): void {
    this.#stdin.write(new TextEncoder().encode(line + "\n")).catch(() => {});
  }

  async #read(): Promise<void> {
    for await (
      const part of this.#child.stdout.pipeThrough(new TextDecoderStream())
    ) {
      this.#text += part;
      this.#tell();
    }
    this.#text += "\nthe shell has ended\n";
    this.#tell();
  }

  // What the shell says until it says `mark`, by the lines of `mark` alone.
  async #until(mark: RegExp): Promise<RegExpExecArray> {
    const end = performance.now() + WAIT_MS;
    for (;;) {
      const found = mark.exec(this.#text);
      if (found) {
        this.#text = this.#text.slice(found.index + found[0].length);
        return found;
      }
      const left = end - performance.now();
      if (left <= 0 || this.#text.endsWith("the shell has ended\n")) {
        throw new Error(`it did not end; it said:\n${this.#text}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#tell = () => (clearTimeout(timer), resolve());
      });
    }
  }

  async #output(command: string): Promise<{ code: number; lines: string[] }> {
    this.#type(`{ ${command}\n} </dev/null; printf '\\n<<end %s>>\\n' $?`);
    const [, text, code] = await this.#until(/^([^]*?)\n<<end (\d+)>>\n/);
    return { code: Number(code), lines: said(text, this.#home) };
  }

  /** Types a command and judges what comes. */
  async run({ command, expected }: Step): Promise<string | undefined> {
    if (command === "") return await this.#gatewaySays(expected);
    if (START.test(command)) {
      return expected.some((line) => IN_USE.test(line))
        ? await this.#startGateway(command, expected)
        : await this.stopGateway() ??
          await this.#startGateway(command, expected);
    }
    if (/^kill\b/.test(command)) {
      return await this.#signal(command, expected);
    }
    const { code, lines } = await this.#output(command);
    const missing = firstMissing(expected, lines);
    if (code === 0 && missing === undefined) return undefined;
    return `code ${code}${
      missing === undefined ? "" : `, and this is missing: ${missing}`
    }; it said:\n${lines.join("\n")}`;
  }

  async #startGateway(
    command: string,
    expected: string[],
  ): Promise<string | undefined> {
    const log = `${this.#home}/gateway.log${++this.#logs}`;
    const [words] = command.split(/\s#\s/);
    await this.#output(`${words} >${log} 2>&1 &`);
    const named = expected.some((line) => line.trim() !== "...");
    const lines = await this.#logLines(log, 0, (text) =>
      READY.test(text) ||
      named && firstMissing(expected, said(text, this.#home)) === undefined);
    const text = `${lines.join("\n")}\n`;
    // One that could not start says why, and is gone.
    if (READY.test(text)) {
      this.#pid = Number(/^sluice: pid (\d+)/m.exec(text)?.[1]);
      this.#log = log;
      this.#shown = (await Deno.readTextFile(log)).length;
      this.#type("started=$!");
    }
    const missing = firstMissing(expected, lines);
    return missing &&
      `this is missing: ${missing}; it said:\n${lines.join("\n")}`;
  }

  async #gatewaySays(expected: string[]): Promise<string | undefined> {
    if (!this.#pid) return "no gateway runs";
    const missing = (text: string) =>
      firstMissing(expected, said(text, this.#home));
    try {
      await this.#logLines(this.#log, this.#shown, (text) => !missing(text));
    } catch (error) {
      return (error as Error).message;
    }
    this.#shown = (await Deno.readTextFile(this.#log)).length;
    return undefined;
  }

  async #logLines(
    log: string,
    from: number,
    ready: (text: string) => boolean,
  ): Promise<string[]> {
    const end = performance.now() + WAIT_MS;
    for (;;) {
      const text = (await Deno.readTextFile(log).catch(() => "")).slice(from);
      if (ready(text)) return said(text, this.#home);
      if (performance.now() > end) {
        throw new Error(`the gateway does not go on; it said:\n${text}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  // The document's number is that of another day.
  async #signal(
    command: string,
    expected: string[],
  ): Promise<string | undefined> {
    if (!this.#pid) return "no gateway runs";
    const before = await Deno.readTextFile(this.#log);
    const words = command.replace(/\d+$/, String(this.#pid));
    const { code } = await this.#output(`${words}; wait $started`);
    const text = (await Deno.readTextFile(this.#log)).slice(before.length);
    this.#pid = 0;
    const missing = firstMissing(expected, said(text, this.#home));
    if (code === 0 && missing === undefined) return undefined;
    return `code ${code}, missing: ${missing}; it said:\n${text}`;
  }

  /** Ends the gateway that runs, if one does. */
  async stopGateway(): Promise<string | undefined> {
    return this.#pid ? await this.#signal("kill 0", []) : undefined;
  }

  async close(): Promise<void> {
    await this.#stdin.close().catch(() => {});
    try {
      this.#child.kill("SIGKILL"); // and so all that runs in it
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#reading;
  }
}

// The home is `~` to readers. What `deno task` says of itself, and what is built, is no part of a transcript.
function said(text: string, home: string): string[] {
  return text.replaceAll(home, "~").replace(/\n$/, "").split("\n")
    .map((line) => line.replace(/\r$/, ""))
    .filter((line) => !/^(Task |build: )/.test(line));
}
