/**
 * Says which upstream fails, where no access log does: a client's 502 tells nobody where the gateway runs.
 *
 * @module
 */
import { STATUS } from "../ffi/abi.ts";

// What it reads of `stats()`.
interface Counts {
  upstreams: Record<string, { failures: number }>;
  byStatus: Record<string, number>;
}

const REASONS = STATUS.filter(({ source }) => source === "upstream")
  .map(({ label }) => label);
const AGAIN_MS = 60_000;

/** Compares counters from look to look. An upstream's first failure is said at the next look, more of them once a minute. */
export class UpstreamWatch {
  #said = new Map<string, { failures: number; atMs: number }>();
  #reasons: Record<string, number> = {};

  /** A line for each upstream that there is something to say of. */
  look({ upstreams, byStatus }: Counts, nowMs: number): string[] {
    const reasons = REASONS.filter((label) =>
      byStatus[label] > (this.#reasons[label] ?? 0)
    );
    const due = Object.entries(upstreams).filter(([name, { failures }]) =>
      failures > this.#before(name, failures) &&
      nowMs - (this.#said.get(name)?.atMs ?? -AGAIN_MS) >= AGAIN_MS
    );
    if (due.length > 0) this.#reasons = { ...byStatus };
    return due.map(([name, { failures }]) => {
      const more = failures - this.#before(name, failures);
      this.#said.set(name, { failures, atMs: nowMs });
      return `upstream ${name}: ${more} ${
        more === 1 ? "request has" : "requests have"
      } failed${due.length === 1 ? ` (${reasons.join(", ")})` : ""}`;
    });
  }

  // An upstream that a reload took away and another brought back counts from 0.
  #before(name: string, now: number): number {
    const { failures } = this.#said.get(name) ?? { failures: 0 };
    return failures > now ? 0 : failures;
  }
}
