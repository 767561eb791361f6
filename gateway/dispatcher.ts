/**
 * Drains one ring: an event becomes a Request for `app.fetch`, its Response becomes verdicts. What is synchronous stays so:
 * a handler that answers at once costs no promise and no object that lives longer than the call.
 *
 * No view of the region reaches user code: bytes are copied out of it before a handler sees them.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import type { Ring } from "../ffi/ring.ts";
import { type ClientHelloHooks, ClientHellos } from "./client_hello.ts";
import { END_FINAL, Exchange, macrotask } from "./exchange.ts";
import type { App } from "./app.ts";
import { ORIGIN, PROGRESS, type Progress, stepsFailed } from "./progress.ts";
import { isPromise } from "./promise.ts";
import {
  IncomingBody,
  IncomingRequest,
  type RequestSource,
} from "./request.ts";
import {
  LightResponse,
  type OutgoingBody,
  type ResponseParts,
} from "./response.ts";
import { AddressCache, CONTEXT, type IncomingEnv } from "./request_env.ts";
import { type TlsConnection, tlsConnection } from "./tls_connection.ts";
import { UpstreamAnswer } from "./upstream_answer.ts";

const {
  SL_EVENT_F_END,
  SL_VERDICT_RESPOND,
  SL_VERDICT_CHUNK,
  SL_VERDICT_F_FINAL,
  SL_VERDICT_F_LENGTH,
} = abi;

const HEAD_BYTES_MAX = 16384;
const ENCODING = "\r\ncontent-encoding: ";
const BATCH = 256;

// Short text is written by hand: a call of encodeInto costs more than a hundred characters.
const BY_HAND_MAX = 128;

const encoder = new TextEncoder();

// ---- The dispatcher

// Apps that C's plans may still speak of, besides the current one.
const APPS_KEPT = 8;

/** Answers the events of one ring with an app. */
export class Dispatcher implements RequestSource {
  #app: App;
  #apps = new Map<number, App>(); // by the id of their plan
  #ring: Ring;
  #wakeWorker: () => void;
  #live: (Exchange | undefined)[];
  #addresses = new AddressCache();
  #flushing = false;
  #views: (Uint8Array | undefined)[];
  #hellos: ClientHellos;

