/**
 * TLS policy as plain values: a listener's certificates, and how their clients resume.
 *
 * @module
 */
import { checkKeys, isRecord, PolicyError } from "./check.ts";
import { checkClientAuth, type ClientAuthOptions } from "./client_auth.ts";
import {
  checkClientHello,
  CLIENT_HELLO_OPTIONS,
  type ClientHelloOptions,
} from "./client_hello.ts";
import { checkEarlyData, type EarlyDataOptions } from "./early_data.ts";
import { checkHandshake, type HandshakeOptions } from "./handshake.ts";
import { checkResumption, type ResumptionOptions } from "./session_ticket.ts";

/** What clients of a listener, or of one certificate's names, agree on, and how they may resume. */
export interface TlsPolicy extends HandshakeOptions {
  /** Session tickets. @default { mode: "once" } */
  resumption?: ResumptionOptions;
  /**
   * Early data (0-RTT): requests that come with a resuming client's first bytes, which anybody who saw them can send again. A ticket's early data
   * is accepted at most once, and reaches only routes with `earlyData()`. @default false
   */
  earlyData?: EarlyDataOptions | boolean;
  /** Client certificates (mTLS). @default false */
  clientAuth?: ClientAuthOptions | false;
}

/** TLS of one listener. */
export interface ListenerTlsOptions extends ClientHelloOptions {
  /**
   * Its certificates, 1 to 64 (64 in all of a gateway's listeners). The client's server name (SNI) chooses: an exact name before a wildcard, and of
   * several for one name the first that the client can use, ECDSA before Ed25519 before RSA. The first one answers clients that name no server,
   * or an unknown one. A request whose Host is another certificate's than the one that its connection's server name chose is answered 421.
   */
  certificates: CertificateOptions[];
  /** What holds for clients of all its certificates, where a certificate does not say otherwise. */
  policy?: TlsPolicy;
}

/** How many certificates all listeners of a gateway may have. */
export const CERTIFICATES_MAX = 64;

/**
 * A certificate chain and its key: PEM text, or paths of PEM files (relative to the current folder). Files are watched: what is renewed is taken while the
 * gateway runs, once certificate and key belong together.
 */
export interface CertificateOptions {
  /** The chain, leaf first. */
  cert: string;
  /** The leaf's private key. */
  key: string;
  /**
   * The path of an OCSP response (DER) for the leaf, which clients who ask for one get with it (RFC 6066, section 8). Watched as well. One that has
   * expired, or is about another certificate, is not sent, and told. @default none
   */
  ocsp?: string;
  /** Server names that it answers to: `example.org`, or `*.example.org` for one label more. @default the certificate's own DNS names */
  names?: string[];
  /** What differs from the listener's policy for clients of these names. Keys are the whole gateway's and cannot differ. */
  policy?: TlsPolicy;
}

/** Checks the TLS options of a listener. Throws a {@linkcode PolicyError} for the first thing that is wrong. */
export function checkListenerTls(tls: unknown): ListenerTlsOptions {
  if (!isRecord(tls)) throw new PolicyError("", tls, "must be an object");
  checkKeys(tls, "", ["certificates", "policy", ...CLIENT_HELLO_OPTIONS]);
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
  const checked: ListenerTlsOptions = {
    certificates: certificates.map((certificate, i) =>
      checkCertificate(certificate, `certificates[${i}]`)
    ),
    ...checkClientHello(tls),
  };
  if (tls.policy !== undefined) {
    checked.policy = checkPolicy(tls.policy, "policy", true);
  }
  return checked;
}

function checkPolicy(
  policy: unknown,
  path: string,
  withKeys: boolean,
): TlsPolicy {
  if (!isRecord(policy)) {
    throw new PolicyError(path, policy, "must be an object");
  }
  checkKeys(policy, `${path}.`, [
    "preset",
    "versions",
    "groups",
    "alpn",
    "resumption",
    "earlyData",
    "clientAuth",
  ]);
  const { resumption, earlyData, clientAuth } = policy;
  const checked: TlsPolicy = checkHandshake(policy, path);
  if (resumption !== undefined) {
    checked.resumption = checkResumption(
      resumption,
      `${path}.resumption`,
      withKeys,
    );
  }
  if (earlyData !== undefined) {
    checked.earlyData = checkEarlyData(earlyData, `${path}.earlyData`);
  }
  if (clientAuth !== undefined) {
    checked.clientAuth = checkClientAuth(clientAuth, `${path}.clientAuth`);
  }
  return checked;
}

function checkCertificate(
  certificate: unknown,
  path: string,
): CertificateOptions {
  if (!isRecord(certificate)) {
    throw new PolicyError(path, certificate, "must be an object");
  }
  checkKeys(certificate, `${path}.`, [
    "cert",
    "key",
    "ocsp",
    "names",
    "policy",
  ]);
  const { cert, key, ocsp, names, policy } = certificate;
  const checked: CertificateOptions = {
    cert: checkPem(cert, `${path}.cert`),
    key: checkPem(key, `${path}.key`),
  };
  if (ocsp !== undefined) {
    if (typeof ocsp !== "string" || ocsp === "") {
      const reason = "must be the path of an OCSP response (DER)";
      throw new PolicyError(`${path}.ocsp`, ocsp, reason);
    }
    checked.ocsp = ocsp;
  }
  if (names !== undefined) checked.names = checkNames(names, `${path}.names`);
  if (policy !== undefined) {
    checked.policy = checkPolicy(policy, `${path}.policy`, false);
  }
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
