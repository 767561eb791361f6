/**
 * Errors that a program which embeds Sluice can catch: each says what was tried, why it failed, and the value at hand.
 *
 * @module
 */

/** Whose fault an error is: the client's, an upstream's, or the gateway's own. */
export type ErrorSource = "client" | "upstream" | "gateway";

/** What {@linkcode GatewayError} is made of. */
export interface GatewayErrorInit {
  /** The reason as one word, as in logs and metrics: `address_in_use`, `upstream_refused`. */
  kind: string;
  /** Whose fault it is. */
  source?: ErrorSource;
  /** Whether the same attempt may succeed later. */
  retry?: boolean;
  /** What it was caused by. */
  cause?: unknown;
}

/**
 * Something that the gateway could not do.
 *
 * @example Catching an address that is in use
 * ```ts
 * import { defineGateway, GatewayError } from "sluice";
 * import { Hono } from "hono";
 *
 * const gateway = defineGateway(new Hono(), { listeners: [{ address: "127.0.0.1:0" }] });
 * try {
 *   gateway.explain("GET", "/");
 * } catch (error) {
 *   if (!(error instanceof GatewayError && error.kind === "address_in_use")) throw error;
 * }
 * ```
 */
export class GatewayError extends Error {
  /** Always `GatewayError`, also where the class itself is of another copy of this module. */
  override name = "GatewayError";
  /** The reason as one word. */
  readonly kind: string;
  /** Whose fault it is. */
  readonly source: ErrorSource;
  /** Whether the same attempt may succeed later. */
  readonly retry: boolean;

  /** `source` is `"gateway"` and `retry` is false where `init` does not say otherwise. */
  constructor(message: string, init: GatewayErrorInit) {
    super(
      message,
      init.cause === undefined ? undefined : { cause: init.cause },
    );
    this.kind = init.kind;
    this.source = init.source ?? "gateway";
    this.retry = init.retry ?? false;
  }
}

/** One thing that is wrong with the options. */
export interface OptionProblem {
  /** Where, as a key path: `listeners[0].address`. */
  path: string;
  /** The value at hand. */
  value: unknown;
  /** Why it cannot be used, and what can. */
  reason: string;
}

/**
 * Options that cannot be used. It lists every problem, not only the first.
 *
 * @example All that is wrong with options from elsewhere
 * ```ts
 * import { defineGateway, type GatewayOptions, OptionsError } from "sluice";
 * import { Hono } from "hono";
 *
 * const given = JSON.parse(`{ "workers": 0, "limits": { "connMax": 5 } }`) as GatewayOptions;
 * try {
 *   defineGateway(new Hono(), given);
 * } catch (error) {
 *   if (!(error instanceof OptionsError)) throw error;
 *   for (const { path, reason } of error.problems) console.log(`${path}: ${reason}`);
 * }
 * ```
 */
export class OptionsError extends TypeError {
  /** Always `OptionsError`, also where the class itself is of another copy of this module. */
  override name = "OptionsError";
  /** All that is wrong. */
  readonly problems: readonly OptionProblem[];

  /** Its message has one line for each problem: the path, the reason and the value at hand. */
  constructor(problems: readonly OptionProblem[]) {
    super(problems.map(problemText).join("\n"));
    this.problems = problems;
  }
}

function problemText(problem: OptionProblem): string {
  return `${problem.path}: ${problem.reason} (got ${show(problem.value)})`;
}

/** A value as an error message shows it: short, on one line. */
export function show(value: unknown): string {
  if (typeof value === "string") return shorten(JSON.stringify(value));
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  try {
    return shorten(JSON.stringify(value) ?? String(value));
  } catch {
    return "an object";
  }
}

function shorten(text: string): string {
  return text.length > 80 ? text.slice(0, 77) + "..." : text;
}

/** The candidate that was most likely meant, if one is near. */
export function nearest(
  word: string,
  candidates: Iterable<string>,
): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}
