/**
 * A WebSocket on a connection that was upgraded: messages, the send queue, keeping alive, and closing.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import type { Line, Takeover } from "./upgrade.ts";
import {
  CLOSE,
  encodeClose,
  encodeFrame,
  FrameDecoder,
  FrameError,
  type FrameLimits,
  isCloseCode,
  OPCODE,
  type Received,
} from "./websocket_frames.ts";

/** What a connection may take, and how long. */
export interface WebSocketLimits extends FrameLimits {
  sendBytesMax: number;
  pingIntervalMs: number;
  pongTimeoutMs: number;
  idleTimeoutMs: number;
  closeTimeoutMs: number;
}

// Unsent bytes at which nothing more is read: who does not read is not answered without end.
const PAUSE_BYTES = 256 * 1024;
const REASON_BYTES_MAX = 123;

type Handler<E extends Event> = ((event: E) => unknown) | null;

const encoder = new TextEncoder();

/** The server's end of a WebSocket: what `ws.raw` is. As the WebSocket of browsers, and `drained`. */
export class GatewayWebSocket extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  readonly url: string;
  /** The subprotocol, or "". */
  readonly protocol: string;
  readonly extensions = "";
  /** What binary messages come as. */
  binaryType: BinaryType = "arraybuffer";
  onopen: Handler<Event> = null;
  onmessage: Handler<MessageEvent> = null;
  onclose: Handler<CloseEvent> = null;
  onerror: Handler<Event> = null;
  #limits: WebSocketLimits;
  #decoder: FrameDecoder;
  #line: Line | undefined;
  #state = GatewayWebSocket.CONNECTING as 0 | 1 | 2 | 3;
  #listened = false;
  // Sending.
  #queue: Uint8Array[] = [];
  #queued = 0; // bytes in it
  #flying = 0; // bytes that the line has, until it can take more
  #writable = false;
  #ending = false; // when the queue is empty, the connection ends
  #reason = 0; // why, for the counters
  #drained: (() => void)[] = [];
  // Receiving.
  #part = -1; // bytes that lie there to be taken, -1: none
  #last = false;
  #done = false; // nothing that comes is read any more
  // Closing.
  #received: { code: number; reason: string } | undefined; // the client's close
  #timer: ReturnType<typeof setTimeout> | undefined; // of keeping alive, then of closing
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  #heard = false; // something came since the timer was set
  #pinged = false; // and nothing has come since

  private constructor(url: string, protocol: string, limits: WebSocketLimits) {
    super();
    this.url = url;
    this.protocol = protocol;
    this.#limits = limits;
    this.#decoder = new FrameDecoder(limits);
  }

  /** A socket, and what takes the connection over for it. */
  static make(
    url: string,
    protocol: string,
    limits: WebSocketLimits,
  ): { socket: GatewayWebSocket; takeover: Takeover } {
    const socket = new GatewayWebSocket(url, protocol, limits);
    const takeover: Takeover = {
      onOpen: (line) => socket.#open(line),
      onWritable: () => socket.#onWritable(),
      onPart: (bytes, last) => socket.#onPart(bytes, last),
      onDrain: () => socket.#close(CLOSE.goingAway, "The server is going away"),
      onGone: () => socket.#gone(),
    };
    return { socket, takeover };
  }

  get readyState(): 0 | 1 | 2 | 3 {
    return this.#state;
  }

  /** Bytes of messages that the data plane has not taken yet. */
  get bufferedAmount(): number {
    return this.#queued + this.#flying;
  }

  /** Sends a message: a string as text, the rest as binary. After the close it does nothing. */
  send(data: string | ArrayBufferLike | ArrayBufferView | Blob): void {
    if (this.#state === GatewayWebSocket.CONNECTING) {
      throw new DOMException(
        "The WebSocket is not open yet: send in onOpen or later",
        "InvalidStateError",
      );
    }
    if (this.#state !== GatewayWebSocket.OPEN) return;
    if (data instanceof Blob) {
      throw new TypeError(
        "send() takes a string or bytes: await blob.bytes() first",
      );
    }
    if (ArrayBuffer.isView(data)) {
      const { buffer, byteOffset, byteLength } = data;
      const bytes = new Uint8Array(buffer, byteOffset, byteLength);
      this.#sendFrame(OPCODE.binary, bytes);
    } else if (typeof data === "object" && data !== null) {
      this.#sendFrame(OPCODE.binary, new Uint8Array(data));
    } else this.#sendFrame(OPCODE.text, encoder.encode(String(data)));
  }

  /** Resolves when all messages were taken, at once if none waits: true, or false if the connection has ended. */
  async drained(): Promise<boolean> {
    if (this.bufferedAmount > 0 && this.#state !== GatewayWebSocket.CLOSED) {
      await new Promise<void>((resolve) => this.#drained.push(resolve));
    }
    return this.#state !== GatewayWebSocket.CLOSED;
  }

  /** Closes after what was sent. `code`: 1000 to 1003, 1007 to 1014, 3000 to 4999. */
  close(code?: number, reason = ""): void {
    if (code !== undefined && !isCloseCode(code)) {
      throw new DOMException(
        `The close code ${code} cannot be sent: take 1000 to 1003, 1007 to 1014, or 3000 to 4999`,
        "InvalidAccessError",
      );
    }
    if (encoder.encode(reason).length > REASON_BYTES_MAX) {
      throw new DOMException(
        `A close's reason has at most ${REASON_BYTES_MAX} bytes`,
        "SyntaxError",
      );
    }
    this.#close(code ?? (reason ? CLOSE.normal : CLOSE.noCode), reason);
  }

  override addEventListener(
    ...args: Parameters<EventTarget["addEventListener"]>
  ): void {
    this.#listened = true;
    super.addEventListener(...args);
  }

  // ---- What handlers hear

  // True: no handler failed at once. One that fails later closes the connection then.
  #tell<E extends Event>(handler: Handler<E>, event: E): boolean {
    try {
      const result = handler?.call(this, event) as PromiseLike<unknown> | void;
      if (typeof result?.then === "function") {
        result.then(undefined, (error) => this.#failed(error));
      }
      if (this.#listened) this.dispatchEvent(event);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  #failed(error: unknown): void {
    console.error("A WebSocket's handler failed:", error);
    this.#reason = abi.SL_E_HANDLER;
    this.#close(CLOSE.internalError, "Internal error");
  }

  #tellClosed(code: number, reason: string, wasClean: boolean): void {
    if (this.#state === GatewayWebSocket.CLOSED) return;
    this.#state = GatewayWebSocket.CLOSED;
    this.#pinged = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#idleTimer);
    for (const resolve of this.#drained.splice(0)) resolve();
    this.#tell(
      this.onclose,
      new CloseEvent("close", { code, reason, wasClean }),
    );
  }

  // ---- Sending

  #sendFrame(opcode: number, payload: Uint8Array): void {
    this.#push(encodeFrame(opcode, payload));
    if (this.bufferedAmount <= this.#limits.sendBytesMax) return;
    const error = new Error(
      `The client reads too slowly: ${this.bufferedAmount} bytes wait to be sent, at most ${this.#limits.sendBytesMax} may`,
    );
    this.#tellError(error);
    this.#cut(abi.SL_E_WRITE_STALLED);
  }

  #tellError(error: Error): void {
    const { message } = error;
    this.#tell(this.onerror, new ErrorEvent("error", { error, message }));
  }

  #push(frame: Uint8Array): void {
    this.#queue.push(frame);
    this.#queued += frame.length;
    this.#pump();
  }

  // As many frames as fit leave at once.
  #pump(): void {
    if (!this.#writable || !this.#line) return;
    if (this.#queued === 0 && !this.#ending) return;
    const parts: Uint8Array[] = [];
    let room = this.#line.room;
    let taken = 0; // frames
    while (room > 0 && taken < this.#queue.length) {
      const frame = this.#queue[taken];
      const part = frame.subarray(0, room);
      parts.push(part);
      room -= part.length;
      if (part.length < frame.length) {
        this.#queue[taken] = frame.subarray(part.length);
      } else taken++;
    }
    this.#queue.splice(0, taken);
    this.#flying = this.#line.room - room;
    this.#queued -= this.#flying;
    this.#writable = false;
    if (this.#ending && this.#queued === 0) this.#endLine(parts);
    else this.#line.send(parts);
  }

  #endLine(parts: Uint8Array[]): void {
    const line = this.#line!;
    this.#line = undefined;
    this.#flying = 0;
    line.end(parts, -this.#reason);
  }

  #onWritable(): void {
    this.#writable = true;
    this.#flying = 0;
    this.#pump();
    if (this.bufferedAmount === 0) {
      for (const resolve of this.#drained.splice(0)) resolve();
    }
    this.#read();
  }

  // What is queued still leaves.
  #end(): void {
    this.#ending = true;
    this.#done = true;
    this.#pump();
  }

  #cut(status: number): void {
    const line = this.#line;
    this.#line = undefined;
    this.#done = true;
    this.#drop();
    this.#tellClosed(CLOSE.abnormal, "", false);
    line?.cut(-status);
  }

  #drop(): void {
    this.#queue = [];
    this.#queued = this.#flying = 0;
  }

  // ---- Receiving

  #onPart(bytes: number, last: boolean): void {
    this.#part = bytes;
    this.#last = last;
    this.#heard = true;
    if (this.#pinged) this.#keepAlive();
    this.#read();
  }

  #read(): void {
    while (!this.#done && this.bufferedAmount < PAUSE_BYTES) {
      try {
        const received = this.#decoder.next();
        if (received) this.#take(received);
        else if (this.#part > 0) {
          this.#decoder.feed(this.#line!.take(this.#part));
          this.#part = -1;
        } else {
          if (this.#last) this.#cutOff();
          return;
        }
      } catch (error) {
        if (!(error instanceof FrameError)) throw error;
        this.#broken(error);
      }
    }
  }

  #take(received: Received): void {
    switch (received.kind) {
      case "text":
        return this.#message(received.data);
      case "binary":
        return this.#message(
          this.binaryType === "blob"
            ? new Blob([received.data])
            : received.data.buffer,
        );
      case "ping":
        if (this.#state === GatewayWebSocket.OPEN) {
          this.#sendFrame(OPCODE.pong, received.data);
        }
        return;
      case "close":
        return this.#onClose(received.code, received.reason);
    }
  }

  #message(data: string | ArrayBuffer | Blob): void {
    if (this.#state !== GatewayWebSocket.OPEN) return;
    this.#armIdle();
    this.#tell(this.onmessage, new MessageEvent("message", { data }));
  }

  // ---- Opening and closing

  #open(line: Line): void {
    this.#line = line;
    this.#state = GatewayWebSocket.OPEN;
    this.#keepAlive();
    this.#armIdle();
    this.#tell(this.onopen, new Event("open"));
  }

  // The client's answer to it ends the connection, or the time for it.
  #close(code: number, reason: string): void {
    if (this.#state !== GatewayWebSocket.OPEN) return;
    this.#state = GatewayWebSocket.CLOSING;
    this.#pinged = false;
    clearTimeout(this.#idleTimer);
    this.#arm(this.#limits.closeTimeoutMs, () => {
      this.#tellClosed(CLOSE.abnormal, "", false);
      this.#end();
    });
    this.#push(encodeClose(code, encoder.encode(reason)));
  }

  #onClose(code: number, reason: string): void {
    if (this.#state === GatewayWebSocket.OPEN) {
      this.#state = GatewayWebSocket.CLOSING;
      this.#push(encodeClose(code));
    }
    this.#tellClosed(code, reason, true);
    this.#end(); // last: it tells why
  }

  #broken(error: FrameError): void {
    this.#reason = abi.SL_E_BAD_FRAME;
    if (this.#state === GatewayWebSocket.OPEN) {
      this.#state = GatewayWebSocket.CLOSING;
      this.#push(encodeClose(error.code, encoder.encode(error.message)));
    }
    this.#tellError(error);
    this.#tellClosed(CLOSE.abnormal, "", false);
    this.#end();
  }

  // The client ended the connection without a close.
  #cutOff(): void {
    this.#drop();
    this.#tellClosed(CLOSE.abnormal, "", false);
    this.#end();
  }

  #gone(): void {
    this.#line = undefined;
    this.#done = true;
    this.#drop();
    this.#tellClosed(CLOSE.abnormal, "", false);
  }

  // ---- Keeping alive

  #arm(ms: number, run: () => void): void {
    clearTimeout(this.#timer);
    this.#heard = false;
    this.#timer = setTimeout(run, ms);
  }

  #keepAlive(): void {
    const { pingIntervalMs } = this.#limits;
    this.#pinged = false;
    if (pingIntervalMs === 0) return;
    this.#arm(pingIntervalMs, () => {
      if (this.#heard || this.#isHeldUp()) this.#keepAlive();
      else this.#ping();
    });
  }

  #ping(): void {
    const { pongTimeoutMs } = this.#limits;
    this.#push(encodeFrame(OPCODE.ping, new Uint8Array()));
    this.#pinged = true;
    this.#arm(pongTimeoutMs, () => {
      if (this.#isHeldUp()) return this.#keepAlive();
      this.#tellError(
        new Error(
          `The client has not answered a ping for ${pongTimeoutMs} ms`,
        ),
      );
      this.#cut(abi.SL_E_IDLE_TIMEOUT);
    });
  }

  // Who is not read may have answered; C has an eye on whoever does not read.
  #isHeldUp(): boolean {
    return this.#part >= 0 || this.#queued > 0;
  }

  #armIdle(): void {
    const { idleTimeoutMs } = this.#limits;
    if (idleTimeoutMs === 0) return;
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => {
      this.#reason = abi.SL_E_IDLE_TIMEOUT;
      this.#close(CLOSE.goingAway, "No message for too long");
    }, idleTimeoutMs);
  }
}
