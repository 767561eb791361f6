/**
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { defineMiddleware, type PoolOptions } from "../define_middleware.ts";
import { type OptionProblem, OptionsError, show } from "../errors.ts";
import { checkKeys } from "../header_edits.ts";
import { checkPool } from "../options.ts";
import { PluginFault } from "../plugins/contain.ts";
import { type Balancer, PartSlot } from "../plugins/parts.ts";
import { checkTarget, forward, type ProxyTarget } from "../proxy_target.ts";
import { upstreamId } from "../upstream.ts";

/** Limits of the connections to the upstream. */
export type ProxyOptions = PoolOptions;

/** Several upstreams, one of which each request is sent to. */
export interface BalancedTarget {
  /** Names of the options' `upstreams`. */
  upstreams: readonly string[];
  /** Who chooses: the name of a balancer that a plugin brings. @default each in its turn, in each isolate for itself */
  balancer?: string;
}

/**
 * Sends the request to an upstream and streams its answer back. Native: no byte of either body enters V8. Path, query and
 * `Host` go on unchanged; hop-by-hop fields are removed; `Via` and `X-Forwarded-For`, `-Host` and `-Proto` are set.
 * Redirects of the upstream are answers like any other.
 *
 * Middleware in TypeScript around it may change the request (`c.req.raw = new Request(c.req.raw, { headers })`, or another URL) and the
 * answer's status and fields: the bodies still stay native, as long as nobody reads them. Where the upstream fails, the answer that
 * middleware sees is a 502, 503 or 504.
 *
 * With several `upstreams` TypeScript chooses one, and C sends the request there.
 *
 * A WebSocket is tunnelled: once the upstream's 101 has gone through the middleware, bytes go both ways without V8. Middleware that answers
 * with another status, or by itself, makes no tunnel.
 *
 * @param target A URL origin, the name of an upstream of the options, or several of them.
 *
 * @example One upstream by its address, one by its name
 * ```ts
 * import { Hono } from "hono";
 * import { defineGateway, proxy } from "sluice";
 *
 * const app = new Hono();
 * app.all("/api/*", proxy("http://127.0.0.1:3000"));
 * app.all("/files/*", proxy({ upstream: "files" }));
 * export default defineGateway(app, { upstreams: { files: { url: "http://127.0.0.1:3001" } } });
 * ```
 *
 * @example Two in turn
 * ```ts
 * import { Hono } from "hono";
 * import { defineGateway, proxy } from "sluice";
 *
 * const app = new Hono();
 * app.all("/api/*", proxy({ upstreams: ["a", "b"] }));
 * export default defineGateway(app, {
 *   upstreams: { a: { url: "http://127.0.0.1:3001" }, b: { url: "http://127.0.0.1:3002" } },
 * });
 * ```
 */
export function proxy(
  target: ProxyTarget | BalancedTarget,
  options: ProxyOptions = {},
): MiddlewareHandler {
  if (isBalanced(target)) return balanced(target, options);
  const problems: OptionProblem[] = [];
  const place = checkTarget(target, "proxy() target", problems);
  const pool = checkPool(options, "proxy() options", problems);
  if (problems.length > 0) throw new OptionsError(problems);
  const id = upstreamId(place, pool);
  return defineMiddleware({
    name: "proxy",
    native: { op: "proxy", target: place, pool },
    handler: (c) => forward(c, place, "proxy()", id),
  });
}

function isBalanced(
  target: ProxyTarget | BalancedTarget,
): target is BalancedTarget {
  return (target as Partial<BalancedTarget> | null)?.upstreams !== undefined;
}

function balanced(
  target: BalancedTarget,
  options: ProxyOptions,
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  const { upstreams, balancer } = target;
  checkKeys(target, ["upstreams", "balancer"], "proxy() target", problems);
  const isName = (name: unknown) => typeof name === "string" && name !== "";
  if (
    !Array.isArray(upstreams) || upstreams.length === 0 ||
    !upstreams.every(isName) || new Set(upstreams).size < upstreams.length
  ) {
    const reason = "must be different names of upstreams of the options";
    problems.push({
      path: "proxy() target.upstreams",
      value: upstreams,
      reason,
    });
  }
  if (balancer !== undefined && !isName(balancer)) {
    const reason = "must be the name of a plugin's balancer";
    problems.push({ path: "proxy() target.balancer", value: balancer, reason });
  }
  const pool = checkPool(options, "proxy() options", problems);
  if (problems.length > 0) throw new OptionsError(problems);
  const names: readonly string[] = Object.freeze([...upstreams]);
  const to = names.map((upstream) => ({ target: { upstream }, pool }));
  const ids = new Map(to.map(({ target }) => [
    target.upstream,
    upstreamId(target, pool),
  ]));
  const slot = balancer === undefined
    ? undefined
    : new PartSlot<Balancer>("balancers", balancer, "proxy() target.balancer");
  let turn = 0;
  return defineMiddleware({
    name: "proxy",
    typescript: slot
      ? "its balancer is a plugin's"
      : "it takes its upstreams in turn",
    to,
    uses: slot,
    handler: async (c) => {
      const asked = slot
        ? await slot.ask(c, (balancer) => pickOf(balancer, c, names))
        : { value: names[turn++ % names.length] };
      if (asked.value === undefined && asked.answer) return asked.answer;
      const upstream = asked.value ?? names[0];
      return await forward(c, { upstream }, "proxy()", ids.get(upstream));
    },
  });
}

async function pickOf(
  balancer: Balancer,
  c: Context,
  names: readonly string[],
): Promise<string> {
  const picked = await balancer.pick(c, names);
  if (names.includes(picked)) return picked;
  const text = `it picked ${show(picked)}, not one of ${names.join(", ")}`;
  throw new PluginFault("errors", text);
}
