// Stores and balancers of plugins: who uses them, and what it costs when they do wrong.
import { expect } from "@std/expect";
import { afterAll, describe, it } from "@std/testing/bdd";
import { type Context, Hono } from "hono";
import { OptionsError } from "../errors.ts";
import { explain } from "../explain.ts";
import { defineGateway } from "../gateway.ts";
import { proxy } from "../middleware/proxy.ts";
import { rateLimit, type RateLimitOptions } from "../middleware/rate_limit.ts";
import { checkOptions } from "../options.ts";
import { compilePlan } from "../plan.ts";
import { setNamedUpstreams } from "../upstream.ts";
import { askPart, type Deadlines, type RunningPlugin } from "./contain.ts";
import type { Balancer, Store, StoreEntry } from "./parts.ts";
import { definePlugin, type PluginParts } from "./plugin.ts";
import { PluginRegistry } from "./registry.ts";

const servers = ["one", "two"].map((name) =>
  Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response(name),
  )
);
const upstreams = Object.fromEntries(servers.map(({ addr }, i) => [
  ["one", "two"][i],
  { url: `http://127.0.0.1:${addr.port}` },
]));
afterAll(() => Promise.all(servers.map((server) => server.shutdown())));

class Memory implements Store {
  entries = new Map<string, StoreEntry>();

  update(
    key: string,
    change: (before: number | undefined) => StoreEntry | undefined,
  ): void {
    const entry = change(this.entries.get(key)?.value);
    if (entry) this.entries.set(key, entry);
  }
}

interface Running {
  ask(path: string, headers?: HeadersInit): Promise<string>;
  registry: PluginRegistry;
  lines: string[];
}

async function running(
  app: Hono,
  parts: PluginParts,
  onError: "open" | "closed" = "closed",
): Promise<Running> {
  const lines: string[] = [];
  const plugin = definePlugin({
    name: "parts",
    version: "1.0.0",
    setup: () => parts,
    onError,
    timeoutMs: 30,
  });
  const registry = new PluginRegistry([plugin], (line) => lines.push(line));
  const served = await registry.apply(app);
  setNamedUpstreams(upstreams);
  const ask = async (path: string, headers: HeadersInit = {}) => {
    const request = new Request(`http://h${path}`, { headers });
    const answer = await served.fetch(request);
    return `${answer.status} ${(await answer.text()).trim()}`;
  };
  return { ask, registry, lines };
}

// One request an hour in the long run: what passes is the burst, however slow this machine is.
function limited(options: Partial<RateLimitOptions> = {}): Hono {
  const app = new Hono();
  const limit = rateLimit({
    key: { header: "x-user" },
    rate: 1 / 3600,
    burst: 2,
    store: "memory",
    ...options,
  });
  return app.get("/x", limit, (c) => c.text("ok"));
}

function balanced(balancer?: string): Hono {
  const target = { upstreams: ["one", "two"], balancer };
  return new Hono().get("/x", proxy(target));
}

const never = () => new Promise<never>(() => {});
const boom = () => {
  throw new Error("boom");
};

async function counts(
  work: (run: Running) => Promise<void>,
  run: Running,
): Promise<Record<string, number>> {
  await work(run);
  const { timeMs: _, ...rest } = run.registry.stats().parts;
  await run.registry.dispose();
  return rest;
}

