/**
 * What a TLS connection agreed on, as handlers see it in `c.env.tls`.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";

/**
 * The TLS connection of a request, in `c.env.tls`; without TLS there is none.
 *
 * @example Which clients resume?
 * ```ts
 * import { Hono } from "hono";
 * import { defineGateway, type TlsConnection } from "sluice";
 *
 * const app = new Hono<{ Bindings: { tls?: TlsConnection } }>();
 * app.get("/tls", (c) => c.json(c.env.tls ?? "plain"));
 * export default defineGateway(app, {
 *   listeners: [{
 *     address: "127.0.0.1:8443",
 *     tls: { certificates: [{ cert: "cert.pem", key: "key.pem" }] },
 *   }],
 * });
 * ```
 */
export interface TlsConnection {
  /** "TLSv1.3" or "TLSv1.2". */
  version: string;
  /** The cipher suite by its IANA name, as "TLS_AES_128_GCM_SHA256". */
  cipher: string;
  /** The key exchange, as "X25519MLKEM768". */
  group: string;
  /** The server name that the client asked for, as it wrote it. */
  sni?: string;
  /** The protocol that was agreed on, "http/1.1". */
  alpn?: string;
  /** Whether a session ticket has replaced the full handshake. */
  resumed: boolean;
  /**
   * Whether the request came to the handler before the client had proven that it is there: it may be a replay, so nothing that must not happen
   * twice may come of it (RFC 8446, section 8). Only on routes with `earlyData()`.
   */
  early: boolean;
  /**
   * The client's certificate, where the policy's `clientAuth` asks for one; undefined: it showed none. Also on a resumed connection: its ticket says the
   * same. This is the only place to learn of it: a header such as X-Client-Cert comes from whoever sent the request.
   */
  client?: TlsClient;
}

/** A client's certificate, which one of the policy's CAs has issued. */
export interface TlsClient {
  /** SHA-256 of its DER, in hexadecimal. */
  sha256: string;
  /** The subject as RFC 2253 writes it: "CN=alice,O=Example". */
  subject: string;
  /** Its subject alternative names by type; those of other types are not told. */
  names: { dns: string[]; uri: string[]; email: string[]; ip: string[] };
}

const VERSIONS: Record<number, string> = {
  0x0303: "TLSv1.2",
  0x0304: "TLSv1.3",
};
const CIPHERS: Record<number, string> = {
  0x1301: "TLS_AES_128_GCM_SHA256",
  0x1302: "TLS_AES_256_GCM_SHA384",
  0x1303: "TLS_CHACHA20_POLY1305_SHA256",
  0xc02b: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
  0xc02c: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
  0xc02f: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
  0xc030: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
  0xcca8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
  0xcca9: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
};
const GROUPS: Record<number, string> = {
  23: "P-256",
  24: "P-384",
  29: "X25519",
  0x11ec: "X25519MLKEM768",
};

function nameOf(names: Record<number, string>, id: number): string {
  return names[id] ?? `0x${id.toString(16).padStart(4, "0")}`;
}

function clientOf(sha256: Uint8Array, lines: string): TlsClient {
  const client: TlsClient = {
    sha256: Array.from(sha256, (byte) => byte.toString(16).padStart(2, "0"))
      .join(""),
    subject: "",
    names: { dns: [], uri: [], email: [], ip: [] },
  };
  for (const line of lines.split("\n")) {
    const space = line.indexOf(" ");
    const [type, name] = [line.slice(0, space), line.slice(space + 1)];
    if (type === "subject") client.subject = name;
    else if (Object.hasOwn(client.names, type)) {
      client.names[type as keyof TlsClient["names"]].push(name);
    }
  }
  return client;
}

/** Reads a `struct sl_slot_tls` at a word; `text` gives characters of its text, `client` what its client's certificate is told by. */
export function tlsConnection(
  words: Int32Array,
  at: number,
  text: (from: number, length: number) => string,
  client: (length: number) => { sha256: Uint8Array; lines: string },
): TlsConnection {
  const [first, second] = [words[at], words[at + 1]];
  const flags = second >> 16 & 255;
  const alpnLength = second >>> 24;
  const sniLength = words[at + 2] & 255;
  const clientLength = words[at + 2] >>> 16;
  const connection: TlsConnection = {
    version: nameOf(VERSIONS, first & 0xffff),
    cipher: nameOf(CIPHERS, first >>> 16),
    group: nameOf(GROUPS, second & 0xffff),
    sni: sniLength > 0 ? text(alpnLength, sniLength) : undefined,
    alpn: alpnLength > 0 ? text(0, alpnLength) : undefined,
    resumed: (flags & abi.SL_SLOT_TLS_F_RESUMED) !== 0,
    early: (flags & abi.SL_SLOT_TLS_F_EARLY) !== 0,
  };
  if (clientLength > 0) {
    const { sha256, lines } = client(clientLength);
    connection.client = clientOf(sha256, lines);
  }
  return connection;
}
