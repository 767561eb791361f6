import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Hono, type MiddlewareHandler } from "hono";
import { Hono as TinyHono } from "hono/tiny";
import { GatewayError, OptionsError } from "../errors.ts";
import { defineGateway } from "../gateway.ts";
import { headers } from "../middleware/headers.ts";
import { respond } from "../middleware/respond.ts";
import { checkOptions } from "../options.ts";
import type { App } from "../app.ts";
import { compilePlan } from "../plan.ts";
import { routeTable } from "../route_table.ts";
import { definePlugin, type Plugin, type PluginParts } from "./plugin.ts";
import { type PluginEntry, PluginRegistry } from "./registry.ts";

function named(
  name: string,
  setup: () => PluginParts | void | Promise<PluginParts | void> = () => {},
  timeoutMs = 1000,
): Plugin<void> {
  return definePlugin({ name, version: "1.0.0", setup, timeoutMs });
}

function registry(entries: PluginEntry[]): [PluginRegistry, string[]] {
  const lines: string[] = [];
  return [new PluginRegistry(entries, (line) => lines.push(line)), lines];
}

// A middleware that adds its name to a field.
function mark(name: string): MiddlewareHandler {
  return async (c, next) => {
    await next();
    c.header("x-order", [name, c.res.headers.get("x-order")].join(" ").trim());
  };
}

async function order(app: App, path = "/"): Promise<string | null> {
  const answer = await app.fetch(new Request(`http://h${path}`));
  return answer.headers.get("x-order");
}

