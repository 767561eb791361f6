import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import {
  addressText,
  checkAddresses,
  hasAddress,
  parseAddress,
  parseRanges,
  rangeBytes,
} from "./address.ts";

const text = (ranges: ReturnType<typeof parseRanges>) =>
  ranges?.map(({ first, last }) => `${addressText(first)}-${addressText(last)}`)
    .join(" ");

describe("parseRanges()", () => {
  const rows: [range: string, expected: string | undefined][] = [
    ["10.0.0.0/8", "10.0.0.0-10.255.255.255"],
    ["10.1.2.3/8", "10.0.0.0-10.255.255.255"],
    ["192.0.2.7", "192.0.2.7-192.0.2.7"],
    ["192.0.2.7/32", "192.0.2.7-192.0.2.7"],
    ["0.0.0.0/0", "0.0.0.0-255.255.255.255"],
    ["2001:db8::/127", "2001:db8::-2001:db8::1"],
    ["::ffff:10.0.0.0/104", "10.0.0.0-10.255.255.255"],
    ["::ffff:0:0/96", "0.0.0.0-255.255.255.255"],
    ["::1", "::1-::1"],
    [
      "::/0",
      "::-::fffe:ffff:ffff ::1:0:0:0-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ],
    ["10.0.0.0/33", undefined],
    ["::/129", undefined],
    ["10.0.0/8", undefined],
    ["10.0.0.0/", undefined],
    ["10.0.0.0/8/8", undefined],
    ["10.0.0.0/-1", undefined],
    ["10.00.0.0/8", undefined],
    ["/8", undefined],
    ["", undefined],
    ["fe80::1%eth0", undefined],
    ["localhost", undefined],
  ];
  for (const [range, expected] of rows) {
    it(`${JSON.stringify(range)}: ${expected ?? "none"}`, () => {
      expect(text(parseRanges(range))).toBe(expected);
    });
  }
});

describe("checkAddresses()", () => {
  it("joins what overlaps or touches, and sorts", () => {
    const list = ["10.0.1.0/24", "192.0.2.1", "10.0.0.0/24", "10.0.0.7", "::1"];
    const set = checkAddresses(list, "", []);
    expect(text([...set])).toBe(
      "::1-::1 10.0.0.0-10.0.1.255 192.0.2.1-192.0.2.1",
    );
    expect(hasAddress(set, parseAddress("10.0.1.9")!)).toBe(true);
    expect(hasAddress(set, parseAddress("10.0.2.0")!)).toBe(false);
    const bytes = rangeBytes(set);
    expect(bytes.length).toBe(3 * 32);
    expect([...bytes.subarray(32 + 10, 32 + 16)]).toEqual([
      255,
      255,
      10,
      0,
      0,
      0,
    ]);
    expect([...bytes.subarray(48 + 10, 48 + 16)]).toEqual([
      255,
      255,
      10,
      0,
      1,
      255,
    ]);
  });

  it("names what it cannot read", () => {
    const problems: Parameters<typeof checkAddresses>[2] = [];
    checkAddresses(["10.0.0.1", "x", 3], "list", problems);
    expect(problems.map(({ path }) => path)).toEqual(["list[1]", "list[2]"]);
  });
});
