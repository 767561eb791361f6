import { expect } from "@std/expect";
import { afterEach, beforeEach, describe, it } from "@std/testing/bdd";
import { LiveCertificates } from "./live_certificates.ts";

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 10, 24);

// Files say what they are: a certificate "SERIAL DAYS", its key "SERIAL", an OCSP response "SERIAL STATUS DAYS"; days count from START_MS.
function door() {
  const replaced: string[] = [];
  const words = (bytes: Uint8Array) =>
    new TextDecoder().decode(bytes).trim().split(" ");
  const at = (days: string) => START_MS / 1000 + Number(days) * 86_400;
  return {
    replaced,
    describe(cert: Uint8Array, key: Uint8Array) {
      const [serial, days] = words(cert);
      if (words(key)[0] !== serial) throw new Error("the key is another's");
      return { serial, notBefore: 0, notAfter: at(days), dns: ["a.b"] };
    },
    ocsp(response: Uint8Array) {
      const [serial, status, days] = words(response);
      if (days === undefined) throw new Error("it is no OCSP response");
      return [{
        serial,
        status: status as "good" | "revoked",
        thisUpdate: at("-1"),
        nextUpdate: at(days),
      }];
    },
    replace(
      set: number,
      index: number,
      cert: Uint8Array,
      key: Uint8Array,
      ocsp: Uint8Array,
    ) {
      const parts = [cert, key, ocsp].map((part) => words(part).join(" "));
      replaced.push(`${set}/${index}: ${parts.join(" | ")}`);
    },
  };
}

