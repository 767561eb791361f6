/**
 * Who sends a request, in TypeScript forms. C does the same in `native/src/client_ip.c`.
 *
 * @module
 */
import type { Context } from "hono";
import { parseAddress } from "./address.ts";

/** The address of the connection's other end; undefined if the server does not tell. */
export function peerAddress(c: Context): bigint | undefined {
  const hostname: unknown = c.env?.remoteAddr?.hostname;
  // A link-local address may come with its zone.
  return typeof hostname === "string"
    ? parseAddress(hostname.replace(/%.*$/, ""))
    : undefined;
}
