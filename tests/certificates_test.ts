/**
 * Certificates that are renewed while a gateway runs, as an operator's ACME client renews them, and OCSP responses made by `openssl ocsp`.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterEach, beforeEach, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { respond } from "sluice";
import {
  folderOf,
  runProgram,
  startCommand,
  startGateway,
  until,
} from "./support.ts";
import { lastRequest, TlsPeers } from "./tls_peers.ts";

const HELLO = lastRequest("/");
const app = new Hono().get("/", respond("hello"));

describe("certificates that are renewed", () => {
  let peers: TlsPeers;
  let folder: Awaited<ReturnType<typeof folderOf>>;
  const path = (name: string) => `${folder.path}/${name}`;
  const listeners = (more = {}) => [{
    address: "127.0.0.1:0",
    tls: {
      certificates: [{ cert: path("cert"), key: path("key"), ...more }],
    },
  }];

  beforeEach(async () => {
    peers = await TlsPeers.make();
    folder = await folderOf({});
  });
  afterEach(async () => {
    await peers[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  // Makes a certificate beside the files in use; returns its serial number.
  async function make(): Promise<string> {
    await peers.certificate("localhost");
    return await serialOf(
      await Deno.readTextFile(`${peers.path}/localhost.pem`),
    );
  }

  // As certbot does: each file at once, one after the other.
  async function put(what: "cert" | "key"): Promise<void> {
    const from = `localhost.${what === "cert" ? "pem" : "key"}`;
    await Deno.copyFile(`${peers.path}/${from}`, path(`${what}.new`));
    await Deno.rename(path(`${what}.new`), path(what));
  }

  async function serialOf(pem: string): Promise<string> {
    const { out } = await runProgram("openssl x509 -noout -serial".split(" "), {
      input: pem,
    });
    return out.trim().replace("serial=", "");
  }

  async function seen(port: number, more = {}) {
    const { text, resumed } = await peers.openssl(port, HELLO, more);
    const [pem] = /-----BEGIN CERT[^]*END CERTIFICATE-----/.exec(text) ?? [""];
    return { serial: await serialOf(pem), resumed, text };
  }

  it("are taken when both files are there, and tickets stay good", async () => {
    const first = await make();
    await put("key");
    await put("cert");
    await using server = await startGateway(app, { listeners: listeners() });
    const stats = () => server.gateway.stats().certificates[0];
    expect((await seen(server.port, { save: "before" })).serial).toBe(first);
    const second = await make();
    await put("cert");
    expect((await seen(server.port)).serial).toBe(first);
    await put("key");
    await until("it is taken", () => stats().serial === second);
    expect((await seen(server.port)).serial).toBe(second);
    expect((await seen(server.port, { use: "before" })).resumed).toBe(true);
    expect(stats().names).toEqual(["localhost"]);
    const hours = (stats().notAfter - Date.now() / 1000) / 3600;
    expect(Math.round(hours)).toBe(48);
  });

  it("are taken by reloadCertificates(), which says what it could not use", async () => {
    const first = await make();
    await put("key");
    await put("cert");
    await using server = await startGateway(app, { listeners: listeners() });
    await make();
    await put("cert");
    const { renewed, warnings } = server.gateway.reloadCertificates();
    expect(renewed).toEqual([]);
    const ends = /expires on/; // of two days, told at the start
    expect(warnings.filter((text) => !ends.test(text)).length).toBe(1);
    expect(warnings[0]).toContain("the key does not match the certificate");
    expect(warnings[0]).toContain(`openssl x509 -noout -serial -dates -in`);
    expect((await seen(server.port)).serial).toBe(first);
  });

  it("are told of by the command, whatever is in the files", async () => {
    await make();
    await put("key");
    await put("cert");
    await using command = await startCommand(
      ["--https", "127.0.0.1:0", "--cert", path("cert"), "--key", path("key")],
      { folder: folder.path },
    );
    const second = await make();
    await put("cert");
    await put("key");
    const [, serial] = await command.says(/is renewed: serial (\w+), until/);
    expect(serial).toBe(second);
    expect((await seen(command.port)).serial).toBe(second);
    await Deno.writeTextFile(path("cert"), "nothing");
    await command.says(
      /warning: .*no PEM certificate found in cert.*goes on \(serial/,
    );
    expect((await seen(command.port)).serial).toBe(second);
  });

  it("bring an OCSP response, which s_client -status shows", async () => {
    const say = async (words: string, input = "") => {
      const { code, err } = await runProgram(words.split(" "), {
        folder: folder.path,
        input,
      });
      if (code !== 0) throw new Error(`${words}: ${err}`);
    };
    await say(
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 9",
    );
    await say(
      "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out csr -subj /CN=localhost",
    );
    await Deno.writeTextFile(path("ext"), "subjectAltName=DNS:localhost\n");
    await say(
      "openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -set_serial 0x1234 -days 30 -extfile ext -out cert",
    );
    const respondWith = async (days: number) => {
      await Deno.writeTextFile(
        path("index"),
        "V\t400101000000Z\t\t1234\tunknown\t/CN=localhost\n",
      );
      await say(
        `openssl ocsp -index index -CA ca.pem -rsigner ca.pem -rkey ca.key -issuer ca.pem -cert cert -respout ocsp.new -ndays ${days}`,
      );
      await Deno.rename(path("ocsp.new"), path("ocsp"));
    };
    await respondWith(3);
    await using server = await startGateway(app, {
      listeners: listeners({ ocsp: path("ocsp") }),
    });
    const words = "-alpn http/1.1 -status";
    const status = async () => (await seen(server.port, { words })).text;
    expect(server.warnings).toEqual([]);
    const before = await status();
    expect(before).toContain("OCSP Response Status: successful");
    expect(before).toContain("Serial Number: 1234");
    const next = () => server.gateway.stats().certificates[0].ocspNextUpdate!;
    const first = next();
    await respondWith(5);
    await until("it is taken", () => next() > first + 86_400);
    expect(await status()).toContain("OCSP Response Status: successful");
    const [server12] = [await seen(server.port, { words, version: "1.2" })];
    expect(server12.text).toContain("OCSP Response Status: successful");
  });
});
