/**
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { defineMiddleware, type PoolOptions } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkPool } from "../options.ts";
import { checkTarget, forward } from "../proxy_target.ts";
import { upstreamId } from "../upstream.ts";

/** Limits of the connections to the upstream. */
export type ProxyOptions = PoolOptions;

/**
 * Sends the request to an upstream and streams its answer back. Native: no byte of either body enters V8. Path, query and
 * `Host` go on unchanged; hop-by-hop fields are removed; `Via` and `X-Forwarded-For`, `-Host` and `-Proto` are set.
 * Redirects of the upstream are answers like any other.
 *
 * Middleware in TypeScript around it may change the request (`c.req.raw = new Request(c.req.raw, { headers })`, or another URL) and the
 * answer's status and fields: the bodies still stay native, as long as nobody reads them. Where the upstream fails, the answer that
 * middleware sees is a 502, 503 or 504.
 *
 * @param target A URL origin, or the name of an upstream of the options.
 *
 * @example One upstream by its address, one by its name
 * ```ts
 * import { Hono } from "hono";
 * import { defineGateway, proxy } from "sluice";
 *
 * const app = new Hono();
 * app.all("/api/*", proxy("http://127.0.0.1:3000"));
 * app.all("/files/*", proxy({ upstream: "files" }));
 * export default defineGateway(app, { upstreams: { files: { url: "http://127.0.0.1:3001" } } });
 * ```
 */
export function proxy(
  target: string | { upstream: string },
  options: ProxyOptions = {},
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  const place = checkTarget(target, "proxy() target", problems);
  const pool = checkPool(options, "proxy() options", problems);
  if (problems.length > 0) throw new OptionsError(problems);
  const id = upstreamId(place, pool);
  return defineMiddleware({
    name: "proxy",
    native: { op: "proxy", target: place, pool },
    handler: (c) => forward(c, place, "proxy()", id),
  });
}
