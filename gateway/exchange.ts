/**
 * One exchange that outlives its event.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { type BodySource, IncomingBody, IncomingRequest } from "./request.ts";
import { LightResponse } from "./response.ts";
import type { Line, Takeover } from "./upgrade.ts";
import { UpstreamAnswer } from "./upstream_answer.ts";

const { SL_VERDICT_F_FINAL } = abi;
/** Flags of the verdict that ends an answer and gives its slot back. */
export const END_FINAL = abi.SL_VERDICT_F_END | SL_VERDICT_F_FINAL;

type State = "open" | "streaming" | "closed";

/** A request that is not answered yet, or whose answer is still being written. */
export class Exchange implements BodySource, Line {
  readonly room = abi.SL_SLOT_TX_BYTES;
  request: IncomingRequest | undefined;
  body: IncomingBody | undefined;
  takeover: Takeover | undefined; // after 101
  state: State = "open";
  /** What an upstream has answered to this request. */
  answer: UpstreamAnswer | undefined;
  #answered: PromiseWithResolvers<Response> | undefined;
  #rest: Uint8Array | undefined; // of a whole body: what did not fit
  #restAt = 0;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #writable: ((alive: boolean) => void) | undefined;

  constructor(
    readonly dispatcher: Dispatcher,
    readonly slot: number,
    readonly gen: number,
  ) {}

  // The request's body.

  want(): void {
    if (this.state === "closed") return;
    this.dispatcher.verdict(abi.SL_VERDICT_BODY_WANTED, 0, this);
    this.dispatcher.flushSoon();
  }

  take(bytes: number, last = false): Uint8Array<ArrayBuffer> {
    const part = this.dispatcher.copyPart(this.slot, bytes);
    if (!last && bytes > 0) {
      this.dispatcher.verdict(abi.SL_VERDICT_BODY_TAKEN, 0, this);
      this.dispatcher.flushSoon();
    }
    return part;
  }

  // Events.

  onPart(bytes: number, last: boolean): void {
    if (this.takeover) this.takeover.onPart(bytes, last);
    else (this.answer?.body ?? this.body)?.arrive(bytes, last);
  }

  onWritable(): void {
    if (this.takeover) this.takeover.onWritable();
    else if (this.#rest) this.writeRest();
    else this.#resume(true);
  }

  onAnswer(status: number, head: string, bodiless: boolean): void {
    const body = new IncomingBody(this);
    this.answer = new UpstreamAnswer(status, head, bodiless, body);
    this.#answered!.resolve(LightResponse.ofUpstream(this.answer));
  }

  onProxyFailed(status: number): void {
    const row = abi.STATUS.find((row) => row.status === status);
    const text = row?.text ?? `status ${status}`;
    this.answer?.body.fail(new TypeError(text));
    this.#answered!.resolve(failureAnswer(row?.http || 502, text));
  }

  onAbort(status: number): void {
    const reason = new DOMException(abortText(status), "AbortError");
    this.#end(reason);
    this.dispatcher.verdict(abi.SL_VERDICT_RELEASE, SL_VERDICT_F_FINAL, this);
    if (this.request) IncomingRequest.abort(this.request, reason);
    this.takeover?.onGone();
  }

  /** The answer of the upstream that the request was sent to. */
  awaitAnswer(): Promise<Response> {
    this.#answered = Promise.withResolvers();
    this.#answered.promise.catch(() => {}); // a handler need not wait for it
    return this.#answered.promise;
  }

  /** The answer is written, or never will be: nobody may use the slot from here on. */
  close(): void {
    this.#end(new TypeError("The request has ended"));
  }

  #end(reason: unknown): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.dispatcher.forget(this);
    this.body?.fail(reason);
    this.answer?.body.fail(reason);
    this.#answered?.reject(reason);
    this.#rest = undefined;
    this.#reader?.cancel(reason).catch(() => {});
    this.#resume(false);
  }

