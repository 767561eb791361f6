/**
 * `--watch`, SIGHUP, and isolates that are blocked or crash beside a reload: what clients see, and what is left behind.
 *
 * @module
 */
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import {
  assertNothingLeft,
  folderOf,
  type RawClient,
  runCommand,
  type RunningCommand,
  startCommand,
  until,
  WAIT_MS,
} from "./support.ts";

const SOAK = Deno.env.get("SLUICE_SOAK") !== undefined;

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`;
}

async function ask(command: RunningCommand, path: string): Promise<string> {
  using client = await command.connect();
  const { status, text } = await client.ask(get(path));
  return `${status} ${text.trimEnd()}`;
}

const HEAD = `
import { Hono } from "hono";
import { defineGateway, respond } from "sluice";
const app = new Hono();
`;

// A module that tells its version natively and in TypeScript.
function versioned(version: string | number, more = "", options = ""): string {
  return `${HEAD}
app.get("/native", respond("${version}"));
app.get("/ts", (c) => c.text("${version}"));
${more}
export default ${options ? `defineGateway(app, ${options})` : "app"};
`;
}

async function save(folder: { path: string }, text: string): Promise<void> {
  await Deno.writeTextFile(`${folder.path}/app.ts`, text);
}

async function live(command: RunningCommand, version: string | number) {
  await until(
    `version ${version} answers`,
    async () => await ask(command, "/ts") === `200 ${version}`,
  );
  expect(await ask(command, "/native")).toBe(`200 ${version}`);
}

function reloads(command: RunningCommand): number {
  return command.err.match(/^sluice: reloaded in/gm)?.length ?? 0;
}

type Stats = Parameters<typeof assertNothingLeft>[0] & { generations: number };

async function statsOf(command: RunningCommand): Promise<Stats> {
  const from = command.err.length;
  command.kill("SIGUSR2");
  const line = () => /^sluice: stats (.*)\n/m.exec(command.err.slice(from));
  await until("stats come", () => line() !== null);
  return JSON.parse(line()![1]);
}

async function memoryOf(
  command: RunningCommand,
): Promise<{ bytes: number; threads: number }> {
  const text = await Deno.readTextFile(`/proc/${command.pid}/status`);
  return {
    bytes: Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1]) * 1024,
    threads: Number(/Threads:\s+(\d+)/.exec(text)?.[1]),
  };
}

// Deno's threads of Workers.
async function isolateThreads(command: RunningCommand): Promise<number> {
  let count = 0;
  const folder = `/proc/${command.pid}/task`;
  for await (const { name } of Deno.readDir(folder)) {
    const text = await Deno.readTextFile(`${folder}/${name}/comm`)
      .catch(() => ""); // it has ended
    if (text.startsWith("worker-")) count++;
  }
  return count;
}

// Asks without pause, on connections that stay, until it is stopped; all answers must be 200, and no connection may see an older version again.
class Load {
  answers = 0;
  wrong: string[] = [];
  #isOver = false;
  #loops: Promise<void>[];

  constructor(command: RunningCommand) {
    this.#loops = ["/ts", "/native", "/ts", "/slow"].map((path) =>
      this.#loop(command, path)
    );
  }

  async #loop(command: RunningCommand, path: string): Promise<void> {
    using client = await command.connect();
    for (let last = 0; !this.#isOver; this.answers++) {
      const { status, text } = await client.ask(get(path));
      const version = Number(text);
      if (status !== 200 || !(version >= last)) {
        this.wrong.push(`${path}: ${status} ${text} after ${last}`);
      }
      last = version;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }
}

const SLOW = `
import { version } from "./lib/version.ts";
app.get("/slow", async (c) => { await new Promise((go) => setTimeout(go, 30)); return c.text(String(version)); });
app.get("/version", (c) => c.text(String(version)));
`;

describe("--watch", () => {
  it("makes each of many saves live under load, and leaves nothing behind", async () => {
    const saves = SOAK ? 100 : 10;
    await using folder = await folderOf({
      "app.ts": versioned(0, SLOW),
      "lib/version.ts": "export const version: number = 0;\n",
    });
    await using command = await startCommand(
      ["app.ts", "--watch", "--workers", "2"],
      { folder: folder.path },
    );
    const load = new Load(command);
    const times: number[] = [];
    const memory: number[] = [];
    const before = (await memoryOf(command)).threads;
    for (let version = 1; version <= saves; version++) {
      const isModule = version % 2 === 0;
      const path = isModule ? "/ts" : "/version";
      const from = performance.now();
      if (isModule) await save(folder, versioned(version, SLOW));
      else {
        await Deno.writeTextFile(
          `${folder.path}/lib/version.ts`,
          `export const version: number = ${version};\n`,
        );
      }
      await until(
        `${path} is ${version}`,
        async () => await ask(command, path) === `200 ${version}`,
      );
      times.push(performance.now() - from);
      if (SOAK) {
        await settled(command);
        memory.push((await memoryOf(command)).bytes);
      }
    }
    await load.stop();
    expect(load.wrong).toEqual([]);
    await settled(command);
    await until( // those of Deno's pools end after ten idle seconds
      `there are at most ${before} threads, as before`,
      async () => (await memoryOf(command)).threads <= before,
      3 * WAIT_MS,
    );
    const stats = await statsOf(command);
    expect(reloads(command)).toBe(saves);
    expect(stats.plan_loads).toBe(saves + 1);
    expect([stats.isolate_crashes, stats.isolate_blocks]).toEqual([0, 0]);
    const { exchanges_live, late_verdicts, bad_verdicts } = stats;
    expect([exchanges_live, late_verdicts, bad_verdicts]).toEqual([0, 0, 0]);
    console.log(
      `${saves} saves under load (${load.answers} answers): live after ${
        Math.round(median(times))
      } ms (p50), ${Math.round(Math.max(...times))} ms (max)`,
    );
    if (SOAK) {
      // Of five each, because now and then an old isolate's memory is not given back yet.
      const tenth = median(memory.slice(7, 12));
      const last = median(memory.slice(-5));
      console.log(
        `RSS ${tenth >> 20} MiB about the tenth, ${
          last >> 20
        } MiB about the last`,
      );
      expect(last).toBeLessThan(tenth * 1.1);
    }
    expect((await command.stop()).code).toBe(0);
  });

  const broken: [what: string, text: string, said: RegExp][] = [
    [
      "does not parse",
      `${HEAD}app.get("/ts", (c) => c.text("x")));\nexport default app;\n`,
      /app\.ts:5:\d+\n.*Expected/,
    ],
    [
      "throws",
      `${HEAD}throw new TypeError("at import");\n`,
      /app\.ts:5:7\n.*TypeError: at import/,
    ],
    [
      "imports what is not there",
      `import "./lib/absent.ts";\n${versioned("x")}`,
      /app\.ts:1:8\n.*Module not found ".*absent\.ts"/,
    ],
    [
      "imports a name that nobody exports",
      `import { nobody } from "./lib/version.ts";\nnobody();\n${
        versioned("x")
      }`,
      /app\.ts:1:10\n.*does not provide an export named 'nobody'/,
    ],
    ["has no default export", HEAD, /no default export/],
    [
      "has options that are wrong",
      versioned("x", "", "{ paths: 'both', isolates: 99 }"),
      /app\.ts:\d+:\d+\n(?=[^]*isolates)[^]*paths/,
    ],
    [
      "ends its isolate",
      `${versioned("x")}Deno.exit(1);\n`,
      /it closed itself/,
    ],
  ];
  it("keeps what runs when a save is broken, says where, and takes the next good one", async () => {
    await using folder = await folderOf({
      "app.ts": versioned(0),
      "lib/version.ts": "export const version = 0;\n",
    });
    await using command = await startCommand(["app.ts", "--watch"], {
      folder: folder.path,
    });
    for (const [i, [what, text, said]] of broken.entries()) {
      const from = command.err.length;
      await save(folder, text);
      await until(
        `it says what is wrong with a module that ${what}`,
        () => command.err.slice(from).includes("reload failed"),
      );
      await until(`${said} is said`, () => said.test(command.err.slice(from)));
      expect(await ask(command, "/ts")).toBe(`200 ${i}`);
      expect(await ask(command, "/native")).toBe(`200 ${i}`);
      await save(folder, versioned(i + 1));
      await live(command, i + 1);
    }
    await save(folder, `${HEAD}throw new Error("once more");\n`);
    await command.says(/reload failed[^]*once more/);
    await save(folder, versioned(broken.length)); // as it runs
    await command.says(
      /^sluice: reload: the files are again as they are running$/m,
    );
    expect(reloads(command)).toBe(broken.length);
    expect((await command.stop()).code).toBe(0);
  });

  it("takes a module that appears where an import missed it", async () => {
    await using folder = await folderOf({ "app.ts": versioned(0) });
    await using command = await startCommand(["app.ts", "--watch"], {
      folder: folder.path,
    });
    await save(folder, `import "./late.ts";\n${versioned(1)}`);
    await command.says(/reload failed[^]*Module not found/);
    await Deno.writeTextFile(`${folder.path}/late.ts`, "export {};\n");
    await live(command, 1);
    expect((await command.stop()).code).toBe(0);
  });

  it("takes a burst of saves for one, also if files are replaced by others", async () => {
    await using folder = await folderOf({
      "app.ts": versioned(0, SLOW),
      "lib/version.ts": "export const version = 0;\n",
    });
    await using command = await startCommand(["app.ts", "--watch"], {
      folder: folder.path,
    });
    for (let i = 1; i <= 10; i++) {
      for (
        const [name, text] of [
          ["app.ts", versioned(i, SLOW)],
          ["lib/version.ts", `export const version = ${i};\n`],
        ]
      ) {
        Deno.writeTextFileSync(`${folder.path}/new`, text); // as editors do
        Deno.renameSync(`${folder.path}/new`, `${folder.path}/${name}`);
      }
    }
    await live(command, 10);
    expect(await ask(command, "/version")).toBe("200 10");
    expect(reloads(command)).toBe(1);
    expect((await command.stop()).code).toBe(0);
  });

  it("names options that it cannot change, and applies the others", async () => {
    const options = (port: number, more: string) =>
      `{ listeners: [{ address: "127.0.0.1:${port}" }], ${more} }`;
    await using folder = await folderOf({
      "app.ts": versioned(0, "", options(0, "workers: 1")),
    });
    await using command = await startCommand(["app.ts", "--watch"], {
      folder: folder.path,
    });
    await save(
      folder,
      versioned(
        1,
        "",
        `{ workers: 2, io: "epoll", log: "json", isolates: 2, notFound: "native", limits: { connsMax: 7, drainMs: 900 } }`,
      ),
    );
    await live(command, 1);
    await command.says(
      /^sluice: warning: workers,( io,)? log, limits\.connsMax have changed: restart to apply$/m,
    );
    const before = (await statsOf(command)).requests_native;
    expect(await ask(command, "/absent")).toBe("404 404 Not Found");
    expect((await statsOf(command)).requests_native).toBe(before + 1);
    const { err } = await command.stop();
    expect(err).toMatch(/draining 0 requests, at most 900 ms/);
  });

  it("gives a load up that hangs when the next save comes", async () => {
    await using folder = await folderOf({ "app.ts": versioned(0) });
    await using command = await startCommand(["app.ts", "--watch"], {
      folder: folder.path,
    });
    await save(folder, `console.log("hangs"); await new Promise(() => {});`);
    await command.prints(/hangs/);
    expect(await ask(command, "/ts")).toBe("200 0");
    await save(folder, versioned(2));
    await live(command, 2);
    expect(command.err).not.toMatch(/reload failed/);
    expect((await command.stop()).code).toBe(0);
  });

  it("is refused where there is no file to watch", async () => {
    await using folder = await folderOf({});
    const { code, err } = await runCommand(["--watch"], {
      folder: folder.path,
    });
    expect(code).toBe(2);
    expect(err).toMatch(/--watch needs a MODULE that is a file/);
  });
});

// A server whose first answer is held until it is told: what a module awaits at its top.
function gate(): AsyncDisposable & {
  url: string;
  asked: Promise<void>;
  open: () => void;
} {
  let open = () => {};
  let ask = () => {};
  const opened = new Promise<void>((resolve) => open = resolve);
  const asked = new Promise<void>((resolve) => ask = resolve);
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen: () => {},
  }, async () => {
    ask();
    await opened;
    return new Response("open");
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    asked,
    open,
    [Symbol.asyncDispose]: async () => {
      open();
      await server.shutdown();
    },
  };
}

const HELD = `
app.get("/exit", () => Deno.exit(3));
app.get("/stream", (c) => c.body(new ReadableStream({
  async start(controller) {
    for (let i = 0; i < 5; i++) {
      controller.enqueue(new TextEncoder().encode(i + "\\n"));
      await (await fetch("GATE")).text();
    }
    controller.close();
  },
})));
`;

describe("a reload", () => {
  it("by SIGHUP comes once, and needs no --watch", async () => {
    await using folder = await folderOf({ "app.ts": versioned(0) });
    await using command = await startCommand(["app.ts"], {
      folder: folder.path,
    });
    await save(folder, versioned(1));
    expect(await ask(command, "/ts")).toBe("200 0");
    command.kill("SIGHUP");
    await live(command, 1);
    await save(folder, "broken");
    command.kill("SIGHUP");
    await command.says(/reload failed, what ran before goes on: app\.ts:1:1/);
    expect(await ask(command, "/ts")).toBe("200 1");
    command.kill("SIGHUP"); // also of an unchanged file
    await until(
      "it is tried again",
      () => command.err.match(/reload failed/g)?.length === 2,
    );
    expect((await command.stop()).code).toBe(0);
  });

  it("leaves streams to the old isolate, which ends when they have", async () => {
    await using held = gate();
    await using folder = await folderOf({
      "app.ts": versioned(0, HELD.replace("GATE", held.url)),
    });
    await using command = await startCommand(["app.ts", "--watch"], {
      folder: folder.path,
    });
    const streams: RawClient[] = [];
    for (let i = 0; i < 3; i++) {
      const client = await command.connect();
      await client.send(get("/stream"));
      expect((await client.readHead())?.line).toBe("HTTP/1.1 200 OK");
      await client.readUntil("0\n");
      streams.push(client);
    }
    await held.asked;
    for (let version = 1; version <= 3; version++) {
      await save(folder, versioned(version));
      await live(command, version);
    }
    await until(
      "those between have ended",
      async () => (await statsOf(command)).generations === 2,
    );
    expect((await statsOf(command)).exchanges_live).toBe(3);
    held.open();
    for (const client of streams) {
      for (let i = 1; i < 5; i++) await client.readUntil(`${i}\n`);
      await client.readUntil("0\r\n\r\n");
      client.close();
    }
    await settled(command);
    expect((await statsOf(command)).exchanges_live).toBe(0);
    expect(await ask(command, "/ts")).toBe("200 3");
    expect(command.err).not.toMatch(/cut requests/);
    expect((await command.stop()).code).toBe(0);
  });

  it("cuts what the old isolate still has at the deadline", async () => {
    await using held = gate();
    await using folder = await folderOf({
      "app.ts": versioned(0, HELD.replace("GATE", held.url)),
    });
    await using command = await startCommand(["app.ts", "--watch"], {
      folder: folder.path,
    });
    using client = await command.connect();
    await client.send(get("/stream"));
    await client.readUntil("0\n");
    await save(folder, versioned(1, "", "{ limits: { drainMs: 300 } }"));
    await live(command, 1);
    await command.says(/^sluice: cut requests that .* after 300 ms$/m);
    await expect(client.readUntil("0\r\n\r\n")).rejects.toThrow();
    expect((await statsOf(command)).exchanges_live).toBe(0);
    expect((await command.stop()).code).toBe(0);
  });

  it("is not stopped by a crash of what runs meanwhile", async () => {
    await using held = gate();
    await using folder = await folderOf({
      "app.ts": versioned(0, HELD.replace("GATE", held.url)),
    });
    await using command = await startCommand(["app.ts", "--watch"], {
      folder: folder.path,
    });
    await save(folder, `await fetch("${held.url}");\n${versioned(1)}`);
    await held.asked;
    expect(await ask(command, "/exit")).toMatch(/^503 /);
    await command.says(/isolate 0 has ended: .*; it starts again in 100 ms/);
    held.open();
    await live(command, 1);
    expect(reloads(command)).toBe(1);
    const { code, err } = await command.stop();
    expect([code, err.match(/runs again/g)]).toEqual([0, null]); // the reload has replaced it
  });

  it("does not keep a signal waiting", async () => {
    await using held = gate();
    await using folder = await folderOf({ "app.ts": versioned(0) });
    await using command = await startCommand(["app.ts", "--watch"], {
      folder: folder.path,
    });
    await save(folder, `await fetch("${held.url}");\n${versioned(1)}`);
    await held.asked;
    const { code, err } = await command.stop();
    expect([code, err.match(/reload failed/g)]).toEqual([0, null]);
  });

  it("takes the place of a restart if the files have changed since", async () => {
    await using held = gate();
    await using folder = await folderOf({
      "app.ts": versioned(0, HELD.replace("GATE", held.url)),
    });
    await using command = await startCommand(
      ["app.ts", "--isolates", "2"],
      { folder: folder.path },
    );
    await save(folder, versioned(1));
    await ask(command, "/exit");
    await until("it reloads", () => reloads(command) === 1);
    for (let i = 0; i < 6; i++) { // both isolates, and the plan
      expect(await ask(command, "/ts")).toBe("200 1");
      expect(await ask(command, "/native")).toBe("200 1");
    }
    expect((await command.stop()).code).toBe(0);
  });
});

const BLOCKING = `
const id = Math.random();
app.get("/id", (c) => c.text(String(id)));
app.get("/spin/:what", () => { console.log("spins"); while (true); });
app.get("/spin-until-told", () => {
  console.log("spins");
  while (true) try { Deno.statSync(new URL("./told", import.meta.url)); break; } catch { continue; }
  console.log("woke");
  return new Response("late");
});
app.get("/later", async (c) => { await (await fetch("data:,")).text(); console.log("spins"); while (true); });
app.get("/burn", (c) => { const until = performance.now() + 20; while (performance.now() < until); return c.text(String(id)); });
app.post("/count", (c) => { console.log("counted"); return c.text("counted"); });
`;
const QUICK = "{ isolates: ISOLATES, limits: { isolateTimeoutMs: 1000 } }";

describe("an isolate that is blocked", () => {
  for (
    const [path, where] of [
      ["/spin/for-ever", "in GET http:\\/\\/h\\/spin\\/for-ever"],
      ["/later", "by a timer or a promise"],
    ]
  ) {
    it(`${where.split(" ")[0]} a ${path} is ended and started again`, async () => {
      await using folder = await folderOf({
        "app.ts": versioned(0, BLOCKING, QUICK.replace("ISOLATES", "1")),
      });
      await using command = await startCommand(["app.ts"], {
        folder: folder.path,
      });
      const before = await ask(command, "/id");
      const blocked = ask(command, path);
      await command.prints(/spins/);
      const waiting = ask(command, "/id");
      expect(await ask(command, "/native")).toBe("200 0");
      await command.says(
        new RegExp(
          `^sluice: error: isolate 0 has ended: it was blocked for 1000 ms ${where}; it starts again in 100 ms$`,
          "m",
        ),
      );
      expect(await blocked).toMatch(/^503 /);
      expect(await waiting).toMatch(/^503 /); // there is no other isolate
      await command.says(/^sluice: isolate 0 runs again$/m);
      const after = await ask(command, "/id");
      expect(after).toMatch(/^200 0\./);
      expect(after).not.toBe(before);
      expect((await statsOf(command)).isolate_blocks).toBe(1);
      expect((await command.stop()).code).toBe(0);
    });
  }

  it("beside another leaves it what it had not begun, also if it wakes up later", async () => {
    await using folder = await folderOf({
      "app.ts": versioned(0, BLOCKING, QUICK.replace("ISOLATES", "2")),
    });
    await using command = await startCommand(["app.ts", "--workers", "1"], {
      folder: folder.path,
    });
    const blocked = ask(command, "/spin-until-told");
    await command.prints(/spins/);
    const from = (await statsOf(command)).requests_typescript;
    // More at once than one isolate reads in time: some wait behind the blocked one.
    const burns: Promise<string>[] = [];
    for (let i = 0; i < 12; i++) burns.push(ask(command, "/burn"));
    using client = await command.connect();
    await client.send(
      "POST /count HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok",
    );
    await until(
      "all have come",
      async () => (await statsOf(command)).requests_typescript === from + 13,
    );
    expect(await blocked).toMatch(/^503 /);
    const answers = await Promise.all(burns);
    expect(answers.filter((text) => !text.startsWith("200 "))).toEqual([]);
    expect((await client.readAnswer()).text).toBe("counted");
    expect(command.out.match(/counted/g)?.length).toBe(1);
    await command.says(/^sluice: isolate [01] runs again$/m);
    const stats = await statsOf(command);
    expect(stats.isolate_moves).toBeGreaterThan(0);
    expect(stats.byStatus.isolate_gone).toBe(1);
    await Deno.writeTextFile(`${folder.path}/told`, "");
    await command.prints(/woke/);
    expect((await statsOf(command)).late_verdicts).toBe(0); // nobody reads its ring
    expect(command.out.match(/counted/g)?.length).toBe(1);
    await until(
      "its thread has ended, too",
      async () => await isolateThreads(command) === 2,
    );
    expect((await command.stop()).code).toBe(0);
  });
});

describe("several isolates", () => {
  it("share handlers that keep a CPU busy", async () => {
    await using folder = await folderOf({
      "app.ts": versioned(0, BLOCKING),
    });
    await using command = await startCommand(
      ["app.ts", "--workers", "1", "--isolates", "2"],
      { folder: folder.path },
    );
    const counts = new Map<string, number>();
    await Promise.all(Array.from({ length: 4 }, async () => {
      using client = await command.connect();
      for (let i = 0; i < 10; i++) {
        const { text } = await client.ask(get("/burn"));
        counts.set(text, (counts.get(text) ?? 0) + 1);
      }
    }));
    const [a, b] = [...counts.values()].toSorted((x, y) => x - y);
    console.log(`40 requests of 20 ms: ${a} and ${b} per isolate`);
    expect(counts.size).toBe(2);
    expect(a).toBeGreaterThanOrEqual(12);
    expect((await command.stop()).code).toBe(0);
  });
});

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

// The old isolates have ended.
async function settled(command: RunningCommand): Promise<void> {
  await until(
    "one isolate is left",
    async () => await isolateThreads(command) === 1,
  );
}
