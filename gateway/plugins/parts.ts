/**
 * What plugins bring for other middleware to use by its name: stores and balancers.
 *
 * @module
 */
import type { Context } from "hono";
import { GatewayError } from "../errors.ts";

/** What a {@linkcode Store} keeps under a key. */
export interface StoreEntry {
  /** The number that is kept, as `update` is given it the next time. */
  value: number;
  /** How long it is kept, in milliseconds; then it is as if it had never been. */
  ttlMs: number;
}

/** Numbers under keys, each for a time: what `rateLimit({ store: "name" })` counts with. */
export interface Store {
  /**
   * Puts what `change` makes of a key's number in its place, as one: no other change of this key comes in between. `change` is given undefined where there
   * is no number, and returns undefined to leave all as it is. Where another was faster it is called again, and its last call counts.
   */
  update(
    key: string,
    change: (before: number | undefined) => StoreEntry | undefined,
  ): void | Promise<void>;
}

/** Chooses where `proxy({ upstreams, balancer: "name" })` sends a request to. */
export interface Balancer {
  /** One of `upstreams`: names of the gateway's options. */
  pick(c: Context, upstreams: readonly string[]): string | Promise<string>;
}

/** The parts that have names, each with the method that makes one. */
export const NAMED_PARTS = {
  stores: "update",
  balancers: "pick",
} as const satisfies Record<PartKind, string>;

/** A kind of part that has names: the keys of `PluginParts` that list them. */
export type PartKind = "stores" | "balancers";

/** What came of a question: a value; or the plugin failed, and the request gets this answer, or goes on without it if there is none. */
export type Asked<T> = { value: T } | { value?: undefined; answer?: Response };

/** A part of a plugin that runs, which is asked and cannot do harm. */
export interface RunningPart {
  ask(
    c: Context,
    work: (part: unknown) => unknown,
  ): Promise<Asked<unknown>>;
}

/** Where a middleware has the part that its options name: it comes when the gateway's plugins are set up. */
export class PartSlot<Part extends Store | Balancer> {
  /**
   * The part itself; undefined until the gateway's plugins are set up.
   * @internal
   */
  running: RunningPart | undefined;

  /** `path`: the option that names it, as errors do: `rateLimit() store`. */
  constructor(
    readonly kind: PartKind,
    readonly name: string,
    readonly path: string,
  ) {}

  /** Asks it something for a request. */
  async ask<T>(
    c: Context,
    work: (part: Part) => T | Promise<T>,
  ): Promise<Asked<T>> {
    if (!this.running) {
      throw new GatewayError(
        `${this.path} ${
          JSON.stringify(this.name)
        } is a plugin's: its middleware must be registered by itself in an app that defineGateway() was given`,
        { kind: "wrong_state" },
      );
    }
    const asked = this.running.ask(c, work as (part: unknown) => unknown);
    return await asked as Asked<T>;
  }
}
