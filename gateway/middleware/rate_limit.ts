/**
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { responseOf, textAnswer } from "../answers.ts";
import { CLIENT_KEYS, type ClientOptions } from "../client_ip.ts";
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError, show } from "../errors.ts";
import { Gcra, gcra, type RateAnswer } from "../gcra.ts";
import { checkKeys } from "../header_edits.ts";
import { checkLimitKey, type LimitKey } from "../limit_key.ts";
import { PluginFault } from "../plugins/contain.ts";
import { PartSlot, type Store } from "../plugins/parts.ts";

/** What {@linkcode rateLimit} allows, and whom. */
export interface RateLimitOptions extends ClientOptions {
  /** Whom it counts for. A function of yours runs in TypeScript, and so does the step. */
  key: LimitKey;
  /** Requests per second in the long run, 1/86400 (one a day) to 100000; kept to a whole number of microseconds between two. */
  rate: number;
  /** Requests at once, an integer; what it takes to make up for them, `burst / rate`, is at most a day. @default rate, rounded up */
  burst?: number;
  /** Count what is over the limit (`rate_limited_dry_run`), and let it pass. @default false */
  dryRun?: boolean;
  /** Keys remembered at once, 8 bytes each; when all are in use, those that have asked for the least are forgotten first. @default 65536 */
  keysMax?: number;
  /** Its name in `RateLimit` and `RateLimit-Policy`, at most 32 of `A-Z a-z 0-9 . _ -`. @default "default" */
  name?: string;
  /**
   * Where it counts: the name of a store that a plugin brings. Limits of the same `name` in one store count together, in whatever isolate or process
   * they are. The step runs in TypeScript, and `keysMax` is the store's affair. @default in memory
   */
  store?: string;
}

const KEYS = [
  "key",
  "rate",
  "burst",
  "dryRun",
  "keysMax",
  "name",
  "store",
  ...CLIENT_KEYS,
];
const DAY_S = 86400;
const RATE_MAX = 100_000;
const KEYS_MAX = 16_777_216;
const ANSWER = textAnswer(429, "Too many requests.\n");

/**
 * Lets `rate` requests a second of each key pass, and `burst` at once (GCRA); answers the others 429 (RFC 6585) with `Retry-After`. Answers tell
 * by `RateLimit` and `RateLimit-Policy` how much is left (draft-ietf-httpapi-ratelimit-headers-10); several limits of a chain are told apart by their
 * `name`. Native: one table for all workers. It outlives a reload that does not change the options. In TypeScript each isolate counts for itself.
 *
 * @example 100 requests a second of each client, 200 at once
 * ```ts
 * import { Hono } from "hono";
 * import { proxy, rateLimit } from "sluice";
 *
 * const app = new Hono();
 * app.use("/api/*", rateLimit({ key: "client-ip", rate: 100, burst: 200 }));
 * app.all("/api/*", proxy("http://127.0.0.1:3000"));
 * ```
 */
export function rateLimit(options: RateLimitOptions): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, KEYS, "rateLimit()", problems);
  const { rate, dryRun = false, keysMax = 65536, name = "default" } = options;
  const { burst = Math.ceil(Math.max(rate, 1)) } = options;
  const check = (key: keyof RateLimitOptions, good: boolean, what: string) => {
    if (good) return;
    const [value, reason] = [options[key], `must be ${what}`];
    problems.push({ path: `rateLimit() ${key}`, value, reason });
  };
  const goodRate = typeof rate === "number" && rate >= 1 / DAY_S &&
    rate <= RATE_MAX;
  check("rate", goodRate, `a number from 1/${DAY_S} to ${RATE_MAX}`);
  const intervalUs = Math.round(1e6 / rate);
  const longest = Math.floor(DAY_S * 1e6 / intervalUs);
  check(
    "burst",
    !goodRate || isInteger(burst, 1, longest),
    `an integer from 1 to ${longest}: at this rate more take over a day`,
  );
  check("dryRun", typeof dryRun === "boolean", "true or false");
  check(
    "name",
    typeof name === "string" && /^[\w.-]{1,32}$/.test(name),
    "1 to 32 of A-Z a-z 0-9 . _ -",
  );
  check(
    "keysMax",
    isInteger(keysMax, 1, KEYS_MAX),
    `an integer from 1 to ${KEYS_MAX}`,
  );
  const { store } = options;
  const goodStore = store === undefined ||
    typeof store === "string" && store !== "";
  check("store", goodStore, "the name of a plugin's store");
  const checked = checkLimitKey(options.key, options, "rateLimit()", problems);
  if (problems.length > 0) throw new OptionsError(problems);
  const policy = `"${name}";q=${burst};w=${
    Math.ceil(burst * intervalUs / 1e6)
  }`;
  const table = new Gcra(intervalUs, burst, keysMax);
  const slot = store === undefined
    ? undefined
    : new PartSlot<Store>("stores", store, "rateLimit() store");
  const take = (key: string, c: Context) =>
    slot
      ? slot.ask(
        c,
        (store) => takeFrom(store, `${name}:${key}`, intervalUs, burst),
      )
      : { value: table.take(key) };
  return defineMiddleware({
    name: "rateLimit",
    native: slot ? undefined : checked.native && {
      op: "rateLimit",
      key: checked.native,
      intervalUs,
      burst,
      keysMax,
      dryRun,
      name,
      policy,
      answer: ANSWER,
    },
    typescript: slot ? "its store is a plugin's" : "its key is a function",
    uses: slot,
    handler: async (c, next) => {
      const asked = await take(await checked.of(c), c);
      if (dryRun) return await next();
      if (!asked.value) return asked.answer ?? await next();
      const answer = asked.value;
      const fields = fieldsOf(name, policy, answer);
      if (!answer.passes) return responseOf(ANSWER, fields);
      await next();
      if (!c.finalized) return;
      for (const [name, value] of fields) {
        c.header(name, value, { append: true });
      }
    },
  });
}

// By the clock of the wall, which those that share a store have in common.
async function takeFrom(
  store: Store,
  key: string,
  intervalUs: number,
  burst: number,
): Promise<RateAnswer> {
  let answer: RateAnswer | undefined;
  await store.update(key, (before) => {
    if (before !== undefined && !Number.isFinite(before)) {
      throw new PluginFault("errors", `it has ${show(before)} for a number`);
    }
    const now = Date.now() * 1000;
    const latest = now + intervalUs * burst; // further off if the clock was set back
    const tat = before === undefined ? before : Math.min(before, latest);
    answer = gcra(tat, now, intervalUs, burst);
    if (!answer.passes) return undefined;
    const { fullUs } = answer;
    return { value: now + fullUs, ttlMs: Math.ceil(fullUs / 1000) };
  });
  if (answer) return answer;
  throw new PluginFault("errors", "its update() did not call change()");
}

function isInteger(value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && min <= (value as number) &&
    (value as number) <= max;
}

function seconds(us: number): number {
  return Math.min(Math.ceil(us / 1e6), DAY_S);
}

function fieldsOf(
  name: string,
  policy: string,
  answer: RateAnswer,
): [string, string][] {
  const { passes, remaining, fullUs, waitUs } = answer;
  const fields: [string, string][] = [
    ["ratelimit-policy", policy],
    ["ratelimit", `"${name}";r=${remaining};t=${seconds(fullUs)}`],
  ];
  if (!passes) fields.push(["retry-after", String(seconds(waitUs))]);
  return fields;
}
