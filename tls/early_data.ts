/**
 * Early data, the requests of TLS 1.3's 0-RTT (RFC 8446, 2.3 and 8; RFC 8470).
 *
 * @module
 */
import { checkInteger, checkKeys, isRecord, PolicyError } from "./check.ts";

/** What may come as early data. */
export interface EarlyDataOptions {
  /** Methods whose requests may run before the handshake is done, on routes that allow it; others wait for it. @default ["GET", "HEAD", "OPTIONS"] */
  methods?: string[];
  /** A request with a larger body waits for the handshake, in bytes, 0 to 14336. @default 14336 */
  maxBytes?: number;
  /** How old a ticket may be whose early data is accepted, in milliseconds, 1000 to 604800000. Older ones resume without it. @default 1024000 */
  windowMs?: number;
  /** How far a client's idea of its ticket's age may be off, in milliseconds, 0 to 60000; else its early data waits for the handshake. @default 10000 */
  ageSkewMs?: number;
}

/** Early data's options, filled in. */
export type CheckedEarlyData = Required<EarlyDataOptions>;

/** What `earlyData: true` means. */
export const EARLY_DATA_DEFAULTS: Readonly<CheckedEarlyData> = Object.freeze({
  methods: ["GET", "HEAD", "OPTIONS"],
  maxBytes: 14_336,
  windowMs: 1_024_000,
  ageSkewMs: 10_000,
});

/** Checks early data's options; what is left out is not filled in. */
export function checkEarlyData(
  value: unknown,
  path: string,
): EarlyDataOptions | boolean {
  if (typeof value === "boolean") return value;
  if (!isRecord(value)) {
    throw new PolicyError(path, value, "must be true, false or an object");
  }
  checkKeys(value, `${path}.`, Object.keys(EARLY_DATA_DEFAULTS));
  const { methods } = value;
  if (methods !== undefined) checkMethods(methods, `${path}.methods`);
  for (const { key, min, max, unit } of NUMBERS) {
    checkInteger(value[key], `${path}.${key}`, { min, max, unit, fallback: 0 });
  }
  return { ...value };
}

const NUMBERS = [
  { key: "maxBytes", min: 0, max: 14_336, unit: "bytes" },
  { key: "windowMs", min: 1000, max: 604_800_000, unit: "milliseconds" },
  { key: "ageSkewMs", min: 0, max: 60_000, unit: "milliseconds" },
];

// RFC 8470, 5.1 and RFC 9110, 9.2.1: only what is safe to do twice. A method that C does not know by a number is not.
const SAFE = ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"];

function checkMethods(methods: unknown, path: string): void {
  if (!Array.isArray(methods) || methods.length === 0) {
    throw new PolicyError(path, methods, "must be a list of methods");
  }
  methods.forEach((method, i) => {
    if (!SAFE.includes(method)) {
      throw new PolicyError(
        `${path}[${i}]`,
        method,
        `is not safe to run twice: early data takes ${SAFE.join(", ")}`,
      );
    }
  });
}

/** The options with their defaults; undefined: no early data. */
export function fillEarlyData(
  options: EarlyDataOptions | boolean | undefined,
): CheckedEarlyData | undefined {
  if (options === undefined || options === false) return undefined;
  const { methods, maxBytes, windowMs, ageSkewMs } = options === true
    ? {} as EarlyDataOptions
    : options;
  const fallback = EARLY_DATA_DEFAULTS;
  return {
    methods: methods ?? fallback.methods,
    maxBytes: maxBytes ?? fallback.maxBytes,
    windowMs: windowMs ?? fallback.windowMs,
    ageSkewMs: ageSkewMs ?? fallback.ageSkewMs,
  };
}
