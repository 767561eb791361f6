/**
 * TLS clients of others that resume: OpenSSL's s_client with its session files and early data, and gnutls-cli.
 *
 * @module
 */
import type { CertificateOptions } from "sluice";
import { folderOf, runProgram, within } from "./support.ts";

/** What a client saw. */
export interface Seen {
  /** All that it printed. */
  text: string;
  resumed: boolean;
  /** Of its early data; undefined: it sent none. */
  early?: "accepted" | "rejected";
}

/** A folder with certificates and a client's session files. */
export class TlsPeers implements AsyncDisposable {
  #folder: Awaited<ReturnType<typeof folderOf>>;

  private constructor(folder: Awaited<ReturnType<typeof folderOf>>) {
    this.#folder = folder;
  }

  static async make(): Promise<TlsPeers> {
    return new TlsPeers(await folderOf({}));
  }

  get path(): string {
    return this.#folder.path;
  }

  /** A certificate of its own for a name. */
  async certificate(name: string): Promise<CertificateOptions> {
    const words =
      `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${name}.key -out ${name}.pem -subj /CN=${name} -days 2 -addext subjectAltName=DNS:${name}`;
    const { code, err } = await runProgram(words.split(" "), {
      folder: this.path,
    });
    if (code !== 0) throw new Error(err);
    return {
      cert: `${this.path}/${name}.pem`,
      key: `${this.path}/${name}.key`,
      names: [name],
    };
  }

  /**
   * One connection of `openssl s_client`. `request` goes after the handshake, and must make the gateway close: its end is waited for, and with it the
   * ticket has come. `save` and `use` are names of session files; `early` is what it sends before the handshake.
   */
  async openssl(
    port: number,
    request: string,
    { name = "localhost", version = "1.3", ...more }: {
      name?: string;
      version?: "1.2" | "1.3";
      save?: string;
      use?: string;
      early?: string;
      /** More words for the command. */
      words?: string;
    } = {},
  ): Promise<Seen> {
    const words = `openssl s_client -ign_eof -connect 127.0.0.1:${port} -tls${
      version.replace(".", "_")
    } ${more.words ?? "-alpn http/1.1"}`.split(" ");
    if (name) words.push("-servername", name);
    if (more.save) words.push("-sess_out", `${this.path}/${more.save}`);
    if (more.use) words.push("-sess_in", `${this.path}/${more.use}`);
    if (more.early) {
      const file = `${this.path}/early-${crypto.randomUUID()}`;
      await Deno.writeTextFile(file, more.early);
      words.push("-early_data", file);
    }
    const { out, err } = await runProgram(words, { input: request });
    const text = out + err;
    const [, early] = /Early data was (accepted|rejected)/.exec(text) ?? [];
    return {
      text,
      resumed: text.includes("\nReused, "),
      early: early as Seen["early"],
    };
  }

  /**
   * gnutls-cli: a connection whose answer ends with `answer`, which brings the ticket, and one that resumes it. `early` is sent with the second.
   */
  async gnutls(
    port: number,
    { answer, first, second, early }: {
      answer: string;
      first: string;
      second: string;
      early?: string;
    },
  ): Promise<Seen> {
    const words = `gnutls-cli --insecure --inline-commands -p ${port} localhost`
      .split(" ");
    if (early) {
      const file = `${this.path}/early-gnutls`;
      await Deno.writeTextFile(file, early);
      words.push(`--earlydata=${file}`);
    }
    await using client = new Talk(words);
    await client.say(first);
    await client.hears(answer);
    await client.say("^resume^\n");
    await client.hears("Resume Handshake was completed");
    await client.say(second);
    const text = await client.end();
    return { text, resumed: text.includes("This is a resumed session") };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }
}

// A program that is talked to.
class Talk implements AsyncDisposable {
  #child: Deno.ChildProcess;
  #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #text = "";
  #heard: () => void = () => {};
  #ended: Promise<unknown>;

  constructor(words: readonly string[]) {
    this.#child = new Deno.Command(words[0], {
      args: words.slice(1),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#ended = Promise.all([
      this.#listen(this.#child.stdout),
      this.#listen(this.#child.stderr),
      this.#child.status,
    ]);
  }

  async #listen(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    for await (const part of stream.pipeThrough(new TextDecoderStream())) {
      this.#text += part;
      this.#heard();
    }
  }

  async say(text: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(text));
  }

  async hears(text: string): Promise<void> {
    const wait = async () => {
      while (!this.#text.includes(text)) {
        await new Promise<void>((resolve) => this.#heard = resolve);
      }
    };
    await within(wait(), () => `${text} in:\n${this.#text}`);
  }

  /** All that it has said, at its end. */
  async end(): Promise<string> {
    await within(this.#ended, () => `the end of:\n${this.#text}`);
    return this.#text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    this.#writer.close().catch(() => {});
    await this.#ended;
  }
}

/** Whether gnutls-cli is here (Debian: gnutls-bin). */
export async function hasGnutls(): Promise<boolean> {
  try {
    return (await runProgram(["gnutls-cli", "--version"])).code === 0;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log("no gnutls-cli here (apt-get install gnutls-bin)");
    return false;
  }
}

/** A request after which the gateway closes. */
export function lastRequest(
  path: string,
  { method = "GET", body = "", host = "localhost" } = {},
): string {
  return `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

/** A request after which it waits for the next one. */
export function request(...args: Parameters<typeof lastRequest>): string {
  return lastRequest(...args).replace("Connection: close\r\n", "");
}
