/**
 * The options of a gateway: what each means, and the one place where they are checked.
 *
 * @module
 */
import type { PoolOptions } from "./define_middleware.ts";
import { nearest, type OptionProblem, OptionsError } from "./errors.ts";
import {
  type CertificateOptions,
  CERTIFICATES_MAX,
  checkListenerTls,
  type ClientHelloHook,
  compileResumption,
  compileSteks,
  type ListenerTlsOptions,
  PolicyError,
  type StekPolicy,
  type STEKProvider,
} from "../tls/mod.ts";
import type { PluginEntry } from "./plugins/registry.ts";
import { parseOrigin, type UpstreamOptions } from "./upstream.ts";

export type { CertificateOptions, ListenerTlsOptions };

/** What a gateway is made of. Everything has a default. */
export interface GatewayOptions {
  /** The addresses that it listens on. @default [{ address: "127.0.0.1:8080" }] */
  listeners?: ListenerOptions[];
  /** Upstreams that `proxy({ upstream: name })` may name. @default {} */
  upstreams?: Record<string, UpstreamOptions>;
  /** Native threads that move bytes, 1 to 64. @default as many as the CPUs and the cgroup's quota allow */
  workers?: number;
  /** V8 isolates that run TypeScript routes, 1 to 16. @default 1 */
  isolates?: number;
  /** The I/O backend; `auto` takes io_uring where it works. @default "auto" */
  io?: "auto" | "uring" | "epoll";
  /** What is spent at most, and how long is waited. @default every limit's own */
  limits?: LimitOptions;
  /** One line per request on standard output. @default "off" */
  log?: "off" | "text" | "json";
  /** Who answers a request that no route matches: Hono's not-found handler, or C with Hono's default text. @default "typescript" */
  notFound?: "typescript" | "native";
  /** Whether a path with a `.` or `..` segment is refused with 400, or passes as Hono sees it. @default "strict" */
  paths?: "strict" | "hono";
  /**
   * Whether fields whose names have a `_` go to upstreams, of which some read it as `-`. What would then say who asks or frame a message never does;
   * TypeScript sees them all. @default "drop"
   */
  underscoreHeaders?: "drop" | "keep";
  /** Plugins in the order in which they run, each alone or with its options: `[acl, { allow: ["10.0.0.0/8"] }]`. @default [] */
  plugins?: readonly PluginEntry[];
}

/** An address to listen on. */
export interface ListenerOptions {
  /** `host:port`, `[ipv6]:port`; port 0 takes a free one. */
  address: string;
  /** Speak TLS here. @default plain HTTP */
  tls?: ListenerTlsOptions;
}

