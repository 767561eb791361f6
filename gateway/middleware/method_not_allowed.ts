/**
 * @module
 */
import type { Context, Hono, MiddlewareHandler } from "hono";
import { methodNotAllowed as honoMethodNotAllowed } from "hono/method-not-allowed";
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkKeys } from "../header_edits.ts";

/** What {@linkcode methodNotAllowed} takes: the options of Hono's own. */
export interface MethodNotAllowedOptions {
  /** The app whose routes are meant. */
  // deno-lint-ignore no-explicit-any
  app: Hono<any, any, any>;
  /** Makes the answer, `Allow` too. A function of yours runs in TypeScript, and so does the step. @default 405 Method Not Allowed */
  onMethodNotAllowed?: (
    c: Context,
    allowedMethods: string[],
  ) => Response | Promise<Response>;
}

/**
 * Answers `405 Method Not Allowed` with `Allow` (RFC 9110 section 15.5.6) in place of a 404 where a route for the path exists, but none for the method,
 * as Hono's own `methodNotAllowed` does. Routes for all methods do not count. Native where no TypeScript comes between and no route answers at all: then
 * the app's not-found handler is not asked.
 *
 * @example A wrong method is told which are right
 * ```ts
 * import { Hono } from "hono";
 * import { methodNotAllowed, respond } from "sluice";
 *
 * const app = new Hono();
 * app.use(methodNotAllowed({ app }));
 * app.get("/healthz", respond("ok"));
 * ```
 */
export function methodNotAllowed(
  options: MethodNotAllowedOptions,
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  const keys = ["app", "onMethodNotAllowed"];
  checkKeys(options ?? {}, keys, "methodNotAllowed()", problems);
  const { app, onMethodNotAllowed } = options ?? {};
  if (!Array.isArray(app?.routes)) {
    const reason = "must be the Hono app";
    problems.push({ path: "methodNotAllowed() app", value: app, reason });
  }
  if (
    onMethodNotAllowed !== undefined && typeof onMethodNotAllowed !== "function"
  ) {
    const path = "methodNotAllowed() onMethodNotAllowed";
    const reason = "must be a function that returns a Response";
    problems.push({ path, value: onMethodNotAllowed, reason });
  }
  if (problems.length > 0) throw new OptionsError(problems);
  const handler = honoMethodNotAllowed(options);
  return defineMiddleware({
    name: "methodNotAllowed",
    native: onMethodNotAllowed ? undefined : { op: "methodNotAllowed", app },
    typescript: "its onMethodNotAllowed is a function",
    handler,
    // A route or middleware in TypeScript may have found nothing, too.
    after: async (c) => void await handler(c, () => Promise.resolve()),
  });
}
