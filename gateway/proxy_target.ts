/**
 * Where `proxy()` and its like send requests to, and the TypeScript form of doing so.
 *
 * @module
 */
import type { Context } from "hono";
import { GatewayError, type OptionProblem } from "./errors.ts";
import { forwardHeaders, returnHeaders } from "./forward.ts";
import { namedUpstream, parseOrigin } from "./upstream.ts";

/** A URL origin, or the name of an upstream of the options. */
export type ProxyTarget = string | { upstream: string };

/** Checks where a middleware sends requests to, adding what is wrong to `problems`. */
export function checkTarget(
  target: ProxyTarget,
  path: string,
  problems: OptionProblem[],
): ProxyTarget {
  if (typeof target === "string") {
    const origin = parseOrigin(target);
    if (!("reason" in origin)) return origin.origin;
    problems.push({
      path,
      value: target,
      reason: origin.reason,
    });
  } else if (typeof target?.upstream !== "string" || target.upstream === "") {
    problems.push({
      path,
      value: target,
      reason: "must be a URL origin or { upstream: name }",
    });
  }
  return typeof target === "string" ? target : { upstream: target?.upstream };
}

// fetch() rewrites Host unless the client allows it; the native form keeps the client's Host, so this one does too.
let client: Deno.HttpClient | undefined;

/** Sends the request on and gives the upstream's answer back. `who` is named in errors. */
export async function forward(
  c: Context,
  target: ProxyTarget,
  who: string,
): Promise<Response> {
  const origin = typeof target === "string"
    ? target
    : namedUpstream(target.upstream);
  if (origin === undefined) {
    throw new GatewayError(
      `${who}: there is no upstream ${
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
