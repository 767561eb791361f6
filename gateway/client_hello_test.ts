import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { readHello } from "./client_hello.ts";

// As C writes it: eight little-endian words, then the parts.
function helloOf(
  parts: {
    name?: string;
    alpn?: number[];
    versions?: number[];
    ciphers?: number[];
    groups?: number[];
  },
): Uint8Array<ArrayBuffer> {
  const { name = "", alpn = [], versions = [], ciphers = [], groups = [] } =
    parts;
  const bytes = [...name].map((char) => char.charCodeAt(0));
  const lists = [bytes, alpn, versions, ciphers, groups];
  const words = [0x0303, ...lists.map((list) => list.length), 5, 0];
  const head = words.flatMap((word) => [word & 255, word >> 8]);
  return Uint8Array.from([...head, ...lists.flat()]);
}

const nothing = {
  alpn: [],
  versions: [0x0303],
  cipherSuites: [],
  groups: [],
  remoteAddress: "::1",
  listener: 5,
};

describe("readHello()", () => {
  const rows: [
    what: string,
    parts: Parameters<typeof helloOf>[0],
    expected: Partial<ReturnType<typeof readHello>>,
  ][] = [
    ["nothing", {}, {}],
    ["a name", { name: "a.b" }, { serverName: "a.b" }],
    ["a name that is none", { name: "\0\x80\xff " }, {
      serverName: "\0\x80\xff ",
    }],
    ["protocols", { alpn: [2, 104, 50, 1, 120] }, { alpn: ["h2", "x"] }],
    ["an empty protocol", { alpn: [0, 1, 120] }, { alpn: ["", "x"] }],
    ["a protocol that is cut", { alpn: [9, 104, 50] }, { alpn: ["h2"] }],
    ["numbers", {
      versions: [3, 4, 0xca, 0xca],
      ciphers: [0x13, 1],
      groups: [0, 29, 0x11, 0xec],
    }, {
      versions: [0x0304, 0xcaca],
      cipherSuites: [0x1301],
      groups: [29, 0x11ec],
    }],
    ["half a number", { versions: [3], groups: [0, 29, 7] }, { groups: [29] }],
    ["all", { name: "n", alpn: [1, 97], versions: [3, 4], ciphers: [0, 1] }, {
      serverName: "n",
      alpn: ["a"],
      versions: [0x0304],
      cipherSuites: [1],
    }],
  ];
  for (const [what, parts, expected] of rows) {
    it(`reads ${what}`, () => {
      expect(readHello(helloOf(parts), "::1")).toEqual({
        ...nothing,
        ...expected,
      });
    });
  }
});
