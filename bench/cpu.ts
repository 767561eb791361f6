/**
 * What processes cost: CPU time from /proc, and how much of a core somebody else had meanwhile.
 *
 * @module
 */

// Linux has shown clock ticks of 10 ms to programs for ever; the sum behind them is exact to the nanosecond.
const TICK_US = 10_000;

/** utime + stime of a process and of all its descendants that live, in microseconds. */
export function treeCpuUs(pid: number): number {
  return tree(pid).reduce((sum, { cpuUs }) => sum + cpuUs, 0);
}

/** A process and all its descendants that live. */
export function treeOf(pid: number): number[] {
  return tree(pid).map((row) => row.pid);
}

function tree(root: number): Stat[] {
  const rows = [...Deno.readDirSync("/proc")]
    .filter(({ name }) => /^\d+$/.test(name))
    .map(({ name }) => statOf(Number(name)))
    .filter((row) => row !== undefined);
  const members = new Set([root]);
  // Until nobody is added: a child may be listed before its parent.
  for (let before = 0; before < members.size;) {
    before = members.size;
    for (const { pid, parent } of rows) {
      if (members.has(parent)) members.add(pid);
    }
  }
  return rows.filter(({ pid }) => members.has(pid));
}

interface Stat {
  pid: number;
  parent: number;
  cpuUs: number;
}

function statOf(pid: number): Stat | undefined {
  const text = read(`/proc/${pid}/stat`);
  if (text === undefined) return undefined; // it has just ended
  // The name in parentheses may hold anything; after it come state, parent, and as 14th and 15th field utime and stime.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { pid, parent: Number(fields[1]), cpuUs: ticks * TICK_US };
}

/** One core's time since boot, in microseconds. */
export interface CoreTime {
  busyUs: number;
  idleUs: number;
  stolenUs: number;
}

export function coreTime(core: number): CoreTime {
  const line = Deno.readTextFileSync("/proc/stat").split("\n")
    .find((line) => line.startsWith(`cpu${core} `))!;
  const [user, nice, system, idle, iowait, irq, softirq, steal] = line
    .split(/\s+/).slice(1).map((ticks) => Number(ticks) * TICK_US);
  return {
    busyUs: user + nice + system + irq + softirq,
    idleUs: idle + iowait,
    stolenUs: steal,
  };
}

/** Processes that wanted to run during the last minute. */
export function load(): number {
  return Number(Deno.readTextFileSync("/proc/loadavg").split(" ")[0]);
}

/** What the figures were taken on. */
export function machine(): string {
  const info = read("/proc/cpuinfo") ?? "";
  const model = info.match(/^model name\s*: (.*)$/m)?.[1] ?? "unknown CPU";
  const guest = /^flags\s*:.*\bhypervisor\b/m.test(info) ? ", a guest" : "";
  return `${navigator.hardwareConcurrency} x ${model}${guest}, Linux ${Deno.osRelease()}`;
}

function read(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}
