/**
 * What every check of a policy needs.
 *
 * @module
 */

/**
 * A policy that cannot be used, as `stekFile` and others throw it where they are called; among options it is one of {@linkcode OptionsError.problems}.
 *
 * @example What was wrong, and where
 * ```ts
 * import { PolicyError, stekFile } from "sluice";
 *
 * try {
 *   stekFile("steks", { refreshMs: 1 });
 * } catch (error) {
 *   if (!(error instanceof PolicyError)) throw error;
 *   console.log(error.path, error.value, error.reason);
 * }
 * ```
 */
export class PolicyError extends TypeError {
  /** Always `PolicyError`. */
  override name = "PolicyError";
  /** Where, as a key path below the listener's `tls`: `certificates[0].cert`; empty for the policy itself. */
  readonly path: string;
  /** The value at hand. */
  readonly value: unknown;
  /** Why it cannot be used, and what can. */
  readonly reason: string;

  /** Its message is the path behind `tls`, and the reason. */
  constructor(path: string, value: unknown, reason: string) {
    super(`tls${path && "."}${path}: ${reason}`);
    this.path = path;
    this.value = value;
    this.reason = reason;
  }
}

/** Throws for the first key that is none of `known`. `path` ends with a dot, or is empty. */
export function checkKeys(
  value: Record<string, unknown>,
  path: string,
  known: string[],
): void {
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    throw new PolicyError(
      `${path}${key}`,
      value[key],
      `is not an option; known keys: ${known.join(", ")}`,
    );
  }
}

/** Whether it is an object with keys. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A whole number from `min` to `max`, or `fallback` if there is none. */
export function checkInteger(
  value: unknown,
  path: string,
  { min, max, fallback, unit }: {
    min: number;
    max: number;
    fallback: number;
    unit: string;
  },
): number {
  if (value === undefined) return fallback;
  if (Number.isSafeInteger(value)) {
    const number = value as number;
    if (number >= min && number <= max) return number;
  }
  throw new PolicyError(
    path,
    value,
    `must be a whole number of ${unit} from ${min} to ${max}`,
  );
}
