/**
 * What the benches found, as numbers and as text.
 *
 * @module
 */
import type { Load } from "./clients.ts";

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
  /** Rounds that others disturbed, each with one entry per row; not counted. */
  disturbed: Round[][];
}

export function median(values: number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)];
  return low + (sorted[Math.ceil(at)] - low) * (at % 1);
}

/** A table as text; ratios are to the cheapest row that is not Sluice's. */
export function render({ title, rows, left, disturbed }: Table): string {
  const base = rows.filter(({ peer }) => !peer.startsWith("Sluice"))
    .toSorted((a, b) => median(costs(a)) - median(costs(b)))[0];
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
  const notes = disturbed.length
    ? [`${disturbed.length} rounds, disturbed by others, were taken again`]
    : [];
  return [title, ...columns([head, ...lines]), ...notes, ...left].join("\n");
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

/** Cells of equal columns: the first to the left, the others to the right. */
export function columns(rows: string[][]): string[] {
  const widths = rows[0].map((_, i) =>
    Math.max(...rows.map((row) => row[i].length))
  );
  return rows.map((row) =>
    row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])
    ).join("  ").trimEnd()
  );
}

/** What rows whose names end in `suffix` cost more than the row before, in paired rounds. */
export function renderAdded({ rows }: Table, suffix: string): string {
  return rows.flatMap((row, i) => {
    if (i === 0 || row.peer !== rows[i - 1].peer + suffix) return [];
    const added = row.rounds.map(({ costUs }, k) =>
      costUs - rows[i - 1].rounds[k].costUs
    );
    const [least, middle, most] = [0, 0.5, 1].map((q) =>
      quantile(added, q).toFixed(2)
    );
    return [
      `${row.peer}: ${middle} µs/request more, from ${least} to ${most} in ${added.length} rounds`,
    ];
  }).join("\n");
}
