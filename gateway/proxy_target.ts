/**
 * Where `proxy()` and its like send requests to, and the TypeScript form of doing so.
 *
 * @module
 */
import type { Context } from "hono";
import { GatewayError, type OptionProblem } from "./errors.ts";
import { forwardHeaders, passesOn, returnHeaders } from "./forward.ts";
import { writtenFields } from "./header_edits.ts";
import { isFieldValue, nominated } from "./header_fields.ts";
import {
  BODILESS,
  ORIGIN,
  ROOT,
  SEND_ON,
  type SendsOn,
  UNTOUCHED,
} from "./progress.ts";
import { namedUpstream, parseOrigin, upstreamId } from "./upstream.ts";

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

/**
 * Sends the request on and gives the upstream's answer back. Where the request came here over a socket of ours, C does it, and no byte of
 * either body enters V8 unless somebody reads it. `who` is named in errors; `id` is what the plan knows the upstream by.
 */
export async function forward(
  c: Context,
  target: ProxyTarget,
  who: string,
  id: number = upstreamId(target, {}),
): Promise<Response> {
  const request = c.req.raw;
  if (endsHere(request)) return c.text("");
  const native = sendOn(c, id);
  if (native) return await native;
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

// OPTIONS with Max-Forwards: 0 asks about us (RFC 9110 section 7.6.2).
function endsHere({ method, headers }: Request): boolean {
  return method === "OPTIONS" && /^0+$/.test(headers.get("max-forwards") ?? "");
}

/** Has C send the request on; undefined: it did not come over a socket of ours, or is not what came any more. */
function sendOn(c: Context, id: number): Promise<Response> | undefined {
  const ours = (c.env as { [ORIGIN]?: SendsOn } | undefined)?.[ORIGIN];
  if (!ours) return undefined;
  const raw = c.req.raw as SendsOn;
  if (raw === ours && ours[UNTOUCHED]) return ours[SEND_ON](id, "", 0);
  // Another body cannot be sent by who does not know it; and HEAD decides what a client gets.
  const isMadeOfIt = raw[ROOT] === ours;
  if (!isMadeOfIt && (raw.body !== null || !ours[BODILESS])) return undefined;
  if ((raw.method === "HEAD") !== (ours.method === "HEAD")) return undefined;
  const { head, count } = headOf(c);
  return (isMadeOfIt ? raw : ours)[SEND_ON](id, head, count);
}

const FRAMING: ReadonlySet<string> = new Set([
  "content-length",
  "expect",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
]);

// The request's head as it is now, with what the app's own headers() wrote at its end. C knows the framing, and drops what goes no further.
function headOf(c: Context): { head: string; count: number } {
  const { method, url, headers } = c.req.raw;
  const written = writtenFields(c);
  const dropped = new Set(nominated(headers.get("connection")));
  let head = `${method} ${pathAndQuery(url)} HTTP/1.1\r\n`;
  let own = "";
  let count = 0;
  if (!headers.has("host")) head += `host: ${new URL(url).host}\r\n`;
  for (const [name, value] of headers) {
    if (!isFieldValue(value)) {
      throw new TypeError(`Invalid header value: ${JSON.stringify(value)}`);
    }
    if (FRAMING.has(name)) continue;
    const lines = written.get(name);
    if (lines === undefined) head += `${name}: ${value}\r\n`;
    else { // only what the app has written, where a client may say nothing
      for (const line of passesOn(name, dropped) ? [value] : lines) {
        own += `${name}: ${line}\r\n`;
        count++;
      }
    }
  }
  return { head: `${head}${own}\r\n`, count };
}

// Without a fragment, which is never sent.
function pathAndQuery(url: string): string {
  const from = url.indexOf("/", url.indexOf(":") + 3);
  const hash = url.indexOf("#", from);
  return hash < 0 ? url.slice(from) : url.slice(from, hash);
}
