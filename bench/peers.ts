/**
 * The servers that benches run: Sluice and what it is measured beside, each with one worker, each pinned to the cores it gets.
 *
 * @module
 */

export const ROOT = decodeURIComponent(
  new URL("..", import.meta.url).pathname,
).replace(/\/$/, "");
const BENCH = `${ROOT}/bench`;

/** What a server is started with. */
export interface Place {
  /** The cores it may run on, as `taskset -c` takes them; undefined: all. */
  cores?: string;
  /** A folder of this run alone. */
  folder: string;
  /** The library that Sluice is measured with. */
  library: string;
  /** `host:port` of the upstream, for proxies. */
  upstream?: string;
}

/** A server that runs. */
export interface Server {
  pid: number;
  http: string;
  https?: string;
  stop(): Promise<void>;
}

export interface Peer {
  name: string;
  /** Resolves when it answers. */
  start(place: Place): Promise<Server>;
  /** The program that must be there, and how to get it. */
  program: string;
  install: string;
  /** What else it lacks on this machine; undefined: nothing. */
  lacks?(): Promise<string | undefined>;
}

/** What is missing for a peer, as a sentence; undefined: nothing. */
export async function missing(peer: Peer): Promise<string | undefined> {
  const why = await findProgram(peer.program)
    ? await peer.lacks?.()
    : `no ${peer.program} (${peer.install})`;
  return why && `${peer.name} is left out: ${why}`;
}

export async function findProgram(name: string): Promise<string | undefined> {
  if (name.startsWith("/")) return name;
  // Where servers and Go lie, which is not on everybody's PATH.
  const folders = `${
    Deno.env.get("PATH") ?? ""
  }:/usr/sbin:/usr/local/sbin:/usr/local/go/bin`;
  for (const folder of folders.split(":")) {
    const path = `${folder}/${name}`;
    if (await exists(path)) return path;
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then((stat) => stat.isFile, () => false);
}

/** What a program says of its version, in one line. */
export async function versionOf(
  program: string,
  flag: string,
): Promise<string> {
  const path = await findProgram(program);
  if (!path) return `no ${program}`;
  const { stdout, stderr } = await new Deno.Command(path, {
    args: [flag],
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stdout) +
    new TextDecoder().decode(stderr);
  return text.trim().split("\n")[0];
}

// ---- Processes

export interface Spawned {
  process: Deno.ChildProcess;
  /** The first line that `wanted` takes; throws with all that was said if the process ends before. */
  line(wanted: (line: string) => boolean): Promise<string>;
  stop(pid?: number): Promise<void>;
}

const READY_MS = 30_000;
const STOP_MS = 10_000;

/** Starts a server, pinned as its place says. */
export function spawn(
  command: string[],
  place: Pick<Place, "cores" | "folder">,
  env: Record<string, string> = {},
): Spawned {
  const pinned = place.cores === undefined
    ? command
    : ["taskset", "-c", place.cores, ...command];
  const process = new Deno.Command(pinned[0], {
    args: pinned.slice(1),
    cwd: place.folder,
    env: { ...env, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const lines: string[] = [];
  const changed = new EventTarget();
  for (const stream of [process.stdout, process.stderr]) {
    readLines(stream, (line) => {
      lines.push(line);
      changed.dispatchEvent(new Event("line"));
    });
  }
  process.status.then(() => changed.dispatchEvent(new Event("ended")));
  return {
    process,
    line: (wanted) => waitForLine(command, lines, changed, wanted),
    stop: (pid = process.pid) => stop(process, pid),
  };
}

async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + part).split("\n");
    rest = lines.pop()!;
    lines.forEach(onLine);
  }
}

function waitForLine(
  command: string[],
  lines: string[],
  changed: EventTarget,
  wanted: (line: string) => boolean,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) =>
      reject(
        new Error(`\`${command.join(" ")}\` ${why}:\n${lines.join("\n")}`),
      );
    const timer = setTimeout(
      () => fail(`is not ready after ${READY_MS} ms`),
      READY_MS,
    );
    const look = () => {
      const found = lines.find(wanted);
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    };
    changed.addEventListener("line", look);
    changed.addEventListener("ended", () => {
      clearTimeout(timer);
      fail("has ended");
    });
    look();
  });
}

