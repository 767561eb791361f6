import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { addressText, checkAddresses, parseAddress } from "./address.ts";
import { forwardedClient, parseNode } from "./client_ip.ts";

// The rows of native/tests/client_ip_test.c.

const NODES: [node: string, expected: string | undefined][] = [
  ["192.0.2.1", "192.0.2.1"],
  ["192.0.2.1:80", "192.0.2.1"],
  ["192.0.2.1:65535", "192.0.2.1"],
  ["192.0.2.1:_x-1.", "192.0.2.1"],
  ["2001:db8::1", "2001:db8::1"],
  ["[2001:DB8::1]", "2001:db8::1"],
  ["[2001:db8::1]:80", "2001:db8::1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["[::ffff:192.0.2.1]:1", "192.0.2.1"],
  ["::", "::"],
  ["::1", "::1"],
  ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
  ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ["0.0.0.0", "0.0.0.0"],
  ["255.255.255.255", "255.255.255.255"],
  ["", undefined],
  ["unknown", undefined],
  ["_hidden", undefined],
  ["192.0.2", undefined],
  ["192.0.2.256", undefined],
  ["192.0.2.01", undefined],
  ["192.0.2.1.1", undefined],
  ["192.0.2.1:", undefined],
  ["192.0.2.1:8a", undefined],
  ["192.0.2.1:655350", undefined],
  ["192.0.2.1 ", undefined],
  [" 192.0.2.1", undefined],
  ["192.0.2.1 1", undefined],
  ["[192.0.2.1]", undefined],
  ["[2001:db8::1", undefined],
  ["2001:db8::1]", undefined],
  ["[2001:db8::1]80", undefined],
  ["[]", undefined],
  ["[", undefined],
  [":", undefined],
  [":::", undefined],
  ["1::2::3", undefined],
  ["1:2:3:4:5:6:7", undefined],
  ["1:2:3:4:5:6:7:8:9", undefined],
  ["::12345", undefined],
  ["fe80::1%eth0", undefined],
  ["[fe80::1%25eth0]", undefined],
  ["::ffff:192.0.2.256", undefined],
  ["::g", undefined],
  ["0x7f.0.0.1", undefined],
  ["2130706433", undefined],
  [
    "1111:2222:3333:4444:5555:6666:255.255.255.255",
    "1111:2222:3333:4444:5555:6666:ffff:ffff",
  ],
  ["1111:2222:3333:4444:5555:6666:255.255.255.2555", undefined],
  ["127.1", undefined],
  ["1.2.3.4:80:90", undefined],
];

const X_FORWARDED_FOR: [peer: string, lines: string, expected: string][] = [
  ["192.0.2.9", "", "192.0.2.9"],
  ["192.0.2.9", "x-forwarded-for: 198.51.100.1\r\n", "192.0.2.9"],
  ["10.0.0.1", "", "10.0.0.1"],
  ["10.0.0.1", "x-forwarded-for: \r\n", "10.0.0.1"],
  ["10.0.0.1", "x-forwarded-for: 198.51.100.1\r\n", "198.51.100.1"],
  ["10.0.0.1", "x-forwarded-for: 1.1.1.1, 198.51.100.1\r\n", "198.51.100.1"],
  [
    "10.0.0.1",
    "x-forwarded-for: 1.1.1.1, 198.51.100.1, 10.9.9.9\r\n",
    "198.51.100.1",
  ],
  [
    "10.0.0.1",
    "x-forwarded-for: 1.1.1.1, 198.51.100.1,10.9.9.9 ,\t2001:db8::7\r\n",
    "198.51.100.1",
  ],
  ["2001:db8::1", "x-forwarded-for: [2001:db9::1]:443\r\n", "2001:db9::1"],
  ["10.0.0.1", "x-forwarded-for: 10.1.1.1, 10.2.2.2\r\n", "10.1.1.1"],
  ["10.0.0.1", "x-forwarded-for: 198.51.100.1, , ,\r\n", "198.51.100.1"],
  ["10.0.0.1", "x-forwarded-for: garbage\r\n", "10.0.0.1"],
  ["10.0.0.1", "x-forwarded-for: 198.51.100.1, garbage\r\n", "10.0.0.1"],
  [
    "10.0.0.1",
    "x-forwarded-for: 198.51.100.1, unknown, 10.2.2.2\r\n",
    "10.2.2.2",
  ],
  ["10.0.0.1", "x-forwarded-for: garbage, 198.51.100.1\r\n", "198.51.100.1"],
  ["10.0.0.1", 'x-forwarded-for: "garbage, 198.51.100.1\r\n', "198.51.100.1"],
  [
    "10.0.0.1",
    "x-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 198.51.100.1\r\n",
    "198.51.100.1",
  ],
  [
    "10.0.0.1",
    "x-forwarded-for: 198.51.100.1\r\nx-forwarded-for: 10.2.2.2\r\n",
    "198.51.100.1",
  ],
  [
    "10.0.0.1",
    "x-forwarded-for: 198.51.100.1\r\nx-a: b\r\nx-forwarded-for: \r\n",
    "198.51.100.1",
  ],
  ["10.0.0.1", "forwarded: for=198.51.100.1\r\n", "10.0.0.1"],
  [
    "10.0.0.1",
    "forwarded: for=1.1.1.1\r\nx-forwarded-for: 198.51.100.1\r\n",
    "198.51.100.1",
  ],
  ["::ffff:10.0.0.1", "x-forwarded-for: 198.51.100.1\r\n", "198.51.100.1"],
];

const FORWARDED: [lines: string, expected: string][] = [
  ["", "10.0.0.1"],
  ["forwarded: for=198.51.100.1\r\n", "198.51.100.1"],
  [
    'forwarded: For="198.51.100.1:4711"; proto=http ;by=203.0.113.43\r\n',
    "198.51.100.1",
  ],
  ['forwarded: proto=https;FOR="[2001:db9::1]:80"\r\n', "2001:db9::1"],
  [
    "forwarded: for=1.1.1.1, for=198.51.100.1, for=10.2.2.2\r\n",
    "198.51.100.1",
  ],
  ["forwarded: for=1.1.1.1\r\nforwarded: for=198.51.100.1\r\n", "198.51.100.1"],
  ['forwarded: for=198.51.100.1;x="a,b;for=1.1.1.1"\r\n', "198.51.100.1"],
  ['forwarded: for=198.51.100.1;x="a\\",b"\r\n', "198.51.100.1"],
  ['forwarded: for=198.51.100.1,for=10.2.2.2;x="\\\\"\r\n', "198.51.100.1"],
  ['forwarded: for="1.1.1.1, for=198.51.100.1\r\n', "198.51.100.1"],
  ['forwarded: for=198.51.100.1;x="\r\n', "10.0.0.1"],
  ["forwarded: for=unknown\r\n", "10.0.0.1"],
  ["forwarded: for=_hidden, for=10.2.2.2\r\n", "10.2.2.2"],
  ["forwarded: for=1.1.1.1;for=2.2.2.2\r\n", "10.0.0.1"],
  ["forwarded: by=1.1.1.1\r\n", "10.0.0.1"],
  ["forwarded: fo=1.1.1.1\r\n", "10.0.0.1"],
  ["forwarded: for=\r\n", "10.0.0.1"],
  ['forwarded: for=""\r\n', "10.0.0.1"],
  ['forwarded: for="\r\n', "10.0.0.1"],
  ["forwarded: ;;for=198.51.100.1;\r\n", "198.51.100.1"],
  ["forwarded: for=198.51.100.1;x=\\\r\n", "10.0.0.1"],
  ["x-forwarded-for: 198.51.100.1\r\n", "10.0.0.1"],
];

const proxies = checkAddresses(["10.0.0.0/8", "2001:db8::/32"], "", []);

// The lines of a field joined, as Headers does it.
function clientOf(peer: string, lines: string, name: string): string {
  const value = lines.split("\r\n").filter((line) =>
    line.startsWith(`${name}: `) || line === `${name}: `
  ).map((line) => line.slice(name.length + 2)).join(", ");
  const from = parseAddress(peer)!;
  return addressText(
    forwardedClient(from, proxies, value, name === "forwarded"),
  );
}

describe("parseNode()", () => {
  for (const [node, expected] of NODES) {
    it(`${JSON.stringify(node)} is ${expected ?? "no address"}`, () => {
      const address = parseNode(node);
      const text = address === undefined ? undefined : addressText(address);
      expect(text).toBe(expected);
    });
  }
});

describe("forwardedClient()", () => {
  for (const [peer, lines, expected] of X_FORWARDED_FOR) {
    it(`${peer} ${JSON.stringify(lines)}: ${expected}`, () => {
      expect(clientOf(peer, lines, "x-forwarded-for")).toBe(expected);
    });
  }
  for (const [lines, expected] of FORWARDED) {
    it(`${JSON.stringify(lines)}: ${expected}`, () => {
      expect(clientOf("10.0.0.1", lines, "forwarded")).toBe(expected);
    });
  }

  it("reads so many elements and no more", () => {
    const list = ["198.51.100.1", ...Array(31).fill("10.2.2.2")];
    const client = (value: string) =>
      addressText(
        forwardedClient(parseAddress("10.0.0.1")!, proxies, value, false),
      );
    expect(client(list.join(", "))).toBe("198.51.100.1");
    expect(client([...list, "10.3.3.3"].join(", "))).toBe("10.2.2.2");
  });
});