describe("PluginRegistry", () => {
  it("runs middleware in the order of plugins, before the app's own", async () => {
    const [plugins] = registry([
      named("a", () => ({ middleware: [mark("a1"), mark("a2")] })),
      named(
        "b",
        () => ({ middleware: [{ path: "/x/*", handler: mark("b") }] }),
      ),
    ]);
    const app = new Hono();
    app.use(mark("app"));
    app.get("*", (c) => c.text("ok"));
    const served = await plugins.apply(app);
    expect(await order(served)).toBe("a1 a2 app");
    expect(await order(served, "/x/y")).toBe("a1 a2 b app");
    expect(await order(app)).toBe("app"); // the app is as it was
  });

  it("refuses a name that is there, and says where both are", () => {
    const gateway = defineGateway(new Hono(), { plugins: [named("acl")] });
    expect(() => gateway.use(named("acl"))).toThrow(
      /^use\(\) at registry_test\.ts:\d+:\d+: has the name of the plugin of plugins\[0\] \(got "acl"\)$/,
    );
    gateway.use(named("b"));
    expect(() => gateway.use(named("b"))).toThrow(
      /has the name of the plugin of use\(\) at registry_test/,
    );
  });

  it("checks options when they are given", () => {
    const limited = definePlugin({
      name: "limited",
      version: "1.0.0",
      options: (given: { max?: number }, problem) => {
        const { max = 5 } = given;
        if (!(max > 0)) problem("max", max, "must be a number above 0");
        return { max };
      },
      setup: ({ max }) => ({
        middleware: [async (c, next) => {
          await next();
          c.header("x-order", String(max));
        }],
      }),
    });
    expect(() =>
      defineGateway(new Hono(), { plugins: [[limited, { max: 0 }]] })
    )
      .toThrow("plugins[0] limited.max: must be a number above 0 (got 0)");
    expect(() => defineGateway(new Hono()).use(limited, { max: -1 }))
      .toThrow(OptionsError);
    expect(() => defineGateway(new Hono()).use({} as never)).toThrow(
      "must be a plugin, as definePlugin() makes it",
    );
    expect(() => defineGateway(new Hono(), { plugins: {} as never })).toThrow(
      "plugins: must be a list of plugins",
    );
    const app = new Hono().get("/", (c) => c.text("ok"));
    const gateway = defineGateway(app).use(limited, { max: 9 });
    return gateway.request("/").then((answer) =>
      expect(answer.headers.get("x-order")).toBe("9")
    );
  });

  it("takes a plain object from a package that does not import us", async () => {
    const app = new Hono().get("/", (c) => c.text("ok"));
    const plugin = {
      name: "plain",
      version: "1.0.0",
      options: (given: { mark?: string }) => given.mark ?? "plain",
      setup: (text: string) => ({ middleware: [mark(text)] }),
    };
    const gateway = defineGateway(app, { plugins: [[plugin, {}]] });
    expect((await gateway.request("/")).headers.get("x-order")).toBe("plain");
    const other = defineGateway(app);
    expect(() => other.use({ ...plugin, name: "X!" }, { mark: "x" })).toThrow(
      "name: must be like a package's",
    );
  });

  it("sets up in order, once, and disposes in reverse", async () => {
    const events: string[] = [];
    const eventful = (name: string) =>
      named(name, async () => {
        events.push(`setup ${name}`);
        await Promise.resolve();
        return { dispose: () => void events.push(`dispose ${name}`) };
      });
    const [plugins] = registry([eventful("a"), eventful("b")]);
    await Promise.all([plugins.apply(new Hono()), plugins.apply(new Hono())]);
    await plugins.dispose();
    await plugins.dispose();
    expect(events).toEqual(["setup a", "setup b", "dispose b", "dispose a"]);
  });

  const failures: [what: string, setup: () => unknown, says: string][] = [
    ["rejects", () => Promise.reject(new Error("no")), "Error: no"],
    [
      "returns nonsense",
      () => 7,
      "must return { middleware, stores, balancers, dispose } or nothing (got 7)",
    ],
    [
      "returns another part",
      () => ({ caches: {} }),
      "returned caches, which is not a part",
    ],
    [
      "returns no function",
      () => ({ middleware: [5] }),
      "middleware[0] must be a function",
    ],
    [
      "returns no stores",
      () => ({ stores: 5 }),
      "stores must be an object (got 5)",
    ],
    [
      "returns a store that is none",
      () => ({ stores: { memory: { get() {} } } }),
      "stores.memory must have a method update()",
    ],
    [
      "returns a balancer that is none",
      () => ({ balancers: { least: () => "a" } }),
      "balancers.least must have a method pick() (got a function)",
    ],
    [
      "never ends",
      () => new Promise(() => {}),
      "took longer than its timeoutMs (20)",
    ],
  ];
  for (const [what, setup, says] of failures) {
    it(`names the plugin whose setup ${what}, and ends those before it`, async () => {
      let ended = false;
      const first = named(
        "first",
        () => ({ dispose: () => void (ended = true) }),
      );
      const [plugins] = registry([first, named("second", setup as never, 20)]);
      const error = await plugins.apply(new Hono()).catch((error) => error);
      expect(error).toBeInstanceOf(GatewayError);
      expect(error.message).toContain(
        "plugin second 1.0.0 (plugins[1]): setup() failed: ",
      );
      expect(error.message).toContain(says);
      expect(ended).toBe(true);
    });
  }

  it("names the plugin whose dispose fails, and ends the others", async () => {
    let ended = false;
    const [plugins, lines] = registry([
      named("first", () => ({ dispose: () => void (ended = true) })),
      named(
        "second",
        () => ({ dispose: () => Promise.reject(new Error("stuck")) }),
      ),
    ]);
    await plugins.apply(new Hono());
    await plugins.dispose();
    expect(lines).toEqual(["plugin second: dispose() failed: Error: stuck"]);
    expect(ended).toBe(true);
  });

  it("takes no more plugins once they are set up", async () => {
    const [plugins] = registry([]);
    await plugins.apply(new Hono());
    expect(() => plugins.add(named("a"), undefined, "use()")).toThrow(
      "plugins are added before the gateway starts",
    );
  });

  it("leaves the middleware of defineMiddleware native", async () => {
    const edit = headers({ response: { set: { "x-a": "1" } } });
    const [plugins] = registry([
      named("fields", () => ({ middleware: [edit] })),
    ]);
    const app = new Hono().basePath("/v1").get("/x", respond("x"));
    const plan = compilePlan(await plugins.apply(app), checkOptions());
    expect(routeTable(plan)).toEqual([
      {
        method: "ALL",
        path: "/*",
        name: "plugin fields headers",
        runs: "native",
      },
      { method: "GET", path: "/v1/x", name: "respond", runs: "native" },
    ]);
  });

  const apps: [what: string, make: () => App][] = [
    ["that was asked before", () => {
      const app = new Hono().get("/", (c) => c.text("ok"));
      app.fetch(new Request("http://h/"));
      return app;
    }],
    ["with another router", () => new TinyHono().get("/", (c) => c.text("ok"))],
    [
      "of basePath()",
      () => new Hono().basePath("/").get("/", (c) => c.text("ok")),
    ],
    ["that is { fetch }", () => ({ fetch: () => new Response("ok") })],
    ["whose fetch was replaced", () => {
      const app = new Hono().get("/", (c) => c.text("ok"));
      const { fetch } = app;
      app.fetch = (request) => fetch(new Request(request));
      return app;
    }],
  ];
  for (const [what, make] of apps) {
    it(`serves an app ${what}`, async () => {
      const [plugins] = registry([
        named("a", () => ({ middleware: [mark("a")] })),
      ]);
      const served = await plugins.apply(make());
      expect(await order(served)).toBe("a");
      const answer = await served.fetch(new Request("http://h/"));
      expect(await answer.text()).toBe("ok");
    });
  }
});
