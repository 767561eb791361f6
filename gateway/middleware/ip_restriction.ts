/**
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { type AddressSet, checkAddresses, hasAddress } from "../address.ts";
import {
  checkClient,
  CLIENT_KEYS,
  clientAddress,
  type ClientOptions,
} from "../client_ip.ts";
import { defineMiddleware, type RespondStep } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkKeys } from "../header_edits.ts";

/** Whom {@linkcode ipRestriction} lets in. */
export interface IpRestrictionOptions extends ClientOptions {
  /** Addresses and CIDR ranges that are refused, also if they are allowed, too; `"*"`: all. @default [] */
  denyList?: readonly string[];
  /** Those that may come in; `"*"`: all. @default [] which is: all that are not refused */
  allowList?: readonly string[];
}

const KEYS = ["denyList", "allowList", ...CLIENT_KEYS];
const TYPE = "text/plain; charset=UTF-8";
const FORBIDDEN: RespondStep = {
  op: "respond",
  status: 403,
  headers: [["content-type", TYPE]],
  body: new TextEncoder().encode("Forbidden"),
};

/**
 * Lets requests in by their client's address; others are answered `403 Forbidden`. Native. IPv4 and IPv6 ranges do not cover one another, and an
 * IPv4 client of an IPv6 socket (`::ffff:192.0.2.1`) is an IPv4 client.
 *
 * The client is the connection's other end. Behind proxies name them as `trustedProxies`: then it is whom they name in `X-Forwarded-For` (or
 * `Forwarded`, RFC 7239), read from the right. What cannot be read is nobody: the proxy that wrote it is the client then.
 *
 * @example An admin page for the office, behind a load balancer
 * ```ts
 * import { Hono } from "hono";
 * import { ipRestriction, proxy } from "sluice";
 *
 * const app = new Hono();
 * app.use("/admin/*", ipRestriction({
 *   allowList: ["192.0.2.0/24", "2001:db8::/32"],
 *   trustedProxies: ["10.0.0.0/8"],
 * }));
 * app.all("/admin/*", proxy("http://127.0.0.1:3000"));
 * ```
 */
export function ipRestriction(
  options: IpRestrictionOptions,
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, KEYS, "ipRestriction()", problems);
  const { denyList = [], allowList = [] } = options ?? {};
  const deny = checkList(denyList, "ipRestriction() denyList", problems);
  const allow = checkList(allowList, "ipRestriction() allowList", problems);
  const client = checkClient(options ?? {}, "ipRestriction()", problems);
  if (problems.length > 0) throw new OptionsError(problems);
  return defineMiddleware({
    name: "ipRestriction",
    native: { op: "ipRestriction", client, deny, allow, answer: FORBIDDEN },
    handler: (c, next) => {
      const address = clientAddress(c, client);
      const good = address !== undefined && !hasAddress(deny, address) &&
        (allow.length === 0 || hasAddress(allow, address));
      return good ? next() : Promise.resolve(
        new Response("Forbidden", {
          status: 403,
          headers: { "content-type": TYPE },
        }),
      );
    },
  });
}

function checkList(
  list: unknown,
  path: string,
  problems: OptionProblem[],
): AddressSet {
  const all = Array.isArray(list)
    ? list.flatMap((each) => each === "*" ? ["0.0.0.0/0", "::/0"] : [each])
    : list;
  return checkAddresses(all, path, problems);
}
