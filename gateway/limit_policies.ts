/**
 * The entries of `policies.ts` for limits, authentication and canary.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import type { BlobHeap } from "./blob_heap.ts";
import { bytesOf, recordOf, setWords } from "./blob_record.ts";
import { clientText, setClient } from "./client_record.ts";
import type { NativeKey } from "./limit_key.ts";
import type { Policies } from "./policies.ts";

const NOTHING = { request: 0, response: 0, scratch: 0 };

const KEY_KINDS: Record<NativeKey["kind"], number> = {
  route: abi.SL_PLAN_KEY_ROUTE,
  clientIp: abi.SL_PLAN_KEY_CLIENT_IP,
  header: abi.SL_PLAN_KEY_HEADER,
};

// Lines of C, as long as they can be.
const RATE_LINES = 'ratelimit: "";r=4294967295;t=86400\r\n'.length +
  "retry-after: 86400\r\n".length;
const RATE_EDITS = 3;

export const LIMIT_POLICIES: Policies<
  | "rateLimit"
  | "concurrencyLimit"
  | "timeout"
  | "basicAuth"
  | "bearerAuth"
  | "canary"
> = {
  rateLimit: {
    op: abi.SL_PLAN_OP_RATE_LIMIT,
    cost({ dryRun, name, policy }) {
      if (dryRun) return NOTHING;
      const response = RATE_LINES + name.length +
        policyLine(policy).length;
      const edits = RATE_EDITS * abi.SL_PLAN_EDIT_BYTES;
      return { request: 0, response, scratch: response + edits + 3 };
    },
    record({ key, intervalUs, burst, keysMax, dryRun, name, policy }, heap) {
      const view = recordOf(abi.SL_PLAN_RATE_LIMIT_BYTES);
      const line = heap.text(policyLine(policy));
      const title = heap.text(name);
      setKey(view, abi.SL_PLAN_RATE_LIMIT_KEY_OFF, key, heap);
      view.setBigUint64(
        abi.SL_PLAN_RATE_LIMIT_INTERVAL_US_OFF,
        BigInt(intervalUs),
        true,
      );
      setWords(view, [
        [abi.SL_PLAN_RATE_LIMIT_BURST_OFF, burst],
        [
          abi.SL_PLAN_RATE_LIMIT_KEYS_MAX_OFF,
          key.kind === "route" ? 1 : keysMax,
        ],
        [
          abi.SL_PLAN_RATE_LIMIT_FLAGS_OFF,
          dryRun ? abi.SL_PLAN_RATE_DRY_RUN : 0,
        ],
        [abi.SL_PLAN_RATE_LIMIT_POLICY_OFF_OFF, line.off],
        [abi.SL_PLAN_RATE_LIMIT_POLICY_LEN_OFF, line.len],
        [abi.SL_PLAN_RATE_LIMIT_NAME_OFF_OFF, title.off],
        [abi.SL_PLAN_RATE_LIMIT_NAME_LEN_OFF, title.len],
      ]);
      return bytesOf(view);
    },
    describe: ({ key, intervalUs, burst, dryRun }) =>
      `${round(1e6 / intervalUs)}/s by ${keyText(key)}, ${burst} at once${
        dryRun ? ", dry run" : ""
      }`,
  },

  concurrencyLimit: {
    op: abi.SL_PLAN_OP_CONCURRENCY_LIMIT,
    cost: () => NOTHING,
    record({ key, max, keysMax }, heap) {
      const view = recordOf(abi.SL_PLAN_CONCURRENCY_LIMIT_BYTES);
      setKey(view, abi.SL_PLAN_CONCURRENCY_LIMIT_KEY_OFF, key, heap);
      setWords(view, [
        [abi.SL_PLAN_CONCURRENCY_LIMIT_MAX_OFF, max],
        [
          abi.SL_PLAN_CONCURRENCY_LIMIT_KEYS_MAX_OFF,
          key.kind === "route" ? 1 : keysMax,
        ],
      ]);
      return bytesOf(view);
    },
    describe: ({ key, max }) => `${max} in flight by ${keyText(key)}`,
  },

  timeout: {
    op: abi.SL_PLAN_OP_TIMEOUT,
    cost: () => NOTHING,
    record({ ms }) {
      const view = recordOf(abi.SL_PLAN_TIMEOUT_BYTES);
      setWords(view, [[abi.SL_PLAN_TIMEOUT_MS_OFF, ms]]);
      return bytesOf(view);
    },
    describe: ({ ms }) => `${ms} ms`,
  },

  basicAuth: {
    op: abi.SL_PLAN_OP_BASIC_AUTH,
    cost: () => NOTHING,
    record({ users }, heap) {
      const view = recordOf(abi.SL_PLAN_BASIC_AUTH_BYTES);
      const rows = recordOf(users.length * abi.SL_PLAN_USER_BYTES);
      users.forEach(({ username, password }, i) => {
        const at = i * abi.SL_PLAN_USER_BYTES;
        setText(rows, at + abi.SL_PLAN_USER_NAME_OFF, username, heap);
        setText(rows, at + abi.SL_PLAN_USER_PASSWORD_OFF, password, heap);
      });
      setWords(view, [
        [abi.SL_PLAN_BASIC_AUTH_USERS_OFF_OFF, heap.addAligned(bytesOf(rows))],
        [abi.SL_PLAN_BASIC_AUTH_USER_COUNT_OFF, users.length],
      ]);
      return bytesOf(view);
    },
    describe: ({ users }) => `users: ${users.length}`,
  },

  bearerAuth: {
    op: abi.SL_PLAN_OP_BEARER_AUTH,
    cost: () => NOTHING,
    record({ name, prefix, tokens }, heap, _headers, [missing, malformed]) {
      const view = recordOf(abi.SL_PLAN_BEARER_AUTH_BYTES);
      const rows = recordOf(tokens.length * abi.SL_PLAN_TEXT_BYTES);
      tokens.forEach((token, i) =>
        setText(rows, i * abi.SL_PLAN_TEXT_BYTES, token, heap)
      );
      setText(view, abi.SL_PLAN_BEARER_AUTH_NAME_OFF, name, heap);
      setText(view, abi.SL_PLAN_BEARER_AUTH_PREFIX_OFF, prefix, heap);
      setWords(view, [
        [
          abi.SL_PLAN_BEARER_AUTH_TOKENS_OFF_OFF,
          heap.addAligned(bytesOf(rows)),
        ],
        [abi.SL_PLAN_BEARER_AUTH_TOKEN_COUNT_OFF, tokens.length],
        [abi.SL_PLAN_BEARER_AUTH_MISSING_OFF, missing],
        [abi.SL_PLAN_BEARER_AUTH_MALFORMED_OFF, malformed],
      ]);
      return bytesOf(view);
    },
    describe: ({ name, tokens }) => `${name}, tokens: ${tokens.length}`,
  },

  canary: {
    op: abi.SL_PLAN_OP_CANARY,
    cost: () => NOTHING,
    record({ shares, header, cookie, sticky, client }, heap) {
      const view = recordOf(abi.SL_PLAN_CANARY_BYTES);
      const texts: [number, string | undefined][] = [
        [abi.SL_PLAN_CANARY_HEADER_OFF, header?.name],
        [abi.SL_PLAN_CANARY_HEADER_VALUE_OFF, header?.value],
        [abi.SL_PLAN_CANARY_COOKIE_OFF, cookie?.name],
        [abi.SL_PLAN_CANARY_COOKIE_VALUE_OFF, cookie?.value],
        [abi.SL_PLAN_CANARY_STICKY_OFF, sticky],
      ];
      for (const [at, text = ""] of texts) setText(view, at, text, heap);
      setClient(view, abi.SL_PLAN_CANARY_CLIENT_OFF, client, heap);
      const flags =
        (header?.value === undefined ? 0 : abi.SL_PLAN_CANARY_HEADER_VALUE) |
        (cookie?.value === undefined ? 0 : abi.SL_PLAN_CANARY_COOKIE_VALUE);
      setWords(view, [
        [abi.SL_PLAN_CANARY_SHARES_OFF, shares],
        [abi.SL_PLAN_CANARY_FLAGS_OFF, flags],
      ]);
      return bytesOf(view);
    },
    describe({ to, shares, header, cookie, sticky, client }) {
      const who = [
        header && `field ${header.name}${isText(header.value)}`,
        cookie && `cookie ${cookie.name}${isText(cookie.value)}`,
        shares > 0 &&
        `${shares / 100} % of clients by ${
          sticky ? `cookie ${sticky}` : "address"
        }`,
      ].filter(Boolean).join(", ");
      const place = typeof to!.target === "string"
        ? to!.target
        : to!.target.upstream;
      return `to ${place}: ${who || "nobody"}${clientText(client)}`;
    },
  },
};

function policyLine(policy: string): string {
  return `${abi.SL_PLAN_RATE_POLICY_NAME}: ${policy}\r\n`;
}

function setText(
  view: DataView,
  at: number,
  text: string,
  heap: BlobHeap,
): void {
  const { off, len } = heap.text(text);
  setWords(view, [
    [at + abi.SL_PLAN_TEXT_OFF_OFF, off],
    [at + abi.SL_PLAN_TEXT_LEN_OFF, len],
  ]);
}

function setKey(
  view: DataView,
  at: number,
  key: NativeKey,
  heap: BlobHeap,
): void {
  const name = heap.text(key.name);
  view.setUint8(at + abi.SL_PLAN_KEY_KIND_OFF, KEY_KINDS[key.kind]);
  view.setUint16(at + abi.SL_PLAN_KEY_NAME_LEN_OFF, name.len, true);
  setWords(view, [
    [at + abi.SL_PLAN_KEY_NAME_OFF_OFF, name.off],
  ]);
  setClient(view, at + abi.SL_PLAN_KEY_CLIENT_OFF, key.client, heap);
}

function keyText({ kind, name, client }: NativeKey): string {
  if (kind === "header") return `field ${name}`;
  return kind === "route" ? "route" : `client address${clientText(client)}`;
}

function isText(value: string | undefined): string {
  return value === undefined ? "" : ` = ${JSON.stringify(value)}`;
}

function round(rate: number): number {
  return Number(rate.toPrecision(6));
}
