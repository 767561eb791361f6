/**
 * From TLS policy to the rows that C enforces: plain values, which `gateway/` writes as bytes.
 *
 * @module
 */
import { PolicyError } from "./check.ts";
import { type ClientAuthRow, fillClientAuth } from "./client_auth.ts";
import { type CheckedEarlyData, fillEarlyData } from "./early_data.ts";
import { fillHandshake, type HandshakeRow } from "./handshake.ts";
import type { ListenerTlsOptions, TlsPolicy } from "./policy.ts";
import type {
  ResumptionMode,
  ResumptionOptions,
  STEKProvider,
} from "./session_ticket.ts";

/** How clients of one certificate's names resume. */
export interface ResumptionRow {
  mode: ResumptionMode;
  ticketsPerConn: number;
  ticketLifetimeMs: number;
  /** Undefined: none. */
  earlyData?: CheckedEarlyData;
}

/** What all listeners of a gateway share. */
export interface StekPolicy {
  keyRotationMs: number;
  keysKept: number;
  /** The longest of any row. */
  earlyWindowMs: number;
  stek?: STEKProvider;
}

const ROTATION_MS = 3_600_000;
const LIFETIME_MS = 86_400_000;
const KEYS_KEPT_MAX = 63;

/** What each of a listener's certificates agrees on, in their order. */
export function compileHandshake(tls: ListenerTlsOptions): HandshakeRow[] {
  return tls.certificates.map(({ policy }) =>
    fillHandshake(tls.policy, policy)
  );
}

/** Of whom the clients of each of a listener's certificates must show one, in their order; undefined: nobody is asked. */
export function compileClientAuth(
  tls: ListenerTlsOptions,
): (ClientAuthRow | undefined)[] {
  return tls.certificates.map(({ policy }) =>
    fillClientAuth(tls.policy?.clientAuth, policy?.clientAuth)
  );
}

/** The rows of a listener's certificates, in their order. */
export function compileResumption(tls: ListenerTlsOptions): ResumptionRow[] {
  return tls.certificates.map(({ policy }, i) => {
    const row = rowOf(tls.policy, policy);
    const early = row.earlyData && row.mode !== "once" && row.mode !== "sealed";
    if (early) {
      const own = policy?.earlyData !== undefined ||
        policy?.resumption?.mode !== undefined;
      throw new PolicyError(
        `${own ? `certificates[${i}].` : ""}policy.earlyData`,
        true,
        `needs tickets that are used once, and resumption.mode is "${row.mode}": take "once" or "sealed"`,
      );
    }
    return row;
  });
}

function rowOf(base?: TlsPolicy, own?: TlsPolicy): ResumptionRow {
  const resumption = { ...base?.resumption, ...own?.resumption };
  const earlyData = own?.earlyData ?? base?.earlyData;
  return {
    mode: resumption.mode ?? "once",
    ticketsPerConn: resumption.ticketsPerConn ?? 1,
    ticketLifetimeMs: resumption.ticketLifetimeMs ?? LIFETIME_MS,
    earlyData: fillEarlyData(
      typeof earlyData === "object" && typeof base?.earlyData === "object"
        ? { ...base.earlyData, ...earlyData }
        : earlyData,
    ),
  };
}

/** What the listeners say of the gateway's keys; they must not say different things. */
export function compileSteks(
  listeners: readonly { tls?: ListenerTlsOptions }[],
): StekPolicy {
  const said: Pick<ResumptionOptions, "keyRotationMs" | "keysKept" | "stek"> =
    {};
  let lifetimeMs = 0;
  let earlyWindowMs = 1000;
  listeners.forEach(({ tls }, i) => {
    if (!tls) return;
    for (const key of ["keyRotationMs", "keysKept", "stek"] as const) {
      const value = tls.policy?.resumption?.[key];
      if (value === undefined) continue;
      if (said[key] !== undefined && said[key] !== value) {
        throw new PolicyError(
          `policy.resumption.${key}`,
          key === "stek" ? "(a provider)" : value,
          `is of the whole gateway, and listener ${i} says it differently from one before`,
        );
      }
      Object.assign(said, { [key]: value });
    }
    for (const row of compileResumption(tls)) {
      lifetimeMs = Math.max(lifetimeMs, row.ticketLifetimeMs);
      earlyWindowMs = Math.max(earlyWindowMs, row.earlyData?.windowMs ?? 0);
    }
  });
  const keyRotationMs = said.keyRotationMs ?? ROTATION_MS;
  const kept = Math.ceil((lifetimeMs || LIFETIME_MS) / keyRotationMs) + 1;
  return {
    keyRotationMs,
    keysKept: said.keysKept ?? Math.min(kept, KEYS_KEPT_MAX),
    earlyWindowMs,
    stek: said.stek,
  };
}
