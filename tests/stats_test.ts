// The counters that a gateway tells while it runs: its own, and each upstream's by name.

import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { headers, proxy, redirect, respond } from "sluice";
import {
  answering,
  startGateway,
  startUpstream,
  until,
  within,
} from "./support.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("gateway.stats()", () => {
  it("counts each upstream under its name", async () => {
    await using one = await startUpstream(answering(() => OK));
    await using other = await startUpstream(async (conn) => {
      await conn.readRequest();
      conn.reset();
    });
    const app = new Hono();
    app.all("/one/*", proxy({ upstream: "one" }));
    app.all("/alias/*", proxy({ upstream: "alias" }));
    app.all("/slow/*", proxy({ upstream: "one" }, { headTimeoutMs: 9_000 })); // other limits, the same name
    app.all("/other/*", proxy(other.url));
    await using running = await startGateway(app, {
      workers: 2,
      upstreams: { one: { url: one.url }, alias: { url: one.url } },
    });
    const stats = () => running.gateway.stats().upstreams;
    const none = { active: 0, waiting: 0, connects: 0, reuses: 0, failures: 0 };
    await until(
      "both workers have the plan",
      () => Object.keys(stats()).length === 3,
    );
    assertEquals(stats(), {
      one: { ...none, idle: 0 },
      alias: { ...none, idle: 0 },
      [other.url]: { ...none, idle: 0 },
    });
    {
      using client = await running.connect();
      for (const path of ["/one/1", "/one/2", "/slow/3", "/alias/4"]) {
        const { status } = await client.ask(
          `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`,
        );
        assertEquals([path, status], [path, 200]);
      }
      const { status } = await client.ask(
        "GET /other/1 HTTP/1.1\r\nHost: h\r\n\r\n",
      );
      assertEquals(status, 502);
    }
    await until("the connection is kept", () => stats().one.idle === 1);
    assertEquals(stats(), {
      one: { ...none, idle: 1, connects: 1, reuses: 2 },
      alias: { ...none, idle: 1, reuses: 1 }, // the address, and so the pool, is the same
      [other.url]: { ...none, idle: 0, connects: 1, failures: 1 },
    });
    const all = running.gateway.stats();
    assertEquals([all.upstream_connects, all.upstream_reuses], [2, 3]);
    assertEquals([all.upstream_failures, all.byStatus.upstream_reset], [1, 1]);
  });

  it("tells what is under way", async () => {
    const asked = [
      Promise.withResolvers<void>(),
      Promise.withResolvers<void>(),
    ];
    const answered = [
      Promise.withResolvers<void>(),
      Promise.withResolvers<void>(),
    ];
    await using upstream = await startUpstream(async (conn) => {
      for (const i of [0, 1]) {
        await conn.readRequest();
        asked[i].resolve();
        await answered[i].promise;
        await conn.send(OK);
      }
    });
    const app = new Hono().all("/*", proxy({ upstream: "up" }));
    await using running = await startGateway(app, {
      upstreams: { up: { url: upstream.url, connsMax: 1 } },
    });
    using first = await running.connect();
    using second = await running.connect();
    const request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    const answers = [first.ask(request)];
    await within(asked[0].promise, "the first request");
    answers.push(second.ask(request));
    const stats = () => running.gateway.stats().upstreams.up;
    await until("the second waits", () => stats().waiting === 1);
    assertEquals([stats().active, stats().idle], [1, 0]);
    assertEquals(running.gateway.stats().requests_live, 2);
    answered[0].resolve();
    await within(asked[1].promise, "the second request");
    assertEquals([stats().active, stats().waiting, stats().reuses], [1, 0, 1]);
    answered[1].resolve();
    await within(Promise.all(answers), "the answers");
  });

  it("keeps an upstream's counters over a reload that does not change it", async () => {
    await using upstream = await startUpstream(answering(() => OK));
    const app = (path: string) =>
      new Hono().all(path, proxy(upstream.url)).get("/gone", respond(""));
    await using running = await startGateway(app("/a"), { workers: 2 });
    using client = await running.connect();
    const ask = async (path: string) =>
      (await client.ask(`GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`)).status;
    assertEquals(await ask("/a"), 200);
    for (let round = 0; round < 20; round++) {
      await running.gateway.reload(app(round % 2 ? "/a" : "/b"));
      assertEquals(await ask(round % 2 ? "/a" : "/b"), 200);
    }
    const { connects, reuses } =
      running.gateway.stats().upstreams[upstream.url];
    assertEquals([connects, reuses], [1, 20]);
    await running.gateway.reload(new Hono());
    await until("no plan names it", () => {
      const { upstreams } = running.gateway.stats();
      return Object.keys(upstreams).length === 0;
    });
  });

  it("counts who answered", async () => {
    const app = new Hono();
    app.use(headers({ response: { set: { a: "1" } } }));
    app.get("/native", respond("n")).get("/moved", redirect("/native"));
    app.get("/code", (c) => c.text("c"));
    await using running = await startGateway(app);
    using client = await running.connect();
    for (const path of ["/native", "/moved", "/code", "/none"]) {
      await client.ask(`GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`);
    }
    const stats = running.gateway.stats();
    assertEquals(
      [stats.requests, stats.requests_native, stats.requests_typescript],
      [4, 2, 2],
    );
    assert(Object.values(stats.upstreams).length === 0);
  });

  it("says whether the kernel could do TLS for sockets", async () => {
    await using running = await startGateway(new Hono());
    const { kernelTls } = running.gateway.stats();
    assert(
      /^(available, unused|not available: .+)$/.test(kernelTls),
      kernelTls,
    );
  });
});
