/**
 * What the rows of a plan's blob point to, one part behind the other.
 *
 * @module
 */

/** Bytes behind the tables; the same text is stored once. */
export class BlobHeap {
  bytes = 0;
  readonly parts: Uint8Array[] = [];
  #known = new Map<string, number>();

  /** `base`: where the heap begins in the blob, a multiple of 8. */
  constructor(readonly base: number) {}

  /** Adds bytes; returns where they lie in the blob. */
  add(part: Uint8Array): number {
    const at = this.base + this.bytes;
    this.parts.push(part);
    this.bytes += part.length;
    return at;
  }

  /** As `add`, at a multiple of 8. */
  addAligned(part: Uint8Array): number {
    this.add(new Uint8Array(-this.bytes & 7));
    return this.add(part);
  }

  /** Adds text as field lines have it: one byte for each character. */
  latin1(text: string): { off: number; len: number } {
    const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
    return { off: this.add(bytes), len: bytes.length };
  }

  /** Adds text as UTF-8, unless it is there. */
  text(text: string): { off: number; len: number } {
    const bytes = new TextEncoder().encode(text);
    let off = this.#known.get(text);
    if (off === undefined) this.#known.set(text, off = this.add(bytes));
    return { off, len: bytes.length };
  }
}
