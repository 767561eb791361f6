/**
 * `deno run --allow-all bench/isolates.ts [--rounds N] [--seconds N]`: what a second isolate brings to a TypeScript route that keeps a CPU busy.
 *
 * One worker, 16 connections, a handler of about a millisecond of JavaScript, 1 and 2 isolates in turn. Nothing is pinned: isolates, worker and client
 * share the machine's cores. `cores` is the gateway's CPU time by the time that passed.
 *
 * @module
 */
import { treeCpuUs } from "./cpu.ts";
import { ROOT } from "./peers.ts";
import { columns, median } from "./table.ts";

const CONNECTIONS = 16;

const APP = `
import { Hono } from "hono";
const id = crypto.randomUUID();
let count = 0;
const app = new Hono();
app.get("/", (c) => {
  let sum = ++count;
  for (let i = 0; i < 700_000; i++) sum = (sum * 31 + i) | 0;
  return c.text(String(sum));
});
app.get("/count", (c) => c.json({ id, count }));
export default app;
`;

/** One round. */
export interface IsolatesRound {
  perSecond: number;
  errors: number;
  cores: number;
  /** Requests of each isolate. */
  counts: number[];
}

/** Rounds of 1 and of 2 isolates, in turn. */
export async function measureIsolates(
  rounds: number,
  seconds: number,
): Promise<IsolatesRound[][]> {
  const all: IsolatesRound[][] = [[], []];
  for (let round = 0; round < rounds; round++) {
    for (const isolates of [1, 2]) {
      all[isolates - 1].push(await one(isolates, seconds));
    }
  }
  return all;
}

async function one(isolates: number, seconds: number): Promise<IsolatesRound> {
  const folder = await Deno.makeTempDir({ prefix: "sluice-bench-" });
  await Deno.writeTextFile(`${folder}/app.ts`, APP);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-config", "--allow-read", "--allow-write"],
      ...["--allow-env", "--allow-run", `${ROOT}/tools/start.ts`, "gateway"],
      ...["app.ts", "--http", "127.0.0.1:0", "--workers", "1"],
      ...["--isolates", String(isolates)],
    ],
    cwd: folder,
    env: { INIT_CWD: folder },
    stdout: "null",
    stderr: "piped",
  }).spawn();
  try {
    const base = await readyAt(child.stderr);
    await load(base, performance.now() + 200); // compiled by then
    const before = treeCpuUs(child.pid);
    const from = performance.now();
    const loads = await load(base, from + 1000 * seconds);
    const us = (performance.now() - from) * 1000;
    return {
      perSecond: loads.answers / us * 1e6,
      errors: loads.errors,
      cores: (treeCpuUs(child.pid) - before) / us,
      counts: await countsOf(base, isolates),
    };
  } finally {
    child.kill("SIGTERM");
    await child.status;
    await Deno.remove(folder, { recursive: true });
  }
}

async function readyAt(
  stderr: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<string> {
  let text = "";
  const [mine, rest] = stderr.tee();
  rest.pipeTo(new WritableStream());
  for await (const part of mine.pipeThrough(new TextDecoderStream())) {
    text += part;
    const ready = /^sluice: ready .* (http:\S+)\n/m.exec(text);
    if (ready) return ready[1];
  }
  throw new Error(`bench/isolates: the gateway does not start:\n${text}`);
}

async function load(
  base: string,
  until: number,
): Promise<{ answers: number; errors: number }> {
  const sum = { answers: 0, errors: 0 };
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    do {
      const response = await fetch(`${base}/`);
      await response.body!.cancel();
      if (response.status === 200) sum.answers++;
      else sum.errors++;
    } while (performance.now() < until);
  }));
  return sum;
}

async function countsOf(base: string, isolates: number): Promise<number[]> {
  const counts = new Map<string, number>();
  while (counts.size < isolates) {
    const { id, count } = await (await fetch(`${base}/count`)).json();
    counts.set(id, count);
  }
  return [...counts.values()];
}

/** The table. */
export function renderIsolates(all: IsolatesRound[][]): string {
  const rows = all.map((rounds, i) => {
    const rates = rounds.map(({ perSecond }) => perSecond);
    const share = rounds.map(({ counts }) =>
      Math.max(...counts) / counts.reduce((a, b) => a + b, 0)
    );
    const ratios = rounds.map(({ perSecond }, k) =>
      perSecond / all[0][k].perSecond
    );
    return [
      String(i + 1),
      median(rates).toFixed(0),
      `${Math.min(...rates).toFixed(0)}-${Math.max(...rates).toFixed(0)}`,
      median(ratios).toFixed(2),
      median(rounds.map(({ cores }) => cores)).toFixed(2),
      `${(100 * median(share)).toFixed(0)} %`,
      String(rounds.reduce((sum, { errors }) => sum + errors, 0)),
    ];
  });
  const head = ["isolates", "req/s", "min-max", "ratio", "cores"];
  return columns([[...head, "busier one", "errors"], ...rows]).join("\n");
}

if (import.meta.main) {
  const option = (name: string, fallback: number) =>
    Deno.args.includes(name)
      ? Number(Deno.args[Deno.args.indexOf(name) + 1])
      : fallback;
  const all = await measureIsolates(
    option("--rounds", 5),
    option("--seconds", 3),
  );
  console.log(renderIsolates(all));
}