/** Limits. Times are in milliseconds, sizes in bytes; counts are per worker where it says so. */
export interface LimitOptions {
  /** Requests that wait for TypeScript, per worker and isolate: a power of two, 64 to 16384. @default 1024 */
  exchanges?: number;
  /** Connections per worker. @default 10000 */
  connsMax?: number;
  /** Connections of one client address over all workers (of IPv6: of one /64), 0 for any number: many clients may share an address. @default 0 */
  connsPerAddressMax?: number;
  /** Requests in flight per worker. @default 2048 */
  requestsMax?: number;
  /** A request's head, else 431. @default 16384 */
  headBytesMax?: number;
  /** A request line, else 414. @default 8192 */
  lineBytesMax?: number;
  /** Header fields of a request, else 431. @default 100 */
  fieldsMax?: number;
  /** From the first byte to a whole head, else 408; also the TLS handshake. @default 10000 */
  headTimeoutMs?: number;
  /** Between two parts of a request's body, else 408. @default 30000 */
  bodyTimeoutMs?: number;
  /** What a request's body must come with, in bytes a second and on the whole, while it is waited for, else 408. @default 240 */
  bodyBytesPerSecondMin?: number;
  /** How long a request's body may be waited for before that counts. @default 5000 */
  bodyGraceMs?: number;
  /** Between two requests of a connection. @default 65000 */
  idleTimeoutMs?: number;
  /**
   * A send that makes no progress, which acknowledgements tell. A client whose window opens only in large lumps (loopback's are 64 KiB) cannot be told
   * from one that has stopped until the next lump comes: one that reads 1 KB/s so is cut, too. @default 60000
   */
  writeStallMs?: number;
  /** What counts as progress of a send, in bytes a second. @default 240 */
  writeBytesPerSecondMin?: number;
  /** From a request to the head of a TypeScript route's answer, else 504. @default 30000 */
  handlerTimeoutMs?: number;
  /** How long a refused connection is read on, so that its client gets the answer. @default 2000 */
  lingerMs?: number;
  /** How much is read of it meanwhile. @default 65536 */
  lingerBytesMax?: number;
  /** The body of a request to a TypeScript route, else 413. @default 10485760 */
  bodyBytesMax?: number;
  /** Unread pipelined bytes before reading pauses. @default 16384 */
  pipelineBytesMax?: number;
  /** Pipelined requests whose answers wait to be sent; the next one waits until they have left. @default 64 */
  pipelineRequestsMax?: number;
  /** Queued bytes of an answer that pause its producer. @default 65536 */
  highWatermarkBytes?: number;
  /** Queued bytes below which the producer resumes. @default 16384 */
  lowWatermarkBytes?: number;
  /** Requests on one connection, give or take a tenth. @default 10000 */
  requestsPerConnMax?: number;
  /** Not-found answers of TypeScript in flight per worker, else 503. @default 64 */
  notFoundInFlight?: number;
  /** Connections that the kernel queues before they are accepted. @default 4096 */
  backlog?: number;
  /** Age after which a connection is closed with its next answer, give or take a tenth. @default 3600000 */
  connAgeMs?: number;
  /** Buffers of 32 KiB per worker. @default 512 */
  largeBufs?: number;
  /** Head buffers of 4 KiB per worker: a power of two. @default 1024 */
  smallBufs?: number;
  /**
   * Memory of the single-use set of early data, where a listener has that in mode `once`: 8 bytes a ticket, and a table for each sixteenth of the
   * window. The default holds 65,536 tickets of each, 1,024 handshakes a second with the default window; tickets beyond come without early data
   * (`tickets_bare`). @default 16777216
   */
  ticketSetBytes?: number;
  /** Memory of the keys of `sealed` tickets; the oldest give way (`sealed_evicted`). @default 4194304 */
  sealedBytes?: number;
  /** 1: all memory of the workers' pools is made resident at start; 0: when it is first used. @default 0 */
  prefault?: number;
  /** How long `close()` and a signal wait for running requests, and a reload before it ends the old isolates. @default 30000 */
  drainMs?: number;
  /**
   * How long a handler may keep its isolate from everything else, as a loop without an `await` does. Then the isolate is ended, what it had begun
   * answered 503, and it is started again. 0: for ever; a debugger (`--inspect`) has all the time. Only where the gateway was started by the
   * command: a program that calls `start()` itself is its own isolate. @default 10000
   */
  isolateTimeoutMs?: number;
}

/** Options after the check: nothing is missing. */
export interface CheckedOptions {
  /** `tls.clientHelloTimeoutMs` is there where the module has a hook; the hook itself stays with the module, as a provider of keys does. */
  listeners: ListenerOptions[];
  upstreams: Record<string, UpstreamOptions>;
  /** 0: as many as there is room for. */
  workers: number;
  isolates: number;
  io: "auto" | "uring" | "epoll";
  limits: Required<LimitOptions>;
  log: "off" | "text" | "json";
  notFound: "typescript" | "native";
  paths: "strict" | "hono";
  underscoreHeaders: "drop" | "keep";
  /** What its listeners say of session ticket keys. The provider itself stays with the module. */
  steks: Omit<StekPolicy, "stek"> & { given: boolean };
}

