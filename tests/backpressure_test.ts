// Whoever does not read makes his sender wait: through the gateway, in both directions, without memory for what waits.

import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { createHash } from "node:crypto";
import { Hono } from "hono";
import { proxy, respond } from "sluice";
import {
  folderOf,
  type RawClient,
  startCommand,
  startGateway,
  startUpstream,
  until,
  type UpstreamConn,
  within,
} from "./support.ts";

const MIB = 1 << 20;
const STALLED = 20;
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

async function residentBytes(pid: number): Promise<number> {
  const text = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1]) * 1024;
}

/** The last value of `read` once it has stayed the same for a while. */
async function settled(
  what: string,
  read: () => number | Promise<number>,
): Promise<number> {
  let last = -1, same = 0;
  await until(`${what} stands still`, async () => {
    const now = await read();
    same = now === last && now > 0 ? same + 1 : 0;
    last = now;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return same >= 15;
  });
  return last;
}

/** An upstream whose answers are 100 MiB long; it counts what it has handed over. */
async function startLarge(): Promise<
  { url: string; sent: () => number } & AsyncDisposable
> {
  let sent = 0;
  const part = new Uint8Array(65536);
  const serve = async (conn: UpstreamConn) => {
    while (await conn.readRequest()) {
      await conn.send(
        `HTTP/1.1 200 OK\r\nContent-Length: ${100 * MIB}\r\n\r\n`,
      );
      for (let i = 0; i < 1600; i++) {
        await conn.send(part);
        sent += part.length;
      }
    }
  };
  // Readers leave in the middle: that is what the test is about.
  const upstream = await startUpstream((conn) => serve(conn).catch(() => {}));
  return {
    url: upstream.url,
    sent: () => sent,
    [Symbol.asyncDispose]: () => upstream.stop(),
  };
}

const MODULE = (url: string) => `
import { Hono } from "hono";
import { defineGateway, proxy, respond } from "sluice";
const app = new Hono();
let pulled = 0;
app.get("/native", respond(new Uint8Array(${16 * MIB})));
app.get("/pulled", (c) => c.text(String(pulled)));
app.get("/ts", (c) => {
  let left = 1600;
  const part = new Uint8Array(65536);
  return c.body(new ReadableStream({
    pull(controller) {
      if (left-- === 0) return controller.close();
      pulled += part.length;
      controller.enqueue(part);
    },
  }, { highWaterMark: 0 }));
});
app.all("/*", proxy(${JSON.stringify(url)}));
export default defineGateway(app, { workers: 1 }); // with two it is chance whose buffers the first readers touch
`;

describe("readers that stall", () => {
  for (const path of ["/up", "/ts", "/native"]) {
    it(`${STALLED} of them at ${path} make the sender wait, and do not grow the process`, async () => {
      await using large = await startLarge();
      await using folder = await folderOf({ "app.ts": MODULE(large.url) });
      await using command = await startCommand(["app.ts"], {
        folder: folder.path,
      });
      const sentBy: Record<string, () => number | Promise<number>> = {
        "/up": large.sent,
        "/ts": async () => {
          using client = await command.connect();
          return Number((await client.ask(get("/pulled"))).text);
        },
        "/native": () => 1,
      };
      // Two readers that read all touch what is touched once: code, the heap of V8, the first buffers of both workers.
      for (let i = 0; i < 4; i++) {
        using client = await command.connect();
        const { body } = await client.ask(get(path));
        assert(body.length >= 16 * MIB);
      }
      const readBy = await sentBy[path]();
      const before = await residentBytes(command.pid);
      const clients: RawClient[] = [];
      for (let i = 0; i < STALLED; i++) {
        clients.push(await command.connect());
        await clients[i].send(get(path));
        await clients[i].readHead();
      }
      const sent = await settled("what was sent", sentBy[path]) - readBy;
      const growth = await residentBytes(command.pid) - before;
      console.log(
        `${path}: ${STALLED} stalled readers hold back all but ${
          (sent / MIB).toFixed(1)
        } MiB; the process grew by ${(growth / MIB).toFixed(1)} MiB`,
      );
      // What lies in the kernel's socket buffers is not the process's; there are two sockets per reader behind a proxy.
      assert(
        sent < STALLED * 16 * MIB,
        `${sent} of ${STALLED * 100 * MIB} bytes were sent`,
      );
      assert(growth < 8 * MIB, `it grew by ${growth} bytes`);
      // Others are served meanwhile.
      using other = await command.connect();
      assertEquals((await other.ask(get("/pulled"))).status, 200);
      for (const client of clients) client.close();
    });
  }
});

