/**
 * Thousands of clients at once that are slow on purpose, do not read, or end in the middle: each ends at its deadline with the right status, the
 * gateway's memory does not grow with them, and whoever asks meanwhile is answered. `SLUICE_SOAK`: 5,000 of each family, and of all together.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Child, type ChildGateway, startChild } from "./child.ts";
import { certificate, RawClient, ROOT, until, within } from "./support.ts";

const SOAK = Boolean(Deno.env.get("SLUICE_SOAK"));
const CLIENT = `${ROOT}/native/build/release/hostile_client`;
const MIB = 1 << 20;
// By which the process may grow, whatever the number of clients: V8 takes and gives back as it likes, what it holds after a collection is telling.
const RESIDENT_SHARE_MAX = 0.05;
const HEAP_BYTES_MAX = MIB;
// V8 doubles its young generation when it likes, up to some 90 MiB: in some round, and never again. Held small, the peaks of 12 rounds (after the first) of 1,667 clients whose
// answers TypeScript makes lie within 1 %.
const V8_FLAGS = "--max-semi-space-size=1";

// 5,000 clients at once take two busy cores some seconds: whoever asks meanwhile has the same deadlines, and must not miss them.
const times = SOAK
  ? { headTimeoutMs: 10_000, bodyGraceMs: 5000, writeStallMs: 5000 }
  : { headTimeoutMs: 1500, bodyGraceMs: 800, writeStallMs: 1000 };

// ---- What each kind of them must get. The rows of hostile_client.c.

interface Fate {
  status: number;
  /** How the connection ends; `cut`: without an answer, and over TLS without close_notify. */
  end: "end" | "reset" | "cut" | "inside an answer";
  body?: number;
  /** Not before that. */
  leastMs?: number;
  /** What it is counted as. */
  reason?: string;
  /** Whether its head is whole, so that it is a request. */
  isRequest: boolean;
}

const late = { isRequest: true, leastMs: times.bodyGraceMs, body: 0 };
const slowBody: Fate = {
  ...late,
  status: 408,
  end: "end",
  reason: "body_timeout",
};
const unread: Fate = {
  status: 0,
  end: "reset",
  leastMs: times.writeStallMs,
  reason: "write_stalled",
  isRequest: true,
};
const whole: Fate = { status: 200, end: "end", body: MIB, isRequest: true };
const cut: Fate = {
  status: 0,
  end: "cut",
  reason: "client_closed",
  isRequest: true,
};

const fates: Record<string, Fate> = {
  "slow-head": {
    status: 408,
    end: "end",
    leastMs: times.headTimeoutMs,
    reason: "head_timeout",
    isRequest: false,
  },
  "slow-body-native": { ...slowBody, status: 200 }, // was answered without it
  "slow-body-typescript": slowBody,
  "slow-body-upstream": slowBody,
  "unread-native": unread,
  "unread-typescript": unread,
  "unread-upstream": unread,
  "half-close-native": whole,
  "half-close-typescript": { ...whole, body: 4 }, // the handler has answered before it could hear of the end
  "half-close-stream": { ...cut, end: "inside an answer" }, // it hears that its client has left
  "half-close-upstream": whole,
  "cut-head": { ...cut, isRequest: false },
  "cut-body-native": { ...whole, body: 6 },
  "cut-body-typescript": cut,
  "cut-body-upstream": cut,
};
const tlsFates: Record<string, Fate> = {
  "cut-untold": { ...cut, reason: "tls_truncated" }, // FIN, and no close_notify before it
};

type Scheme = "http" | "https";

const fateOf = (kind: string): Fate => fates[kind] ?? tlsFates[kind];
const kindsOf = (family: string, scheme: Scheme) =>
  [...Object.keys(fates), ...scheme === "https" ? Object.keys(tlsFates) : []]
    .filter((kind) => new RegExp(family).test(kind));

interface Outcome {
  kind: string;
  status: number;
  end: string;
  body: number;
  count: number;
  leastMs: number;
  mostMs: number;
}

interface Crowd {
  scheme: Scheme;
  kinds: string[];
  count: number;
}

const shareOf = ({ kinds, count }: Crowd, kind: string) =>
  Math.ceil((count - kinds.indexOf(kind)) / kinds.length);

