/**
 * `deno task start gateway` as a user types it: what it says, what it runs, how it ends, and what it answers to mistakes.
 *
 * @module
 */
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import {
  answering,
  folderOf,
  rawClient,
  runCommand,
  type RunningCommand,
  runProgram,
  startCommand,
  startUpstream,
  startWords,
  until,
  within,
} from "./support.ts";

function get(path: string, more = ""): string {
  return `GET ${path} HTTP/1.1\r\nHost: h\r\n${more}\r\n`;
}

async function ask(command: RunningCommand, path: string): Promise<string> {
  using client = await command.connect();
  const { status, text } = await client.ask(get(path));
  return `${status} ${text}`;
}

async function has(program: string): Promise<boolean> {
  return await runProgram([program, "--version"]).then(() => true, () => false);
}

const HONO = 'import { Hono } from "hono";\nconst app = new Hono();\n';

// A handler that does not answer until it is told to, one that never yields, and a native route.
const SLOW = `${HONO}
import { defineGateway, respond } from "sluice";
let open;
const opened = new Promise((resolve) => open = resolve);
app.get("/native", respond("native"));
app.get("/gate", async (c) => { console.log("entered"); await opened; return c.text("passed"); });
app.get("/open", (c) => { open(); return c.text("open"); });
app.get("/spin", () => { console.log("spinning"); while (true); });
app.get("/exit", () => Deno.exit(3));
app.get("/reject", (c) => { Promise.reject(new Error("nobody catches this")); return c.text("rejected"); });
export default defineGateway(app, { limits: { drainMs: 800 } });
`;

