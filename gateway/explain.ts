/**
 * What the plan does with one request, and why. It reads the plan that C runs, so it cannot lie.
 *
 * @module
 */
import type { HeaderEdit } from "./header_edits.ts";
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
  /** For a proxy step: where it sends the request. */
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
  method: string;
  path: string;
  /** Who answers. */
  answeredBy: "native" | "TypeScript";
  /** Why, in one sentence. */
  reason: string;
  /** The chain, in order, up to the step that decides; in TypeScript all that matches. */
  steps: ExplainedStep[];
  toString(): string;
}

/** Explains what a plan does with a request. `url` may be a path. */
export function explain(plan: Plan, method: string, url: string): Explanation {
  const path = droppedSlash(plan, decodePath(pathOf(url)));
  if (plan.allTypeScript !== undefined) {
    return explanation(
      method,
      path,
      "TypeScript",
      `every request goes to TypeScript: ${plan.allTypeScript}`,
      [],
    );
  }
  const chain = matchChain(plan, method, path);
  const steps = chain.prefix.map((each) => stepOf(plan, each));
  const { end } = chain;
  if (!end) return explainNotFound(plan, method, path, steps);
  const reason = whyTypeScript(chain);
  if (reason === undefined) {
    return explanation(
      method,
      path,
      "native",
      `${end.step.name}() ends the chain in C`,
      [...steps, stepOf(plan, end)],
    );
  }
  const behind = `it comes after ${nameOf(end)}`;
  return explanation(method, path, "TypeScript", reason, [
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

function nameOf({ entry, step }: ChainStep): string {
  return `${step.name || "the handler"} at ${routeOf(entry)}`;
}

function codeReason(each: ChainStep): string {
  return each.entry.exact
    ? `${nameOf(each)} is code`
    : `C cannot match ${routeOf(each.entry)} exactly, so Hono decides`;
}

function whyTypeScript({ end, limit }: Chain): string | undefined {
  if (limit !== undefined) return limit;
  return end!.step.op === "typescript" ? codeReason(end!) : undefined;
}

function explainNotFound(
  plan: Plan,
  method: string,
  path: string,
  steps: ExplainedStep[],
): Explanation {
  return plan.notFound === "native"
    ? explanation(
      method,
      path,
      "native",
      'no route answers; notFound is "native": 404',
      steps,
    )
    : explanation(
      method,
      path,
      "TypeScript",
      "no route answers: Hono's not-found handler does",
      steps,
    );
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
  if (step.op === "headers") explained.edits = editsOf(plan, step.arg);
  if (isPolicyOp(step.op)) {
    explained.does = describePolicy(plan.policies[step.arg].step);
  }
  if (reason !== undefined) explained.reason = reason;
  return explained;
}

function upstreamOf(plan: Plan, index: number): string {
  const { name, hostname, port, address } = plan.upstreams[index];
  const place = address.length > 0
    ? `${hostname}:${port}`
    : `${hostname}:${port} (no address: 503)`;
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

function explanation(
  method: string,
  path: string,
  answeredBy: Explanation["answeredBy"],
  reason: string,
  steps: ExplainedStep[],
): Explanation {
  const lines = steps.map((step, i) => {
    const target = step.upstream ? ` -> ${step.upstream}` : "";
    const does = step.edits ?? step.does;
    const edits = does ? ` (${does})` : "";
    const why = step.reason && step.reason !== reason
      ? `, because ${step.reason}`
      : "";
    return `  ${i + 1}. ${step.route}  ${
      step.name || "(handler)"
    }  ${step.runs}${target}${edits}${why}`;
  });
  const text = [`${method} ${path}: ${answeredBy}, because ${reason}`, ...lines]
    .join("\n");
  return { method, path, answeredBy, reason, steps, toString: () => text };
}

// As Hono's getPath of strict: false.
function droppedSlash(plan: Plan, path: string): string {
  return plan.dropsSlash && path.length > 1 ? path.replace(/\/$/, "") : path;
}

function pathOf(url: string): string {
  const rest = url.replace(/^[a-z]+:\/\/[^/?#]*/i, "");
  const path = rest.split(/[?#]/, 1)[0];
  return path.startsWith("/") ? path : `/${path}`;
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
