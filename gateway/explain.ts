/**
 * What the plan does with one request, and why. It reads the plan that C runs, so it cannot lie.
 *
 * @module
 */
import type { HeaderEdit } from "./header_edits.ts";
import { type ExplainedLimit, limitsOf } from "./explain_limits.ts";
import type { CheckedOptions } from "./options.ts";
import {
  type Chain,
  type ChainStep,
  matchChain,
  type Plan,
  type PlanEntry,
} from "./plan.ts";
import { describePolicy, isPolicyOp } from "./policies.ts";

/** One step that a request passes. */
export interface ExplainedStep {
  /** As registered: `ALL /api/*`. */
  route: string;
  /** The handler's name, perhaps empty. */
  name: string;
  /** Where it runs. */
  runs: "native" | "TypeScript";
  /** For a proxy step: where it sends the request; where a balancer chooses, all of them. */
  upstream?: string;
  /** For a headers step: what it changes. */
  edits?: string;
  /** For a policy: what it does. */
  does?: string;
  /** Why it runs in TypeScript. */
  reason?: string;
}

/** The answer of `explain`; as a string it is a readable text. */
export interface Explanation {
  /** The method that was asked about, as it was given. */
  method: string;
  /** As it is matched: decoded as Hono decodes it. */
  path: string;
  /** Who answers. */
  answeredBy: "native" | "TypeScript";
  /** Why, in one sentence. */
  reason: string;
  /** The chain, in order, up to the step that decides; in TypeScript all that matches. */
  steps: ExplainedStep[];
  /** What it may spend, and how long is waited for what. */
  limits: ExplainedLimit[];
  /** Which certificate its host name gets, where a listener has some with names, and who may choose another. */
  certificate?: string;
  /** The same as lines of text, as `deno task explain` prints them. */
  toString(): string;
}

/** What an explanation may know besides the plan. */
export interface ExplainContext {
  /** For limits and certificates. */
  options?: CheckedOptions;
  /** The request's fields; Host is the only one that is looked at. */
  headers?: HeadersInit;
}

type Verdict = Pick<Explanation, "answeredBy" | "reason" | "steps"> & {
  /** The upstream that gets it, as an index. */
  upstream?: number;
  /** No route answers. */
  notFound?: true;
};

/** Explains what a plan does with a request. `url` may be a path. */
export function explain(
  plan: Plan,
  method: string,
  url: string,
  { options, headers }: ExplainContext = {},
): Explanation {
  const raw = pathOf(url);
  const path = droppedSlash(plan, decodePath(raw));
  const refusal = refusalOf(plan, method, raw);
  const { upstream, notFound, ...verdict } = refusal
    ? native(`it is refused: ${refusal}`)
    : verdictOf(plan, method, path);
  const limits = options && !refusal
    ? limitsOf(
      options,
      verdict.answeredBy,
      plan.upstreams[upstream ?? -1],
      notFound && verdict.answeredBy === "TypeScript",
    )
    : [];
  const certificate = options && certificateOf(options, hostOf(url, headers));
  const found = {
    method,
    path,
    ...verdict,
    limits,
    ...certificate && { certificate },
  };
  const text = textOf(found);
  return Object.defineProperty(found as Explanation, "toString", {
    value: () => text,
  });
}

function native(reason: string, steps: ExplainedStep[] = []): Verdict {
  return { answeredBy: "native", reason, steps };
}

function typescript(reason: string, steps: ExplainedStep[] = []): Verdict {
  return { answeredBy: "TypeScript", reason, steps };
}

// What C answers before it looks for routes, as sl_request_start does.
function refusalOf(
  plan: Plan,
  method: string,
  raw: string,
): string | undefined {
  const dots = /(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)|%00/i.test(raw);
  if (dots && plan.paths === "strict") {
    return "its path has a dot segment or %00: 400";
  }
  if (method === "CONNECT" || method === "TRACE") {
    return `${method} is not served: 501`;
  }
  return undefined;
}

function verdictOf(plan: Plan, method: string, path: string): Verdict {
  if (plan.allTypeScript !== undefined) {
    return typescript(
      `every request goes to TypeScript: ${plan.allTypeScript}`,
    );
  }
  const chain = matchChain(plan, method, path);
  const steps = chain.prefix.map((each) => stepOf(plan, each));
  const { end } = chain;
  if (!end) return { ...unmatched(plan, steps), notFound: true };
  const reason = whyTypeScript(chain);
  if (reason === undefined) {
    return {
      ...native(`${end.step.name}() ends the chain in C`, [
        ...steps,
        stepOf(plan, end),
      ]),
      ...end.step.op === "proxy" && { upstream: end.step.arg },
    };
  }
  const behind = `it comes after ${nameOf(end)}`;
  return typescript(reason, [
    ...steps,
    stepOf(plan, end, reason),
    ...chain.rest.map((each) =>
      stepOf(
        plan,
        each,
        each.step.op === "typescript" ? codeReason(each) : behind,
      )
    ),
  ]);
}

function unmatched(plan: Plan, steps: ExplainedStep[]): Verdict {
  return plan.notFound === "native"
    ? native('no route answers; notFound is "native": 404', steps)
    : typescript("no route answers: Hono's not-found handler does", steps);
}

function nameOf({ entry, step }: ChainStep): string {
  return `${step.name || "the handler"} at ${routeOf(entry)}`;
}

