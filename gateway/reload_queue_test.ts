import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { ReloadQueue } from "./reload_queue.ts";

describe("ReloadQueue", () => {
  it("runs one at a time, and once more for whatever came meanwhile", async () => {
    const runs: { isAsked: boolean; end: () => void }[] = [];
    let begun = Promise.withResolvers<void>();
    const queue = new ReloadQueue((isAsked) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      runs.push({ isAsked, end: resolve });
      begun.resolve();
      return promise;
    }, () => {});
    queue.changed();
    await begun.promise;
    begun = Promise.withResolvers();
    queue.changed();
    queue.asked();
    queue.changed();
    const others: string[] = [];
    queue.alone(() => Promise.resolve(others.push("restart")).then(() => {}));
    expect(runs.map(({ isAsked }) => isAsked)).toEqual([false]);
    runs[0].end();
    await begun.promise;
    expect(runs.map(({ isAsked }) => isAsked)).toEqual([false, true]);
    expect(others).toEqual([]);
    const done = Promise.withResolvers<void>();
    queue.alone(() => Promise.resolve(done.resolve()));
    runs[1].end();
    await done.promise;
    expect([runs.length, others]).toEqual([2, ["restart"]]);
  });

  it("makes a reload that hangs give up for a newer one", async () => {
    const hanging = Promise.withResolvers<void>();
    const second = Promise.withResolvers<void>();
    let isAborting = false;
    let runs = 0;
    const queue = new ReloadQueue(
      () => {
        if (runs++ === 0) return hanging.promise;
        second.resolve();
        return Promise.resolve();
      },
      () => {
        isAborting = queue.isAborting;
        hanging.resolve();
      },
    );
    queue.changed();
    await Promise.resolve();
    await Promise.resolve();
    expect(runs).toBe(1);
    queue.changed();
    await second.promise;
    expect([isAborting, queue.isAborting]).toEqual([true, false]);
  });
});
