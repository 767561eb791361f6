/**
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import {
  checkClient,
  CLIENT_KEYS,
  clientAddress,
  type ClientOptions,
  type ClientSource,
} from "../client_ip.ts";
import { cookieOf } from "../cookies.ts";
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkKeys } from "../header_edits.ts";
import { isFieldName, isFieldValue } from "../header_fields.ts";
import { clientPart } from "../limit_key.ts";
import { checkTarget, forward, type ProxyTarget } from "../proxy_target.ts";

/** A field or a cookie by which a request asks for the canary. */
export interface CanaryMark {
  /** Its name. */
  name: string;
  /** Its value, exactly. @default any */
  value?: string;
}

/** Where {@linkcode canary} sends requests to, and which. */
export interface CanaryOptions extends ClientOptions {
  /** A URL origin, or the name of an upstream of the options. */
  to: ProxyTarget;
  /** Percent of the clients, 0 to 100, in hundredths. @default 0 */
  weight?: number;
  /** Requests with this field go there, too. */
  header?: CanaryMark;
  /** And those with this cookie. */
  cookie?: CanaryMark;
  /** What tells clients apart: the address, or a cookie for those who have it. @default "client-ip" */
  sticky?: "client-ip" | { cookie: string };
}

const KEYS = ["to", "weight", "header", "cookie", "sticky", ...CLIENT_KEYS];
const SHARES = 10_000; // SL_PLAN_CANARY_SHARES
const COOKIE_VALUE = /^[^;"\t ](?:[^;]*[^;"\t ])?$/;

/**
 * A gray release: sends a part of the requests to another upstream, and lets the others pass on to what comes next. A client stays where it is: a hash
 * of its address (of IPv6: of its /64) or of a cookie decides, the same in every worker, process and gateway, and who is in 5 % is in 10 %, too. Native.
 *
 * @example One client in twenty, and whoever wants to
 * ```ts
 * import { Hono } from "hono";
 * import { canary, proxy } from "sluice";
 *
 * const app = new Hono();
 * app.use("/api/*", canary({ to: "http://127.0.0.1:3001", weight: 5, header: { name: "X-Canary", value: "yes" } }));
 * app.all("/api/*", proxy("http://127.0.0.1:3000"));
 * ```
 */
export function canary(options: CanaryOptions): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, KEYS, "canary()", problems);
  const target = checkTarget(options.to, "canary() to", problems);
  const { weight = 0, sticky = "client-ip" } = options;
  if (typeof weight !== "number" || !(weight >= 0 && weight <= 100)) {
    const reason = "must be a number from 0 to 100";
    problems.push({ path: "canary() weight", value: weight, reason });
  }
  const header = checkMark(options.header, "canary() header", problems);
  const cookie = checkMark(options.cookie, "canary() cookie", problems);
  if (header?.value !== undefined && header.value !== header.value.trim()) {
    const [value, reason] = [header.value, "must have no blanks around it"];
    problems.push({ path: "canary() header.value", value, reason });
  }
  if (cookie?.value && !COOKIE_VALUE.test(cookie.value)) {
    const [value, reason] = [cookie.value, "cannot be the value of a cookie"];
    problems.push({ path: "canary() cookie.value", value, reason });
  }
  const client = checkClient(options, "canary()", problems);
  const stickyCookie = sticky === "client-ip" ? undefined : sticky?.cookie;
  if (sticky !== "client-ip" && !isCookieName(stickyCookie)) {
    const reason = 'must be "client-ip" or { cookie: name }';
    problems.push({ path: "canary() sticky", value: sticky, reason });
  }
  if (problems.length > 0) throw new OptionsError(problems);
  const mark = header && { ...header, name: header.name.toLowerCase() };
  const shares = Math.round(weight * SHARES / 100);
  return defineMiddleware({
    name: "canary",
    native: {
      op: "canary",
      to: { target, pool: {} },
      shares,
      header: mark,
      cookie,
      sticky: stickyCookie,
      client,
    },
    handler: async (c, next) => {
      const there = marked(c.req.header(mark?.name ?? ""), mark) ||
        marked(cookieOf(c.req.header("cookie"), cookie?.name ?? ""), cookie) ||
        (shares > 0 && shareOf(c, stickyCookie, client) < shares);
      if (there) return await forward(c, target, "canary()");
      await next();
    },
  });
}

function isCookieName(name: unknown): boolean {
  return typeof name === "string" && isFieldName(name); // both are tokens
}

function checkMark(
  mark: CanaryMark | undefined,
  path: string,
  problems: OptionProblem[],
): CanaryMark | undefined {
  if (mark === undefined) return undefined;
  checkKeys(mark, ["name", "value"], path, problems);
  if (!isCookieName(mark?.name)) {
    const reason = "must be a token of RFC 9110";
    problems.push({ path: `${path}.name`, value: mark?.name, reason });
  }
  const { value } = mark;
  if (value !== undefined && (typeof value !== "string" || !isAscii(value))) {
    const reason = "must be text of printable ASCII characters";
    problems.push({ path: `${path}.value`, value, reason });
  }
  return { name: mark?.name, value };
}

function isAscii(value: string): boolean {
  return isFieldValue(value) && /^[\t -~]*$/.test(value);
}

function marked(
  given: string | undefined,
  mark: CanaryMark | undefined,
): boolean {
  return mark !== undefined && given !== undefined &&
    (mark.value === undefined || mark.value === given);
}

// Of SHARES. `share_of` in native/src/policy_canary.c is the same.
function shareOf(
  c: Context,
  sticky: string | undefined,
  source: ClientSource,
): number {
  const cookie = sticky && cookieOf(c.req.header("cookie"), sticky);
  if (cookie !== undefined && sticky) return hash(cookie) % SHARES;
  const client = clientPart(clientAddress(c, source) ?? 0n);
  const isV4 = client >> 32n === 0xffffn;
  const number = isV4
    ? 0xffff_ffffn << 32n | client & 0xffff_ffffn
    : client >> 64n;
  const bytes = Array.from(
    { length: 8 },
    (_, i) => Number(number >> BigInt(56 - 8 * i) & 255n),
  );
  return hash(String.fromCharCode(...bytes)) % SHARES;
}

// FNV-1a and the finaliser of MurmurHash3, 32 bits, of latin1.
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  }
  h = Math.imul(h ^ h >>> 16, 0x85ebca6b);
  h = Math.imul(h ^ h >>> 13, 0xc2b2ae35);
  return (h ^ h >>> 16) >>> 0;
}