function assertFates(crowd: Crowd, outcomes: Outcome[]): void {
  const expected = crowd.kinds.map((kind) => {
    const { status, end, body = 0 } = fateOf(kind);
    const untold = crowd.scheme === "https" ? "no close_notify" : "end";
    const count = shareOf(crowd, kind);
    return { kind, status, end: end === "cut" ? untold : end, body, count };
  });
  for (const { kind, count, status, end, leastMs, mostMs } of outcomes) {
    console.log(
      `  ${crowd.scheme} ${kind}: ${count} x ${status}, ${end}, after ${leastMs} to ${mostMs} ms`,
    );
  }
  const got = outcomes.map(({ kind, status, end, body, count }) => {
    return { kind, status, end, body, count };
  });
  assertEquals(got, expected);
  for (const { kind, leastMs } of outcomes) {
    const least = fateOf(kind).leastMs ?? 0;
    assert(leastMs >= least, `${kind}: after ${leastMs} ms, not ${least}`);
  }
}

// ---- Who asks meanwhile

interface Asked {
  conns: number;
  requests: number;
}

const UPLOAD = "u".repeat(10_000);
const post = (path: string) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${UPLOAD.length}\r\n\r\n${UPLOAD}`;
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
const ORDINARY: [string, string][] = [
  [get("/native"), "native"],
  [get("/ts/7"), "ts 7"],
  [get("/up/small"), "up"],
  [post("/bytes"), UPLOAD],
  [post("/up/text"), String(UPLOAD.length)],
];

/** New connections one after the other, each with a request of every kind, until `isOver`. */
async function askMeanwhile(
  connect: () => Promise<RawClient>,
  isOver: () => boolean,
): Promise<Asked> {
  const asked = { conns: 0, requests: 0 };
  while (!isOver()) {
    using client = await connect();
    asked.conns++;
    for (const [request, expected] of ORDINARY) {
      const { status, text } = await client.ask(request);
      assertEquals([status, text], [200, expected]);
      asked.requests++;
    }
    await client.closeWrite();
    assertEquals(await client.readAll(), "");
  }
  return asked;
}

// ---- The storm

type Stats = Record<string, number> & { byStatus: Record<string, number> };

const statsOf = async (gateway: ChildGateway) =>
  await gateway.stats() as unknown as Stats;

async function quietStats(gateway: ChildGateway): Promise<Stats> {
  let stats = await statsOf(gateway);
  await until("nothing is under way", async () => {
    stats = await statsOf(gateway);
    return stats.conns_live + stats.requests_live + stats.exchanges_live +
            stats.io_bufs_lent + stats.io_starved === 0 &&
      stats.upstream_live === stats.upstream_idle;
  });
  return stats;
}

/** That every client and every request is counted, once and as what it was. */
function assertBooks(
  before: Stats,
  after: Stats,
  crowds: Crowd[],
  asked: Asked,
): void {
  const moved = (name: string) => after[name] - before[name];
  const reasons: Record<string, number> = {};
  let conns = asked.conns, requests = asked.requests, halves = 0;
  for (const crowd of crowds) {
    conns += crowd.count;
    for (const kind of crowd.kinds) {
      const { reason, isRequest } = fateOf(kind), share = shareOf(crowd, kind);
      if (reason) reasons[reason] = (reasons[reason] ?? 0) + share;
      if (isRequest) requests += share;
      if (kind === "slow-head") halves += share;
    }
  }
  const counted = Object.fromEntries(
    Object.keys(after.byStatus).map((
      name,
    ) => [name, after.byStatus[name] - before.byStatus[name]]).filter((
      [, count],
    ) => count !== 0),
  );
  assertEquals(counted, reasons);
  assertEquals([moved("conns_accepted"), moved("conns_closed")], [
    conns,
    conns,
  ]);
  assertEquals(moved("requests"), requests);
  assertEquals(
    moved("requests_native") + moved("requests_typescript") +
      moved("requests_proxied"),
    requests,
  );
  assertEquals(moved("bad_requests"), halves);
  for (
    const name of ["conns_shed", "ring_full", "bad_verdicts", "io_stale_cqes"]
  ) assertEquals(moved(name), 0, name);
}

interface Memory {
  /** Most that was resident while they were there. */
  peak: number;
  /** JavaScript's, after a collection behind them. */
  heap: number;
}

async function storm(
  gateway: ChildGateway,
  cert: string,
  crowds: Crowd[],
): Promise<Memory> {
  const before = await quietStats(gateway);
  await gateway.heapUsed(); // collects
  const clients: Child[] = [];
  let over = false, peak = 0;
  try {
    for (const { scheme, count, kinds } of crowds) {
      const port = gateway.ports[scheme === "http" ? 0 : 1];
      const words = [port, scheme, count, kinds.join(",")].map(String);
      clients.push(new Child([CLIENT, ...words]));
    }
    for (const client of clients) await client.line("its connections", 60_000);
    const hostname = "127.0.0.1", caCerts = [cert];
    const connects: (() => Promise<Deno.Conn>)[] = [
      () => Deno.connect({ hostname, port: gateway.ports[0] }),
      () => Deno.connectTls({ hostname, port: gateway.ports[1], caCerts }),
    ];
    const asking = connects.map((connect) =>
      askMeanwhile(
        async () => new RawClient(await within(connect(), "a connection")),
        () => over,
      )
    );
    const watching = (async () => {
      while (!over) {
        peak = Math.max(peak, await gateway.residentBytes());
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    const ends = await Promise.all(
      clients.map((client) => client.ask<Outcome[]>("go")),
    ).finally(() => over = true);
    await watching;
    const asked = (await Promise.all(asking)).reduce((sum, one) => ({
      conns: sum.conns + one.conns,
      requests: sum.requests + one.requests,
    }));
    crowds.forEach((crowd, i) => assertFates(crowd, ends[i]));
    assert(asked.conns >= 4, `only ${asked.conns} connections meanwhile`);
    for (const client of clients) assertEquals(await client.end(), 0);
    assertBooks(before, await quietStats(gateway), crowds, asked);
    console.log(
      `  meanwhile ${asked.requests} requests on ${asked.conns} connections; resident: at most ${
        (peak / MIB).toFixed(1)
      } MiB`,
    );
    return { peak, heap: await gateway.heapUsed() };
  } catch (error) {
    const { byStatus } = await statsOf(gateway);
    const told = Object.entries(byStatus).filter(([, count]) => count > 0);
    console.log("  counted so far:", Object.fromEntries(told));
    throw error;
  } finally {
    over = true;
    for (const client of clients) await client[Symbol.asyncDispose]();
  }
}

/** The same again and again: what a process touches once is touched by then, and the last one may take no more than the one before. */
async function storms(crowds: Crowd[], warmUps: number): Promise<void> {
  const pools = {
    requestsMax: 32_768, // of which a quarter may be half heads
    smallBufs: 8192,
    largeBufs: 4096,
    exchanges: 4096,
  };
  await using upstream = await startChild({ limits: pools });
  const { cert, key } = await certificate();
  const address = "127.0.0.1:0";
  await using gateway = await startChild({
    listeners: [{ address }, {
      address,
      tls: { certificates: [{ cert, key }] },
    }],
    limits: { ...pools, ...times, prefault: 1 },
  }, {
    upstream: `http://127.0.0.1:${upstream.port}`,
    pool: { connsMax: 4096, connectTimeoutMs: 30_000 },
    env: { DENO_V8_FLAGS: V8_FLAGS },
  });
  let before = await storm(gateway, cert, crowds);
  for (let i = 1; i < warmUps; i++) {
    before = await storm(gateway, cert, crowds);
  }
  const after = await storm(gateway, cert, crowds);
  const peak = after.peak - before.peak, heap = after.heap - before.heap;
  console.log(
    `more than the time before: ${peak} bytes resident at the peak, ${heap} bytes of JavaScript's heap`,
  );
  assert(peak / before.peak < RESIDENT_SHARE_MAX, `it grew by ${peak} bytes`);
  assert(heap < HEAP_BYTES_MAX, `the heap grew by ${heap} bytes`);
  await gateway.stop();
  await upstream.stop();
}

const FAMILIES: [string, string][] = [
  ["slow heads", "^slow-head"],
  ["slow bodies", "^slow-body"],
  ["answers that nobody reads", "^unread"],
  ["half-closes and cut requests", "^(half-close|cut)"],
  ["all of these", ""],
];

describe("hostile clients", () => {
  if (!SOAK) {
    it("of all kinds, 300 over HTTP and 300 over TLS at once, end as they should, and nobody else notices", () =>
      storms(
        (["http", "https"] as const).map((scheme) => {
          return { scheme, kinds: kindsOf("", scheme), count: 300 };
        }),
        1,
      ));
    return;
  }
  for (const scheme of ["http", "https"] as const) {
    for (const [name, family] of FAMILIES) {
      it(`5,000 over ${scheme.toUpperCase()}: ${name}`, () =>
        storms(
          [{ scheme, kinds: kindsOf(family, scheme), count: 5000 }],
          3,
        ));
    }
  }
});
