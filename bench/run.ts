/**
 * `deno task bench [proxy|tls|handshake|tickets|pipelined|policies|wake|parse] [--rounds N] [--seconds N] [--before LIBRARY] [--only TEXT]`: what a request costs the server, beside servers that people know.
 *
 * The figure is CPU time of the server's process tree per request, not requests per second: on one machine those measure the
 * client as well. How, and what may fool one: docs/internals/measuring.md.
 *
 * @module
 */
import { resolve } from "node:path";
import { load, machine } from "./cpu.ts";
import { measureHandshakes, renderHandshakes } from "./handshake.ts";
import {
  CLIENT_CORE,
  CONNECTIONS,
  measure,
  prepare,
  SERVER_CORE,
  type Setting,
} from "./measure.ts";
import {
  buildParse,
  measureParse,
  parseMissing,
  renderParse,
} from "./parse.ts";
import { findProgram, ROOT, versionOf } from "./peers.ts";
import { render, renderAdded, type Table } from "./table.ts";
import { buildTickets, measureTickets, renderTickets } from "./tickets.ts";
import { measureWake, renderWake } from "./wake.ts";
import { WAKE, WORKLOADS } from "./workloads.ts";

const USAGE =
  'usage: deno task bench [proxy|tls|handshake|tickets|pipelined|policies|wake|parse] [--rounds N] [--seconds N] [--before LIBRARY]\n  --only TEXT: of handshakes those with this in their kind, key and group, such as "full ecdsa x25519"';

const PARSE_ROUNDS = 101, PARSE_BATCH_US = 200;
const TICKET_ROUNDS = 51, TICKET_BATCH = 20_000;
// Others: WORKLOADS.
const WORDS = ["handshake", "tickets", "wake", "parse"];

interface Flags {
  rounds: number;
  seconds: number;
  before?: string;
  only?: string;
}

function flagsOf(args: string[]): Flags {
  const flags: Flags = { rounds: 5, seconds: 5 };
  for (let i = 0; i < args.length; i += 2) {
    const name = args[i].replace(/^--/, "");
    const value = Number(args[i + 1]);
    if (name === "before" && args[i + 1]) {
      flags.before = resolve(Deno.env.get("INIT_CWD") ?? ".", args[i + 1]);
      continue;
    }
    if (name === "only" && args[i + 1]) {
      flags.only = args[i + 1];
      continue;
    }
    if ((name !== "rounds" && name !== "seconds") || !(value >= 1)) {
      throw new Error(
        `bench: cannot read "${args.slice(i, i + 2).join(" ")}"\n${USAGE}`,
      );
    }
    flags[name] = Math.floor(value);
  }
  return flags;
}

async function versions(): Promise<string[]> {
  return [
    `Deno ${Deno.version.deno}`,
    await versionOf("nginx", "-v"),
    await versionOf("haproxy", "-v"),
    `caddy ${await versionOf("caddy", "version")}`,
    await versionOf("openssl", "version"),
    await versionOf("go", "version"),
    await versionOf("wrk", "-v"),
  ];
}

async function build(): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-config", "--allow-all", `${ROOT}/tools/build.ts`],
  }).spawn().status;
  if (!success) throw new Error("bench: the library does not build");
}

async function runLoads(what: string, setting: Setting): Promise<Table[]> {
  const tables: Table[] = [];
  for (const workload of WORKLOADS[what]) {
    const table = await measure(workload, setting);
    console.log(`\n${render(table)}`);
    if (workload.adds) console.log(renderAdded(table, workload.adds));
    tables.push(table);
  }
  return tables;
}

async function runWake(setting: Setting) {
  const tables = [];
  const pinned = { server: String(SERVER_CORE), client: String(CLIENT_CORE) };
  for (const cores of [pinned, undefined]) {
    const title = `${WAKE.title}; ${
      cores ? "server and client on a core each" : "nothing pinned"
    }`;
    const rows = await measureWake(setting, cores);
    console.log(`\n${renderWake(title, rows)}`);
    tables.push({ title, rows });
  }
  return tables;
}

async function runParse(rounds: number): Promise<void> {
  const missing = await parseMissing();
  if (missing) throw new Error(`bench: ${missing}`);
  console.log(machine());
  console.log(
    `${await versionOf("cc", "--version")}, -O3`,
  );
  console.log(
    `${rounds} rounds of ${PARSE_BATCH_US} µs, interleaved; load before ${load()}`,
  );
  const folder = await Deno.makeTempDir({ prefix: "sluice-bench-" });
  try {
    const times = await measureParse(
      await buildParse(folder),
      rounds,
      PARSE_BATCH_US,
    );
    console.log(`\n${renderParse(times)}`);
    const effort = { rounds, batchUs: PARSE_BATCH_US };
    console.log(`\nraw values: ${await keep("parse", effort, times)}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function runTickets(rounds: number): Promise<void> {
  console.log(machine());
  console.log(
    `${rounds} rounds of ${TICKET_BATCH} ids, interleaved; load before ${load()}`,
  );
  const folder = await Deno.makeTempDir({ prefix: "sluice-bench-" });
  try {
    const programs = await buildTickets(folder);
    const times = await measureTickets(programs, rounds, TICKET_BATCH);
    console.log(`\n${renderTickets(times)}`);
    const effort = { rounds, ids: TICKET_BATCH };
    console.log(`\nraw values: ${await keep("tickets", effort, times)}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function runHandshake(setting: Setting, only?: string) {
  const result = await measureHandshakes(setting, only);
  console.log(`\n${renderHandshakes(result)}`);
  return result;
}

async function keep(
  what: string,
  effort: unknown,
  tables: unknown,
): Promise<string> {
  const at = new Date().toISOString();
  const path = `${ROOT}/bench/results/${what || "table"}-${
    at.replace(/\W/g, "")
  }.json`;
  await Deno.mkdir(`${ROOT}/bench/results`, { recursive: true });
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
  if (!(what in WORKLOADS) && !WORDS.includes(what)) {
    throw new Error(`bench: there is no "${what}"\n${USAGE}`);
  }
  const { before, only, ...effort } = flagsOf(args);
  if (what === "parse") {
    return await runParse(
      args.includes("--rounds") ? effort.rounds : PARSE_ROUNDS,
    );
  }
  if (what === "tickets") {
    return await runTickets(
      args.includes("--rounds") ? effort.rounds : TICKET_ROUNDS,
    );
  }
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
    `${effort.rounds} rounds of ${effort.seconds} s, interleaved; ${CONNECTIONS} connections; server on core ${SERVER_CORE}, client on core ${CLIENT_CORE}; load before ${load()}`,
  );
  const setting = await prepare(effort, before);
  try {
    const tables = what === "wake"
      ? await runWake(setting)
      : what === "handshake"
      ? await runHandshake(setting, only)
      : await runLoads(what, setting);
    console.log(`\nraw values: ${await keep(what, setting.effort, tables)}`);
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
