/**
 * `deno task bench [proxy|tls|wake] [--rounds N] [--seconds N]`: what a request costs the server, beside servers that people know.
 *
 * The figure is CPU time of the server's process tree per request, not requests per second: on one machine those measure the
 * client as well. How, and what may fool one: docs/internals/measuring.md.
 *
 * @module
 */
import {
  buildPaced,
  few,
  type Load,
  paced,
  wrk,
  wrongAnswer,
} from "./clients.ts";
import {
  coreTime,
  load as machineLoad,
  machine,
  treeCpuUs,
  treeOf,
} from "./cpu.ts";
import {
  findProgram,
  missing,
  type Peer,
  ROOT,
  type Server,
  startOrigin,
  versionOf,
} from "./peers.ts";
import { WAKE, type Workload, WORKLOADS } from "./workloads.ts";

const CONNECTIONS = 64;
const SERVER_CORE = 0;
const CLIENT_CORE = 1;
const LIBRARY = `${ROOT}/ffi/target/release/libsluice_ffi.so`;

/** How much is measured. */
export interface Effort {
  rounds: number;
  seconds: number;
  /** Instead of seconds: so many requests by `fetch`, without pinning. For the tests. */
  requests?: number;
}

/** One peer in one round. */
export interface Round extends Load {
  /** Server CPU, µs per request. */
  costUs: number;
  /** Of the server's core, in percent: idle, stolen by the host, used by others. */
  idle: number;
  stolen: number;
  others: number;
}

/** All rounds of one peer. */
export interface Row {
  peer: string;
  rounds: Round[];
  /** System calls per request; undefined where perf cannot count them. */
  syscalls?: number;
}

export interface Table {
  title: string;
  rows: Row[];
  /** Peers that are not here, each with its reason. */
  left: string[];
}

// ---- Numbers

export function median(values: number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)];
  return low + (sorted[Math.ceil(at)] - low) * (at % 1);
}

// ---- One table

interface Running {
  peer: Peer;
  server: Server;
  url: string;
}

/** Where and how much. */
export interface Setting {
  folder: string;
  library: string;
  effort: Effort;
}

/** Starts every peer, then measures round after round, each peer once per round: what changes meanwhile hits all. */
export async function measure(
  workload: Workload,
  setting: Setting,
): Promise<Table> {
  const table: Table = { title: workload.title, rows: [], left: [] };
  await using servers = new AsyncDisposableStack();
  const running: Running[] = [];
  const upstream = workload.proxied
    ? await startUpstream(setting, servers)
    : undefined;
  if (workload.proxied && !upstream) return { ...table, left: [NO_UPSTREAM] };
  for (const peer of workload.peers) {
    const why = await missing(peer);
    if (why) {
      table.left.push(why);
      continue;
    }
    const cores = coresOf(setting, SERVER_CORE);
    const server = await peer.start({ ...setting, cores, upstream });
    servers.defer(() => server.stop());
    const origin = workload.tls ? server.https! : server.http;
    running.push({ peer, server, url: origin + workload.path });
    table.rows.push({ peer: peer.name, rounds: [] });
  }
  const client = workload.tls ? await trustingClient(setting) : undefined;
  if (client) servers.defer(() => client.close());
  // The first round warms: code is compiled, buffers are touched, connections to upstreams are open. It also counts system calls, which
  // costs too much to be done in the others.
  for (const [i, each] of running.entries()) {
    table.rows[i].syscalls = await countSyscalls(
      each.server.pid,
      () => load(each, workload, setting.effort, client),
    );
  }
  for (let round = 0; round < setting.effort.rounds; round++) {
    for (const [i, each] of running.entries()) {
      table.rows[i].rounds.push(
        await measureOnce(each, workload, setting.effort, client),
      );
    }
  }
  return table;
}

const NO_UPSTREAM =
  "all are left out: no nginx to be their upstream (apt-get install nginx)";

async function startUpstream(
  setting: Setting,
  servers: AsyncDisposableStack,
): Promise<string | undefined> {
  if (!await findProgram("nginx")) return undefined;
  const cores = coresOf(setting, CLIENT_CORE);
  const origin = await startOrigin({ ...setting, cores });
  servers.defer(() => origin.stop());
  return new URL(origin.http).host;
}

// Tests share their cores with others.
function coresOf({ effort }: Setting, core: number): string | undefined {
  return effort.requests === undefined ? String(core) : undefined;
}

// The certificate is the one that Sluice made a moment ago.
async function trustingClient({ folder }: Setting): Promise<Deno.HttpClient> {
  const certificate = await Deno.readTextFile(
    `${folder}/sluice/local_cert.pem`,
  );
  return Deno.createHttpClient({ caCerts: [certificate] });
}

async function load(
  { url }: Running,
  { body }: Workload,
  { seconds, requests }: Effort,
  client?: Deno.HttpClient,
): Promise<Load> {
  const wrong = await wrongAnswer(url, body, client);
  if (wrong) throw new Error(wrong);
  return requests === undefined
    ? await wrk(url, CONNECTIONS, seconds, String(CLIENT_CORE))
    : await few(url, body, 8, requests, client);
}

