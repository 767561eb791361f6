/**
 * WebSockets on TypeScript routes (RFC 6455), with the shape of Hono's helper.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Context } from "hono";
import {
  defineWebSocketHelper,
  type UpgradeWebSocket,
  WSContext,
} from "hono/ws";
import { show } from "./errors.ts";
import { isFieldName } from "./header_fields.ts";
import { isOurs } from "./progress.ts";
import { takeOver } from "./upgrade.ts";
import {
  GatewayWebSocket,
  type WebSocketLimits,
} from "./websocket_connection.ts";

/** How a WebSocket is opened, and what it may take. */
export interface WebSocketOptions {
  /** Subprotocols that the app speaks, best first: the first of them that the client offers is chosen. @default what the client offers first */
  protocols?: readonly string[];
  /** One subprotocol, whatever the client offers; for options that were written for `hono/deno`. */
  protocol?: string;
  /**
   * Pages that may connect, as `https://example.org`, or a function that decides: others get 403. Browsers send their page's origin, and cookies
   * along with it; clients that send none are let in. @default any
   */
  origins?:
    | readonly string[]
    | ((origin: string | undefined, c: Context) => boolean);
  /** Bytes of a message; a longer one closes with 1009. @default 1048576 */
  messageBytesMax?: number;
  /** Bytes of one frame. @default messageBytesMax */
  frameBytesMax?: number;
  /** Frames of a message. @default 1024 */
  fragmentsMax?: number;
  /** Bytes that wait for a client that reads too slowly, before it is cut off: `ws.raw.bufferedAmount` tells, and `ws.raw.drained()` waits. @default 16777216 */
  sendBytesMax?: number;
  /** Milliseconds without a byte of the client before a ping; 0: never. @default 30000 */
  pingIntervalMs?: number;
  /** Milliseconds that it has to answer, or to send anything. @default 10000 */
  pongTimeoutMs?: number;
  /** Milliseconds without a message of the client before the close; 0: never. @default 0 */
  idleTimeoutMs?: number;
  /** Milliseconds that the client has to answer a close. @default 5000 */
  closeTimeoutMs?: number;
  /** Seconds of both `pingIntervalMs` and `pongTimeoutMs`; for options that were written for `hono/deno`. */
  idleTimeout?: number;
}

const DEFAULTS: WebSocketLimits = {
  messageBytesMax: 1024 * 1024,
  frameBytesMax: 0,
  fragmentsMax: 1024,
  sendBytesMax: 16 * 1024 * 1024,
  pingIntervalMs: 30_000,
  pongTimeoutMs: 10_000,
  idleTimeoutMs: 0,
  closeTimeoutMs: 5000,
};
const MAY_BE_ZERO = /^(?:pingIntervalMs|idleTimeoutMs|idleTimeout)$/;
const NUMBERS = [...Object.keys(DEFAULTS), "idleTimeout"];
const OTHERS = ["protocols", "protocol", "origins"];
const MAX = 0x7fff_ffff;

function checkOptions(options: WebSocketOptions): void {
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || OTHERS.includes(key)) continue;
    if (!NUMBERS.includes(key)) {
      throw new TypeError(
        `upgradeWebSocket(): options.${key} is not one of ${
          [...OTHERS, ...NUMBERS].join(", ")
        }`,
      );
    }
    const min = MAY_BE_ZERO.test(key) ? 0 : 1;
    if (!Number.isInteger(value) || value < min || value > MAX) {
      throw new TypeError(
        `upgradeWebSocket(): options.${key} must be a whole number from ${min} to ${MAX} (got ${
          show(value)
        })`,
      );
    }
  }
  const offered = [...options.protocols ?? [], options.protocol ?? "x"];
  const odd = offered.find((name) => !isFieldName(name));
  if (odd !== undefined) {
    throw new TypeError(
      `upgradeWebSocket(): ${show(odd)} cannot be a subprotocol's name`,
    );
  }
}

function limitsOf(options: WebSocketOptions): WebSocketLimits {
  const limits = { ...DEFAULTS };
  for (const key of Object.keys(DEFAULTS) as (keyof WebSocketLimits)[]) {
    limits[key] = options[key] ?? limits[key];
  }
  if (options.idleTimeout !== undefined) {
    const ms = options.idleTimeout * 1000;
    limits.pingIntervalMs = options.pingIntervalMs ?? ms;
    limits.pongTimeoutMs = options.pongTimeoutMs ?? Math.max(ms, 1);
  }
  limits.frameBytesMax ||= limits.messageBytesMax;
  return limits;
}

