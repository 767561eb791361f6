/**
 * Session ticket keys from a provider: asked for before the start, and then again and again.
 *
 * @module
 */
import {
  checkSteks,
  PolicyError,
  type STEK,
  type STEKProvider,
} from "../tls/mod.ts";
import { GatewayError, show } from "./errors.ts";

const REFRESH_MS = 60_000;
// A provider that does not answer must not keep a gateway from saying why it does not start.
const ANSWER_MS = 10_000;
const OPTION = "policy.resumption.stek";

const { setTimeout, clearTimeout } = globalThis; // a module may replace them

/** Who takes keys, and who hears that there are none. */
export interface StekTaker {
  /** Throws if they are no good. */
  give(keys: readonly STEK[]): void;
  /** Told once for each change of the reason; the keys that were given stay. */
  tell(text: string): void;
}

/** Asks a provider every `refreshMs` until it is stopped. */
export class StekFeed {
  #provider: STEKProvider;
  #taker: StekTaker;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;
  #told: string | undefined;

  constructor(provider: STEKProvider, taker: StekTaker) {
    this.#provider = provider;
    this.#taker = taker;
  }

  /** The first time; `mustGive`: throws a {@linkcode GatewayError} if there are no keys. */
  async start(mustGive: boolean): Promise<void> {
    try {
      await this.#ask();
    } catch (error) {
      if (mustGive) throw error;
      this.#tell(error);
    }
    this.#later();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #later(): void {
    if (this.#isStopped) return;
    const ms = this.#provider.refreshMs ?? REFRESH_MS;
    this.#timer = setTimeout(() => this.#again(), ms);
  }

  async #again(): Promise<void> {
    try {
      await this.#ask();
      this.#told = undefined;
    } catch (error) {
      this.#tell(error);
    }
    this.#later();
  }

  async #ask(): Promise<void> {
    try {
      const keys = checkSteks(await answerOf(this.#provider));
      if (!this.#isStopped) this.#taker.give(keys);
    } catch (cause) {
      throw new GatewayError(`${OPTION}: ${reasonOf(cause)}`, {
        kind: "tls_config",
        cause,
      });
    }
  }

  #tell(error: unknown): void {
    const text = (error as Error).message;
    if (this.#isStopped || text === this.#told) return;
    this.#told = text;
    this.#taker.tell(`${text}; the session ticket keys stay as they are`);
  }
}

async function answerOf(provider: STEKProvider): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const text = `keys() gave nothing within ${ANSWER_MS} ms`;
    timer = setTimeout(() => reject(new Error(text)), ANSWER_MS);
  });
  try {
    return await Promise.race([provider.keys(), late]);
  } finally {
    clearTimeout(timer);
  }
}

// Of a key that is no good its number, never its bytes.
function reasonOf(cause: unknown): string {
  if (cause instanceof PolicyError) {
    return `${cause.path.replace(/^stek\./, "")} ${cause.reason} (got ${
      show(cause.value)
    })`;
  }
  return cause instanceof Error ? cause.message : show(cause);
}
