/**
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { defineMiddleware, type PoolOptions } from "../define_middleware.ts";
import { GatewayError, type OptionProblem, OptionsError } from "../errors.ts";
import { forwardHeaders, returnHeaders } from "../forward.ts";
import { checkPool } from "../options.ts";
import { namedUpstream, parseOrigin } from "../upstream.ts";

/** Limits of the connections to the upstream. */
export type ProxyOptions = PoolOptions;

/**
 * Sends the request to an upstream and streams its answer back. Native: no byte of either body enters V8. Path, query and
 * `Host` go on unchanged; hop-by-hop fields are removed; `Via` and `X-Forwarded-For`, `-Host` and `-Proto` are set.
 * Redirects of the upstream are answers like any other.
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
  const place = checkTarget(target, problems);
  const pool = checkPool(options, "proxy() options", problems);
  if (problems.length > 0) throw new OptionsError(problems);
  return defineMiddleware({
    name: "proxy",
    native: { op: "proxy", target: place, pool },
    handler: (c) => forward(c, place),
  });
}

function checkTarget(
  target: string | { upstream: string },
  problems: OptionProblem[],
): string | { upstream: string } {
  if (typeof target === "string") {
    const origin = parseOrigin(target);
    if (!("reason" in origin)) return origin.origin;
    problems.push({
      path: "proxy() target",
      value: target,
      reason: origin.reason,
    });
  } else if (typeof target?.upstream !== "string" || target.upstream === "") {
    problems.push({
      path: "proxy() target",
      value: target,
      reason: "must be a URL origin or { upstream: name }",
    });
  }
  return typeof target === "string" ? target : { upstream: target?.upstream };
}

// fetch() rewrites Host unless the client allows it; the native form keeps the client's Host, so this one does too.
let client: Deno.HttpClient | undefined;

async function forward(
  c: Context,
  target: string | { upstream: string },
): Promise<Response> {
  const origin = typeof target === "string"
    ? target
    : namedUpstream(target.upstream);
  if (origin === undefined) {
    throw new GatewayError(
      `proxy(): there is no upstream ${
        JSON.stringify((target as { upstream: string }).upstream)
      }: add it to options.upstreams`,
      { kind: "unknown_upstream" },
    );
  }
  const request = c.req.raw;
  client ??= Deno.createHttpClient({ allowHost: true });
  let answer: Response;
  try {
    answer = await fetch(origin + pathAndQuery(request.url), {
      method: request.method,
      headers: forwardHeaders(c),
      body: request.body,
      redirect: "manual",
      signal: request.signal,
      client,
      ...(request.body ? { duplex: "half" } : {}),
    } as RequestInit);
  } catch (cause) {
    if (request.signal.aborted) throw cause;
    return c.text("The upstream refused the connection.\n", 502);
  }
  return new Response(answer.body, {
    status: answer.status,
    headers: returnHeaders(answer.headers),
  });
}

function pathAndQuery(url: string): string {
  return url.slice(url.indexOf("/", url.indexOf(":") + 3));
}