interface Range {
  min: number;
  max: number;
  default: number;
  powerOfTwo?: boolean;
}

const HOUR = 3_600_000;
const SIZE_MAX = 0x7fff_ffff;

const LIMITS: Record<keyof LimitOptions, Range> = {
  exchanges: { min: 64, max: 16384, default: 1024, powerOfTwo: true },
  connsMax: { min: 1, max: 1_000_000, default: 10000 },
  connsPerAddressMax: { min: 0, max: SIZE_MAX, default: 0 },
  requestsMax: { min: 1, max: 65_536, default: 2048 },
  headBytesMax: { min: 1024, max: 16384, default: 16384 },
  lineBytesMax: { min: 64, max: 16384, default: 8192 },
  fieldsMax: { min: 1, max: 128, default: 100 },
  headTimeoutMs: { min: 1, max: HOUR, default: 10_000 },
  bodyTimeoutMs: { min: 1, max: HOUR, default: 30_000 },
  bodyBytesPerSecondMin: { min: 1, max: SIZE_MAX, default: 240 },
  bodyGraceMs: { min: 1, max: HOUR, default: 5000 },
  idleTimeoutMs: { min: 1, max: HOUR, default: 65_000 },
  writeStallMs: { min: 1, max: HOUR, default: 60_000 },
  writeBytesPerSecondMin: { min: 1, max: SIZE_MAX, default: 240 },
  handlerTimeoutMs: { min: 1, max: HOUR, default: 30_000 },
  lingerMs: { min: 1, max: 60_000, default: 2000 },
  lingerBytesMax: { min: 1, max: SIZE_MAX, default: 65_536 },
  bodyBytesMax: { min: 1, max: SIZE_MAX, default: 10_485_760 },
  pipelineBytesMax: { min: 4096, max: 1_048_576, default: 16384 },
  pipelineRequestsMax: { min: 1, max: SIZE_MAX, default: 64 },
  highWatermarkBytes: { min: 4096, max: 16_777_216, default: 65536 },
  lowWatermarkBytes: { min: 1, max: 16_777_216, default: 16384 },
  requestsPerConnMax: { min: 1, max: 0x3fff_ffff, default: 10000 },
  notFoundInFlight: { min: 1, max: 16384, default: 64 },
  backlog: { min: 1, max: 65535, default: 4096 },
  connAgeMs: { min: 1000, max: 24 * HOUR, default: HOUR },
  largeBufs: { min: 64, max: 32768, default: 512 },
  smallBufs: { min: 64, max: 32768, default: 1024, powerOfTwo: true },
  ticketSetBytes: { min: 65_536, max: SIZE_MAX, default: 16_777_216 },
  sealedBytes: { min: 4096, max: SIZE_MAX, default: 4_194_304 },
  prefault: { min: 0, max: 1, default: 0 },
  drainMs: { min: 1, max: HOUR, default: 30_000 },
  isolateTimeoutMs: { min: 0, max: HOUR, default: 10_000 },
};

const POOL: Record<keyof PoolOptions, Range> = {
  connsMax: { min: 1, max: 4096, default: 1024 },
  idleMax: { min: 0, max: 4096, default: 64 },
  connectTimeoutMs: { min: 1, max: HOUR, default: 3000 },
  headTimeoutMs: { min: 1, max: HOUR, default: 30_000 },
  idleTimeoutMs: { min: 1, max: HOUR, default: 60_000 },
  tunnelIdleTimeoutMs: { min: 1, max: 24 * HOUR, default: 600_000 },
};

/** What the numbers of an options type may be, in words, by their names. */
export function rangesOf(type: string): Record<string, string> {
  const tables: Record<string, Record<string, Range>> = {
    LimitOptions: LIMITS,
    PoolOptions: POOL,
  };
  return Object.fromEntries(
    Object.entries(tables[type] ?? {}).map((
      [name, { min, max, powerOfTwo }],
    ) => [name, `${min} to ${max}${powerOfTwo ? ", a power of two" : ""}`]),
  );
}

