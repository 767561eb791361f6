/**
 * What `app.fetch` gets besides the request: `c.env` and `c.executionCtx`.
 *
 * @module
 */
import type { ORIGIN } from "./progress.ts";
import type { IncomingRequest } from "./request.ts";
import type { TlsConnection } from "./tls_connection.ts";

/** What handlers get as `c.env`. */
export interface IncomingEnv {
  remoteAddr: Deno.NetAddr;
  tls?: TlsConnection;
  [ORIGIN]: IncomingRequest;
}

/** The address of a client, as `getConnInfo` reads it. */
export interface RemoteAddr {
  readonly transport: "tcp";
  readonly hostname: string;
  readonly port: number;
}

const background = new Set<Promise<unknown>>();

/** Hono's executionCtx. One for all requests: nothing in it depends on the request. */
export const CONTEXT = Object.freeze({
  waitUntil(promise: Promise<unknown>): void {
    const work = Promise.resolve(promise).catch((error) => {
      console.error("waitUntil():", error);
    }).finally(() => background.delete(work));
    background.add(work);
  },
  passThroughOnException(): void {},
  props: Object.freeze({}),
});

/** Waits for all that handlers gave to `waitUntil`. */
export async function backgroundDone(): Promise<void> {
  while (background.size > 0) await Promise.all(background);
}

/** A connection sends one request after the other, so its address is asked for again and again. */
export class AddressCache {
  #words = new Int32Array(1024 * 5);
  #found: (RemoteAddr | undefined)[] = new Array(1024);

  get(words: Int32Array, at: number, port: number, ipv6: boolean): RemoteAddr {
    const row = (port ^ words[at]) & 1023;
    const base = row * 5;
    const cached = this.#words;
    const known = this.#found[row];
    if (
      known !== undefined && known.port === port &&
      cached[base] === words[at] && cached[base + 1] === words[at + 1] &&
      cached[base + 2] === words[at + 2] &&
      cached[base + 3] === words[at + 3] &&
      cached[base + 4] === (ipv6 ? 1 : 0)
    ) return known;
    for (let i = 0; i < 4; i++) cached[base + i] = words[at + i];
    cached[base + 4] = ipv6 ? 1 : 0;
    const bytes = new Uint8Array(cached.slice(base, base + 4).buffer);
    const hostname = ipv6 ? ipv6Text(bytes) : bytes.subarray(0, 4).join(".");
    const address: RemoteAddr = Object.freeze({
      transport: "tcp",
      hostname,
      port,
    });
    return this.#found[row] = address;
  }
}

function ipv6Text(bytes: Uint8Array): string {
  const words: string[] = [];
  for (let i = 0; i < 16; i += 2) {
    words.push((bytes[i] << 8 | bytes[i + 1]).toString(16));
  }
  return new URL(`http://[${words.join(":")}]`).hostname.slice(1, -1);
}
