/**
 * Where an isolate sleeps: a loopback socket on which C sends a byte when events have come. While it waits, timers, fetches and
 * promises of handlers run as usual.
 *
 * @module
 */
import type { Doorbell } from "./dispatcher.ts";

const TOKEN_BYTES = 16;
const TOKEN_WAIT_MS = 1000;

/** A doorbell that C rings. */
export class SocketDoorbell implements Doorbell {
  #conn: Deno.TcpConn;
  #buffer = new Uint8Array(64);

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  /** Listens on a free port and lets `connect` tell C about it. Whoever connects without the token is turned away. */
  static async open(
    connect: (port: number, token: Uint8Array) => void,
  ): Promise<SocketDoorbell> {
    const token = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES));
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    try {
      connect(listener.addr.port, token);
      for (;;) {
        const conn = await listener.accept();
        if (await presentsToken(conn, token)) return new SocketDoorbell(conn);
        conn.close();
      }
    } finally {
      listener.close();
    }
  }

  async rung(): Promise<boolean> {
    try {
      return await this.#conn.read(this.#buffer) !== null;
    } catch {
      return false; // closed
    }
  }

  /** Takes the doorbell away: who waits at it is told. */
  close(): void {
    try {
      this.#conn.close();
    } catch {
      // It was closed from the other side.
    }
  }
}

async function presentsToken(
  conn: Deno.TcpConn,
  token: Uint8Array,
): Promise<boolean> {
  const shown = new Uint8Array(TOKEN_BYTES);
  const timer = setTimeout(() => conn.close(), TOKEN_WAIT_MS);
  try {
    for (let at = 0; at < TOKEN_BYTES;) {
      const count = await conn.read(shown.subarray(at));
      if (count === null) return false;
      at += count;
    }
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
  return shown.every((byte, i) => byte === token[i]);
}
