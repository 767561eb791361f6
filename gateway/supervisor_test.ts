import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import type { AppSource } from "./isolate_messages.ts";
import {
  IsolateHandle,
  ModuleError,
  RestartPolicy,
  Watchdog,
} from "./supervisor.ts";

function moduleOf(text: string): AppSource {
  return {
    kind: "module",
    url: `data:application/typescript,${encodeURIComponent(text)}`,
  };
}

async function withIsolate(
  run: (isolate: IsolateHandle, ended: Promise<string>) => Promise<void>,
): Promise<void> {
  let end = (_: string) => {};
  const ended = new Promise<string>((resolve) => end = resolve);
  const isolate = new IsolateHandle("test", end);
  try {
    await run(isolate, ended);
  } finally {
    isolate.terminate();
  }
}

describe("IsolateHandle", () => {
  it("loads a module and gets its options and plan", () =>
    withIsolate(async (isolate) => {
      const app = await isolate.load({ kind: "default" }, { workers: 3 });
      expect(app.options.workers).toBe(3);
      expect(app.plan.entries.map(({ path, steps }) => [path, steps[0].op]))
        .toEqual([
          ["/*", "headers"],
          ["/", "typescript"],
          ["/live", "typescript"],
          ["/favicon.svg", "respond"],
          ["/hello/:name", "typescript"],
          ["/whoami", "whoami"],
        ]);
    }));

  it("takes any object with fetch", () =>
    withIsolate(async (isolate) => {
      const source = moduleOf("export default { fetch: () => new Response() }");
      expect((await isolate.load(source, {})).plan.allTypeScript).toContain(
        "not a Hono app",
      );
    }));

  it("sends everything to an upstream", () =>
    withIsolate(async (isolate) => {
      const { plan } = await isolate.load({
        kind: "upstream",
        url: "http://127.0.0.1:81",
      }, {});
      expect(plan.upstreams[0]).toMatchObject({
        port: 81,
        address: [127, 0, 0, 1],
      });
      expect(plan.entries[0]).toMatchObject({
        method: "ALL",
        path: "/*",
        steps: [{ op: "proxy" }],
      });
    }));

  const failing: [what: string, text: string, reason: RegExp][] = [
    ["throws", 'throw new Error("at top")', /at top/],
    ["has no default export", "export const a = 1", /no default export/],
    [
      "exports something else",
      "export default 3",
      /neither a gateway nor an object with fetch \(got 3\)/,
    ],
    ["does not parse", "export default {", /./],
    [
      "ends itself",
      "self.close(); await new Promise(() => {})",
      /closed itself/,
    ],
  ];
  for (const [what, text, reason] of failing) {
    it(`refuses a module that ${what}`, () =>
      withIsolate(async (isolate) => {
        const loading = isolate.load(moduleOf(text), {});
        await expect(loading).rejects.toThrow(ModuleError);
        await expect(loading).rejects.toThrow(reason);
      }));
  }

  it("notices that an isolate has ended", () =>
    withIsolate(async (isolate, ended) => {
      await isolate.load(
        moduleOf(
          "setTimeout(() => self.close(), 10); export default { fetch() {} }",
        ),
        {},
      );
      expect(await ended).toContain("closed itself");
    }));

  it("ends an isolate that never yields", () =>
    withIsolate(async (isolate) => {
      await isolate.load(
        moduleOf(
          "setTimeout(() => { while (true); }, 0); export default { fetch() {} }",
        ),
        {},
      );
      await isolate.close(10);
    }));
});

describe("RestartPolicy", () => {
  it("waits longer each time and gives up at the fifth crash within 30 s", () => {
    const policy = new RestartPolicy();
    const pauses = [0, 1000, 2000, 29_000, 29_500].map((at) =>
      policy.crashed(at)
    );
    expect(pauses).toEqual([100, 200, 400, 800, undefined]);
    expect(`${policy}`).toBe("it crashed 5 times within 30 s");
  });

  it("forgets a crash after 30 s", () => {
    const policy = new RestartPolicy();
    for (const at of [0, 1000, 2000, 3000]) policy.crashed(at);
    expect(policy.crashed(30_000)).toBe(800); // the first is forgotten
    expect(policy.crashed(90_000)).toBe(100);
  });
});

describe("Watchdog", () => {
  it("tells once that neither pulse nor work goes on", async () => {
    let blocked = 0;
    const told = Promise.withResolvers<void>();
    const watchdog = new Watchdog(20, () => 7, () => {
      blocked++;
      told.resolve();
    });
    await told.promise;
    const later = Promise.withResolvers<void>();
    const other = new Watchdog(40, () => 7, later.resolve); // longer than the first would need again
    await later.promise;
    expect(blocked).toBe(1);
    watchdog.stop();
    other.stop();
  });

  it("is content with either of them, and off with 0", async () => {
    const told: string[] = [];
    let progress = 0;
    const dogs = [
      new Watchdog(25, () => progress++, () => told.push("by its work")),
      new Watchdog(25, () => 0, () => told.push("by its pulse")),
      new Watchdog(0, () => 0, () => told.push("off")),
    ];
    const beat = setInterval(() => Atomics.add(dogs[1].pulse.count, 0, 1), 1);
    const done = Promise.withResolvers<void>();
    const last = new Watchdog(100, () => 0, done.resolve);
    await done.promise;
    clearInterval(beat);
    for (const dog of [...dogs, last]) dog.stop();
    expect(told).toEqual([]);
  });
});
