/**
 * Session ticket keys from a file that all nodes of a fleet have.
 *
 * @module
 */
import type { STEK, STEKProvider } from "./session_ticket.ts";

/** How a file of keys is read. */
export interface StekFileOptions {
  /** How often it is read again, in milliseconds, 100 to 86400000. @default 60000 */
  refreshMs?: number;
}

const FORM = "<ISO time or Unix milliseconds> <32 bytes in base64>";

/**
 * Session ticket keys from a file: a line for each, with the time from which it seals tickets and its 32 bytes in base64. Empty lines, and those that begin
 * with `#`, are skipped. Give all nodes a new line before its time comes, and take a key's line out when its tickets have expired. Only the gateway's user
 * should be able to read the file: one that others can read is warned of.
 *
 * A line that seals from tonight on: `echo "$(date -u -d 'tomorrow 0:00' +%FT%TZ) $(openssl rand -base64 32)" >> steks`
 *
 * @example Two nodes with the same file resume each other's clients
 * ```ts
 * import { defineGateway, stekFile } from "sluice";
 * import { Hono } from "hono";
 *
 * const certificates = [{ cert: "cert.pem", key: "key.pem" }];
 * const policy = { resumption: { stek: stekFile("steks") } };
 *
 * export default defineGateway(new Hono(), {
 *   listeners: [{ address: "127.0.0.1:8443", tls: { certificates, policy } }],
 * });
 * ```
 */
export function stekFile(
  path: string,
  options: StekFileOptions = {},
): STEKProvider {
  let warned = false;
  return {
    refreshMs: options.refreshMs,
    async keys() {
      const mode = (await Deno.stat(path)).mode ?? 0;
      if (mode & 0o077 && !warned) {
        const octal = (mode & 0o777).toString(8);
        console.error(
          `sluice: warning: ${path} has keys and others may read it (mode ${octal}): chmod 600 ${path}`,
        );
      }
      warned = (mode & 0o077) !== 0;
      return parseSteks(await Deno.readTextFile(path), path);
    },
  };
}

/** The keys of a file's text. What is wrong is told by its line's number, never by its text. */
export function parseSteks(text: string, path: string): STEK[] {
  const keys: STEK[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    const words = line.trim().split(/\s+/);
    if (words[0] === "" || words[0].startsWith("#")) continue;
    const where = `${path}:${i + 1}`;
    if (words.length !== 2) throw new TypeError(`${where}: a line is ${FORM}`);
    keys.push({
      notBeforeMs: timeOf(words[0], where),
      key: keyOf(words[1], where),
    });
  }
  if (keys.length === 0) {
    throw new TypeError(`${path} has no keys; a line is ${FORM}`);
  }
  return keys;
}

// With its zone: what nodes read differently is no time of a fleet.
const ISO_TIME =
  /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/;

function timeOf(word: string, where: string): number {
  const ms = /^\d{1,15}$/.test(word)
    ? Number(word)
    : ISO_TIME.test(word)
    ? Date.parse(word)
    : NaN;
  if (Number.isFinite(ms)) return ms;
  throw new TypeError(
    `${where}: the first word must be a time, as 2026-01-31T00:00:00Z or in Unix milliseconds`,
  );
}

function keyOf(word: string, where: string): Uint8Array {
  try {
    const key = Uint8Array.from(atob(word), (char) => char.charCodeAt(0));
    if (key.length === 32) return key;
  } catch {
    // It is no base64.
  }
  throw new TypeError(`${where}: the second word must be 32 bytes in base64`);
}
