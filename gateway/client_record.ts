/**
 * Whom a policy takes for the client: in a plan's blob, and in words.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import { type AddressSet, addressText, rangeBytes } from "./address.ts";
import type { BlobHeap } from "./blob_heap.ts";
import { setWords } from "./blob_record.ts";
import type { ClientSource } from "./client_ip.ts";

/** Writes a `struct sl_plan_client` inside of a record. */
export function setClient(
  view: DataView,
  at: number,
  { proxies, forwardedHeader }: ClientSource,
  heap: BlobHeap,
): void {
  setWords(view, [
    [at + abi.SL_PLAN_CLIENT_PROXIES_OFF_OFF, heap.add(rangeBytes(proxies))],
    [at + abi.SL_PLAN_CLIENT_PROXIES_COUNT_OFF, proxies.length],
    [
      at + abi.SL_PLAN_CLIENT_FORWARDED_OFF,
      forwardedHeader === "forwarded" ? 1 : 0,
    ],
  ]);
}

/** Who is taken for the client, behind another text; empty if it is the peer. */
export function clientText({ proxies, forwardedHeader }: ClientSource): string {
  return proxies.length > 0
    ? `; clients by ${forwardedHeader} of ${rangesText(proxies)}`
    : "";
}

/** Some of the ranges of a set. */
export function rangesText(set: AddressSet): string {
  const texts = set.slice(0, 3).map(({ first, last }) =>
    first === last
      ? addressText(first)
      : `${addressText(first)}-${addressText(last)}`
  );
  const more = set.length > 3 ? [`${set.length - 3} more ranges`] : [];
  return [...texts, ...more].join(", ") || "none";
}
