/**
 * Which limits and times hold for a request, and what each means, as `explain` shows them.
 *
 * @module
 */
import type { PoolOptions } from "./define_middleware.ts";
import type { CheckedOptions, LimitOptions } from "./options.ts";

/** One limit that holds. */
export interface ExplainedLimit {
  /** The option: `limits.headBytesMax`, `upstream.headTimeoutMs`. */
  name: string;
  /** The value that holds, in the unit that `means` or the name's end tells: `Ms` is milliseconds. */
  value: number;
  /** What it limits, and what the client sees past it. */
  means: string;
}

type Meanings<Key extends string> = { [K in Key]?: string };

const HEAD: Meanings<keyof LimitOptions> = {
  lineBytesMax: "bytes of the request line, else 414",
  headBytesMax: "bytes of the head, else 431",
  fieldsMax: "header fields, else 431",
  headTimeoutMs: "until the head is whole, else 408",
  bodyTimeoutMs: "between two parts of the body, else 408",
};

const TYPESCRIPT: Meanings<keyof LimitOptions> = {
  bodyBytesMax: "bytes of the body, else 413",
  handlerTimeoutMs: "until the answer's head, else 504",
  exchanges: "requests that wait for TypeScript, else 503",
  isolateTimeoutMs:
    "that a handler may keep its isolate from all else, then 503 (0: for ever)",
};

const NOT_FOUND: Meanings<keyof LimitOptions> = {
  notFoundInFlight: "not-found answers at once per worker, else 503",
};

const ANSWER: Meanings<keyof LimitOptions> = {
  writeStallMs: "that the client may not read at all, then it is cut",
};

const UPSTREAM: Meanings<keyof PoolOptions> = {
  connsMax: "connections per worker; the next request waits for one, else 503",
  connectTimeoutMs: "until it is connected, else 504",
  headTimeoutMs: "until its answer's head, else 504",
  idleTimeoutMs: "between two parts of its answer's body, then it is cut",
  tunnelIdleTimeoutMs:
    "of a WebSocket with nothing from either side, then it is closed",
};

/** The limits of a request that `answeredBy` answers; `upstream`: who gets it. */
export function limitsOf(
  { limits }: CheckedOptions,
  answeredBy: "native" | "TypeScript",
  upstream: Required<PoolOptions> | undefined,
  notFound = false,
): ExplainedLimit[] {
  const ours = (meanings: Meanings<keyof LimitOptions>) =>
    rows("limits", meanings, limits);
  return [
    ...ours(HEAD),
    ...answeredBy === "TypeScript" ? ours(TYPESCRIPT) : [],
    ...notFound ? ours(NOT_FOUND) : [],
    ...upstream ? rows("upstream", UPSTREAM, upstream) : [],
    ...ours(ANSWER),
  ];
}

function rows<Key extends string>(
  where: string,
  meanings: Meanings<Key>,
  values: Record<Key, number>,
): ExplainedLimit[] {
  return (Object.keys(meanings) as Key[]).map((key) => ({
    name: `${where}.${key}`,
    value: values[key],
    means: meanings[key]!,
  }));
}