const KEYS = [
  "listeners",
  "upstreams",
  "workers",
  "isolates",
  "io",
  "limits",
  "log",
  "notFound",
  "paths",
  "underscoreHeaders",
  "plugins",
];
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Checks all options and fills in defaults. Throws an {@linkcode OptionsError} that names every problem. */
export function checkOptions(options: GatewayOptions = {}): CheckedOptions {
  const problems: OptionProblem[] = [];
  const check = new Check(problems);
  if (!isRecord(options as unknown)) {
    throw new OptionsError([{
      path: "options",
      value: options,
      reason: "must be an object",
    }]);
  }
  check.keys(options, "", KEYS);
  if (!Array.isArray(options.plugins ?? [])) {
    check.fail("plugins", options.plugins, "must be a list of plugins");
  }
  const checked: CheckedOptions = {
    listeners: checkListeners(
      options.listeners ?? [{ address: "127.0.0.1:8080" }],
      check,
    ),
    upstreams: checkUpstreams(options.upstreams ?? {}, check),
    workers: check.integer(options.workers, "workers", {
      min: 1,
      max: 64,
      default: 0, // the data plane counts CPUs
    }),
    isolates: check.integer(options.isolates, "isolates", {
      min: 1,
      max: 16,
      default: 1,
    }),
    io: check.word(options.io, "io", ["auto", "uring", "epoll"]),
    limits: checkLimits(options.limits ?? {}, check),
    log: check.word(options.log, "log", ["off", "text", "json"]),
    notFound: check.word(options.notFound, "notFound", [
      "typescript",
      "native",
    ]),
    paths: check.word(options.paths, "paths", ["strict", "hono"]),
    underscoreHeaders: check.word(
      options.underscoreHeaders,
      "underscoreHeaders",
      ["drop", "keep"],
    ),
    steks: { keyRotationMs: 0, keysKept: 0, earlyWindowMs: 0, given: false },
  };
  checkSteks(checked.listeners, check);
  if (problems.length > 0) throw new OptionsError(problems);
  const { stek, ...steks } = compileSteks(checked.listeners);
  checked.steks = { ...steks, given: stek !== undefined };
  for (const { tls } of checked.listeners) {
    delete tls?.policy?.resumption?.stek;
    delete tls?.onClientHello;
  }
  return checked;
}

/** Where a gateway's session ticket keys come from, of options that were checked. */
export function stekProviderOf(
  options: GatewayOptions,
): STEKProvider | undefined {
  return compileSteks(options.listeners ?? []).stek;
}

/** The hooks of its listeners, in their order. */
export function clientHelloHooksOf(
  options: GatewayOptions,
): (ClientHelloHook | undefined)[] {
  return (options.listeners ?? []).map(({ tls }) => tls?.onClientHello);
}

/** The options without what cannot leave the isolate. */
export function withoutProviders(options: GatewayOptions): GatewayOptions {
  const { plugins: _, ...rest } = options;
  if (!rest.listeners) return rest;
  const listeners = rest.listeners.map((listener) => {
    if (!listener.tls) return listener;
    const { onClientHello: _, ...tls } = listener.tls;
    if (!tls.policy?.resumption?.stek) return { ...listener, tls };
    const { stek: __, ...resumption } = tls.policy.resumption;
    return {
      ...listener,
      tls: { ...tls, policy: { ...tls.policy, resumption } },
    };
  });
  return { ...rest, listeners };
}

/** Checks a pool's limits, adding what is wrong to `problems`. */
export function checkPool(
  pool: PoolOptions,
  path: string,
  problems: OptionProblem[],
): PoolOptions {
  const check = new Check(problems);
  if (!check.record(pool, path)) return {};
  check.keys(pool, path, Object.keys(POOL));
  for (const [key, range] of Object.entries(POOL)) {
    check.integer(pool[key as keyof PoolOptions], `${path}.${key}`, range);
  }
  const { idleMax = POOL.idleMax.default, connsMax = POOL.connsMax.default } =
    pool;
  if (pool.idleMax !== undefined && idleMax > connsMax) {
    problems.push({
      path: `${path}.idleMax`,
      value: idleMax,
      reason: `must not exceed connsMax (${connsMax})`,
    });
  }
  return { ...pool };
}

