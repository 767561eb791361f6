/**
 * Reloads and restarts one after the other: what is asked for while one runs comes once more after it, however often it was asked for.
 *
 * @module
 */

/** A reload that was given up for a newer one, or for the end. */
export class Superseded extends Error {
  override name = "Superseded";
}

// A module that awaits what never comes must not keep the save that mends it waiting.
const ABORT_MS = 1000;

/** Runs what it is given, one at a time. */
export class ReloadQueue {
  #reload: (isAsked: boolean) => Promise<void>;
  #abort: () => void;
  #tail: Promise<void> = Promise.resolve();
  #isWaiting = false;
  #isAsked = false;
  #isRunning = false;
  /** Whether the reload that runs is to give up. */
  isAborting = false;

  /** `reload` never throws; `abort` makes the one that runs end soon. */
  constructor(reload: (isAsked: boolean) => Promise<void>, abort: () => void) {
    this.#reload = reload;
    this.#abort = abort;
  }

  /** Files may have changed. */
  changed(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    const late = this.#isRunning
      ? setTimeout(() => {
        this.isAborting = true;
        this.#abort();
      }, ABORT_MS)
      : undefined;
    this.alone(async () => {
      clearTimeout(late);
      const isAsked = this.#isAsked;
      this.#isWaiting = this.#isAsked = false;
      await this.#reload(isAsked);
    });
  }

  /** A reload is wanted, whether or not files have changed. */
  asked(): void {
    this.#isAsked = true;
    this.changed();
  }

  /** Runs something while no reload runs. */
  alone(run: () => Promise<void>): void {
    this.#tail = this.#tail.then(async () => {
      this.#isRunning = true;
      this.isAborting = false;
      await run();
      this.#isRunning = false;
    });
  }
}