describe("a store of a plugin", () => {
  it("counts for all limits of a name, each key for itself", async () => {
    const memory = new Memory();
    const [a, b, other] = await Promise.all([
      running(limited(), { stores: { memory } }),
      running(limited(), { stores: { memory } }),
      running(limited({ name: "other" }), { stores: { memory } }),
    ]);
    const user = { "x-user": "ada" };
    expect(await a.ask("/x", user)).toBe("200 ok");
    expect(await b.ask("/x", user)).toBe("200 ok");
    expect(await a.ask("/x", user)).toBe("429 Too many requests.");
    expect(await b.ask("/x", user)).toBe("429 Too many requests.");
    expect(await b.ask("/x", { "x-user": "bob" })).toBe("200 ok");
    expect(await other.ask("/x", user)).toBe("200 ok");
    expect([...memory.entries.keys()]).toEqual([
      "default:ada",
      "default:bob",
      "other:ada",
    ]);
    const { ttlMs } = memory.entries.get("default:bob")!;
    expect(ttlMs).toBe(3600_000); // when its burst is whole again
    expect(a.registry.stats().parts.calls).toBe(2);
  });

  it("tells what is left, and may be asked in a dry run", async () => {
    const stores = { memory: new Memory() };
    const plugin = definePlugin({
      name: "parts",
      version: "1.0.0",
      setup: () => ({ stores }),
    });
    await using gateway = defineGateway(limited({ burst: 1 })).use(plugin);
    const first = await gateway.request("/x");
    expect(first.headers.get("ratelimit")).toBe('"default";r=0;t=3600');
    const second = await gateway.request("/x");
    expect([second.status, second.headers.get("retry-after")])
      .toEqual([429, "3600"]);
    const dry = await running(limited({ dryRun: true, burst: 1 }), { stores });
    expect(await dry.ask("/x")).toBe("200 ok");
  });

  it("may call change again, and the last call counts", async () => {
    const full = (Date.now() + 7200_000) * 1000;
    const racing: Store = {
      update(_, change) {
        change(undefined);
        change(full);
      },
    };
    const { ask } = await running(limited(), { stores: { memory: racing } });
    expect(await ask("/x")).toBe("429 Too many requests.");
  });

  it("whose time is far off keeps nobody out for longer than a burst takes", async () => {
    const memory = new Memory();
    const value = (Date.now() + 1e12) * 1000; // a clock that was set back
    memory.entries.set("default:", { value, ttlMs: 1 });
    const app = limited();
    const { ask } = await running(app, { stores: { memory } });
    expect(await ask("/x")).toBe("429 Too many requests.");
    const plugin = definePlugin({
      name: "p",
      version: "1.0.0",
      setup: () => ({ stores: { memory } }),
    });
    await using gateway = defineGateway(limited()).use(plugin);
    const answer = await gateway.request("/x");
    expect(answer.headers.get("retry-after")).toBe("3600");
  });

  // What it does, the counter, the answer where it is closed, and the line.
  const faults: [
    what: string,
    update: Store["update"],
    counter: "errors" | "timeouts",
    closed: string,
    says: string,
  ][] = [
    ["throws", boom, "errors", "500", "it threw Error: boom"],
    [
      "rejects",
      () => Promise.reject(new TypeError("no")),
      "errors",
      "500",
      "it threw TypeError: no",
    ],
    [
      "never answers",
      never,
      "timeouts",
      "503",
      "it did not answer within 30 ms",
    ],
    [
      "does not call change()",
      () => {},
      "errors",
      "500",
      "its update() did not call change()",
    ],
    [
      "has no number",
      (_, change) => void change("7" as never),
      "errors",
      "500",
      'it has "7" for a number',
    ],
  ];
  for (const [what, update, counter, status, says] of faults) {
    for (const onError of ["closed", "open"] as const) {
      it(`that ${what} is contained, counted and named (${onError})`, async () => {
        const stores = { memory: { update } };
        const run = await running(limited(), { stores }, onError);
        const seen = await counts(async ({ ask }) => {
          expect(await ask("/x")).toBe(
            onError === "open" ? "200 ok" : `${status} ${status} Plugin failed`,
          );
        }, run);
        expect(seen).toEqual({
          calls: 1,
          errors: 0,
          timeouts: 0,
          doubles: 0,
          [counter]: 1,
        });
        expect(run.lines.length).toBe(1);
        expect(run.lines[0]).toContain(
          `plugin parts 1.0.0: GET /x: store memory: ${says}; `,
        );
      });
    }
  }
});

