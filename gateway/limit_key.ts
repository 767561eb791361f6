/**
 * Whom a limit counts for: the `key` of `rateLimit()` and `concurrencyLimit()`. C does the same in `native/src/policy_key.c`.
 *
 * @module
 */
import type { Context } from "hono";
import { addressText } from "./address.ts";
import {
  checkClient,
  clientAddress,
  type ClientOptions,
  type ClientSource,
} from "./client_ip.ts";
import type { OptionProblem } from "./errors.ts";
import { isFieldName } from "./header_fields.ts";

/**
 * Whom a limit counts for: each client address (of IPv6: each /64), all requests of the route that it is registered for, each value of a header
 * field (requests without it together), or what a function of yours says, which runs in TypeScript.
 */
export type LimitKey =
  | "client-ip"
  | "route"
  | { header: string }
  | ((c: Context) => string | Promise<string>);

/** What C needs to know of a key. */
export interface NativeKey {
  /** What is counted by: the route, the address of the client (of IPv6: its /64), or the value of a field. */
  kind: "route" | "clientIp" | "header";
  /** Of `header`, in lower case. */
  name: string;
  /** Of `clientIp`. */
  client: ClientSource;
}

/** A key that was checked. */
export interface CheckedKey {
  /** Undefined: only TypeScript knows it. */
  native?: NativeKey;
  /** The key of a request. */
  of(c: Context): string | Promise<string>;
}

/** Checks a key, adding what is wrong to `problems`. */
export function checkLimitKey(
  key: unknown,
  options: ClientOptions,
  what: string,
  problems: OptionProblem[],
): CheckedKey {
  const client = checkClient(options, what, problems);
  if (key === "client-ip") {
    const native: NativeKey = { kind: "clientIp", name: "", client };
    return { native, of: (c) => clientKey(c, client) };
  }
  if (key === "route") {
    return { native: { kind: "route", name: "", client }, of: routeOf };
  }
  if (typeof key === "function") {
    return { of: key as (c: Context) => string | Promise<string> };
  }
  const header = (key as { header?: unknown } | null)?.header;
  if (typeof header === "string" && isFieldName(header)) {
    const name = header.toLowerCase();
    return {
      native: { kind: "header", name, client },
      of: (c) => c.req.header(name) ?? "",
    };
  }
  const reason = 'must be "client-ip", "route", { header: name } or a function';
  problems.push({ path: `${what} key`, value: key, reason });
  return { of: () => "" };
}

/** The part of an address that one client has: all of IPv4, a /64 of IPv6. */
export function clientPart(address: bigint): bigint {
  const isV4 = address >> 32n === 0xffffn;
  return isV4 ? address : address >> 64n << 64n;
}

function clientKey(c: Context, client: ClientSource): string {
  const address = clientAddress(c, client);
  return address === undefined ? "" : addressText(clientPart(address));
}

/** The route that a middleware runs for: `ALL /api/*`. To be asked before `next()`. */
function routeOf(c: Context): string {
  const route = c.req.matchedRoutes[c.req.routeIndex];
  return route ? `${route.method} ${route.path}` : "";
}
