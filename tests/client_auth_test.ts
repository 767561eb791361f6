/**
 * Client certificates (mTLS) as OpenSSL's s_client shows them: whose are taken, what a handler learns of them, and that no ticket goes round them.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import {
  type CertificateOptions,
  type TlsConnection,
  type TlsPolicy,
} from "sluice";
import { type RunningGateway, runProgram, startGateway } from "./support.ts";
import { lastRequest, TlsPeers } from "./tls_peers.ts";

describe("clientAuth", () => {
  let peers: TlsPeers;
  let local: CertificateOptions;
  let open: CertificateOptions;
  let ca: string;

  async function openssl(words: string): Promise<void> {
    const { code, err } = await runProgram(words.split(" "), {
      folder: peers.path,
    });
    if (code !== 0) throw new Error(err);
  }

  beforeAll(async () => {
    peers = await TlsPeers.make();
    local = await peers.certificate("localhost");
    open = await peers.certificate("open.example");
    ca = `${peers.path}/ca.pem`;
    const key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for (const name of ["ca", "other_ca"]) {
      await openssl(
        `openssl req -x509 ${key} -keyout ${name}.key -out ${name}.pem -subj /CN=${name} -days 2`,
      );
    }
    const rows = [["alice", "ca", "2"], ["mallory", "other_ca", "2"], [
      "old",
      "ca",
      "-1",
    ]];
    for (const [name, issuer, days] of rows) {
      await Deno.writeTextFile(
        `${peers.path}/${name}.cnf`,
        `subjectAltName=DNS:${name}.example,URI:spiffe://test/${name}\nextendedKeyUsage=clientAuth\n`,
      );
      await openssl(
        `openssl req ${key} -keyout ${name}.key -out ${name}.csr -subj /O=Test/CN=${name}`,
      );
      await openssl(
        `openssl x509 -req -in ${name}.csr -CA ${issuer}.pem -CAkey ${issuer}.key -CAcreateserial -days ${days} -extfile ${name}.cnf -out ${name}.pem`,
      );
    }
  });
  afterAll(() => peers[Symbol.asyncDispose]());

  function start(policy: TlsPolicy): Promise<RunningGateway> {
    const app = new Hono<{ Bindings: { tls?: TlsConnection } }>();
    app.get("/who", (c) => c.json(c.env.tls?.client ?? "nobody"));
    return startGateway(app, {
      listeners: [{
        address: "127.0.0.1:0",
        tls: {
          certificates: [local, { ...open, policy: { clientAuth: false } }],
          policy,
        },
      }],
    });
  }

  async function visit(
    { port }: RunningGateway,
    shows?: string,
    more: { name?: string; save?: string; use?: string; version?: "1.2" } = {},
  ) {
    const words = "-alpn http/1.1" +
      (shows
        ? ` -cert ${peers.path}/${shows}.pem -key ${peers.path}/${shows}.key`
        : "");
    const hello = lastRequest("/who", { host: more.name ?? "localhost" });
    const { text, resumed } = await peers.openssl(port, hello, {
      words,
      ...more,
    });
    const body = /\r\n\r\n(\{.*\}|"nobody")/.exec(text)?.[1];
    return { text, resumed, client: body && JSON.parse(body) };
  }

  async function digestOf(name: string): Promise<string> {
    const { out } = await runProgram(
      `openssl x509 -in ${name}.pem -noout -fingerprint -sha256`.split(" "),
      { folder: peers.path },
    );
    return out.trim().split("=")[1].replaceAll(":", "").toLowerCase();
  }

  for (const version of [undefined, "1.2"] as const) {
    it(`"required" lets in its CA's clients alone, TLS ${version ?? "1.3"}`, async () => {
      await using server = await start({ clientAuth: { ca } });
      const save = `alice-${version}`;
      const alice = await visit(server, "alice", { save, version });
      const told = {
        sha256: await digestOf("alice"),
        subject: "CN=alice,O=Test",
        names: {
          dns: ["alice.example"],
          uri: ["spiffe://test/alice"],
          email: [],
          ip: [],
        },
      };
      expect(alice.client).toEqual(told);
      expect(alice.text).toContain("Acceptable client certificate CA names");
      const again = await visit(server, undefined, { use: save, version });
      expect([again.resumed, again.client]).toEqual([true, told]);
      for (const shows of [undefined, "mallory", "old"]) {
        expect((await visit(server, shows, { version })).client)
          .toBeUndefined();
      }
      const stats = server.gateway.stats();
      expect([
        stats.client_certs_verified,
        stats.client_certs_missing,
        stats.client_certs_unknown_ca,
        stats.client_certs_expired,
        stats.client_certs_refused,
      ]).toEqual([1, 1, 1, 1, 0]);
    });
  }

  it('"optional" lets in who shows none, and nobody with a bad one', async () => {
    await using server = await start({ clientAuth: { mode: "optional", ca } });
    expect((await visit(server)).client).toBe("nobody");
    expect((await visit(server, "alice")).client.subject).toBe(
      "CN=alice,O=Test",
    );
    expect((await visit(server, "mallory")).client).toBeUndefined();
  });

  it("a ticket of a name that asks for none does not get round one that does", async () => {
    await using server = await start({ clientAuth: { ca } });
    const name = "open.example";
    expect((await visit(server, undefined, { name, save: "open" })).client)
      .toBe("nobody");
    const { tls_resumed } = server.gateway.stats();
    const without = await visit(server, undefined, { use: "open" });
    expect([without.resumed, without.client]).toEqual([false, undefined]);
    expect(server.gateway.stats().client_certs_missing).toBe(1);
    const shown = await visit(server, "alice", { use: "open" });
    expect([shown.resumed, shown.client.subject]).toEqual([
      false,
      "CN=alice,O=Test",
    ]);
    expect(server.gateway.stats().tls_resumed).toBe(tls_resumed);
    expect((await visit(server, undefined, { name, use: "open" })).resumed)
      .toBe(true);
  });

  it("a Host of the name that asks is not served on a connection of the one that does not", async () => {
    await using server = await start({ clientAuth: { ca } });
    const { text } = await peers.openssl(
      server.port,
      lastRequest("/who", { host: "localhost" }),
      { name: "open.example" },
    );
    expect(text).toContain("HTTP/1.1 421");
  });

  it("reads its CAs again when their file changes", async () => {
    const file = `${peers.path}/trusted.pem`;
    await Deno.copyFile(ca, file);
    await using server = await start({ clientAuth: { ca: file } });
    await visit(server, "alice", { save: "before" });
    const { gateway } = server;
    expect(gateway.reloadCertificates()).toEqual({ renewed: [], warnings: [] });
    expect((await visit(server, undefined, { use: "before" })).resumed)
      .toBe(true);
    await Deno.copyFile(`${peers.path}/other_ca.pem`, file);
    expect(gateway.reloadCertificates().warnings).toEqual([]); // the watcher may have been quicker
    const old = await visit(server, "alice", { use: "before" });
    expect([old.resumed, old.client]).toEqual([false, undefined]);
    const { client } = await visit(server, "mallory");
    expect(client.subject).toBe("CN=mallory,O=Test");
    await Deno.copyFile(`${peers.path}/alice.pem`, file);
    const [warning] = gateway.reloadCertificates().warnings;
    expect(warning).toContain("policy.clientAuth.ca");
    expect(warning).toContain("is not a CA's");
    expect(warning).toContain("the CAs loaded before go on");
    expect((await visit(server, "mallory")).client).toEqual(client);
  });

  it("says what is wrong, and where", async () => {
    const rows: [TlsPolicy["clientAuth"], string][] = [
      [{} as never, "policy.clientAuth.ca: must be PEM text or the path"],
      [
        { ca, mode: "maybe" as never },
        'policy.clientAuth.mode: must be "required" or "optional"',
      ],
      [
        { ca: "nowhere.pem" },
        'policy.clientAuth.ca: cannot read "nowhere.pem"',
      ],
      [{ ca: local.key }, "no PEM certificate found in ca"],
      [
        { ca: `${peers.path}/alice.pem` },
        "certificate 1 in ca is not a CA's (basicConstraints, keyUsage)",
      ],
    ];
    for (const [clientAuth, reason] of rows) {
      await expect(start({ clientAuth })).rejects.toThrow(reason);
    }
  });
});
