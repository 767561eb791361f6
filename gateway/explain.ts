/**
 * What the plan does with one request, and why. It reads the plan that C runs, so it cannot lie.
 *
 * @module
 */
import { patternMatches, type Plan, type PlanEntry } from "./plan.ts";

/** One route that a request meets. */
export interface ExplainedStep {
  /** As registered: `ALL /api/*`. */
  route: string;
  /** The handler's name, perhaps empty. */
  name: string;
  /** Where it runs. */
  runs: "native" | "TypeScript";
  /** For a proxy step: where it sends the request. */
  upstream?: string;
}

/** The answer of `explain`; as a string it is a readable text. */
export interface Explanation {
  method: string;
  path: string;
  /** Who answers. */
  answeredBy: "native" | "TypeScript";
  /** Why, in one sentence. */
  reason: string;
  /** The chain, up to the step that decides. */
  steps: ExplainedStep[];
  toString(): string;
}

/** Explains what a plan does with a request. `url` may be a path. */
export function explain(plan: Plan, method: string, url: string): Explanation {
  const path = decodePath(pathOf(url));
  if (plan.allTypeScript !== undefined) {
    return explanation(
      method,
      path,
      "TypeScript",
      `every request goes to TypeScript: ${plan.allTypeScript}`,
      [],
    );
  }
  const wanted = method === "HEAD" ? "GET" : method;
  const chain = plan.entries.filter((entry) =>
    (entry.method === "ALL" || entry.method === wanted) &&
    patternMatches(entry.segments, path)
  );
  const first = chain[0];
  if (!first) return explainNotFound(plan, method, path);
  if (first.op !== "typescript") {
    return explanation(
      method,
      path,
      "native",
      `${first.name}() ends the chain in C`,
      [stepOf(plan, first)],
    );
  }
  const reason = first.exact
    ? `${first.name || "the handler"} at ${routeOf(first)} is code`
    : `C cannot match ${routeOf(first)} exactly, so Hono decides`;
  return explanation(
    method,
    path,
    "TypeScript",
    reason,
    chain.map((entry) => ({ ...stepOf(plan, entry), runs: "TypeScript" })),
  );
}

function explainNotFound(
  plan: Plan,
  method: string,
  path: string,
): Explanation {
  return plan.notFound === "native"
    ? explanation(
      method,
      path,
      "native",
      'no route matches; notFound is "native": 404',
      [],
    )
    : explanation(
      method,
      path,
      "TypeScript",
      "no route matches: Hono's not-found handler answers",
      [],
    );
}

function routeOf(entry: PlanEntry): string {
  return `${entry.method} ${entry.path}`;
}

function stepOf(plan: Plan, entry: PlanEntry): ExplainedStep {
  const step: ExplainedStep = {
    route: routeOf(entry),
    name: entry.name,
    runs: entry.op === "typescript" ? "TypeScript" : "native",
  };
  if (entry.op !== "proxy") return step;
  const { name, hostname, port, address } = plan.upstreams[entry.arg];
  const place = address.length > 0
    ? `${hostname}:${port}`
    : `${hostname}:${port} (no address: 503)`;
  return {
    ...step,
    upstream: name.includes("://") ? place : `${name}, ${place}`,
  };
}

function explanation(
  method: string,
  path: string,
  answeredBy: Explanation["answeredBy"],
  reason: string,
  steps: ExplainedStep[],
): Explanation {
  const lines = steps.map((step) => {
    const target = step.upstream ? ` -> ${step.upstream}` : "";
    return `  ${step.route}  ${
      step.name || "(handler)"
    }  ${step.runs}${target}`;
  });
  const text = [`${method} ${path}: ${answeredBy}, because ${reason}`, ...lines]
    .join("\n");
  return { method, path, answeredBy, reason, steps, toString: () => text };
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
