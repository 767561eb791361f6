/**
 * What a gateway runs: a Hono app, or anything with its `fetch`.
 *
 * @module
 */
import type { Hono } from "hono";

/** What `app.fetch` means to us: a Hono app, or anything with the same function. */
export interface App {
  /** Answers one request: the same function that `Deno.serve` and Hono call `fetch`. */
  fetch(
    request: Request,
    env?: unknown,
    ctx?: unknown,
  ): Response | Promise<Response>;
}

/** What is read of a Hono app. */
export type HonoApp = Pick<Hono, "routes" | "router" | "getPath" | "fetch">;

/** Whether something is a Hono app, of whatever copy of Hono. */
export function isHono(app: unknown): app is HonoApp {
  const candidate = app as Partial<HonoApp> | null | undefined;
  return typeof candidate?.fetch === "function" &&
    Array.isArray(candidate.routes) &&
    typeof candidate.router?.match === "function" &&
    typeof candidate.getPath === "function";
}
