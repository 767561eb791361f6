/**
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { type AddressSet, checkAddresses, hasAddress } from "../address.ts";
import { peerAddress } from "../client_ip.ts";
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkKeys, editRequest, nameProblem } from "../header_edits.ts";

/** How {@linkcode requestId} makes ids. */
export interface RequestIdOptions {
  /** The field of the request and of its answer. @default "X-Request-Id" */
  headerName?: string;
  /** The longest id that is taken over, in characters. @default 255 */
  limitLength?: number;
  /** Makes an id. A function of yours runs in TypeScript, and so does the step. @default a random UUID */
  generator?: (c: Context) => string;
  /** Whose ids are taken over: everybody's, or those of these peers (addresses and CIDR ranges, such as the load balancer's). @default false */
  trust?: boolean | readonly string[];
}

/** What {@linkcode requestId} sets: `c.get("requestId")`. */
export interface RequestIdVariables {
  /** The request's id. */
  requestId: string;
}

const KEYS = ["headerName", "limitLength", "generator", "trust"];
const NATIVE_LIMIT = 255;
const ID = /^[\w\-=]+$/;

/**
 * Gives each request an id: `c.get("requestId")`, and a field that the upstream and the client get. A UUID (version 4, RFC 9562), unless the client
 * is trusted and has sent one of the characters `A-Z a-z 0-9 _ - =`. Unlike Hono's, it trusts nobody by default: an id that anybody may choose is
 * none. Native, but for a `generator` of yours and ids longer than 255.
 *
 * @example Ids of the load balancer are kept
 * ```ts
 * import { Hono } from "hono";
 * import { requestId, type RequestIdVariables } from "sluice";
 *
 * const app = new Hono<{ Variables: RequestIdVariables }>();
 * app.use(requestId({ trust: ["10.0.0.0/8"] }));
 * app.get("/", (c) => c.text(`You are request ${c.get("requestId")}`));
 * ```
 */
export function requestId(options: RequestIdOptions = {}): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, KEYS, "requestId()", problems);
  const { headerName = "X-Request-Id", limitLength = 255, generator } = options;
  const name = checkName(headerName, problems);
  if (!Number.isInteger(limitLength) || limitLength < 1) {
    const reason = "must be an integer from 1 on";
    problems.push({
      path: "requestId() limitLength",
      value: limitLength,
      reason,
    });
  }
  if (generator !== undefined && typeof generator !== "function") {
    const reason = "must be a function that returns text";
    problems.push({ path: "requestId() generator", value: generator, reason });
  }
  const trust = checkTrust(options.trust ?? false, problems);
  if (problems.length > 0) throw new OptionsError(problems);
  const native = generator === undefined &&
    (limitLength <= NATIVE_LIMIT || trust === false);
  const limit = Math.min(limitLength, NATIVE_LIMIT);
  return defineMiddleware({
    name: "requestId",
    native: native
      ? { op: "requestId", headerName: name, limitLength: limit, trust }
      : undefined,
    typescript: generator
      ? "its generator is a function"
      : `C takes over ids of at most ${NATIVE_LIMIT} bytes`,
    handler: async (c, next) => {
      const given = isTrusted(c, trust) ? c.req.header(name) ?? "" : "";
      const id = given.length <= limitLength && ID.test(given)
        ? given
        : generator?.(c) ?? crypto.randomUUID();
      editRequest(c, [{ kind: "set", name, value: id }]);
      c.set("requestId", id);
      await next();
      if (c.finalized) c.header(name, id);
    },
    passed: (c) => c.set("requestId", c.req.header(name)!),
  });
}

function checkName(given: unknown, problems: OptionProblem[]): string {
  const name = String(given).toLowerCase();
  const reason = nameProblem(name, "set", "request") ??
    nameProblem(name, "set", "response");
  if (typeof given !== "string" || reason) {
    const why = reason ?? "must be text";
    problems.push({
      path: "requestId() headerName",
      value: given,
      reason: why,
    });
  }
  return name;
}

function checkTrust(
  trust: unknown,
  problems: OptionProblem[],
): boolean | AddressSet {
  return typeof trust === "boolean"
    ? trust
    : checkAddresses(trust, "requestId() trust", problems);
}

function isTrusted(c: Context, trust: boolean | AddressSet): boolean {
  if (typeof trust === "boolean") return trust;
  const peer = peerAddress(c);
  return peer !== undefined && hasAddress(trust, peer);
}
