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
import * as abi from "../ffi/abi.ts";
import { type App, type HonoApp, isHono } from "./app.ts";
import {
  endsChain,
  handlerName,
  type HeadersStep,
  nativeOf,
  type NativeStep,
  type PolicyStep,
  type PoolOptions,
  type RespondStep,
  sendsTo,
  typescriptOf,
} from "./define_middleware.ts";
import { OptionsError } from "./errors.ts";
import { VIA_NAME } from "./forward.ts";
import { editBytes } from "./header_edits.ts";
import { fingerprint } from "./fingerprint.ts";
import { isFieldName } from "./header_fields.ts";
import { type CheckedOptions, fillPool } from "./options.ts";
import {
  compilePattern,
  isHazard,
  type Pattern,
  patternCovers,
  patternMatches,
  type RouterName,
} from "./pattern.ts";
import {
  type AllowedMethods,
  describePolicy,
  isPolicy,
  policyCost,
} from "./policies.ts";
import { parseOrigin, upstreamId, type UpstreamOptions } from "./upstream.ts";

/** What one registered handler is to the plan. */
export interface PlanStep {
  op: "typescript" | NativeStep["op"];
  /** Index in `responds`, `upstreams`, `headers` or `policies`. */
  arg: number;
  /** Index in `app.routes`. */
  route: number;
  /** The handler's name, perhaps empty. */
  name: string;
  /** Why a middleware of ours is TypeScript here. */
  why?: string;
  /** Indices in `upstreams` of those that a step in TypeScript chooses from. */
  to?: number[];
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
  /** How a step in TypeScript names it. */
  id: number;
  name: string;
  hostname: string;
  port: number;
  /** Network order; empty: none, or not looked up yet. */
  address: number[];
  /** It was looked up, and there is none. */
  noAddress?: true;
  /** It understands `Early-Data`. */
  earlyData: boolean;
}

/** A policy with the rows that it may answer with or send to. */
export interface PlanPolicy {
  step: PolicyStep;
  /** Index in `responds`, or `SL_PLAN_NONE`. */
  respond: number;
  /** Indices in `responds` of its other answers. */
  others: number[];
  /** Index in `upstreams`, or `SL_PLAN_NONE`. */
  upstream: number;
  /** Indices in `headers`. */
  headers: number[];
  /** The route that it counts for, if it counts by route. */
  route?: string;
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
  /** The app's `strict: false`: a path's last slash is dropped before it is matched. */
  dropsSlash: boolean;
  /** Why every request goes to TypeScript, if so. */
  allTypeScript?: string;
  warnings: string[];
}

const METHOD_BYTES_MAX = 32;

// ---- Matching, as native/src/route.c does it

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

/** The chain of a request, as C walks it (`sl_route_chain`); `path` is decoded as the app's getPath decodes it. */
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
    dropsSlash: false,
    warnings: [],
  };
  const upstreams = new UpstreamTable(plan.upstreams, options);
  addUpstreams(app, upstreams);
  const matching = matchingOf(app);
  if (typeof matching === "string") {
    plan.allTypeScript = matching;
    return plan;
  }
  plan.dropsSlash = matching.dropsSlash;
  for (const [index, route] of (app as HonoApp).routes.entries()) {
    addRoute(plan, route, index, upstreams, matching.router, app);
  }
  warnOfShadows(plan);
  const policies = plan.policies.map(({ step }) => describePolicy(step));
  plan.id = fingerprint(JSON.stringify([plan.entries, plan.headers, policies]));
  plan.policies = plan.policies.map((policy) => ({
    ...policy,
    step: withoutApp(policy.step),
  }));
  return plan;
}

// An isolate posts its plan to main, and an app cannot be posted; what the step needed of it is in the plan.
function withoutApp(step: PolicyStep): PolicyStep {
  return step.op === "methodNotAllowed" ? { ...step, app: undefined } : step;
}

