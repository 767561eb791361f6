import * as std from "@std/assert";
import { basename, fromFileUrl, join, toFileUrl } from "@std/path";
import { productFlags, testFlags } from "./std.ts";
import { ROOT } from "./support.ts";

// These judge what judges all other tests, so they use nothing of it.
function mustFail(name: string, fn: () => unknown) {
  Deno.test(name, async () => {
    try {
      await fn();
    } catch {
      return;
    }
    throw new Error("passed");
  });
}

const boom = () => {
  throw new TypeError("boom");
};

mustFail("assert() fails for 0", () => std.assert(0));
mustFail("assertFalse() fails for 1", () => std.assertFalse(1));
mustFail(
  "assertEquals() fails for another depth",
  () => std.assertEquals({ a: [1] }, { a: [2] }),
);
mustFail(
  "assertEquals() fails for another type",
  () => std.assertEquals<unknown>(1, "1"),
);
mustFail(
  "assertNotEquals() fails for equals",
  () => std.assertNotEquals([1], [1]),
);
mustFail(
  "assertStrictEquals() fails for a copy",
  () => std.assertStrictEquals({}, {}),
);
mustFail("assertExists() fails for null", () => std.assertExists(null));
mustFail("assertMatch() fails", () => std.assertMatch("abc", /x/));
mustFail(
  "assertStringIncludes() fails",
  () => std.assertStringIncludes("abc", "x"),
);
mustFail(
  "assertArrayIncludes() fails",
  () => std.assertArrayIncludes([[1]], [[2]]),
);
mustFail(
  "assertObjectMatch() fails for a missing key",
  () => std.assertObjectMatch({ a: 1 }, { b: 1 }),
);
mustFail(
  "assertInstanceOf() fails",
  () => std.assertInstanceOf(new Error(), TypeError),
);
mustFail(
  "assertAlmostEquals() fails for NaN",
  () => std.assertAlmostEquals(NaN, 1),
);
mustFail("assertGreater() fails for equals", () => std.assertGreater(1, 1));
mustFail("assertGreaterOrEqual() fails", () => std.assertGreaterOrEqual(0, 1));
mustFail("assertLess() fails for equals", () => std.assertLess(1, 1));
mustFail("assertLessOrEqual() fails", () => std.assertLessOrEqual(2, 1));
mustFail(
  "assertThrows() fails where nothing is thrown",
  () => std.assertThrows(() => {}),
);
mustFail(
  "assertThrows() fails for another class",
  () => std.assertThrows(boom, RangeError),
);
mustFail(
  "assertThrows() fails for another message",
  () => std.assertThrows(boom, TypeError, "bang"),
);
mustFail(
  "assertRejects() fails where nothing is rejected",
  () => std.assertRejects(() => Promise.resolve()),
);
mustFail(
  "assertRejects() fails for another class",
  () => std.assertRejects(() => Promise.reject(boom), RangeError),
);
mustFail("fail() fails", () => std.fail());

Deno.test("the assertions take what they should", async () => {
  std.assert(1);
  std.assertEquals({ a: [1, new Uint8Array([2])] }, {
    a: [1, new Uint8Array([2])],
  });
  std.assertArrayIncludes([[1], [2]], [[2]]);
  std.assertObjectMatch({ a: 1, b: { c: 2, d: 3 } }, { b: { c: 2 } });
  std.assertAlmostEquals(0.1 + 0.2, 0.3);
  std.assertInstanceOf(std.assertThrows(boom, TypeError, "oo"), TypeError);
  const rejected = await std.assertRejects(
    () => Promise.reject(new RangeError("far")),
    RangeError,
    "far",
  );
  std.assertEquals(rejected.message, "far");
});

Deno.test("@std/path joins, and turns files into URLs and back", () => {
  std.assertEquals(join("/a", "..", "b c"), "/b c");
  std.assertEquals(fromFileUrl(toFileUrl("/b c")), "/b c");
  std.assertEquals(basename("/x/y.ts"), "y.ts");
});

Deno.test("what the offline map serves, deno.json serves under the same name and version", async () => {
  const read = async (path: string) =>
    JSON.parse(await Deno.readTextFile(`${ROOT}/${path}`)).imports;
  const online = await read("deno.json");
  for (
    const [name, target] of Object.entries<string>(
      await read("tools/std/offline.json"),
    )
  ) {
    const key = Object.keys(online).find((other) =>
      name === other || name.startsWith(`${other}/`)
    );
    std.assertExists(key, name);
    if (name === "hono") std.assertEquals(target, online.hono);
  }
});

Deno.test("product code runs locked under the offline map, whatever the tests take", async () => {
  std.assertArrayIncludes(productFlags(), ["--frozen", "--no-config"]);
  std.assertStringIncludes(productFlags().join(" "), "offline.json");
  const { flags, why } = await testFlags();
  std.assert(flags.includes("--frozen") || why.includes("not locked"));
});
