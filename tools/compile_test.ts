/**
 * `deno task compile`: the binary as somebody gets it who has nothing else. Alone in a folder, with an empty environment and a network that is
 * loopback alone, on a system that has glibc alone.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { RunningCommand, runProgram, within } from "../tests/support.ts";
import { checkNeeds, compile, newer, rewrite } from "./compile.ts";

const HONO_APP = `
import { Hono } from "hono";
import { cors } from "hono/cors";
import { defineGateway, respond } from "sluice";
import { shout } from "./shout.ts";
const app = new Hono();
app.use("/ts/*", cors());
app.get("/ts/:name", (c) => c.text(shout(c.req.param("name"))));
app.get("/native", respond("native"));
app.get("/wait", async (c) => {
  console.log("entered");
  while (!await Deno.stat("go").catch(() => null)) await new Promise((r) => setTimeout(r, 5));
  return c.text("waited");
});
export default defineGateway(app, { listeners: [{ address: "127.0.0.1:0" }], isolates: 2 });
`;
const SHOUT =
  'export const shout = (text: string) => text.toUpperCase() + "!";\n';

// A network of its own with loopback alone, and mounts of its own.
const APART = ["unshare", "-rnm", "sh", "-c", 'ip link set lo up; exec "$@"'];

async function refusalOf(words: string[]): Promise<string | undefined> {
  const { code, err } = await runProgram(words)
    .catch((error) => ({ code: 1, err: String(error) }));
  return code === 0 ? undefined : err.trim();
}

const refusal = await refusalOf([...APART, "sh", "ip", "addr"]);
const through = refusal === undefined ? [...APART, "sh"] : [];

const made = await Deno.makeTempDir({ prefix: "sluice-compiled-" });
addEventListener("unload", () => Deno.removeSync(made, { recursive: true }));
let compiling: ReturnType<typeof compile> | undefined;

/** The binary, made once. */
async function binary(): Promise<string> {
  compiling ??= compile({ out: `${made}/sluice` });
  return (await compiling).path;
}

/** A folder with the binary and these files, and one for what it unpacks. */
class Place implements AsyncDisposable {
  private constructor(readonly folder: string, readonly cache: string) {}

  static async make(
    files: Record<string, string> = {},
    source?: string,
  ): Promise<Place> {
    const root = await Deno.makeTempDir({ prefix: "sluice-alone-" });
    const [folder, cache] = [`${root}/alone`, `${root}/tmp`];
    await Deno.mkdir(folder);
    await Deno.mkdir(cache, { mode: 0o700 });
    await Deno.link(source ?? await binary(), `${folder}/sluice`);
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${folder}/${name}`, text);
    }
    return new Place(folder, cache);
  }

  /** With nothing in its environment but where it may unpack. */
  words(args: string[], env: Record<string, string> = {}): string[] {
    const all = { TMPDIR: this.cache, ...env };
    return [
      ...["env", "-i"],
      ...Object.entries(all).map(([name, value]) => `${name}=${value}`),
      ...["./sluice", ...args],
    ];
  }

  spawn(words: string[]): RunningCommand {
    const child = new Deno.Command(words[0], {
      args: words.slice(1),
      cwd: this.folder,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new RunningCommand(child, () => Promise.resolve());
  }

  async start(args: string[], before = through): Promise<RunningCommand> {
    const command = this.spawn([...before, ...this.words(args)]);
    try {
      await command.ready();
    } catch (error) {
      await command[Symbol.asyncDispose]();
      throw error;
    }
    return command;
  }

  async run(
    args: string[],
    env: Record<string, string> = {},
    before: string[] = [],
  ) {
    return await runProgram([...before, ...this.words(args, env)], {
      folder: this.folder,
    });
  }

  /** The folder that was unpacked. */
  async unpacked(): Promise<string> {
    const place = `${this.cache}/sluice-${Deno.uid()}`;
    const names = (await Array.fromAsync(Deno.readDir(place)))
      .map(({ name }) => name).filter((name) => /^[0-9a-f]{16}$/.test(name));
    assertEquals(names.length, 1, names.join(" "));
    return `${place}/${names[0]}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(`${this.folder}/..`, { recursive: true });
  }
}

function besideOf(pid: number): string[] {
  return through.length === 0
    ? []
    : ["nsenter", "-t", `${pid}`, "-U", "-n", "--preserve-credentials"];
}