  /** `hooks`: of handshakes, by listener. */
  constructor(
    ring: Ring,
    app: App,
    wakeWorker: () => void,
    plan: number = 0,
    hooks: ClientHelloHooks = [],
  ) {
    this.#ring = ring;
    this.#app = app;
    this.#apps.set(plan, app);
    this.#wakeWorker = wakeWorker;
    this.#live = new Array(ring.slots);
    this.#views = new Array(ring.slots);
    this.#hellos = new ClientHellos(
      hooks,
      (...row) => this.#answerHello(...row),
    );
  }

  get ring(): Ring {
    return this.#ring;
  }

  /** Requests that wait for their answer or its end. */
  get live(): number {
    let count = 0;
    for (const exchange of this.#live) if (exchange) count++;
    return count;
  }

  /** Routes requests to another app from now on; those that run keep theirs, and so do those of which C has done steps by an older plan. */
  setApp(app: App, plan: number): void {
    this.#app = app;
    this.#apps.delete(plan);
    this.#apps.set(plan, app); // the newest is last
    const [oldest] = this.#apps.keys();
    if (this.#apps.size > APPS_KEPT) this.#apps.delete(oldest);
  }

  /** Handles the events that are there, at most a batch, and publishes what was answered. Returns how many there were. */
  drain(): number {
    const ring = this.#ring;
    const count = Math.min(ring.pending(), BATCH);
    if (count === 0) return 0;
    const first = ring.head;
    for (let i = 0; i < count; i++) {
      if (!ring.begin(first + i)) return 0;
      this.#event(ring.eventWord(first + i));
    }
    ring.advance(count);
    this.flush();
    return count;
  }

  /** Publishes verdicts, and wakes the worker if it sleeps. */
  flush(): void {
    this.#flushing = false;
    if (this.#ring.publish()) this.#wakeWorker();
  }

  /** Publishes at the end of this turn, with whatever else is written in it. */
  flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.flush());
  }

  #event(at: number): void {
    const { words } = this.#ring;
    const head = words[at];
    const slot = words[at + 1];
    const gen = words[at + 2];
    const len = words[at + 3];
    const kind = head & 255;
    if (kind === abi.SL_EVENT_REQUEST) {
      this.#request(at, head, slot, gen, len);
      return;
    }
    if (kind === abi.SL_EVENT_HELLO) {
      this.#hello(at, head, slot, gen, len);
      return;
    }
    const exchange = this.#live[slot];
    if (exchange === undefined || exchange.gen !== gen) {
      if (kind === abi.SL_EVENT_ABORT && this.#hellos.abort(slot, gen)) {
        this.#release(slot, gen);
      }
      return; // else it has crossed with our last verdict
    }
    if (kind === abi.SL_EVENT_BODY) {
      exchange.onPart(len, (head >> 8 & SL_EVENT_F_END) !== 0);
    } else if (kind === abi.SL_EVENT_ANSWER) {
      const off = this.#ring.slotsOff + slot * abi.SL_SLOT_BYTES +
        abi.SL_SLOT_HEAD_OFF;
      const text = this.#ring.latin1(off, len);
      const bodiless = (head >> 8 & SL_EVENT_F_END) !== 0;
      exchange.onAnswer(words[at + 4] >>> 16, text, bodiless);
    } else if (kind === abi.SL_EVENT_PROXY_FAILED) {
      exchange.onProxyFailed(-len);
    } else if (kind === abi.SL_EVENT_WRITABLE) exchange.onWritable();
    else if (kind === abi.SL_EVENT_ABORT) exchange.onAbort(-len);
    else if (kind === abi.SL_EVENT_DRAIN) exchange.takeover?.onDrain();
  }

  #request(
    at: number,
    head: number,
    slot: number,
    gen: number,
    len: number,
  ): void {
    const ring = this.#ring;
    const { words } = ring;
    const flags = head >> 8 & 255;
    const slotOff = ring.slotsOff + slot * abi.SL_SLOT_BYTES;
    const text = ring.latin1(slotOff + abi.SL_SLOT_HEAD_OFF, len);
    const method = abi.METHODS[head >> 16 & 255] ||
      text.slice(0, words[at + 4] >>> 16);
    const url = urlOf(words, at, flags, text);
    let app = this.#app;
    let progress: Progress | undefined;
    const steps = words[at + 4] >> 8 & 255;
    if (steps > 0) {
      const plan = words[(slotOff + abi.SL_SLOT_PLAN_OFF) >> 2] >>> 0;
      const known = this.#apps.get(plan);
      // Not ours, as when a module has changed since another isolate loaded it: then nothing is passed, rather than the wrong step.
      if (known) progress = { left: steps, taken: 0, failed: 0 };
      app = known ?? app;
    }
    let exchange: Exchange | undefined;
    let request: IncomingRequest;
    if ((flags & SL_EVENT_F_END) !== 0) {
      request = new IncomingRequest(
        method,
        url,
        text,
        undefined,
        progress,
        this,
        slot,
        gen,
      );
    } else {
      exchange = this.#live[slot] = new Exchange(this, slot, gen);
      const hidden = method === "GET" || method === "HEAD"; // fetch knows no body there
      exchange.body = hidden ? undefined : new IncomingBody(exchange);
      request = exchange.request = new IncomingRequest(
        method,
        url,
        text,
        exchange.body,
        progress,
        this,
        slot,
        gen,
        false,
      );
    }
    if ((flags & abi.SL_EVENT_F_UPGRADE) !== 0) {
      IncomingRequest.allowUpgrade(request);
    }
    const ports = words[at + 9];
    const remoteAddr = this.#addresses.get(
      words,
      at + 12,
      ports >>> 16,
      (flags & abi.SL_EVENT_F_IPV6) !== 0,
    );
    const env: IncomingEnv = { remoteAddr, [ORIGIN]: request };
    if ((flags & abi.SL_EVENT_F_TLS) !== 0) env.tls = tlsOf(ring, slotOff);
    let result: Response | PromiseLike<Response>;
    try {
      result = app.fetch(
        request as unknown as Request,
        env,
        CONTEXT,
      );
      exchange ??= this.#live[slot]; // it was sent on
      if (!isPromise(result)) {
        this.#respond(slot, gen, request, result, exchange);
        return;
      }
    } catch (error) {
      exchange ??= this.#live[slot];
      this.#answerThrown(slot, gen, request, exchange, error);
      return;
    }
    exchange ??= this.#open(slot, gen, request);
    this.#later(exchange, request, result);
  }

  #hello(
    at: number,
    head: number,
    slot: number,
    gen: number,
    len: number,
  ): void {
    const { words, region, slotsOff } = this.#ring;
    const from = slotsOff + slot * abi.SL_SLOT_BYTES + abi.SL_SLOT_HEAD_OFF;
    const bytes = region.slice(from, from + len) as Uint8Array<ArrayBuffer>;
    const isIpv6 = (head >> 8 & abi.SL_EVENT_F_IPV6) !== 0;
    const port = words[at + 9] >>> 16;
    const { hostname } = this.#addresses.get(words, at + 12, port, isIpv6);
    this.#hellos.ask(slot, gen, bytes, hostname);
  }

  #answerHello(slot: number, gen: number, kind: number, name: string): void {
    this.#writeLines(slot, name);
    this.#ring.verdict(
      abi.SL_VERDICT_HELLO,
      SL_VERDICT_F_FINAL,
      slot,
      gen,
      kind,
      name.length,
      0,
      0,
      0,
    );
    this.flushSoon();
  }

  #release(slot: number, gen: number): void {
    const { SL_VERDICT_RELEASE: kind } = abi;
    this.#ring.verdict(kind, SL_VERDICT_F_FINAL, slot, gen, 0, 0, 0, 0, 0);
    this.flushSoon();
  }

  #open(slot: number, gen: number, request: IncomingRequest): Exchange {
    const exchange = this.#live[slot] = new Exchange(this, slot, gen);
    exchange.request = request;
    return exchange;
  }

  #later(
    exchange: Exchange,
    request: IncomingRequest,
    result: PromiseLike<Response>,
  ): void {
    const { slot, gen } = exchange;
    result.then((response) => {
      if (exchange.state === "closed") discard(response);
      else this.#respondLate(exchange, request, response);
    }, (error) => {
      if (exchange.state === "closed") return;
      this.#answerThrown(slot, gen, request, exchange, error);
      this.flushSoon();
    });
  }

  #respondLate(
    exchange: Exchange,
    request: IncomingRequest,
    response: Response,
  ): void {
    const { slot, gen } = exchange;
    try {
      this.#respond(slot, gen, request, response, exchange);
    } catch (error) {
      this.#answerThrown(slot, gen, request, exchange, error);
    }
    this.flushSoon();
  }

  /** Has C send a request to an upstream. */
  sendOn(
    request: IncomingRequest,
    slot: number,
    gen: number,
    upstream: number,
    head: string,
    ours: number,
  ): Promise<Response> {
    let exchange = this.#live[slot];
    if (exchange?.gen !== gen) exchange = this.#open(slot, gen, request);
    if (head.length > HEAD_BYTES_MAX) {
      throw new RangeError(
        `The request's head has ${head.length} bytes; at most ${HEAD_BYTES_MAX} can be sent on`,
      );
    }
    this.#writeLines(slot, head);
    this.#ring.verdict(
      abi.SL_VERDICT_PROXY,
      0,
      slot,
      gen,
      0,
      head.length,
      upstream,
      ours,
      0,
    );
    this.flushSoon();
    return exchange.awaitAnswer();
  }

  // Answers.

  #respond(
    slot: number,
    gen: number,
    request: IncomingRequest,
    response: Response,
    exchange: Exchange | undefined,
  ): void {
    if (!(response instanceof Response)) {
      throw new TypeError("The handler gave no Response");
    }
    const parts = LightResponse.parts(response);
    const { status, lines, declaredLength } = parts;
    if (lines.length > HEAD_BYTES_MAX) {
      throw new RangeError(
        `The response's headers have ${lines.length} bytes; at most ${HEAD_BYTES_MAX} can be sent`,
      );
    }
    const failed = stepsFailed(request[PROGRESS]);
    const answer = exchange?.answer;
    const switches = status === 101 && answer?.status === 101 &&
      !IncomingRequest.takeover(request);
    if (status === 101 && !switches) {
      exchange ??= this.#open(slot, gen, request);
      this.#upgrade(exchange, request, lines);
      return;
    }
    if (
      answer &&
      (switches ||
        answer.isWhole && isAnswer(parts, answer, request.method))
    ) {
      this.#forward(slot, gen, parts, answer, failed);
      exchange!.close();
      return;
    }
    if (parts.body instanceof UpstreamAnswer) {
      parts.body = parts.body.bodiless ? null : parts.body.stream(); // it was read, or is another request's
    }
    const { body } = parts;
    if (request.method === "HEAD") {
      this.#respondHead(slot, gen, parts, failed, exchange);
      return;
    }
    if (body instanceof ReadableStream) {
      exchange ??= this.#open(slot, gen, request);
      exchange.pump(body, status, lines, declaredLength);
      return;
    }
    this.#writeLines(slot, lines);
    const written = this.#writeBody(slot, lines.length, body);
    if (written >= 0) {
      const head = lines.length;
      this.#finish(slot, gen, status, head, written, written, failed, exchange);
    } else {
      exchange ??= this.#open(slot, gen, request);
      this.#respondLarge(exchange, status, lines.length, body!);
    }
  }

  #upgrade(
    exchange: Exchange,
    request: IncomingRequest,
    lines: string,
  ): void {
    const takeover = IncomingRequest.takeover(request);
    if (!takeover) {
      throw new TypeError(
        'The handler answered 101, but nothing took the connection over: use upgradeWebSocket() of "sluice"',
      );
    }
    this.writeHead(exchange, 101, lines, undefined, false, -1);
    exchange.upgrade(takeover);
  }

  // The upstream's body goes on without us, under its own head if that is as it was.
  #forward(
    slot: number,
    gen: number,
    { status, lines }: ResponseParts,
    answer: UpstreamAnswer,
    failed: number,
  ): void {
    const isAsItWas = lines === answer.lines && status === answer.status;
    let text = "";
    if (!isAsItWas) {
      const isCoded = `\r\n${lines}`.includes(ENCODING);
      text = isCoded ? lines : lines + answer.coded;
      this.#writeLines(slot, text);
    }
    this.#ring.verdict(
      abi.SL_VERDICT_FORWARD,
      SL_VERDICT_F_FINAL,
      slot,
      gen,
      isAsItWas ? 0 : status,
      text.length,
      0,
      0,
      0,
      failed,
    );
  }

  // HEAD: the length that GET would have, or, if nobody knows it, the framing of an unknown length.
  #respondHead(
    slot: number,
    gen: number,
    parts: ResponseParts,
    failed: number,
    exchange: Exchange | undefined,
  ): void {
    const { status, lines, body, declaredLength, headBody } = parts;
    const length = declaredLength >= 0
      ? declaredLength
      : byteLength(headBody ?? body);
    this.#writeLines(slot, lines);
    if (length >= 0) {
      this.#finish(
        slot,
        gen,
        status,
        lines.length,
        0,
        length,
        failed,
        exchange,
      );
    } else {
      this.#ring.verdict(
        SL_VERDICT_RESPOND,
        0,
        slot,
        gen,
        status,
        lines.length,
        lines.length,
        0,
        0,
        failed,
      );
      this.#ring.verdict(SL_VERDICT_CHUNK, END_FINAL, slot, gen, 0, 0, 0, 0, 0);
      exchange?.close();
    }
    if (body instanceof ReadableStream) body.cancel().catch(() => {});
  }

  #finish(
    slot: number,
    gen: number,
    status: number,
    headLen: number,
    bodyLen: number,
    length: number,
    failed: number,
    exchange: Exchange | undefined,
  ): void {
    const flags = length >= 0 ? END_FINAL | SL_VERDICT_F_LENGTH : END_FINAL;
    this.#ring.verdict(
      SL_VERDICT_RESPOND,
      flags,
      slot,
      gen,
      status,
      headLen,
      headLen,
      bodyLen,
      length,
      failed,
    );
    exchange?.close();
  }

  #respondLarge(
    exchange: Exchange,
    status: number,
    headLen: number,
    body: string | Uint8Array,
  ): void {
    const { slot, gen } = exchange;
    const bytes = typeof body === "string" ? encoder.encode(body) : body;
    const room = abi.SL_SLOT_TX_BYTES - headLen;
    this.#tx(slot).set(bytes.subarray(0, room), headLen);
    this.#ring.verdict(
      SL_VERDICT_RESPOND,
      SL_VERDICT_F_LENGTH,
      slot,
      gen,
      status,
      headLen,
      headLen,
      room,
      bytes.length,
      stepsFailed(exchange.request?.[PROGRESS]),
    );
    exchange.keepRest(bytes.subarray(room));
  }

  #answerThrown(
    slot: number,
    gen: number,
    request: IncomingRequest,
    exchange: Exchange | undefined,
    error: unknown,
  ): void {
    console.error(error);
    const timeout = error instanceof DOMException &&
      error.name === "TimeoutError";
    this.#answerStatus(slot, gen, timeout ? 504 : 500, request, exchange);
  }

  #answerStatus(
    slot: number,
    gen: number,
    status: number,
    request: IncomingRequest | undefined,
    exchange: Exchange | undefined,
  ): void {
    const text = status === 504 ? "Gateway Timeout" : "Internal Server Error";
    const line = "content-type: text/plain;charset=UTF-8\r\n";
    this.#writeLines(slot, line);
    const written = this.#writeBody(slot, line.length, text);
    const failed = stepsFailed(request?.[PROGRESS]);
    const head = line.length;
    this.#finish(slot, gen, status, head, written, written, failed, exchange);
  }

  /** Answers with an error where nothing was sent yet. */
  answerError(exchange: Exchange, status: number): void {
    const { slot, gen, request } = exchange;
    this.#answerStatus(slot, gen, status, request, exchange);
    this.flushSoon();
  }

  /** Breaks an answer off, so that its client sees that it is not whole. `status`: why, of an upgraded connection. */
  breakOff(exchange: Exchange, status = 0): void {
    const { slot, gen } = exchange;
    const { SL_VERDICT_FAIL: kind } = abi;
    this.#ring.verdict(kind, SL_VERDICT_F_FINAL, slot, gen, status, 0, 0, 0, 0);
    exchange.close();
    this.flushSoon();
  }

  // What exchanges write.

  verdict(kind: number, flags: number, { slot, gen }: Exchange): void {
    this.#ring.verdict(kind, flags, slot, gen, 0, 0, 0, 0, 0);
  }

  writeHead(
    { slot, gen, request }: Exchange,
    status: number,
    lines: string,
    part: Uint8Array | undefined,
    last: boolean,
    length: number,
  ): void {
    this.#writeLines(slot, lines);
    if (part) this.#tx(slot).set(part, lines.length);
    const flags = (last ? END_FINAL : 0) |
      (length >= 0 ? SL_VERDICT_F_LENGTH : 0);
    const bodyLen = part?.length ?? 0;
    this.#ring.verdict(
      SL_VERDICT_RESPOND,
      flags,
      slot,
      gen,
      status,
      lines.length,
      lines.length,
      bodyLen,
      length,
      stepsFailed(request?.[PROGRESS]),
    );
    this.flushSoon();
  }

  writeChunk(
    { slot, gen }: Exchange,
    part: Uint8Array | undefined,
    last: boolean,
  ): void {
    if (part) this.#tx(slot).set(part);
    const flags = last ? END_FINAL : 0;
    this.#ring.verdict(
      SL_VERDICT_CHUNK,
      flags,
      slot,
      gen,
      0,
      0,
      0,
      part?.length ?? 0,
      0,
    );
    this.flushSoon();
  }

  /** Bytes of an upgraded connection: together they fit. */
  writeParts(
    { slot, gen }: Exchange,
    parts: readonly Uint8Array[],
    flags: number,
    status: number,
  ): void {
    const tx = this.#tx(slot);
    let at = 0;
    for (const part of parts) {
      tx.set(part, at);
      at += part.length;
    }
    const { SL_VERDICT_CHUNK: kind } = abi;
    this.#ring.verdict(kind, flags, slot, gen, status, 0, 0, at, 0);
    this.flushSoon();
  }

  copyPart(slot: number, bytes: number): Uint8Array<ArrayBuffer> {
    const from = this.#ring.slotsOff + slot * abi.SL_SLOT_BYTES +
      abi.SL_SLOT_RX_OFF;
    const part = new Uint8Array(bytes);
    part.set(this.#ring.region.subarray(from, from + bytes));
    return part;
  }

  forget(exchange: Exchange): void {
    if (this.#live[exchange.slot] === exchange) {
      this.#live[exchange.slot] = undefined;
    }
  }

  #tx(slot: number): Uint8Array {
    let view = this.#views[slot];
    if (view === undefined) {
      const off = this.#ring.slotsOff + slot * abi.SL_SLOT_BYTES +
        abi.SL_SLOT_TX_OFF;
      view = this.#views[slot] = this.#ring.region.subarray(
        off,
        off + abi.SL_SLOT_TX_BYTES,
      );
    }
    return view;
  }

  // Field lines are latin1: one byte for each character.
  #writeLines(slot: number, lines: string): void {
    const { region, slotsOff } = this.#ring;
    const off = slotsOff + slot * abi.SL_SLOT_BYTES + abi.SL_SLOT_TX_OFF;
    for (let i = 0; i < lines.length; i++) {
      region[off + i] = lines.charCodeAt(i);
    }
  }

  // Bytes written behind the field lines; -1 if the body does not fit.
  #writeBody(
    slot: number,
    at: number,
    body: string | Uint8Array | null,
  ): number {
    if (body === null) return 0;
    const room = abi.SL_SLOT_TX_BYTES - at;
    if (body.length > room) return -1;
    if (typeof body !== "string") {
      this.#tx(slot).set(body, at);
      return body.length;
    }
    if (body.length <= BY_HAND_MAX) {
      const written = this.#writeAscii(slot, at, body);
      if (written >= 0) return written;
    }
    const { read, written } = encoder.encodeInto(
      body,
      this.#tx(slot).subarray(at),
    );
    return read === body.length ? written : -1;
  }

  #writeAscii(slot: number, at: number, text: string): number {
    const { region, slotsOff } = this.#ring;
    const off = slotsOff + slot * abi.SL_SLOT_BYTES + abi.SL_SLOT_TX_OFF + at;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) return -1;
      region[off + i] = code;
    }
    return text.length;
  }
}

