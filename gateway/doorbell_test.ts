import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { SocketDoorbell } from "./doorbell.ts";

async function connect(port: number, bytes: Uint8Array): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(bytes);
  return conn;
}

describe("SocketDoorbell", () => {
  it("rings for each byte, and says when it is gone", async () => {
    let ringer: Promise<Deno.TcpConn> | undefined;
    const bell = await SocketDoorbell.open((port, token) => {
      ringer = connect(port, token);
    });
    const conn = await ringer!;
    await conn.write(new Uint8Array(1));
    expect(await bell.rung()).toBe(true);
    conn.close();
    expect(await bell.rung()).toBe(false);
    bell.close();
  });

  it("turns away who has not the token", async () => {
    let ringers: Promise<Deno.TcpConn[]> | undefined;
    const bell = await SocketDoorbell.open((port, token) => {
      const wrong = token.map((byte) => byte ^ 1);
      ringers = connect(port, wrong).then(async (
        stranger,
      ) => [stranger, await connect(port, token)]);
    });
    const [stranger, friend] = await ringers!;
    expect(await stranger.read(new Uint8Array(1))).toBe(null);
    await friend.write(new Uint8Array(1));
    expect(await bell.rung()).toBe(true);
    for (const conn of [stranger, friend]) conn.close();
    bell.close();
  });

  it("is closed from this side", async () => {
    let ringer: Promise<Deno.TcpConn> | undefined;
    const bell = await SocketDoorbell.open((port, token) => {
      ringer = connect(port, token);
    });
    const waiting = bell.rung();
    bell.close();
    expect(await waiting).toBe(false);
    (await ringer!).close();
  });
});
