/**
 * Several certificates on one listener: which one OpenSSL's and Deno's clients get for the server name that they ask for, and what the start says
 * of certificates that will not please them.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { respond } from "sluice";
import {
  folderOf,
  type RunningGateway,
  runProgram,
  startCommand,
  startGateway,
  within,
} from "./support.ts";

const KEYS = {
  ec: "ec -pkeyopt ec_paramgen_curve:P-256",
  rsa: "rsa:2048",
};

async function makeCertificate(
  folder: string,
  name: string,
  key: keyof typeof KEYS,
  names: string,
  days: number,
): Promise<void> {
  // Not a CA: Deno's TLS refuses one as a server.
  await Deno.writeTextFile(
    `${folder}/${name}.cnf`,
    `[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\nsubjectAltName=${names}\nbasicConstraints=critical,CA:FALSE\n`,
  );
  const words = `openssl req -x509 -config ${name}.cnf -newkey ${
    KEYS[key]
  } -nodes -keyout ${name}.key -out ${name}.pem -subj /CN=${name} -days ${days}`;
  const { code, err } = await runProgram(words.split(" "), { folder });
  if (code !== 0) throw new Error(err);
}

describe("certificates by server name", () => {
  let folder: Awaited<ReturnType<typeof folderOf>>;
  let server: RunningGateway;
  const pem = (name: string) => ({
    cert: `${folder.path}/${name}.pem`,
    key: `${folder.path}/${name}.key`,
  });

  beforeAll(async () => {
    folder = await folderOf({});
    const { path } = folder;
    await makeCertificate(path, "rsa-a", "rsa", "DNS:a.example", 90);
    await makeCertificate(path, "ec-a", "ec", "DNS:a.example", 90);
    await makeCertificate(path, "ec-b", "ec", "DNS:b.example", 90);
    await makeCertificate(path, "ec-wild", "ec", "DNS:*.w.example", 90);
    await makeCertificate(path, "ec-soon", "ec", "DNS:soon.example", 3);
    const certificates = [
      pem("rsa-a"),
      pem("ec-a"),
      pem("ec-b"),
      pem("ec-wild"),
      { ...pem("ec-soon"), names: ["soon.example", "Else.Example"] },
    ];
    server = await startGateway(new Hono().get("/", respond("ok\n")), {
      listeners: [
        { address: "127.0.0.1:0", tls: { certificates } },
        {
          address: "127.0.0.1:0",
          tls: { certificates: [pem("ec-b"), pem("ec-wild")] },
        },
        { address: "127.0.0.1:0", tls: { certificates } },
      ],
    });
  });
  afterAll(async () => {
    await server.stop();
    await folder[Symbol.asyncDispose]();
  });

  // The common name of the certificate that `openssl s_client` gets.
  async function nameFor(
    serverName: string,
    words = "",
    port = server.port,
  ): Promise<string | undefined> {
    const sni = serverName ? `-servername ${serverName}` : "-noservername";
    const command =
      `openssl s_client -connect 127.0.0.1:${port} ${sni} ${words}`;
    const { out } = await runProgram(command.trim().split(/ +/), {
      folder: folder.path,
      input: "",
    });
    return /^subject=CN ?= ?(.*)$/m.exec(out)?.[1];
  }

  const RSA = "-sigalgs rsa_pss_rsae_sha256:RSA+SHA256";
  const rows: [name: string, words: string, certificate: string][] = [
    ["a.example", "", "ec-a"],
    ["A.EXAMPLE", "", "ec-a"],
    ["a.example", RSA, "rsa-a"],
    ["a.example", `-tls1_2 ${RSA}`, "rsa-a"],
    ["a.example", "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "rsa-a"],
    ["a.example", "-tls1_2", "ec-a"],
    ["b.example", "", "ec-b"],
    ["x.w.example", "", "ec-wild"],
    ["w.example", "", "ec-a"],
    ["x.y.w.example", "", "ec-a"],
    ["else.example", "", "ec-soon"],
    ["nobody.example", "", "ec-a"],
    ["nobody.example", RSA, "rsa-a"],
    ["", "", "ec-a"],
    ["", RSA, "rsa-a"],
  ];
  for (const [name, words, certificate] of rows) {
    it(`${name || "no name"} ${words} gets ${certificate}`, async () => {
      expect(await nameFor(name, words)).toBe(certificate);
    });
  }

  it("fails where no certificate of the name suits the client", async () => {
    expect(await nameFor("b.example", RSA)).toBe(undefined);
  });

  it("are each listener's own", async () => {
    expect(await nameFor("a.example", "", server.ports[1])).toBe("ec-b");
    expect(await nameFor("x.w.example", "", server.ports[1])).toBe("ec-wild");
    expect(await nameFor("b.example", "", server.ports[2])).toBe("ec-b");
  });

  it("are right for Deno's clients, which check the name", async () => {
    for (
      const [name, file] of [
        ["a.example", "ec-a"],
        ["b.example", "ec-b"],
        ["x.w.example", "ec-wild"],
      ]
    ) {
      const caCerts = [await Deno.readTextFile(`${folder.path}/${file}.pem`)];
      const tcp = await Deno.connect({
        hostname: "127.0.0.1",
        port: server.port,
      });
      const conn = await Deno.startTls(tcp, { hostname: name, caCerts });
      const request =
        `GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`;
      await conn.write(new TextEncoder().encode(request));
      const answer = await within(
        new Response(conn.readable).text(),
        "the answer",
      );
      expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*ok\n$/);
    }
  });

  // The status of a request that comes over a connection for `serverName`.
  async function statusOf(serverName: string, head: string, port: number) {
    const sni = serverName ? `-servername ${serverName}` : "-noservername";
    const command = `openssl s_client -quiet -connect 127.0.0.1:${port} ${sni}`;
    const { out } = await runProgram(command.split(" "), {
      folder: folder.path,
      input: `${head}\r\nConnection: close\r\n\r\n`,
    });
    return Number(/^HTTP\/1\.1 (\d+) /.exec(out)?.[1]);
  }

  const hosts: [serverName: string, host: string, status: number][] = [
    ["a.example", "a.example", 200],
    ["a.example", "A.Example:443", 200],
    ["a.example", "a.example.", 200],
    ["a.example", "127.0.0.1", 200], // names without a certificate are the first one's, as clients without a name are
    ["a.example", "nobody.example", 200],
    ["a.example", "b.example", 421],
    ["b.example", "b.example:8443", 200],
    ["b.example", "a.example", 421],
    ["b.example", "nobody.example", 421],
    ["b.example", "[::1]:443", 421],
    ["x.w.example", "y.w.example", 200],
    ["soon.example", "else.example", 200],
    ["", "127.0.0.1:8443", 200],
    ["", "nobody.example", 200],
    ["", "b.example", 421],
  ];
  it("are the rows that a Host is held to: another's is 421", async () => {
    for (const [name, host, status] of hosts) {
      const head = `GET / HTTP/1.1\r\nHost: ${host}`;
      const got = await statusOf(name, head, server.port);
      expect([name, host, got]).toEqual([name, host, status]);
    }
    const absolute = "GET https://b.example/ HTTP/1.1\r\nHost: a.example";
    expect(await statusOf("a.example", absolute, server.port)).toBe(421);
    expect(await statusOf("b.example", "GET / HTTP/1.0", server.port)).toBe(
      200,
    );
    // Each listener has its own rows: this one has none for a.example.
    const head = "GET / HTTP/1.1\r\nHost: a.example";
    expect(await statusOf("b.example", head, server.ports[1])).toBe(200);
    const refused = hosts.filter(([, , status]) => status === 421).length + 1;
    expect(server.gateway.stats().byStatus.misdirected).toBe(refused);
  });

  it("come from the command line, too, with warnings", async () => {
    const words = ["ec-soon", "ec-b"].flatMap((name) => [
      ...["--cert", `${name}.pem`],
      ...["--key", `${name}.key`],
    ]);
    await using command = await startCommand(
      ["--https", "127.0.0.1:0", ...words],
      { folder: folder.path },
    );
    expect(command.err).toMatch(
      /^sluice: warning: listeners\[0\]\.tls\.certificates\[0\]: certificate ".*ec-soon\.pem" expires on 20\d\d-\d\d-\d\d, in 2 days$/m,
    );
    expect(command.err.match(/warning:/g)?.length).toBe(1);
    expect(await nameFor("b.example", "", command.port)).toBe("ec-b");
    expect(await nameFor("c.example", "", command.port)).toBe("ec-soon");
  });

  it("are told of when the gateway starts in a program", async () => {
    const certificates = [{ ...pem("ec-soon"), names: ["else.example"] }];
    const gateway = await startGateway(new Hono(), {
      listeners: [{ address: "127.0.0.1:0", tls: { certificates } }],
    });
    await gateway.stop();
    expect(gateway.warnings.length).toBe(2);
    expect(gateway.warnings[0]).toMatch(/expires on/);
    expect(gateway.warnings[1]).toMatch(
      /does not cover else\.example \(it has soon\.example\)/,
    );
  });
});
