// What plugins do wrong, and what it costs: an error for their own requests, or nothing, and a line; other routes never notice.
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { type Context, Hono, type MiddlewareHandler, type Next } from "hono";
import type { PluginStats } from "./contain.ts";
import { definePlugin } from "./plugin.ts";
import { PluginRegistry } from "./registry.ts";

interface Outcome {
  answer: string;
  stats: PluginStats;
  lines: string[];
}

// One request through one middleware of a plugin; "ok" is what the app answers.
async function through(
  handler: MiddlewareHandler,
  { onError = "closed" as "open" | "closed", timeoutMs = 1000, requests = 1 } =
    {},
): Promise<Outcome> {
  const lines: string[] = [];
  const plugin = definePlugin({
    name: "bad",
    version: "1.0.0",
    setup: () => ({ middleware: [{ path: "/x", handler }] }),
    onError,
    timeoutMs,
  });
  const registry = new PluginRegistry([plugin], (line) => lines.push(line));
  const app = new Hono();
  app.get("/x", (c) => c.text("ok", 200, { "x-app": "1" }));
  app.get("/other", (c) => c.text("other"));
  app.onError((error, c) => c.text(`app: ${error.message}`, 418));
  const served = await registry.apply(app);
  let answer = "";
  for (let i = 0; i < requests; i++) {
    const [x, other] = await Promise.all([
      served.fetch(new Request("http://h/x")),
      served.fetch(new Request("http://h/other")),
    ]);
    const field = x.headers.get("x-app") === "1" ? " x-app" : "";
    answer = `${x.status} ${(await x.text()).trim()}${field}`;
    expect(await other.text()).toBe("other");
  }
  const stats = registry.stats().bad;
  await registry.dispose();
  return { answer, stats, lines };
}

const never = () => new Promise<void>(() => {});
const OK = "200 ok x-app";

