/**
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { defineMiddleware, type RespondStep } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkKeys } from "../header_edits.ts";

/** How {@linkcode earlyData} treats what may not run early. */
export interface EarlyDataRouteOptions {
  /** Requests that may not run early (their method, their body, their ticket's age): they wait for the handshake, or are answered 425. @default "wait" */
  others?: "wait" | "refuse";
}

const TOO_EARLY: RespondStep = {
  op: "respond",
  status: 425,
  headers: [["content-type", "text/plain; charset=UTF-8"]],
  body: new TextEncoder().encode("Too Early"),
};

/**
 * Marks a route whose requests may run in TLS early data (0-RTT): before the client has proven that it is there, one round trip sooner. A ticket's early
 * data is accepted at most once, but an attacker who keeps an answer back may make a client send its request again, so mark only what is safe to do
 * twice (RFC 8446, section 8; RFC 8470). The listener's policy says which methods and sizes (`tls.policy.earlyData`); requests of other routes
 * wait for the handshake. Native, like what comes behind it; behind a TypeScript step it marks nothing, and they wait, too.
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { defineGateway, earlyData, respond } from "sluice";
 *
 * const app = new Hono();
 * app.get("/news", earlyData(), respond("Nothing new.\n"));
 * export default defineGateway(app, {
 *   listeners: [{
 *     address: "127.0.0.1:8443",
 *     tls: {
 *       certificates: [{ cert: "cert.pem", key: "key.pem" }],
 *       policy: { earlyData: true },
 *     },
 *   }],
 * });
 * ```
 */
export function earlyData(
  options: EarlyDataRouteOptions = {},
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, ["others"], "earlyData()", problems);
  const { others = "wait" } = options;
  if (others !== "wait" && others !== "refuse") {
    const reason = 'must be "wait" or "refuse"';
    problems.push({ path: "earlyData() others", value: others, reason });
  }
  if (problems.length > 0) throw new OptionsError(problems);
  const refuse = others === "refuse";
  return defineMiddleware({
    name: "earlyData",
    native: {
      op: "earlyData",
      refuse,
      answer: refuse ? TOO_EARLY : undefined,
    },
    handler: (_, next) => next(),
  });
}
