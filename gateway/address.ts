/**
 * IP addresses and sets of them, as options give them and as a plan holds them: 128-bit numbers, IPv4 as `::ffff:a.b.c.d`, so that an IPv4 client
 * of an IPv6 socket is the same client.
 *
 * @module
 */
import type { OptionProblem } from "./errors.ts";

/** Addresses from `first` to `last`. */
export interface AddressRange {
  /** The lowest address, as a 128-bit number. */
  first: bigint;
  /** The highest, which belongs to it. */
  last: bigint;
}

/** Sorted, disjoint ranges. */
export type AddressSet = readonly AddressRange[];

const MAPPED = 0xffff_0000_0000n;

/** The number of an address; undefined if the text is none. No zone, no leading zeros, no brackets. */
export function parseAddress(text: string): bigint | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split(".");
  const good = parts.length === 4 &&
    parts.every((part) =>
      /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256
    );
  if (!good) return undefined;
  return parts.reduce((sum, part) => sum << 8n | BigInt(part), 0xffffn);
}

function parseIpv6(text: string): bigint | undefined {
  let rest = text;
  let tail: string[] = [];
  const dotted = /:([\d.]+)$/.exec(text);
  if (dotted?.[1].includes(".")) {
    const v4 = parseIpv4(dotted[1]);
    if (v4 === undefined) return undefined;
    const low = v4 & 0xffff_ffffn;
    tail = [(low >> 16n).toString(16), (low & 0xffffn).toString(16)];
    rest = text.slice(0, dotted.index + 1);
    rest = rest.endsWith("::") ? rest : rest.slice(0, -1);
    if (rest === "") return undefined;
  }
  const halves = rest.split("::");
  if (halves.length > 2) return undefined;
  const [left, right] = halves.map((half) =>
    half === "" ? [] : half.split(":")
  );
  const known = [...left, ...right ?? [], ...tail];
  if (!known.every((word) => /^[0-9a-f]{1,4}$/i.test(word))) return undefined;
  const missing = 8 - known.length;
  if (right === undefined ? missing !== 0 : missing < 1) return undefined;
  const words = [
    ...left,
    ...Array(missing).fill("0"),
    ...right ?? [],
    ...tail,
  ];
  return words.reduce((sum, word) => sum << 16n | BigInt(`0x${word}`), 0n);
}

/**
 * The addresses of `10.0.0.0/8`, `2001:db8::/32` or one address; undefined if the text is none of them. Bits behind the prefix do not count.
 * `::/0` is every IPv6 address, and no IPv4 one.
 */
export function parseRanges(text: string): AddressRange[] | undefined {
  const [, address, bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const number = parseAddress(address ?? "");
  if (number === undefined) return undefined;
  const width = address.includes(":") ? 128 : 32;
  const prefix = bits === undefined ? width : Number(bits);
  if (prefix > width) return undefined;
  const free = (1n << BigInt(width - prefix)) - 1n;
  const range = { first: number & ~free, last: number | free };
  if (
    width === 32 || prefix >= 96 || range.first > MAPPED || range.last < MAPPED
  ) return [range];
  return [
    { first: range.first, last: MAPPED - 1n },
    { first: MAPPED + 0x1_0000_0000n, last: range.last },
  ];
}

/** A set of what a list says; adds what cannot be read to `problems`. */
export function checkAddresses(
  list: unknown,
  path: string,
  problems: OptionProblem[],
): AddressSet {
  if (!Array.isArray(list)) {
    const reason = "must be a list of addresses and CIDR ranges";
    problems.push({ path, value: list, reason });
    return [];
  }
  const ranges: AddressRange[] = [];
  for (const [i, each] of list.entries()) {
    const found = typeof each === "string" ? parseRanges(each) : undefined;
    if (found) ranges.push(...found);
    else {
      const reason = 'must be an address or a range such as "10.0.0.0/8"';
      problems.push({ path: `${path}[${i}]`, value: each, reason });
    }
  }
  return joinRanges(ranges);
}

function joinRanges(ranges: AddressRange[]): AddressSet {
  const sorted = ranges.toSorted((a, b) =>
    a.first < b.first ? -1 : a.first > b.first ? 1 : 0
  );
  const joined: AddressRange[] = [];
  for (const { first, last } of sorted) {
    const before = joined.at(-1);
    if (before === undefined || first > before.last + 1n) {
      joined.push({ first, last });
    } else if (last > before.last) before.last = last;
  }
  return joined;
}

/** Whether an address is in a set. */
export function hasAddress(set: AddressSet, address: bigint): boolean {
  return set.some(({ first, last }) => first <= address && address <= last);
}

/** Its text: IPv4 with dots. */
export function addressText(address: bigint): string {
  if (address >> 32n === MAPPED >> 32n) {
    return [24n, 16n, 8n, 0n].map((bits) => address >> bits & 255n).join(".");
  }
  const words = Array.from(
    { length: 8 },
    (_, i) => (address >> BigInt(112 - 16 * i) & 0xffffn).toString(16),
  );
  return new URL(`http://[${words.join(":")}]`).hostname.slice(1, -1);
}

/** The ranges as a plan holds them (`struct sl_plan_range`). */
export function rangeBytes(set: AddressSet): Uint8Array {
  const bytes = new Uint8Array(set.length * 32);
  const view = new DataView(bytes.buffer);
  const words = set.flatMap(({ first, last }) => [
    first >> 64n,
    first & 0xffff_ffff_ffff_ffffn,
    last >> 64n,
    last & 0xffff_ffff_ffff_ffffn,
  ]);
  words.forEach((word, i) => view.setBigUint64(i * 8, word));
  return bytes;
}
