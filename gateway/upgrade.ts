/**
 * How a connection changes hands after 101: who takes it over says so on its request, and the dispatcher gives it the line when the answer is
 * written. Other Requests than the dispatcher's have no such place.
 *
 * @module
 */

/** The connection, as whoever took it over uses it. Bytes are copied both ways: nothing of the shared memory is handed out. */
export interface Line {
  /** Bytes that `send` and `end` take at once. */
  readonly room: number;
  /** Sends bytes; the next ones after `onWritable`. */
  send(parts: readonly Uint8Array[]): void;
  /** Sends the last bytes, after `onWritable`, and ends the connection. `status`: why, 0 for no special reason. */
  end(parts: readonly Uint8Array[], status: number): void;
  /** Cuts the connection, now. */
  cut(status: number): void;
  /** The part that has arrived; the next one may come. */
  take(bytes: number): Uint8Array<ArrayBuffer>;
}

/** Who takes a connection over. */
export interface Takeover {
  /** The answer is written. */
  onOpen(line: Line): void;
  onWritable(): void;
  /** So many bytes lie there to be taken; `last`: the client sends no more. */
  onPart(bytes: number, last: boolean): void;
  /** The gateway drains. */
  onDrain(): void;
  /** The connection is gone. */
  onGone(): void;
}

// By name, so that it is the same for another copy of this module.
/** The method of a Request that can change hands; false: its connection cannot be upgraded. */
export const UPGRADE: unique symbol = Symbol.for("sluice.upgrade") as never;

/** Takes a request's connection over once 101 is answered. False: this is not a request of ours, or one that cannot be upgraded. */
export function takeOver(request: Request, takeover: Takeover): boolean {
  return (request as {
    [UPGRADE]?: (takeover: Takeover) => boolean;
  })[UPGRADE]?.(takeover) ?? false;
}
