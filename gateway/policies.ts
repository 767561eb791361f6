/**
 * What a plan needs to know of each policy: the row that C gets (`native/include/sluice/policy.h`) and the words that explain it. One entry for each op.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import { rangeBytes } from "./address.ts";
import type { BlobHeap } from "./blob_heap.ts";
import { bytesOf, recordOf, setWords } from "./blob_record.ts";
import type { NativeStep, PolicyStep } from "./define_middleware.ts";
import { editBytes } from "./header_edits.ts";
import { clientText, rangesText, setClient } from "./client_record.ts";
import { LIMIT_POLICIES } from "./limit_policies.ts";

/** The most that C needs for one request, in bytes. */
export interface PolicyCost {
  /** Lines that it adds to the request's head. */
  request: number;
  /** Lines that it adds to the answer's head. */
  response: number;
  /** What it keeps meanwhile. */
  scratch: number;
}

/** The methods that a path's pattern has routes for. */
export interface AllowedMethods {
  /** The pattern's first entry in the plan. */
  entry: number;
  /** As in Allow. */
  methods: string;
}

/** One op's entry. */
export interface Policy<Step> {
  /** `enum sl_plan_op`. */
  op: number;
  cost(step: Step): PolicyCost;
  /**
   * Its record; what that points to goes to the heap. `headers`: where its edits are, by index; `others`: the rows of its other answers.
   */
  record(
    step: Step,
    heap: BlobHeap,
    headers: readonly number[],
    others: readonly number[],
    allowed: readonly AllowedMethods[],
  ): Uint8Array;
  /** What it does, for `explain`. No secrets. */
  describe(step: Step): string;
}

/** All entries, or those of some ops. */
export type Policies<Ops extends PolicyStep["op"] = PolicyStep["op"]> = {
  [Op in Ops]: Policy<Extract<PolicyStep, { op: Op }>>;
};

const UUID_BYTES = 36;
const EDIT_AND_ALIGNMENT = abi.SL_PLAN_EDIT_BYTES + 3;