  #resume(alive: boolean): void {
    const waiting = this.#writable;
    this.#writable = undefined;
    waiting?.(alive);
  }

  // The connection after 101.

  upgrade(takeover: Takeover): void {
    this.state = "streaming";
    this.takeover = takeover;
    takeover.onOpen(this);
  }

  send(parts: readonly Uint8Array[]): void {
    this.dispatcher.writeParts(this, parts, 0, 0);
  }

  end(parts: readonly Uint8Array[], status: number): void {
    this.dispatcher.writeParts(this, parts, END_FINAL, status);
    this.close();
  }

  cut(status: number): void {
    this.dispatcher.breakOff(this, status);
  }

  // A whole body that is larger than the slot's part for it.

  keepRest(rest: Uint8Array): void {
    this.state = "streaming";
    this.#rest = rest;
    this.#restAt = 0;
  }

  writeRest(): void {
    const rest = this.#rest!;
    const end = Math.min(rest.length, this.#restAt + abi.SL_SLOT_TX_BYTES);
    const last = end === rest.length;
    this.dispatcher.writeChunk(this, rest.subarray(this.#restAt, end), last);
    this.#restAt = end;
    if (last) this.close();
  }

  // A stream.

  async pump(
    stream: ReadableStream<Uint8Array>,
    status: number,
    lines: string,
    length: number,
  ): Promise<void> {
    this.state = "streaming";
    let responded = false;
    try {
      const reader = this.#reader = stream.getReader();
      let next = reader.read();
      // The head waits for a first part only if that is there at once.
      let first = await Promise.race([next, macrotask()]);
      if (this.#isOver()) return;
      responded = true;
      if (first === undefined) {
        this.dispatcher.writeHead(
          this,
          status,
          lines,
          undefined,
          false,
          length,
        );
        if (!await this.writable()) return;
        first = await next;
      } else if (first.done) {
        this.dispatcher.writeHead(this, status, lines, undefined, true, length);
        return this.close();
      } else {
        const part = bytesOf(first.value);
        const fits = part.length <= abi.SL_SLOT_TX_BYTES - lines.length;
        this.dispatcher.writeHead(
          this,
          status,
          lines,
          fits ? part : undefined,
          false,
          length,
        );
        if (!await this.writable()) return;
        if (fits) first = await (next = reader.read());
      }
      await this.#chunks(reader, first);
    } catch (error) {
      this.#fail(error, responded);
    }
  }

  async #chunks(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    first: ReadableStreamReadResult<Uint8Array>,
  ): Promise<void> {
    for (let read = first; !this.#isOver(); read = await reader.read()) {
      if (read.done) {
        this.dispatcher.writeChunk(this, undefined, true);
        return this.close();
      }
      const part = bytesOf(read.value);
      for (let at = 0; at < part.length; at += abi.SL_SLOT_TX_BYTES) {
        const piece = part.subarray(at, at + abi.SL_SLOT_TX_BYTES);
        this.dispatcher.writeChunk(this, piece, false);
        if (!await this.writable()) return;
      }
    }
  }

  #isOver(): boolean {
    return this.state === "closed";
  }

  /** Resolves when the slot can be written again: false if the exchange has ended. */
  writable(): Promise<boolean> {
    this.dispatcher.flushSoon();
    return new Promise((resolve) => {
      this.#writable = resolve;
    });
  }

  #fail(error: unknown, responded: boolean): void {
    if (this.state === "closed") return;
    console.error("The response's body failed:", error);
    if (responded) this.dispatcher.breakOff(this);
    else this.dispatcher.answerError(this, 500);
  }
}

function bytesOf(part: unknown): Uint8Array {
  if (part instanceof Uint8Array) return part;
  throw new TypeError("A response's stream must give Uint8Arrays");
}

// As C answers where no TypeScript is on the way.
function failureAnswer(status: number, text: string): Response {
  const headers: Record<string, string> = {
    "content-type": "text/plain; charset=UTF-8",
  };
  if (status === 503) headers["retry-after"] = "1";
  return new LightResponse(`${text}\n`, {
    status,
    headers,
  }) as unknown as Response;
}

function abortText(status: number): string {
  if (status === abi.SL_E_CLIENT_CLOSED) {
    return "The client closed the connection";
  }
  const row = abi.STATUS.find((row) => row.status === status);
  return `The request was cut off: ${row?.text ?? `status ${status}`}`;
}

const immediate = globalThis.setImmediate;

/** Resolves when timers and I/O have had their turn. */
export function macrotask(): Promise<undefined> {
  return new Promise((resolve) => immediate(resolve as () => void));
}