// How the app matches, or why C cannot match as it does.
function matchingOf(
  app: App,
): { dropsSlash: boolean; router: RouterName } | string {
  if (!isHono(app)) return "the module is not a Hono app";
  let plain: HonoApp, loose: HonoApp;
  try {
    const Class = app.constructor as new (options?: object) => HonoApp;
    plain = new Class();
    loose = new Class({ strict: false });
  } catch {
    return "the app's class needs arguments";
  }
  const dropsSlash = app.getPath === loose.getPath;
  if (!dropsSlash && app.getPath !== plain.getPath) {
    return "the app has its own getPath";
  }
  if (String(app.fetch) !== String(plain.fetch)) {
    return "the app's fetch was replaced";
  }
  const name = routerName(app);
  const [, router] = /^SmartRouter \+ (RegExpRouter|TrieRouter)$/.exec(name) ??
    [];
  if (!router) return `the app has another router (${name})`;
  const hazard = app.routes.find((route) => isHazard(route.path));
  if (hazard) {
    return `the pattern ${hazard.path} may change what Hono's other patterns match`;
  }
  return { dropsSlash, router: router as RouterName };
}

function routerName(app: HonoApp): string {
  // SmartRouter chooses at the first match, for the whole table.
  if (app.router.name === "SmartRouter") app.router.match("GET", "/");
  return app.router.name;
}

type Route = HonoApp["routes"][number];

