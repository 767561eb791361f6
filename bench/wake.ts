/**
 * Measures what it takes to wake a TypeScript route: one connection, one request at a time.
 *
 * @module
 */
import { buildClient, paced, wrongAnswer } from "./clients.ts";
import { treeCpuUs } from "./cpu.ts";
import type { Setting } from "./measure.ts";
import type { Peer, Server } from "./peers.ts";
import { columns, median, quantile } from "./table.ts";
import { WAKE } from "./workloads.ts";

/** Latencies of one peer at one gap, over all rounds. */
export interface WakeRow {
  peer: string;
  gapUs: number;
  latenciesNs: number[];
  costUs: number[];
  errors: number;
}

/** `cores`: the server's and the client's; undefined: the scheduler chooses. */
export async function measureWake(
  setting: Setting,
  cores?: { server: string; client: string },
): Promise<WakeRow[]> {
  await using servers = new AsyncDisposableStack();
  const program = await buildClient(setting.folder, "paced");
  const running: { peer: Peer; server: Server; url: string }[] = [];
  for (const peer of WAKE.peers) {
    const server = await peer.start({ ...setting, cores: cores?.server });
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
        cores?.client,
      );
      if (round < 0) continue; // warm
      row.latenciesNs.push(...result.latenciesNs);
      row.costUs.push((treeCpuUs(server.pid) - before) / count);
      row.errors += result.errors;
    }
  }
  return rows;
}

/** The latencies as text. */
export function renderWake(title: string, rows: WakeRow[]): string {
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
