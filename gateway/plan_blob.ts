/**
 * The plan's bytes. The layout is `native/include/sluice/plan.h`, its offsets are generated into `ffi/abi.ts`.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import { BlobHeap } from "./blob_heap.ts";
import { GatewayError } from "./errors.ts";
import { editBytes, editText, type HeaderEdit } from "./header_edits.ts";
import type { CharacterClass, Segment } from "./pattern.ts";
import { fingerprint } from "./fingerprint.ts";
import {
  allowedMethods,
  type Plan,
  type PlanEntry,
  type PlanPolicy,
  type PlanStep,
  type PlanUpstream,
} from "./plan.ts";
import {
  type AllowedMethods,
  POLICY_OPS,
  policyCost,
  policyRecord,
} from "./policies.ts";

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

const OPS: Record<PlanStep["op"], number> = {
  typescript: abi.SL_PLAN_OP_TYPESCRIPT,
  respond: abi.SL_PLAN_OP_RESPOND,
  proxy: abi.SL_PLAN_OP_PROXY,
  whoami: abi.SL_PLAN_OP_WHOAMI,
  headers: abi.SL_PLAN_OP_HEADERS,
  ...POLICY_OPS,
};

const EDIT_KINDS: Record<HeaderEdit["kind"], number> = {
  remove: abi.SL_PLAN_EDIT_REMOVE,
  set: abi.SL_PLAN_EDIT_SET,
  append: abi.SL_PLAN_EDIT_APPEND,
};

const SEGMENT_KINDS: Record<Segment["kind"], number> = {
  static: abi.SL_PLAN_SEG_STATIC,
  param: abi.SL_PLAN_SEG_PARAM,
  class: abi.SL_PLAN_SEG_CLASS,
  tail: abi.SL_PLAN_SEG_TAIL,
  rest: abi.SL_PLAN_SEG_REST,
};

/** Writes a plan as the blob that `sl_plan_load` takes. `isolates`: a bit for each that runs its app; 0: all do. */
export function encodePlan(plan: Plan, isolates = 0): Uint8Array {
  if (plan.entries.length > abi.SL_PLAN_ENTRIES_MAX) {
    throw tooLarge(
      `${plan.entries.length} routes; at most ${abi.SL_PLAN_ENTRIES_MAX} can be compiled`,
    );
  }
  const segments = plan.entries.flatMap((entry) => entry.segments);
  const steps = plan.entries.flatMap((entry) => entry.steps);
  const edits = plan.headers.flatMap((step) => [
    ...step.request,
    ...step.response,
  ]);
  if (steps.length > abi.SL_PLAN_STEPS_MAX) {
    throw tooLarge(
      `${steps.length} steps; at most ${abi.SL_PLAN_STEPS_MAX} can be compiled`,
    );
  }
  const tables = new Tables();
  const at = {
    entries: tables.add(plan.entries.length, abi.SL_PLAN_ENTRY_BYTES),
    segs: tables.add(segments.length, abi.SL_PLAN_SEG_BYTES),
    steps: tables.add(steps.length, abi.SL_PLAN_STEP_BYTES),
    responds: tables.add(plan.responds.length, abi.SL_PLAN_RESPOND_BYTES),
    upstreams: tables.add(plan.upstreams.length, abi.SL_PLAN_UPSTREAM_BYTES),
    headers: tables.add(plan.headers.length, abi.SL_PLAN_HEADERS_BYTES),
    edits: tables.add(edits.length, abi.SL_PLAN_EDIT_BYTES),
    policies: tables.add(plan.policies.length, abi.SL_PLAN_POLICY_BYTES),
  };
  const view = new DataView(new ArrayBuffer(tables.end));
  const heap = new BlobHeap(tables.end);

  writeEntries(view, at.entries, plan.entries, heap);
  segments.forEach((segment, i) =>
    writeSegment(view, at.segs + i * abi.SL_PLAN_SEG_BYTES, segment, heap)
  );
  steps.forEach((step, i) =>
    writeStep(view, at.steps + i * abi.SL_PLAN_STEP_BYTES, step)
  );
  plan.responds.forEach((respond, i) =>
    writeRespond(
      view,
      at.responds + i * abi.SL_PLAN_RESPOND_BYTES,
      respond,
      heap,
    )
  );
  plan.upstreams.forEach((upstream, i) =>
    writeUpstream(
      view,
      at.upstreams + i * abi.SL_PLAN_UPSTREAM_BYTES,
      upstream,
      heap,
    )
  );
  writeHeaders(view, at.headers, plan.headers);
  edits.forEach((edit, i) =>
    writeEdit(view, at.edits + i * abi.SL_PLAN_EDIT_BYTES, edit, heap)
  );
  writePolicies(
    view,
    at.policies,
    plan.policies,
    allowedMethods(plan.entries),
    heap,
  );
  const via = heap.text(plan.via);
  const bytes = tables.end + heap.bytes + (-heap.bytes & 7);
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
    [abi.SL_PLAN_HEADER_ENTRIES_OFF_OFF, at.entries],
    [abi.SL_PLAN_HEADER_ENTRY_COUNT_OFF, plan.entries.length],
    [abi.SL_PLAN_HEADER_SEGS_OFF_OFF, at.segs],
    [abi.SL_PLAN_HEADER_SEG_COUNT_OFF, segments.length],
    [abi.SL_PLAN_HEADER_STEPS_OFF_OFF, at.steps],
    [abi.SL_PLAN_HEADER_STEP_COUNT_OFF, steps.length],
    [abi.SL_PLAN_HEADER_RESPONDS_OFF_OFF, at.responds],
    [abi.SL_PLAN_HEADER_RESPOND_COUNT_OFF, plan.responds.length],
    [abi.SL_PLAN_HEADER_UPSTREAMS_OFF_OFF, at.upstreams],
    [abi.SL_PLAN_HEADER_UPSTREAM_COUNT_OFF, plan.upstreams.length],
    [abi.SL_PLAN_HEADER_HEADERS_OFF_OFF, at.headers],
    [abi.SL_PLAN_HEADER_HEADER_COUNT_OFF, plan.headers.length],
    [abi.SL_PLAN_HEADER_EDITS_OFF_OFF, at.edits],
    [abi.SL_PLAN_HEADER_EDIT_COUNT_OFF, edits.length],
    [abi.SL_PLAN_HEADER_VIA_OFF_OFF, via.off],
    [abi.SL_PLAN_HEADER_VIA_LEN_OFF, via.len],
    [abi.SL_PLAN_HEADER_ID_OFF, plan.id],
    [abi.SL_PLAN_HEADER_POLICIES_OFF_OFF, at.policies],
    [abi.SL_PLAN_HEADER_POLICY_COUNT_OFF, plan.policies.length],
    [abi.SL_PLAN_HEADER_ISOLATES_OFF, isolates],
  ];
  for (const [off, value] of header) view.setUint32(off, value, true);
  return join(new Uint8Array(view.buffer), heap, bytes);
}

