/**
 * The one helper that makes a middleware with two forms: a native record that C executes, and a TypeScript handler with
 * the same behaviour, which runs where the native form cannot (on `Deno.serve`, or behind a middleware that needs V8).
 *
 * @module
 */
import type { Context, MiddlewareHandler, Next } from "hono";
import type { AddressSet } from "./address.ts";
import type { ClientSource } from "./client_ip.ts";
import type { HeaderEdit } from "./header_edits.ts";
import type { NativeKey } from "./limit_key.ts";
import type { Balancer, PartSlot, Store } from "./plugins/parts.ts";
import { type Progress, takeStep } from "./progress.ts";

/** Answers with the same bytes every time. */
export interface RespondStep {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "respond";
  /** The status code of the answer, 200 to 599 (RFC 9110, 15). */
  status: number;
  /** Lower-case names, checked values. */
  headers: readonly (readonly [string, string])[];
  /** The bytes of the body; of a HEAD request only their number is sent. */
  body: Uint8Array;
}

/** Sends the request to an upstream. */
export interface ProxyStep {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "proxy";
  /** A URL origin, or the name of an upstream of the options. */
  target: string | { upstream: string };
  /** The pool's limits, where they differ from the defaults. */
  pool: PoolOptions;
}

/** Answers with the request's head as an upstream would see it. */
export interface WhoamiStep {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "whoami";
}

/** Edits header fields, on the way in and on the way out. */
export interface HeadersStep {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "headers";
  /** Edits of the request's fields before the next step sees them, in this order. */
  request: readonly HeaderEdit[];
  /** Edits of the answer's fields before they are sent, in this order. */
  response: readonly HeaderEdit[];
}

/** What all policies may have: steps that let a request pass, or answer it, or send it elsewhere. */
export interface PolicyBase {
  /** What it answers itself. */
  answer?: RespondStep;
  /** What else it may answer, by its own order. */
  otherAnswers?: readonly RespondStep[];
  /** Where it may send the request itself. */
  to?: Omit<ProxyStep, "op">;
  /** Edits that it chooses from. */
  headers?: readonly HeadersStep[];
}

/** Gives each request an id. */
export interface RequestIdStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "requestId";
  /** In lower case. */
  headerName: string;
  /** Characters that an id from a peer may have; a longer one is replaced. */
  limitLength: number;
  /** Whose ids are taken over: nobody's, everybody's, or those of these peers. */
  trust: boolean | AddressSet;
}

/** Lets only some addresses pass. */
export interface IpRestrictionStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "ipRestriction";
  /** How the address that is judged is found. */
  client: ClientSource;
  /** Clients that are refused, also where `allow` has them. */
  deny: AddressSet;
  /** Empty: all that are not denied. */
  allow: AddressSet;
}

/** Lets other origins read answers, and answers preflights. */
export interface CorsStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "cors";
  /** The edits for all other origins, and where there is none; then those for each of `origins`. `Vary`, if it is set, comes last. */
  headers: readonly HeadersStep[];
  /** Origins that are allowed by name, compared byte by byte with the field `Origin`. */
  origins: readonly string[];
  /** Fields of the answer to a preflight, but for those edits; `Vary` among them, unless it `reflects`. */
  preflight: readonly (readonly [string, string])[];
  /** Whether answers depend on `Origin`. */
  varies: boolean;
  /** Whether a preflight may have the fields that it asks for. */
  reflects: boolean;
}

/** Refuses bodies that are too large. */
export interface BodyLimitStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "bodyLimit";
  /** Bytes. */
  maxSize: number;
}

/** Lets requests run before the TLS handshake is done. */
export interface EarlyDataStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "earlyData";
  /** What may not run early is answered 425 by `answer`; else it waits. */
  refuse: boolean;
}

/** Lets so many requests of a key pass in a time. */
export interface RateLimitStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "rateLimit";
  /** Whom the limit counts for. */
  key: NativeKey;
  /** Microseconds in which a key earns one request. */
  intervalUs: number;
  /** Requests that a key may make at once. */
  burst: number;
  /** Keys that are counted at the same time. */
  keysMax: number;
  /** Whether it only counts what it would have refused. */
  dryRun: boolean;
  /** In the fields that tell what is left. */
  name: string;
  /** The value of `RateLimit-Policy`. */
  policy: string;
}

