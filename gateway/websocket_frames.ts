/**
 * WebSocket frames (RFC 6455 section 5) as bytes: what a client sends is decoded and judged, what we send is encoded. No I/O and no clock.
 *
 * @module
 */

/** What a frame carries. */
export const OPCODE = {
  continuation: 0,
  text: 1,
  binary: 2,
  close: 8,
  ping: 9,
  pong: 10,
} as const;

/** Close codes that we send by ourselves, and those that stand for a close without one. */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  noCode: 1005,
  abnormal: 1006,
  invalidData: 1007,
  tooBig: 1009,
  internalError: 1011,
} as const;

/** What one message may take. */
export interface FrameLimits {
  /** Bytes of a message, over all of its frames. */
  messageBytesMax: number;
  /** Bytes of one frame. */
  frameBytesMax: number;
  /** Frames of a message. */
  fragmentsMax: number;
}

/** A whole message, or a control frame. */
export type Received =
  | { kind: "text"; data: string }
  | { kind: "binary" | "ping" | "pong"; data: Uint8Array<ArrayBuffer> }
  | { kind: "close"; code: number; reason: string };

/** The client broke the protocol or a limit; `code` is what the connection is closed with. */
export class FrameError extends Error {
  override name = "FrameError";
  constructor(readonly code: number, message: string) {
    super(message);
  }
}

const CONTROL_BYTES_MAX = 125;
const EMPTY = new Uint8Array();

const wholeText = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads what a client sends, part by part: `feed` one, then call `next` until it gives nothing more. After an error, or a close, what
 * follows means nothing.
 */
export class FrameDecoder {
  #limits: FrameLimits;
  #part: Uint8Array = EMPTY;
  #at = 0; // in #part: bytes before it are read
  // The frame at hand.
  #head = new Uint8Array(14);
  #headLen = 0;
  #headNeed = 2;
  #inFrame = false;
  #length = 0;
  #left = 0; // of its payload
  #mask = new Uint8Array(4);
  #control: Uint8Array<ArrayBuffer> = EMPTY; // the payload of a control frame
  // The message at hand.
  #opcode = 0; // text or binary; 0: none
  #bytes = 0;
  #fragments = 0;
  #utf8: TextDecoder | undefined; // judges a text that comes in several pieces
  #kept = EMPTY; // those pieces
  #keptBytes = 0;

  constructor(limits: FrameLimits) {
    this.#limits = limits;
  }

  /** All bytes of the last part are read. */
  get hungry(): boolean {
    return this.#at === this.#part.length;
  }

  /** The next part, which is unmasked in place. */
  feed(part: Uint8Array): void {
    this.#part = part;
    this.#at = 0;
  }

