/**
 * The bench of tickets runs, tiny. Never a time.
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  buildTickets,
  measureTickets,
  overheadNs,
  renderTickets,
} from "./tickets.ts";

describe("deno task bench tickets", () => {
  it("measures every design on one thread and two; all that was inserted is taken", async () => {
    const folder = await Deno.makeTempDir({ prefix: "sluice-tickets-" });
    try {
      const programs = await buildTickets(folder);
      const times = await measureTickets(programs, 2, 500);
      assertEquals(
        Object.keys(times).toSorted(),
        ["insert", "take"].flatMap((what) =>
          ["lru", "set"].flatMap((design) =>
            [1, 2].map((threads) => `${what} ${design} ${threads}`)
          )
        ).concat("ticket aead 1", "ticket once 1")
          .concat("full ecdsa 1", "full rsa 1", "resumed ecdsa 1")
          .concat("resumed rsa 1").toSorted(),
      );
      for (const all of Object.values(times)) {
        assertEquals(all.length, 2);
        assert(all.every((ns) => ns > 0));
      }
      const text = renderTickets(times);
      assert(text.includes("\ntake, 2 threads: the set "), text);
      assert(text.includes("\nrsa, resumed "), text);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
});

describe("overheadNs()", () => {
  it("is the median of each round's own difference", () => {
    const times = { "ticket aead 1": [1, 2, 3], "ticket once 1": [11, 52, 13] };
    assertEquals(overheadNs(times), 10);
  });
});
