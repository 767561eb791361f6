/**
 * Which header fields a proxy passes on, in the TypeScript form of `proxy()` and `whoami()`. The native form is
 * `native/src/http1_write.c`; one suite judges both.
 *
 * @module
 */
import type { Context } from "hono";
import { writtenFields } from "./header_edits.ts";
import { HOP_BY_HOP, nominated } from "./header_fields.ts";

/** The name in `Via`. */
export const VIA_NAME = "sluice";

// The TypeScript forms have no options at hand: whoever starts the gateway says it here.
let keepsUnderscores = false;

/** Says whether names with `_` go to upstreams. */
export function setUnderscoreHeaders(kind: "drop" | "keep"): void {
  keepsUnderscores = kind === "keep";
}

/** A request's fields as an upstream gets them. */
export function forwardHeaders(c: Context): [string, string][] {
  const request = c.req.raw;
  const clientAddress = c.env?.remoteAddr?.hostname;
  const written = writtenFields(c);
  const dropped = new Set(nominated(request.headers.get("connection")));
  const url = new URL(request.url);
  const host = request.headers.get("host") ?? url.host;
  const fields: [string, string][] = [["host", host]];
  let via = "";
  for (const [name, value] of request.headers) {
    if (name === "via") via = value + ", ";
    else if (passesOn(name, dropped)) fields.push([name, value]);
    else if (!REWRITTEN.has(name)) {
      for (const line of written.get(name) ?? []) fields.push([name, line]);
    }
  }
  fields.push(["via", `${via}1.1 ${VIA_NAME}`]);
  if (clientAddress) fields.push(["x-forwarded-for", clientAddress]);
  fields.push(["x-forwarded-host", host], [
    "x-forwarded-proto",
    url.protocol.slice(0, -1),
  ]);
  return fields;
}

// Written anew, whoever said them.
const REWRITTEN = new Set([
  "host",
  "expect",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
]);
// A client's word about itself that only a trusted proxy may give; or ours.
const NOT_BELIEVED = new Set(["forwarded", "x-real-ip", "proxy-authorization"]);

/** Whether a client may say this field to an upstream. An alias with `_` is held to the rules of the name that it may be read as. */
export function passesOn(field: string, dropped: ReadonlySet<string>): boolean {
  const name = field.replaceAll("_", "-");
  return !REWRITTEN.has(name) && !NOT_BELIEVED.has(name) &&
    !name.startsWith("x-forwarded-") && (keepsUnderscores || name === field) &&
    !HOP_BY_HOP.has(name) && !dropped.has(field);
}

/** An upstream's fields as the client gets them. */
export function returnHeaders(headers: Headers): [string, string][] {
  const dropped = new Set(nominated(headers.get("connection")));
  // fetch() has decoded the body already, so its coding and length are no longer true.
  const decoded = headers.has("content-encoding");
  const fields: [string, string][] = [];
  let via = "";
  for (const [name, value] of headers) {
    if (name === "via") via = value + ", ";
    else if (name === "content-length" && !decoded) fields.push([name, value]);
    else if (name === "content-encoding" && decoded) continue;
    else if (!HOP_BY_HOP.has(name) && !dropped.has(name)) {
      fields.push([name, value]);
    }
  }
  fields.push(["via", `${via}1.1 ${VIA_NAME}`]);
  return fields;
}
