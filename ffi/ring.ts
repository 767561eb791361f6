/**
 * The rings between C and one isolate: memory, typed views, and the sleep and wake protocol of
 * `native/include/sluice/ring.h`. One {@linkcode Ring} per worker.
 *
 * Nothing here is handed to user code: views cover memory that C writes to.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import * as abi from "./abi.ts";

const ENTRY_WORDS = abi.SL_RING_ENTRY_BYTES / 4;
const EVENT_TAIL = abi.SL_RING_EVENT_TAIL_OFF / 4;
const EVENT_HEAD = abi.SL_RING_EVENT_HEAD_OFF / 4;
const EVENT_BEGUN = abi.SL_RING_EVENT_BEGUN_OFF / 4;
const CLOSED = abi.SL_RING_CLOSED_OFF / 4;
const VERDICT_TAIL = abi.SL_RING_VERDICT_TAIL_OFF / 4;
const ISOLATE_SLEEPING = abi.SL_RING_ISOLATE_SLEEPING_OFF / 4;
const WORKER_SLEEPING = abi.SL_RING_WORKER_SLEEPING_OFF / 4;

/** A region as it is posted to another isolate. */
export interface RingMemory {
  memory: SharedArrayBuffer;
  /** Where the first whole page of `memory` begins. */
  offset: number;
  exchanges: number;
}

/** Bytes of one region: a control page, two rings, and the exchange slots. */
export function regionBytes(exchanges: number): number {
  const entries = exchanges * abi.SL_RING_ENTRIES_PER_SLOT;
  return abi.SL_RING_EVENTS_OFF + 2 * entries * abi.SL_RING_ENTRY_BYTES +
    exchanges * abi.SL_SLOT_BYTES;
}

// C puts its own pages in the place of a region's. Blocks above 32 MiB have pages that they share with no other, whatever malloc has learned
// (M_MMAP_THRESHOLD_MAX); what is never touched costs nothing.
const OWN_PAGES_BYTES = 33 * 1024 * 1024;

/**
 * Makes a region that C takes. C asks for page alignment, and JavaScript does not know where its memory lies: so regions
 * are offered at each offset that the alignment may need, until `attach` throws no more.
 */