describe("a balancer of a plugin", () => {
  it("chooses one of the upstreams for each request", async () => {
    const seen: (readonly string[])[] = [];
    const byField: Balancer = {
      pick(c, upstreams) {
        seen.push(upstreams);
        return Promise.resolve(c.req.header("x-to")!);
      },
    };
    const run = await running(balanced("field"), {
      balancers: { field: byField },
    });
    for (const name of ["two", "one", "two"]) {
      expect(await run.ask("/x", { "x-to": name })).toBe(`200 ${name}`);
    }
    expect(seen[0]).toEqual(["one", "two"]);
    expect(run.registry.stats().parts.calls).toBe(3);
  });

  it("need not be: they take turns", async () => {
    const { ask } = await running(balanced(), {});
    const seen = [await ask("/x"), await ask("/x"), await ask("/x")];
    expect(seen).toEqual(["200 one", "200 two", "200 one"]);
  });

  const faults: [
    what: string,
    pick: Balancer["pick"],
    counter: "errors" | "timeouts",
    closed: string,
    says: string,
  ][] = [
    ["throws", boom, "errors", "500", "it threw Error: boom"],
    [
      "never answers",
      never,
      "timeouts",
      "503",
      "it did not answer within 30 ms",
    ],
    [
      "picks another",
      () => "three",
      "errors",
      "500",
      'it picked "three", not one of one, two',
    ],
    [
      "picks nothing",
      (() => {}) as never,
      "errors",
      "500",
      "it picked undefined, not one of one, two",
    ],
  ];
  for (const [what, pick, counter, status, says] of faults) {
    for (const onError of ["closed", "open"] as const) {
      it(`that ${what} is contained, counted and named (${onError})`, async () => {
        const balancers = { mine: { pick } };
        const run = await running(balanced("mine"), { balancers }, onError);
        const seen = await counts(async ({ ask }) => {
          expect(await ask("/x")).toBe(
            onError === "open"
              ? "200 one"
              : `${status} ${status} Plugin failed`,
          );
        }, run);
        expect(seen).toEqual({
          calls: 1,
          errors: 0,
          timeouts: 0,
          doubles: 0,
          [counter]: 1,
        });
        expect(run.lines.length).toBe(1);
        expect(run.lines[0]).toContain(
          `plugin parts 1.0.0: GET /x: balancer mine: ${says}; `,
        );
      });
    }
  }

  it("is seen in the plan, which is plain data, with all its upstreams", async () => {
    const registry = new PluginRegistry([]);
    const app = await registry.apply(balanced());
    const plan = compilePlan(app, checkOptions({ upstreams }));
    expect(structuredClone(plan).upstreams.map(({ name }) => name))
      .toEqual(["one", "two"]);
    const [step] = explain(plan, "GET", "/x").steps;
    const places = servers.map(({ addr }) => `127.0.0.1:${addr.port}`);
    expect(step).toEqual({
      route: "GET /x",
      name: "proxy",
      runs: "TypeScript",
      upstream: `one, ${places[0]} or two, ${places[1]}`,
      reason: "proxy at GET /x is TypeScript: it takes its upstreams in turn",
    });
    const odd = new Hono({ getPath: () => "/x" }).route("/", balanced());
    const { allTypeScript, upstreams: rows } = compilePlan(
      odd,
      checkOptions({ upstreams }),
    );
    expect(allTypeScript).toContain("getPath");
    expect(rows.length).toBe(2); // C sends for TypeScript, too
    expect(() => compilePlan(balanced(), checkOptions())).toThrow(
      'names no upstream of options.upstreams (known: none) (got "one")',
    );
  });
});

