/**
 * What the start tells: what was decided, and why.
 *
 * @module
 */
import type {
  CheckedOptions,
  GatewayOptions,
  LimitOptions,
} from "./options.ts";
import type { Plan } from "./plan.ts";
import { routeSummary, routeTable, routeText } from "./route_table.ts";

const ROUTES_SHOWN = 20;

/** Lines about routes: which are native, which TypeScript. `module`: how the user names the app. */
export function routeLines(plan: Plan, module = ""): string[] {
  if (plan.allTypeScript !== undefined) {
    return [`routes: all in TypeScript, because ${plan.allTypeScript}`];
  }
  const rows = routeTable(plan);
  const lines = routeText(rows.slice(0, ROUTES_SHOWN));
  if (rows.length > ROUTES_SHOWN) {
    lines.push(
      `  and ${rows.length - ROUTES_SHOWN} more: deno task explain ${module}`
        .trimEnd(),
    );
  }
  return [`routes: ${routeSummary(rows)}`, ...lines];
}

/** Lines about upstreams. */
export function upstreamLines(plan: Plan): string[] {
  return plan.upstreams.map(({ name, hostname, port, address }) => {
    const place = `${
      hostname.includes(":") ? `[${hostname}]` : hostname
    }:${port}`;
    const found = address.length === 4 && hostname !== address.join(".")
      ? ` (${address.join(".")})`
      : "";
    return `upstream: ${
      name.includes("://") ? place : `${name} at ${place}`
    }${found}`;
  });
}

/** Lines about hooks that are asked about handshakes. */
export function clientHelloLines({ listeners }: CheckedOptions): string[] {
  return listeners.flatMap(({ address, tls }) =>
    tls?.clientHelloTimeoutMs === undefined ? [] : [
      `onClientHello: asked about each handshake at ${address}, for at most ${tls.clientHelloTimeoutMs} ms`,
    ]
  );
}

/** Lines about what C decided. */
export function dataPlaneLines(
  decided: Record<string, string>,
  options: CheckedOptions,
): string[] {
  const mebibytes = (bytes: string | undefined) =>
    `${Math.round(Number(bytes ?? 0) / 1_048_576)} MiB`;
  return [
    `io: ${decided.io} (${decided.io_reason})`,
    `workers: ${decided.workers} (${decided.workers_reason}), each with at most ${decided.conns_max} connections; isolates: ${options.isolates}`,
    ...Number(decided.workers) > Number(decided.workers_cpus)
      ? [
        `warning: ${decided.workers} workers where there is room for ${decided.workers_cpus}: they take time from each other`,
      ]
      : [],
    `memory: at most ${mebibytes(decided.memory_bytes)} of buffers and ${
      mebibytes(decided.ring_bytes)
    } of rings, ` +
    "touched as it is used",
  ];
}

/** Which options of the module a flag has overridden. */
export function overrideLines(
  given: Partial<GatewayOptions>,
  overrides: Partial<GatewayOptions>,
): string[] {
  return (Object.keys(overrides) as (keyof GatewayOptions)[])
    .filter((key) =>
      key in given && short(given[key]) !== short(overrides[key])
    )
    .map((key) =>
      `flag: ${key} is ${short(overrides[key])}; the module says ${
        short(given[key])
      }`
    );
}

/** Options that a reload cannot change, though the module gives them another value now: by their key. */
export function fixedChanges(
  running: CheckedOptions,
  next: CheckedOptions,
): string[] {
  const keys = ["listeners", "workers", "io", "log"] as const;
  const limits = Object.keys(running.limits) as (keyof LimitOptions)[];
  const differs = (a: unknown, b: unknown) =>
    JSON.stringify(a) !== JSON.stringify(b);
  return [
    ...keys.filter((key) => differs(running[key], next[key])),
    ...limits.filter((key) =>
      !LIVE_LIMITS.has(key) && running.limits[key] !== next.limits[key]
    ).map((key) => `limits.${key}`),
  ];
}

// Those of main; all others are C's, which takes them once.
const LIVE_LIMITS = new Set<keyof LimitOptions>([
  "drainMs",
  "isolateTimeoutMs",
]);

function short(value: unknown): string {
  if (!Array.isArray(value)) return String(value);
  return value.map(({ address, tls }) =>
    `${tls ? "https" : "http"}://${address}`
  ).join(", ");
}

/** The addresses as URLs. */
export function listenerUrls(
  options: CheckedOptions,
  addresses: readonly Deno.NetAddr[],
): string[] {
  return addresses.map(({ hostname, port }, i) => {
    const host = hostname.includes(":") ? `[${hostname}]` : hostname;
    return `${options.listeners[i].tls ? "https" : "http"}://${host}:${port}`;
  });
}
