/**
 * What a handshake may agree on: versions, key exchange groups, and the protocol inside.
 *
 * @module
 */
import { checkKeys, isRecord, PolicyError } from "./check.ts";

/** A version of TLS: RFC 5246, RFC 8446. */
export type TlsVersion = "1.2" | "1.3";

/** Versions that clients may use. */
export interface VersionOptions {
  /** The oldest. The newest is always TLS 1.3. @default "1.2" */
  min?: TlsVersion;
}

/**
 * A named policy: `"modern"` is TLS 1.3 alone, `"intermediate"` TLS 1.2 and 1.3. Of TLS 1.2 both know only suites with forward secrecy and AEADs
 * (RFC 9325, 4.2).
 */
export type TlsPreset = "modern" | "intermediate";

/** A group of the key exchange (RFC 8446, 4.2.7), or of one that a quantum computer does not break either (X25519MLKEM768). */
export type KeyExchangeGroup =
  | "X25519MLKEM768"
  | "X25519"
  | "P-256"
  | "P-384"
  | "P-521";

/** A protocol inside TLS, by its ALPN name (RFC 7301). */
export type AlpnProtocol = "http/1.1";

/** The groups by their TLS numbers. */
export const GROUP_NUMBERS = Object.freeze(
  {
    X25519MLKEM768: 0x11ec,
    X25519: 29,
    "P-256": 23,
    "P-384": 24,
    "P-521": 25,
  } as const satisfies Record<KeyExchangeGroup, number>,
);

/** What a certificate's names agree on. */
export interface HandshakeOptions {
  /** What is not said in detail. @default "intermediate" */
  preset?: TlsPreset;
  /** Versions that clients may use. @default the preset's */
  versions?: VersionOptions;
  /**
   * Groups, the best first: the first that the client has, too, is taken. TLS 1.2 knows no X25519MLKEM768: alone it leaves TLS 1.2 out. P-521 is slow,
   * so only where it is named. @default ["X25519MLKEM768", "X25519", "P-256", "P-384"]
   */
  groups?: KeyExchangeGroup[];
  /**
   * What is told to clients that ask by ALPN (RFC 7301). One that offers only other protocols, `h2` for instance, gets the alert
   * `no_application_protocol`, as from nginx and Caddy; one that asks nothing is served. With `[]` nobody is told anything and everybody is served, as
   * by HAProxy without `alpn`. @default ["http/1.1"]
   */
  alpn?: AlpnProtocol[];
}

/** The same, filled in. */
export interface HandshakeRow {
  minVersion: TlsVersion;
  groups: readonly KeyExchangeGroup[];
  alpn: readonly AlpnProtocol[];
}

const PRESETS: Record<TlsPreset, TlsVersion> = {
  modern: "1.3",
  intermediate: "1.2",
};
const VERSIONS = Object.values(PRESETS) as unknown[];
const ALPN: readonly AlpnProtocol[] = ["http/1.1"];
const GROUPS: readonly KeyExchangeGroup[] = [
  "X25519MLKEM768",
  "X25519",
  "P-256",
  "P-384",
];

/** Checks the options; what is left out is not filled in. */
export function checkHandshake(
  { preset, versions, groups, alpn }: Record<string, unknown>,
  path: string,
): HandshakeOptions {
  const checked: HandshakeOptions = {};
  if (preset !== undefined) {
    if (!Object.hasOwn(PRESETS, preset as TlsPreset)) {
      const known = Object.keys(PRESETS).map((name) => `"${name}"`);
      const reason = `must be ${known.join(" or ")}`;
      throw new PolicyError(`${path}.preset`, preset, reason);
    }
    checked.preset = preset as TlsPreset;
  }
  if (versions !== undefined) {
    checked.versions = checkVersions(versions, `${path}.versions`);
  }
  if (groups !== undefined) {
    checked.groups = checkGroups(groups, `${path}.groups`);
  }
  if (alpn !== undefined) checked.alpn = checkAlpn(alpn, `${path}.alpn`);
  return checked;
}

function checkVersions(value: unknown, path: string): VersionOptions {
  if (!isRecord(value)) {
    throw new PolicyError(path, value, 'must be an object: { min: "1.3" }');
  }
  checkKeys(value, `${path}.`, ["min"]);
  const { min } = value;
  if (min !== undefined && !VERSIONS.includes(min)) {
    const reason = 'must be "1.2" or "1.3": nothing older is spoken (RFC 8996)';
    throw new PolicyError(`${path}.min`, min, reason);
  }
  return { ...value };
}

function checkGroups(value: unknown, path: string): KeyExchangeGroup[] {
  const known = Object.keys(GROUP_NUMBERS).join(", ");
  if (!Array.isArray(value) || value.length === 0) {
    throw new PolicyError(path, value, `must be a list of groups: ${known}`);
  }
  value.forEach((group, i) => {
    const wrong = typeof group !== "string" ||
        !Object.hasOwn(GROUP_NUMBERS, group)
      ? `must be one of ${known}`
      : value.indexOf(group) < i && "is in the list twice";
    if (wrong) throw new PolicyError(`${path}[${i}]`, group, wrong);
  });
  return [...value];
}

function checkAlpn(value: unknown, path: string): AlpnProtocol[] {
  if (!Array.isArray(value)) {
    const reason = 'must be a list: ["http/1.1"], or [] to ignore ALPN';
    throw new PolicyError(path, value, reason);
  }
  value.forEach((protocol, i) => {
    const wrong = protocol !== "http/1.1"
      ? 'must be "http/1.1": the data plane speaks no other protocol'
      : i > 0 && "is in the list twice";
    if (wrong) throw new PolicyError(`${path}[${i}]`, protocol, wrong);
  });
  return [...value];
}

/** What holds for a certificate: its own options before the listener's, and of each what is said in detail before its preset. */
export function fillHandshake(
  base: HandshakeOptions = {},
  own: HandshakeOptions = {},
): HandshakeRow {
  const minOf = ({ versions, preset }: HandshakeOptions) =>
    versions?.min ?? (preset && PRESETS[preset]);
  return {
    minVersion: minOf(own) ?? minOf(base) ?? "1.2",
    groups: own.groups ?? base.groups ?? GROUPS,
    alpn: own.alpn ?? base.alpn ?? ALPN,
  };
}
