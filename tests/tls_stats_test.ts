/**
 * What `gateway.stats()` tells of handshakes, tickets and early data: each number moves when its cause happens, and no other one of its kind does.
 * Numbers that take a ticket's age (`tickets_expired`, `ticket_takes_expired`) or a full set (`tickets_bare`) are in `native/tests/ticket_test.c` and
 * `tls_counters_test.c`, where time is an argument.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import {
  type CertificateOptions,
  earlyData,
  type GatewayStats,
  respond,
  type TlsPolicy,
} from "sluice";
import { type RunningGateway, startCommand, startGateway } from "./support.ts";
import { lastRequest, request, TlsPeers } from "./tls_peers.ts";

const HELLO = lastRequest("/hello");
const EARLY = request("/hello");

/** Numbers of these kinds; `early.X` is `byEarlyReason.X`. */
function numbersOf(stats: GatewayStats): Record<string, number> {
  const { byEarlyReason, tlsMicroseconds, ...counters } = stats;
  const named = Object.entries(counters).filter((
    entry,
  ): entry is [string, number] =>
    /^(tls_|tickets?_|steks$|early_held)/.test(entry[0])
  );
  const reasons = Object.entries(byEarlyReason).map(([reason, count]) =>
    [`early.${reason}`, count] as const
  );
  const timed = tlsMicroseconds.reduce((sum, count) => sum + count, 0);
  return Object.fromEntries([...named, ...reasons, ["timed", timed]]);
}

// They follow the clock, or say what fits.
const LEVELS = ["ticket_horizon_ms", "ticket_set_capacity", "steks"];

