/**
 * Client certificates (mTLS): who must show one, and of whom.
 *
 * @module
 */
import { checkKeys, isRecord, PolicyError } from "./check.ts";

/** Whether a client must show a certificate, or may. */
export type ClientAuthMode = "required" | "optional";

/**
 * Clients are asked for a certificate (RFC 8446, 4.3.2), which must be of one of these CAs, for TLS clients (extended key usage, where it has one), and
 * within its time. A bad one ends the handshake in both modes. Up to 8 certificates and 16 KiB may be shown, with at most 4 intermediates; there are no
 * revocation lists. What a handler learns of it is `c.env.tls.client`.
 *
 * A ticket resumes only under the same `clientAuth` with the same CAs, and not past the end of the certificate.
 */
export interface ClientAuthOptions {
  /** `"optional"` lets in who shows none. @default "required" */
  mode?: ClientAuthMode;
  /**
   * The CAs: 1 to 64 certificates as PEM text, or the path of a PEM file (relative to the current folder). Each is trusted by itself, so an
   * intermediate may stand here without its root. A file is read again when it changes: handshakes from then on are judged by what it says, and tickets
   * made before resume no more; connections that are open stay.
   */
  ca: string;
}

/** The same, filled in. */
export type ClientAuthRow = Required<ClientAuthOptions>;

const MODES: unknown[] = ["required", "optional"] satisfies ClientAuthMode[];

/** Checks the options; what is left out is not filled in. */
export function checkClientAuth(
  value: unknown,
  path: string,
): ClientAuthOptions | false {
  if (value === false) return false;
  if (!isRecord(value)) {
    const reason =
      'must be an object: { mode: "required", ca: "ca.pem" }, or false';
    throw new PolicyError(path, value, reason);
  }
  checkKeys(value, `${path}.`, ["mode", "ca"]);
  const { mode, ca } = value;
  if (mode !== undefined && !MODES.includes(mode)) {
    const reason = 'must be "required" or "optional"';
    throw new PolicyError(`${path}.mode`, mode, reason);
  }
  if (typeof ca !== "string" || ca === "") {
    const reason = "must be PEM text or the path of a PEM file";
    throw new PolicyError(`${path}.ca`, ca, reason);
  }
  return { ...(mode !== undefined && { mode: mode as ClientAuthMode }), ca };
}

/** What holds for a certificate's names: their own or, where they say nothing, the listener's. Undefined: nobody is asked. */
export function fillClientAuth(
  base: ClientAuthOptions | false | undefined,
  own: ClientAuthOptions | false | undefined,
): ClientAuthRow | undefined {
  const said = own ?? base;
  return said ? { mode: "required", ...said } : undefined;
}
