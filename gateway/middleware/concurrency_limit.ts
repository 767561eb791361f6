/**
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { responseOf, textAnswer } from "../answers.ts";
import { watchBody } from "../body_end.ts";
import { CLIENT_KEYS, type ClientOptions } from "../client_ip.ts";
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkKeys } from "../header_edits.ts";
import { checkLimitKey, type LimitKey } from "../limit_key.ts";

/** What {@linkcode concurrencyLimit} allows, and whom. */
export interface ConcurrencyLimitOptions extends ClientOptions {
  /** Requests in flight at once, of each key, 1 to 16777215. */
  max: number;
  /** Whom it counts for. A function of yours runs in TypeScript, and so does the step. @default "route" */
  key?: LimitKey;
  /** What the others are answered: 503, or 429 where the client is to blame. @default 503 */
  status?: 503 | 429;
  /** Keys that may have a request in flight at once, 32 bytes each; a key for which there is no place is not limited. @default 16384 */
  keysMax?: number;
}

const KEYS = ["max", "key", "status", "keysMax", ...CLIENT_KEYS];
const MAX = 16_777_215;
const KEYS_MAX = 1_048_576;

/**
 * Lets at most `max` requests of each key be in flight, over all workers; answers the others 503 with `Retry-After: 1`. A request is in flight
 * until the last byte of its answer was handed to the kernel, or until it fails: its client or upstream dies, it is given up, the gateway closes. In
 * TypeScript each isolate counts for itself, and an answer's body must be read or cancelled.
 *
 * @example An upstream that can do ten things at once
 * ```ts
 * import { Hono } from "hono";
 * import { concurrencyLimit, proxy } from "sluice";
 *
 * const app = new Hono();
 * app.post("/render", concurrencyLimit({ max: 10 }), proxy("http://127.0.0.1:3000"));
 * ```
 */
export function concurrencyLimit(
  options: ConcurrencyLimitOptions,
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, KEYS, "concurrencyLimit()", problems);
  const { max, key = "route", status = 503, keysMax = 16384 } = options;
  const count = (name: "max" | "keysMax", value: unknown, most: number) => {
    if (
      Number.isInteger(value) && Number(value) >= 1 && Number(value) <= most
    ) {
      return;
    }
    const reason = `must be an integer from 1 to ${most}`;
    problems.push({ path: `concurrencyLimit() ${name}`, value, reason });
  };
  count("max", max, MAX);
  count("keysMax", keysMax, KEYS_MAX);
  if (status !== 503 && status !== 429) {
    const [path, reason] = ["concurrencyLimit() status", "must be 503 or 429"];
    problems.push({ path, value: status, reason });
  }
  const checked = checkLimitKey(key, options, "concurrencyLimit()", problems);
  if (problems.length > 0) throw new OptionsError(problems);
  const answer = textAnswer(status, "Too many requests are in flight.\n", [[
    "retry-after",
    "1",
  ]]);
  const inFlight = new Map<string, number>();
  const leave = (key: string) => {
    const left = inFlight.get(key)! - 1;
    if (left > 0) inFlight.set(key, left);
    else inFlight.delete(key);
  };
  return defineMiddleware({
    name: "concurrencyLimit",
    native: checked.native && {
      op: "concurrencyLimit",
      key: checked.native,
      max,
      keysMax,
      answer,
    },
    typescript: "its key is a function",
    handler: async (c, next) => {
      const key = await checked.of(c);
      const count = inFlight.get(key) ?? 0;
      if (count >= max) return responseOf(answer);
      inFlight.set(key, count + 1);
      let passed = false;
      try {
        await next();
        passed = true;
      } finally {
        if (!passed || !c.finalized) leave(key);
      }
      if (!c.finalized) return;
      const { res } = c;
      c.res = undefined;
      const head = c.req.raw.method === "HEAD";
      c.res = watchBody(res, { done: () => leave(key) }, head);
    },
  });
}