describe("askPart()", () => {
  it("watches a question for as long as it runs", async () => {
    const watched = new Set<{ late(): void }>();
    const deadlines = {
      start: (who: { late(): void }) => watched.add(who),
      stop: (who: { late(): void }) => watched.delete(who),
    } as unknown as Deadlines;
    const plugin: RunningPlugin = {
      name: "p",
      onError: "open",
      timeoutMs: 1000,
      stats: { calls: 0, errors: 0, timeouts: 0, doubles: 0, timeMs: 0 },
      deadlines,
      complain: () => {},
    };
    const c = { req: { method: "GET", path: "/" } } as Context;
    const { promise, resolve } = Promise.withResolvers<number>();
    const asked = askPart(plugin, "store x", c, () => promise);
    expect(watched.size).toBe(1);
    resolve(7);
    expect(await asked).toEqual({ value: 7 });
    expect(await askPart(plugin, "store x", c, boom)).toEqual({});
    expect(watched.size).toBe(0);
  });
});

describe("what a plugin brings by name", () => {
  it("is known, or the gateway does not start", async () => {
    const stores = { memory: new Memory(), disk: new Memory() };
    const app = limited({ store: "memroy" });
    app.get("/y", proxy({ upstreams: ["one"], balancer: "least" }));
    const error = await running(app, { stores }).catch((error) => error);
    expect(error).toBeInstanceOf(OptionsError);
    expect(error.message).toBe(
      'rateLimit() store: names none of the plugins\' stores (known: memory, disk) (got "memroy")\n' +
        'proxy() target.balancer: names none of the plugins\' balancers (known: none) (got "least")',
    );
    const alone = new Hono().get(
      "/x",
      rateLimit({
        key: "route",
        rate: 1,
        store: "memory",
      }),
    );
    alone.onError((error, c) => c.text(error.message, 500));
    const answer = await defineGateway(alone).request("/x");
    expect(await answer.text()).toContain('rateLimit() store "memory"');
  });

  it("has one owner", async () => {
    const stores = { memory: new Memory() };
    const plugin = (name: string) =>
      definePlugin({ name, version: "1.0.0", setup: () => ({ stores }) });
    const registry = new PluginRegistry([plugin("a"), plugin("b")]);
    await expect(registry.apply(new Hono())).rejects.toThrow(
      "plugin b 1.0.0 (plugins[1]): setup() failed: TypeError: stores.memory: plugin a has one of this name",
    );
  });

  it("is used by one gateway at a time, again after each setup, and by plugins", async () => {
    const app = limited();
    const first = await running(app, { stores: { memory: new Memory() } });
    const second = () => running(app, { stores: { memory: new Memory() } });
    await expect(second()).rejects.toThrow("that another gateway uses");
    await first.registry.dispose();
    const { ask } = await second();
    expect(await ask("/x")).toBe("200 ok");
    const limit = rateLimit({
      key: "route",
      rate: 1 / 3600,
      burst: 1,
      store: "memory",
    });
    const third = await running(
      new Hono().get("/z", (c) => c.text("z")),
      { middleware: [limit], stores: { memory: new Memory() } },
    );
    expect(await third.ask("/z")).toBe("200 z");
    expect(await third.ask("/z")).toBe("429 Too many requests.");
  });

  const wrong: [what: string, make: () => unknown, reason: RegExp][] = [
    [
      "an empty store",
      () => limited({ store: "" }),
      /name of a plugin's store/,
    ],
    [
      "no upstreams",
      () => proxy({ upstreams: [] }),
      /upstreams: must be different names/,
    ],
    [
      "one twice",
      () => proxy({ upstreams: ["a", "a"] }),
      /upstreams: must be different names/,
    ],
    [
      "a balancer that is no name",
      () => proxy({ upstreams: ["a"], balancer: {} as never }),
      /balancer: must be the name/,
    ],
    [
      "a typo",
      () => proxy({ upstreams: ["a"], balance: "x" } as never),
      /balance: is not an option; known keys: upstreams, balancer/,
    ],
  ];
  for (const [what, make, reason] of wrong) {
    it(`is not ${what}`, () => {
      expect(make).toThrow(OptionsError);
      expect(make).toThrow(reason);
    });
  }
});
