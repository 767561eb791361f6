/**
 * Ends that nobody wished for: programs that die with a gateway in them, isolates that crash and come back.
 *
 * @module
 */
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import {
  folderOf,
  ioUnderTest,
  ROOT,
  type RunningCommand,
  runProgram,
  startCommand,
  until,
} from "./support.ts";

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`;
}

async function ask(command: RunningCommand, path: string): Promise<string> {
  using client = await command.connect();
  const { status, text } = await client.ask(get(path));
  return `${status} ${text.trimEnd()}`;
}

// A program that starts a gateway in its own isolate, serves something, and then does `end`.
function program(end: string, exchanges: number): string {
  return `
import { Hono } from "hono";
import { defineGateway } from "sluice";
const app = new Hono();
app.get("/", (c) => c.text("hi"));
const gateway = defineGateway(app, {
  listeners: [{ address: "127.0.0.1:0" }], workers: 2, io: "${ioUnderTest()}", limits: { exchanges: ${exchanges} },
});
const { addresses } = await gateway.start();
const base = "http://127.0.0.1:" + addresses[0].port;
for (let i = 0; i < 50; i++) await (await fetch(base)).text();
console.log("served");
${end}
`;
}

describe("a program that starts a gateway itself", () => {
  const rows: [what: string, end: string, code: number, message: RegExp][] = [
    [
      "throws at top level",
      'throw new Error("the end");',
      1,
      /Uncaught \(in promise\) Error: the end/,
    ],
    [
      "throws in a timer",
      'setTimeout(() => { throw new Error("the end"); }, 1);',
      1,
      /Uncaught Error: the end/,
    ],
    [
      "leaves a rejection unhandled",
      'Promise.reject(new Error("the end"));',
      1,
      /Uncaught \(in promise\) Error: the end/,
    ],
    [
      "throws while clients ask",
      'for (let i = 0; i < 50; i++) fetch(base).catch(() => {});\nsetTimeout(() => { throw new Error("the end"); }, 1);',
      1,
      /Uncaught Error: the end/,
    ],
    ["calls Deno.exit", "Deno.exit(7);", 7, /^$/],
    ["closes it", "await gateway.close();", 0, /^$/],
  ];
  for (const [what, end, code, message] of rows) {
    it(`and ${what} exits ${code} with Deno's own message`, async () => {
      // Small regions, and at the end of the plainest program those of the default, too.
      for (const exchanges of end.startsWith("throw") ? [1024, 64] : [64]) {
        await using folder = await folderOf({
          "program.ts": program(end, exchanges),
        });
        const result = await runProgram([
          "env",
          "NO_COLOR=1",
          Deno.execPath(),
          "run",
          "--no-config",
          `--import-map=${ROOT}/tools/std/offline.json`,
          "--no-lock",
          "--allow-net=127.0.0.1",
          "--allow-env",
          `--allow-read=${ROOT}`,
          `--allow-ffi=${
            Deno.env.get("SLUICE_LIBRARY") ||
            `${ROOT}/ffi/target/release/libsluice_ffi.so`
          }`,
          `${folder.path}/program.ts`,
        ]);
        expect([result.code, result.out, exchanges]).toEqual([
          code,
          "served\n",
          exchanges,
        ]);
        expect(result.err).toMatch(message);
      }
    });
  }
});

const CRASHING = `
import { Hono } from "hono";
import { respond } from "sluice";
const app = new Hono();
const born = Math.random();
app.get("/native", respond("native"));
app.get("/born", (c) => c.text(String(born)));
app.get("/exit", () => Deno.exit(3));
app.get("/held", () => { console.log("held"); return new Promise(() => {}); });
app.get("/close", () => { self.close(); return new Promise(() => {}); });
export default app;
`;