const POLICIES: Policies = {
  ...LIMIT_POLICIES,
  requestId: {
    op: abi.SL_PLAN_OP_REQUEST_ID,
    cost({ headerName, limitLength, trust }) {
      const id = trust === false ? 0 : limitLength;
      const line = headerName.length + 4 + Math.max(UUID_BYTES, id);
      const scratch = line + EDIT_AND_ALIGNMENT;
      return { request: line, response: line, scratch };
    },
    record({ headerName, limitLength, trust }, heap) {
      const view = recordOf(abi.SL_PLAN_REQUEST_ID_BYTES);
      const name = heap.text(headerName);
      const trusted = typeof trust === "boolean" ? [] : trust;
      view.setUint8(
        abi.SL_PLAN_REQUEST_ID_TRUST_OFF,
        trust === false
          ? abi.SL_PLAN_TRUST_NOBODY
          : trust === true
          ? abi.SL_PLAN_TRUST_ALL
          : abi.SL_PLAN_TRUST_SOME,
      );
      view.setUint8(abi.SL_PLAN_REQUEST_ID_ID_BYTES_MAX_OFF, limitLength);
      view.setUint16(abi.SL_PLAN_REQUEST_ID_NAME_LEN_OFF, name.len, true);
      setWords(view, [
        [abi.SL_PLAN_REQUEST_ID_NAME_OFF_OFF, name.off],
        [
          abi.SL_PLAN_REQUEST_ID_TRUSTED_OFF_OFF,
          heap.add(rangeBytes(trusted)),
        ],
        [abi.SL_PLAN_REQUEST_ID_TRUSTED_COUNT_OFF, trusted.length],
      ]);
      return bytesOf(view);
    },
    describe: ({ headerName, trust }) =>
      `${headerName}: ${
        trust === false
          ? "a new id"
          : trust === true
          ? "the client's id, or a new one"
          : "the id of a trusted peer, or a new one"
      }`,
  },
  bodyLimit: {
    op: abi.SL_PLAN_OP_BODY_LIMIT,
    cost: () => NOTHING,
    record({ maxSize }) {
      const view = recordOf(abi.SL_PLAN_BODY_LIMIT_BYTES);
      const at = abi.SL_PLAN_BODY_LIMIT_BYTES_MAX_OFF;
      view.setBigUint64(at, BigInt(maxSize), true);
      return bytesOf(view);
    },
    describe: ({ maxSize }) => `bodies of at most ${maxSize} bytes`,
  },
  cors: {
    op: abi.SL_PLAN_OP_CORS,
    cost: ({ headers }) => ({
      ...NOTHING,
      response: Math.max(...headers.map((each) => editBytes(each.response))),
    }),
    record(step, heap, headers) {
      const view = recordOf(abi.SL_PLAN_CORS_BYTES);
      const [otherwise, ...others] = headers;
      const rows = step.origins.map((origin, i) => {
        const text = heap.latin1(origin);
        return { origin, words: [text.off, text.len, others[i]] };
      }).sort((a, b) => a.origin < b.origin ? -1 : 1);
      const preflight = heap.latin1(
        step.preflight.map(([name, value]) => `${name}: ${value}\r\n`).join(""),
      );
      view.setUint8(abi.SL_PLAN_CORS_VARY_LAST_OFF, step.varies ? 1 : 0);
      view.setUint8(abi.SL_PLAN_CORS_REFLECTS_OFF, step.reflects ? 1 : 0);
      setWords(view, [
        [
          abi.SL_PLAN_CORS_ORIGINS_OFF_OFF,
          heap.addAligned(wordsOf(rows.flatMap(({ words }) => words))),
        ],
        [abi.SL_PLAN_CORS_ORIGINS_COUNT_OFF, rows.length],
        [abi.SL_PLAN_CORS_OTHERWISE_OFF, otherwise],
        [abi.SL_PLAN_CORS_PREFLIGHT_OFF_OFF, preflight.off],
        [abi.SL_PLAN_CORS_PREFLIGHT_LEN_OFF, preflight.len],
      ]);
      return bytesOf(view);
    },
    describe({ origins, varies }) {
      const [more, shown] = [origins.slice(3), origins.slice(0, 3)];
      const list = more.length > 0
        ? [...shown, `${more.length} more origins`]
        : shown;
      return varies
        ? `readable for ${list.join(", ") || "no other origin"}`
        : "readable for all origins";
    },
  },
  earlyData: {
    op: abi.SL_PLAN_OP_EARLY_DATA,
    cost: () => NOTHING,
    record({ refuse }) {
      const view = recordOf(abi.SL_PLAN_EARLY_DATA_BYTES);
      setWords(view, [[abi.SL_PLAN_EARLY_DATA_REFUSE_OFF, refuse ? 1 : 0]]);
      return bytesOf(view);
    },
    describe: ({ refuse }) =>
      refuse ? "else 425 in early data" : "else they wait for the handshake",
  },
  methodNotAllowed: {
    op: abi.SL_PLAN_OP_METHOD_NOT_ALLOWED,
    cost: () => NOTHING,
    record(_step, heap, _headers, _others, allowed) {
      const view = recordOf(abi.SL_PLAN_METHOD_NOT_ALLOWED_BYTES);
      const words = allowed.flatMap(({ entry, methods }) => {
        const { off, len } = heap.latin1(methods);
        return [entry, off, len];
      });
      setWords(view, [
        [
          abi.SL_PLAN_METHOD_NOT_ALLOWED_ROWS_OFF_OFF,
          heap.addAligned(wordsOf(words)),
        ],
        [abi.SL_PLAN_METHOD_NOT_ALLOWED_ROWS_COUNT_OFF, allowed.length],
      ]);
      return bytesOf(view);
    },
    describe: () => "405 where only the method is wrong",
  },
  ipRestriction: {
    op: abi.SL_PLAN_OP_IP_RESTRICTION,
    cost: () => NOTHING,
    record({ client, deny, allow }, heap) {
      const view = recordOf(abi.SL_PLAN_IP_RESTRICTION_BYTES);
      setClient(view, abi.SL_PLAN_IP_RESTRICTION_CLIENT_OFF, client, heap);
      setWords(view, [
        [abi.SL_PLAN_IP_RESTRICTION_DENY_OFF_OFF, heap.add(rangeBytes(deny))],
        [abi.SL_PLAN_IP_RESTRICTION_DENY_COUNT_OFF, deny.length],
        [abi.SL_PLAN_IP_RESTRICTION_ALLOW_OFF_OFF, heap.add(rangeBytes(allow))],
        [abi.SL_PLAN_IP_RESTRICTION_ALLOW_COUNT_OFF, allow.length],
      ]);
      return bytesOf(view);
    },
    describe: ({ client, deny, allow }) =>
      `${allow.length > 0 ? rangesText(allow) : "all"} but ${rangesText(deny)}${
        clientText(client)
      }`,
  },
};

const NOTHING: PolicyCost = { request: 0, response: 0, scratch: 0 };

function wordsOf(words: readonly number[]): Uint8Array {
  const view = recordOf(words.length * 4);
  words.forEach((word, i) => view.setUint32(i * 4, word, true));
  return bytesOf(view);
}

/** Whether a native step is a policy. */
export function isPolicy(step: NativeStep): step is PolicyStep {
  return isPolicyOp(step.op);
}

/** Whether this is the op of a policy. */
export function isPolicyOp(op: string): boolean {
  return Object.hasOwn(POLICIES, op);
}

/** The ops of policies, by name. */
export const POLICY_OPS = Object.fromEntries(
  Object.entries(POLICIES).map(([name, { op }]) => [name, op]),
) as Record<PolicyStep["op"], number>;

// The table's entry is that of the step's op.
function policyOf(step: PolicyStep): Policy<PolicyStep> {
  return POLICIES[step.op] as Policy<PolicyStep>;
}

/** What C needs for it. */
export function policyCost(step: PolicyStep): PolicyCost {
  return policyOf(step).cost(step);
}

/** Its record in the blob. */
export function policyRecord(
  step: PolicyStep,
  heap: BlobHeap,
  headers: readonly number[],
  others: readonly number[],
  allowed: readonly AllowedMethods[],
): Uint8Array {
  return policyOf(step).record(step, heap, headers, others, allowed);
}

/** What it does, in a few words. */
export function describePolicy(step: PolicyStep): string {
  return policyOf(step).describe(step);
}