/** The request that an isolate is handling now, as "METHOD URL", or "onClientHello", read from outside of it. */
export function requestRunning(ring: Ring): string | undefined {
  const counter = ring.running();
  if (counter === undefined) return undefined;
  const { words } = ring;
  const at = ring.eventWord(counter);
  const head = words[at];
  if ((head & 255) === abi.SL_EVENT_HELLO) return "onClientHello";
  if ((head & 255) !== abi.SL_EVENT_REQUEST) return undefined;
  const slotOff = ring.slotsOff + words[at + 1] * abi.SL_SLOT_BYTES;
  const text = ring.latin1(slotOff + abi.SL_SLOT_HEAD_OFF, words[at + 3]);
  const method = abi.METHODS[head >> 16 & 255] ||
    text.slice(0, words[at + 4] >>> 16);
  return `${method} ${urlOf(words, at, head >> 8 & 255, text)}`;
}

function tlsOf(ring: Ring, slotOff: number): TlsConnection {
  const at = slotOff + abi.SL_SLOT_TLS_OFF;
  const textOff = at + abi.SL_SLOT_TLS_TEXT_OFF;
  return tlsConnection(
    ring.words,
    at >> 2,
    (from, length) => ring.latin1(textOff + from, length),
    (length) => {
      const from = at + abi.SL_SLOT_TLS_CLIENT_SHA256_OFF;
      const sha256 = ring.region.slice(from, from + 32);
      return {
        sha256,
        lines: ring.latin1(slotOff + abi.SL_SLOT_TX_OFF, length),
      };
    },
  );
}