function addRoute(
  plan: Plan,
  route: Route,
  index: number,
  upstreams: UpstreamTable,
  router: RouterName,
  app: App,
): void {
  if (route.method === "HEAD") return; // Hono dispatches HEAD as GET: such a route never matches
  const fits =
    new TextEncoder().encode(route.method).length <= METHOD_BYTES_MAX;
  const native = fits ? nativeOf(route.handler) : undefined;
  const patterns = compilePattern(route.path, router);
  const name = handlerName(route.handler);
  const odd = patterns.find((pattern) => !pattern.exact);
  const why = native && odd
    ? `C cannot match this pattern exactly (${odd.why})`
    : native && !knowsMethods(native, app, router)
    ? "it is for another app, or C cannot match every route exactly"
    : typescriptOf(route.handler);
  if (native && why) {
    plan.warnings.push(
      `${route.method} ${route.path}: ${name}() runs in TypeScript here, because ${why}`,
    );
  }
  const step: PlanStep = native && !why
    ? {
      op: native.op,
      arg: argument(plan, native, upstreams, `${route.method} ${route.path}`),
      route: index,
      name,
    }
    : { op: "typescript", arg: 0, route: index, name, why };
  const to = sendsTo(route.handler);
  if (to.length > 0) {
    step.to = to.map(({ target, pool }) => upstreams.index(target, pool));
  }
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

// methodNotAllowed() needs to know of every route for which paths it is.
function knowsMethods(
  step: NativeStep,
  app: App,
  router: RouterName,
): boolean {
  if (step.op !== "methodNotAllowed") return true;
  const routes = (app as HonoApp).routes.filter(({ method }) =>
    method !== "ALL" && method !== "HEAD"
  );
  const methods = new Set(routes.map(({ method }) => method));
  return step.app === app && [...methods].join(", ").length <= ALLOW_MAX &&
    [...methods].every((method) => isFieldName(method)) &&
    routes.every(({ path }) =>
      compilePattern(path, router).every(({ exact }) => exact)
    );
}

/** The methods that have routes, by pattern, in the order in which Hono's methodNotAllowed lists them. */
export function allowedMethods(
  entries: readonly PlanEntry[],
): AllowedMethods[] {
  const groups = new Map<string, { entries: number[]; methods: Set<string> }>();
  for (const [i, { method, path, segments }] of entries.entries()) {
    if (method === "ALL") continue;
    const key = JSON.stringify([path, segments]);
    const group = groups.get(key) ??
      { entries: [i], methods: new Set<string>() };
    groups.set(key, group);
    group.methods.add(method);
    if (method === "GET") group.methods.add("HEAD");
  }
  return [...groups.values()].map(({ entries: [entry], methods }) => ({
    entry,
    methods: [...methods].join(", "),
  }));
}

const ALLOW_MAX = 900;

// Of all routes: a step that runs in TypeScript has C send its requests, too.
function addUpstreams(app: App, upstreams: UpstreamTable): void {
  for (const { handler } of isHono(app) ? app.routes : []) {
    const step = nativeOf(handler);
    if (step?.op === "proxy") upstreams.index(step.target, step.pool);
    else if (step && isPolicy(step) && step.to) {
      upstreams.index(step.to.target, step.to.pool);
    }
    for (const { target, pool } of sendsTo(handler)) {
      upstreams.index(target, pool);
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
  route: string,
): number {
  if (step.op === "proxy") return upstreams.index(step.target, step.pool);
  if (step.op === "headers") return indexIn(plan.headers, step);
  if (isPolicy(step)) return policyIndex(plan, step, upstreams, route);
  return step.op === "respond" ? indexIn(plan.responds, step) : 0;
}

function policyIndex(
  plan: Plan,
  step: PolicyStep,
  upstreams: UpstreamTable,
  route: string,
): number {
  const own = "key" in step && step.key.kind === "route" ? route : undefined;
  const known = plan.policies.findIndex((policy) =>
    policy.step === step && policy.route === own
  );
  if (known >= 0) return known;
  const { answer, otherAnswers = [], to, headers = [] } = step;
  return plan.policies.push({
    step,
    respond: answer ? indexIn(plan.responds, answer) : abi.SL_PLAN_NONE,
    others: otherAnswers.map((each) => indexIn(plan.responds, each)),
    upstream: to ? upstreams.index(to.target, to.pool) : abi.SL_PLAN_NONE,
    headers: headers.map((each) => indexIn(plan.headers, each)),
    route: own,
  }) - 1;
}

// A middleware that is registered several times is one row.
function indexIn<T>(rows: T[], row: T): number {
  const known = rows.indexOf(row);
  return known >= 0 ? known : rows.push(row) - 1;
}

class UpstreamTable {
  #indices = new Map<number, number>(); // by id

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
    const id = upstreamId(target, pool);
    const known = this.#indices.get(id);
    if (known !== undefined) return known;
    const { url, earlyData = false, ...defaults } = named as UpstreamOptions;
    const limits = fillPool({ ...defaults, ...pool });
    const origin = parseOrigin(url);
    if ("reason" in origin) {
      throw new OptionsError([{
        path: `upstreams.${name}.url`,
        value: url,
        reason: origin.reason,
      }]);
    }
    const row = {
      id,
      name,
      hostname: origin.hostname,
      port: origin.port,
      address: [],
      earlyData,
      ...limits,
    };
    const index = this.rows.push(row) - 1;
    this.#indices.set(id, index);
    return index;
  }
}

// ---- What a user will want to know

/** Native steps that no request reaches in C, by their route: the TypeScript step that comes first, and its entry. */
export function shadowedSteps(plan: Plan): Map<number, ChainStep> {
  const shadowed = new Map<number, ChainStep>();
  const free = new Set<number>(); // one of the patterns of an optional parameter may be reached
  for (const [i, entry] of plan.entries.entries()) {
    const above = entry.steps.some(({ op }) => op !== "typescript")
      ? shadowOf(plan, i)
      : undefined;
    for (const { op, route } of entry.steps) {
      if (op === "typescript") continue;
      if (above && !free.has(route)) shadowed.set(route, above);
      if (!above) free.add(route);
      if (!above) shadowed.delete(route);
    }
  }
  return shadowed;
}

function shadowOf(plan: Plan, index: number): ChainStep | undefined {
  for (let i = 0; i < index; i++) {
    const entry = plan.entries[i];
    const step = entry.steps.at(-1)!;
    if (step.op === "typescript" && covers(entry, plan.entries[index])) {
      return { entry, step };
    }
  }
  return undefined;
}

function warnOfShadows(plan: Plan): void {
  const shadowed = shadowedSteps(plan);
  for (const [route, { entry, step }] of routesOf(plan)) {
    const above = shadowed.get(route);
    if (!above) continue;
    plan.warnings.push(
      `${entry.method} ${entry.path}: ${step.name}() runs in TypeScript, because ${
        above.step.name || "a handler"
      } at ${above.entry.method} ${above.entry.path} comes first; register it before that to run it natively`,
    );
  }
}

/** Each registration once, by its index in `app.routes`, in order. */
export function routesOf(plan: Plan): Map<number, ChainStep> {
  return new Map(
    plan.entries.flatMap((entry) =>
      entry.steps.map((step) => [step.route, { entry, step }] as const)
    ),
  );
}

function covers(wide: PlanEntry, narrow: PlanEntry): boolean {
  return (wide.method === "ALL" || wide.method === narrow.method) &&
    patternCovers(wide.segments, narrow.segments);
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
    if (address) {
      upstream.address = address;
      return;
    }
    upstream.noAddress = true;
    plan.warnings.push(
      `upstream ${upstream.name}: ${upstream.hostname} has no address now; its requests are answered 503`,
    );
  }));
}