/** Lets so many requests of a key be in flight. */
export interface ConcurrencyLimitStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "concurrencyLimit";
  /** Whom the limit counts for. */
  key: NativeKey;
  /** Requests of one key that may be in flight at once. */
  max: number;
  /** Keys that are counted at the same time. */
  keysMax: number;
}

/** Ends a request that takes too long. */
export interface TimeoutStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "timeout";
  /** Milliseconds from this step to the last byte of the answer; past them 504, or the connection is cut if the head has left. */
  ms: number;
}

/** Lets users pass. */
export interface BasicAuthStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "basicAuth";
  /** Secrets. */
  users: readonly { username: string; password: string }[];
}

/** Lets tokens pass. Its other answers: for a field that is missing, and for one that is malformed. */
export interface BearerAuthStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "bearerAuth";
  /** The field, in lower case. */
  name: string;
  /** In lower case. */
  prefix: string;
  /** Secrets. */
  tokens: readonly string[];
}

/** Sends a part of the clients to another upstream. */
export interface CanaryStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "canary";
  /** Hundredths of a percent of the clients. */
  shares: number;
  /** Requests with this field go there whatever their share; without `value`, whatever it holds. */
  header?: { name: string; value?: string };
  /** The same for a cookie. */
  cookie?: { name: string; value?: string };
  /** The cookie by which clients are told apart; else their address. */
  sticky?: string;
  /** How the address of a client is found. */
  client: ClientSource;
}

/** Answers 405 where only the method is wrong. */
export interface MethodNotAllowedStep extends PolicyBase {
  /** Tells the kinds of {@linkcode NativeStep} apart. */
  op: "methodNotAllowed";
  /** The app whose routes are meant: a plan does this step if it is the plan's own. */
  app: unknown;
}

/** The steps that are policies: each has an entry in `policies.ts`. */
export type PolicyStep =
  | RequestIdStep
  | IpRestrictionStep
  | CorsStep
  | BodyLimitStep
  | EarlyDataStep
  | RateLimitStep
  | ConcurrencyLimitStep
  | TimeoutStep
  | BasicAuthStep
  | BearerAuthStep
  | CanaryStep
  | MethodNotAllowedStep;

/** What C does for a middleware. */
export type NativeStep =
  | RespondStep
  | ProxyStep
  | WhoamiStep
  | HeadersStep
  | PolicyStep;

const ENDS: ReadonlySet<string> = new Set([
  "typescript",
  "respond",
  "proxy",
  "whoami",
]);

/** Whether a step ends the chain; else the next one follows, if the step lets the request pass. */
export function endsChain(op: NativeStep["op"] | "typescript"): boolean {
  return ENDS.has(op);
}

/** Limits of the connections to one upstream. Counts are per worker. */
export interface PoolOptions {
  /** Connections open at once, 1 to 4096. @default 1024 */
  connsMax?: number;
  /** Connections kept open without a request. @default 64 */
  idleMax?: number;
  /** From the attempt to an open connection, in milliseconds. @default 3000 */
  connectTimeoutMs?: number;
  /** From the request's last byte to the answer's head, in milliseconds. @default 30000 */
  headTimeoutMs?: number;
  /** Between two parts of an answer's body, and of an idle connection, in milliseconds. @default 60000 */
  idleTimeoutMs?: number;
  /** Of a WebSocket with nothing from either side, in milliseconds; once one has ended, at most `idleTimeoutMs`. @default 600000 */
  tunnelIdleTimeoutMs?: number;
}

/** What {@linkcode defineMiddleware} takes. */
export interface MiddlewareDefinition {
  /** The name of the factory, as `explain` and the start text show it. */
  name: string;
  /** What C executes. Left out where these options need TypeScript. */
  native?: NativeStep;
  /** Why there is no native record, as a part of a sentence: `its generator is a function`. */
  typescript?: string;
  /** Where a step without a native record has C send requests to. */
  to?: readonly Omit<ProxyStep, "op">[];
  /** The part of a plugin that it uses. */
  uses?: PartSlot<Store> | PartSlot<Balancer>;
  /** The same behaviour in TypeScript. */
  handler: (c: Context, next: Next) => Response | Promise<Response | void>;
  /** What is left to do here when C has done the step. */
  passed?: (c: Context) => void;
  /** The same on the way out, once the next handler has answered. */
  after?: (c: Context) => void | Promise<void>;
}