/** A pool's limits with defaults. */
export function fillPool(pool: PoolOptions): Required<PoolOptions> {
  const filled = Object.fromEntries(
    Object.entries(POOL).map((
      [key, range],
    ) => [key, pool[key as keyof PoolOptions] ?? range.default]),
  ) as unknown as Required<PoolOptions>;
  filled.idleMax = Math.min(filled.idleMax, filled.connsMax);
  return filled;
}

function checkListeners(
  listeners: ListenerOptions[],
  check: Check,
): ListenerOptions[] {
  if (
    !Array.isArray(listeners) || listeners.length === 0 || listeners.length > 64
  ) {
    check.fail("listeners", listeners, "must be a list of 1 to 64 listeners");
    return [];
  }
  const checked = listeners.map((listener, i) =>
    checkListener(listener, `listeners[${i}]`, check)
  );
  const certificates = new Set(
    checked.flatMap(({ tls }) => tls?.certificates ?? []).map((certificate) =>
      JSON.stringify(certificate)
    ),
  ).size;
  if (certificates > CERTIFICATES_MAX) {
    check.fail(
      "listeners",
      certificates,
      `must have at most ${CERTIFICATES_MAX} certificates in all`,
    );
  }
  return checked;
}

function checkListener(
  listener: ListenerOptions,
  path: string,
  check: Check,
): ListenerOptions {
  if (!check.record(listener, path)) return { address: "" };
  check.keys(listener, path, ["address", "tls"]);
  const reason = addressProblem(listener.address);
  if (reason) check.fail(`${path}.address`, listener.address, reason);
  if (listener.tls === undefined) return { address: listener.address };
  return {
    address: listener.address,
    tls: checkTls(listener.tls, `${path}.tls`, check),
  };
}

/** Why a text is not an address to listen on. */
export function addressProblem(address: unknown): string | undefined {
  const example = 'must be host:port, such as "127.0.0.1:8080" or "[::1]:8080"';
  if (typeof address !== "string") return example;
  const match =
    /^(?:\[[0-9A-Fa-f:.]+\]|(\d{1,3}(?:\.\d{1,3}){3})|localhost):(\d{1,5})$/
      .exec(address);
  if (!match) {
    const isName = /^[A-Za-z]/.test(address);
    return isName ? `${example}; only localhost may be a name` : example;
  }
  if (match[1]?.split(".").some((part) => Number(part) > 255)) {
    return "is not an IPv4 address and a port";
  }
  return Number(match[2]) > 65535
    ? "must have a port from 0 to 65535"
    : undefined;
}

function checkTls(
  tls: ListenerTlsOptions,
  path: string,
  check: Check,
): ListenerTlsOptions {
  return orProblem(path, check, { certificates: [] }, () => {
    const checked = checkListenerTls(tls);
    compileResumption(checked); // policies that do not fit together
    return checked;
  });
}

function checkSteks(listeners: ListenerOptions[], check: Check): void {
  if (check.problems.length > 0) return;
  orProblem("listeners[].tls", check, undefined, () => {
    compileSteks(listeners);
  });
}

function orProblem<T>(
  path: string,
  check: Check,
  fallback: T,
  run: () => T,
): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    const at = error.path ? `${path}.${error.path}` : path;
    check.fail(at, error.value, error.reason);
    return fallback;
  }
}

