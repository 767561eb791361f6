// Plugins in a running gateway: what they do wrong is theirs alone, what is native stays in C, and each is counted by name.

import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { definePlugin, headers, proxy, respond } from "sluice";
import {
  answering,
  folderOf,
  type RawClient,
  runCommand,
  startCommand,
  startGateway,
  startUpstream,
  until,
} from "./support.ts";

async function ask(client: RawClient, path: string): Promise<string> {
  const { status, text } = await client.ask(
    `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`,
  );
  return `${status} ${text.trim()}`;
}

/** Takes what is said on standard error meanwhile. */
async function heard(work: () => Promise<void>): Promise<string[]> {
  const { error } = console;
  const lines: string[] = [];
  console.error = (...values: unknown[]) => lines.push(values.join(" "));
  try {
    await work();
  } finally {
    console.error = error;
  }
  return lines;
}

const bad = definePlugin({
  name: "bad",
  version: "1.0.0",
  setup: () => ({
    middleware: [
      {
        path: "/throws/*",
        handler: () => {
          throw new Error("boom");
        },
      },
      { path: "/hangs/*", handler: () => new Promise<void>(() => {}) },
      {
        path: "/twice/*",
        handler: async (_, next) => {
          await next();
          await next();
        },
      },
    ],
  }),
  timeoutMs: 100,
});

