/**
 * A WebSocket client that sends whatever frames it is told, right or wrong, and reads what comes.
 *
 * @module
 */
import { type Head, type RawClient, rawClient } from "./support.ts";

/** A frame to be sent; its head may say anything. */
export interface ClientFrame {
  opcode: number;
  data?: string | Uint8Array | number[];
  fin?: boolean;
  rsv?: number;
  masked?: boolean;
}

/** A frame as it came. */
export interface ServerFrame {
  opcode: number;
  fin: boolean;
  data: Uint8Array;
}

export const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
export const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const utf8 = new TextEncoder();

/** The bytes of frames. */
export function frameBytes(...frames: ClientFrame[]): Uint8Array {
  return new Uint8Array(frames.flatMap(oneFrame));
}

function oneFrame(frame: ClientFrame): number[] {
  const { opcode, data = "", fin = true, rsv = 0, masked = true } = frame;
  const payload = typeof data === "string" ? utf8.encode(data) : data;
  const mask = masked ? [0x12, 0x34, 0x56, 0x78] : [0, 0, 0, 0];
  const size = payload.length;
  const length = size < 126
    ? [size]
    : size < 65536
    ? [126, size >> 8, size & 255]
    : [
      127,
      0,
      0,
      0,
      0,
      size >>> 24,
      size >> 16 & 255,
      size >> 8 & 255,
      size & 255,
    ];
  length[0] |= masked ? 0x80 : 0;
  const body = Array.from(payload, (byte, i) => byte ^ mask[i & 3]);
  return [
    (fin ? 0x80 : 0) | rsv | opcode,
    ...length,
    ...masked ? mask : [],
    ...body,
  ];
}

/** A close frame. */
export function closeFrame(code?: number, reason = ""): ClientFrame {
  const data = code === undefined
    ? []
    : [code >> 8, code & 255, ...utf8.encode(reason)];
  return { opcode: 8, data };
}

/** A handshake, with these fields changed, or left out. */
export function handshake(
  path: string,
  fields: Record<string, string | undefined> = {},
  line = `GET ${path} HTTP/1.1`,
): string {
  const all = {
    Host: "a",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    ...fields,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line}\r\n${lines.join("")}\r\n`;
}

/** An open WebSocket, byte by byte. */
export class RawWebSocket implements Disposable {
  constructor(readonly client: RawClient, readonly head: Head) {}

  /** `to`: a port, or a client that is connected. `behind`: bytes in the handshake's packet. */
  static async open(
    to: number | RawClient,
    path: string,
    fields: Record<string, string | undefined> = {},
    behind: Uint8Array = new Uint8Array(),
  ): Promise<RawWebSocket> {
    const client = typeof to === "number" ? await rawClient(to) : to;
    const request = utf8.encode(handshake(path, fields));
    await client.send(new Uint8Array([...request, ...behind]));
    const head = await client.readHead();
    if (head?.line !== "HTTP/1.1 101 Switching Protocols") {
      throw new Error(`not upgraded: ${head?.line}`);
    }
    return new RawWebSocket(client, head);
  }

  send(...frames: ClientFrame[]): Promise<void> {
    return this.client.send(frameBytes(...frames));
  }

  async read(): Promise<ServerFrame> {
    const [first, second] = await this.client.readBytes(2);
    if (first & 0x70) throw new Error("a reserved bit is set");
    if (second & 0x80) throw new Error("a server's frame is masked");
    let length = second;
    if (length >= 126) {
      const more = await this.client.readBytes(length === 126 ? 2 : 8);
      length = more.reduce((sum, byte) => sum * 256 + byte, 0);
    }
    const data = (await this.client.readBytes(length)).slice();
    return { opcode: first & 15, fin: (first & 0x80) !== 0, data };
  }

  /** The next message as text. */
  async text(): Promise<string> {
    const { opcode, data } = await this.read();
    if (opcode !== 1) throw new Error(`opcode ${opcode}, not a text`);
    return new TextDecoder().decode(data);
  }

  /** The next frame must be a close, and the connection's end must follow. Its code; 1005: none. */
  async closed(): Promise<number> {
    const { opcode, data } = await this.read();
    if (opcode !== 8) throw new Error(`opcode ${opcode}, not a close`);
    await this.ended();
    return data.length === 0 ? 1005 : data[0] << 8 | data[1];
  }

  /** Nothing but the connection's end. */
  async ended(): Promise<void> {
    const rest = await this.client.readRest();
    if (rest.length > 0) {
      throw new Error(`${rest.length} bytes behind the close`);
    }
  }

  [Symbol.dispose](): void {
    this.client.close();
  }
}
