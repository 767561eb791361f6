/**
 * Many streams that stay open: readers of server-sent events, and WebSockets, each with a numbered message at a time.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Child, type ChildGateway, startChild } from "./child.ts";
import { ROOT, until } from "./support.ts";

const SOAK = Boolean(Deno.env.get("SLUICE_SOAK"));
const [COUNT, MESSAGES, EVERY_MS] = SOAK ? [1000, 60, 1000] : [100, 5, 10];

interface Outcome {
  streams: number;
  messages: number;
  errors: number;
  first: string;
}

const mib = (bytes: number) => Math.round(bytes / (1 << 20));

// Resident memory, each second. Between two collections garbage waits, as much as V8 finds worth it; so there is one every five seconds.
class Samples {
  #resident: number[] = [];
  #timers: ReturnType<typeof setInterval>[];

  constructor(gateway: ChildGateway) {
    const each = (ms: number, run: () => Promise<unknown>) =>
      setInterval(() => run().catch(() => {}), ms);
    this.#timers = [
      each(
        1000,
        async () => this.#resident.push(await gateway.residentBytes()),
      ),
      each(5000, () => gateway.heapUsed()),
    ];
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** From second 10 on: what is touched once, is by then. */
  assertFlat(): void {
    const [from, ...later] = this.#resident.slice(9);
    const growth = Math.max(...later) / from - 1;
    const percent = `${(growth * 100).toFixed(1)} %`;
    const all = [from, ...later].map(mib).join(" ");
    console.log(`resident MiB from second 10 on, ${percent} more: ${all}`);
    assert(growth < 0.05, `it grew by ${percent}`);
  }
}

describe("server-sent events and WebSockets", () => {
  it(`${COUNT} of each, ${MESSAGES} numbers every ${EVERY_MS} ms: each arrives once, in order`, async () => {
    await using gateway = await startChild({
      limits: { exchanges: 4096, prefault: 1 },
    });
    const words = [Deno.execPath(), "run", "--no-config", "--allow-net"];
    await using clients = new Child([
      ...words,
      `${ROOT}/tests/streams_client.ts`,
      ...[gateway.port, COUNT, MESSAGES, EVERY_MS].map(String),
    ]);
    await clients.line("all connections", 60_000);
    const { conns_live, upgrades_live } = await gateway.stats();
    if (SOAK) { // the others may be through
      assertEquals([conns_live, upgrades_live], [2 * COUNT, COUNT]);
    }
    const memory = new Samples(gateway);
    const outcome = await clients.line<Outcome>(
      "the end",
      MESSAGES * EVERY_MS + 60_000,
    );
    memory.stop();
    console.log(JSON.stringify(outcome));
    assertEquals(outcome, {
      streams: 2 * COUNT,
      messages: MESSAGES,
      errors: 0,
      first: "",
    });
    await clients.end();
    if (SOAK) memory.assertFlat();
    await until(
      "all have ended",
      async () => (await gateway.stats()).conns_live === 0,
    );
    const stats = await gateway.stats();
    assertEquals(
      [stats.upgrades, stats.upgrades_live, stats.bad_verdicts],
      [COUNT, 0, 0],
    );
    await gateway.stop();
  });
});
