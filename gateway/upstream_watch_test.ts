import { expect } from "@std/expect";
import { it } from "@std/testing/bdd";
import { UpstreamWatch } from "./upstream_watch.ts";

const counts = (
  failures: Record<string, number>,
  byStatus: Record<string, number> = {},
) => ({
  upstreams: Object.fromEntries(
    Object.entries(failures).map(([name, failures]) => [name, { failures }]),
  ),
  byStatus,
});

it("UpstreamWatch says the first failure with its reason, more of them once a minute", () => {
  const watch = new UpstreamWatch();
  expect(watch.look(counts({ a: 0 }), 0)).toEqual([]);
  expect(watch.look(counts({ a: 1 }, { upstream_refused: 1 }), 1000)).toEqual([
    "upstream a: 1 request has failed (upstream_refused)",
  ]);
  const later = counts({ a: 5 }, {
    upstream_refused: 1,
    upstream_timeout: 4,
    head_timeout: 9, // a client's
  });
  expect(watch.look(later, 2000)).toEqual([]);
  expect(watch.look(later, 60_999)).toEqual([]);
  expect(watch.look(later, 61_000)).toEqual([
    "upstream a: 4 requests have failed (upstream_timeout)",
  ]);
  expect(watch.look(later, 200_000)).toEqual([]);
  expect(watch.look(counts({ a: 2 }, { upstream_timeout: 6 }), 300_000))
    .toEqual(["upstream a: 2 requests have failed (upstream_timeout)"]);
});

it("UpstreamWatch gives no reason where it may be another upstream's", () => {
  const watch = new UpstreamWatch();
  expect(watch.look(counts({ a: 2, b: 1 }, { upstream_refused: 3 }), 0))
    .toEqual([
      "upstream a: 2 requests have failed",
      "upstream b: 1 request has failed",
    ]);
});
