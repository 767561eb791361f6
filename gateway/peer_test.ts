/**
 * The C side of a ring, for tests: it follows `ring.h` and `event.h`, and throws where a verdict breaks their contract.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import { makeRegion, Ring } from "../ffi/ring.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { App } from "./app.ts";

export interface PeerRequest {
  method?: string;
  target?: string;
  headers?: [string, string][];
  /** Parts of the body; absent: no body. */
  body?: Uint8Array[];
  tls?: boolean;
  remote?: { bytes: number[]; port: number };
  absolute?: boolean;
  /** No Host field. */
  hostless?: boolean;
}

/** What the client would see. */
export interface PeerAnswer {
  status: number;
  lines: string;
  body: Uint8Array;
  /** Bytes of each RESPOND and CHUNK. */
  writes: number[];
  /** The declared length; -1: chunked. */
  length: number;
  ended: boolean;
  failed: boolean;
}

const METHODS = [
  "",
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "OPTIONS",
  "PATCH",
];

class Slot {
  gen = 0;
  lent = false;
  parts: Uint8Array[] = [];
  wanted = false;
  rxBusy = false;
  held = false; // no WRITABLE for now
  writableDue = false;
  writableAt = 0; // the event counter behind WRITABLE
  answer: PeerAnswer = emptyAnswer();
  done: () => void = () => {};
}

function emptyAnswer(): PeerAnswer {
  return {
    status: 0,
    lines: "",
    body: new Uint8Array(),
    writes: [],
    length: -1,
    ended: false,
    failed: false,
  };
}

/** One exchange as the peer sees it. */
export interface PeerExchange {
  answer: PeerAnswer;
  /** Resolves when the slot is given back. */
  released: Promise<void>;
  slot: number;
  gen: number;
}

export class Peer {
  readonly ring: Ring;
  readonly dispatcher: Dispatcher;
  wakes = 0;
  /** Every verdict, as it was read. */
  verdicts: number[] = [];
  #memory = makeRegion(64, () => {});
  #words: Int32Array;
  #halves: Uint16Array;
  #bytes: Uint8Array;
  #doubles: Float64Array;
  #eventTail = 0;
  #verdictHead = 0;
  #slots = Array.from({ length: 64 }, () => new Slot());

  constructor(app: App) {
    this.ring = new Ring(this.#memory);
    const { memory } = this.#memory;
    const { offset } = this.#memory;
    this.#words = new Int32Array(memory, offset);
    this.#halves = new Uint16Array(memory, offset);
    this.#bytes = new Uint8Array(memory, offset);
    this.#doubles = new Float64Array(memory, offset);
    this.dispatcher = new Dispatcher(this.ring, app, () => {
      this.wakes++;
      this.read();
    });
    this.#sleep();
  }

  #sleep(): void {
    Atomics.store(this.#words, abi.SL_RING_WORKER_SLEEPING_OFF / 4, 1);
  }

  /** Sends a request and lets the dispatcher handle it. */
  send(request: PeerRequest): PeerExchange {
    const index = this.#slots.findIndex((slot) => !slot.lent);
    const slot = this.#slots[index];
    slot.lent = true;
    slot.gen++;
    slot.answer = emptyAnswer();
    slot.parts = [...request.body ?? []];
    slot.wanted = slot.rxBusy = slot.writableDue = false;
    slot.writableAt = 0;
    const released = new Promise<void>((resolve) => slot.done = resolve);
    this.#writeRequest(index, slot, request);
    this.dispatcher.drain();
    return { answer: slot.answer, released, slot: index, gen: slot.gen };
  }

  #writeRequest(index: number, slot: Slot, request: PeerRequest): void {
    const { method = "GET", target = "/", headers = [], body } = request;
    const fields = request.hostless
      ? headers
      : [["host", "example.org:8080"], ...headers];
    const head = `${method} ${target} HTTP/1.1\r\n` +
      fields.map(([name, value]) => `${name}:  ${value}\r\n`).join("") + "\r\n";
    const off = this.#slotOff(index) + abi.SL_SLOT_HEAD_OFF;
    for (let i = 0; i < head.length; i++) {
      this.#bytes[off + i] = head.charCodeAt(i);
    }
    const at = this.#event(abi.SL_EVENT_REQUEST, index);
    const id = METHODS.indexOf(method);
    const remote = request.remote ?? { bytes: [127, 0, 0, 1], port: 4000 };
    this.#bytes[at + abi.SL_EVENT_FLAGS_OFF] = (body ? 0 : abi.SL_EVENT_F_END) |
      (request.tls ? abi.SL_EVENT_F_TLS : 0) |
      (request.absolute ? abi.SL_EVENT_F_ABSOLUTE : 0) |
      (remote.bytes.length === 16 ? abi.SL_EVENT_F_IPV6 : 0);
    this.#bytes[at + abi.SL_EVENT_METHOD_OFF] = Math.max(0, id);
    this.#words[(at + abi.SL_EVENT_LEN_OFF) / 4] = head.length;
    const half = (fieldOff: number, value: number) =>
      this.#halves[(at + fieldOff) / 2] = value;
    half(abi.SL_EVENT_FIELD_COUNT_OFF, fields.length);
    half(abi.SL_EVENT_METHOD_LEN_OFF, method.length);
    half(abi.SL_EVENT_TARGET_OFF_OFF, method.length + 1);
    half(abi.SL_EVENT_TARGET_LEN_OFF, target.length);
    if (request.absolute) {
      const host = target.split(/[/?]/)[2];
      half(abi.SL_EVENT_HOST_OFF_OFF, head.indexOf(host));
      half(abi.SL_EVENT_HOST_LEN_OFF, host.length);
    } else if (!request.hostless) {
      half(abi.SL_EVENT_HOST_OFF_OFF, head.indexOf("example.org"));
      half(abi.SL_EVENT_HOST_LEN_OFF, "example.org:8080".length);
    }
    half(abi.SL_EVENT_LOCAL_PORT_OFF, 8080);
    half(abi.SL_EVENT_REMOTE_PORT_OFF, remote.port);
    remote.bytes.forEach((byte, i) =>
      this.#bytes[at + abi.SL_EVENT_REMOTE_ADDR_OFF + i] = byte
    );
    this.#publish();
    slot.held = false;
  }

