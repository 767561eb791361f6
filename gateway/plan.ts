/**
 * From a Hono app and options to a plan: which requests C answers, and which go to TypeScript.
 *
 * The plan's entries follow `app.routes` in order. A request's chain is the steps of all that match it: C does native ones up to and with the one
 * that ends the chain; the first that is none sends the request to `app.fetch`, where Hono matches again and passes the steps that are
 * done. So a pattern may be compiled too wide for TypeScript, but never too narrow, and a native step needs a pattern that both of
 * Hono's routers and C understand alike (`native/include/sluice/plan.h` defines the matching).
 *
 * @module
 */
import type { Hono } from "hono";
import * as abi from "../ffi/abi.ts";
import {
  endsChain,
  type HeadersStep,
  nativeOf,
  type NativeStep,
  type PolicyStep,
  type PoolOptions,
  type RespondStep,
} from "./define_middleware.ts";
import { OptionsError } from "./errors.ts";
import { VIA_NAME } from "./forward.ts";
import { editBytes } from "./header_edits.ts";
import { type CheckedOptions, fillPool } from "./options.ts";
import { describePolicy, isPolicy, policyCost } from "./policies.ts";
import { parseOrigin } from "./upstream.ts";

/** What `app.fetch` means to us: a Hono app, or anything with the same function. */
export interface App {
  fetch(
    request: Request,
    env?: unknown,
    ctx?: unknown,
  ): Response | Promise<Response>;
}

/** One part of a pattern, between two slashes. */
export type Segment =
  | { kind: "static"; text: string }
  | { kind: "param" }
  | { kind: "rest" };

/** A pattern as C matches it; not exact ones match too much and go to TypeScript. */
export interface Pattern {
  segments: Segment[];
  exact: boolean;
}

/** What one registered handler is to the plan. */
export interface PlanStep {
  op: "typescript" | NativeStep["op"];
  /** Index in `responds`, `upstreams`, `headers` or `policies`. */
  arg: number;
  /** Index in `app.routes`. */
  route: number;
  /** The handler's name, perhaps empty. */
  name: string;
}

/** One pattern, and what is registered for it: `app.get("/x", headers(...), respond(...))` is one entry of two steps. */
export interface PlanEntry extends Pattern {
  /** As registered; `ALL` for any. */
  method: string;
  /** As registered. */
  path: string;
  /** At least one; only the last one ends the chain. */
  steps: PlanStep[];
}

/** An upstream of the plan; `address` is filled in by `resolveUpstreams`. */
export interface PlanUpstream extends Required<PoolOptions> {
  name: string;
  hostname: string;
  port: number;
  /** Network order; empty: the name could not be resolved. */
  address: number[];
}

/** A policy with the rows that it may answer with or send to. */
export interface PlanPolicy {
  step: PolicyStep;
  /** Index in `responds`, or `SL_PLAN_NONE`. */
  respond: number;
  /** Index in `upstreams`, or `SL_PLAN_NONE`. */
  upstream: number;
}

/** What C executes, as plain data. */
export interface Plan {
  /** Of what its chains are: comes back with events, so that an isolate knows whether C's steps are those of its app. */
  id: number;
  entries: PlanEntry[];
  responds: RespondStep[];
  upstreams: PlanUpstream[];
  headers: HeadersStep[];
  policies: PlanPolicy[];
  via: string;
  notFound: CheckedOptions["notFound"];
  paths: CheckedOptions["paths"];
  underscoreHeaders: CheckedOptions["underscoreHeaders"];
  /** Why every request goes to TypeScript, if so. */
  allTypeScript?: string;
  warnings: string[];
}

const SEGMENTS_MAX = 64;
const METHOD_BYTES_MAX = 32;

// ---- Patterns