async function measureOnce(
  running: Running,
  workload: Workload,
  effort: Effort,
  client?: Deno.HttpClient,
): Promise<Round> {
  const { pid } = running.server;
  const before = { cpu: treeCpuUs(pid), core: coreTime(SERVER_CORE) };
  const result = await load(running, workload, effort, client);
  const core = coreTime(SERVER_CORE);
  const used = treeCpuUs(pid) - before.cpu;
  const percent = (us: number) => us / (result.seconds * 1e6) * 100;
  return {
    ...result,
    costUs: used / result.requests,
    idle: percent(core.idleUs - before.core.idleUs),
    stolen: percent(core.stolenUs - before.core.stolenUs),
    others: percent(core.busyUs - before.core.busyUs - used),
  };
}

/** System calls of a process tree per request, if perf is there and may count them. */
async function countSyscalls(
  pid: number,
  work: () => Promise<Load>,
): Promise<number | undefined> {
  const counter = await startPerf(pid);
  const { requests } = await work();
  const count = await counter?.();
  return count === undefined ? undefined : count / requests;
}

async function startPerf(
  pid: number,
): Promise<(() => Promise<number | undefined>) | undefined> {
  if (!await findProgram("perf")) return undefined;
  const pids = treeOf(pid).join(",");
  const process = new Deno.Command("perf", {
    args: ["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", pids],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  // It counts from when its descriptors are open; a moment of many seconds.
  await new Promise((resolve) => setTimeout(resolve, 300));
  return async () => {
    try {
      process.kill("SIGINT");
    } catch {
      // It had no permission and has ended.
    }
    const text = new TextDecoder().decode((await process.output()).stderr);
    const count = parseInt(text);
    return Number.isNaN(count) ? undefined : count;
  };
}

// ---- Text

/** A table as text; ratios are to the first row that is not Sluice's. */
export function render({ title, rows, left }: Table): string {
  const base = rows.find(({ peer }) => !peer.startsWith("Sluice"));
  const lines = rows.map((row) => line(row, base));
  const head = [
    "server",
    "µs/request",
    "min-max",
    "ratio",
    "syscalls",
    "req/s",
    "idle",
    "others",
    "errors",
  ];
  return [title, ...columns([head, ...lines]), ...left].join("\n");
}

const costs = (row: Row) => row.rounds.map(({ costUs }) => costUs);

function line(row: Row, base: Row | undefined): string[] {
  const all = costs(row);
  const rate = median(
    row.rounds.map((round) => round.requests / round.seconds),
  );
  const errors = row.rounds.reduce((sum, round) => sum + round.errors, 0);
  const ratio = base ? ratioOf(row, base).toFixed(2) : "";
  return [
    row.peer,
    median(all).toFixed(2),
    `${Math.min(...all).toFixed(2)}-${Math.max(...all).toFixed(2)}`,
    base === row ? "1" : ratio,
    row.syscalls?.toFixed(2) ?? "?",
    rate.toFixed(0),
    `${median(row.rounds.map(({ idle }) => idle)).toFixed(0)} %`,
    `${median(row.rounds.map(othersOf)).toFixed(0)} %`,
    String(errors),
  ];
}

// Whatever kept the server from its core: other processes, or the host.
const othersOf = ({ others, stolen }: Round) => Math.max(0, others + stolen);

// Of each round's own pair: what slowed a whole round down falls out.
function ratioOf(row: Row, base: Row): number {
  return median(
    row.rounds.map(({ costUs }, i) => costUs / base.rounds[i].costUs),
  );
}

function columns(rows: string[][]): string[] {
  const widths = rows[0].map((_, i) =>
    Math.max(...rows.map((row) => row[i].length))
  );
  return rows.map((row) =>
    row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])
    ).join("  ").trimEnd()
  );
}

// ---- The price of a wake-up

/** Latencies of one peer at one gap, over all rounds. */
export interface WakeRow {
  peer: string;
  gapUs: number;
  latenciesNs: number[];
  costUs: number[];
  errors: number;
}

async function measureWake(
  setting: Setting,
  cores: string,
): Promise<WakeRow[]> {
  await using servers = new AsyncDisposableStack();
  const program = await buildPaced(setting.folder);
  const running: Running[] = [];
  for (const peer of WAKE.peers) {
    const server = await peer.start({ ...setting, cores });
    servers.defer(() => server.stop());
    running.push({ peer, server, url: server.http + WAKE.path });
  }
  const rows = WAKE.gapsUs.flatMap((gapUs) =>
    running.map(({ peer }): WakeRow => ({
      peer: peer.name,
      gapUs,
      latenciesNs: [],
      costUs: [],
      errors: 0,
    }))
  );
  for (let round = -1; round < setting.effort.rounds; round++) {
    for (const row of rows) {
      const { server, url } = running.find(({ peer }) =>
        peer.name === row.peer
      )!;
      const wrong = await wrongAnswer(url, WAKE.body);
      if (wrong) throw new Error(wrong);
      const count = Math.ceil(setting.effort.seconds * 1e6 / (row.gapUs + 100));
      const before = treeCpuUs(server.pid);
      const result = await paced(
        program,
        url,
        count,
        row.gapUs,
        String(CLIENT_CORE),
      );
      if (round < 0) continue; // warm
      row.latenciesNs.push(...result.latenciesNs);
      row.costUs.push((treeCpuUs(server.pid) - before) / count);
      row.errors += result.errors;
    }
  }
  return rows;
}

