/**
 * What main and an isolate say to each other.
 *
 * @module
 */
import type { IsolateSeat } from "./gateway.ts";
import type { CertificateStats } from "./live_certificates.ts";
import type { CheckedOptions, GatewayOptions } from "./options.ts";
import type { Plan } from "./plan.ts";

/** What an isolate runs. */
export type AppSource =
  | { kind: "module"; url: string }
  | { kind: "default" }
  | { kind: "upstream"; url: string };

/** How main sees that an isolate's event loop turns: it counts up. */
export interface Pulse {
  count: Int32Array<SharedArrayBuffer>;
  everyMs: number;
}

/**
 * From main to an isolate, in this order. `feedsSteks`: it asks its module's provider for session ticket keys, until it is replaced. The keys go to C from
 * there: no message ever has one.
 */
export type ToIsolate =
  | { type: "lifeline"; port: number; token: Uint8Array }
  | { type: "load"; source: AppSource; overrides: Partial<GatewayOptions> }
  | { type: "run"; seat: IsolateSeat; pulse: Pulse; feedsSteks: boolean }
  | { type: "certificates"; certificates: CertificateStats[] }
  | { type: "replaced" }
  | { type: "close"; waitMs: number };

/** What an isolate found in its module. */
export interface LoadedApp {
  options: CheckedOptions;
  plan: Plan;
  /** Options that the module itself gives. */
  given: Partial<GatewayOptions>;
}

/** From an isolate to main. */
export type FromIsolate =
  | { type: "loaded"; app: LoadedApp }
  | { type: "failed"; message: string; place?: string }
  | { type: "running" }
  | { type: "closed" };