// Where the tables lie: one behind the other, aligned to 8.
class Tables {
  end = abi.SL_PLAN_HEADER_BYTES;

  add(rows: number, bytes: number): number {
    const at = this.end;
    this.end += (rows * bytes + 7) & ~7;
    return at;
  }
}

function tooLarge(what: string): GatewayError {
  return new GatewayError(`the plan is too large: ${what}`, {
    kind: "plan_invalid",
  });
}

function flags(plan: Plan): number {
  return (plan.notFound === "native" ? abi.SL_PLAN_F_NOT_FOUND_NATIVE : 0) |
    (plan.paths === "hono" ? abi.SL_PLAN_F_DOTS_PASS : 0) |
    (plan.underscoreHeaders === "keep" ? abi.SL_PLAN_F_UNDERSCORES_PASS : 0) |
    (plan.dropsSlash ? abi.SL_PLAN_F_DROPS_SLASH : 0) |
    (plan.allTypeScript === undefined ? 0 : abi.SL_PLAN_F_ALL_TYPESCRIPT);
}

function writeEntries(
  view: DataView,
  off: number,
  entries: readonly PlanEntry[],
  heap: BlobHeap,
): void {
  let segment = 0;
  let step = 0;
  entries.forEach((entry, i) => {
    const at = off + i * abi.SL_PLAN_ENTRY_BYTES;
    const method = METHODS[entry.method] ?? abi.SL_METHOD_OTHER;
    view.setUint8(at + abi.SL_PLAN_ENTRY_METHOD_OFF, method);
    view.setUint8(at + abi.SL_PLAN_ENTRY_SEG_COUNT_OFF, entry.segments.length);
    view.setUint32(at + abi.SL_PLAN_ENTRY_SEG_FIRST_OFF, segment, true);
    view.setUint8(at + abi.SL_PLAN_ENTRY_STEP_COUNT_OFF, entry.steps.length);
    view.setUint32(at + abi.SL_PLAN_ENTRY_STEP_FIRST_OFF, step, true);
    if (method === abi.SL_METHOD_OTHER) {
      const name = heap.text(entry.method);
      view.setUint32(at + abi.SL_PLAN_ENTRY_METHOD_OFF_OFF, name.off, true);
      view.setUint32(at + abi.SL_PLAN_ENTRY_METHOD_LEN_OFF, name.len, true);
    }
    segment += entry.segments.length;
    step += entry.steps.length;
  });
}

