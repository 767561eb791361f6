/**
 * An upstream's answer, in a chain that runs in TypeScript: its head is here, its body is not. If the handler answers with it, C passes the body on
 * and no byte of it enters V8; if somebody reads it, it comes part by part over the ring.
 *
 * @module
 */
import { HOP_BY_HOP } from "./header_fields.ts";
import type { IncomingBody } from "./request.ts";

/** The body of an upstream's answer, wherever it is, and the head that it came with. */
export class UpstreamAnswer {
  readonly status: number;
  /** `name: value\r\n` each, as a handler sees them. */
  readonly lines: string;
  /** Lines that a handler does not see, because what it reads is decoded: they belong to the body as it comes. */
  readonly coded: string;
  /** The length that the head declares; -1: none. */
  readonly declaredLength: number;
  /** It has no body: an answer to HEAD, 204, 304, or one of length 0. */
  readonly bodiless: boolean;
  readonly body: IncomingBody;
  #coding: CompressionFormat | undefined;
  #stream: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #isShared = false;

  /** `head`: from the status line to the blank line; names in lower case. */
  constructor(
    status: number,
    head: string,
    bodiless: boolean,
    body: IncomingBody,
  ) {
    this.status = status;
    this.bodiless = bodiless;
    this.body = body;
    this.#coding = codingOf(head);
    let lines = "";
    let coded = "";
    let length = -1;
    let at = head.indexOf("\r\n") + 2;
    for (
      let end = head.indexOf("\r\n", at);
      end > at;
      end = head.indexOf("\r\n", at)
    ) {
      const name = head.slice(at, head.indexOf(":", at));
      const line = head.slice(at, end + 2);
      if (name === "content-length") {
        if (!this.#coding) length = Number(line.slice(name.length + 1));
      } else if (name === "content-encoding" && this.#coding) coded += line;
      else if (!HOP_BY_HOP.has(name)) lines += line;
      at = end + 2;
    }
    this.lines = lines;
    this.coded = coded;
    this.declaredLength = length;
  }

  /** Whether C can pass the body on: nobody has begun to read it, or may yet. */
  get isWhole(): boolean {
    return this.body.untouched && !this.#isShared && !this.#stream?.locked;
  }

  /** Somebody else may read it, too: C cannot have it any more. */
  share(): void {
    this.#isShared = true;
  }

  /** The body as a handler reads it: decoded, as by fetch(). */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    if (this.#stream) return this.#stream;
    const stream = this.body.stream();
    if (!this.#coding) return this.#stream = stream;
    // Not piped before it is read: a pipe asks for its first part at once.
    let reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
    const decoder = new DecompressionStream(this.#coding);
    return this.#stream = new ReadableStream({
      async pull(controller) {
        reader ??= stream.pipeThrough(decoder).getReader();
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) =>
        reader ? reader.cancel(reason) : stream.cancel(reason),
    }, { highWaterMark: 0 });
  }
}

// The codings that fetch() decodes, as far as they can be decoded here.
function codingOf(head: string): CompressionFormat | undefined {
  const at = head.indexOf("\r\ncontent-encoding:");
  if (at < 0) return undefined;
  const line = head.slice(at + 2, head.indexOf("\r\n", at + 2));
  const coding = line.slice(line.indexOf(":") + 1).trim().toLowerCase();
  return DECODED[coding];
}

const DECODED: Record<string, CompressionFormat | undefined> = {
  gzip: "gzip",
  br: isKnown("brotli") ? "brotli" as CompressionFormat : undefined,
};

function isKnown(format: string): boolean {
  try {
    new DecompressionStream(format as CompressionFormat);
    return true;
  } catch {
    return false;
  }
}
