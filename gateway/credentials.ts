/**
 * Comparing secrets in TypeScript forms, and what the authentication middleware has in common. C does the same in `native/src/secret.c`.
 *
 * @module
 */
import type { Context } from "hono";

/** Whether what a client gave is the secret. Its time depends on what was given alone. */
export function isSecret(given: string, secret: string): boolean {
  let differ = given.length ^ secret.length;
  for (let i = 0; i < given.length; i++) {
    differ |= given.charCodeAt(i) ^ secret.charCodeAt(i % (secret.length || 1));
  }
  return differ === 0;
}

/** Makes a hash of a secret, for comparison. */
export type HashFunction = (text: string) => unknown;

/** As `isSecret`, of hashes if there is a function for them. Never true where that gives no text. */
export async function isSameSecret(
  given: string,
  secret: string,
  hash?: HashFunction,
): Promise<boolean> {
  if (!hash) return isSecret(given, secret);
  const [a, b] = await Promise.all([hash(given), hash(secret)]);
  const same = typeof a === "string" && typeof b === "string" && isSecret(a, b);
  return isSecret(given, secret) && same;
}

/** A text in a quoted string of a challenge (RFC 9110 section 5.6.4). */
export function quote(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}

/** A message, or what makes one for a request. */
export type Message =
  | string
  | object
  | ((c: Context) => string | object | Promise<string | object>);
