/**
 * The isolation bench runs, tiny: native routes go on while TypeScript spins. Its figures are for a quiet machine, and no test's.
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { type Half, measureIsolation, missed, render } from "./isolation.ts";

describe("bench/isolation", () => {
  it("measures native requests while the isolate spins, none of which waits for it", async () => {
    const spinMs = 1000;
    const effort = { requests: 300, gapUs: 1000, spinMs };
    const rounds = await measureIsolation(effort, 1);
    const [{ quiet, spinning, spunMs }] = rounds;
    assertEquals([quiet.requests, quiet.errors], [300, 0]);
    assertEquals([spinning.requests, spinning.errors], [300, 0]);
    assert(
      spunMs >= 3 * spinMs,
      `three spins in one isolate took ${spunMs} ms`,
    );
    // A request that waited for the isolate would have waited for the rest of its second.
    assert(spinning.worstMs < spinMs / 2, render(rounds));
    assert(render(rounds).split("\n").length === 4);
  });

  it("says what misses the bar", () => {
    const half = (p99Ms: number, worstMs: number): Half => ({
      name: "",
      requests: 1,
      errors: 0,
      p50Ms: 0,
      p99Ms,
      worstMs,
    });
    const of = (quiet: Half, spinning: Half) =>
      missed([{ io: "", quiet, spinning, spunMs: 0 }]);
    assertEquals(of(half(0.1, 1), half(2, 50)), []);
    assertEquals(of(half(3, 1), half(6, 1)), []);
    assertEquals(of(half(0.1, 1), half(2.5, 51)).length, 2);
  });
});