async function stop(process: Deno.ChildProcess, pid: number): Promise<void> {
  const late = setTimeout(() => process.kill("SIGKILL"), STOP_MS);
  try {
    Deno.kill(pid, "SIGTERM");
  } catch {
    // It has ended already.
  }
  await process.status;
  clearTimeout(late);
}

// Between this and the bind somebody else may take it; then the server says so and the bench fails.
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** A template of `peers/`, filled in. */
export async function fill(
  template: string,
  values: Record<string, string | number>,
): Promise<string> {
  const text = await Deno.readTextFile(`${BENCH}/peers/${template}`);
  return text.replace(/@([A-Z_]+)@/g, (_, name) => String(values[name]));
}

export async function untilConnectable(
  port: number,
  process: Deno.ChildProcess,
): Promise<void> {
  let ended = false;
  process.status.then(() => ended = true);
  const until = performance.now() + READY_MS;
  while (!ended && performance.now() < until) {
    try {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port });
      conn.close();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  throw new Error(`nothing accepts on 127.0.0.1:${port}`);
}

// ---- Sluice

/** `deno task start gateway` with one worker; `tls`: an HTTPS listener with the local certificate, too. */
export function sluice(
  io: "uring" | "epoll",
  module: "app.ts" | "proxy_app.ts" | "policy_app.ts" = "app.ts",
  tls = false,
  suffix = "",
): Peer {
  const start = async (place: Place): Promise<Server> => {
    const command = [
      Deno.execPath(),
      "run",
      "--no-config",
      "--allow-all",
      `${ROOT}/tools/start.ts`,
      "gateway",
      `${BENCH}/${module}`,
      ...["--http", "127.0.0.1:0", ...(tls ? ["--https", "127.0.0.1:0"] : [])],
      ...["--workers", "1", "--io", io],
    ];
    const spawned = spawn(command, place, {
      BENCH_UPSTREAM: `http://${place.upstream}`,
      SLUICE_LIBRARY: place.library,
      XDG_STATE_HOME: place.folder,
    });
    const pidLine = await spawned.line((line) =>
      line.startsWith("sluice: pid ")
    );
    const pid = parseInt(pidLine.slice("sluice: pid ".length));
    const ready = await spawned.line((line) =>
      line.startsWith("sluice: ready")
    );
    const [http, https] = ready.match(/https?:\/\/\S+/g)!;
    return { pid, http, https, stop: () => spawned.stop(pid) };
  };
  const name = `Sluice ${io}${suffix}`;
  return { name, start, program: Deno.execPath(), install: "" };
}

// ---- Peers

/** The same Hono app on `Deno.serve`. */
export const denoServe: Peer = onDenoServe("Deno.serve", "deno_serve.ts");
/** The policies, in TypeScript and mostly Hono's own, on `Deno.serve`. */
export const denoServePolicies: Peer = onDenoServe(
  "Deno.serve, 4 policies",
  "deno_serve_policies.ts",
);

function onDenoServe(name: string, module: string): Peer {
  const start: Peer["start"] = async (place) => {
    const command = [
      Deno.execPath(),
      "run",
      "--no-config",
      `--import-map=${ROOT}/tools/std/offline.json`,
      `--lock=${ROOT}/tools/std/offline.lock`,
      "--frozen",
      "--allow-net",
      `${BENCH}/peers/${module}`,
    ];
    const spawned = spawn(command, place);
    const [, pid, http] =
      (await spawned.line((line) => line.startsWith("ready "))).split(" ");
    return { pid: Number(pid), http, stop: () => spawned.stop() };
  };
  return { name, start, program: Deno.execPath(), install: "" };
}

