/**
 * What to tell about a certificate before it is used.
 *
 * @module
 */

const DAY_S = 86_400;
const SOON_DAYS = 14;

/** What the warnings look at. Times are in Unix seconds. */
export interface CertificateFacts {
  notBefore: number;
  notAfter: number;
  /** Its serial number, in hexadecimal digits. */
  serial: string;
  /** Its DNS names, in lower case. */
  dns: readonly string[];
}

/**
 * Why clients will not like a certificate: it has expired, is about to, is not valid yet, or does not have a name that it shall answer to. None
 * of these is an error: a gateway must start while a renewal is under way.
 */
export function certificateWarnings(
  facts: CertificateFacts,
  names: readonly string[],
  nowS: number,
): string[] {
  const warnings: string[] = [];
  const days = Math.floor((facts.notAfter - nowS) / DAY_S);
  const until = dateOf(facts.notAfter);
  if (facts.notAfter < nowS) warnings.push(`expired on ${until}`);
  else if (days < SOON_DAYS) {
    warnings.push(
      `expires on ${until}, in ${days === 1 ? "1 day" : `${days} days`}`,
    );
  }
  if (facts.notBefore > nowS) {
    warnings.push(`is not valid before ${dateOf(facts.notBefore)}`);
  }
  const missing = names.filter((name) => !covers(facts.dns, name));
  if (missing.length > 0) {
    const has = facts.dns.length > 0 ? facts.dns.join(", ") : "no DNS name";
    warnings.push(`does not cover ${missing.join(", ")} (it has ${has})`);
  }
  return warnings;
}

/** What an OCSP response says of one certificate. Times are in Unix seconds. */
export interface OcspAnswer {
  /** The certificate's serial number, in hexadecimal digits. */
  serial: string;
  status: "good" | "revoked" | "unknown";
  /** From when on it holds. */
  thisUpdate: number;
  /** Until when; undefined: it does not say. */
  nextUpdate?: number;
}

const CLOCK_SKEW_S = 300;

/**
 * Why an OCSP response must not be sent with the certificate of this serial number; undefined: it may. Clients end a connection for a response that is
 * not about its certificate, or says nothing good, and take none for less. Its signature is theirs to check.
 */
export function ocspRefusal(
  answers: readonly OcspAnswer[],
  serial: string,
  nowS: number,
): string | undefined {
  const answer = answers.find((answer) => answer.serial === serial);
  if (!answer) {
    const others = answers.map((answer) => answer.serial).join(", ");
    return `is about another certificate (${others}; this one is ${serial})`;
  }
  const { status, thisUpdate, nextUpdate } = answer;
  if (status === "revoked") return "says that the certificate is revoked";
  if (status === "unknown") return "says that the certificate is unknown";
  if (thisUpdate > nowS + CLOCK_SKEW_S) {
    return `does not hold before ${timeOf(thisUpdate)}`;
  }
  if (nextUpdate !== undefined && nextUpdate < nowS) {
    return `has expired at ${timeOf(nextUpdate)}`;
  }
  return undefined;
}

function timeOf(unixS: number): string {
  return new Date(unixS * 1000).toISOString().slice(0, 16) + "Z";
}

function covers(dns: readonly string[], name: string): boolean {
  return dns.includes(name) ||
    dns.includes(name.replace(/^[^.]+/, "*")) && !name.startsWith("*.");
}

function dateOf(unixS: number): string {
  return new Date(unixS * 1000).toISOString().slice(0, 10);
}
