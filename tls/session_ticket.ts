/**
 * Session tickets: how a client resumes without a full handshake (RFC 8446, 2.2 and 4.6.1).
 *
 * @module
 */
import { checkInteger, checkKeys, isRecord, PolicyError } from "./check.ts";

/** What a ticket is good for; see {@linkcode ResumptionOptions.mode}. */
export type ResumptionMode = "off" | "stateless" | "once" | "sealed";

/** How clients resume. */
export interface ResumptionOptions {
  /**
   * - `off`: no tickets; every handshake is a full one.
   * - `stateless`: whoever shares the keys resumes a ticket, as often as it likes. Never early data.
   * - `once`: the same; and early data, where it is on, once per ticket, at the process that made it.
   * - `sealed`: a ticket resumes once, at the process that made it, and its key is erased then: what was recorded stays secret even if all of the process's
   *   keys leak later.
   *
   * @default "once"
   */
  mode?: ResumptionMode;
  /** How long a ticket resumes, in milliseconds, 1000 to 604800000 (a week, RFC 8446). @default 86400000 */
  ticketLifetimeMs?: number;
  /** Tickets that a TLS 1.3 client gets with each handshake, 1 to 16. @default 1 */
  ticketsPerConn?: number;
  /** How often a new key begins to seal tickets, in milliseconds, 100 to 4294967294. Of the whole gateway. @default 3600000 */
  keyRotationMs?: number;
  /** Keys that open tickets, the sealing one included, 1 to 63. Of the whole gateway. @default ticketLifetimeMs / keyRotationMs, rounded up, and one more */
  keysKept?: number;
  /** Where keys come from, so that a fleet shares them; then nothing rotates by itself. Of the whole gateway. @default random keys of this process */
  stek?: STEKProvider;
}

/** A session ticket encryption key. */
export interface STEK {
  /** 32 random bytes. */
  key: Uint8Array;
  /** Unix time in milliseconds from which it seals tickets. Give it to all nodes before that. */
  notBeforeMs: number;
}

/** Gives a gateway its session ticket keys. */
export interface STEKProvider {
  /**
   * All keys that open tickets now, 1 to 64; of those whose time has come the youngest seals. Called at the start, where a failure keeps the gateway
   * from starting, and then every `refreshMs`, where a failure is told and the keys stay. The bytes are copied, so they may be erased afterwards.
   */
  keys(): readonly STEK[] | Promise<readonly STEK[]>;
  /** How often it is asked, in milliseconds, 100 to 86400000. @default 60000 */
  refreshMs?: number;
}

const MODES: readonly ResumptionMode[] = [
  "off",
  "stateless",
  "once",
  "sealed",
];
const KEY_OPTIONS = ["keyRotationMs", "keysKept", "stek"];

/** Checks resumption options. `withKeys`: those of keys may be there. */
export function checkResumption(
  value: unknown,
  path: string,
  withKeys: boolean,
): ResumptionOptions {
  if (!isRecord(value)) {
    throw new PolicyError(
      path,
      value,
      'must be an object, as { mode: "once" }',
    );
  }
  for (const key of withKeys ? [] : KEY_OPTIONS) {
    if (key in value) {
      throw new PolicyError(
        `${path}.${key}`,
        value[key],
        "is of the whole gateway: give it in the listener's policy",
      );
    }
  }
  checkKeys(value, `${path}.`, [
    "mode",
    "ticketLifetimeMs",
    "ticketsPerConn",
    ...KEY_OPTIONS,
  ]);
  const { mode, stek } = value;
  if (mode !== undefined && !MODES.includes(mode as ResumptionMode)) {
    throw new PolicyError(
      `${path}.mode`,
      mode,
      `must be one of ${MODES.join(", ")}`,
    );
  }
  for (const { key, min, max, unit } of NUMBERS) {
    checkInteger(value[key], `${path}.${key}`, { min, max, unit, fallback: 0 });
  }
  if (stek !== undefined) checkProvider(stek, `${path}.stek`);
  return { ...value } as ResumptionOptions;
}

const NUMBERS: {
  key: keyof ResumptionOptions;
  min: number;
  max: number;
  unit: string;
}[] = [
  {
    key: "ticketLifetimeMs",
    min: 1000,
    max: 604_800_000,
    unit: "milliseconds",
  },
  { key: "ticketsPerConn", min: 1, max: 16, unit: "tickets" },
  { key: "keyRotationMs", min: 100, max: 4_294_967_294, unit: "milliseconds" },
  { key: "keysKept", min: 1, max: 63, unit: "keys" },
];

function checkProvider(stek: unknown, path: string): void {
  if (!isRecord(stek) || typeof stek.keys !== "function") {
    throw new PolicyError(path, stek, "must be an object with keys()");
  }
  checkInteger(stek.refreshMs, `${path}.refreshMs`, {
    min: 100,
    max: 86_400_000,
    fallback: 0,
    unit: "milliseconds",
  });
}

/** Checks what a provider gave; throws a {@linkcode PolicyError} that names the key's number, never the key. */
export function checkSteks(keys: unknown): readonly STEK[] {
  if (!Array.isArray(keys) || keys.length === 0 || keys.length > 64) {
    const given = Array.isArray(keys) ? keys.length : typeof keys;
    throw new PolicyError("stek.keys()", given, "must give 1 to 64 keys");
  }
  keys.forEach((stek, i) => {
    const path = `stek.keys()[${i}]`;
    if (!isRecord(stek)) {
      throw new PolicyError(path, typeof stek, "must be { key, notBeforeMs }");
    }
    if (!(stek.key instanceof Uint8Array) || stek.key.length !== 32) {
      throw new PolicyError(`${path}.key`, "(hidden)", "must be 32 bytes");
    }
    if (!Number.isFinite(stek.notBeforeMs)) {
      throw new PolicyError(
        `${path}.notBeforeMs`,
        stek.notBeforeMs,
        "must be a Unix time in milliseconds",
      );
    }
  });
  return keys;
}
