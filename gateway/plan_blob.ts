/**
 * The plan's bytes. The layout is `native/include/sluice/plan.h`, its offsets are generated into `ffi/abi.ts`.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import { GatewayError } from "./errors.ts";
import type { Plan, PlanEntry, PlanUpstream, Segment } from "./plan.ts";

const METHODS: Record<string, number> = {
  ALL: abi.SL_PLAN_METHOD_ALL,
  GET: abi.SL_METHOD_GET,
  HEAD: abi.SL_METHOD_HEAD,
  POST: abi.SL_METHOD_POST,
  PUT: abi.SL_METHOD_PUT,
  DELETE: abi.SL_METHOD_DELETE,
  OPTIONS: abi.SL_METHOD_OPTIONS,
  PATCH: abi.SL_METHOD_PATCH,
  CONNECT: abi.SL_METHOD_CONNECT,
  TRACE: abi.SL_METHOD_TRACE,
  QUERY: abi.SL_METHOD_QUERY,
};

const OPS: Record<PlanEntry["op"], number> = {
  typescript: abi.SL_PLAN_OP_TYPESCRIPT,
  respond: abi.SL_PLAN_OP_RESPOND,
  proxy: abi.SL_PLAN_OP_PROXY,
  whoami: abi.SL_PLAN_OP_WHOAMI,
};

const SEGMENT_KINDS: Record<Segment["kind"], number> = {
  static: abi.SL_PLAN_SEG_STATIC,
  param: abi.SL_PLAN_SEG_PARAM,
  rest: abi.SL_PLAN_SEG_REST,
};

// Bytes that rows point to, one after the other; the same text is stored once.
class Heap {
  bytes = 0;
  readonly parts: Uint8Array[] = [];
  #known = new Map<string, number>();

  constructor(readonly base: number) {}

  add(part: Uint8Array): number {
    const at = this.base + this.bytes;
    this.parts.push(part);
    this.bytes += part.length;
    return at;
  }

  text(text: string): { off: number; len: number } {
    const bytes = new TextEncoder().encode(text);
    let off = this.#known.get(text);
    if (off === undefined) this.#known.set(text, off = this.add(bytes));
    return { off, len: bytes.length };
  }
}

/** Writes a plan as the blob that `sl_plan_load` takes. */
export function encodePlan(plan: Plan): Uint8Array {
  if (plan.entries.length > abi.SL_PLAN_ENTRIES_MAX) {
    throw tooLarge(
      `${plan.entries.length} routes; at most ${abi.SL_PLAN_ENTRIES_MAX} can be compiled`,
    );
  }
  const segments = plan.entries.flatMap((entry) => entry.segments);
  const entriesOff = abi.SL_PLAN_HEADER_BYTES;
  const segsOff = entriesOff + plan.entries.length * abi.SL_PLAN_ENTRY_BYTES;
  const respondsOff = segsOff + segments.length * abi.SL_PLAN_SEG_BYTES;
  const upstreamsOff = respondsOff +
    plan.responds.length * abi.SL_PLAN_RESPOND_BYTES;
  const heapOff = upstreamsOff +
    plan.upstreams.length * abi.SL_PLAN_UPSTREAM_BYTES;
  const view = new DataView(new ArrayBuffer(heapOff));
  const heap = new Heap(heapOff);

  writeEntries(view, entriesOff, plan.entries, heap);
  segments.forEach((segment, i) =>
    writeSegment(view, segsOff + i * abi.SL_PLAN_SEG_BYTES, segment, heap)
  );
  plan.responds.forEach((respond, i) => {
    writeRespond(
      view,
      respondsOff + i * abi.SL_PLAN_RESPOND_BYTES,
      respond,
      heap,
    );
  });
  plan.upstreams.forEach((upstream, i) => {
    writeUpstream(
      view,
      upstreamsOff + i * abi.SL_PLAN_UPSTREAM_BYTES,
      upstream,
      heap,
    );
  });
  const via = heap.text(plan.via);
  const bytes = heapOff + heap.bytes + (-heap.bytes & 7);
  if (bytes > abi.SL_PLAN_BYTES_MAX) {
    throw tooLarge(
      `${bytes} bytes; at most ${abi.SL_PLAN_BYTES_MAX} can be loaded`,
    );
  }

  const header: [number, number][] = [
    [abi.SL_PLAN_HEADER_MAGIC_OFF, abi.SL_PLAN_MAGIC],
    [abi.SL_PLAN_HEADER_VERSION_OFF, abi.SL_PLAN_VERSION],
    [abi.SL_PLAN_HEADER_BYTES_OFF, bytes],
    [abi.SL_PLAN_HEADER_FLAGS_OFF, flags(plan)],
    [abi.SL_PLAN_HEADER_ENTRIES_OFF_OFF, entriesOff],
    [abi.SL_PLAN_HEADER_ENTRY_COUNT_OFF, plan.entries.length],
    [abi.SL_PLAN_HEADER_SEGS_OFF_OFF, segsOff],
    [abi.SL_PLAN_HEADER_SEG_COUNT_OFF, segments.length],
    [abi.SL_PLAN_HEADER_RESPONDS_OFF_OFF, respondsOff],
    [abi.SL_PLAN_HEADER_RESPOND_COUNT_OFF, plan.responds.length],
    [abi.SL_PLAN_HEADER_UPSTREAMS_OFF_OFF, upstreamsOff],
    [abi.SL_PLAN_HEADER_UPSTREAM_COUNT_OFF, plan.upstreams.length],
    [abi.SL_PLAN_HEADER_VIA_OFF_OFF, via.off],
    [abi.SL_PLAN_HEADER_VIA_LEN_OFF, via.len],
  ];
  for (const [off, value] of header) view.setUint32(off, value, true);
  return join(new Uint8Array(view.buffer), heap, bytes);
}

