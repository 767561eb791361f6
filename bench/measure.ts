/**
 * Measures a workload: peers side by side, round after round.
 *
 * @module
 */
import { few, fewPipelined, type Load, wrk, wrongAnswer } from "./clients.ts";
import { coreTime, treeCpuUs, treeOf } from "./cpu.ts";
import {
  findProgram,
  missing,
  type Peer,
  ROOT,
  type Server,
  startOrigin,
} from "./peers.ts";
import type { Round, Table } from "./table.ts";
import type { Workload } from "./workloads.ts";

export const CONNECTIONS = 64;
export const SERVER_CORE = 0;
export const CLIENT_CORE = 1;
// Of the server's core, in percent, that others may have had in a round.
export const OTHERS_MAX = 5;
const TRIES_PER_ROUND = 4;
const LIBRARY = `${ROOT}/ffi/target/release/libsluice_ffi.so`;

/** How much is measured. */
export interface Effort {
  rounds: number;
  seconds: number;
  /** Instead of seconds: so many requests by `fetch`, without pinning. For the tests. */
  requests?: number;
}

/** Where and how much. */
export interface Setting {
  folder: string;
  library: string;
  /** An earlier build of the library: Sluice's rows come once more, with it. */
  before?: string;
  effort: Effort;
}

// A build that somebody starts meanwhile must not change what is measured.
async function copyLibrary(folder: string): Promise<string> {
  await Deno.copyFile(LIBRARY, `${folder}/libsluice_ffi.so`);
  return `${folder}/libsluice_ffi.so`;
}

/** A folder of its own, and the library as it is now. */
export async function prepare(
  effort: Effort,
  before?: string,
): Promise<Setting> {
  const folder = await Deno.makeTempDir({ prefix: "sluice-bench-" });
  return { folder, library: await copyLibrary(folder), before, effort };
}

interface Running {
  peer: Peer;
  server: Server;
  url: string;
  /** Of one whole answer, as the first load showed it. */
  answerBytes?: number;
}

/** Starts every peer, then measures round after round, each peer once per round: what changes meanwhile hits all. */
export async function measure(
  workload: Workload,
  setting: Setting,
): Promise<Table> {
  const table: Table = {
    title: workload.title,
    rows: [],
    left: [],
    disturbed: [],
  };
  await using servers = new AsyncDisposableStack();
  const running: Running[] = [];
  const upstream = workload.proxied
    ? await startUpstream(setting, servers)
    : undefined;
  if (workload.proxied && !upstream) return { ...table, left: [NO_UPSTREAM] };
  for (const peer of withBefore(workload.peers, setting.before)) {
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
  await measureRounds(running, workload, setting.effort, table, client);
  return table;
}

// A round that others disturbed is kept apart and taken again, but not for ever: a busy machine gets what it can.
async function measureRounds(
  running: Running[],
  workload: Workload,
  effort: Effort,
  table: Table,
  client?: Deno.HttpClient,
): Promise<void> {
  const triesMax = effort.rounds * TRIES_PER_ROUND;
  let done = 0;
  for (let tries = 1; done < effort.rounds; tries++) {
    const round: Round[] = [];
    for (const each of running) {
      round.push(await measureOnce(each, workload, effort, client));
    }
    const disturbed = round.some(({ others, stolen }) =>
      others + stolen > OTHERS_MAX
    );
    const mayRepeat = tries + effort.rounds - done <= triesMax;
    if (disturbed && mayRepeat && effort.requests === undefined) {
      table.disturbed.push(round);
      continue;
    }
    done++;
    for (const [i, row] of table.rows.entries()) row.rounds.push(round[i]);
  }
}

function withBefore(peers: Peer[], library: string | undefined): Peer[] {
  if (library === undefined) return peers;
  return peers.flatMap((peer) => {
    if (!peer.name.startsWith("Sluice")) return [peer];
    const start: Peer["start"] = (place) => peer.start({ ...place, library });
    return [peer, { ...peer, name: `${peer.name}, before`, start }];
  });
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
  running: Running,
  { body, inFlight }: Workload,
  { seconds, requests }: Effort,
  client?: Deno.HttpClient,
): Promise<Load> {
  const { url } = running;
  const wrong = await wrongAnswer(url, body, client);
  if (wrong) throw new Error(wrong);
  if (requests !== undefined) {
    return inFlight
      ? await fewPipelined(url, body, inFlight, requests)
      : await few(url, body, 8, requests, client);
  }
  const cores = String(CLIENT_CORE);
  const result = await wrk(url, CONNECTIONS, seconds, cores, inFlight);
  running.answerBytes ??= Math.round(result.bytes / result.requests);
  checkSizes(result, running.answerBytes, url, inFlight);
  return result;
}

// wrk looks at no body, but counts bytes; at its end each connection may have a part of what is in flight.
function checkSizes(
  { bytes, requests }: Load,
  size: number,
  url: string,
  inFlight = 1,
): void {
  const parts = CONNECTIONS * inFlight * size;
  if (Math.abs(bytes - size * requests) <= parts) return;
  throw new Error(
    `${url}: ${requests} answers have ${bytes} bytes, not ${size} each`,
  );
}

async function measureOnce(
  running: Running,
  workload: Workload,
  effort: Effort,
  client?: Deno.HttpClient,
): Promise<Round> {
  return await costOf(
    running.server.pid,
    () => load(running, workload, effort, client),
  );
}

/** What a load costs the server, and who else was on its core meanwhile. */
export async function costOf(
  pid: number,
  work: () => Promise<Load>,
): Promise<Round> {
  const before = { cpu: treeCpuUs(pid), core: coreTime(SERVER_CORE) };
  const result = await work();
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
