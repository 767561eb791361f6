/**
 * The routes of a plan as a table, like Hono's `showRoutes`, with where each one runs.
 *
 * @module
 */
import { type Plan, routesOf, shadowedSteps } from "./plan.ts";

/** One registration. */
export interface RouteRow {
  method: string;
  path: string;
  /** The handler's name, perhaps empty. */
  name: string;
  runs: "native" | "TypeScript";
  /** Why a middleware that can be native is not. */
  reason?: string;
}

/** One row for each handler of `app.routes`, in order. Empty if all is TypeScript's. */
export function routeTable(plan: Plan): RouteRow[] {
  const shadowed = shadowedSteps(plan);
  return [...routesOf(plan)].map(([route, { entry, step }]) => {
    const { method, path } = entry;
    const above = shadowed.get(route);
    const reason = above
      ? `${
        above.step.name || "a handler"
      } at ${above.entry.method} ${above.entry.path} comes first`
      : step.why;
    const runs = step.op === "typescript" || above ? "TypeScript" : "native";
    return { method, path, name: step.name, runs, ...reason && { reason } };
  });
}

const PATH_COLUMN_MAX = 40;

/** The table as text, a line for each row. */
export function routeText(rows: readonly RouteRow[]): string[] {
  const wide = (texts: string[], max: number) =>
    Math.min(max, Math.max(...texts.map((text) => text.length)));
  const method = wide(rows.map((row) => row.method), 10);
  const path = wide(rows.map((row) => row.path), PATH_COLUMN_MAX);
  return rows.map((row) => {
    const name = row.name || "(handler)";
    const reason = row.reason ? `, because ${row.reason}` : "";
    return `  ${row.method.padEnd(method)}  ${row.path.padEnd(path)}  ${
      row.runs.padEnd("TypeScript".length)
    }  ${name}${reason}`;
  });
}

/** How many routes there are of each kind. */
export function routeSummary(rows: readonly RouteRow[]): string {
  const native = rows.filter(({ runs }) => runs === "native").length;
  return `${rows.length}, of which ${native} native and ${
    rows.length - native
  } TypeScript`;
}