describe("a plugin", () => {
  it("that throws, never answers or answers twice harms no other route", async () => {
    await using upstream = await startUpstream(
      answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup"),
    );
    const app = new Hono();
    app.get("/native", respond("native"));
    app.all("/up/*", proxy(upstream.url));
    app.get("*", (c) => c.text("typescript"));
    const lines = await heard(async () => {
      await using running = await startGateway(app, { plugins: [bad] });
      using wrong = await running.connect();
      using hanging = await running.connect();
      using right = await running.connect();
      for (let i = 0; i < 5; i++) {
        const hangs = ask(hanging, "/hangs/x");
        expect(await ask(wrong, "/throws/x")).toBe("500 500 Plugin failed");
        expect(await ask(wrong, "/twice/x")).toBe("500 500 Plugin failed");
        expect(await ask(right, "/native")).toBe("200 native");
        expect(await ask(right, "/up/x")).toBe("200 up");
        expect(await ask(right, "/other")).toBe("200 typescript");
        expect(await hangs).toBe("503 503 Plugin failed");
      }
      const { bad: counts } = running.gateway.stats().plugins;
      const { calls, errors, timeouts, doubles } = counts;
      expect({ calls, errors, timeouts, doubles })
        .toEqual({ calls: 15, errors: 5, timeouts: 5, doubles: 5 });
      expect(counts.timeMs).toBeGreaterThan(400);
    });
    const named = lines.filter((line) => line.includes("plugin bad"));
    expect(named[0]).toBe(
      "sluice: plugin bad 1.0.0: GET /throws/x: it threw Error: boom; answered 500",
    );
    expect(named.at(-1)).toMatch(/plugin bad: failed \d+ times more/);
    expect(named.length).toBe(2);
  });

  it("of native middleware leaves native routes in C", async () => {
    const fields = definePlugin({
      name: "fields",
      version: "1.0.0",
      setup: () => ({
        middleware: [headers({ response: { set: { "x-fields": "1" } } })],
      }),
    });
    const app = new Hono().get("/native", respond("native"))
      .get("/ts", (c) => c.text("typescript"));
    await using running = await startGateway(app, { plugins: [fields] });
    using client = await running.connect();
    for (const path of ["/native", "/ts"]) {
      const { head } = await client.ask(
        `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`,
      );
      expect([path, head.all("x-fields")]).toEqual([path, ["1"]]);
    }
    const { requests_native, plugins } = running.gateway.stats();
    expect(requests_native).toBe(1);
    expect(plugins.fields.calls).toBe(1); // its TypeScript form lets pass what C has done
    expect(running.gateway.explain("GET", "/native").answeredBy).toBe("native");
  });

  it("is kept by a reload, and disposed with the gateway", async () => {
    const events: string[] = [];
    const lived = definePlugin({
      name: "lived",
      version: "1.0.0",
      setup: () => {
        events.push("setup");
        return {
          middleware: [async (c, next) => {
            await next();
            c.header("x-lived", "1");
          }],
          dispose: () => void events.push("dispose"),
        };
      },
    });
    {
      await using running = await startGateway(new Hono(), {
        plugins: [lived],
      });
      await running.gateway.reload(new Hono().get("/", (c) => c.text("new")));
      using client = await running.connect();
      const { head } = await client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
      expect(head.all("x-lived")).toEqual(["1"]);
      expect(() => running.gateway.use(lived)).toThrow(
        "before the gateway starts",
      );
      expect(events).toEqual(["setup"]);
    }
    expect(events).toEqual(["setup", "dispose"]);
  });

  it("runs in a module that the command starts, and its failures are told", async () => {
    const module = (setup: string) =>
      'import { Hono } from "hono";\nimport { defineGateway } from "sluice";\n' +
      'import { mine } from "./mine.ts";\n' +
      'export default defineGateway(new Hono().get("/", (c) => c.text("ok"))).use(mine' +
      `${setup});\n`;
    await using folder = await folderOf({
      "mine.ts": 'import { definePlugin } from "sluice";\n' +
        'export const mine = definePlugin({ name: "mine", version: "1.0.0",\n' +
        "  options: (given: { text?: string }, problem) => {\n" +
        '    if (!given.text) problem("text", given.text, "must be text");\n' +
        "    return given;\n  },\n" +
        "  setup: ({ text }, { log }) => ({\n" +
        '    middleware: [async (c, next) => { await next(); c.header("x-mine", text); }],\n' +
        '    dispose: () => log("disposed"),\n  }) });\n',
      "package.json": '{ "dependencies": { "acl": "1.0.0" } }',
      "node_modules/acl/package.json":
        '{ "name": "acl", "version": "1.0.0", "type": "module", "main": "index.js" }',
      "node_modules/acl/index.js":
        'export default { name: "acl", version: "1.0.0", setup: () => ({\n' +
        '  middleware: [{ path: "/admin/*", handler: (c) => c.text("no", 403) }] }) };\n',
      "good.ts": module(', { text: "yes" }).use(acl')
        .replace("\n", '\nimport acl from "acl";\n'),
      "wrong.ts": module(""),
    });
    await using command = await startCommand(["good.ts"], {
      folder: folder.path,
    });
    using client = await command.connect();
    const { head } = await client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(head.all("x-mine")).toEqual(["yes"]);
    expect(await ask(client, "/admin/x")).toBe("403 no");
    expect(command.err).toContain("ALL  /*        TypeScript  plugin mine");
    Deno.kill(command.pid, "SIGHUP"); // a reload: another isolate, and so another life
    await until("the old one's end", () => command.err.includes("disposed"));
    expect(await ask(client, "/")).toBe("200 ok");
    const { code, err } = await command.stop();
    expect(code).toBe(0);
    expect(err.match(/^sluice: mine: disposed$/gm)?.length).toBe(2);
    const wrong = await runCommand(["wrong.ts", "--http", "127.0.0.1:0"], {
      folder: folder.path,
    });
    expect(wrong.code).toBe(1);
    expect(wrong.err).toMatch(
      /Cannot load wrong\.ts: use\(\) at wrong\.ts:\d+:\d+ mine\.text: must be text \(got undefined\)/,
    );
  });

  it("chooses upstreams, and C sends the requests there", async () => {
    const script = (name: string) =>
      startUpstream(
        answering(({ body }) =>
          `HTTP/1.1 200 OK\r\nContent-Length: ${
            name.length + body.length
          }\r\n\r\n${name}${new TextDecoder().decode(body)}`
        ),
      );
    await using one = await script("one ");
    await using two = await script("two ");
    const chooser = definePlugin({
      name: "chooser",
      version: "1.0.0",
      setup: () => ({
        balancers: {
          field: {
            pick: async (c) => {
              const wanted = c.req.header("x-to") ?? "";
              return await (wanted === "never"
                ? new Promise<never>(() => {})
                : wanted);
            },
          },
        },
      }),
      timeoutMs: 50,
    });
    const app = new Hono();
    const target = { upstreams: ["one", "two"], balancer: "field" };
    app.all("/by/field", proxy(target, { connsMax: 4 }));
    app.all("/in/turn", proxy({ upstreams: ["one", "two"] }));
    const lines = await heard(async () => {
      await using running = await startGateway(app, {
        plugins: [chooser],
        upstreams: { one: { url: one.url }, two: { url: two.url } },
      });
      using client = await running.connect();
      const post = async (path: string, to = "") => {
        const { status, text } = await client.ask(
          `POST ${path} HTTP/1.1\r\nHost: h\r\nX-To: ${to}\r\nContent-Length: 4\r\n\r\nbody`,
        );
        return `${status} ${text.trim()}`;
      };
      expect(await post("/by/field", "two")).toBe("200 two body");
      expect(await post("/by/field", "one")).toBe("200 one body");
      expect(await post("/by/field", "two")).toBe("200 two body");
      expect(await post("/by/field", "three")).toBe("500 500 Plugin failed");
      expect(await post("/by/field", "never")).toBe("503 503 Plugin failed");
      expect(await post("/in/turn")).toBe("200 one body");
      expect(await post("/in/turn")).toBe("200 two body");
      const { plugins, upstreams } = running.gateway.stats();
      const { calls, errors, timeouts } = plugins.chooser;
      expect({ calls, errors, timeouts })
        .toEqual({ calls: 5, errors: 1, timeouts: 1 });
      const sent = Object.values(upstreams).map(({ connects, reuses }) =>
        connects + reuses
      );
      expect(sent.reduce((sum, count) => sum + count)).toBe(5); // by C: fetch() is not counted here
      expect(String(running.gateway.explain("POST", "/by/field"))).toContain(
        `proxy at ALL /by/field is TypeScript: its balancer is a plugin's`,
      );
    });
    expect(lines[0]).toBe(
      "sluice: plugin chooser 1.0.0: POST /by/field: balancer field: " +
        'it picked "three", not one of one, two; answered 500',
    );
  });

  it("brings a store and a balancer to a module that the command starts", async () => {
    await using one = await startUpstream(
      answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"),
    );
    await using two = await startUpstream(
      answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"),
    );
    const module = (store: string) =>
      'import { Hono } from "hono";\n' +
      'import { defineGateway, proxy, rateLimit } from "sluice";\n' +
      'import { mine } from "./mine.ts";\n' +
      "const app = new Hono();\n" +
      `app.use(rateLimit({ key: "route", rate: 1 / 3600, burst: 3, store: "${store}" }));\n` +
      'app.all("/up", proxy({ upstreams: ["one", "two"], balancer: "last" }));\n' +
      "export default defineGateway(app, { isolates: 2, plugins: [mine],\n" +
      `  upstreams: { one: { url: "${one.url}" }, two: { url: "${two.url}" } } });\n`;
    await using folder = await folderOf({
      // One number for all isolates: a file whose creation is a lock.
      "mine.ts": 'import { definePlugin } from "sluice";\n' +
        "async function update(key, change) {\n" +
        '  const lock = await Deno.open("lock", { create: true, write: true });\n' +
        "  await lock.lock(true);\n" +
        "  try {\n" +
        '    const text = await Deno.readTextFile("n").catch(() => "");\n' +
        "    const entry = change(text ? Number(text) : undefined);\n" +
        '    if (entry) await Deno.writeTextFile("n", String(entry.value));\n' +
        "  } finally {\n    lock.close();\n  }\n}\n" +
        'export const mine = definePlugin({ name: "mine", version: "1.0.0", setup: () => ({\n' +
        "  stores: { file: { update } },\n" +
        "  balancers: { last: { pick: (_, upstreams) => upstreams.at(-1) } } }) });\n",
      "good.ts": module("file"),
      "wrong.ts": module("fiel"),
    });
    await using command = await startCommand(["good.ts", "--allow-write=."], {
      folder: folder.path,
    });
    const clients = await Promise.all(
      Array.from({ length: 6 }, () => command.connect()),
    );
    const answers = await Promise.all(
      clients.map((client) => ask(client, "/up")),
    );
    for (const client of clients) client[Symbol.dispose]();
    expect(answers.sort()).toEqual([
      ...Array(3).fill("200 two"),
      ...Array(3).fill("429 Too many requests."),
    ]);
    expect(command.err).toMatch(/\/up +TypeScript +proxy.*a plugin's/);
    expect((await command.stop()).code).toBe(0);
    const wrong = await runCommand(["wrong.ts", "--http", "127.0.0.1:0"], {
      folder: folder.path,
    });
    expect(wrong.code).toBe(1);
    expect(wrong.err).toContain(
      'rateLimit() store: names none of the plugins\' stores (known: file) (got "fiel")',
    );
  });
});