describe("LiveCertificates", () => {
  let folder: string;
  let c: ReturnType<typeof door>;
  let live: LiveCertificates;
  let warned: string[];
  let noted: string[];
  let nowMs: number;
  const write = (name: string, text: string) =>
    Deno.writeTextFileSync(`${folder}/${name}`, text);
  const add = (ocsp?: string) =>
    live.add(
      "certificates[0]",
      {
        cert: `${folder}/cert`,
        key: `${folder}/key`,
        ...ocsp !== undefined && { ocsp: `${folder}/${ocsp}` },
      },
      0,
      () => 7,
    );

  beforeEach(() => {
    folder = Deno.makeTempDirSync();
    c = door();
    warned = [];
    noted = [];
    nowMs = START_MS;
    live = new LiveCertificates(c, {
      warn: (text) => warned.push(text),
      note: (text) => noted.push(text),
    }, () => nowMs);
    write("cert", "01 90");
    write("key", "01");
  });
  afterEach(() => {
    live.stop();
    Deno.removeSync(folder, { recursive: true });
  });

  it("takes a renewed pair, and says so once", () => {
    expect(add()).toEqual({ set: 7, warnings: [] });
    live.look();
    expect(c.replaced).toEqual([]);
    write("cert", "02 91");
    write("key", "02");
    live.look();
    live.look();
    expect(c.replaced).toEqual(["7/0: 02 91 | 02 | "]);
    expect(noted.length).toBe(1);
    expect(noted[0]).toMatch(/is renewed: serial 02, until 2027-02-23$/);
    expect(live.stats()).toEqual([
      { names: ["a.b"], notAfter: START_MS / 1000 + 91 * 86_400, serial: "02" },
    ]);
    expect(warned).toEqual([]);
  });

  it("waits for the other half of a pair before it tells", () => {
    add();
    write("cert", "02 91");
    live.look();
    nowMs += 1_000;
    live.look();
    expect([c.replaced, warned]).toEqual([[], []]);
    write("key", "02");
    live.look();
    expect(c.replaced.length).toBe(1);
    nowMs += DAY_MS;
    live.look();
    expect(warned).toEqual([]);
  });

  it("tells once what cannot be used, with the file and the next command", () => {
    add();
    write("cert", "02 91");
    live.look();
    for (let i = 0; i < 3; i++) {
      nowMs += 3_000;
      live.look();
    }
    expect(warned.length).toBe(1);
    expect(warned[0]).toContain("the key is another's");
    expect(warned[0]).toContain("what was loaded before goes on (serial 01)");
    expect(warned[0]).toContain(
      `openssl x509 -noout -serial -dates -in ${folder}/cert`,
    );
    expect(c.replaced).toEqual([]);
    Deno.removeSync(`${folder}/key`); // another reason is told again
    live.look();
    nowMs += 3_000;
    live.look();
    expect(warned[1]).toContain(`cannot read "${folder}/key"`);
  });

  it("reload() answers at once, and tells nothing twice", () => {
    add();
    write("cert", "02 91");
    expect(live.reload().warnings[0]).toContain("the key is another's");
    nowMs += 3_000;
    live.look();
    expect(warned).toEqual([]);
    write("key", "02");
    expect(live.reload().renewed[0]).toContain("serial 02");
  });

  it("warns each day of a certificate that ends", () => {
    write("cert", "01 15");
    expect(add().warnings).toEqual([]);
    for (const days of [2, 2, 3, 16, 17]) {
      nowMs = START_MS + days * DAY_MS;
      live.look();
    }
    expect(warned.map((text) => text.replace(/.* expire/, "expire"))).toEqual([
      "expires on 2026-12-09, in 13 days",
      "expires on 2026-12-09, in 12 days",
      "expired on 2026-12-09",
      "expired on 2026-12-09",
    ]);
  });

  it("sends an OCSP response until it expires", () => {
    write("ocsp", "01 good 7");
    expect(add("ocsp").warnings).toEqual([]);
    expect(c.replaced).toEqual(["7/0: 01 90 | 01 | 01 good 7"]);
    expect(live.stats()[0].ocspNextUpdate).toBe(START_MS / 1000 + 7 * 86_400);
    write("ocsp", "01 good 9");
    live.look();
    expect(c.replaced[1]).toBe("7/0: 01 90 | 01 | 01 good 9");
    expect(noted[0]).toContain("its OCSP response is renewed");
    nowMs += 10 * DAY_MS;
    live.look();
    expect(c.replaced[2]).toBe("7/0: 01 90 | 01 | ");
    nowMs += 3_000;
    live.look();
    expect(warned.length).toBe(1);
    expect(warned[0]).toContain("is not sent to clients: it has expired at");
    expect(live.stats()[0].ocspNextUpdate).toBe(undefined);
  });

  it("keeps one that holds when the file is damaged, and never lets it stop a renewal", () => {
    write("ocsp", "01 good 7");
    add("ocsp");
    write("ocsp", "rubbish");
    live.look();
    expect(c.replaced.length).toBe(1);
    expect(live.stats()[0].ocspNextUpdate).toBeDefined();
    write("cert", "02 91");
    write("key", "02");
    live.look();
    expect(c.replaced[1]).toBe("7/0: 02 91 | 02 | ");
  });

  it("takes other CAs, and keeps those of before while their file cannot be used", () => {
    const given: string[] = [];
    const give = (pem: Uint8Array) => {
      const text = new TextDecoder().decode(pem);
      if (!text.startsWith("CA ")) throw new Error("it is no CA");
      given.push(text);
    };
    const ca = `${folder}/ca`;
    expect(() => live.addCas("ca", ca, give)).toThrow("cannot read");
    write("ca", "CA 1");
    live.addCas("clientAuth.ca", ca, give);
    live.look();
    expect(given).toEqual(["CA 1"]);
    write("ca", "CA 2");
    live.look();
    live.look();
    expect(given).toEqual(["CA 1", "CA 2"]);
    expect(noted).toEqual([
      `clientAuth.ca: the CAs of "${ca}" are renewed: tickets of before are not taken any more`,
    ]);
    write("ca", "CA"); // half of it
    live.look();
    expect(warned).toEqual([]);
    nowMs += 3_000;
    live.look();
    live.look();
    expect(warned).toEqual([
      `clientAuth.ca: "${ca}": it is no CA; the CAs loaded before go on. Look: openssl storeutl -noout -certs ${ca}`,
    ]);
    write("ca", "CA 2");
    expect(live.reload()).toEqual({ renewed: [], warnings: [] });
    write("ca", "CA 3");
    expect(live.reload().renewed.length).toBe(1);
    expect(given).toEqual(["CA 1", "CA 2", "CA 3"]);
  });

  it("starts without an OCSP response that may not be sent, and not with what is none", () => {
    for (
      const [text, reason] of [
        ["01 good -1", "it has expired"],
        ["01 revoked 7", "says that the certificate is revoked"],
        ["02 good 7", "is about another certificate (02; this one is 01)"],
      ]
    ) {
      write("ocsp", text);
      expect(add("ocsp").warnings[0]).toContain(reason);
    }
    expect(c.replaced).toEqual([]);
    write("ocsp", "rubbish");
    expect(() => add("ocsp")).toThrow("it is no OCSP response");
    expect(() => add("none")).toThrow("certificates[0].ocsp: cannot read");
  });
});
