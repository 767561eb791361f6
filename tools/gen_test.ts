import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { abi, isCurrent, structs } from "./gen.ts";

Deno.test("abi() writes the same text twice, and it is the one in the repository", async () => {
  const file = await abi();
  assertEquals(await abi(), file);
  assertEquals(await isCurrent(file), true);
  assertEquals(await isCurrent({ ...file, text: `${file.text}\n` }), false);
  assertStringIncludes(
    file.text,
    "export const SL_EVENT_CONTENT_LENGTH_OFF = 40;",
  );
});

Deno.test("structs() lists a struct's size, then its fields' offsets", () => {
  assertEquals(
    structs([["pair", "8"]], [["pair", "a", "0", "4"], [
      "pair",
      "b",
      "4",
      "4",
    ]]),
    [["SL_PAIR_BYTES", 8], ["SL_PAIR_A_OFF", 0], ["SL_PAIR_B_OFF", 4]],
  );
});

Deno.test("structs() refuses a struct whose map forgot a field", () => {
  const inside = [["pair", "b", "4", "4"]];
  assertThrows(
    () => structs([["pair", "8"]], inside),
    Error,
    "bytes 0-4 before b",
  );
  const atEnd = [["pair", "a", "0", "4"]];
  assertThrows(
    () => structs([["pair", "8"]], atEnd),
    Error,
    "bytes 4-8 before its end",
  );
});
