/**
 * An app with more routes before its own.
 *
 * @module
 */
import { Hono } from "hono";
import { type App, isHono } from "../app.ts";
import type { PluginRoute } from "./plugin.ts";

/** The app itself if there are none; else another one that answers as it does, behind them. The app is left as it is. */
export function withRoutes(
  app: App,
  routes: readonly Required<PluginRoute>[],
): App {
  if (routes.length === 0) return app;
  const copy = copyOf(app);
  if (!copy) return around(app, routes);
  for (const { method, path, handler } of routes) {
    add(copy, { basePath: "/", path, method, handler });
  }
  for (const route of (app as Hono).routes) add(copy, route);
  return copy;
}

// Hono's own clone shares the handlers for errors and for not-found, which nobody else can read; router and routes are replaced.
function copyOf(app: App): Hono | undefined {
  if (!isHono(app) || typeof (app as Hono).basePath !== "function") {
    return undefined;
  }
  const copy = (app as Hono).basePath("/");
  if (String(copy.fetch) !== String(app.fetch)) return undefined; // it was replaced, and must be called
  const router = emptyRouter(app as Hono);
  if (!router) return undefined;
  copy.router = router;
  copy.routes = [];
  return copy;
}

// As the app's, without routes: a router that was asked once takes no more.
function emptyRouter(app: Hono): Hono["router"] | undefined {
  const { name } = app.router;
  if (!name.startsWith("SmartRouter")) {
    const Router = app.router.constructor as new () => Hono["router"];
    return Router.length === 0 ? new Router() : undefined;
  }
  const Class = app.constructor as new () => Partial<Hono>;
  return new Class().router ?? new Hono().router; // the class of what basePath() returns has none
}

function add(app: Hono, route: Hono["routes"][number]): void {
  app.router.add(route.method, route.path, [route.handler, route]);
  app.routes.push(route);
}

// Anything with fetch is the last handler.
function around(app: App, routes: readonly Required<PluginRoute>[]): App {
  const outer = new Hono();
  for (const { method, path, handler } of routes) {
    outer.on(method, path, handler);
  }
  return outer.all("*", async (c) => {
    let ctx: unknown;
    try {
      ctx = c.executionCtx;
    } catch {
      // there is none
    }
    return await app.fetch(c.req.raw, c.env, ctx);
  });
}
