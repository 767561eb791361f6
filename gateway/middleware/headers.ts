/**
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import {
  checkEdits,
  editRequest,
  editResponse,
  type HeaderEdits,
  noteWritten,
} from "../header_edits.ts";

/** What {@linkcode headers} changes. */
export interface HeadersOptions {
  /** Of the request, before the next handler or upstream sees it. @default {} */
  request?: HeaderEdits;
  /** Of the answer, whoever gives it: 404 and error answers, too. @default {} */
  response?: HeaderEdits;
}

/**
 * Removes, sets and appends header fields, in this order: of the request on its way in, of the answer on its way out, as Hono
 * middleware does around `await next()`. Native: handlers in TypeScript see the edited request, and their answers are edited
 * when C writes them.
 *
 * Fields of the connection and its framing (`Connection`, `Content-Length`, `Transfer-Encoding`, …), `Host` and `Date` cannot be edited. What
 * is set on a request reaches an upstream even if it is a field that a client may not send there, such as `X-Real-IP`.
 *
 * @example Hide the server's name, tell the upstream where it is mounted
 * ```ts
 * import { Hono } from "hono";
 * import { headers, proxy } from "sluice";
 *
 * const app = new Hono();
 * app.use(headers({ response: { set: { "x-content-type-options": "nosniff" }, remove: ["server"] } }));
 * app.all("/api/*", headers({ request: { set: { "x-forwarded-prefix": "/api" } } }), proxy("http://127.0.0.1:3000"));
 * ```
 */
export function headers(options: HeadersOptions): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  const given: Record<string, unknown> = { ...options };
  for (const key of Object.keys(given)) {
    if (key === "request" || key === "response") continue;
    const reason = "is not an option; known keys: request, response";
    problems.push({ path: `headers() ${key}`, value: given[key], reason });
  }
  const { request: wayIn = {}, response: wayOut = {} } = options ?? {};
  const request = checkEdits(wayIn, "headers() request", "request", problems);
  const response = checkEdits(
    wayOut,
    "headers() response",
    "response",
    problems,
  );
  if (problems.length > 0) throw new OptionsError(problems);
  return defineMiddleware({
    name: "headers",
    native: { op: "headers", request, response },
    handler: async (c, next) => {
      editRequest(c, request);
      await next();
      if (c.finalized) editResponse(c, response);
    },
    passed: (c) => noteWritten(c, request),
  });
}
