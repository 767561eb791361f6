import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { PolicyError } from "./check.ts";
import { checkListenerTls } from "./policy.ts";

describe("checkListenerTls()", () => {
  const wrong: [tls: unknown, path: string][] = [
    [null, ""],
    [{}, "certificates"],
    [{ certificates: [] }, "certificates"],
    [{ certificates: [1] }, "certificates[0]"],
    [{ certificates: [{ key: "k" }] }, "certificates[0].cert"],
    [{ certificates: [{ cert: "c", key: 3 }] }, "certificates[0].key"],
    [
      { certificates: Array(65).fill({ cert: "c", key: "k" }) },
      "certificates",
    ],
    [
      { certificates: [{ cert: "c", key: "k" }, { cert: "c" }] },
      "certificates[1].key",
    ],
    ...[
      "a.b",
      [],
      [""],
      ["a b"],
      ["*"],
      ["*.b"],
      ["a.*.b"],
      ["a..b"],
      ["-a.b"],
      ["a.b."],
      ["caf\u00e9.fr"],
      ["127.0.0.1"],
      ["::1"],
      [`${"x".repeat(64)}.b`],
      [1],
    ].map((names): [unknown, string] => [
      { certificates: [{ cert: "c", key: "k", names }] },
      Array.isArray(names) && names.length > 0
        ? "certificates[0].names[0]"
        : "certificates[0].names",
    ]),
    [{ certificates: [{ cert: "c", key: "k", x: 1 }] }, "certificates[0].x"],
    [{ certificate: [] }, "certificate"],
  ];
  for (const [tls, path] of wrong) {
    it(`refuses ${JSON.stringify(tls)}`, () => {
      try {
        checkListenerTls(tls);
      } catch (error) {
        expect(error instanceof PolicyError && error.path).toBe(path);
        return;
      }
      throw new Error("it was taken");
    });
  }

  it("takes one certificate", () => {
    const tls = { certificates: [{ cert: "cert.pem", key: "key.pem" }] };
    expect(checkListenerTls(tls)).toEqual(tls);
  });

  it("takes several, with names in lower case", () => {
    const certificates = [
      { cert: "c", key: "k", names: ["A.Example", "*.b.example", "localhost"] },
      { cert: "c", key: "k" },
    ];
    expect(checkListenerTls({ certificates }).certificates).toEqual([
      { cert: "c", key: "k", names: ["a.example", "*.b.example", "localhost"] },
      { cert: "c", key: "k" },
    ]);
  });

  it("does not show a key", () => {
    const tls = { certificates: [{ cert: "c", key: { secret: 1 } }] };
    expect(() => checkListenerTls(tls)).not.toThrow("secret");
  });
});