  #slotOff(index: number): number {
    return this.ring.slotsOff + index * abi.SL_SLOT_BYTES;
  }

  #event(kind: number, index: number, len = 0, flags = 0): number {
    const entries = 64 * abi.SL_RING_ENTRIES_PER_SLOT;
    const at = abi.SL_RING_EVENTS_OFF + (this.#eventTail & (entries - 1)) * 64;
    this.#bytes.fill(0, at, at + 64);
    this.#bytes[at] = kind;
    this.#bytes[at + abi.SL_EVENT_FLAGS_OFF] = flags;
    this.#words[(at + abi.SL_EVENT_SLOT_OFF) / 4] = index;
    this.#words[(at + abi.SL_EVENT_GEN_OFF) / 4] = this.#slots[index].gen;
    this.#words[(at + abi.SL_EVENT_LEN_OFF) / 4] = len;
    this.#eventTail++;
    return at;
  }

  #publish(): void {
    Atomics.store(this.#words, abi.SL_RING_EVENT_TAIL_OFF / 4, this.#eventTail);
  }

  /** Tells TypeScript that the client is gone. */
  abort(exchange: PeerExchange, status = abi.SL_E_CLIENT_CLOSED): void {
    const at = this.#event(abi.SL_EVENT_ABORT, exchange.slot, -status);
    this.#words[(at + abi.SL_EVENT_GEN_OFF) / 4] = exchange.gen;
    this.#publish();
    this.dispatcher.drain();
  }

  /** A slow client: no WRITABLE until `resume`. */
  hold(exchange: PeerExchange): void {
    this.#slots[exchange.slot].held = true;
  }

  resume(exchange: PeerExchange): void {
    const slot = this.#slots[exchange.slot];
    slot.held = false;
    if (slot.writableDue) this.#event(abi.SL_EVENT_WRITABLE, exchange.slot);
    slot.writableDue = false;
    this.#publish();
  }

  /** Adds a part to a body that is still coming; `last` ends it. */
  feed(exchange: PeerExchange, part: Uint8Array): void {
    const slot = this.#slots[exchange.slot];
    slot.parts.push(part);
    this.#sendBody(exchange.slot, slot);
    this.#publish();
    this.dispatcher.drain();
  }

  #sendBody(index: number, slot: Slot): void {
    if (!slot.wanted || slot.rxBusy || slot.parts.length === 0) return;
    const part = slot.parts.shift()!;
    this.#bytes.set(part, this.#slotOff(index) + abi.SL_SLOT_RX_OFF);
    slot.rxBusy = part.length > 0;
    const last = slot.parts.length === 0;
    this.#event(
      abi.SL_EVENT_BODY,
      index,
      part.length,
      last ? abi.SL_EVENT_F_END : 0,
    );
  }

  /** Reads all verdicts. */
  read(): void {
    const entries = 64 * abi.SL_RING_ENTRIES_PER_SLOT;
    const base = abi.SL_RING_EVENTS_OFF + entries * 64;
    const tail = Atomics.load(this.#words, abi.SL_RING_VERDICT_TAIL_OFF / 4);
    for (; this.#verdictHead !== tail; this.#verdictHead++) {
      this.#verdict(base + (this.#verdictHead & (entries - 1)) * 64);
    }
    this.#publish();
    this.#sleep();
  }

  #verdict(at: number): void {
    const word = (off: number) => this.#words[(at + off) / 4];
    const kind = this.#bytes[at];
    const flags = this.#bytes[at + abi.SL_VERDICT_FLAGS_OFF];
    const index = word(abi.SL_VERDICT_SLOT_OFF);
    const slot = this.#slots[index];
    this.verdicts.push(kind);
    if (!slot.lent || slot.gen !== word(abi.SL_VERDICT_GEN_OFF)) {
      throw new Error(`verdict ${kind} for a slot not lent`);
    }
    if (kind === abi.SL_VERDICT_BODY_WANTED) slot.wanted = true;
    if (kind === abi.SL_VERDICT_BODY_TAKEN) slot.rxBusy = false;
    if (kind === abi.SL_VERDICT_FAIL) slot.answer.failed = true;
    if (kind === abi.SL_VERDICT_RESPOND) this.#respond(at, index, slot, flags);
    if (kind === abi.SL_VERDICT_CHUNK) this.#chunk(at, index, slot, flags);
    this.#sendBody(index, slot);
    if (flags & abi.SL_VERDICT_F_FINAL) {
      slot.lent = false;
      slot.done();
    }
  }

  #respond(at: number, index: number, slot: Slot, flags: number): void {
    if (slot.answer.status !== 0) throw new Error("a second RESPOND");
    const headLen = this.#words[(at + abi.SL_VERDICT_HEAD_LEN_OFF) / 4];
    const off = this.#slotOff(index) + abi.SL_SLOT_TX_OFF;
    slot.answer.status = this.#halves[(at + abi.SL_VERDICT_STATUS_OFF) / 2];
    slot.answer.lines = String.fromCharCode(
      ...this.#bytes.slice(off, off + headLen),
    );
    if (flags & abi.SL_VERDICT_F_LENGTH) {
      slot.answer.length =
        this.#doubles[(at + abi.SL_VERDICT_CONTENT_LENGTH_OFF) / 8];
    }
    this.#write(at, index, slot, flags);
  }

  #chunk(at: number, index: number, slot: Slot, flags: number): void {
    if (slot.answer.status === 0) throw new Error("CHUNK before RESPOND");
    const head = this.#words[abi.SL_RING_EVENT_HEAD_OFF / 4];
    if (slot.writableDue || slot.writableAt > head) {
      throw new Error("CHUNK before WRITABLE was read");
    }
    this.#write(at, index, slot, flags);
  }

  #write(at: number, index: number, slot: Slot, flags: number): void {
    const { answer } = slot;
    const bodyOff = this.#words[(at + abi.SL_VERDICT_BODY_OFF_OFF) / 4];
    const bodyLen = this.#words[(at + abi.SL_VERDICT_BODY_LEN_OFF) / 4];
    if (bodyOff + bodyLen > abi.SL_SLOT_TX_BYTES) {
      throw new Error("outside of the tx area");
    }
    const off = this.#slotOff(index) + abi.SL_SLOT_TX_OFF + bodyOff;
    const whole = new Uint8Array(answer.body.length + bodyLen);
    whole.set(answer.body);
    whole.set(this.#bytes.subarray(off, off + bodyLen), answer.body.length);
    answer.body = whole;
    answer.writes.push(bodyLen);
    answer.ended = (flags & abi.SL_VERDICT_F_END) !== 0;
    if (answer.ended) return;
    if (slot.held) slot.writableDue = true;
    else this.#sendWritable(index, bodyLen);
  }

  // C releases the area of an empty write at once; otherwise the event must be read before the next one.
  #sendWritable(index: number, written: number): void {
    this.#event(abi.SL_EVENT_WRITABLE, index);
    if (written > 0) this.#slots[index].writableAt = this.#eventTail;
  }

  /** Sends a request and waits for its whole answer. */
  async ask(request: PeerRequest): Promise<PeerAnswer> {
    const exchange = this.send(request);
    let over = false;
    exchange.released.then(() => over = true);
    for (let turns = 0; !over; turns++) {
      if (turns > 100_000) throw new Error("the request was never answered");
      await new Promise((resolve) => setImmediate(resolve));
      this.dispatcher.drain();
    }
    return exchange.answer;
  }

  /** Runs handlers and the ring until `check` holds. */
  async until(check: () => boolean): Promise<void> {
    for (let turns = 0; !check(); turns++) {
      if (turns > 100_000) throw new Error("it never came true");
      await new Promise((resolve) => setImmediate(resolve));
      this.dispatcher.drain();
    }
  }
}

export function textOf(answer: PeerAnswer): string {
  return new TextDecoder().decode(answer.body);
}

/** An answer's fields. */
export function headersOf(answer: PeerAnswer): Headers {
  const headers = new Headers();
  for (const line of answer.lines.split("\r\n").filter(Boolean)) {
    const colon = line.indexOf(": ");
    headers.append(line.slice(0, colon), line.slice(colon + 2));
  }
  return headers;
}
