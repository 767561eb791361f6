import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { PolicyError } from "./check.ts";
import { compileClientAuth, compileHandshake } from "./compile.ts";
import { checkListenerTls, type TlsPolicy } from "./policy.ts";

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
    ...([
      [{ onClientHello: "reject" }, "onClientHello"],
      [{ clientHelloTimeoutMs: 100 }, "clientHelloTimeoutMs"],
      ...[0, 10_001, 1.5, "1"].map((clientHelloTimeoutMs) => [
        { onClientHello: () => undefined, clientHelloTimeoutMs },
        "clientHelloTimeoutMs",
      ]),
    ] as [object, string][]).map(([options, path]): [unknown, string] => [
      { certificates: [{ cert: "c", key: "k" }], ...options },
      path,
    ]),
    ...([
      [{ preset: "old" }, "preset"],
      [{ preset: "toString" }, "preset"],
      [{ versions: "1.3" }, "versions"],
      [{ versions: { max: "1.2" } }, "versions.max"],
      [{ versions: { min: "1.1" } }, "versions.min"],
      [{ groups: [] }, "groups"],
      [{ groups: "X25519" }, "groups"],
      [{ groups: ["X25519", "x448"] }, "groups[1]"],
      [{ groups: ["P-256", "X25519", "P-256"] }, "groups[2]"],
      [{ alpn: "http/1.1" }, "alpn"],
      [{ alpn: ["h2", "http/1.1"] }, "alpn[0]"],
      [{ alpn: ["http/1.1", "http/1.1"] }, "alpn[1]"],
    ] as [unknown, string][]).flatMap(([policy, path]): [unknown, string][] => [
      [{ certificates: [{ cert: "c", key: "k" }], policy }, `policy.${path}`],
      [
        { certificates: [{ cert: "c", key: "k", policy }] },
        `certificates[0].policy.${path}`,
      ],
    ]),
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

  it("takes a hook, and gives it 100 ms", () => {
    const certificates = [{ cert: "c", key: "k" }];
    const onClientHello = () => undefined;
    expect(checkListenerTls({ certificates, onClientHello })).toEqual({
      certificates,
      onClientHello,
      clientHelloTimeoutMs: 100,
    });
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

  it("a certificate's policy comes before its listener's, details before a preset", () => {
    const rows: TlsPolicy[] = [
      {},
      { preset: "intermediate" },
      { versions: { min: "1.2" }, preset: "modern" },
      { groups: ["P-256"] },
      { alpn: [] },
    ];
    const checked = checkListenerTls({
      policy: { preset: "modern", groups: ["X25519"] },
      certificates: rows.map((policy) => ({ cert: "c", key: "k", policy })),
    });
    const alpn = ["http/1.1"];
    expect(compileHandshake(checked)).toEqual([
      { minVersion: "1.3", groups: ["X25519"], alpn },
      { minVersion: "1.2", groups: ["X25519"], alpn },
      { minVersion: "1.2", groups: ["X25519"], alpn },
      { minVersion: "1.3", groups: ["P-256"], alpn },
      { minVersion: "1.3", groups: ["X25519"], alpn: [] },
    ]);
  });

  it("a certificate's clientAuth replaces its listener's, false turns it off", () => {
    const rows = [
      undefined,
      false,
      { ca: "own.pem" },
      { ca: "own.pem", mode: "optional" },
    ] as const;
    const checked = checkListenerTls({
      policy: { clientAuth: { ca: "ca.pem", mode: "optional" } },
      certificates: rows.map((clientAuth) => ({
        cert: "c",
        key: "k",
        policy: { clientAuth },
      })),
    });
    expect(compileClientAuth(checked)).toEqual([
      { ca: "ca.pem", mode: "optional" },
      undefined,
      { ca: "own.pem", mode: "required" },
      { ca: "own.pem", mode: "optional" },
    ]);
  });

  it("does not show a key", () => {
    const tls = { certificates: [{ cert: "c", key: { secret: 1 } }] };
    expect(() => checkListenerTls(tls)).not.toThrow("secret");
  });
});