describe("a slow reader", () => {
  const size = 12 * MIB;
  const whole = new Uint8Array(size).map((_, i) => (i * 31 + (i >> 10)) & 255);
  const sum = createHash("sha256").update(whole).digest("hex");
  for (const path of ["/up", "/ts", "/native"]) {
    it(`gets everything from ${path}`, async () => {
      await using upstream = await startUpstream(async (conn) => {
        while (await conn.readRequest()) {
          await conn.send(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
          await conn.send(whole);
        }
      });
      const app = new Hono();
      app.get("/native", respond(whole));
      app.get("/ts", (c) => {
        let at = 0;
        return c.body(
          new ReadableStream({
            pull(controller) {
              if (at >= size) return controller.close();
              controller.enqueue(whole.slice(at, at += 10_000 + at % 90_000));
            },
          }),
        );
      });
      app.all("/*", proxy(upstream.url));
      await using running = await startGateway(app);
      using client = await running.connect();
      await client.send(get(path));
      const head = await client.readHead();
      const hash = createHash("sha256");
      const chunked = head?.get("transfer-encoding") === "chunked";
      let got = 0;
      const take = async (count: number) => {
        for (let left = count; left > 0;) {
          const part = await client.readBytes(Math.min(left, 50_000));
          hash.update(part);
          left -= part.length;
          got += part.length;
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      };
      if (!chunked) await take(size);
      else {
        for (;;) {
          const length = parseInt(await client.readUntil("\r\n"), 16);
          if (length === 0) break;
          await take(length);
          assertEquals(await client.readUntil("\r\n"), "\r\n");
        }
        assertEquals(await client.readUntil("\r\n"), "\r\n");
      }
      assertEquals([got, hash.digest("hex")], [size, sum]);
      assertEquals((await client.ask(get("/native"))).body.length, size);
    });
  }
});

describe("an upload", () => {
  it("waits while the upstream does not read, and arrives whole when it does", async () => {
    const size = 100 * MIB;
    const read = Promise.withResolvers<void>();
    await using upstream = await startUpstream(async (conn) => {
      await conn.readHead();
      await read.promise;
      const hash = createHash("sha256");
      for (let left = size; left > 0;) {
        const part = await conn.read();
        if (part === null) throw new Error("the upload ended early");
        hash.update(part);
        left -= part.length;
      }
      const text = hash.digest("hex");
      await conn.send(
        `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
      );
    });
    const app = new Hono();
    app.all("/*", proxy(upstream.url));
    await using running = await startGateway(app);
    using client = await running.connect();
    await client.send(
      `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`,
    );
    const part = new Uint8Array(MIB).map((_, i) => i * 13);
    const hash = createHash("sha256");
    let written = 0;
    const writing = (async () => {
      while (written < size) {
        await client.send(part);
        hash.update(part);
        written += part.length;
      }
    })();
    writing.catch(() => {});
    const { gateway } = running;
    const received = await settled(
      "what the gateway has read",
      () => gateway.stats().bytes_in,
    );
    assert(
      received < 24 * MIB,
      `${received} bytes were read although nobody takes them`,
    );
    assert(
      gateway.stats().io_bufs_lent <= 8,
      `${gateway.stats().io_bufs_lent} buffers wait`,
    );
    read.resolve();
    await within(writing, "the rest of the upload");
    assertEquals((await client.readAnswer()).text, hash.digest("hex"));
  });

  it("of a TypeScript route waits while its handler does not read, and arrives whole when it does", async () => {
    const size = 9 * MIB;
    const read = Promise.withResolvers<void>();
    const app = new Hono();
    app.put("/*", async (c) => {
      const reader = c.req.raw.body!.getReader();
      const hash = createHash("sha256");
      hash.update((await reader.read()).value!);
      await read.promise;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        hash.update(value);
      }
      return c.text(hash.digest("hex"));
    });
    await using running = await startGateway(app);
    using client = await running.connect();
    await client.send(
      `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`,
    );
    const whole = new Uint8Array(size).map((_, i) => i * 17 + (i >> 9));
    const writing = client.send(whole);
    writing.catch(() => {});
    const { gateway } = running;
    const received = await settled(
      "what the gateway has read",
      () => gateway.stats().bytes_in,
    );
    assert(
      received < MIB,
      `${received} bytes were read although nobody takes them`,
    );
    read.resolve();
    await within(writing, "the rest of the upload");
    assertEquals(
      (await client.readAnswer()).text,
      createHash("sha256").update(whole).digest("hex"),
    );
  });
});

describe("a pipeline", () => {
  it("of answers larger than the watermark is answered whole after a half-close", async () => {
    const app = new Hono();
    app.get("/:name", respond("x".repeat(300_000)));
    await using running = await startGateway(app);
    using client = await running.connect();
    await client.send(get("/a").repeat(5));
    await client.closeWrite();
    for (let i = 0; i < 5; i++) {
      assertEquals((await client.readAnswer()).body.length, 300_000);
    }
    assertEquals(await client.readAll(), "");
  });
});
