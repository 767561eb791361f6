/**
 * `deno task bench tickets`: what single-use tickets cost, beside a hash table with an LRU list behind a mutex (`ticket_bench.c` says how), and what
 * they save of a handshake in process (`handshake_bench.c`).
 *
 * @module
 */
import { builtFolder, run } from "./clients.ts";
import { ratio } from "./parse.ts";
import { ROOT } from "./peers.ts";
import { columns, median, quantile } from "./table.ts";

const SOURCES = [
  ...["base", "client_auth", "random", "secret", "status", "stek", "ticket"],
  ...["ticket_set", "ticket_vault", "tls", "tls_certificate"],
  ...["tls_compression", "tls_ocsp", "tls_sni"],
];

/** Both benches, compiled as the library is. */
export interface TicketPrograms {
  tickets: string;
  handshakes: string;
}

export async function buildTickets(folder: string): Promise<TicketPrograms> {
  return {
    tickets: await compile(folder, "ticket_bench"),
    handshakes: await compile(folder, "handshake_bench"),
  };
}

async function compile(folder: string, name: string): Promise<string> {
  const ssl = await builtFolder("boringssl");
  const compression = await builtFolder("compression");
  const native = `${ROOT}/native`;
  const program = `${folder}/${name}`;
  const includes = [`${native}/include`, `${native}/src`, `${native}/tests`];
  await run([
    ...["cc", "-std=gnu11", "-O2", "-g", "-D_GNU_SOURCE", "-o", program],
    ...["-fno-omit-frame-pointer", "-fno-strict-aliasing"],
    "-fstack-protector-strong",
    ...[...includes, `${ssl}/include`, `${compression}/include`]
      .map((path) => `-I${path}`),
    `${ROOT}/bench/${name}.c`,
    ...SOURCES.map((name) => `${native}/src/${name}.c`),
    ...[`${ssl}/lib/libssl.a`, `${ssl}/lib/libcrypto.a`],
    `${compression}/lib/libcompression.a`,
    ...["-lstdc++", "-lm", "-lpthread"],
  ]);
  return program;
}

/** Nanoseconds by "WHAT DESIGN THREADS", one for each round. */
export type TicketTimes = Record<string, number[]>;

export async function measureTickets(
  { tickets, handshakes }: TicketPrograms,
  rounds: number,
  ids: number,
): Promise<TicketTimes> {
  const times: TicketTimes = {};
  const said = await run([tickets, String(rounds), String(ids)]) +
    await run([handshakes, String(rounds)]);
  for (const line of said.trim().split("\n")) {
    const [what, design, threads, ns] = line.split(" ");
    (times[`${what} ${design} ${threads}`] ??= []).push(Number(ns));
  }
  return times;
}

/** What sealing and opening takes beyond its AEAD, in nanoseconds. */
export function overheadNs(times: TicketTimes): number {
  const aead = times["ticket aead 1"];
  return median(times["ticket once 1"].map((ns, i) => ns - aead[i]));
}

/** All tables; ratios are medians of the rounds' own. */
export function renderTickets(times: TicketTimes): string {
  const row = (name: string, all: number[], base: number[]) => [
    name,
    median(all).toFixed(0),
    `${quantile(all, 0.1).toFixed(0)}-${quantile(all, 0.9).toFixed(0)}`,
    all === base ? "1" : ratio(all, base),
  ];
  const set = ["1", "2"].flatMap((threads) =>
    ["insert", "take"].flatMap((what) =>
      ["set", "lru"].map((design) => {
        const all = times[`${what} ${design} ${threads}`];
        const name = design === "set" ? "the set" : "LRU and mutex";
        const many = `${threads} thread${threads === "1" ? "" : "s"}`;
        const base = times[`${what} lru ${threads}`];
        return row(`${what}, ${many}: ${name}`, all, base);
      })
    )
  );
  const aead = times["ticket aead 1"];
  const handshakes = ["ecdsa", "rsa"].flatMap((key) =>
    ["full", "resumed"].map((kind) =>
      row(`${key}, ${kind}`, times[`${kind} ${key} 1`], times[`full ${key} 1`])
    )
  );
  return [
    ...columns([["each thread, per id", "ns", "p10-p90", "ratio"], ...set]),
    "",
    ...columns([
      ["seal and open a ticket", "ns", "p10-p90", "ratio"],
      row("the AEAD alone", aead, aead),
      row("mode once, its id inserted and taken", times["ticket once 1"], aead),
    ]),
    `beyond the AEAD: ${overheadNs(times).toFixed(0)} ns`,
    "",
    ...columns([
      ["a handshake in process, X25519", "ns", "p10-p90", "ratio"],
      ...handshakes,
    ]),
  ].join("\n");
}