/** Status, headers and body, as curl shows them, asked from where the gateway runs. */
async function ask(command: RunningCommand, url: string): Promise<string> {
  const curl = ["curl", "-sSki", "--max-time", "10", url];
  const { code, out, err } = await runProgram([
    ...besideOf(command.pid),
    ...curl,
  ]);
  assertEquals(code, 0, err);
  return out;
}

async function stop(command: RunningCommand): Promise<string> {
  const { code, err } = await command.stop();
  assertEquals(code, 0, err);
  return err;
}

Deno.test({
  name: "the binary runs in a network that is loopback alone",
  ignore: refusal !== undefined,
  fn: async () => {
    await using place = await Place.make();
    await using command = await place.start(["--http", "127.0.0.1:0"]);
    const { out } = await runProgram([
      ...besideOf(command.pid),
      "ip",
      "-o",
      "link",
    ]);
    assertMatch(out, /^1: lo: .*UP/);
    assertEquals(out.trim().split("\n").length, 1, out);
    await stop(command);
  },
});
if (refusal !== undefined) {
  console.log(`no network of its own for the binary: ${refusal}`);
}

Deno.test("the binary alone serves HTTP and HTTPS, with no environment and nothing cached", async () => {
  await using place = await Place.make();
  await using command = await place.start([
    ...["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"],
  ]);
  const [http, https] = command.ports;
  assertMatch(
    await ask(command, `http://127.0.0.1:${http}/hello/Ada`),
    /^HTTP\/1\.1 200[^]*Hello, Ada!/,
  );
  assertMatch(
    await ask(command, `https://127.0.0.1:${https}/hello/Ada`),
    /^HTTP\/1\.1 200[^]*Hello, Ada!/,
  );
  assertMatch(await stop(command), /closed after 2 answers on 2 connections/);
});

Deno.test("the binary runs a MODULE on disk that imports hono, hono/cors, sluice and its own files; another one proxies to it", async () => {
  await using place = await Place.make({
    "app.ts": HONO_APP,
    "shout.ts": SHOUT,
  });
  await using command = await place.start(["app.ts"]);
  assertMatch(
    await ask(command, `${command.base}/ts/ada`),
    /^HTTP\/1\.1 200[^]*access-control-allow-origin: \*[^]*ADA!$/i,
  );
  assertMatch(await ask(command, `${command.base}/native`), /native$/);
  await using front = await place.start([
    ...["--upstream", command.base, "--http", "127.0.0.1:0"],
  ], besideOf(command.pid));
  assertMatch(
    await ask(front, `${front.base}/ts/eve`),
    /^HTTP\/1\.1 200[^]*EVE!$/,
  );
  await stop(front);
  assertMatch(await stop(command), /closed after 3 answers/);
});

Deno.test("the binary answers what runs when SIGTERM comes, and exits with 0", async () => {
  await using place = await Place.make({
    "app.ts": HONO_APP,
    "shout.ts": SHOUT,
  });
  await using command = await place.start(["app.ts"]);
  assertEquals(
    command.pid,
    command.taskPid,
    "one process, which systemd knows",
  );
  const answer = ask(command, `${command.base}/wait`);
  await command.prints(/entered/);
  command.kill("SIGTERM");
  await command.says(/SIGTERM: draining 1 requests/);
  await Deno.writeTextFile(`${place.folder}/go`, "");
  assertMatch(await answer, /^HTTP\/1\.1 200[^]*waited$/);
  const { code, err } = await command.end();
  assertEquals(code, 0, err);
});

Deno.test("the binary explains: the commands that its texts name are commands that it has", async () => {
  const routes = Array.from(
    { length: 25 },
    (_, i) => `app.get("/r${i}", respond("r"));`,
  ).join("\n");
  await using place = await Place.make({
    "app.ts": HONO_APP.replace("export default", `${routes}\nexport default`),
    "shout.ts": SHOUT,
  });
  await using command = await place.start(["app.ts"]);
  const hint = /^sluice: +and \d+ more: sluice (explain app\.ts)$/m
    .exec(await stop(command));
  assert(hint, "the start text names a command for the other routes");
  const all = await place.run(hint[1].split(" "));
  assertEquals([all.code, all.err], [0, ""]);
  assertMatch(all.out, /^routes: [^]*\/r24\b/);

  const one = await place.run(["explain", "app.ts", "GET", "/native"]);
  assertEquals([one.code, one.err], [0, ""]);
  assertMatch(one.out, /respond[^]*native/);
  const own = await place.run(["explain", "GET", "/whoami"]);
  assertEquals([own.code, own.err], [0, ""]);
  const none = await place.run(["explain", "ap.ts", "GET", "/"]);
  assertEquals(none.code, 1);
  assertMatch(
    none.err,
    /^sluice: there is no ap\.ts in .*alone\nusage: sluice explain /,
  );
  const { code, err } = await place.run(["explain", "--jsn"]);
  assertEquals(code, 2);
  assertMatch(
    err,
    /^explain: there is no option --jsn\nusage: sluice explain /,
  );
});

