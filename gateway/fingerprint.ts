/**
 * A number for a text, to tell texts apart that a program has made. No protection against somebody who wants two to be one.
 *
 * @module
 */

/** FNV-1a, 32 bits. */
export function fingerprint(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}
