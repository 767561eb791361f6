/**
 * Records of a plan's blob under way.
 *
 * @module
 */

/** A record of so many bytes, all zero. */
export function recordOf(bytes: number): DataView<ArrayBuffer> {
  return new DataView(new ArrayBuffer(bytes));
}

/** Its bytes. */
export function bytesOf(view: DataView<ArrayBuffer>): Uint8Array {
  return new Uint8Array(view.buffer);
}

/** Writes 32-bit words at their offsets. */
export function setWords(
  view: DataView,
  words: readonly [number, number][],
): void {
  for (const [at, value] of words) view.setUint32(at, value, true);
}