function tooLarge(what: string): GatewayError {
  return new GatewayError(`the plan is too large: ${what}`, {
    kind: "plan_invalid",
  });
}

function flags(plan: Plan): number {
  return (plan.notFound === "native" ? abi.SL_PLAN_F_NOT_FOUND_NATIVE : 0) |
    (plan.paths === "hono" ? abi.SL_PLAN_F_DOTS_PASS : 0) |
    (plan.allTypeScript === undefined ? 0 : abi.SL_PLAN_F_ALL_TYPESCRIPT);
}

function writeEntries(
  view: DataView,
  off: number,
  entries: readonly PlanEntry[],
  heap: Heap,
): void {
  let segment = 0;
  entries.forEach((entry, i) => {
    const at = off + i * abi.SL_PLAN_ENTRY_BYTES;
    const method = METHODS[entry.method] ?? abi.SL_METHOD_OTHER;
    view.setUint8(at + abi.SL_PLAN_ENTRY_METHOD_OFF, method);
    view.setUint8(at + abi.SL_PLAN_ENTRY_OP_OFF, OPS[entry.op]);
    view.setUint8(at + abi.SL_PLAN_ENTRY_SEG_COUNT_OFF, entry.segments.length);
    view.setUint32(at + abi.SL_PLAN_ENTRY_SEG_FIRST_OFF, segment, true);
    view.setUint32(at + abi.SL_PLAN_ENTRY_ARG_OFF, entry.arg, true);
    view.setUint32(at + abi.SL_PLAN_ENTRY_ROUTE_OFF, entry.route, true);
    if (method === abi.SL_METHOD_OTHER) {
      const name = heap.text(entry.method);
      view.setUint32(at + abi.SL_PLAN_ENTRY_METHOD_OFF_OFF, name.off, true);
      view.setUint32(at + abi.SL_PLAN_ENTRY_METHOD_LEN_OFF, name.len, true);
    }
    segment += entry.segments.length;
  });
}

function writeSegment(
  view: DataView,
  at: number,
  segment: Segment,
  heap: Heap,
): void {
  view.setUint8(at + abi.SL_PLAN_SEG_KIND_OFF, SEGMENT_KINDS[segment.kind]);
  if (segment.kind !== "static") return;
  const text = heap.text(segment.text);
  view.setUint16(at + abi.SL_PLAN_SEG_LEN_OFF, text.len, true);
  view.setUint32(at + abi.SL_PLAN_SEG_OFF_OFF, text.off, true);
}

function writeRespond(
  view: DataView,
  at: number,
  respond: Plan["responds"][number],
  heap: Heap,
): void {
  const lines = respond.headers.map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  const fields = Uint8Array.from(lines, (char) => char.charCodeAt(0)); // values are latin1
  if (fields.length > abi.SL_PLAN_FIELDS_MAX) {
    throw tooLarge(
      `respond() has ${fields.length} bytes of headers; at most ${abi.SL_PLAN_FIELDS_MAX} fit`,
    );
  }
  view.setUint16(at + abi.SL_PLAN_RESPOND_STATUS_OFF, respond.status, true);
  view.setUint32(
    at + abi.SL_PLAN_RESPOND_FIELDS_OFF_OFF,
    heap.add(fields),
    true,
  );
  view.setUint32(at + abi.SL_PLAN_RESPOND_FIELDS_LEN_OFF, fields.length, true);
  view.setUint32(
    at + abi.SL_PLAN_RESPOND_BODY_OFF_OFF,
    heap.add(respond.body),
    true,
  );
  view.setUint32(
    at + abi.SL_PLAN_RESPOND_BODY_LEN_OFF,
    respond.body.length,
    true,
  );
}

function writeUpstream(
  view: DataView,
  at: number,
  upstream: PlanUpstream,
  heap: Heap,
): void {
  const name = heap.text(upstream.name);
  view.setUint8(
    at + abi.SL_PLAN_UPSTREAM_FAMILY_OFF,
    { 0: 0, 4: 4, 16: 6 }[upstream.address.length] ?? 0,
  );
  view.setUint16(at + abi.SL_PLAN_UPSTREAM_PORT_OFF, upstream.port, true);
  upstream.address.forEach((byte, i) =>
    view.setUint8(at + abi.SL_PLAN_UPSTREAM_ADDR_OFF + i, byte)
  );
  const words: [number, number][] = [
    [abi.SL_PLAN_UPSTREAM_NAME_OFF_OFF, name.off],
    [abi.SL_PLAN_UPSTREAM_NAME_LEN_OFF, name.len],
    [abi.SL_PLAN_UPSTREAM_CONNS_MAX_OFF, upstream.connsMax],
    [abi.SL_PLAN_UPSTREAM_IDLE_MAX_OFF, upstream.idleMax],
    [abi.SL_PLAN_UPSTREAM_CONNECT_TIMEOUT_MS_OFF, upstream.connectTimeoutMs],
    [abi.SL_PLAN_UPSTREAM_HEAD_TIMEOUT_MS_OFF, upstream.headTimeoutMs],
    [abi.SL_PLAN_UPSTREAM_IDLE_TIMEOUT_MS_OFF, upstream.idleTimeoutMs],
  ];
  for (const [off, value] of words) view.setUint32(at + off, value, true);
}

function join(tables: Uint8Array, heap: Heap, bytes: number): Uint8Array {
  const blob = new Uint8Array(bytes);
  blob.set(tables);
  let at = tables.length;
  for (const part of heap.parts) {
    blob.set(part, at);
    at += part.length;
  }
  return blob;
}