describe("gateway.stats() of TLS", () => {
  let peers: TlsPeers;
  let certificate: CertificateOptions;

  beforeAll(async () => {
    peers = await TlsPeers.make();
    certificate = await peers.certificate("localhost");
  });
  afterAll(() => peers[Symbol.asyncDispose]());

  function start(policy: TlsPolicy): Promise<RunningGateway> {
    const app = new Hono().get("/hello", earlyData(), respond("hello"));
    const tls = { certificates: [certificate], policy };
    return startGateway(app, {
      listeners: [{ address: "127.0.0.1:0", tls }],
    });
  }

  /** What has moved while something ran. */
  async function moved(
    { gateway }: RunningGateway,
    run: () => Promise<unknown>,
  ): Promise<Record<string, number>> {
    const before = numbersOf(gateway.stats());
    await run();
    const after = numbersOf(gateway.stats());
    const grown = Object.entries(after)
      .map(([name, value]) => [name, value - before[name]] as const);
    return Object.fromEntries(
      grown.filter(([name, value]) => value !== 0 && !LEVELS.includes(name)),
    );
  }

  // A handshake that makes a ticket which may bring early data.
  const full = {
    tls_handshakes: 1,
    timed: 1,
    tls_full: 1,
    tickets_made: 1,
    ticket_set_entries: 1,
  };
  const resumed = {
    tls_handshakes: 1,
    timed: 1,
    tls_resumed: 1,
    tickets_opened: 1,
    tickets_made: 1,
    ticket_set_entries: 1,
  };

  it("tells full, resumed and early handshakes apart", async () => {
    await using server = await start({ earlyData: true });
    const { port } = server;
    expect(numbersOf(server.gateway.stats()).ticket_set_entries).toBe(0);
    expect(
      await moved(server, () => peers.openssl(port, HELLO, { save: "kinds" })),
    ).toEqual({ ...full, "early.no_ticket": 1 });
    expect(
      await moved(server, () => peers.openssl(port, HELLO, { use: "kinds" })),
    ).toEqual({ ...resumed, "early.not_offered": 1 });
    const early = { use: "kinds", early: EARLY };
    const { ticket_set_entries: _, ...taken } = resumed; // one is taken, one is made
    expect(await moved(server, () => peers.openssl(port, HELLO, early)))
      .toEqual({
        ...taken,
        tls_early: 1,
        ticket_takes_won: 1,
        "early.accepted": 1,
      });
    const refused = await moved(
      server,
      () => peers.openssl(port, HELLO, early),
    );
    expect(refused.ticket_takes_lost).toBe(1);
    expect(refused["early.accepted"]).toBeUndefined();
    expect(refused.tls_early).toBeUndefined();
    expect(refused.tls_resumed).toBe(1);
    expect(refused["early.disabled"]).toBe(1);
    const stats = server.gateway.stats();
    expect(stats.ticket_set_capacity).toBeGreaterThan(1000);
    expect(stats.ticket_horizon_ms).toBeGreaterThanOrEqual(0);
    expect(stats.steks).toBeGreaterThan(0);
  });

  it("tells a ticket of another process, and one under an unknown key", async () => {
    const key = crypto.getRandomValues(new Uint8Array(32));
    const stek = { keys: () => [{ key, notBeforeMs: 0 }] };
    const shared = { earlyData: true, resumption: { stek } };
    await using here = await start(shared);
    await using there = await start(shared);
    await using stranger = await start({ earlyData: true });
    await peers.openssl(here.port, HELLO, { save: "fleet" });
    const early = { use: "fleet", early: EARLY };
    const foreign = await moved(
      there,
      () => peers.openssl(there.port, HELLO, early),
    );
    expect(foreign.ticket_takes_foreign).toBe(1);
    expect(foreign.tls_resumed).toBe(1);
    expect(foreign.tls_early).toBeUndefined();
    const unknown = await moved(
      stranger,
      () => peers.openssl(stranger.port, HELLO, early),
    );
    expect(unknown.tickets_unknown_key).toBe(1);
    expect(unknown.tls_full).toBe(1);
    expect(unknown.tickets_opened).toBeUndefined();
  });

  it("counts handshakes that fail by their reason, and times them not", async () => {
    await using server = await start({ versions: { min: "1.3" } });
    const { port } = server;
    const causes: Record<string, () => Promise<unknown>> = {
      version_policy: () => peers.openssl(port, "", { version: "1.2" }),
      alpn: () => peers.openssl(port, "", { words: "-alpn h2" }),
      group: () => peers.openssl(port, "", { words: "-groups X448" }),
      alert_unknown_ca: () =>
        peers.openssl(port, "", { words: "-verify_return_error -verify 1" }),
      plain_http: async () => {
        using client = await server.connect();
        await client.send(HELLO);
        await client.readAll();
      },
    };
    const counted: Record<string, number> = {};
    for (const [reason, run] of Object.entries(causes)) {
      expect(await moved(server, run)).toEqual({ tls_failures: 1 });
      counted[reason] = 1;
      expect(server.gateway.stats().byTlsFailure).toEqual(counted);
    }
    expect(server.gateway.stats().byStatus.tls_handshake).toBe(5);
  });

  it("has the reason in the log, and of many in one second ten", async () => {
    const count = 100;
    await using command = await startCommand([
      ...["--https", "127.0.0.1:0", "--log", "text", "--workers", "1"],
    ]);
    await peers.openssl(command.port, "", { words: "-alpn h2" });
    await command.prints(
      /^\S+ 127\.0\.0\.1:\d+ "-" 000 0B [\d.]+ms - - tls_handshake: the client's ALPN offers no http\/1\.1$/m,
    );
    const clients = await Promise.all(
      Array.from({ length: count - 1 }, () => command.connect()),
    );
    for (const client of clients) await client.send(HELLO);
    for (const client of clients) {
      await client.readAll();
      client.close();
    }
    command.kill("SIGUSR2");
    const [, text] = await command.says(/^sluice: stats (.*)\n/m);
    const { tls_failures, tls_failures_unlogged } = JSON.parse(text);
    expect(tls_failures).toBe(count);
    expect(tls_failures_unlogged).toBeGreaterThan(0);
    const { out } = await command.stop();
    const lines = out.match(/tls_handshake: the client .*\n/g)?.length ?? 0;
    expect(lines + 1).toBe(count - tls_failures_unlogged); // one is that of ALPN: "the client's"
  });
});