function writeStep(view: DataView, at: number, step: PlanStep): void {
  view.setUint8(at + abi.SL_PLAN_STEP_OP_OFF, OPS[step.op]);
  view.setUint32(at + abi.SL_PLAN_STEP_ARG_OFF, step.arg, true);
  view.setUint32(at + abi.SL_PLAN_STEP_ROUTE_OFF, step.route, true);
}

// The edits lie in the order of these rows: a step's request edits, then its response edits.
function writeHeaders(
  view: DataView,
  off: number,
  rows: readonly Plan["headers"][number][],
): void {
  let edit = 0;
  rows.forEach(({ request, response }, i) => {
    const at = off + i * abi.SL_PLAN_HEADERS_BYTES;
    const words: [number, number][] = [
      [abi.SL_PLAN_HEADERS_REQUEST_FIRST_OFF, edit],
      [abi.SL_PLAN_HEADERS_REQUEST_COUNT_OFF, request.length],
      [abi.SL_PLAN_HEADERS_RESPONSE_FIRST_OFF, edit + request.length],
      [abi.SL_PLAN_HEADERS_RESPONSE_COUNT_OFF, response.length],
      [abi.SL_PLAN_HEADERS_REQUEST_BYTES_OFF, editBytes(request)],
      [abi.SL_PLAN_HEADERS_RESPONSE_BYTES_OFF, editBytes(response)],
    ];
    for (const [word, value] of words) view.setUint32(at + word, value, true);
    edit += request.length + response.length;
  });
}

function writeEdit(
  view: DataView,
  at: number,
  edit: HeaderEdit,
  heap: BlobHeap,
): void {
  const text = latin1(editText(edit));
  view.setUint8(at + abi.SL_PLAN_EDIT_KIND_OFF, EDIT_KINDS[edit.kind]);
  view.setUint16(at + abi.SL_PLAN_EDIT_NAME_LEN_OFF, edit.name.length, true);
  view.setUint32(at + abi.SL_PLAN_EDIT_OFF_OFF, heap.add(text), true);
  view.setUint32(at + abi.SL_PLAN_EDIT_LEN_OFF, text.length, true);
}

// Field lines are latin1: one byte for each character.
function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function writeSegment(
  view: DataView,
  at: number,
  segment: Segment,
  heap: BlobHeap,
): void {
  view.setUint8(at + abi.SL_PLAN_SEG_KIND_OFF, SEGMENT_KINDS[segment.kind]);
  if (segment.kind !== "static" && segment.kind !== "class") return;
  const text = segment.kind === "static"
    ? heap.text(segment.text)
    : { off: heap.add(classBytes(segment)), len: abi.SL_PLAN_CLASS_BYTES };
  view.setUint16(at + abi.SL_PLAN_SEG_LEN_OFF, text.len, true);
  view.setUint32(at + abi.SL_PLAN_SEG_OFF_OFF, text.off, true);
}

