import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { adviceFor, type Attempt, noModule, typedWords } from "./advice.ts";
import { GatewayError } from "./errors.ts";
import type { CertificateOptions } from "./options.ts";

const words = (text: string) => text.split(" ").filter(Boolean);

function attempt(
  typed: string,
  listeners: [address: string, certificate?: CertificateOptions][],
): Attempt {
  return {
    words: words(typed),
    options: {
      listeners: listeners.map(([address, certificate]) => ({
        address,
        ...certificate ? { tls: { certificates: [certificate] } } : {},
      })),
    },
  };
}

function advice(kind: string, message: string, tried: Attempt) {
  return adviceFor(new GatewayError(message, { kind }), tried);
}

describe("adviceFor() a port in use", () => {
  const inUse = (address: string, tried: Attempt) =>
    advice(
      "address_in_use",
      `listen on ${address}: the address is in use`,
      tried,
    );
  const pair = { cert: "a.pem", key: "a.key" };
  const rows: [what: string, address: string, tried: Attempt, then: string][] =
    [
      [
        "keeps the module, and what else was typed",
        "127.0.0.1:8080",
        attempt("app.ts --log text --allow-run", [["127.0.0.1:8080"]]),
        "app.ts --log text --allow-run --http 127.0.0.1:0",
      ],
      [
        "takes the address that was typed away, in both forms",
        "[::1]:80",
        attempt("--http [::1]:80 app.ts --http=127.0.0.1:81", [
          ["[::1]:80"],
          ["127.0.0.1:81"],
        ]),
        "app.ts --http [::1]:0 --http 127.0.0.1:81",
      ],
      [
        "names the other listeners, which the flag would replace",
        "127.0.0.1:8443",
        attempt("", [["127.0.0.1:8080"], ["127.0.0.1:8443", pair]]),
        "--http 127.0.0.1:8080 --https 127.0.0.1:0",
      ],
      [
        "keeps certificates that were typed",
        "0.0.0.0:443",
        attempt("app.ts --https 0.0.0.0:443 --cert a.pem --key a.key", [
          ["0.0.0.0:443", pair],
        ]),
        "app.ts --cert a.pem --key a.key --https 0.0.0.0:0",
      ],
      [
        "quotes as a shell wants it",
        "127.0.0.1:8080",
        { ...attempt("", [["127.0.0.1:8080"]]), words: ["it's mine.ts"] },
        `'it'\\''s mine.ts' --http 127.0.0.1:0`,
      ],
    ];
  for (const [what, address, tried, then] of rows) {
    it(what, () => {
      expect(inUse(address, tried)).toBe(
        `Stop that process, or take another address: deno task start gateway ${then}`,
      );
    });
  }
});

describe("adviceFor()", () => {
  it("a port that this user may not have", () => {
    expect(advice(
      "system",
      "listen on 0.0.0.0:80: Permission denied",
      attempt("app.ts --http 0.0.0.0:80", [["0.0.0.0:80"]]),
    )).toMatch(/: deno task start gateway app\.ts --http 0\.0\.0\.0:8080$/);
  });

  it("an address of another machine", () => {
    expect(advice(
      "system",
      "listen on 192.0.2.1:80: Cannot assign requested address",
      attempt("app.ts", [["192.0.2.1:80"]]),
    )).toMatch(/: deno task start gateway app\.ts --http 0\.0\.0\.0:80$/);
  });

  const at = "listeners[0].tls.certificates[0]";
  const pair = { cert: "my cert.pem", key: "a.key" };
  const tried = attempt("app.ts --https 8443 --cert x --key a.key", [
    ["127.0.0.1:8443", pair],
  ]);

  it("a certificate that cannot be read: goes on without one", () => {
    expect(advice("tls_config", `${at}.cert: cannot read "x": No`, tried))
      .toBe(
        "Name files that this user can read, or go on with a local certificate: deno task start gateway app.ts --https 127.0.0.1:8443",
      );
  });

  it("a certificate that does not fit: commands that look into the files", () => {
    expect(advice("tls_config", `${at}: certificate "x", key "y": no`, tried))
      .toBe(
        "Look into the files: openssl x509 -noout -subject -dates -in 'my cert.pem'; openssl pkey -noout -check -in a.key",
      );
  });

  it("nothing where there is no next step to name", () => {
    expect(advice("tls_config", "clientAuth: no", tried)).toBe(undefined);
    expect(advice("system", "out of memory", tried)).toBe(undefined);
  });
});

describe("noModule()", () => {
  it("names the file that was meant, in the folder that was named", async () => {
    const path = await Deno.makeTempDir({ prefix: "sluice-advice-" });
    try {
      await Deno.writeTextFile(`${path}/gateway.ts`, "");
      await Deno.writeTextFile(`${path}/gatewy.txt`, "");
      expect(
        await noModule(
          "in/gatewy.ts",
          ["--watch", "in/gatewy.ts"],
          "/f",
          `${path}/gatewy.ts`,
        ),
      ).toBe(
        "Cannot load in/gatewy.ts: there is no such file in /f.\n" +
          "Did you mean: deno task start gateway --watch in/gateway.ts",
      );
      expect(await noModule("zzz.ts", [], "/f", `${path}/zzz.ts`)).toMatch(
        /in \/f\.\nName a file that exports/,
      );
      expect(await noModule("no/a.ts", [], "/f", `${path}/no/a.ts`)).toMatch(
        /in \/f\.\nName a file that exports/,
      );
      expect(await noModule(".", [], "/f", path)).toMatch(
        /^Cannot load \.: it is a folder\.\nName a file that exports/,
      );
    } finally {
      await Deno.remove(path, { recursive: true });
    }
  });
});

describe("typedWords()", () => {
  it("are those that a starter gives, else main's", () => {
    expect(typedWords('["a.ts","--allow-run"]', ["a.ts"])).toEqual([
      "a.ts",
      "--allow-run",
    ]);
    expect(typedWords(undefined, ["a.ts"])).toEqual(["a.ts"]);
  });
});
