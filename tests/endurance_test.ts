/**
 * Many connections at once, for long, and clients that mean no good: nobody else may notice, and at the end nothing may be left over.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  Child,
  type ChildGateway,
  client,
  holdClient,
  runClient,
  startChild,
} from "./child.ts";
import { rawClient, until } from "./support.ts";

const SOAK = Boolean(Deno.env.get("SLUICE_SOAK"));
const MIB = 1 << 20;
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

// ---- What is left over

interface Baseline {
  descriptors: number;
  armed: number;
  resident: number;
}

/** What a gateway holds while nobody asks; waits until nobody does. Connections that are pooled for an upstream do not count. */
async function baseline(gateway: ChildGateway): Promise<Baseline> {
  let stats: Record<string, number> = {};
  await until("nothing is under way", async () => {
    stats = await gateway.stats();
    return stats.conns_live + stats.requests_live + stats.exchanges_live +
            stats.io_bufs_lent + stats.io_starved === 0 &&
      stats.upstream_live === stats.upstream_idle;
  });
  assertEquals(stats.conns_accepted, stats.conns_closed);
  assertEquals([stats.io_stale_cqes, stats.bad_verdicts], [0, 0]);
  await gateway.heapUsed(); // collects
  return {
    descriptors: await gateway.descriptors() - stats.upstream_idle,
    armed: stats.io_ops_armed - stats.upstream_idle,
    resident: await gateway.residentBytes(),
  };
}

function assertSame(before: Baseline, after: Baseline): void {
  assertEquals(after.armed, before.armed);
  // One of a connection that had just ended may have been counted before.
  assert(
    after.descriptors <= before.descriptors,
    `${after.descriptors} descriptors, ${before.descriptors} before`,
  );
  const growth = after.resident / before.resident - 1;
  console.log(`resident memory: ${(growth * 100).toFixed(1)} %`);
  assert(growth < 0.05, `it grew by ${growth * 100} %`);
}

// ---- Long and many

interface Endured {
  requests: number;
  cuts: number;
  errors: number;
  first: string;
}

async function startUpstream(): Promise<Child & { url: string }> {
  const upstream = new Child([await client("endurance"), "upstream"]);
  const { port } = await upstream.line<{ port: number }>("its port");
  return Object.assign(upstream, { url: `http://127.0.0.1:${port}` });
}

describe("proxying with bodies of random sizes, every byte checked", () => {
  const run = async (
    connections: number,
    seconds: number,
    count: number,
    cutOneIn: number,
  ): Promise<Endured> => {
    await using upstream = await startUpstream();
    await using gateway = await startChild({ limits: { prefault: 1 } }, {
      upstream: upstream.url,
    });
    const before = await baseline(gateway);
    const seed = Number(Deno.env.get("SLUICE_SEED") ?? 5);
    const load = [connections, seconds, count, cutOneIn, seed];
    const [endured] = await runClient<Endured>(
      "endurance",
      ["client", gateway.port, ...load],
      seconds * 1000 + 60_000,
    );
    console.log(JSON.stringify({ connections, seed, ...endured }));
    assertEquals([endured.errors, endured.first], [0, ""]);
    assertSame(before, await baseline(gateway));
    await gateway.stop();
    return endured;
  };

  it(`1,000 connections for ${SOAK ? 30 : 3} s without an error`, async () => {
    const { requests } = await run(1000, SOAK ? 30 : 3, 1e9, 0);
    assert(requests > 1000, `${requests}`);
  });

  const count = SOAK ? 1_000_000 : 5000;
  it(`${count} requests, one in 50 broken off by the upstream, without a mix-up`, async () => {
    const { requests, cuts } = await run(100, 3000, count, 50);
    assertEquals(requests + cuts, count);
    assert(cuts > count / 100, `${cuts}`);
  });
});

describe("a drain's deadline", () => {
  it("cuts 5,000 idle connections", async () => {
    await using gateway = await startChild();
    await using idle = await holdClient(
      "crowd",
      ["idle", gateway.port, 5000, "/native"],
    );
    assertEquals((await gateway.stats()).conns_live, 5000);
    assertEquals(await gateway.ask("cut"), "cut");
    await gateway.stop();
    await idle.finish();
  });
});

// ---- Slow and stopped readers