function classBytes({ set, min, max }: CharacterClass): Uint8Array {
  const view = new DataView(new ArrayBuffer(abi.SL_PLAN_CLASS_BYTES));
  set.forEach((byte, i) => view.setUint8(abi.SL_PLAN_CLASS_SET_OFF + i, byte));
  view.setUint32(abi.SL_PLAN_CLASS_MIN_OFF, min, true);
  view.setUint32(abi.SL_PLAN_CLASS_MAX_OFF, max, true);
  return new Uint8Array(view.buffer);
}

function writeRespond(
  view: DataView,
  at: number,
  respond: Plan["responds"][number],
  heap: BlobHeap,
): void {
  const lines = respond.headers.map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  const fields = latin1(lines);
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

function writePolicies(
  view: DataView,
  off: number,
  policies: readonly PlanPolicy[],
  allowed: readonly AllowedMethods[],
  heap: BlobHeap,
): void {
  policies.forEach((policy, i) => {
    const { step, respond, upstream, route } = policy;
    const at = off + i * abi.SL_PLAN_POLICY_BYTES;
    const cost = policyCost(step);
    const record = policyRecord(
      step,
      heap,
      policy.headers,
      policy.others,
      allowed,
    );
    view.setUint8(at + abi.SL_PLAN_POLICY_OP_OFF, OPS[step.op]);
    const halves: [number, number][] = [
      [abi.SL_PLAN_POLICY_REQUEST_BYTES_OFF, cost.request],
      [abi.SL_PLAN_POLICY_RESPONSE_BYTES_OFF, cost.response],
      [abi.SL_PLAN_POLICY_SCRATCH_BYTES_OFF, cost.scratch],
    ];
    for (const [half, value] of halves) view.setUint16(at + half, value, true);
    const words: [number, number][] = [
      [abi.SL_PLAN_POLICY_RECORD_OFF_OFF, heap.addAligned(record)],
      [abi.SL_PLAN_POLICY_RECORD_LEN_OFF, record.length],
      [abi.SL_PLAN_POLICY_RESPOND_OFF, respond],
      [abi.SL_PLAN_POLICY_UPSTREAM_OFF, upstream],
      [abi.SL_PLAN_POLICY_IDENTITY_OFF, identityOf(step, route)],
    ];
    for (const [word, value] of words) view.setUint32(at + word, value, true);
  });
}

// The same options, for the same route where that counts, are the same number in the next plan.
function identityOf(step: PlanPolicy["step"], route?: string): number {
  return fingerprint(
    JSON.stringify(
      [step, route],
      (key, value) =>
        key === "app"
          ? undefined
          : typeof value === "bigint"
          ? String(value)
          : value,
    ),
  );
}

function writeUpstream(
  view: DataView,
  at: number,
  upstream: PlanUpstream,
  heap: BlobHeap,
): void {
  const name = heap.text(upstream.name);
  view.setUint8(
    at + abi.SL_PLAN_UPSTREAM_FAMILY_OFF,
    { 0: 0, 4: 4, 16: 6 }[upstream.address.length] ?? 0,
  );
  view.setUint8(
    at + abi.SL_PLAN_UPSTREAM_EARLY_DATA_OFF,
    upstream.earlyData ? 1 : 0,
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
    [abi.SL_PLAN_UPSTREAM_ID_OFF, upstream.id],
    [
      abi.SL_PLAN_UPSTREAM_TUNNEL_IDLE_TIMEOUT_MS_OFF,
      upstream.tunnelIdleTimeoutMs,
    ],
  ];
  for (const [off, value] of words) view.setUint32(at + off, value, true);
}

function join(tables: Uint8Array, heap: BlobHeap, bytes: number): Uint8Array {
  const blob = new Uint8Array(bytes);
  blob.set(tables);
  let at = tables.length;
  for (const part of heap.parts) {
    blob.set(part, at);
    at += part.length;
  }
  return blob;
}
