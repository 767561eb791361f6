/**
 * Upstreams: where a proxy step sends requests to.
 *
 * @module
 */
import type { PoolOptions } from "./define_middleware.ts";
import { fingerprint } from "./fingerprint.ts";

/** An upstream of the options, under its name. */
export interface UpstreamOptions extends PoolOptions {
  /** Its origin: `http://10.0.0.7:3000`. */
  url: string;
  /**
   * It understands `Early-Data: 1` (RFC 8470): requests that a route takes in TLS early data are forwarded to it with that field before the handshake is
   * done, and it may answer 425. To others they wait. @default false
   */
  earlyData?: boolean;
}

/** A parsed origin. */
export interface Origin {
  /** Without the brackets of an IPv6 address. */
  hostname: string;
  port: number;
  /** `http://host:port`, as it is shown. */
  origin: string;
}

/** Why a text is not an origin that can be used, or the origin. */
export function parseOrigin(text: string): Origin | { reason: string } {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return { reason: `must be a URL origin such as "http://127.0.0.1:3000"` };
  }
  if (url.protocol === "https:") {
    return {
      reason:
        "https upstreams are not supported yet: use http, or terminate TLS beside the upstream",
    };
  }
  if (url.protocol !== "http:") return { reason: "must begin with http://" };
  if (url.username || url.password) {
    return { reason: "must not hold a user name or password" };
  }
  if (url.pathname !== "/" || url.search || url.hash) {
    return {
      reason: `must be an origin, without a path or query: "${url.origin}"`,
    };
  }
  const port = url.port === "" ? 80 : Number(url.port);
  if (port === 0) return { reason: "must have a port from 1 to 65535" };
  return {
    hostname: url.hostname.replace(/^\[|\]$/g, ""),
    port,
    origin: url.origin,
  };
}

/** The number by which a step in TypeScript names its upstream, in whatever plan: that of what it was given. */
export function upstreamId(
  target: string | { upstream: string },
  pool: PoolOptions,
): number {
  return fingerprint(JSON.stringify([target, pool]));
}

// The TypeScript form of proxy({ upstream: "name" }) has no options at hand: whoever starts the gateway names them here.
const named = new Map<string, string>();

/** Makes the named upstreams known to the TypeScript form of `proxy()`. */
export function setNamedUpstreams(
  upstreams: Record<string, UpstreamOptions>,
): void {
  named.clear();
  for (const [name, upstream] of Object.entries(upstreams)) {
    named.set(name, new URL(upstream.url).origin);
  }
}

/** The origin of a named upstream. */
export function namedUpstream(name: string): string | undefined {
  return named.get(name);
}