function urlOf(
  words: Int32Array,
  at: number,
  flags: number,
  text: string,
): string {
  const host = words[at + 8];
  const authority = host >>> 16 === 0
    ? `localhost:${words[at + 9] & 0xffff}`
    : text.slice(host & 0xffff, (host & 0xffff) + (host >>> 16));
  const scheme = (flags & abi.SL_EVENT_F_TLS) !== 0 ? "https://" : "http://";
  return scheme + authority + targetOf(words, at, flags, text);
}

function targetOf(
  words: Int32Array,
  at: number,
  flags: number,
  text: string,
): string {
  const span = words[at + 5];
  const target = text.slice(span & 0xffff, (span & 0xffff) + (span >>> 16));
  if ((flags & abi.SL_EVENT_F_ABSOLUTE) === 0) return target;
  const rest = target.slice(target.indexOf("//") + 2);
  const slash = rest.search(/[/?]/);
  if (slash < 0) return "/";
  return rest[slash] === "/" ? rest.slice(slash) : "/" + rest.slice(slash);
}

// Whether what a handler gave is the upstream's answer. Where there is no body, it is not asked for.
function isAnswer(
  { body, headBody }: ResponseParts,
  answer: UpstreamAnswer,
  method: string,
): boolean {
  if (answer.status === 101) return false; // behind it is a tunnel, which no answer of another status can have
  if (body === answer) return true;
  return body === null && headBody === answer &&
    (answer.bodiless || method === "HEAD");
}

