/**
 * TLS policy as plain values. For now: the certificates of a listener.
 *
 * @module
 */

/** TLS of one listener. */
export interface ListenerTlsOptions {
  /**
   * Its certificates, 1 to 64 (64 in all of a gateway's listeners). The client's server name (SNI) chooses: an exact name before a wildcard, and of
   * several for one name the first that the client can use, ECDSA before Ed25519 before RSA. The first one answers clients that name no server,
   * or an unknown one. A request whose Host is another certificate's than the one that its connection's server name chose is answered 421.
   */
  certificates: CertificateOptions[];
}

/** How many certificates all listeners of a gateway may have. */
export const CERTIFICATES_MAX = 64;

/** A certificate chain and its key: PEM text, or paths of PEM files (relative to the current folder). */
export interface CertificateOptions {
  /** The chain, leaf first. */
  cert: string;
  /** The leaf's private key. */
  key: string;
  /** Server names that it answers to: `example.org`, or `*.example.org` for one label more. @default the certificate's own DNS names */
  names?: string[];
}

/** A policy that cannot be used. */
export class PolicyError extends TypeError {
  override name = "PolicyError";
  /** Where, as a key path below the listener's `tls`: `certificates[0].cert`; empty for the policy itself. */
  readonly path: string;
  /** The value at hand. */
  readonly value: unknown;
  /** Why it cannot be used, and what can. */
  readonly reason: string;

  constructor(path: string, value: unknown, reason: string) {
    super(`tls${path && "."}${path}: ${reason}`);
    this.path = path;
    this.value = value;
    this.reason = reason;
  }
}

/** Checks the TLS options of a listener. Throws a {@linkcode PolicyError} for the first thing that is wrong. */
export function checkListenerTls(tls: unknown): ListenerTlsOptions {
  if (!isRecord(tls)) throw new PolicyError("", tls, "must be an object");
  checkKeys(tls, "", ["certificates"]);
  const { certificates } = tls;
  if (
    !Array.isArray(certificates) || certificates.length === 0 ||
    certificates.length > CERTIFICATES_MAX
  ) {
    throw new PolicyError(
      "certificates",
      certificates,
      `must be a list of 1 to ${CERTIFICATES_MAX} certificates`,
    );
  }
  return {
    certificates: certificates.map((certificate, i) =>
      checkCertificate(certificate, `certificates[${i}]`)
    ),
  };
}

function checkCertificate(
  certificate: unknown,
  path: string,
): CertificateOptions {
  if (!isRecord(certificate)) {
    throw new PolicyError(path, certificate, "must be an object");
  }
  checkKeys(certificate, `${path}.`, ["cert", "key", "names"]);
  const { cert, key, names } = certificate;
  const checked: CertificateOptions = {
    cert: checkPem(cert, `${path}.cert`),
    key: checkPem(key, `${path}.key`),
  };
  if (names !== undefined) checked.names = checkNames(names, `${path}.names`);
  return checked;
}

const NAMES_MAX = 256;
const LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?";
const NAME = new RegExp(
  `^(?:\\*\\.${LABEL}\\.)?${LABEL}(?:\\.${LABEL})*$`,
  "i",
);

function checkNames(names: unknown, path: string): string[] {
  if (
    !Array.isArray(names) || names.length === 0 || names.length > NAMES_MAX
  ) {
    throw new PolicyError(
      path,
      names,
      `must be a list of 1 to ${NAMES_MAX} server names`,
    );
  }
  return names.map((name, i) => {
    if (typeof name === "string" && name.length <= 253 && NAME.test(name)) {
      if (/^[\d.]+$/.test(name)) {
        const reason = "is an address: clients name servers only by DNS names";
        throw new PolicyError(`${path}[${i}]`, name, reason);
      }
      return name.toLowerCase();
    }
    throw new PolicyError(
      `${path}[${i}]`,
      name,
      "must be a DNS name, or one with *. in front of at least two labels (other scripts as xn--…)",
    );
  });
}

function checkPem(value: unknown, path: string): string {
  if (typeof value === "string" && value !== "") return value;
  const shown = path.endsWith(".key") && value !== undefined
    ? "(hidden)"
    : value;
  throw new PolicyError(
    path,
    shown,
    "must be PEM text or the path of a PEM file",
  );
}

function checkKeys(
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

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