const NATIVE: unique symbol = Symbol.for("sluice.native");
const TYPESCRIPT: unique symbol = Symbol.for("sluice.typescript");
const TO: unique symbol = Symbol.for("sluice.to");
const USES: unique symbol = Symbol.for("sluice.uses");
const LABEL: unique symbol = Symbol.for("sluice.label");
const COMPOSED_HANDLER = "__COMPOSED_HANDLER"; // Hono's mark on a handler that it wrapped for a sub-app's onError

/**
 * Makes an ordinary Hono middleware that a plan can also execute natively: `native` is what C does, `handler` the same in TypeScript.
 *
 * @example A step of one's own from one of C's
 * ```ts
 * import { defineMiddleware } from "sluice";
 * import { Hono } from "hono";
 *
 * const mirror = defineMiddleware({
 *   name: "mirror",
 *   native: { op: "whoami" },
 *   handler: (c) => c.text(`${c.req.method} ${c.req.path}`),
 * });
 * const app = new Hono().get("/mirror", mirror);
 * console.log(await (await app.request("/mirror")).text()); // GET /mirror
 * ```
 */
export function defineMiddleware(
  definition: MiddlewareDefinition,
): MiddlewareHandler {
  const { native } = definition;
  const handler = native === undefined || endsChain(native.op)
    ? (c: Context, next: Next) => definition.handler(c, next)
    : (c: Context, next: Next) => {
      const progress = takeStep(c.req.raw);
      if (progress === undefined) return definition.handler(c, next);
      definition.passed?.(c);
      return pass(c, next, progress, definition.after);
    };
  Object.defineProperty(handler, "name", { value: definition.name });
  const [key, value] = native
    ? [NATIVE, native]
    : [TYPESCRIPT, definition.typescript ?? "it has no native form"];
  Object.defineProperties(handler, {
    [key]: { value },
    [TO]: { value: definition.to },
    [USES]: { value: definition.uses },
  });
  return handler as MiddlewareHandler;
}

// C has done this step's way in, and does its way out if there is one: as after `await next()`, not if that throws.
async function pass(
  c: Context,
  next: Next,
  progress: Progress,
  after: MiddlewareDefinition["after"],
): Promise<void> {
  const bit = 1 << (progress.taken - 1);
  try {
    await next();
  } catch (error) {
    progress.failed |= bit;
    throw error;
  }
  if (!c.finalized) progress.failed |= bit;
  await after?.(c);
}

interface Marked {
  [NATIVE]?: NativeStep;
  [TYPESCRIPT]?: string;
  [TO]?: MiddlewareDefinition["to"];
  [USES]?: MiddlewareDefinition["uses"];
  [LABEL]?: string;
  [COMPOSED_HANDLER]?: Marked;
}

// A native step never throws by itself, so the sub-app's onError that Hono wrapped around it has nothing to do.
function innermost(handler: unknown): Marked | undefined {
  let inner = handler as Marked | undefined;
  for (let depth = 0; inner?.[COMPOSED_HANDLER] && depth < 64; depth++) {
    inner = inner[COMPOSED_HANDLER];
  }
  return inner;
}

/** Marks a handler that runs another one: the native record of that stays to be seen, and `name` is what it is called. */
export function wrapHandler(
  outer: MiddlewareHandler,
  inner: MiddlewareHandler,
  name: string,
): MiddlewareHandler {
  return Object.defineProperties(outer, {
    [COMPOSED_HANDLER]: { value: inner },
    [LABEL]: { value: name },
  });
}

/** The name of a handler, perhaps empty. */
export function handlerName(handler: { name: string }): string {
  const label = (handler as Marked)[LABEL];
  return label ?? (innermost(handler) as { name?: string }).name ?? "";
}

/** The native record of a handler, if it has one. */
export function nativeOf(handler: unknown): NativeStep | undefined {
  return innermost(handler)?.[NATIVE];
}

/** Why a middleware that {@linkcode defineMiddleware} made has no native record; undefined for all others. */
export function typescriptOf(handler: unknown): string | undefined {
  return innermost(handler)?.[TYPESCRIPT];
}

/** Where a step without a native record has C send requests to. */
export function sendsTo(handler: unknown): readonly Omit<ProxyStep, "op">[] {
  return innermost(handler)?.[TO] ?? [];
}

/** The part of a plugin that a handler uses, if it uses one. */
export function usedPart(handler: unknown): MiddlewareDefinition["uses"] {
  return innermost(handler)?.[USES];
}