function byteLength(body: OutgoingBody): number {
  if (body === null || body instanceof UpstreamAnswer) return -1;
  if (typeof body === "string") return encoder.encode(body).length;
  return body instanceof Uint8Array ? body.length : -1;
}

function discard(response: unknown): void {
  if (response instanceof Response && !response.bodyUsed) {
    response.body?.cancel().catch(() => {});
  }
}

// ---- The loop

/** Where an isolate sleeps until a worker has events for it. */
export interface Doorbell {
  /** Resolves when it was rung; false: never again. */
  rung(): Promise<boolean>;
}

// Events handled before timers and I/O of handlers get their turn.
const TURN = 64;

/** Runs dispatchers until the doorbell is taken away. */
export async function runDispatchers(
  dispatchers: readonly Dispatcher[],
  doorbell: Doorbell,
): Promise<void> {
  let handled = 0;
  for (;;) {
    let count = 0;
    for (const dispatcher of dispatchers) count += dispatcher.drain();
    if (count > 0) {
      handled += count;
      if (handled < TURN) await undefined; // promises of handlers go on
      else {
        handled = 0;
        await macrotask();
      }
    } else if (fallAsleep(dispatchers)) {
      handled = 0;
      if (!await doorbell.rung()) return;
      for (const { ring } of dispatchers) ring.wake();
    }
  }
}

// All rings, or none.
function fallAsleep(dispatchers: readonly Dispatcher[]): boolean {
  for (const [i, { ring }] of dispatchers.entries()) {
    if (ring.sleep()) continue;
    for (let k = 0; k < i; k++) dispatchers[k].ring.wake();
    return false;
  }
  return true;
}