  /** The next message or control frame, or undefined: it takes more bytes. Throws a {@linkcode FrameError}. */
  next(): Received | undefined {
    for (;;) {
      if (!this.#inFrame && !this.#readHead()) return undefined;
      const received = this.#isControl()
        ? this.#readControl()
        : this.#readData();
      if (received || this.#inFrame) return received;
    }
  }

  #isControl(): boolean {
    return (this.#head[0] & 8) !== 0;
  }

  // Each byte is judged when it comes.
  #readHead(): boolean {
    while (this.#at < this.#part.length) {
      const byte = this.#part[this.#at++];
      this.#head[this.#headLen++] = byte;
      if (this.#headLen === 1) this.#judgeFirst(byte);
      else if (this.#headLen === 2) this.#headNeed = this.#judgeSecond(byte);
      if (this.#headLen === this.#headNeed) {
        this.#beginFrame();
        return true;
      }
    }
    return false;
  }

  #judgeFirst(byte: number): void {
    const opcode = byte & 15;
    if (byte & 0x70) throw broken("a reserved bit is set");
    if (opcode > OPCODE.binary && opcode < OPCODE.close || opcode > 10) {
      throw broken(`opcode ${opcode} means nothing`);
    }
    if (opcode >= OPCODE.close) {
      if (!(byte & 0x80)) throw broken("a control frame is fragmented");
    } else if ((opcode === OPCODE.continuation) !== (this.#opcode !== 0)) {
      throw broken(
        this.#opcode === 0
          ? "nothing is there to be continued"
          : "a message begins inside another",
      );
    }
  }

  // Returns how long the head is.
  #judgeSecond(byte: number): number {
    if (!(byte & 0x80)) throw broken("a client's frame is not masked");
    const length = byte & 127;
    if (this.#isControl() && length > CONTROL_BYTES_MAX) {
      throw broken("a control frame is longer than 125 bytes");
    }
    return 6 + (length === 126 ? 2 : length === 127 ? 8 : 0);
  }

  #beginFrame(): void {
    const length = this.#readLength();
    this.#mask.set(this.#head.subarray(this.#headNeed - 4, this.#headNeed));
    this.#headLen = 0;
    this.#headNeed = 2;
    this.#inFrame = true;
    this.#length = this.#left = length;
    if (this.#isControl()) this.#control = new Uint8Array(length);
    else this.#beginFragment(length);
  }

  #readLength(): number {
    const short = this.#head[1] & 127;
    if (short < 126) return short;
    const view = new DataView(this.#head.buffer, 2);
    if (short === 126) {
      const length = view.getUint16(0);
      if (length < 126) throw broken("a length is longer than it must be");
      return length;
    }
    const high = view.getUint32(0);
    const length = high * 2 ** 32 + view.getUint32(4);
    if (high >= 2 ** 31) throw broken("a length has its highest bit set");
    if (length < 65536) throw broken("a length is longer than it must be");
    return length;
  }

  #beginFragment(length: number): void {
    const { messageBytesMax, frameBytesMax, fragmentsMax } = this.#limits;
    this.#opcode ||= this.#head[0] & 15;
    this.#bytes += length;
    if (length > frameBytesMax) {
      throw tooBig(`a frame has more than ${frameBytesMax} bytes`);
    }
    if (this.#bytes > messageBytesMax) {
      throw tooBig(`a message has more than ${messageBytesMax} bytes`);
    }
    if (++this.#fragments > fragmentsMax) {
      throw tooBig(`a message has more than ${fragmentsMax} frames`);
    }
  }

  // What is there of the payload, unmasked.
  #piece(): Uint8Array {
    const end = Math.min(this.#part.length, this.#at + this.#left);
    const piece = this.#part.subarray(this.#at, end);
    unmask(piece, this.#mask, this.#length - this.#left);
    this.#at = end;
    this.#left -= piece.length;
    this.#inFrame = this.#left > 0;
    return piece;
  }

  #readControl(): Received | undefined {
    const at = this.#length - this.#left;
    this.#control.set(this.#piece(), at);
    if (this.#inFrame) return undefined;
    const data = this.#control;
    const opcode = this.#head[0] & 15;
    if (opcode === OPCODE.close) return closeOf(data);
    return { kind: opcode === OPCODE.ping ? "ping" : "pong", data };
  }

  #readData(): Received | undefined {
    const piece = this.#piece();
    const last = !this.#inFrame && (this.#head[0] & 0x80) !== 0;
    if (last && piece.length === this.#bytes) return this.#endMessage(piece);
    if (this.#opcode === OPCODE.text) this.#checkText(piece, last);
    this.#keep(piece);
    return last ? this.#endMessage(this.#kept) : undefined;
  }

  // Bad UTF-8 is noticed as soon as it is there.
  #checkText(piece: Uint8Array, last: boolean): void {
    this.#utf8 ??= new TextDecoder("utf-8", { fatal: true });
    textOf(piece, this.#utf8, !last);
  }

  // Room grows with what has come, not with what was announced.
  #keep(piece: Uint8Array): void {
    const end = this.#keptBytes + piece.length;
    if (end > this.#kept.length) {
      const room = Math.min(this.#bytes, 2 * end);
      const kept = new Uint8Array(room);
      kept.set(this.#kept.subarray(0, this.#keptBytes));
      this.#kept = kept;
    }
    this.#kept.set(piece, this.#keptBytes);
    this.#keptBytes = end;
  }

  #endMessage(bytes: Uint8Array): Received {
    const isText = this.#opcode === OPCODE.text;
    const isKept = bytes === this.#kept;
    const data = bytes.subarray(0, this.#bytes) as Uint8Array<ArrayBuffer>;
    this.#opcode =
      this.#bytes =
      this.#fragments =
      this.#keptBytes =
        0;
    this.#kept = EMPTY;
    this.#utf8 = undefined;
    if (isText) return { kind: "text", data: textOf(data, wholeText, false) };
    const own = isKept && data.length === bytes.length;
    return { kind: "binary", data: own ? data : data.slice() };
  }
}

function textOf(
  bytes: Uint8Array,
  decoder: TextDecoder,
  stream: boolean,
): string {
  try {
    return decoder.decode(bytes, { stream });
  } catch {
    throw notText("a text message is not UTF-8");
  }
}

function broken(message: string): FrameError {
  return new FrameError(CLOSE.protocolError, message);
}

function notText(message: string): FrameError {
  return new FrameError(CLOSE.invalidData, message);
}

function tooBig(message: string): FrameError {
  return new FrameError(CLOSE.tooBig, message);
}

function closeOf(payload: Uint8Array): Received {
  if (payload.length === 0) {
    return { kind: "close", code: CLOSE.noCode, reason: "" };
  }
  if (payload.length === 1) throw broken("a close has half a code");
  const code = payload[0] << 8 | payload[1];
  if (!isCloseCode(code)) throw broken(`a close has the code ${code}`);
  try {
    const reason = wholeText.decode(payload.subarray(2));
    return { kind: "close", code, reason };
  } catch {
    throw notText("a close's reason is not UTF-8");
  }
}

/** Whether a close frame may carry this code: those of RFC 6455 section 7.4.1, those registered since, and those that are free to use. */
export function isCloseCode(code: number): boolean {
  return Number.isInteger(code) &&
    (code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 ||
      code >= 3000 && code <= 4999);
}

const WORDS_FROM = 64; // below, setting up a view costs more than it saves

/** Masks or unmasks in place; `from` is where in the payload the bytes lie. */
export function unmask(bytes: Uint8Array, mask: Uint8Array, from = 0): void {
  let at = 0;
  if (bytes.length >= WORDS_FROM) {
    while ((bytes.byteOffset + at) % 4 !== 0) {
      bytes[at] ^= mask[(from + at++) & 3];
    }
    const turned = Uint8Array.from(mask, (_, i) => mask[(from + at + i) & 3]);
    const [word] = new Uint32Array(turned.buffer);
    const count = (bytes.length - at) >> 2;
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, count);
    for (let i = 0; i < count; i++) words[i] ^= word;
    at += count * 4;
  }
  for (; at < bytes.length; at++) bytes[at] ^= mask[(from + at) & 3];
}

/** A frame of a server: whole, and not masked. */
export function encodeFrame(
  opcode: number,
  payload: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const { length } = payload;
  const head = length < 126 ? 2 : length < 65536 ? 4 : 10;
  const frame = new Uint8Array(head + length);
  frame[0] = 0x80 | opcode;
  frame[1] = head === 2 ? length : head === 4 ? 126 : 127;
  if (head > 2) {
    const view = new DataView(frame.buffer);
    if (head === 4) view.setUint16(2, length);
    else {
      view.setUint32(2, Math.floor(length / 2 ** 32));
      view.setUint32(6, length >>> 0);
    }
  }
  frame.set(payload, head);
  return frame;
}

/** A close frame; without a payload if there is no code. */
export function encodeClose(
  code: number,
  reason: Uint8Array = EMPTY,
): Uint8Array<ArrayBuffer> {
  if (code === CLOSE.noCode) return encodeFrame(OPCODE.close, EMPTY);
  const payload = new Uint8Array(2 + reason.length);
  payload[0] = code >> 8;
  payload[1] = code & 255;
  payload.set(reason, 2);
  return encodeFrame(OPCODE.close, payload);
}
