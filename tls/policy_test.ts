import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { checkListenerTls, PolicyError } from "./policy.ts";

describe("checkListenerTls()", () => {
  const wrong: [tls: unknown, path: string][] = [
    [null, ""],
    [{}, "certificates"],
    [{ certificates: [] }, "certificates"],
    [{ certificates: [1] }, "certificates[0]"],
    [{ certificates: [{ key: "k" }] }, "certificates[0].cert"],
    [{ certificates: [{ cert: "c", key: 3 }] }, "certificates[0].key"],
    [
      { certificates: [{ cert: "c", key: "k" }, { cert: "c", key: "k" }] },
      "certificates",
    ],
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

  it("does not show a key", () => {
    const tls = { certificates: [{ cert: "c", key: { secret: 1 } }] };
    expect(() => checkListenerTls(tls)).not.toThrow("secret");
  });
});