// ---- The handshake (RFC 6455 section 4.2)

function listOf(value: string | undefined): string[] {
  return (value ?? "").split(",").map((part) => part.trim()).filter((part) =>
    part !== ""
  );
}

function names(value: string | undefined, token: string): boolean {
  return listOf(value).some((part) => part.toLowerCase() === token);
}

// 16 bytes: 22 characters, of the last of which 4 bits count, and two '='.
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

function acceptOf(key: string): string {
  return createHash("sha1").update(key + GUID).digest("base64");
}

// What is wrong with the handshake, as the answer.
function refusal(c: Context, options: WebSocketOptions): Response | undefined {
  if (c.req.method !== "GET") {
    return c.text("A WebSocket is opened by GET\n", 405, { allow: "GET" });
  }
  if (!names(c.req.header("connection"), "upgrade")) {
    return c.text("Connection must list upgrade\n", 400);
  }
  if (hasBody(c)) return c.text("A handshake has no body\n", 400);
  if (c.req.header("sec-websocket-version") !== "13") {
    return c.text("The WebSocket version spoken here is 13\n", 426, {
      "sec-websocket-version": "13",
    });
  }
  if (!KEY.test(c.req.header("sec-websocket-key") ?? "")) {
    return c.text("Sec-WebSocket-Key must be 16 bytes as base64\n", 400);
  }
  if (!listOf(c.req.header("sec-websocket-protocol")).every(isFieldName)) {
    return c.text("Sec-WebSocket-Protocol is malformed\n", 400);
  }
  if (!isAllowed(c, options.origins)) {
    return c.text("This origin may not connect here\n", 403);
  }
}

function hasBody(c: Context): boolean {
  return c.req.header("transfer-encoding") !== undefined ||
    Number(c.req.header("content-length") ?? 0) !== 0;
}

function isAllowed(c: Context, origins: WebSocketOptions["origins"]): boolean {
  const origin = c.req.header("origin");
  if (typeof origins === "function") return origins(origin, c);
  return origins === undefined || origin === undefined ||
    origins.includes(origin);
}

function protocolOf(c: Context, options: WebSocketOptions): string {
  const offered = listOf(c.req.header("sec-websocket-protocol"));
  if (options.protocol !== undefined) return options.protocol;
  const { protocols = offered } = options;
  return protocols.find((name) => offered.includes(name)) ?? "";
}

// ---- The two servers

/** What `ws.raw` is: ours, or on `Deno.serve` Deno's own, with `drained` as well. */
export interface ServerWebSocket extends EventTarget {
  /** 0 connecting, 1 open, 2 closing, 3 closed. */
  readonly readyState: 0 | 1 | 2 | 3;
  /** Bytes of messages that were sent here and have not left yet. */
  readonly bufferedAmount: number;
  /** The subprotocol that was agreed on, or "". */
  readonly protocol: string;
  /** The extensions that were agreed on: none, "", on the gateway. */
  readonly extensions: string;
  /** The URL that the client asked for, with the scheme `ws` or `wss`; "" where Deno's own does not know it. */
  readonly url: string;
  /** What binary messages come as. @default "arraybuffer" */
  binaryType: BinaryType;
  /**
   * Sends a message: a string as text, bytes as binary; after the close it does nothing. Throws an `InvalidStateError` before `onOpen`, and on the
   * gateway a `TypeError` for a Blob.
   */
  send(data: string | ArrayBufferLike | ArrayBufferView | Blob): void;
  /**
   * Closes after what was sent (RFC 6455, 7.4). On the gateway `code` is 1000 to 1003, 1007 to 1014 or 3000 to 4999, and `reason` has at most 123
   * bytes; others throw a `DOMException`.
   */
  close(code?: number, reason?: string): void;
  /** Resolves when no message waits to leave: true, or false if the connection has ended. */
  drained(): Promise<boolean>;
}

