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

/** How much each key has asked for lately. */
export class Gcra {
  #tats = new Map<string, number>(); // who has asked last is last
  readonly #windowUs: number;

  /**
   * `intervalUs`: between two requests in the long run. `burst`: at once. `keysMax`: remembered; of the eldest few the one that has asked for the
   * least goes. `nowUs`: a clock that only goes on.
   */
  constructor(
    readonly intervalUs: number,
    burst: number,
    readonly keysMax: number,
    readonly nowUs: () => number = () => performance.now() * 1000,
  ) {
    this.#windowUs = intervalUs * burst;
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#tats.size;
  }

  /** One request of a key. */
  take(key: string): RateAnswer {
    const now = this.nowUs();
    const before = Math.max((this.#tats.get(key) ?? now) - now, 0);
    const ahead = before + this.intervalUs;
    if (ahead > this.#windowUs) return this.#answer(false, before);
    this.#tats.delete(key);
    if (this.#tats.size === this.keysMax) this.#evict();
    this.#tats.set(key, now + ahead);
    return this.#answer(true, ahead);
  }

  #evict(): void {
    const [[first, firstTat], ...others] = [...this.#tats.entries().take(8)];
    let [least, leastTat] = [first, firstTat];
    for (const [key, tat] of others) {
      if (tat < leastTat) [least, leastTat] = [key, tat];
    }
    this.#tats.delete(least);
  }

  #answer(passes: boolean, ahead: number): RateAnswer {
    const left = Math.max(this.#windowUs - ahead, 0);
    const remaining = Math.floor(left / this.intervalUs);
    const waitUs = remaining > 0 ? 0 : ahead + this.intervalUs - this.#windowUs;
    return { passes, remaining, fullUs: ahead, waitUs };
  }
}