describe("a plugin's middleware", () => {
  it("that does what it should is only counted", async () => {
    const { answer, stats, lines } = await through(async (c, next) => {
      await next();
      c.header("x-plugin", "1");
    });
    expect(answer).toBe(OK);
    const { timeMs, ...counts } = stats;
    expect(counts).toEqual({ calls: 1, errors: 0, timeouts: 0, doubles: 0 });
    expect(timeMs).toBeGreaterThanOrEqual(0);
    expect(lines).toEqual([]);
  });

  const fine: [what: string, handler: MiddlewareHandler, answer: string][] = [
    ["answers itself", (c) => Promise.resolve(c.text("mine")), "200 mine"],
    ["answers at once", ((c: Context) => c.text("mine")) as never, "200 mine"],
    ["returns what next() gave", (_, next) => next(), OK],
    ["returns c.res", async (c, next) => (await next(), c.res), OK],
    [
      "replaces the answer",
      async (c, next) => {
        await next();
        c.res = new Response("new", { status: 201 });
      },
      "201 new x-app",
    ],
    [
      "sets c.res and returns nothing",
      (c) => {
        c.res = new Response("set");
        return Promise.resolve();
      },
      "200 set",
    ],
    [
      "does not wait for next()",
      ((_: Context, next: Next) => void next()) as never,
      OK,
    ],
  ];
  for (const [what, handler, expected] of fine) {
    it(`may be one that ${what}`, async () => {
      const { answer, stats, lines } = await through(handler);
      expect(answer).toBe(expected);
      expect(stats.errors + stats.timeouts + stats.doubles).toBe(0);
      expect(lines).toEqual([]);
    });
  }

  // What it does, the counter, the answers where it is closed and open, and the line.
  const faults: [
    what: string,
    handler: MiddlewareHandler,
    counter: "errors" | "timeouts" | "doubles",
    closed: string,
    open: string,
    says: string,
  ][] = [
    [
      "throws",
      () => {
        throw new Error("boom");
      },
      "errors",
      "500 500 Plugin failed",
      OK,
      "it threw Error: boom",
    ],
    [
      "throws what is no Error",
      () => {
        throw "text";
      },
      "errors",
      "500 500 Plugin failed",
      OK,
      "it threw text",
    ],
    [
      "rejects",
      () => Promise.reject(new TypeError("no")),
      "errors",
      "500 500 Plugin failed",
      OK,
      "it threw TypeError: no",
    ],
    [
      "throws behind next()",
      async (_, next) => {
        await next();
        throw new Error("late boom");
      },
      "errors",
      "500 500 Plugin failed",
      OK,
      "it threw Error: late boom",
    ],
    [
      "never answers",
      never,
      "timeouts",
      "503 503 Plugin failed",
      OK,
      "it did not answer within 30 ms",
    ],
    [
      "never comes back from next()",
      async (_, next) => {
        await next();
        await never();
      },
      "timeouts",
      "503 503 Plugin failed",
      OK,
      "it did not answer within 30 ms",
    ],
    [
      "neither answers nor calls next()",
      async () => {},
      "errors",
      "500 500 Plugin failed",
      OK,
      "it neither answered nor called next()",
    ],
    [
      "returns what is no Response",
      (() => ({ status: 200 })) as never,
      "errors",
      "500 500 Plugin failed",
      OK,
      "it returned something that is no Response",
    ],
    [
      "calls next() twice",
      async (_, next) => {
        await next();
        await next();
      },
      "doubles",
      "500 500 Plugin failed",
      OK,
      "it called next() twice",
    ],
    [
      "answers what is answered",
      async (c, next) => {
        await next();
        return c.text("again");
      },
      "doubles",
      OK,
      OK,
      "it returned something after next() had answered",
    ],
  ];
  for (const [what, handler, counter, closed, open, says] of faults) {
    for (const onError of ["closed", "open"] as const) {
      it(`that ${what} is contained, counted and named (${onError})`, async () => {
        const outcome = await through(handler, { onError, timeoutMs: 30 });
        expect(outcome.answer).toBe(onError === "open" ? open : closed);
        const { errors, timeouts, doubles } = outcome.stats;
        expect({ errors, timeouts, doubles }).toEqual({
          errors: 0,
          timeouts: 0,
          doubles: 0,
          [counter]: 1,
        });
        expect(outcome.lines.length).toBe(1);
        expect(outcome.lines[0]).toContain(
          `plugin bad 1.0.0: GET /x: ${says}; `,
        );
      });
    }
  }

  it("that swallows what a second next() says is counted all the same", async () => {
    const { answer, stats, lines } = await through(async (_, next) => {
      await next();
      await next().catch(() => {});
    });
    expect([answer, stats.doubles, lines.length]).toEqual([OK, 1, 1]);
    expect(lines[0]).toContain("twice; the first call stands");
  });

  it("that comes too late cannot run the rest a second time", async () => {
    let runs = 0;
    const woken = Promise.withResolvers<unknown>();
    const gate = Promise.withResolvers<void>();
    const plugin = definePlugin({
      name: "late",
      version: "1.0.0",
      setup: () => ({
        middleware: [async (_, next) => {
          await gate.promise;
          woken.resolve(
            await next().then(() => "passed", (error) => error.message),
          );
        }],
      }),
      onError: "open",
      timeoutMs: 20,
    });
    const registry = new PluginRegistry([plugin], () => {});
    const served = await registry.apply(
      new Hono().get("/", (c) => c.text(String(++runs))),
    );
    const answer = await served.fetch(new Request("http://h/"));
    expect(await answer.text()).toBe("1");
    gate.resolve();
    expect(await woken.promise).toBe("it called next() too late");
    expect(runs).toBe(1);
  });

  it("has no time of what comes after it", async () => {
    const gate = Promise.withResolvers<void>();
    const plugin = definePlugin({
      name: "outer",
      version: "1.0.0",
      setup: () => ({
        middleware: [async (_, next) => {
          await Promise.resolve(); // its time runs from here on
          await next();
        }],
      }),
      timeoutMs: 20,
    });
    const registry = new PluginRegistry([plugin], () => {});
    const served = await registry.apply(
      new Hono().get("/", async (c) => {
        await gate.promise;
        return c.text("slow");
      }),
    );
    const answer = served.fetch(new Request("http://h/"));
    const later = Promise.withResolvers<void>();
    setTimeout(later.resolve, 60); // fires after the plugin's own timer would
    await later.promise;
    gate.resolve();
    expect(await (await answer).text()).toBe("slow");
    expect(registry.stats().outer.timeouts).toBe(0);
  });

  it("lets an error of the app pass to the app's own handler", async () => {
    const plugin = definePlugin({
      name: "outer",
      version: "1.0.0",
      setup: () => ({ middleware: [(_, next) => next()] }),
    });
    const registry = new PluginRegistry([plugin], () => {});
    const app = new Hono().get("/", () => {
      throw new Error("mine");
    });
    app.onError((error, c) => c.text(`app: ${error.message}`, 418));
    app.notFound((c) => c.text("app: nothing here", 404));
    const served = await registry.apply(app);
    const [broken, missing] = await Promise.all(
      ["/", "/nope"].map((path) =>
        served.fetch(new Request(`http://h${path}`))
      ),
    );
    expect([broken.status, await broken.text()]).toEqual([418, "app: mine"]);
    expect([missing.status, await missing.text()]).toEqual([
      404,
      "app: nothing here",
    ]);
    expect(registry.stats().outer.errors).toBe(0);
  });

  it("is named in one line where it fails often", async () => {
    const { stats, lines } = await through(
      () => Promise.reject(new Error("x")),
      { requests: 20 },
    );
    expect(stats.errors).toBe(20);
    expect(lines).toEqual([
      "plugin bad 1.0.0: GET /x: it threw Error: x; answered 500",
      "plugin bad: failed 19 times more",
    ]);
  });
});
