/**
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { isFieldValue, trimValue } from "../header_fields.ts";

/** The statuses that send a client elsewhere. */
export type RedirectStatus = 301 | 302 | 303 | 307 | 308;

const STATUSES: readonly number[] = [301, 302, 303, 307, 308];

/**
 * Sends the client to another place, as `c.redirect` does. Native: V8 is not entered.
 *
 * @param location A URL, or a reference relative to the request's. Characters above U+00FF are percent-encoded, others stay as they are.
 * @param status 301 or 308: for ever; 302 or 307: for now; 303: to an answer for GET. 307 and 308 keep the method.
 *
 * @example An old path, and a site that has moved
 * ```ts
 * import { Hono } from "hono";
 * import { redirect } from "sluice";
 *
 * const app = new Hono();
 * app.get("/start", redirect("/", 308));
 * app.get("/docs/*", redirect("https://docs.example.org/"));
 * ```
 */
export function redirect(
  location: string | URL,
  status: RedirectStatus = 302,
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  const text = location instanceof URL ? location.href : location;
  if (typeof text !== "string" || !text.isWellFormed()) {
    problems.push({
      path: "redirect() location",
      value: location,
      reason: "must be a URL or a reference, as well-formed text",
    });
  } else if (!isFieldValue(encode(text))) {
    problems.push({
      path: "redirect() location",
      value: location,
      reason: "must have no CR, LF, NUL or other control character",
    });
  }
  if (!STATUSES.includes(status)) {
    problems.push({
      path: "redirect() status",
      value: status,
      reason: `must be one of ${STATUSES.join(", ")}`,
    });
  }
  if (problems.length > 0) throw new OptionsError(problems);
  const headers = [["location", trimValue(encode(text))]] as const;
  return defineMiddleware({
    name: "redirect",
    native: { op: "respond", status, headers, body: new Uint8Array() },
    handler: (c) => c.redirect(text, status),
  });
}

// As c.redirect of Hono 4.
function encode(location: string): string {
  return /[^\0-\xff]/.test(location) ? encodeURI(location) : location;
}