Deno.test("the binary takes what it has unpacked before, and unpacks again what was changed", async () => {
  await using place = await Place.make();
  assertEquals((await place.run(["--version"])).code, 0);
  const folder = await place.unpacked();
  const library = `${folder}/libsluice_ffi.so`;
  const before = await Deno.stat(library);
  assertEquals((await Deno.stat(`${folder}/..`)).mode! & 0o777, 0o700);
  assertEquals((await place.run(["--version"])).code, 0);
  assertEquals((await Deno.stat(library)).ino, before.ino);

  const bytes = await Deno.readFile(library);
  const changed = bytes.slice();
  changed[changed.length >> 1] ^= 1;
  await Deno.writeFile(library, changed);
  assertEquals((await place.run(["--version"])).code, 0);
  assertEquals(await Deno.readFile(library), bytes);
  await Deno.remove(`${folder}/gateway/main.js`);
  const again = await place.run(["--version"]);
  assertEquals([again.code, again.err], [0, ""]);
  assertMatch(again.out, /^\d+\.\d+\.\d+\n$/);
});

Deno.test("the binary unpacks nowhere where others could change it, and says which variable names another place", async () => {
  await using place = await Place.make();
  const open = `${place.cache}/open`, link = `${place.cache}/link`;
  await Deno.mkdir(open);
  await Deno.chmod(open, 0o777);
  await Deno.symlink(place.folder, link);
  for (
    const [cache, why] of [
      [open, "others may write to it"],
      [link, "it is a symbolic link"],
      [`${place.folder}/sluice`, "it is no folder"],
      [`${place.folder}/sluice/in`, "Not a directory"],
    ]
  ) {
    const { code, err } = await place.run(["--version"], {
      SLUICE_CACHE: cache,
    });
    assertEquals(code, 1);
    assertMatch(
      err,
      new RegExp(`^sluice: there is no place .*\n  ${cache}: ${why}`),
    );
    assertMatch(
      err,
      /\nName a folder .*: SLUICE_CACHE=\/folder sluice --version\n$/,
    );
  }
  // Of several places the next one is taken.
  const { code } = await place.run(["--version"], { CACHE_DIRECTORY: open });
  assertEquals(code, 0);
  await place.unpacked();
});

for (
  const [option, why] of [
    ["noexec", "programs may not run from there (noexec)"],
    ["ro", "Read-only file system"],
  ]
) {
  Deno.test({
    name: `the binary says that a place is mounted ${option}`,
    ignore: refusal !== undefined,
    fn: async () => {
      await using place = await Place.make();
      const script =
        `mount -t tmpfs -o ${option} none ${place.cache}; exec "$@"`;
      const before = ["unshare", "-rm", "sh", "-c", script, "sh"];
      const { code, err } = await place.run(["--version"], {}, before);
      assertEquals(code, 1);
      assert(err.includes(`${place.cache}/sluice-0: ${why}\n`), err);
      assertMatch(err, /SLUICE_CACHE=\/folder sluice --version\n$/);
    },
  });
}

Deno.test("a binary that is not whole, or not as it was made, says so", async () => {
  await using place = await Place.make();
  const path = `${place.folder}/sluice`;
  const bytes = await Deno.readFile(path);
  await Deno.remove(path); // a link to the one that all tests share
  await Deno.writeFile(path, bytes.subarray(0, bytes.length - 1000), {
    mode: 0o755,
  });
  const cut = await place.run(["--version"]);
  assertEquals(cut.code, 1);
  assertMatch(
    cut.err,
    /^sluice: .*sluice is not whole \(\d+ bytes\): copy it again/,
  );

  bytes[bytes.length - 100_000] ^= 1; // in the archive, which lies last
  await Deno.writeFile(path, bytes);
  const bad = await place.run(["--version"]);
  assertEquals(bad.code, 1);
  assertMatch(bad.err, /^sluice: .*sluice is damaged/);
});