describe("an isolate that crashes", () => {
  for (const path of ["/exit", "/close"]) {
    it(`by ${path} is told, its requests answered 503, and it is started again`, async () => {
      await using folder = await folderOf({ "crashing.js": CRASHING });
      await using command = await startCommand(
        ["crashing.js", "--workers", "2"],
        { folder: folder.path },
      );
      const before = await ask(command, "/born");
      using held = await command.connect();
      await held.send(get("/held"));
      await command.prints(/held/);
      const gone = "503 The isolate that runs this route has ended.";
      expect(await ask(command, path)).toBe(gone);
      expect((await held.readAnswer()).status).toBe(503);
      expect(await ask(command, "/native")).toBe("200 native");
      await command.says(
        /^sluice: error: isolate 0 has ended: .*; it starts again in 100 ms$/m,
      );
      await command.says(/^sluice: isolate 0 runs again$/m);
      for (let i = 0; i < 10; i++) { // over both workers
        const after = await ask(command, "/born");
        expect(after).toMatch(/^200 0\./);
        expect(after).not.toBe(before);
      }
      expect((await held.ask(get("/native"))).text).toBe("native"); // its connection has outlived it
      held.close();
      expect((await command.stop()).code).toBe(0);
    });
  }

  it("alone leaves the others their work", async () => {
    await using folder = await folderOf({ "crashing.js": CRASHING });
    await using command = await startCommand(
      ["crashing.js", "--workers", "1", "--isolates", "2"],
      { folder: folder.path },
    );
    const seen = new Set<string>();
    await until("both answer", async () => {
      seen.add(await ask(command, "/born"));
      return seen.size === 2;
    });
    await ask(command, "/exit");
    expect(seen.has(await ask(command, "/born"))).toBe(true); // at once
    await command.says(/^sluice: isolate [01] runs again$/m);
    await until("a third answers", async () => {
      seen.add(await ask(command, "/born"));
      return seen.size === 3;
    });
    expect((await command.stop()).code).toBe(0);
  });

  it("five times in 30 s ends the gateway: it drains and exits 1", async () => {
    await using folder = await folderOf({ "crashing.js": CRASHING });
    await using command = await startCommand(["crashing.js"], {
      folder: folder.path,
    });
    for (let crash = 1; crash < 5; crash++) {
      await ask(command, "/exit");
      await until(
        `it runs after crash ${crash}`,
        () => (command.err.match(/runs again/g)?.length ?? 0) === crash,
      );
    }
    await ask(command, "/exit");
    const { code, err } = await command.end();
    expect(code).toBe(1);
    expect(
      err.match(/it starts again in \d+ ms/g)?.map((text) =>
        Number(text.match(/\d+/))
      ),
    ).toEqual([100, 200, 400, 800]);
    expect(err).toMatch(
      /^sluice: error: isolate 0 has ended: it closed itself \(Deno\.exit or self\.close\)\nsluice: error: it crashed 5 times within 30 s; draining, exit 1\nsluice: closed after 5 answers on 5 connections$/m,
    );
  });

  it("and does not load any more, too", async () => {
    await using folder = await folderOf({ "crashing.js": CRASHING });
    await using command = await startCommand(["crashing.js"], {
      folder: folder.path,
    });
    await Deno.writeTextFile(
      `${folder.path}/crashing.js`,
      'throw new Error("edited meanwhile");',
    );
    await ask(command, "/exit");
    const { code, err } = await command.end();
    expect(code).toBe(1);
    expect(err.match(/has ended: Error: edited meanwhile/g)?.length).toBe(4);
    expect(err).toMatch("it crashed 5 times within 30 s; draining, exit 1");
  });

  it("while it is started again does not keep a signal from ending all", async () => {
    await using folder = await folderOf({ "crashing.js": CRASHING });
    await using command = await startCommand(["crashing.js"], {
      folder: folder.path,
    });
    await ask(command, "/exit");
    await command.says(/it starts again in/);
    const { code, err } = await command.stop();
    expect(code).toBe(0);
    expect(err).toMatch(/SIGTERM: draining 0 requests/);
  });
});
