/**
 * Names to addresses, by the system's resolver (so `/etc/hosts` counts).
 *
 * @module
 */
import { lookup } from "node:dns/promises";

/** The address of a host in network order, 4 or 16 bytes; undefined if it has none. */
export async function resolveHost(
  hostname: string,
): Promise<number[] | undefined> {
  try {
    const found = await lookup(hostname, { all: true });
    const best = found.find(({ family }) => family === 4) ?? found[0]; // "localhost" is ::1 too, where few listen
    return best && addressBytes(best.address);
  } catch {
    return undefined;
  }
}

/** The bytes of a numeric address. */
export function addressBytes(address: string): number[] | undefined {
  if (/^\d+(?:\.\d+){3}$/.test(address)) return address.split(".").map(Number);
  if (!address.includes(":") || address.includes("%")) return undefined;
  const words = URL.parse(`http://[${address}]`)?.hostname.slice(1, -1);
  if (words === undefined) return undefined;
  const [head, tail] = words.split("::").map((half) =>
    half.split(":").filter((word) => word !== "")
  );
  const zeros = tail === undefined ? 0 : 8 - head.length - tail.length;
  const all = [...head, ...Array(zeros).fill("0"), ...(tail ?? [])];
  return all.flatMap((
    word,
  ) => [parseInt(word, 16) >> 8, parseInt(word, 16) & 255]);
}