function upgradeHere(
  c: Context,
  options: WebSocketOptions,
):
  | { socket: GatewayWebSocket & ServerWebSocket; response: Response }
  | undefined {
  const protocol = protocolOf(c, options);
  const url = c.req.url.replace(/^http/, "ws");
  const { socket, takeover } = GatewayWebSocket.make(
    url,
    protocol,
    limitsOf(options),
  );
  if (!takeOver(c.req.raw, takeover)) return undefined;
  const headers = new Headers({
    "sec-websocket-accept": acceptOf(c.req.header("sec-websocket-key")!),
  });
  if (protocol) headers.set("sec-websocket-protocol", protocol);
  return { socket, response: new Response(null, { status: 101, headers }) };
}

const POLL_MS = 10;

function upgradeByDeno(
  c: Context,
  options: WebSocketOptions,
): { socket: WebSocket & { drained(): Promise<boolean> }; response: Response } {
  const protocol = protocolOf(c, options);
  const { idleTimeout } = options;
  const { socket, response } = denoUpgrade(c.req.raw, {
    ...(protocol ? { protocol } : {}),
    ...(idleTimeout === undefined ? {} : { idleTimeout }),
  });
  socket.binaryType = "arraybuffer";
  const drained = async () => {
    while (socket.bufferedAmount > 0 && socket.readyState < 2) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return socket.readyState < 2;
  };
  return { socket: Object.assign(socket, { drained }), response };
}

const helper = defineWebSocketHelper<ServerWebSocket, WebSocketOptions>(
  (c, events, options = {}) => {
    if (!names(c.req.header("upgrade"), "websocket")) return;
    const refused = refusal(c, options);
    if (refused) return refused;
    const upgraded = isOurs(c.req.raw)
      ? upgradeHere(c, options)
      : upgradeByDeno(c, options);
    if (!upgraded) return; // HTTP/1.0, where Upgrade means nothing
    const { socket, response } = upgraded;
    const ws = new WSContext<ServerWebSocket>({
      send: (data) => socket.send(data),
      close: (code, reason) => socket.close(code, reason),
      raw: socket as unknown as ServerWebSocket,
      get readyState() {
        return socket.readyState as 0 | 1 | 2 | 3;
      },
      url: socket.url || null,
      protocol: socket.protocol,
    });
    socket.onopen = (event: Event) => events.onOpen?.(event, ws);
    socket.onmessage = (event: MessageEvent) => events.onMessage?.(event, ws);
    socket.onclose = (event: CloseEvent) => events.onClose?.(event, ws);
    socket.onerror = (event: Event) => events.onError?.(event, ws);
    return response;
  },
);

/**
 * Makes a route a WebSocket, as `upgradeWebSocket` of `hono/deno` does: requests that ask for one are upgraded, others go to the next handler.
 * A handler that throws, or whose promise rejects, closes its socket with 1011; a drain closes all with 1001. `ws.raw` is a WebSocket as
 * browsers have it; `await ws.raw.drained()` waits for a client that reads slowly. Messages of bytes are ArrayBuffers, or Blobs after
 * `ws.raw.binaryType = "blob"`. On `Deno.serve` it is Deno's own WebSocket.
 *
 * @example An echo
 * ```ts
 * import { Hono } from "hono";
 * import { upgradeWebSocket } from "sluice";
 *
 * const app = new Hono();
 * app.get("/echo", upgradeWebSocket(() => ({
 *   onMessage: (event, ws) => ws.send(event.data as string),
 * })));
 * ```
 */
export const upgradeWebSocket: UpgradeWebSocket<
  ServerWebSocket,
  WebSocketOptions
> = ((...args: Parameters<typeof helper>) => {
  const options = args[args.length - 1] as unknown;
  const at = typeof args[0] === "function" ? 1 : 2;
  if (args.length > at && options) checkOptions(options as WebSocketOptions);
  return helper(...args);
}) as typeof helper;

// ---- Deno.upgradeWebSocket on our requests

const denoUpgrade = Deno.upgradeWebSocket;

/** Lets `Deno.upgradeWebSocket` say what to use, where it gets a Request of ours. */
export function installUpgradeGuard(): void {
  if (Deno.upgradeWebSocket !== denoUpgrade) return;
  Deno.upgradeWebSocket = (request, options) => {
    if (isOurs(request)) {
      throw new TypeError(
        'Deno.upgradeWebSocket() works on Deno.serve only: use upgradeWebSocket() of "sluice" instead, or in place of the one of "hono/deno"',
      );
    }
    return denoUpgrade(request, options);
  };
}
