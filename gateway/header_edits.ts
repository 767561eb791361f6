/**
 * Edits of header fields: their check at definition, and the TypeScript form of doing them. C does the same in
 * `native/src/http1_edit.c`, in the same order; one suite judges both.
 *
 * @module
 */
import type { Context } from "hono";
import type { OptionProblem } from "./errors.ts";
import {
  HOP_BY_HOP,
  isFieldName,
  isFieldValue,
  trimValue,
} from "./header_fields.ts";
import { isOurs } from "./progress.ts";

/** One change of a head. */
export interface HeaderEdit {
  /** `set` takes the place of the lines that are there, `append` adds one, `remove` takes all away. */
  kind: "remove" | "set" | "append";
  /** In lower case. */
  name: string;
  /** Empty for `remove`. */
  value: string;
}

/** Changes of a head's fields, done in this order. Names in any case. */
export interface HeaderEdits {
  /** Fields that go, all of their lines. */
  remove?: readonly string[];
  /** Fields that get this value, in place of those that are there. A list makes several lines. */
  set?: Readonly<Record<string, string | readonly string[]>>;
  /** Fields that get this value, too. */
  append?: Readonly<Record<string, string | readonly string[]>>;
}

const EDITS_MAX = 64;
const EDIT_BYTES_MAX = 8192;
const NAME_BYTES_MAX = 256;

// proxy() writes these itself, after all edits.
const PROXY_WRITES = new Set([
  "via",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
]);

/** Why a field may not be edited. `kind` tells what is meant to happen to it. */
export function nameProblem(
  name: string,
  kind: HeaderEdit["kind"],
  side: "request" | "response",
): string | undefined {
  if (!isFieldName(name) || name.length > NAME_BYTES_MAX) {
    return "is not a field name";
  }
  if (HOP_BY_HOP.has(name.replaceAll("_", "-"))) {
    return "belongs to one connection and its framing: the gateway writes it";
  }
  if (side === "response") {
    return name === "date" ? "is written by the gateway" : undefined;
  }
  if (name === "host") {
    return "names the site that was asked for: URLs, routes and X-Forwarded-Host come from it";
  }
  if (name === "expect") return "is answered by the gateway";
  if (kind === "remove") return undefined;
  if (PROXY_WRITES.has(name)) return "is written by proxy()";
  if (name.includes("_")) {
    return "has a '_', which servers take for '-': use that";
  }
  if (name === "cookie" && kind === "append") {
    return "is one line (RFC 6265): set it";
  }
  return undefined;
}

/** Adds a problem for each key of `options` that is not one of `keys`. */
export function checkKeys(
  options: object,
  keys: readonly string[],
  what: string,
  problems: OptionProblem[],
): void {
  for (const [key, value] of Object.entries(options ?? {})) {
    if (keys.includes(key)) continue;
    const reason = `is not an option; known keys: ${keys.join(", ")}`;
    problems.push({ path: `${what} ${key}`, value, reason });
  }
}

/** Checks edits and puts them in order. Adds what is wrong to `problems`. */
export function checkEdits(
  given: HeaderEdits,
  path: string,
  side: "request" | "response",
  problems: OptionProblem[],
): HeaderEdit[] {
  const edits: HeaderEdit[] = [];
  const add = (kind: HeaderEdit["kind"], given: unknown, value: unknown) => {
    const name = String(given).toLowerCase();
    const at = `${path}.${kind}[${JSON.stringify(given)}]`;
    const reason = nameProblem(name, kind, side);
    if (reason) problems.push({ path: at, value: given, reason });
    else if (typeof value !== "string" || !isFieldValue(value)) {
      problems.push({
        path: at,
        value,
        reason: "must be text without CR, LF, NUL or characters above U+00FF",
      });
    } else {edits.push({
        kind,
        name,
        value: trimValue(value),
      });}
  };
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    problems.push({ path, value: given, reason: "must be an object" });
    return edits;
  }
  for (const key of Object.keys(given)) {
    if (["remove", "set", "append"].includes(key)) continue;
    const value = (given as Record<string, unknown>)[key];
    const reason = "is not an option; known keys: remove, set, append";
    problems.push({ path: `${path}.${key}`, value, reason });
  }
  if (given.remove !== undefined && !Array.isArray(given.remove)) {
    const reason = "must be a list of field names";
    problems.push({ path: `${path}.remove`, value: given.remove, reason });
  } else for (const name of given.remove ?? []) add("remove", name, "");
  for (const kind of ["set", "append"] as const) {
    const fields = given[kind];
    if (fields === undefined) continue;
    if (
      typeof fields !== "object" || fields === null || Array.isArray(fields)
    ) {
      const reason = "must be an object of field names and values";
      problems.push({ path: `${path}.${kind}`, value: fields, reason });
      continue;
    }
    for (const [name, value] of Object.entries(fields)) {
      const values: unknown[] = Array.isArray(value) ? value : [value];
      if (values.length === 0) {
        const at = `${path}.${kind}[${JSON.stringify(name)}]`;
        const reason = "must have a value; remove takes a field away";
        problems.push({ path: at, value, reason });
      }
      values.forEach((each, i) => add(i === 0 ? kind : "append", name, each));
    }
  }
  checkSize(edits, path, problems);
  return edits;
}

