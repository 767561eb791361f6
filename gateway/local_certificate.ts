/**
 * The certificate for localhost that HTTPS has without `--cert`: made on the first start, kept in the user's state folder
 * (0600), made anew before it expires.
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import type { CertificateOptions } from "./options.ts";

/** The certificate, and where it is kept: a folder, or why only in memory. */
export interface LocalCertificate {
  certificate: CertificateOptions;
  kept: { folder: string } | { memory: string };
}

const DAY_MS = 86_400_000;
const RENEW_MS = 7 * DAY_MS;

/** `${XDG_STATE_HOME:-$HOME/.local/state}/sluice`, or undefined if neither is set. */
export function stateFolder(
  env: (name: string) => string | undefined,
): string | undefined {
  const base = env("XDG_STATE_HOME") ||
    (env("HOME") && `${env("HOME")}/.local/state`);
  return base ? `${base}/sluice` : undefined;
}

/** Reads the kept certificate, or makes one and keeps it if that is permitted. */
export async function localCertificate(
  folder: string | undefined,
  make: () => CertificateOptions,
  now: number = Date.now(),
): Promise<LocalCertificate> {
  if (folder === undefined) {
    return {
      certificate: make(),
      kept: { memory: "neither XDG_STATE_HOME nor HOME is set" },
    };
  }
  const known = await read(folder, now);
  if (known) return { certificate: known, kept: { folder } };
  const certificate = make();
  try {
    await keep(folder, certificate);
    return { certificate, kept: { folder } };
  } catch (error) {
    return {
      certificate,
      kept: { memory: error instanceof Error ? error.message : String(error) },
    };
  }
}

async function read(
  folder: string,
  now: number,
): Promise<CertificateOptions | undefined> {
  try {
    const cert = await Deno.readTextFile(`${folder}/local_cert.pem`);
    const key = await Deno.readTextFile(`${folder}/local_key.pem`);
    const expires = Date.parse(new X509Certificate(cert).validTo);
    return expires - now > RENEW_MS ? { cert, key } : undefined;
  } catch {
    return undefined; // absent, unreadable or spoiled: a new one is as good
  }
}

async function keep(
  folder: string,
  { cert, key }: CertificateOptions,
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  await replace(`${folder}/local_key.pem`, key);
  await replace(`${folder}/local_cert.pem`, cert);
}

// Whole or not at all, and never readable by others, not even for a moment.
async function replace(path: string, text: string): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}`;
  try {
    await Deno.writeTextFile(temporary, text, { mode: 0o600, createNew: true });
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}
