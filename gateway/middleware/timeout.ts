/**
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { responseOf, textAnswer } from "../answers.ts";
import { watchBody } from "../body_end.ts";
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";

const DURATION_MAX = 2_147_483_647; // of setTimeout()
const ANSWER = textAnswer(504, "Gateway Timeout");

/**
 * Ends a request that takes too long, from this step to the last byte of its answer: 504 if its head has not begun, else the transfer is cut, so that
 * a short body never looks whole. A WebSocket is in time once it is open. As Hono's `timeout`, which leaves bodies alone. Native for handlers and upstreams alike; a handler that is too late
 * hears of it by the request's `signal`.
 *
 * @param duration In milliseconds.
 * @param exception What to throw instead of answering 504, or a function that makes it: for the app's `onError`. It runs in TypeScript, and so does the step.
 *
 * @example Five seconds for everything below /api
 * ```ts
 * import { Hono } from "hono";
 * import { proxy, timeout } from "sluice";
 *
 * const app = new Hono();
 * app.use("/api/*", timeout(5000));
 * app.all("/api/*", proxy("http://127.0.0.1:3000"));
 * ```
 */
export function timeout(
  duration: number,
  exception?: Error | ((c: Context) => Error),
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  if (!Number.isInteger(duration) || duration < 1 || duration > DURATION_MAX) {
    const reason = `must be whole milliseconds from 1 to ${DURATION_MAX}`;
    problems.push({ path: "timeout() duration", value: duration, reason });
  }
  if (
    exception !== undefined && typeof exception !== "function" &&
    !(exception instanceof Error)
  ) {
    const reason = "must be an error, or a function that makes one";
    problems.push({ path: "timeout() exception", value: exception, reason });
  }
  if (problems.length > 0) throw new OptionsError(problems);
  return defineMiddleware({
    name: "timeout",
    native: exception === undefined
      ? { op: "timeout", ms: duration, answer: ANSWER }
      : undefined,
    typescript: "it throws an exception of its own",
    handler: async (c, next) => {
      const start = performance.now();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<boolean>((resolve) => {
        timer = setTimeout(() => resolve(true), duration);
      });
      try {
        if (await Promise.race([next(), late]) === true) {
          if (typeof exception === "function") throw exception(c);
          if (exception) throw exception;
          return responseOf(ANSWER);
        }
      } finally {
        clearTimeout(timer);
      }
      if (!c.finalized) return;
      const { res } = c;
      c.res = undefined;
      const left = Math.max(duration - (performance.now() - start), 0);
      const head = c.req.raw.method === "HEAD";
      c.res = watchBody(res, { cutAfterMs: left }, head);
    },
  });
}