function checkUpstreams(
  upstreams: Record<string, UpstreamOptions>,
  check: Check,
): Record<string, UpstreamOptions> {
  const checked: Record<string, UpstreamOptions> = {};
  if (!check.record(upstreams, "upstreams")) return checked;
  for (const [name, upstream] of Object.entries(upstreams)) {
    const path = `upstreams.${name}`;
    if (!NAME.test(name)) {
      check.fail(
        path,
        name,
        "a name is 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit",
      );
    }
    if (!check.record(upstream, path)) continue;
    const { url, earlyData, ...pool } = upstream;
    const origin = typeof url === "string"
      ? parseOrigin(url)
      : { reason: "must be a URL origin" };
    if ("reason" in origin) check.fail(`${path}.url`, url, origin.reason);
    check.keys(upstream, path, ["url", "earlyData", ...Object.keys(POOL)]);
    const known = Object.fromEntries(
      Object.entries(pool).filter(([key]) => key in POOL),
    );
    checked[name] = { url, ...checkPool(known, path, check.problems) };
    if (earlyData === undefined) continue;
    if (typeof earlyData !== "boolean") {
      check.fail(`${path}.earlyData`, earlyData, "must be true or false");
    } else checked[name].earlyData = earlyData;
  }
  return checked;
}

function checkLimits(
  limits: LimitOptions,
  check: Check,
): Required<LimitOptions> {
  const checked = Object.fromEntries(
    Object.entries(LIMITS).map(([key, range]) => [key, range.default]),
  ) as unknown as Required<LimitOptions>;
  if (!check.record(limits, "limits")) return checked;
  check.keys(limits, "limits", Object.keys(LIMITS));
  for (const key of Object.keys(LIMITS) as (keyof LimitOptions)[]) {
    checked[key] = check.integer(limits[key], `limits.${key}`, LIMITS[key]);
  }
  if (checked.lowWatermarkBytes >= checked.highWatermarkBytes) {
    const reason =
      `must be below limits.highWatermarkBytes (${checked.highWatermarkBytes})`;
    check.fail("limits.lowWatermarkBytes", checked.lowWatermarkBytes, reason);
  }
  return checked;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// Collects problems; each method returns something usable, so that one check finds them all.
class Check {
  constructor(readonly problems: OptionProblem[]) {}

  fail(path: string, value: unknown, reason: string): void {
    this.problems.push({ path, value, reason });
  }

  record(value: unknown, path: string): boolean {
    if (isRecord(value)) return true;
    this.fail(path, value, "must be an object");
    return false;
  }

  keys(value: object, path: string, known: string[]): void {
    for (const key of Object.keys(value)) {
      if (known.includes(key)) continue;
      const meant = nearest(key, known);
      const hint = meant
        ? `did you mean "${meant}"?`
        : `known keys: ${known.join(", ")}`;
      this.fail(
        path ? `${path}.${key}` : key,
        (value as Record<string, unknown>)[key],
        `is not an option; ${hint}`,
      );
    }
  }

  text(value: unknown, path: string, reason: string): void {
    if (typeof value !== "string" || value === "") {
      this.fail(path, value, reason);
    }
  }

  integer(value: unknown, path: string, range: Range): number {
    if (value === undefined) return range.default;
    const fits = typeof value === "number" && Number.isInteger(value) &&
      value >= range.min && value <= range.max &&
      (!range.powerOfTwo || (value & (value - 1)) === 0);
    if (fits) return value as number;
    const kind = range.powerOfTwo ? "a power of two" : "an integer";
    this.fail(path, value, `must be ${kind} from ${range.min} to ${range.max}`);
    return range.default;
  }

  word<T extends string>(
    value: unknown,
    path: string,
    words: readonly [T, ...T[]],
  ): T {
    if (value === undefined) return words[0];
    if (words.includes(value as T)) return value as T;
    const meant = typeof value === "string" ? nearest(value, words) : undefined;
    const hint = meant ? `; did you mean "${meant}"?` : "";
    this.fail(
      path,
      value,
      `must be one of ${words.map((word) => `"${word}"`).join(", ")}${hint}`,
    );
    return words[0];
  }
}