describe("a reader of 1 MiB", () => {
  interface End {
    bytes: number;
    reset: boolean;
    ms: number;
  }
  // The kernel gives a window back in lumps of some KB: seconds at 1 KB/s. So the short run has all of it four times as fast.
  const [rate, writeStallMs, seconds] = SOAK
    ? [1000, 8000, 26]
    : [4000, 2000, 7];

  it(`at ${rate} B/s outlives the stall time of ${writeStallMs} ms, and a stopped one does not: native, TypeScript, proxied`, async () => {
    await using upstream = await startChild();
    await using gateway = await startChild({ limits: { writeStallMs } }, {
      upstream: `http://127.0.0.1:${upstream.port}`,
    });
    const paths = ["/native/mib", "/ts/mib/1", "/up/mib"];
    const read = (path: string, bytesPerSecond: number) =>
      runClient<End>("crowd", [
        "slow",
        gateway.port,
        1,
        path,
        bytesPerSecond,
        seconds,
      ]);
    const ends = await Promise.all(
      paths.flatMap((path) => [read(path, rate), read(path, 0)]),
    );
    for (const [i, path] of paths.entries()) {
      const [slow] = ends[i * 2], [stopped] = ends[i * 2 + 1];
      assert(
        !slow.reset && slow.bytes > MIB,
        `${path}: ${JSON.stringify(slow)}`,
      );
      assert(slow.ms > 3 * writeStallMs, `${slow.ms}`);
      assertEquals([stopped.reset, stopped.bytes], [true, 0], path);
      assert(stopped.ms >= writeStallMs, `${path}: cut after ${stopped.ms} ms`);
    }
    await gateway.stop();
  });
});

// ---- Storms

/** Latencies of a client that asks all the while, one request after the other. */
async function probe(port: number, path: string, count: number): Promise<void> {
  const [{ latenciesNs, errors }] = await runClient<
    { latenciesNs: number[]; errors: number }
  >("paced", [port, path, count, 1000]);
  assertEquals(errors, 0);
  const sorted = latenciesNs.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] / 1e6;
  console.log(
    `${path} meanwhile: p50 ${at(0.5).toFixed(2)} ms, p99 ${
      at(0.99).toFixed(2)
    } ms`,
  );
}

const KINDS = ["/native", "/ts/1", "/up/small"];
const LARGE = ["/native/mib", "/ts/mib/1", "/up/mib"];

describe("a storm", () => {
  const serveOthers = async (port: number) => {
    for (const path of KINDS) await probe(port, path, 100);
    for (const path of LARGE) {
      using other = await rawClient(port);
      assertEquals((await other.ask(get(path))).body.length, MIB);
    }
  };

  // Twice: the first one touches what is touched once, as the rings' memory and JavaScript's heap.
  const twice = async (storm: (gateway: ChildGateway) => Promise<void>) => {
    await using upstream = await startChild();
    await using gateway = await startChild({ limits: { prefault: 1 } }, {
      upstream: `http://127.0.0.1:${upstream.port}`,
    });
    await storm(gateway);
    const before = await baseline(gateway);
    await storm(gateway);
    assertSame(before, await baseline(gateway));
    await gateway.stop();
  };

  it("of 5,000 clients with half a head each: others are served, the oldest get 408", () =>
    twice(async (gateway) => {
      const half = await holdClient("crowd", ["half", gateway.port, 5000]);
      await serveOthers(gateway.port);
      await half.finish();
      const ends = await half.line("what had become of them");
      console.log(JSON.stringify(ends));
      // A quarter of 2,048 requests, and one, may wait for the rest of their head.
      assertEquals(ends, {
        answered408: 5000 - 513,
        answeredOther: 0,
        closed: 0,
        open: 513,
      });
      await half.end();
    }));

  it("of 1,000 clients that ask for 1 MiB and do not read: others are served", () =>
    twice(async (gateway) => {
      const { requests } = await gateway.stats();
      const unread = await Promise.all(
        LARGE.map((path) =>
          holdClient("crowd", ["unread", gateway.port, 334, path])
        ),
      );
      await until("all of them are being answered", async () => {
        return (await gateway.stats()).requests >= requests + 3 * 334;
      });
      await serveOthers(gateway.port);
      for (const crowd of unread) {
        await crowd.finish();
        await crowd.end();
      }
    }));

  it("of resets right after the request leaves nothing behind", () =>
    twice(async (gateway) => {
      const resets = KINDS.map((path) =>
        runClient("crowd", ["reset", gateway.port, 1000, path])
      );
      await probe(gateway.port, "/native", 200);
      await Promise.all(resets);
    }));
});
