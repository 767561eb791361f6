/**
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { defineMiddleware } from "../define_middleware.ts";
import { forwardHeaders } from "../forward.ts";

/**
 * Answers with the request's head as an upstream would see it, as text. Native: V8 is not entered.
 *
 * @example What does the gateway send on?
 * ```ts
 * import { Hono } from "hono";
 * import { whoami } from "sluice";
 *
 * const app = new Hono();
 * app.get("/whoami", whoami());
 * ```
 */
export function whoami(): MiddlewareHandler {
  return defineMiddleware({
    name: "whoami",
    native: { op: "whoami" },
    handler: (c) => {
      const { method, url } = c.req.raw;
      const target = url.slice(url.indexOf("/", url.indexOf(":") + 3));
      const lines = [`${method} ${target} HTTP/1.1`];
      for (const [name, value] of forwardHeaders(c)) {
        lines.push(`${name}: ${value}`);
      }
      return c.text(lines.join("\r\n") + "\r\n\r\n", 200, {
        "cache-control": "no-store",
      });
    },
  });
}