function checkSize(
  edits: readonly HeaderEdit[],
  path: string,
  problems: OptionProblem[],
): void {
  const bytes = edits.reduce((sum, edit) => sum + editText(edit).length, 0);
  if (edits.length > EDITS_MAX) {
    const reason = `are too many: at most ${EDITS_MAX}`;
    problems.push({ path, value: edits.length, reason });
  } else if (bytes > EDIT_BYTES_MAX) {
    const reason = `have too many bytes: at most ${EDIT_BYTES_MAX}`;
    problems.push({ path, value: bytes, reason });
  }
}

/** What an edit is in a plan: a field line, or the name that goes. latin1. */
export function editText({ kind, name, value }: HeaderEdit): string {
  return kind === "remove" ? name : `${name}: ${value}\r\n`;
}

/** Bytes of edits in a plan. */
export function editBytes(edits: readonly HeaderEdit[]): number {
  return edits.reduce((sum, edit) => sum + editText(edit).length, 0);
}

function apply(headers: Headers, edits: readonly HeaderEdit[]): void {
  for (const { kind, name, value } of edits) {
    if (kind === "remove") headers.delete(name);
    else if (kind === "set") headers.set(name, value);
    else headers.append(name, value);
  }
}

// What the app has written into a request. A client cannot take it away by naming it in Connection, and proxy() sends it on even where it would
// not believe a client.
const written = new WeakMap<Context, Map<string, string[]>>();
const NONE: ReadonlyMap<string, readonly string[]> = new Map();

/** The lines of request fields that `headers()` has written, by name. */
export function writtenFields(
  c: Context,
): ReadonlyMap<string, readonly string[]> {
  return written.get(c) ?? NONE;
}

/** Remembers which request fields the edits write. */
export function noteWritten(c: Context, edits: readonly HeaderEdit[]): void {
  if (edits.length === 0) return;
  let fields = written.get(c);
  if (fields === undefined) written.set(c, fields = new Map());
  for (const { kind, name, value } of edits) {
    if (kind === "remove") fields.delete(name);
    else if (kind === "set") fields.set(name, [value]);
    else fields.set(name, [...fields.get(name) ?? [], value]);
  }
}

/** Edits the request that the next handlers see. */
export function editRequest(c: Context, edits: readonly HeaderEdit[]): void {
  if (edits.length === 0) return;
  noteWritten(c, edits);
  if (isOurs(c.req.raw)) {
    apply(c.req.raw.headers, edits);
    return;
  }
  // Of another server, or a program's own: neither can or should be changed.
  const headers = new Headers(c.req.raw.headers);
  apply(headers, edits);
  c.req.raw = new Request(c.req.raw, { headers });
}

/** Edits the answer that has come back. */
export function editResponse(c: Context, edits: readonly HeaderEdit[]): void {
  if (edits.length === 0) return;
  const [{ kind, name, value }, ...rest] = edits;
  // Hono makes the answer one whose headers may be changed, whatever it was.
  c.header(name, kind === "remove" ? undefined : value, {
    append: kind === "append",
  });
  apply(c.res.headers, rest);
}
