/**
 * A hook that is asked about each handshake of a listener.
 *
 * @module
 */
import { checkInteger, PolicyError } from "./check.ts";

/** What a client says before anything else is known of it. Anybody can say anything here; numbers are those of IANA's registries, GREASE included. */
export interface ClientHello {
  /** The server name that it asks for (SNI), as it wrote it; undefined: none. */
  serverName?: string;
  /** The protocols that it offers (ALPN), its favourite first. */
  alpn: string[];
  /** The TLS versions that it offers: 0x0304 is TLS 1.3, 0x0303 TLS 1.2. */
  versions: number[];
  /** Its cipher suites, as 0x1301. */
  cipherSuites: number[];
  /** The groups of the key exchange that it knows, as 29 for X25519. */
  groups: number[];
  /** Where it connects from: `192.0.2.7`, `2001:db8::7`. */
  remoteAddress: string;
  /** The listener that it connects to, by its place in the options. */
  listener: number;
}

/**
 * What becomes of the handshake: `certificate` is a server name, and the client gets the certificate of that name with its whole policy; `"reject"` ends it
 * with the alert handshake_failure; undefined leaves it to the client's server name.
 *
 * Requests are then for hosts of that certificate, or of the client's server name unless that has `clientAuth` of its own; others are answered 421.
 */
export type ClientHelloAnswer = { certificate?: string } | "reject" | undefined;

/**
 * Chooses a client's certificate and policy by more than its server name.
 *
 * @example A certificate for clients that know no TLS 1.3, and nothing for a network
 * ```ts
 * import { type ClientHelloHook, defineGateway, respond } from "sluice";
 * import { Hono } from "hono";
 *
 * const onClientHello: ClientHelloHook = ({ versions, remoteAddress }) => {
 *   if (remoteAddress.startsWith("198.51.100.")) return "reject";
 *   return versions.includes(0x0304) ? undefined : { certificate: "old.example.org" };
 * };
 *
 * export default defineGateway(new Hono().get("/", respond("hello\n")), {
 *   listeners: [{
 *     address: "127.0.0.1:8443",
 *     tls: {
 *       certificates: [
 *         { cert: "cert.pem", key: "key.pem", policy: { preset: "modern" } },
 *         { cert: "old.pem", key: "old.key", names: ["old.example.org"], policy: { preset: "intermediate" } },
 *       ],
 *       onClientHello,
 *     },
 *   }],
 * });
 * ```
 */
export type ClientHelloHook = (
  hello: ClientHello,
) => ClientHelloAnswer | Promise<ClientHelloAnswer>;

/** A hook and its time, as options of a listener. */
export interface ClientHelloOptions {
  /**
   * Is asked about each handshake, which waits for the answer while all else goes on. If it throws, answers with an unknown name or takes longer than
   * `clientHelloTimeoutMs`, the server name chooses, as it does where too many wait (a quarter of `limits.exchanges`, per worker). Without it no JavaScript runs in a
   * handshake. @default none
   */
  onClientHello?: ClientHelloHook;
  /** How long it may take, in milliseconds, 1 to 10000; `limits.headTimeoutMs` is for the whole handshake. @default 100 */
  clientHelloTimeoutMs?: number;
}

/** The names of these options. */
export const CLIENT_HELLO_OPTIONS = ["onClientHello", "clientHelloTimeoutMs"];

/** Checks the options, and fills in the time where there is a hook. */
export function checkClientHello(
  tls: Record<string, unknown>,
): ClientHelloOptions {
  const { onClientHello, clientHelloTimeoutMs } = tls;
  if (onClientHello === undefined) {
    if (clientHelloTimeoutMs === undefined) return {};
    throw new PolicyError(
      "clientHelloTimeoutMs",
      clientHelloTimeoutMs,
      "needs onClientHello, whose time it is",
    );
  }
  if (typeof onClientHello !== "function") {
    const reason = 'must be a function, as (hello) => "reject"';
    throw new PolicyError("onClientHello", onClientHello, reason);
  }
  return {
    onClientHello: onClientHello as ClientHelloHook,
    clientHelloTimeoutMs: checkInteger(
      clientHelloTimeoutMs,
      "clientHelloTimeoutMs",
      { min: 1, max: 10_000, fallback: 100, unit: "milliseconds" },
    ),
  };
}
