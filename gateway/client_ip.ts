/**
 * Who sends a request, in TypeScript forms. C does the same in `native/src/client_ip.c`; its header says why it is done so.
 *
 * @module
 */
import type { Context } from "hono";
import {
  type AddressSet,
  checkAddresses,
  hasAddress,
  parseAddress,
} from "./address.ts";
import type { OptionProblem } from "./errors.ts";

/** Whom a step takes for the client, of checked {@linkcode ClientOptions}. */
export interface ClientSource {
  /** Proxies that are trusted to say for whom they ask. */
  proxies: AddressSet;
  /** The field in which they do. */
  forwardedHeader: "x-forwarded-for" | "forwarded";
}

const HOPS_MAX = 32;

/** Whom a step takes for the client. */
export interface ClientOptions {
  /** Addresses and CIDR ranges of proxies that are trusted to say for whom they ask. @default [] */
  trustedProxies?: readonly string[];
  /** The field in which they do: the one that all of them write, and no client can send through them. @default "X-Forwarded-For" */
  forwardedHeader?: "X-Forwarded-For" | "Forwarded";
}

/** The keys of {@linkcode ClientOptions}. */
export const CLIENT_KEYS = ["trustedProxies", "forwardedHeader"];

/** Checks the options; adds what is wrong to `problems`. */
export function checkClient(
  options: ClientOptions,
  what: string,
  problems: OptionProblem[],
): ClientSource {
  const { trustedProxies = [], forwardedHeader = "X-Forwarded-For" } = options;
  const header = String(forwardedHeader).toLowerCase();
  if (header !== "x-forwarded-for" && header !== "forwarded") {
    const reason = 'must be "X-Forwarded-For" or "Forwarded"';
    const path = `${what} forwardedHeader`;
    problems.push({ path, value: forwardedHeader, reason });
  }
  const path = `${what} trustedProxies`;
  const proxies = checkAddresses(trustedProxies, path, problems);
  return {
    proxies,
    forwardedHeader: header === "forwarded" ? header : "x-forwarded-for",
  };
}

/** The address of the connection's other end; undefined if the server does not tell. */
export function peerAddress(c: Context): bigint | undefined {
  const hostname: unknown = c.env?.remoteAddr?.hostname;
  // A link-local address may come with its zone.
  return typeof hostname === "string"
    ? parseAddress(hostname.replace(/%.*$/, ""))
    : undefined;
}

/** The client's address: the peer's or, if that is a trusted proxy, the one that it names. Undefined if the server does not tell the peer's. */
export function clientAddress(
  c: Context,
  { proxies, forwardedHeader }: ClientSource,
): bigint | undefined {
  const peer = peerAddress(c);
  if (peer === undefined || !hasAddress(proxies, peer)) return peer;
  return forwardedClient(
    peer,
    proxies,
    c.req.header(forwardedHeader) ?? "",
    forwardedHeader === "forwarded",
  );
}

/** The client that a field's value names: read from the right, as long as the one who must have written an element is trusted. */
export function forwardedClient(
  peer: bigint,
  proxies: AddressSet,
  value: string,
  forwarded: boolean,
): bigint {
  let client = peer;
  let hops = 0;
  for (const element of elementsFromRight(value)) {
    if (hops++ === HOPS_MAX || !hasAddress(proxies, client)) break;
    const node = forwarded ? forwardedFor(element) : element;
    const next = node === undefined ? undefined : parseNode(node);
    if (next === undefined) break;
    client = next;
  }
  return client;
}

// Commas in quotes do not count; seen from the right, so that an open quote changes nothing right of it.
function* elementsFromRight(value: string): Generator<string> {
  let end = value.length;
  let quoted = false;
  for (let at = end; at >= 0; at--) {
    const char = value[at - 1];
    if (char === '"' && !isEscaped(value, at - 1)) quoted = !quoted;
    else if (at === 0 || (char === "," && !quoted)) {
      const element = trim(value.slice(at, end));
      if (element !== "") yield element;
      end = at - 1;
      quoted = false;
    }
  }
}

function isEscaped(value: string, at: number): boolean {
  return /\\*$/.exec(value.slice(0, at))![0].length % 2 === 1;
}

function trim(text: string): string {
  return text.replace(/^[\t ]+|[\t ]+$/g, "");
}

// The value of the one `for` of an element, quotes taken off.
function forwardedFor(element: string): string | undefined {
  const pairs = element.match(/(?:"(?:\\.|[^"\\])*"|\\.|[^";\\])+/g) ?? [];
  const rest = element.replace(/(?:"(?:\\.|[^"\\])*"|\\.|[^";\\])+/g, "");
  if (/[^;]/.test(rest)) return undefined; // a quote or backslash without its end
  const found = pairs.map(trim).filter((pair) => /^for=/i.test(pair));
  if (found.length !== 1) return undefined;
  const value = found[0].slice(4);
  return /^".*"$/.test(value) ? value.slice(1, -1) : value;
}

const PORT = /^(?::(?:\d{1,5}|_[\w.-]*))?$/;

/** `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80` or `2001:db8::1`. */
export function parseNode(node: string): bigint | undefined {
  if (node.startsWith("[")) {
    const end = node.indexOf("]");
    const address = node.slice(1, end);
    const good = end > 0 && address.includes(":") &&
      PORT.test(node.slice(end + 1));
    return good ? parseAddress(address) : undefined;
  }
  const colon = node.indexOf(":");
  if (node.indexOf(":", colon + 1) > colon && colon >= 0) {
    return parseAddress(node);
  }
  const address = colon < 0 ? node : node.slice(0, colon);
  return PORT.test(node.slice(address.length))
    ? parseAddress(address)
    : undefined;
}
