/**
 * TLS policy as plain values. For now: the certificate of a listener.
 *
 * @module
 */

/** TLS of one listener. */
export interface ListenerTlsOptions {
  /** Its certificates; exactly one for now. */
  certificates: CertificateOptions[];
}

/** A certificate chain and its key: PEM text, or paths of PEM files (relative to the current folder). */
export interface CertificateOptions {
  /** The chain, leaf first. */
  cert: string;
  /** The leaf's private key. */
  key: string;
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
  if (!Array.isArray(certificates) || certificates.length !== 1) {
    throw new PolicyError(
      "certificates",
      certificates,
      "must be a list of exactly one certificate for now",
    );
  }
  return {
    certificates: [checkCertificate(certificates[0], "certificates[0]")],
  };
}

function checkCertificate(
  certificate: unknown,
  path: string,
): CertificateOptions {
  if (!isRecord(certificate)) {
    throw new PolicyError(path, certificate, "must be an object");
  }
  checkKeys(certificate, `${path}.`, ["cert", "key"]);
  const { cert, key } = certificate;
  return {
    cert: checkPem(cert, `${path}.cert`),
    key: checkPem(key, `${path}.key`),
  };
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
