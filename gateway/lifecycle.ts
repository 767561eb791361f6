/**
 * The life of a gateway: warming, active, draining, closed. One table says what may follow what.
 *
 * @module
 */
import { GatewayError } from "./errors.ts";

/** Where a gateway is in its life. */
export type State = "warming" | "active" | "draining" | "closed";

const NEXT: Record<State, readonly State[]> = {
  warming: ["active", "closed"],
  active: ["draining"],
  draining: ["closed"],
  closed: [],
};

/** A state that changes only as the table allows. */
export class Lifecycle {
  #state: State = "warming";

  get state(): State {
    return this.#state;
  }

  /** Moves on, or throws: `what` is the operation that was tried. */
  advance(to: State, what: string): void {
    if (!NEXT[this.#state].includes(to)) throw this.#wrong(what);
    this.#state = to;
  }

  /** Throws unless the gateway is in one of these states. */
  require(states: readonly State[], what: string): void {
    if (!states.includes(this.#state)) throw this.#wrong(what);
  }

  #wrong(what: string): GatewayError {
    return new GatewayError(
      `${what} is not possible: the gateway is ${this.#state}`,
      { kind: "wrong_state" },
    );
  }
}
