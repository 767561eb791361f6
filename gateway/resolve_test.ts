import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { addressBytes, resolveHost } from "./resolve.ts";

describe("addressBytes()", () => {
  const zeros = (count: number) => Array(count).fill(0);
  const table: [address: string, bytes: number[] | undefined][] = [
    ["10.0.0.255", [10, 0, 0, 255]],
    ["::1", [...zeros(15), 1]],
    ["::", zeros(16)],
    ["2001:db8::1", [0x20, 1, 0x0d, 0xb8, ...zeros(11), 1]],
    ["fe80::1%eth0", undefined],
    ["host", undefined],
  ];
  for (const [address, bytes] of table) {
    it(`gives the bytes of ${address}`, () => {
      expect(addressBytes(address)).toEqual(bytes);
    });
  }
});

describe("resolveHost()", () => {
  it("takes the IPv4 address of localhost", async () => {
    expect(await resolveHost("localhost")).toEqual([127, 0, 0, 1]);
  });
});
