/**
 * The rule of `rateLimit()` in TypeScript: GCRA, as `native/src/rate_limit.c` says it, in memory.
 *
 * @module
 */

/** What became of one request. Times are in microseconds. */
export interface RateAnswer {
  passes: boolean;
  /** Requests that would pass now. */
  remaining: number;
  /** Until the whole burst would. */
  fullUs: number;
  /** Until one would; 0 while `remaining` is not. */
  waitUs: number;
}

/**
 * One request at `now`, of a key whose burst is whole again at `tat` (undefined: it is whole); all in microseconds. A request that passes
 * moves that time on: it is `now + answer.fullUs`.
 */
export function gcra(
  tat: number | undefined,
  now: number,
  intervalUs: number,
  burst: number,
): RateAnswer {
  const windowUs = intervalUs * burst;
  const before = Math.max((tat ?? now) - now, 0);
  const passes = before + intervalUs <= windowUs;
  const ahead = passes ? before + intervalUs : before;
  const remaining = Math.floor(Math.max(windowUs - ahead, 0) / intervalUs);
  const waitUs = remaining > 0 ? 0 : ahead + intervalUs - windowUs;
  return { passes, remaining, fullUs: ahead, waitUs };
}

/** How much each key has asked for lately. */
export class Gcra {
  #tats = new Map<string, number>(); // who has asked last is last
  /**
   * `intervalUs`: between two requests in the long run. `burst`: at once. `keysMax`: remembered; of the eldest few the one that has asked for the
   * least goes. `nowUs`: a clock that only goes on.
   */
  constructor(
    readonly intervalUs: number,
    readonly burst: number,
    readonly keysMax: number,
    readonly nowUs: () => number = () => performance.now() * 1000,
  ) {}

  /** How many keys are remembered. */
  get size(): number {
    return this.#tats.size;
  }

  /** One request of a key. */
  take(key: string): RateAnswer {
    const now = this.nowUs();
    const { intervalUs, burst } = this;
    const answer = gcra(this.#tats.get(key), now, intervalUs, burst);
    if (!answer.passes) return answer;
    this.#tats.delete(key);
    if (this.#tats.size === this.keysMax) this.#evict();
    this.#tats.set(key, now + answer.fullUs);
    return answer;
  }

  #evict(): void {
    const [[first, firstTat], ...others] = [...this.#tats.entries().take(8)];
    let [least, leastTat] = [first, firstTat];
    for (const [key, tat] of others) {
      if (tat < leastTat) [least, leastTat] = [key, tat];
    }
    this.#tats.delete(least);
  }
}
