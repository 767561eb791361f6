import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { makeCertificate } from "./gateway.ts";
import { localCertificate, stateFolder } from "./local_certificate.ts";

const DAY_MS = 86_400_000;

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const base = await Deno.makeTempDir();
  try {
    await run(`${base}/state/sluice`);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}

describe("localCertificate()", () => {
  it("keeps what it made, for its owner only, and finds it again", () =>
    inFolder(async (folder) => {
      let made = 0;
      const make = () => {
        made++;
        return makeCertificate();
      };
      const first = await localCertificate(folder, make);
      const second = await localCertificate(folder, make);
      expect(made).toBe(1);
      expect(second.certificate).toEqual(first.certificate);
      expect(first.kept).toEqual({ folder });
      for (const name of ["local_key.pem", "local_cert.pem"]) {
        expect((await Deno.stat(`${folder}/${name}`)).mode! & 0o777).toBe(
          0o600,
        );
      }
    }));

  it("makes a new one a week before the old one expires, and for a spoiled one", () =>
    inFolder(async (folder) => {
      const first = await localCertificate(folder, makeCertificate);
      const soon = Date.now() + 359 * DAY_MS;
      const renewed = await localCertificate(folder, makeCertificate, soon);
      expect(renewed.certificate.cert).not.toBe(first.certificate.cert);
      await Deno.writeTextFile(`${folder}/local_cert.pem`, "spoiled");
      const third = await localCertificate(folder, makeCertificate);
      expect(third.certificate.cert).toMatch(/^-----BEGIN CERTIFICATE-----/);
    }));

  it("stays in memory where it cannot be kept, and says why", async () => {
    const { certificate, kept } = await localCertificate(
      "/proc/nowhere/sluice",
      makeCertificate,
    );
    expect(certificate.key).toContain("PRIVATE KEY");
    expect(kept).toHaveProperty("memory");
    const homeless = await localCertificate(undefined, makeCertificate);
    expect(homeless.kept).toHaveProperty("memory");
  });
});

describe("stateFolder()", () => {
  it("follows XDG_STATE_HOME, then HOME", () => {
    const of = (env: Record<string, string>) =>
      stateFolder((name) => env[name]);
    expect(of({ XDG_STATE_HOME: "/s", HOME: "/h" })).toBe("/s/sluice");
    expect(of({ HOME: "/h" })).toBe("/h/.local/state/sluice");
    expect(of({})).toBe(undefined);
  });
});
