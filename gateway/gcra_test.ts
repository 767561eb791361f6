import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Gcra } from "./gcra.ts";

describe("Gcra", () => {
  function limit(burst: number, keysMax = 100) {
    const clock = { us: 0 };
    return { clock, table: new Gcra(100, burst, keysMax, () => clock.us) };
  }

  it("lets a burst pass, then the rate", () => {
    const { clock, table } = limit(2);
    const seen = [];
    for (clock.us = 0; clock.us < 500; clock.us += 50) {
      seen.push(table.take("a").passes);
    }
    expect(seen).toEqual([
      true,
      true, // 150 us ahead
      true, // at 100: exactly 200 ahead
      false,
      true,
      false,
      true,
      false,
      true,
      false,
    ]);
  });

  it("says what is left", () => {
    const { clock, table } = limit(2);
    expect(table.take("a")).toEqual({
      passes: true,
      remaining: 1,
      fullUs: 100,
      waitUs: 0,
    });
    expect(table.take("a")).toEqual({
      passes: true,
      remaining: 0,
      fullUs: 200,
      waitUs: 100,
    });
    clock.us = 30;
    expect(table.take("a")).toEqual({
      passes: false,
      remaining: 0,
      fullUs: 170,
      waitUs: 70,
    });
    clock.us = 1000;
    expect(table.take("a").remaining).toBe(1);
  });

  it("forgets who has asked for the least of the eldest", () => {
    const { table } = limit(2, 3);
    table.take("hot");
    table.take("hot");
    for (let i = 0; i < 50; i++) {
      expect(table.take(`new ${i}`).passes).toBe(true);
      expect(table.take("hot").passes).toBe(false);
    }
    expect(table.size).toBe(3);
  });
});