export function makeRegion(
  exchanges: number,
  attach: (region: Uint8Array) => void,
): RingMemory {
  const bytes = regionBytes(exchanges);
  const memory = new SharedArrayBuffer(
    Math.max(bytes + abi.SL_RING_PAGE, OWN_PAGES_BYTES),
  );
  let failure: unknown;
  // Allocators align to 16 bytes, and a large block lies 16 bytes into its first page.
  for (let offset = abi.SL_RING_PAGE - 16; offset >= 0; offset -= 16) {
    try {
      attach(new Uint8Array(memory, offset, bytes));
      return { memory, offset, exchanges };
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/** Gives a region to C again, after C has let go of it: its bytes are all zero then. */
export function reuseRegion(
  { memory, offset, exchanges }: RingMemory,
  attach: (region: Uint8Array) => void,
): void {
  attach(new Uint8Array(memory, offset, regionBytes(exchanges)));
}

// What Buffer has besides its published types; a tenth of TextDecoder's price on shared memory.
interface Latin1 {
  latin1Slice(from: number, to: number): string;
}

/** The isolate's side of one region: it reads events and writes verdicts. */
export class Ring {
  /** The whole region, as C gets it. */
  readonly region: Uint8Array;
  /** The region as words; an event's word 0 is `eventWord(counter)`. */
  readonly words: Int32Array;
  /** The region as 16-bit words. */
  readonly halves: Uint16Array;
  /** The region as doubles. */
  readonly doubles: Float64Array;
  /** The first byte of slot 0. */
  readonly slotsOff: number;
  readonly slots: number;
  /** Events before this counter are read. */
  head = 0;
  #latin1: Latin1;
  #mask: number;
  #eventsWord: number;
  #verdictsWord: number;
  #tail = 0;
  #published = 0;
  #isClosed = false;

  constructor({ memory, offset, exchanges }: RingMemory) {
    const bytes = regionBytes(exchanges);
    const entries = exchanges * abi.SL_RING_ENTRIES_PER_SLOT;
    const verdictsOff = abi.SL_RING_EVENTS_OFF +
      entries * abi.SL_RING_ENTRY_BYTES;
    this.region = new Uint8Array(memory, offset, bytes);
    this.words = new Int32Array(memory, offset, bytes / 4);
    this.halves = new Uint16Array(memory, offset, bytes / 2);
    this.doubles = new Float64Array(memory, offset, bytes / 8);
    this.slots = exchanges;
    this.slotsOff = verdictsOff + entries * abi.SL_RING_ENTRY_BYTES;
    this.#latin1 = Buffer.from(memory, offset, bytes) as unknown as Latin1;
    this.#mask = entries - 1;
    this.#eventsWord = abi.SL_RING_EVENTS_OFF / 4;
    this.#verdictsWord = verdictsOff / 4;
    this.head = this.words[EVENT_HEAD];
    this.#tail = this.#published = this.words[VERDICT_TAIL];
  }

  /** Events that are there and not read. */
  pending(): number {
    if (this.#isClosed) return 0;
    return (Atomics.load(this.words, EVENT_TAIL) - this.head) | 0;
  }

  /** Where in `words` the event with this counter begins. */
  eventWord(counter: number): number {
    return this.#eventsWord + (counter & this.#mask) * ENTRY_WORDS;
  }

  /** Before the event with this counter is handled. False: it must not be, nor any later one, because another isolate has them. */
  begin(counter: number): boolean {
    Atomics.store(this.words, EVENT_BEGUN, (counter + 1) | 0);
    this.#isClosed = Atomics.load(this.words, CLOSED) !== 0;
    return !this.#isClosed;
  }

  /** The counter of the first event that is not begun. */
  begun(): number {
    return Atomics.load(this.words, EVENT_BEGUN);
  }

  /** The counter of the event that is being handled; undefined: none is. For who watches from outside: it may be over by the time it is known. */
  running(): number | undefined {
    const begun = this.begun();
    const head = Atomics.load(this.words, EVENT_HEAD);
    return ((begun - head) | 0) > 0 ? (begun - 1) | 0 : undefined;
  }

  /** Gives `count` events back to C: their entries may be written again. */
  advance(count: number): void {
    this.head = (this.head + count) | 0;
    Atomics.store(this.words, EVENT_HEAD, this.head);
  }

  /** Bytes of the region as a string of the same length. */
  latin1(off: number, len: number): string {
    return this.#latin1.latin1Slice(off, off + len);
  }

  /** Writes a verdict; `publish` makes it visible. */
  verdict(
    kind: number,
    flags: number,
    slot: number,
    gen: number,
    status: number,
    headLen: number,
    bodyOff: number,
    bodyLen: number,
    contentLength: number,
    stepsFailed: number = 0,
  ): void {
    const { words } = this;
    const at = this.#verdictsWord + (this.#tail & this.#mask) * ENTRY_WORDS;
    words[at] = kind | (flags << 8) | (status << 16);
    words[at + 1] = slot;
    words[at + 2] = gen;
    words[at + 3] = headLen;
    words[at + 4] = bodyOff;
    words[at + 5] = bodyLen;
    this.doubles[(at + 6) >> 1] = contentLength;
    words[at + 8] = stepsFailed;
    this.#tail = (this.#tail + 1) | 0;
  }

  /** Publishes what was written since the last call. Returns true if the worker sleeps and must be woken. */
  publish(): boolean {
    if (this.#tail === this.#published) return false;
    this.#published = this.#tail;
    Atomics.store(this.words, VERDICT_TAIL, this.#tail);
    return Atomics.exchange(this.words, WORKER_SLEEPING, 0) === 1;
  }

  /** Says that the isolate is going to sleep. Returns false if an event has come: then it must not. */
  sleep(): boolean {
    Atomics.store(this.words, ISOLATE_SLEEPING, 1);
    if (this.pending() === 0) return true;
    this.wake();
    return false;
  }

  /** Says that the isolate is awake. */
  wake(): void {
    Atomics.store(this.words, ISOLATE_SLEEPING, 0);
  }
}

// Ring writes these fields as whole words: the layout must be what it takes it for.
const LAYOUT: [actual: number, expected: number][] = [
  [abi.SL_EVENT_KIND_OFF, 0],
  [abi.SL_EVENT_FLAGS_OFF, 1],
  [abi.SL_EVENT_METHOD_OFF, 2],
  [abi.SL_EVENT_SLOT_OFF, 4],
  [abi.SL_EVENT_GEN_OFF, 8],
  [abi.SL_EVENT_LEN_OFF, 12],
  [abi.SL_VERDICT_KIND_OFF, 0],
  [abi.SL_VERDICT_FLAGS_OFF, 1],
  [abi.SL_VERDICT_STATUS_OFF, 2],
  [abi.SL_VERDICT_SLOT_OFF, 4],
  [abi.SL_VERDICT_GEN_OFF, 8],
  [abi.SL_VERDICT_HEAD_LEN_OFF, 12],
  [abi.SL_VERDICT_BODY_OFF_OFF, 16],
  [abi.SL_VERDICT_BODY_LEN_OFF, 20],
  [abi.SL_VERDICT_CONTENT_LENGTH_OFF, 24],
  [abi.SL_VERDICT_STEPS_FAILED_OFF, 32],
];
for (const [actual, expected] of LAYOUT) {
  if (actual !== expected) {
    throw new Error(
      `ffi/ring.ts: the ABI has an offset ${actual} where ${expected} is written`,
    );
  }
}