/** nginx: plain, with TLS, as a proxy, and as the upstream of proxies. */
export const nginx: Peer = {
  name: "nginx",
  program: "nginx",
  install: "apt-get install nginx",
  start: async (place) => (await startNginx(place)).server,
};

async function startNginx(
  place: Place,
): Promise<{ server: Server; origin: string }> {
  const [port, tlsPort, originPort] = [freePort(), freePort(), freePort()];
  const folder = await Deno.makeTempDir({
    dir: place.folder,
    prefix: "nginx-",
  });
  // The certificate that Sluice made for itself, if it was started with TLS.
  const certificate = `${place.folder}/sluice/local_cert.pem`;
  const tls = await exists(certificate)
    ? await fill("nginx_tls.conf", {
      TLS_PORT: tlsPort,
      CERT: certificate,
      KEY: `${place.folder}/sluice/local_key.pem`,
    })
    : "";
  const config = await fill("nginx.conf", {
    FOLDER: folder,
    PORT: port,
    TLS: tls,
    ORIGIN_PORT: originPort,
    UPSTREAM: place.upstream ?? `127.0.0.1:${originPort}`,
  });
  await Deno.writeTextFile(`${folder}/nginx.conf`, config);
  const program = (await findProgram("nginx"))!;
  const spawned = spawn(
    [program, "-e", "stderr", "-p", folder, "-c", `${folder}/nginx.conf`],
    place,
  );
  await untilConnectable(port, spawned.process);
  const server = {
    pid: spawned.process.pid,
    http: `http://127.0.0.1:${port}`,
    https: `https://127.0.0.1:${tlsPort}`,
    stop: () => spawned.stop(),
  };
  return { server, origin: `127.0.0.1:${originPort}` };
}

/** The upstream of proxies; its CPU is nobody's. */
export async function startOrigin(place: Place): Promise<Server> {
  const { server, origin } = await startNginx(place);
  return { ...server, http: `http://${origin}` };
}

export const haproxy: Peer = {
  name: "haproxy",
  program: "haproxy",
  install: "apt-get install haproxy",
  async start(place) {
    const port = freePort();
    const path = `${place.folder}/haproxy.cfg`;
    await Deno.writeTextFile(
      path,
      await fill("haproxy.cfg", { PORT: port, UPSTREAM: place.upstream! }),
    );
    const program = (await findProgram("haproxy"))!;
    const spawned = spawn([program, "-db", "-f", path], place);
    await untilConnectable(port, spawned.process);
    return {
      pid: spawned.process.pid,
      http: `http://127.0.0.1:${port}`,
      stop: () => spawned.stop(),
    };
  },
};

// What `go ARGS` says when it fails; undefined: it worked.
async function goFails(args: string[]): Promise<string | undefined> {
  const { success, stderr } = await new Deno.Command(
    (await findProgram("go"))!,
    {
      args,
      cwd: `${BENCH}/peers/go`,
      env: { GOFLAGS: "-mod=readonly", GOTOOLCHAIN: "local" },
      stdout: "null",
      stderr: "piped",
    },
  ).output();
  const text = new TextDecoder().decode(stderr).trim();
  return success ? undefined : `go ${args[0]}: ${text}`;
}

/** Go's quick server, on one processor. It is built for each run, which Go's caches make quick. */
export const fasthttp: Peer = {
  name: "fasthttp",
  program: "go",
  install: "https://go.dev/dl, unpacked to /usr/local/go",
  lacks: () => goFails(["mod", "download"]),
  async start(place) {
    const program = `${place.folder}/fasthttp`;
    const failed = await goFails(["build", "-trimpath", "-o", program, "."]);
    if (failed) throw new Error(failed);
    const spawned = spawn([program], place, { GOMAXPROCS: "1" });
    const [, pid, http] =
      (await spawned.line((line) => line.startsWith("ready "))).split(" ");
    return { pid: Number(pid), http, stop: () => spawned.stop() };
  },
};