/** A Hono pattern as C can match it: one, or two where its last parameter is optional. */
export function compilePattern(path: string): Pattern[] {
  if (isStatic(path)) {
    return [limit({ segments: split(path).map(staticSegment), exact: true })];
  }
  if (!hasOptional(path)) return [compileSegments(split(path))];
  const segments = split(path);
  const last = segments.pop()!;
  const base = segments.length === 0 ? [""] : segments;
  const simple = isParam(last.slice(0, -1)) && !segments.includes("") &&
    !segments.some((s) => s.includes("?"));
  if (!simple) return [cut(path)];
  return [
    compileSegments(base),
    compileSegments([...segments, last.slice(0, -1)]),
  ];
}

function split(path: string): string[] {
  return path.replace(/^\//, "").split("/");
}

// Without a wildcard or parameter both routers compare the whole text. '%' is left out: malformed escapes of a request could meet it.
function isStatic(path: string): boolean {
  return !/\*|\/:|[{}%]/.test(path) && path.isWellFormed() &&
    !hasOptional(path);
}

// Hono's checkOptionalParameter.
function hasOptional(path: string): boolean {
  return path.endsWith("?") && path.includes(":");
}

function isParam(segment: string): boolean {
  return /^:[\w-]+$/.test(segment);
}

function staticSegment(text: string): Segment {
  return { kind: "static", text };
}

// Characters that mean something to RegExpRouter's source text, or to Hono's pattern language.
function isPlain(segment: string): boolean {
  // deno-lint-ignore no-control-regex
  return !/[:*{}?|%#@\\\x00-\x20]/.test(segment) && segment.isWellFormed();
}

function compileSegments(parts: string[]): Pattern {
  const segments: Segment[] = [];
  for (const [i, part] of parts.entries()) {
    if (part === "*" && i === parts.length - 1) segments.push({ kind: "rest" });
    else if (isParam(part)) segments.push({ kind: "param" });
    else if (isPlain(part)) segments.push(staticSegment(part));
    else {return limit({
        segments: [...segments, { kind: "rest" }],
        exact: false,
      });}
  }
  return limit({ segments, exact: true });
}

// An optional parameter also matches without it, and Hono drops empty segments before it.
function cut(path: string): Pattern {
  const parts = split(path);
  const odd = parts.findIndex((part) => part === "" || !isPlain(part));
  return limit({
    segments: [...parts.slice(0, odd).map(staticSegment), { kind: "rest" }],
    exact: false,
  });
}

function limit(pattern: Pattern): Pattern {
  if (pattern.segments.length <= SEGMENTS_MAX) return pattern;
  return {
    segments: [...pattern.segments.slice(0, SEGMENTS_MAX - 1), {
      kind: "rest",
    }],
    exact: false,
  };
}

// RegExpRouter pastes patterns into one expression without quoting these; one such pattern can change what others match.
function isHazard(path: string): boolean {
  if (isStatic(path)) return false;
  let broken = false;
  const outside = path.replace(
    /\{((?:\{[\d,]+\}|[^}])+)\}/g,
    (_, expression: string) => {
      broken ||= /[#@]\d/.test(expression) || !isExpression(expression);
      return "";
    },
  );
  const named = outside.replace(/\?$/, "");
  return broken || /[{}?|@#\\]/.test(named);
}

function isExpression(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}

// ---- Matching, as native/src/route.c does it

/** Whether a pattern takes a path (decoded as Hono's getPath decodes it). */
export function patternMatches(
  segments: readonly Segment[],
  path: string,
): boolean {
  const parts = path.slice(1).split("/");
  for (const [i, segment] of segments.entries()) {
    if (segment.kind === "rest") return true;
    if (i >= parts.length) return false;
    if (
      segment.kind === "static" ? parts[i] !== segment.text : parts[i] === ""
    ) return false;
  }
  return parts.length === segments.length;
}

/** A step of a chain, with its entry. */
export interface ChainStep {
  entry: PlanEntry;
  step: PlanStep;
}

/** What a request passes. */
export interface Chain {
  /** Steps that C does before the one that ends the chain for it. */
  prefix: ChainStep[];
  /** The step that ends it for C: it answers, or sends the request to TypeScript. */
  end?: ChainStep;
  /** Steps of TypeScript behind that. */
  rest: ChainStep[];
  /** Why a native step is left to TypeScript, if one ends the chain. */
  limit?: string;
}

/** The chain of a request, as C walks it (`sl_route_chain`); `path` is decoded as Hono's getPath decodes it. */
export function matchChain(plan: Plan, method: string, path: string): Chain {
  const wanted = method === "HEAD" ? "GET" : method;
  const all = plan.entries.filter((entry) =>
    (entry.method === "ALL" || entry.method === wanted) &&
    patternMatches(entry.segments, path)
  ).flatMap((entry) => entry.steps.map((step) => ({ entry, step })));
  const chain: Chain = { prefix: [], rest: [] };
  const sum = { steps: 0, policies: 0, request: 0, response: 0, scratch: 0 };
  for (const [i, each] of all.entries()) {
    if (!endsChain(each.step.op)) {
      addCost(sum, plan, each.step);
      chain.limit = overLimit(sum);
      if (chain.limit === undefined) {
        chain.prefix.push(each);
        continue;
      }
    }
    chain.end = each;
    const ours = each.step.op === "typescript" || chain.limit !== undefined;
    if (ours) chain.rest = all.slice(i + 1);
    break;
  }
  return chain;
}

interface ChainCost {
  steps: number;
  policies: number;
  request: number;
  response: number;
  scratch: number;
}

function addCost(sum: ChainCost, plan: Plan, { op, arg }: PlanStep): void {
  sum.steps++;
  if (op === "headers") {
    const edits = plan.headers[arg];
    sum.request += editBytes(edits.request);
    sum.response += editBytes(edits.response);
    return;
  }
  const cost = policyCost(plan.policies[arg].step);
  sum.policies++;
  sum.request += cost.request;
  sum.response += cost.response;
  sum.scratch += cost.scratch;
}

function overLimit(sum: ChainCost): string | undefined {
  if (sum.steps > abi.SL_PLAN_CHAIN_MAX) {
    return `C does at most ${abi.SL_PLAN_CHAIN_MAX} steps of one chain`;
  }
  if (Math.max(sum.request, sum.response) > abi.SL_PLAN_EDIT_BYTES_MAX) {
    return `C does at most ${abi.SL_PLAN_EDIT_BYTES_MAX} bytes of header edits in one chain`;
  }
  if (sum.policies > abi.SL_PLAN_POLICIES_MAX) {
    return `C does at most ${abi.SL_PLAN_POLICIES_MAX} policies of one chain`;
  }
  return sum.scratch > abi.SL_PLAN_SCRATCH_BYTES
    ? `C keeps at most ${abi.SL_PLAN_SCRATCH_BYTES} bytes for the policies of one chain`
    : undefined;
}

// ---- The app

type HonoApp = Pick<Hono, "routes" | "router" | "getPath" | "fetch">;

/** Whether something is a Hono app, of whatever copy of Hono. */
export function isHono(app: unknown): app is HonoApp {
  const candidate = app as Partial<HonoApp> | null | undefined;
  return typeof candidate?.fetch === "function" &&
    Array.isArray(candidate.routes) &&
    typeof candidate.router?.match === "function" &&
    typeof candidate.getPath === "function";
}

/** Compiles an app and checked options. Freezes the app's routes, as its first request would. */
export function compilePlan(app: App, options: CheckedOptions): Plan {
  const plan: Plan = {
    id: 0,
    entries: [],
    responds: [],
    upstreams: [],
    headers: [],
    policies: [],
    via: VIA_NAME,
    notFound: options.notFound,
    paths: options.paths,
    underscoreHeaders: options.underscoreHeaders,
    warnings: [],
  };
  const reason = whyAllTypeScript(app);
  if (reason !== undefined) {
    plan.allTypeScript = reason;
    return plan;
  }
  const upstreams = new UpstreamTable(plan.upstreams, options);
  for (const [index, route] of (app as HonoApp).routes.entries()) {
    addRoute(plan, route, index, upstreams);
  }
  warnOfShadows(plan);
  const policies = plan.policies.map(({ step }) => describePolicy(step));
  plan.id = fingerprint(JSON.stringify([plan.entries, plan.headers, policies]));
  return plan;
}

/** FNV-1a, 32 bits. */
export function fingerprint(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}

function whyAllTypeScript(app: App): string | undefined {
  if (!isHono(app)) return "the module is not a Hono app";
  let plain: HonoApp;
  try {
    plain = new (app.constructor as new () => HonoApp)();
  } catch {
    return "the app's class needs arguments";
  }
  if (app.getPath !== plain.getPath) {
    return "the app has its own getPath, or strict: false";
  }
  if (String(app.fetch) !== String(plain.fetch)) {
    return "the app's fetch was replaced";
  }
  const router = routerName(app);
  if (!/^SmartRouter \+ (RegExp|Trie)Router$/.test(router)) {
    return `the app has another router (${router})`;
  }
  const hazard = app.routes.find((route) => isHazard(route.path));
  if (hazard) {
    return `the pattern ${hazard.path} may change what Hono's other patterns match`;
  }
  return undefined;
}

function routerName(app: HonoApp): string {
  app.router.match("GET", "/"); // SmartRouter chooses at the first match, for the whole table
  return app.router.name;
}

type Route = HonoApp["routes"][number];

function addRoute(
  plan: Plan,
  route: Route,
  index: number,
  upstreams: UpstreamTable,
): void {
  if (route.method === "HEAD") return; // Hono dispatches HEAD as GET: such a route never matches
  const fits =
    new TextEncoder().encode(route.method).length <= METHOD_BYTES_MAX;
  const native = fits ? nativeOf(route.handler) : undefined;
  const patterns = compilePattern(route.path);
  const { name } = route.handler;
  const exact = patterns.every((pattern) => pattern.exact);
  if (native && !exact) {
    plan.warnings.push(
      `${route.method} ${route.path}: ${name}() runs in TypeScript here, because C cannot match this pattern exactly`,
    );
  }
  const step: PlanStep = native && exact
    ? {
      op: native.op,
      arg: argument(plan, native, upstreams),
      route: index,
      name,
    }
    : { op: "typescript", arg: 0, route: index, name };
  const method = fits ? route.method : "ALL";
  const open = openEntries(plan, patterns.length, method, route.path);
  if (open) { for (const entry of open) entry.steps.push(step); }
  else {
    for (const pattern of patterns) {
      plan.entries.push({
        ...pattern,
        method,
        path: route.path,
        steps: [step],
      });
    }
  }
}

const ENTRY_STEPS_MAX = 64;

// The entries of the same pattern right before, if a step may follow there.
function openEntries(
  plan: Plan,
  count: number,
  method: string,
  path: string,
): PlanEntry[] | undefined {
  const last = plan.entries.slice(-count);
  const open = last.length === count &&
    last.every((entry) =>
      entry.method === method && entry.path === path &&
      entry.steps.length < ENTRY_STEPS_MAX && !endsChain(entry.steps.at(-1)!.op)
    );
  return open ? last : undefined;
}

function argument(
  plan: Plan,
  step: NativeStep,
  upstreams: UpstreamTable,
): number {
  if (step.op === "proxy") return upstreams.index(step.target, step.pool);
  if (step.op === "headers") return indexIn(plan.headers, step);
  if (isPolicy(step)) return policyIndex(plan, step, upstreams);
  return step.op === "respond" ? indexIn(plan.responds, step) : 0;
}

function policyIndex(
  plan: Plan,
  step: PolicyStep,
  upstreams: UpstreamTable,
): number {
  const known = plan.policies.findIndex((policy) => policy.step === step);
  if (known >= 0) return known;
  const { answer, to } = step;
  return plan.policies.push({
    step,
    respond: answer ? indexIn(plan.responds, answer) : abi.SL_PLAN_NONE,
    upstream: to ? upstreams.index(to.target, to.pool) : abi.SL_PLAN_NONE,
  }) - 1;
}

// A middleware that is registered several times is one row.
function indexIn<T>(rows: T[], row: T): number {
  const known = rows.indexOf(row);
  return known >= 0 ? known : rows.push(row) - 1;
}

class UpstreamTable {
  #indices = new Map<string, number>();

  constructor(
    readonly rows: PlanUpstream[],
    readonly options: CheckedOptions,
  ) {}

  index(target: string | { upstream: string }, pool: PoolOptions): number {
    const name = typeof target === "string" ? target : target.upstream;
    const named = typeof target === "string"
      ? { url: target }
      : this.options.upstreams[name];
    if (!named) {
      const known = Object.keys(this.options.upstreams).join(", ") || "none";
      const reason = `names no upstream of options.upstreams (known: ${known})`;
      throw new OptionsError([{ path: "proxy() target", value: name, reason }]);
    }
    const { url, ...defaults } = named;
    const limits = fillPool({ ...defaults, ...pool });
    const key = JSON.stringify([name, limits]);
    const known = this.#indices.get(key);
    if (known !== undefined) return known;
    const origin = parseOrigin(url);
    if ("reason" in origin) {
      throw new OptionsError([{
        path: `upstreams.${name}.url`,
        value: url,
        reason: origin.reason,
      }]);
    }
    const row = {
      name,
      hostname: origin.hostname,
      port: origin.port,
      address: [],
      ...limits,
    };
    const index = this.rows.push(row) - 1;
    this.#indices.set(key, index);
    return index;
  }
}

// ---- What a user will want to know

function warnOfShadows(plan: Plan): void {
  const warned = new Set<number>();
  for (const [i, entry] of plan.entries.entries()) {
    const above = plan.entries.slice(0, i).find((earlier) =>
      earlier.steps.at(-1)!.op === "typescript" && covers(earlier, entry)
    );
    if (!above) continue;
    const { name } = above.steps.at(-1)!;
    for (const step of entry.steps) {
      if (step.op === "typescript" || warned.has(step.route)) continue;
      warned.add(step.route);
      plan.warnings.push(
        `${entry.method} ${entry.path}: ${step.name}() runs in TypeScript, because ${
          name || "a handler"
        } at ${above.method} ${above.path} comes first; register it before that to run it natively`,
      );
    }
  }
}

function covers(wide: PlanEntry, narrow: PlanEntry): boolean {
  if (wide.method !== "ALL" && wide.method !== narrow.method) return false;
  for (const [i, segment] of wide.segments.entries()) {
    if (segment.kind === "rest") return true;
    const other = narrow.segments[i];
    if (!other || other.kind === "rest") return false;
    if (
      segment.kind === "static" &&
      (other.kind !== "static" || other.text !== segment.text)
    ) return false;
    if (
      segment.kind === "param" && other.kind === "static" && other.text === ""
    ) return false;
  }
  return wide.segments.length === narrow.segments.length;
}

/** The numeric address of a host, in network order; undefined if it has none. */
export type Lookup = (hostname: string) => Promise<number[] | undefined>;

/** Looks up the upstreams' names. One that has no address is a warning: its requests are answered 503. */
export async function resolveUpstreams(
  plan: Plan,
  lookup: Lookup,
): Promise<void> {
  await Promise.all(plan.upstreams.map(async (upstream) => {
    const address = await lookup(upstream.hostname);
    if (address) upstream.address = address;
    else {plan.warnings.push(
        `upstream ${upstream.name}: ${upstream.hostname} has no address now; its requests are answered 503`,
      );}
  }));
}