Deno.test({
  name: "the binary needs nothing of a system but glibc",
  ignore: refusal !== undefined,
  fn: async () => {
    await using place = await Place.make();
    const root = `${place.folder}/root`;
    const linker = (await runProgram(["readelf", "-l", Deno.execPath()])).out
      .match(/interpreter: (.*)\]/)![1];
    const { out } = await runProgram(["ldd", Deno.execPath()]);
    const glibc = [...out.matchAll(/=> (\S+)/g)].map(([, path]) => path)
      .filter((path) => !/libgcc/.test(path));
    for (const path of [linker, ...glibc]) {
      await Deno.mkdir(`${root}${path.replace(/[^/]*$/, "")}`, {
        recursive: true,
      });
      await Deno.copyFile(path, root + path);
    }
    for (const name of ["proc", "dev", "tmp"]) {
      await Deno.mkdir(`${root}/${name}`);
    }
    await Deno.writeTextFile(`${root}/dev/null`, "");
    await Deno.link(`${place.folder}/sluice`, `${root}/sluice`);
    await Deno.writeTextFile(
      `${root}/preload.ts`,
      'export default { fetch: () => new Response(`preload: ${Deno.env.get("LD_PRELOAD")}`) };',
    );
    const script = `ip link set lo up
mount --rbind /proc ${root}/proc; mount --bind /dev/null ${root}/dev/null
exec env -i $(command -v chroot) ${root} /sluice "$@"`;
    await using command = place.spawn([
      ...["unshare", "-rnm", "sh", "-c", script, "sh"],
      ...["preload.ts", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"],
    ]);
    await command.ready();
    assertMatch(await ask(command, command.base), /preload: undefined$/);
    await stop(command);
  },
});

Deno.test("compile({ module }) puts a module inside, with what it imports and its permissions", async () => {
  await using sources = await Place.make({
    "app.ts": HONO_APP.replace("shout(", "Deno.osRelease() && shout("),
    "shout.ts": SHOUT,
  });
  const out = `${made}/with_module`;
  await compile({
    out,
    module: `${sources.folder}/app.ts`,
    permissions: ["--allow-sys=osRelease"],
  });
  await using place = await Place.make({
    "other.ts": 'export default { fetch: () => new Response("other") };',
  }, out);
  await using command = await place.start([]);
  assertMatch(command.err, /running app\.js, which is inside$/m);
  assertMatch(await ask(command, `${command.base}/ts/ada`), /ADA!$/);
  await stop(command);
  const explained = await place.run(["explain", "GET", "/native"]);
  assertEquals([explained.code, explained.err], [0, ""]);
  assertMatch(explained.out, /respond/);
  await using other = await place.start(["other.ts", "--http", "127.0.0.1:0"]);
  assertMatch(await ask(other, `${other.base}/`), /other$/);
  await stop(other);
});

Deno.test("checkNeeds() refuses a library that is not glibc's", async () => {
  const path = Deno.execPath();
  assertMatch(
    await checkNeeds({ Deno: { path, mayName: ["libgcc_s.so.1"] } }),
    /^2\.\d+$/,
  );
  await assertRejects(
    () => checkNeeds({ Deno: { path, mayName: [] } }),
    Error,
    "Deno needs libgcc_s.so.1, which not every system has",
  );
  assertEquals(["2.9", "2.34", "2.4"].reduce(newer), "2.34");
});

Deno.test("rewrite() notices that the sources do not say any more what it replaces", () => {
  let message = "";
  try {
    rewrite([{
      path: "a.js",
      bytes: new TextEncoder().encode('"./isolate.ts"'),
    }]);
  } catch (error) {
    message = (error as Error).message;
  }
  assertMatch(
    message,
    /does not say deno task start gateway, deno task explain, Make it/,
  );
});

Deno.test("SLUICE_AS_DENO makes the binary Deno", async () => {
  await using place = await Place.make();
  const { out } = await within(
    place.run(["--version"], { SLUICE_AS_DENO: "1" }),
    "deno --version",
  );
  assertMatch(out, new RegExp(`^deno ${Deno.version.deno} `));
});