function codeReason({ entry, step }: ChainStep): string {
  if (!entry.exact) {
    return `C cannot match ${
      routeOf(entry)
    } exactly (${entry.why}), so Hono decides`;
  }
  const name = nameOf({ entry, step });
  return step.why === undefined
    ? `${name} is code`
    : `${name} is TypeScript: ${step.why}`;
}

function whyTypeScript({ end, limit }: Chain): string | undefined {
  if (limit !== undefined) return limit;
  return end!.step.op === "typescript" ? codeReason(end!) : undefined;
}

function routeOf(entry: PlanEntry): string {
  return `${entry.method} ${entry.path}`;
}

// `reason`: why it runs in TypeScript; else it is native.
function stepOf(
  plan: Plan,
  { entry, step }: ChainStep,
  reason?: string,
): ExplainedStep {
  const explained: ExplainedStep = {
    route: routeOf(entry),
    name: step.name,
    runs: reason === undefined ? "native" : "TypeScript",
  };
  if (step.op === "proxy") explained.upstream = upstreamOf(plan, step.arg);
  if (step.to) {
    explained.upstream = step.to.map((index) => upstreamOf(plan, index))
      .join(" or ");
  }
  if (step.op === "headers") explained.edits = editsOf(plan, step.arg);
  if (isPolicyOp(step.op)) {
    explained.does = describePolicy(plan.policies[step.arg].step);
  }
  if (reason !== undefined) explained.reason = reason;
  return explained;
}

function upstreamOf(plan: Plan, index: number): string {
  const { name, hostname, port, noAddress } = plan.upstreams[index];
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  const place = `${host}:${port}${noAddress ? " (no address: 503)" : ""}`;
  return name.includes("://") ? place : `${name}, ${place}`;
}

function editsOf(plan: Plan, index: number): string {
  const { request, response } = plan.headers[index];
  return [sideOf("request", request), sideOf("response", response)]
    .filter((text) => text !== "").join("; ");
}

function sideOf(side: string, edits: readonly HeaderEdit[]): string {
  if (edits.length === 0) return "";
  const signs = { remove: "-", set: "=", append: "+" };
  return `${side} ${
    edits.map(({ kind, name }) => signs[kind] + name).join(" ")
  }`;
}

// ---- The text

function textOf(found: Omit<Explanation, "toString">): string {
  const { method, path, answeredBy, reason, steps, limits, certificate } =
    found;
  return [
    `${method} ${path}: ${answeredBy}, because ${reason}`,
    ...steps.map((step, i) => `  ${i + 1}. ${stepText(step, reason)}`),
    ...certificate ? [`certificate: ${certificate}`] : [],
    ...limits.length > 0 ? ["limits:"] : [],
    ...limits.map(({ name, value, means }) => `  ${name} ${value}: ${means}`),
  ].join("\n");
}

function stepText(step: ExplainedStep, reason: string): string {
  const target = step.upstream ? ` -> ${step.upstream}` : "";
  const does = step.edits || step.does;
  const why = step.reason && step.reason !== reason
    ? `, because ${step.reason}`
    : "";
  return `${step.route}  ${step.name || "(handler)"}  ${step.runs}${target}${
    does ? ` (${does})` : ""
  }${why}`;
}

// ---- The request

// As Hono's getPath of strict: false.
function droppedSlash(plan: Plan, path: string): string {
  return plan.dropsSlash && path.length > 1 ? path.replace(/\/$/, "") : path;
}

function pathOf(url: string): string {
  const rest = url.replace(/^[a-z]+:\/\/[^/?#]*/i, "");
  const path = rest.split(/[?#]/, 1)[0];
  return path.startsWith("/") ? path : `/${path}`;
}

function hostOf(url: string, headers?: HeadersInit): string | undefined {
  const host = new Headers(headers).get("host") ??
    /^https:\/\/([^/?#]*)/i.exec(url)?.[1];
  return host?.replace(/:\d*$/, "").replace(/\.$/, "").toLowerCase();
}

function certificateOf(
  { listeners }: CheckedOptions,
  host: string | undefined,
): string | undefined {
  const certificates = listeners.flatMap(({ tls }, i) =>
    (tls?.certificates ?? []).map(({ names }, k) => ({
      path: `listeners[${i}].tls.certificates[${k}]`,
      names,
    }))
  );
  const hooks = listeners.flatMap(({ tls }, i) =>
    tls?.clientHelloTimeoutMs ? [`listeners[${i}].tls.onClientHello`] : []
  );
  const isNamed = certificates.some(({ names }) => names);
  if (!host || !(isNamed || hooks.length > 0)) return undefined;
  const wildcard = host.replace(/^[^.]*/, "*");
  const found = certificates.find(({ names }) => names?.includes(host)) ??
    certificates.find(({ names }) => names?.includes(wildcard));
  const text = found
    ? `${found.path}, which has ${host} in its names`
    : `none has ${host} in its options' names; those without names go by their own`;
  const isAsked = hooks.length > 0
    ? `; ${hooks.join(", ")} may choose another`
    : "";
  return text + isAsked;
}

// As Hono's getPath and native/src/route.c: runs of escapes, each decoded if it is valid UTF-8; reserved ones stay.
function decodePath(path: string): string {
  return path.replace(/(?:%[0-9A-Fa-f]{2})+/g, (run) => {
    try {
      return decodeURI(run.replace(/%25/g, "%2525"));
    } catch {
      return run;
    }
  });
}
