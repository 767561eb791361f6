/**
 * `onClientHello` as OpenSSL's clients meet it: what it is told, what becomes of its answers, and of handshakes that get none. Every gateway must
 * have all its slots back at its end.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import {
  type CertificateOptions,
  type ClientHello,
  type ClientHelloAnswer,
  type ClientHelloHook,
  type GatewayStats,
  respond,
} from "sluice";
import {
  folderOf,
  runCommand,
  type RunningGateway,
  startCommand,
  startGateway,
  until,
} from "./support.ts";
import { lastRequest, type Seen, TlsPeers } from "./tls_peers.ts";

const never = () => new Promise<ClientHelloAnswer>(() => {});

// What became of handshakes, without those that nothing happened to.
function hellos(stats: GatewayStats): Record<string, number> {
  return Object.fromEntries(
    Object.entries(stats).filter(([name, count]) =>
      name.startsWith("client_hellos_") && count
    ).map(([name, count]) => [name.slice("client_hellos_".length), count]),
  );
}

function certificateOf({ text }: Seen): string | undefined {
  return /subject=CN ?= ?(.*)/.exec(text)?.[1];
}

describe("onClientHello", () => {
  let peers: TlsPeers;
  let certificates: CertificateOptions[];

  beforeAll(async () => {
    peers = await TlsPeers.make();
    certificates = [
      await peers.certificate("localhost"),
      await peers.certificate("other.example"),
    ];
  });
  afterAll(() => peers[Symbol.asyncDispose]());

  // The second listener has the same certificates, and no hook. A busy machine has time.
  function start(
    onClientHello: ClientHelloHook,
    clientHelloTimeoutMs = 10_000,
  ): Promise<RunningGateway> {
    const app = new Hono().get("/hello", respond("hello"));
    const hook = { onClientHello, clientHelloTimeoutMs };
    return startGateway(app, {
      listeners: [
        { address: "127.0.0.1:0", tls: { certificates, ...hook } },
        { address: "127.0.0.1:0", tls: { certificates } },
      ],
    });
  }

  function ask(
    port: number,
    name = "localhost",
    { host = name, ...more }: { host?: string; save?: string; use?: string } =
      {},
  ): Promise<Seen> {
    return peers.openssl(port, lastRequest("/hello", { host }), {
      name,
      ...more,
    });
  }

  const answers: [
    what: string,
    hook: ClientHelloHook,
    certificate: string,
    counter: string,
  ][] = [
    ["nothing", () => undefined, "localhost", "answered"],
    ["no name", () => ({}), "localhost", "answered"],
    [
      "a name",
      () => ({ certificate: "other.example" }),
      "other.example",
      "answered",
    ],
    [
      "a name later",
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return { certificate: "OTHER.example" };
      },
      "other.example",
      "answered",
    ],
  ];
  for (const [what, hook, certificate, counter] of answers) {
    it(`that says ${what} gives the certificate of ${certificate}`, async () => {
      await using server = await start(hook);
      const seen = await ask(server.port);
      expect(certificateOf(seen)).toBe(certificate);
      expect(seen.text).toContain("HTTP/1.1 200 OK");
      expect(hellos(server.gateway.stats())).toEqual({
        asked: 1,
        [counter]: 1,
      });
    });
  }

  const failures: [what: string, hook: () => unknown, told: string][] = [
    [
      "throws",
      () => {
        throw new Error("no idea");
      },
      "no idea",
    ],
    ["rejects", () => Promise.reject(new Error("no idea")), "no idea"],
    ["knows no such name", () => ({ certificate: "a.example" }), ""],
    ["gives a number", () => 7, "onClientHello must give"],
    ["gives null", () => null, "onClientHello must give"],
    ["gives another word", () => "accept", "onClientHello must give"],
    ["gives another key", () => ({ cert: "x" }), "onClientHello must give"],
    ["gives no text", () => ({ certificate: 7 }), "onClientHello must give"],
    ["gives no ASCII", () => ({ certificate: "ůtģ" }), "must give"],
  ];
  for (const [what, hook, told] of failures) {
    it(`that ${what} leaves it to the server name, and is counted`, async () => {
      const { error } = console;
      const lines: string[] = [];
      console.error = (line: unknown) => lines.push(String(line));
      try {
        await using server = await start(hook as ClientHelloHook);
        expect(certificateOf(await ask(server.port))).toBe("localhost");
        expect(hellos(server.gateway.stats())).toEqual({ asked: 1, failed: 1 });
      } finally {
        console.error = error;
      }
      expect(lines.length).toBe(told ? 1 : 0);
      expect(lines.join()).toContain(told);
    });
  }

  it("refuses a client with the alert handshake_failure", async () => {
    await using server = await start(() => "reject");
    const { text } = await ask(server.port);
    expect(text).toContain("SSL alert number 40");
    expect(hellos(server.gateway.stats())).toEqual({ asked: 1, rejected: 1 });
  });

  it("is told what the client says, and the next listener's is not", async () => {
    const told: ClientHello[] = [];
    await using server = await start((hello) => {
      told.push(hello);
      return undefined;
    });
    const words = "-alpn http/1.1,x -groups X25519:P-256";
    await peers.openssl(server.port, lastRequest("/hello"), {
      name: "Other.example",
      words,
    });
    await peers.openssl(server.port, lastRequest("/hello"), {
      name: "",
      version: "1.2",
      words: "-noservername",
    });
    await ask(server.ports[1]);
    expect(told).toEqual([
      {
        serverName: "Other.example",
        alpn: ["http/1.1", "x"],
        versions: [0x0304],
        cipherSuites: expect.arrayContaining([0x1301]),
        groups: [29, 23],
        remoteAddress: "127.0.0.1",
        listener: 0,
      },
      {
        alpn: [],
        versions: [0x0303],
        cipherSuites: expect.arrayContaining([0xc02b]),
        groups: expect.arrayContaining([29]),
        remoteAddress: "127.0.0.1",
        listener: 0,
      },
    ]);
    expect(hellos(server.gateway.stats())).toEqual({ asked: 2, answered: 2 });
  });

  it("past its deadline leaves it to the server name, and keeps no slot", async () => {
    await using server = await start(never, 1);
    for (let i = 0; i < 3; i++) {
      const seen = await ask(server.port, "other.example");
      expect(certificateOf(seen)).toBe("other.example");
    }
    expect(hellos(server.gateway.stats())).toEqual({ asked: 3, timed_out: 3 });
    await until(
      "slots are back",
      () => server.gateway.stats().exchanges_live === 0,
    );
  });

  it("and a client that leaves meanwhile keeps none", async () => {
    let asked = 0;
    await using server = await start(() => {
      asked++;
      return never();
    });
    const client = new Deno.Command("openssl", {
      args: ["s_client", "-connect", `127.0.0.1:${server.port}`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until("it is asked", () => asked === 1);
    client.kill("SIGKILL");
    await client.status;
    await until("all is given back", () => {
      const { conns_live, exchanges_live } = server.gateway.stats();
      return conns_live === 0 && exchanges_live === 0;
    });
    expect(hellos(server.gateway.stats())).toEqual({ asked: 1 });
  });

  it("while it waits others are served", async () => {
    let release = () => {};
    await using server = await start(({ serverName }) => {
      if (serverName !== "other.example") return undefined;
      return new Promise((resolve) => release = () => resolve(undefined));
    });
    const waiting = ask(server.port, "other.example");
    await until("it waits", () => hellos(server.gateway.stats()).asked === 1);
    expect((await ask(server.port)).text).toContain("200 OK");
    release();
    expect(certificateOf(await waiting)).toBe("other.example");
  });

  it("a ticket is of the row that was chosen", async () => {
    let certificate: string | undefined;
    await using server = await start(() => ({ certificate }));
    const { port } = server;
    await ask(port, "localhost", { save: "first" });
    expect((await ask(port, "localhost", { use: "first" })).resumed).toBe(true);
    certificate = "other.example";
    const seen = await ask(port, "localhost", { use: "first", save: "second" });
    expect([seen.resumed, certificateOf(seen)]).toEqual([false, certificate]);
    const again = await ask(port, "localhost", { use: "second" });
    expect(again.resumed).toBe(true);
    certificate = undefined;
    expect((await ask(port, "localhost", { use: "second" })).resumed).toBe(
      false,
    );
  });

  it("a chosen row serves its own names and the one that was asked for", async () => {
    const certificate = "other.example";
    await using server = await start(() => ({ certificate }));
    for (const host of ["localhost", "other.example"]) {
      const { text } = await ask(server.port, "localhost", { host });
      expect(text).toContain("HTTP/1.1 200 OK");
    }
    const { text } = await ask(server.port, certificate, { host: "localhost" });
    expect(text).toContain("HTTP/1.1 421");
  });

  const module = (hook: string) => `
import { Hono } from "hono";
import { defineGateway, respond } from "sluice";
const certificates = ${JSON.stringify(certificates)};
export default defineGateway(new Hono().get("/hello", respond("hello")), {
  listeners: [{ address: "127.0.0.1:0", tls: { certificates, ${hook} } }],
});
`;

  it("of a module runs in its isolate, and a reload brings another", async () => {
    const chooses = (name: string) =>
      module(
        `onClientHello: async () => ({ certificate: "${name}" }), clientHelloTimeoutMs: 10000`,
      );
    await using folder = await folderOf({ "app.ts": chooses("other.example") });
    await using command = await startCommand(["app.ts", "--isolates", "2"], {
      folder: folder.path,
      ownListeners: true,
    });
    expect(command.err).toMatch(
      /^sluice: onClientHello: asked about each handshake at 127\.0\.0\.1:0, for at most 10000 ms$/m,
    );
    expect(certificateOf(await ask(command.port))).toBe("other.example");
    await Deno.writeTextFile(`${folder.path}/app.ts`, chooses("localhost"));
    command.kill("SIGHUP");
    await command.says(/^sluice: reloaded in/m);
    expect(certificateOf(await ask(command.port, "other.example"))).toBe(
      "localhost",
    );
  });

  it("of an isolate that ends is answered by the server name", async () => {
    await using folder = await folderOf({
      "app.ts": module(
        "onClientHello: () => { self.close(); return new Promise(() => {}); }, clientHelloTimeoutMs: 10000",
      ),
    });
    await using command = await startCommand(["app.ts"], {
      folder: folder.path,
      ownListeners: true,
    });
    const seen = await ask(command.port, "other.example");
    expect(certificateOf(seen)).toBe("other.example");
  });

  it("says what is wrong, and where", async () => {
    await using folder = await folderOf({
      "app.ts": module("clientHelloTimeoutMs: 50"),
    });
    const { code, err } = await runCommand(["app.ts"], { folder: folder.path });
    expect(code).toBe(1);
    expect(err).toContain(
      "listeners[0].tls.clientHelloTimeoutMs: needs onClientHello",
    );
  });
});