function renderWake(title: string, rows: WakeRow[]): string {
  const head = [
    "server",
    "gap",
    "p50 µs",
    "p99 µs",
    "CPU µs/request",
    "errors",
  ];
  const lines = rows.map((row) => [
    row.peer,
    `${row.gapUs / 1000} ms`,
    (quantile(row.latenciesNs, 0.5) / 1000).toFixed(1),
    (quantile(row.latenciesNs, 0.99) / 1000).toFixed(1),
    median(row.costUs).toFixed(1),
    String(row.errors),
  ]);
  return [title, ...columns([head, ...lines])].join("\n");
}

// ---- The command

const USAGE =
  "usage: deno task bench [proxy|tls|wake] [--rounds N] [--seconds N]";

function effortOf(args: string[]): Effort {
  const effort: Effort = { rounds: 5, seconds: 5 };
  for (let i = 0; i < args.length; i += 2) {
    const name = args[i].replace(/^--/, "");
    const value = Number(args[i + 1]);
    if ((name !== "rounds" && name !== "seconds") || !(value >= 1)) {
      throw new Error(
        `bench: cannot read "${args.slice(i, i + 2).join(" ")}"\n${USAGE}`,
      );
    }
    effort[name] = Math.floor(value);
  }
  return effort;
}

async function versions(): Promise<string[]> {
  return [
    `Deno ${Deno.version.deno}`,
    await versionOf("nginx", "-v"),
    await versionOf("haproxy", "-v"),
    await versionOf("wrk", "-v"),
  ];
}

// A build that somebody starts meanwhile must not change what is measured.
async function copyLibrary(folder: string): Promise<string> {
  await Deno.copyFile(LIBRARY, `${folder}/libsluice_ffi.so`);
  return `${folder}/libsluice_ffi.so`;
}

async function build(): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-config", "--allow-all", `${ROOT}/tools/build.ts`],
  }).spawn().status;
  if (!success) throw new Error("bench: the library does not build");
}

/** A folder of its own, and the library as it is now. */
export async function prepare(effort: Effort): Promise<Setting> {
  const folder = await Deno.makeTempDir({ prefix: "sluice-bench-" });
  return { folder, library: await copyLibrary(folder), effort };
}

async function runLoads(what: string, setting: Setting): Promise<Table[]> {
  const tables: Table[] = [];
  for (const workload of WORKLOADS[what]) {
    const table = await measure(workload, setting);
    console.log(`\n${render(table)}`);
    tables.push(table);
  }
  return tables;
}

async function runWake(setting: Setting) {
  const tables = [];
  for (const cores of [String(SERVER_CORE), `${SERVER_CORE},${CLIENT_CORE}`]) {
    const title = `${WAKE.title}; server on core ${cores}`;
    const rows = await measureWake(setting, cores);
    console.log(`\n${renderWake(title, rows)}`);
    tables.push({ title, rows });
  }
  return tables;
}

async function keep(
  what: string,
  setting: Setting,
  tables: unknown,
): Promise<string> {
  const at = new Date().toISOString();
  const path = `${ROOT}/bench/results/${what || "table"}-${
    at.replace(/\W/g, "")
  }.json`;
  await Deno.mkdir(`${ROOT}/bench/results`, { recursive: true });
  const { effort } = setting;
  const record = {
    at,
    effort,
    machine: machine(),
    versions: await versions(),
    tables,
  };
  await Deno.writeTextFile(path, JSON.stringify(record));
  return path.slice(ROOT.length + 1);
}

async function main(args: string[]): Promise<void> {
  const what = args[0]?.startsWith("--") ? "" : args.shift() ?? "";
  if (!(what in WORKLOADS) && what !== "wake") {
    throw new Error(`bench: there is no "${what}"\n${USAGE}`);
  }
  const effort = effortOf(args);
  for (const program of ["wrk", "taskset", "cc"]) {
    if (!await findProgram(program)) {
      throw new Error(
        `bench: no ${program} (apt-get install wrk util-linux gcc)`,
      );
    }
  }
  await build();
  console.log(machine());
  console.log((await versions()).join("; "));
  console.log(
    `${effort.rounds} rounds of ${effort.seconds} s, interleaved; ${CONNECTIONS} connections; server on core ${SERVER_CORE}, client on core ${CLIENT_CORE}; load before ${machineLoad()}`,
  );
  const setting = await prepare(effort);
  try {
    const tables = what === "wake"
      ? await runWake(setting)
      : await runLoads(what, setting);
    console.log(`\nraw values: ${await keep(what, setting, tables)}`);
  } finally {
    await Deno.remove(setting.folder, { recursive: true });
  }
}

if (import.meta.main) {
  try {
    await main([...Deno.args]);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