describe("the command line", () => {
  describe("answers", () => {
    it("--help and --version", async () => {
      for (const flag of ["--help", "-h"]) {
        const { code, out, err } = await runCommand([
          flag,
          "--http",
          "127.0.0.1:0",
        ]);
        expect([code, err]).toEqual([0, ""]);
        expect(out).toMatch(
          /^Sluice: .*\n\nusage: deno task start gateway \[MODULE\] \[options\]\n/,
        );
        for (
          const option of [
            "--http",
            "--https",
            "--cert",
            "--key",
            "--upstream",
            "--workers",
            "--isolates",
            "--io",
            "--log",
          ]
        ) {
          expect(out).toMatch(new RegExp(`^  ${option} `, "m"));
        }
      }
      const { code, out } = await runCommand(["--version"]);
      expect([code, /^\d+\.\d+\.\d+\n$/.test(out)]).toEqual([0, true]);
    });

    const rows: [string[], RegExp][] = [
      [
        ["--htp", "127.0.0.1:0"],
        /there is no option --htp; did you mean --http\?/,
      ],
      [
        ["--quick"],
        /there is no option --quick; `deno task start gateway --help` lists the options/,
      ],
      [
        ["--http", "nowhere"],
        /--http must be host:port, such as .* \(got "nowhere"\)/,
      ],
      [
        ["--http", "127.0.0.1:70000"],
        /--http must have a port from 0 to 65535 \(got "127.0.0.1:70000"\)/,
      ],
      [["--http"], /--http needs a value: --http ADDR/],
      [
        ["--workers", "0"],
        /--workers must be a number from 1 to 64 \(got "0"\)/,
      ],
      [
        ["--io", "urin"],
        /--io must be auto, uring or epoll; did you mean uring\? \(got "urin"\)/,
      ],
      [["--log", "xml"], /--log must be off, text or json \(got "xml"\)/],
      [["--cert", "a.pem"], /--cert needs --key FILE, too/],
      [
        ["--upstream", "127.0.0.1:3000"],
        /--upstream must .*http.* \(got "127.0.0.1:3000"\)/,
      ],
      [
        ["--upstream", "http://h/path"],
        /--upstream must be an origin, without a path or query: "http:\/\/h"/,
      ],
      [
        ["a.ts", "b.ts"],
        /there can be one MODULE only \(got "a.ts" and "b.ts"\)/,
      ],
      [
        ["a.ts", "--upstream", "http://h"],
        /MODULE and --upstream cannot go together/,
      ],
    ];
    for (const [args, message] of rows) {
      it(`${args.join(" ")} with what is wrong, and exit 2`, async () => {
        const { code, out, err } = await runCommand(args);
        expect([code, out]).toEqual([2, ""]);
        expect(err).toMatch(message);
        expect(err).toMatch(/\nusage: deno task start gateway /);
      });
    }
  });

  describe("without a MODULE", () => {
    it("serves the welcome page, a TypeScript route and /whoami over HTTP and HTTPS, and tells what it decided", async () => {
      await using command = await startCommand([
        "--http",
        "127.0.0.1:0",
        "--https",
        "127.0.0.1:0",
      ]);
      const lines = [
        /^sluice: pid \d+, version \d+\.\d+\.\d+, running the embedded default \(a welcome page\)$/m,
        /^sluice: io: (uring|epoll) \(.+\)$/m,
        /^sluice: workers: \d+ \(\d+ CPUs?(; cgroup quota [\d.]+)?\), each with at most \d+ connections; isolates: 1$/m,
        /^sluice: memory: at most \d+ MiB of buffers and \d+ MiB of rings/m,
        /^sluice: routes: 6, of which 3 native and 3 TypeScript$/m,
        /^sluice: certificate: a local one for localhost, kept in \/\S+\/state\/sluice$/m,
        /^sluice: ready in \d+ ms on http:\/\/127\.0\.0\.1:\d+ https:\/\/127\.0\.0\.1:\d+$/m,
      ];
      for (const line of lines) expect(command.err).toMatch(line);
      const [http, https] = command.ports;
      for (
        const base of [`http://127.0.0.1:${http}`, `https://localhost:${https}`]
      ) {
        const { out, err } = await runProgram(
          [
            "curl",
            "-sSk",
            "--max-time",
            "9",
            "--resolve",
            `localhost:${https}:127.0.0.1`,
            `${base}/`,
            `${base}/hello/Ada`,
            `${base}/whoami`,
          ],
        );
        expect(err).toBe("");
        expect(out).toMatch(
          /^Sluice \S+ is running\.\n[^]*Hello, Ada!\nGET \/whoami HTTP\/1\.1\r\nhost: /,
        );
        expect(out).toMatch("\r\nvia: 1.1 sluice\r\n");
        expect(out).toMatch("\r\nx-forwarded-for: 127.0.0.1\r\n");
        expect(out).toMatch(`\r\nx-forwarded-proto: ${base.split(":")[0]}\r\n`);
      }
      const { code, err } = await command.stop();
      expect(code).toBe(0);
      expect(err).toMatch(
        /^sluice: SIGTERM: draining 0 requests, at most 30000 ms\nsluice: closed after 6 answers on 2 connections\n$/m,
      );
    });

    it("makes one local certificate and keeps it for its user alone", async () => {
      await using state = await folderOf({});
      const options = { env: { XDG_STATE_HOME: state.path } };
      const certificates = [];
      for (let i = 0; i < 2; i++) {
        await using command = await startCommand(
          ["--https", "127.0.0.1:0"],
          options,
        );
        const target = `127.0.0.1:${command.port}`;
        certificates.push(
          (await runProgram(["openssl", "s_client", "-connect", target])).out
            .match(/-----BEGIN[^]*END CERTIFICATE-----/)![0],
        );
        await command.stop();
      }
      expect(certificates[0]).toBe(certificates[1]);
      const files = Array.from(
        Deno.readDirSync(`${state.path}/sluice`),
        ({ name }) => name,
      );
      const modes = files.map((name) =>
        Deno.statSync(`${state.path}/sluice/${name}`).mode! & 0o777
      );
      expect(files.length).toBeGreaterThan(0);
      expect(modes.every((mode) => mode === 0o600)).toBe(true);
      const told = await runProgram(["openssl", "x509", "-noout", "-text"], {
        input: certificates[0],
      });
      expect(told.out).toMatch(/prime256v1|P-256/);
      expect(told.out).toMatch(
        /DNS:localhost, IP Address:127\.0\.0\.1, IP Address:0:0:0:0:0:0:0:1/,
      );
    });

    it("runs gateway.ts of the folder where the user is", async () => {
      await using folder = await folderOf({
        "gateway.ts":
          `${HONO}app.get("/", (c) => c.text("from gateway.ts"));\nexport default app;\n`,
      });
      await using command = await startCommand([], { folder: folder.path });
      expect(await ask(command, "/")).toBe("200 from gateway.ts");
      expect(command.err).toMatch(/running gateway\.ts$/m);
      await command.stop();
    });

    it("--upstream passes everything on, and says 502 and why when nobody is there", async () => {
      const upstream = await startUpstream(answering(({ method, target }) => {
        const text = `${method} ${target}`;
        return `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
      }));
      await using command = await startCommand(["--upstream", upstream.url]);
      expect(command.err).toMatch(
        new RegExp(`running everything to ${upstream.url}$`, "m"),
      );
      expect(command.err).toMatch(
        new RegExp(`^sluice: upstream: 127.0.0.1:${upstream.port}$`, "m"),
      );
      expect(await ask(command, "/any/thing?x=y")).toBe(
        "200 GET /any/thing?x=y",
      );
      await upstream.stop();
      expect(await ask(command, "/")).toBe(
        "502 The upstream refused the connection.\n",
      );
      await command.stop();
    });
  });

  describe("a MODULE", () => {
    it("of another folder brings its own dependencies by deno.json, and ours", async () => {
      await using folder = await folderOf({
        "app/deno.json":
          '{ "imports": { "greeting": "./lib/greeting.ts", "lib/": "./lib/" } }',
        "app/lib/greeting.ts":
          'export const greeting = "hello from an import map";',
        "app/lib/other.ts": 'export const other = "and a folder of it";',
        "app/src/main.ts":
          `${HONO}import { greeting } from "greeting";\nimport { other } from "lib/other.ts";\nimport { respond } from "sluice";\n` +
          'app.get("/", (c) => c.text(`${greeting} ${other}`));\napp.get("/native", respond("native"));\nexport default app;\n',
      });
      await using command = await startCommand(["app/src/main.ts"], {
        folder: folder.path,
      });
      expect(await ask(command, "/")).toBe(
        "200 hello from an import map and a folder of it",
      );
      expect(await ask(command, "/native")).toBe("200 native");
      expect(command.err).toMatch(/GET {2}\/native {2}native {6}respond$/m);
      await command.stop();
    });

    it("of another folder brings its own dependencies by node_modules", async () => {
      await using folder = await folderOf({
        "package.json":
          '{ "name": "mine", "type": "module", "dependencies": { "greeting": "1.0.0" } }',
        "node_modules/greeting/package.json":
          '{ "name": "greeting", "version": "1.0.0", "type": "module", "main": "index.js" }',
        "node_modules/greeting/index.js":
          'export const greeting = "hello from node_modules";',
        "app.js":
          `${HONO}import { greeting } from "greeting";\napp.get("/", (c) => c.text(greeting));\nexport default app;\n`,
      });
      await using command = await startCommand(["app.js"], {
        folder: folder.path,
      });
      expect(await ask(command, "/")).toBe("200 hello from node_modules");
      await command.stop();
    });

    it("of another folder needs neither, and may name its files without extensions in a package.json project", async () => {
      await using folder = await folderOf({
        "neither/src/app.tsx": `${HONO}import { mine } from "./mine.ts";\n` +
          'app.get("/", (c) => c.html(<p>{mine}</p>));\nexport default app;\n',
        "neither/src/mine.ts": 'export const mine = "neither";',
        "bundled/package.json": '{ "type": "module" }',
        "bundled/src/app.ts":
          `${HONO}import { mine } from "./mine";\nimport folder from "./folder";\n` +
          'app.get("/", (c) => c.text(`${mine} ${folder}`));\nexport default app;\n',
        "bundled/src/mine.ts": 'export const mine = "bundled";',
        "bundled/src/folder/index.ts": 'export default "index";',
        "else/where": "",
      });
      for (
        const [module, text] of [
          ["../neither/src/app.tsx", "<p>neither</p>"],
          ["../bundled/src/app.ts", "bundled index"],
        ]
      ) {
        await using command = await startCommand([module], {
          folder: `${folder.path}/else`,
        });
        expect(await ask(command, "/")).toBe(`200 ${text}`);
        await command.stop();
      }
    });

    it("may be a gateway, whose options flags override aloud, or any object with fetch", async () => {
      await using folder = await folderOf({
        "gateway.ts":
          `${HONO}import { defineGateway } from "sluice";\napp.get("/", (c) => c.text("mine"));\n` +
          'export default defineGateway(app, { listeners: [{ address: "127.0.0.1:1" }], workers: 3 });\n',
        "object.js":
          "export default { fetch: (request) => new Response(`object ${new URL(request.url).pathname}`) };",
      });
      await using command = await startCommand(
        ["gateway.ts", "--workers", "1"],
        { folder: folder.path },
      );
      expect(await ask(command, "/")).toBe("200 mine");
      expect(command.err).toMatch(
        /^sluice: flag: workers is 1; the module says 3$/m,
      );
      expect(command.err).toMatch(
        /^sluice: flag: listeners is http:\/\/127\.0\.0\.1:0; the module says http:\/\/127\.0\.0\.1:1$/m,
      );
      await command.stop();
      await using other = await startCommand(["object.js"], {
        folder: folder.path,
      });
      expect(await ask(other, "/x")).toBe("200 object /x");
      expect(other.err).toMatch(
        /^sluice: routes: all in TypeScript, because the module is not a Hono app$/m,
      );
      await other.stop();
    });

    it("gets permissions that the user gives, and hears which one it lacks", async () => {
      await using folder = await folderOf({});
      const file = `${folder.path}/written`;
      await Deno.writeTextFile(
        `${folder.path}/m.ts`,
        `Deno.writeTextFileSync(${
          JSON.stringify(file)
        }, "x");\nexport default { fetch: () => new Response("ok") };\n`,
      );
      const refused = await runCommand(["m.ts", "--http", "127.0.0.1:0"], {
        folder: folder.path,
      });
      expect(refused.code).toBe(1);
      expect(refused.err).toMatch(
        /Give it that permission: deno task start gateway m\.ts --http 127\.0\.0\.1:0 --allow-write$/m,
      );
      await using command = await startCommand([
        "m.ts",
        `--allow-write=${folder.path}`,
      ], { folder: folder.path });
      expect(await Deno.readTextFile(file)).toBe("x");
      await command.stop();
    });

    const rows: [string, string, RegExp][] = [
      [
        "that throws",
        'throw new Error("no database");',
        /Cannot load m\.ts: Error: no database\n {4}at file:\S+\/m\.ts:1:7\n/,
      ],
      [
        "without a default export",
        "export const app = 1;",
        /Cannot load m\.ts: it has no default export; add `export default app;`/,
      ],
      [
        "with another default export",
        "export default 42;",
        /neither a gateway nor an object with fetch \(got 42\)/,
      ],
      [
        "that is no TypeScript",
        "const a: = 1;",
        /Cannot load m\.ts: .*SyntaxError[^]*m\.ts:1:10/,
      ],
      [
        "with an unknown package",
        'import "no-such-package";',
        /"no-such-package"[^]*deno\.json or package\.json beside the module \(deno add npm:NAME\)/,
      ],
      [
        "with options that are none",
        'import { defineGateway } from "sluice";\nexport default defineGateway({ fetch: () => {} }, { worker: 1, io: "iouring" });',
        /worker: is not an option; did you mean "workers"\? \(got 1\)\nio: must be one of "auto", "uring", "epoll"/,
      ],
    ];
    for (const [what, source, message] of rows) {
      it(`${what} is shown with its place, and exit 1`, async () => {
        await using folder = await folderOf({ "m.ts": source });
        const { code, err } = await runCommand([
          "m.ts",
          "--http",
          "127.0.0.1:0",
        ], { folder: folder.path });
        expect(code).toBe(1);
        expect(err).toMatch(message);
        expect(err).not.toMatch(/gateway\/\w+\.ts:\d/); // frames of ours
      });
    }

    it("that does not exist is named, with the folder", async () => {
      const { code, err } = await runCommand(["none.ts"]);
      expect(code).toBe(1);
      expect(err).toMatch(
        /Cannot load none\.ts: there is no such file in \/\S+\.\nName a file that exports/,
      );
    });
  });

  describe("mistakes around it", () => {
    it("a port that another process has: its pid and name", async () => {
      const script =
        'const l = Deno.listen({ hostname: "127.0.0.1", port: 0 }); console.log(l.addr.port); await l.accept();';
      const holder = new Deno.Command(Deno.execPath(), {
        args: ["eval", script],
        stdin: "null",
        stdout: "piped",
      }).spawn();
      try {
        const reader = holder.stdout.pipeThrough(new TextDecoderStream())
          .getReader();
        const port = (await within(reader.read(), "the holder's port")).value!
          .trim();
        const { code, err } = await runCommand([
          "--http",
          `127.0.0.1:${port}`,
          "--io",
          "epoll",
        ]);
        expect(code).toBe(1);
        expect(err).toMatch(
          `listen on 127.0.0.1:${port}: the address is in use (held by pid ${holder.pid}, deno)\n`,
        );
        expect(err).toMatch(
          "Stop that process, or take another address: deno task start gateway --io epoll --http 127.0.0.1:0\n",
        );
        await reader.cancel();
      } finally {
        holder.kill("SIGKILL");
        await holder.status;
      }
    });

    it("a port that another Sluice has: not half of its connections", async () => {
      await using first = await startCommand();
      const { code, err } = await runCommand([
        "--http",
        `127.0.0.1:${first.port}`,
      ]);
      expect(code).toBe(1);
      expect(err).toMatch(`the address is in use (held by pid ${first.pid}, `);
      for (let i = 0; i < 8; i++) {
        expect(await ask(first, "/hello/x")).toBe("200 Hello, x!\n");
      }
      await first.stop();
    });

    it("an address that is not ours", async () => {
      const { code, err } = await runCommand(["--http", "192.0.2.1:8080"]);
      expect(code).toBe(1);
      expect(err).toMatch(
        "listen on 192.0.2.1:8080: Cannot assign requested address\n" +
          "Take an address that this machine has (ip addr), or all of them: deno task start gateway --http 0.0.0.0:8080\n",
      );
    });

    it("an upstream that is dead: which, why, and how to see more", async () => {
      const gone = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = gone.addr as Deno.NetAddr;
      gone.close();
      const words = ["--upstream", `http://127.0.0.1:${port}`];
      await using command = await startCommand(words);
      expect(await ask(command, "/")).toBe(
        "502 The upstream refused the connection.\n",
      );
      await until(
        "it is said",
        () => command.err.includes("warning: upstream"),
      );
      expect(command.err).toMatch(
        new RegExp(
          `^sluice: warning: upstream http://127\\.0\\.0\\.1:${port}: 1 request has failed \\(upstream_refused\\)\\. ` +
            `Each with its reason: deno task start gateway --upstream \\S+ .*--log text$`,
          "m",
        ),
      );
      await command.stop();
      await using logs = await startCommand([...words, "--log", "text"]);
      await ask(logs, "/");
      await logs.stop();
      expect(logs.out).toMatch(/" 502 .* upstream_refused upstream /);
      expect(logs.err).not.toMatch(/warning: upstream/);
    });

    it("certificates that cannot be read, or do not fit", async () => {
      await using folder = await folderOf({});
      for (const name of ["a", "b"]) {
        const { code } = await runProgram(
          `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${name}.key -out ${name}.pem -subj /CN=h`
            .split(" "),
          { folder: folder.path },
        );
        expect(code).toBe(0);
      }
      const start = (cert: string, key: string) =>
        runCommand(["--https", "127.0.0.1:0", "--cert", cert, "--key", key], {
          folder: folder.path,
        });
      const missing = await start("none.pem", "a.key");
      expect(missing.code).toBe(1);
      expect(missing.err).toMatch(
        /tls\.certificates\[0\]\.cert: cannot read "\/\S+\/none\.pem": No such file or directory[^]*go on with a local certificate: deno task start gateway --https 127\.0\.0\.1:0$/m,
      );
      const unreadable = await start("a.pem", ".");
      expect(unreadable.err).toMatch(
        /tls\.certificates\[0\]\.key: cannot read "\/\S+": Is a directory/,
      );
      const mismatched = await start("a.pem", "b.key");
      expect(mismatched.code).toBe(1);
      expect(mismatched.err).toMatch(
        /a\.pem[^]*key[^]*openssl pkey -noout -check -in \S+\/b\.key/,
      );
      await using command = await startCommand([
        "--https",
        "127.0.0.1:0",
        "--cert",
        "a.pem",
        "--key",
        "a.key",
      ], { folder: folder.path });
      expect(command.err).not.toMatch("a local one");
      await command.stop();
      const words = ["a", "b"].flatMap((name) => [
        ...["--cert", `${name}.pem`],
        ...["--key", `${name}.key`],
      ]);
      const nameless = await runCommand(["--https", "127.0.0.1:0", ...words], {
        folder: folder.path,
      });
      expect(nameless.err).toMatch(
        /listeners\[0\]\.tls\.certificates\[1\]: .*b\.pem.*has no DNS name.*give names/,
      );
    });
  });

  describe("I/O backends", () => {
    for (const io of ["uring", "epoll"]) {
      it(`--io ${io} is taken, and the start says why`, async () => {
        await using command = await startCommand(["--io", io], {
          env: { SLUICE_IO: "auto" },
        });
        expect(command.err).toMatch(
          new RegExp(`^sluice: io: ${io} \\(.+\\)$`, "m"),
        );
        expect(await ask(command, "/hello/x")).toBe("200 Hello, x!\n");
        await command.stop();
        await using byEnvironment = await startCommand([], {
          env: { SLUICE_IO: io },
        });
        expect(byEnvironment.err).toMatch(
          new RegExp(`^sluice: io: ${io} \\(.+\\)$`, "m"),
        );
        await byEnvironment.stop();
      });
    }
  });

  describe("--log", () => {
    // On one connection: the order of lines is that of one worker.
    const requests = async (command: RunningCommand) => {
      using client = await command.connect();
      for (const path of ["/favicon.svg", "/hello/Ada?x=y", "/none"]) {
        await client.ask(get(path));
      }
    };

    it("text: one line for each request", async () => {
      await using command = await startCommand(["--log", "text"]);
      await requests(command);
      const { out } = await command.stop();
      const lines = out.trimEnd().split("\n");
      expect(lines.length).toBe(3);
      const start = /^\d{4}-\d\d-\d\dT[\d:.]+Z 127\.0\.0\.1:\d+ /;
      for (const line of lines) expect(line).toMatch(start);
      const rest = lines.map((line) => line.replace(start, ""));
      expect(rest[0]).toMatch(
        /^"GET \/favicon\.svg HTTP\/1\.1" 200 \d+B [\d.]+ms native h -$/,
      );
      expect(rest[1]).toMatch(
        /^"GET \/hello\/Ada\?x=y HTTP\/1\.1" 200 12B [\d.]+ms typescript h -$/,
      );
      expect(rest[2]).toMatch(
        /^"GET \/none HTTP\/1\.1" 404 13B [\d.]+ms typescript h -$/,
      );
    });

    it("json: one object for each request", async () => {
      await using command = await startCommand(["--log", "json"]);
      await requests(command);
      const { out } = await command.stop();
      const records = out.trimEnd().split("\n").map((line) => JSON.parse(line));
      expect(
        records.map((record) => [
          record.method,
          record.path,
          record.query,
          record.status,
          record.handled_by,
          record.bytes_out,
        ]).slice(1),
      ).toEqual([
        ["GET", "/hello/Ada", "x=y", 200, "typescript", 12],
        ["GET", "/none", "", 404, "typescript", 13],
      ]);
      expect(records[0].handled_by).toBe("native");
      for (const { ts, dur_ms } of records) {
        expect(Math.abs(Date.parse(ts) - Date.now())).toBeLessThan(10_000);
        expect(dur_ms).toBeGreaterThanOrEqual(0);
      }
    });

    it("an upstream's fault names its endpoint", async () => {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = listener.addr;
      listener.close();
      const url = `http://127.0.0.1:${port}`;
      await using command = await startCommand([
        "--log",
        "text",
        "--upstream",
        url,
      ]);
      {
        using client = await command.connect();
        const answer = await client.ask(get("/"));
        expect([answer.status, answer.text]).toEqual([
          502,
          "The upstream refused the connection.\n",
        ]);
      }
      const { out } = await command.stop();
      expect(out).toContain(
        ` upstream_refused upstream ${url}[127.0.0.1:${port}]\n`,
      );
    });

    it("off by default", async () => {
      await using command = await startCommand();
      await requests(command);
      expect((await command.stop()).out).toBe("");
    });
  });

  describe("signals", () => {
    it("end it with 0: SIGTERM and SIGINT, to the gateway, to the task, and to `deno task`", async () => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) {
        for (const task of [false, true]) {
          for (const direct of [false, true]) {
            await using command = await startCommand([], { task });
            Deno.kill(direct ? command.pid : command.taskPid, signal);
            const { code, err } = await command.end();
            expect([code, err.match(/draining/g)?.length]).toEqual([0, 1]);
            expect(err).toMatch(
              new RegExp(`^sluice: ${signal}: draining 0 requests`, "m"),
            );
          }
        }
      }
    });

    it("let running requests finish; two at once are one", async () => {
      await using folder = await folderOf({ "slow.js": SLOW });
      await using command = await startCommand(["slow.js"], {
        folder: folder.path,
      });
      using waiting = await command.connect();
      using opener = await command.connect();
      await waiting.send(get("/gate"));
      await command.prints(/entered/);
      expect((await opener.ask(get("/native"))).status).toBe(200);
      command.kill("SIGINT");
      command.kill("SIGINT");
      await command.says(/draining 1 requests/);
      expect((await opener.ask(get("/open"))).text).toBe("open"); // an idle connection may still ask, once
      const answer = await waiting.readAnswer();
      expect([answer.text, answer.head.get("connection")]).toEqual([
        "passed",
        "close",
      ]);
      const { code, err } = await command.end();
      expect(code).toBe(0);
      expect(err).not.toMatch("again");
      await expect(rawClient(command.port)).rejects.toThrow();
    });

    it("end it at once when they come again", async () => {
      await using folder = await folderOf({
        "slow.js": SLOW.replace("800", "600_000"),
      });
      await using command = await startCommand(["slow.js"], {
        folder: folder.path,
      });
      using waiting = await command.connect();
      await waiting.send(get("/gate"));
      await command.prints(/entered/);
      command.kill("SIGTERM");
      await command.says(/draining 1 requests/);
      // What comes within half a second counts as the same signal, so this is said again until it is heard as a second one.
      await until("a second signal is heard", () => {
        if (command.err.includes("again: exit at once")) return true;
        command.kill("SIGTERM");
        return false;
      });
      expect((await command.end()).code).toBe(1);
    });

    it("are heard while a handler never yields, as are native routes; the deadline cuts it", async () => {
      await using folder = await folderOf({ "slow.js": SLOW });
      await using command = await startCommand(["slow.js"], {
        folder: folder.path,
      });
      using spinning = await command.connect();
      await spinning.send(get("/spin"));
      await command.prints(/spinning/);
      for (let i = 0; i < 20; i++) {
        expect(await ask(command, "/native")).toBe("200 native");
      }
      const started = performance.now();
      const { code, err } = await command.stop();
      expect(code).toBe(0);
      expect(err).toMatch(
        /^sluice: SIGTERM: draining 1 requests, at most 800 ms$/m,
      );
      expect(performance.now() - started).toBeLessThan(4000);
    });

    it("as one Ctrl-C in a terminal drain once", async () => {
      if (!await has("script")) return;
      await using home = await folderOf({});
      // `exec`: a shell that stays in between would itself end by the signal, with 130.
      const words = `exec ${
        startWords(["--http", "127.0.0.1:0"], true).join(" ")
      }`;
      const child = new Deno.Command("script", {
        args: ["-qfec", words, "/dev/null"],
        cwd: home.path,
        env: { NO_COLOR: "1", XDG_STATE_HOME: home.path, INIT_CWD: home.path },
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const keyboard = child.stdin.getWriter();
      let screen = "";
      const reading = (async () => {
        for await (
          const part of child.stdout.pipeThrough(new TextDecoderStream())
        ) screen += part;
      })();
      try {
        await until("it is ready", () => /sluice: ready [^\n]*\n/.test(screen));
        await keyboard.write(new Uint8Array([3]));
        const { code } = await within(child.status, () => `its end: ${screen}`);
        await reading;
        expect(code).toBe(0);
        expect(screen.match(/SIGINT: draining/g)?.length).toBe(1);
        expect(screen).not.toMatch("again");
        expect(screen).toMatch(
          /sluice: closed after 0 answers on 0 connections/,
        );
      } finally {
        await keyboard.close().catch(() => {});
        try {
          child.kill("SIGTERM");
        } catch {
          // It has ended.
        }
      }
    });
  });

  describe("isolates", () => {
    it("share the work, several beside several workers", async () => {
      await using folder = await folderOf({
        "who.js":
          `${HONO}const id = Math.random();\napp.get("/", (c) => c.text(String(id)));\nexport default app;\n`,
      });
      await using command = await startCommand([
        "who.js",
        "--workers",
        "2",
        "--isolates",
        "2",
      ], { folder: folder.path });
      const seen = new Set<string>();
      for (let i = 0; i < 40; i++) seen.add(await ask(command, "/"));
      expect(seen.size).toBe(2);
      expect((await command.stop()).code).toBe(0);
    });

    it("survive a promise that nobody catches", async () => {
      await using folder = await folderOf({ "slow.js": SLOW });
      await using command = await startCommand(["slow.js"], {
        folder: folder.path,
      });
      expect(await ask(command, "/reject")).toBe("200 rejected");
      await command.says(/Unhandled rejection: Error: nobody catches this/);
      expect(await ask(command, "/reject")).toBe("200 rejected");
      expect((await command.stop()).code).toBe(0);
    });
  });
});
