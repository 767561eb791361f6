/**
 * The gateway as a service: sockets from systemd, and its states and pulse, told by sd_notify(3).
 *
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Child } from "./child.ts";
import {
  folderOf,
  ioUnderTest,
  ROOT,
  RunningCommand,
  runProgram,
  startCommand,
  until,
} from "./support.ts";

const ACTIVATE = await runProgram(["systemd-socket-activate", "--version"])
  .then(() => true, () => false);
if (!ACTIVATE) {
  console.log("no systemd-socket-activate here (apt-get install systemd)");
}

const APP = `
import { Hono } from "hono";
import { defineGateway, respond } from "sluice";
const app = new Hono();
app.get("/native", respond("native"));
app.get("/ts", (c) => c.text(["NOTIFY_SOCKET", "LISTEN_FDS"].map((name) => Deno.env.get(name) ?? "none").join()));
export default defineGateway(app, { listeners: [{ address: "127.0.0.1:PORT" }], workers: 2 });
`;

/** What systemd hears, one state after the other; the pulse is left out and counted. */
class Listener implements AsyncDisposable {
  #child: Child;
  pulses = 0;

  private constructor(child: Child) {
    this.#child = child;
  }

  static async at(path: string): Promise<Listener> {
    const run = [Deno.execPath(), "run", "--no-config", "--unstable-net"];
    const child = new Child([
      ...run,
      "--allow-read",
      "--allow-write",
      "--allow-net",
      `${ROOT}/tests/notify_child.ts`,
      path,
    ]);
    await child.line("the socket");
    return new Listener(child);
  }

  async next(): Promise<string> {
    for (;;) {
      const text = await this.#child.line<string>("a state");
      if (!text.startsWith("WATCHDOG=1\n")) return text;
      this.pulses++;
    }
  }

  async pulse(): Promise<void> {
    const text = await this.#child.line<string>("a pulse");
    assertMatch(text, /^WATCHDOG=1\n/);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

// One process under the id that it was started with, as the packed binary is: `deno task` would be another one in between.
function gatewayWords(args: string[]): string[] {
  return [
    ...[Deno.execPath(), "run", "--no-config", "--no-lock"],
    `--import-map=${ROOT}/tools/std/offline.json`,
    ...["--allow-net", "--allow-read", "--allow-env"],
    `--allow-ffi=${ROOT}/ffi/target/release/libsluice_ffi.so`,
    ...[`${ROOT}/gateway/main.ts`, ...args],
  ];
}

function activated(
  folder: string,
  port: number,
  env: Record<string, string>,
): RunningCommand {
  const settings = Object.entries({ ...env, SLUICE_IO: ioUnderTest() });
  const child = new Deno.Command("systemd-socket-activate", {
    args: [
      ...["-l", `127.0.0.1:${port}`],
      ...settings.map(([name, value]) => `--setenv=${name}=${value}`),
      ...gatewayWords(["app.ts"]),
    ],
    cwd: folder,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return new RunningCommand(child, () => Promise.resolve());
}

/** Its first connection starts the gateway, and is answered by it. */
async function get(url: string): Promise<string> {
  let answer: Response | undefined;
  await until(`${url} answers`, async () => {
    answer = await fetch(url).catch(() => undefined);
    return answer !== undefined;
  });
  return await answer!.text();
}

describe("under systemd", () => {
  (ACTIVATE ? it : it.skip)(
    "a gateway takes the socket of its listener, and tells ready, reloading, stopping and its pulse",
    async () => {
      const port = freePort();
      await using folder = await folderOf({
        "app.ts": APP.replace("PORT", `${port}`),
      });
      const socket = `${folder.path}/notify`;
      await using listener = await Listener.at(socket);
      await using command = activated(folder.path, port, {
        NOTIFY_SOCKET: socket,
        WATCHDOG_USEC: "200000",
      });
      // fd 3 listens already; a second bind would be refused.
      assertEquals(await get(`http://127.0.0.1:${port}/native`), "native");
      await command.ready();
      assertEquals(command.pid, command.taskPid);
      assertEquals(await get(`http://127.0.0.1:${port}/ts`), "none,none");
      assertMatch(
        await listener.next(),
        new RegExp(
          `^READY=1\nSTATUS=serving http://127.0.0.1:${port}\nMONOTONIC_USEC=\\d+\n$`,
        ),
      );
      await listener.pulse();
      command.kill("SIGHUP");
      assertMatch(
        await listener.next(),
        /^RELOADING=1\nSTATUS=reloading\nMONOTONIC_USEC=\d+\n$/,
      );
      assertMatch(await listener.next(), /^READY=1\n/);
      await Deno.writeTextFile(`${folder.path}/app.ts`, "export default 1;");
      command.kill("SIGHUP");
      assertMatch(await listener.next(), /^RELOADING=1\n/);
      assertMatch(
        await listener.next(),
        /^READY=1\nSTATUS=reload failed, what ran before goes on: /,
      );
      command.kill("SIGTERM");
      assertMatch(await listener.next(), /^STOPPING=1\nSTATUS=draining\n/);
      const { code, err } = await command.end();
      assertEquals(code, 0, err);
      assertStringIncludes(err, "closed after 2 answers on ");
    },
  );

  (ACTIVATE ? it : it.skip)(
    "a socket that is no listener's is an error that says what to change",
    async () => {
      const port = freePort();
      await using folder = await folderOf({
        "app.ts": APP.replace("PORT", "0"),
      });
      await using command = activated(folder.path, port, {});
      await until("somebody listens", async () => {
        using conn = await Deno.connect({ hostname: "127.0.0.1", port })
          .catch(() => undefined);
        return conn !== undefined;
      });
      const { code, err } = await command.end();
      assertEquals(code, 1);
      assertStringIncludes(
        err,
        `the socket on 127.0.0.1:${port} that was passed here is no listener's: they are on 127.0.0.1:0. Give ListenStream= and the listener the same address.`,
      );
    },
  );

  it("a state that nobody hears is a warning, and the gateway goes on", async () => {
    await using command = await startCommand([], {
      env: { NOTIFY_SOCKET: "/nowhere/at/all" },
    });
    await command.says(
      /warning: notify \/nowhere\/at\/all: No such file or directory/,
    );
    assertEquals((await command.stop()).code, 0);
  });
});
