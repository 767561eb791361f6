/**
 * The benches run, tiny: every table has all its rows and no error. Never a time.
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { measureIsolates, renderIsolates } from "./isolates.ts";
import { missing } from "./peers.ts";
import { measure, prepare } from "./measure.ts";
import { median, quantile, render, type Table } from "./table.ts";
import { type Workload, WORKLOADS } from "./workloads.ts";

const REQUESTS = 200;

async function tiny(workload: Workload): Promise<Table> {
  const setting = await prepare({ rounds: 1, seconds: 0, requests: REQUESTS });
  try {
    return await measure(workload, setting);
  } finally {
    await Deno.remove(setting.folder, { recursive: true });
  }
}

async function assertWhole(workload: Workload, table: Table): Promise<void> {
  const lacking = await Promise.all(workload.peers.map(missing));
  const here = workload.peers.filter((_, i) => lacking[i] === undefined);
  const upstream = !workload.proxied ||
    here.some(({ name }) => name === "nginx");
  assertEquals(
    table.rows.map(({ peer }) => peer),
    upstream ? here.map(({ name }) => name) : [],
  );
  assertEquals(
    table.left.length,
    upstream ? lacking.filter(Boolean).length : 1,
  );
  for (const { rounds } of table.rows) {
    assertEquals(rounds.length, 1);
    assertEquals(rounds[0].errors, 0);
    assert(rounds[0].requests >= REQUESTS);
  }
  const text = render(table);
  for (const { name } of upstream ? here : []) {
    assert(text.includes(`\n${name} `), text);
  }
}

describe("bench/isolates.ts", () => {
  it("measures one isolate and two, which share the work", async () => {
    const all = await measureIsolates(1, 0);
    assertEquals(all.map(([{ errors }]) => errors), [0, 0]);
    const [[one], [two]] = all;
    assertEquals([one.counts.length, two.counts.length], [1, 2]);
    assert(Math.min(...two.counts) > 0, `${two.counts}`);
    assert(renderIsolates(all).startsWith("isolates  req/s"));
  });
});

describe("deno task bench", () => {
  for (const [word, workloads] of Object.entries(WORKLOADS)) {
    for (const workload of workloads) {
      it(`measures ${workload.title} (${word || "table"}), every row without an error`, async () => {
        await assertWhole(workload, await tiny(workload));
      });
    }
  }

  it("refuses an answer with another body", async () => {
    const [workload] = WORKLOADS[""];
    const lying = {
      ...workload,
      body: "Hello, World?",
      peers: workload.peers.slice(0, 1),
    };
    const error = await tiny(lying).then(() => undefined, (error) => error);
    assert(
      error instanceof Error &&
        error.message.includes('not 200 "Hello, World?"'),
      String(error),
    );
  });
});

describe("median() and quantile()", () => {
  it("take the middle, and between two values what lies between", () => {
    assertEquals(median([3, 1, 2]), 2);
    assertEquals(median([4, 1, 2, 3]), 2.5);
    assertEquals(quantile([0, 10, 20, 30], 0.5), 15);
    assertEquals(quantile([5], 0.99), 5);
  });
});
