/**
 * TLS resumption as OpenSSL's and GnuTLS's clients do it: in each mode, within its server's name, and at another node of a fleet that has the
 * same session ticket keys, which come from a `STEKProvider` here or in a module of the command line.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import {
  type CertificateOptions,
  earlyData,
  type GatewayError,
  respond,
  type ResumptionMode,
  stekFile,
  type STEKProvider,
  type TlsPolicy,
} from "sluice";
import {
  folderOf,
  runCommand,
  type RunningGateway,
  startCommand,
  startGateway,
  until,
} from "./support.ts";
import { hasGnutls, lastRequest, request, TlsPeers } from "./tls_peers.ts";

const HELLO = lastRequest("/hello");

function randomKey(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(32));
}

/** A provider of one key that can be made to fail. */
function provider(key = randomKey()) {
  const stek = {
    asked: 0,
    key,
    refreshMs: 100,
    failure: undefined as string | undefined,
    keys() {
      stek.asked++;
      if (stek.failure) throw new Error(stek.failure);
      return [{ key: stek.key, notBeforeMs: 0 }];
    },
  };
  return stek;
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

const gnutls = await hasGnutls() ? it : it.skip;

describe("TLS resumption", () => {
  let peers: TlsPeers;
  let local: CertificateOptions;
  let other: CertificateOptions;

  beforeAll(async () => {
    peers = await TlsPeers.make();
    local = await peers.certificate("localhost");
    other = await peers.certificate("other.example");
  });
  afterAll(() => peers[Symbol.asyncDispose]());

  function start(policy?: TlsPolicy): Promise<RunningGateway> {
    const app = new Hono();
    app.get("/hello", earlyData(), respond("hello"));
    const listeners = [{
      address: "127.0.0.1:0",
      tls: { certificates: [local, other], policy },
    }];
    return startGateway(app, { listeners });
  }

  for (const version of ["1.3", "1.2"] as const) {
    const modes: Record<ResumptionMode, [first: boolean, second: boolean]> = {
      off: [false, false],
      stateless: [true, true],
      once: [true, true],
      sealed: [true, version === "1.2"], // TLS 1.2 has no tickets that end by their use
    };
    for (const [mode, expected] of Object.entries(modes)) {
      it(`mode "${mode}" keeps its promise, TLS ${version}`, async () => {
        await using server = await start({
          resumption: { mode: mode as ResumptionMode },
        });
        const save = `${mode}-${version}`;
        const full = await peers.openssl(server.port, HELLO, { version, save });
        expect(full.resumed).toBe(false);
        expect(full.text).toMatch("HTTP/1.1 200 OK");
        const use = mode === "off" ? undefined : save;
        const first = await peers.openssl(server.port, HELLO, { version, use });
        const again = await peers.openssl(server.port, HELLO, { version, use });
        expect([first.resumed, again.resumed]).toEqual(expected);
        expect(again.text).toMatch("HTTP/1.1 200 OK");
        const { tls_resumed, tickets_made } = server.gateway.stats();
        expect(tls_resumed).toBe(expected.filter(Boolean).length);
        if (mode === "off") expect(tickets_made).toBe(0);
      });
    }
  }

  // What acknowledges the client's Finished: without it Nagle's rule keeps back what a client asks in a segment of its own.
  it("a TLS 1.3 client that asks nothing yet gets its ticket", async () => {
    await using server = await start();
    const file = `${peers.path}/unasked`;
    const words =
      `s_client -connect 127.0.0.1:${server.port} -tls1_3 -sess_out ${file}`;
    const client = new Deno.Command("openssl", {
      args: words.split(" "),
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      await until("the client has its ticket", async () => {
        const text = await Deno.readTextFile(file).catch(() => "");
        return text.includes("END SSL SESSION PARAMETERS");
      });
      expect(server.gateway.stats().requests).toBe(0);
    } finally {
      await client.stdin.close();
      await client.status;
    }
  });

  it("a ticket stays with its server name", async () => {
    await using server = await start({ earlyData: true });
    await peers.openssl(server.port, HELLO, { save: "tenant" });
    const name = "other.example";
    const hello = lastRequest("/hello", { host: name });
    const there = await peers.openssl(server.port, hello, {
      use: "tenant",
      name,
      early: request("/hello", { host: name }),
    });
    expect([there.resumed, there.early]).toEqual([false, "rejected"]);
    expect(there.text).toMatch("HTTP/1.1 200 OK");
    expect((await peers.openssl(server.port, HELLO, { use: "tenant" })).resumed)
      .toBe(true);
  });

  gnutls("gnutls-cli resumes", async () => {
    await using server = await start();
    const seen = await peers.gnutls(server.port, {
      first: request("/hello"),
      answer: "hello",
      second: HELLO,
    });
    expect(seen.resumed).toBe(true);
    expect(seen.text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
    expect(server.gateway.stats().tls_resumed).toBe(1);
  });

  describe("with a STEKProvider", () => {
    it("two gateways resume each other's clients, without early data", async () => {
      const stek = provider();
      const policy = { earlyData: true, resumption: { stek } };
      await using here = await start(policy);
      await using there = await start(policy);
      await peers.openssl(here.port, HELLO, { save: "fleet" });
      const use = "fleet";
      const early = request("/hello");
      const away = await peers.openssl(there.port, HELLO, { use, early });
      expect([away.resumed, away.early]).toEqual([true, "rejected"]);
      expect(away.text).toMatch("HTTP/1.1 200 OK");
      expect(there.gateway.stats().ticket_takes_foreign).toBe(1);
      const home = await peers.openssl(here.port, HELLO, { use, early });
      expect([home.resumed, home.early]).toEqual([true, "accepted"]);
    });

    it("a new key is taken, and the old one forgotten", async () => {
      const stek = provider();
      await using server = await start({ resumption: { stek } });
      await peers.openssl(server.port, HELLO, { save: "old" });
      const { asked } = stek;
      stek.key = randomKey();
      await until("it is asked twice more", () => stek.asked > asked + 1);
      const seen = await peers.openssl(server.port, HELLO, { use: "old" });
      expect(seen.resumed).toBe(false);
      expect(server.gateway.stats().tickets_unknown_key).toBe(1);
    });

    it("one that fails, or gives bad keys, keeps a gateway from starting", async () => {
      const rows: [STEKProvider["keys"], string][] = [
        [() => Promise.reject(new Error("no answer")), "no answer"],
        [
          () => [],
          "policy.resumption.stek: keys() must give 1 to 64 keys (got 0)",
        ],
        [
          () => [{ key: new Uint8Array(16), notBeforeMs: 0 }],
          "policy.resumption.stek: keys()[0].key must be 32 bytes",
        ],
        [
          () => [{ key: randomKey(), notBeforeMs: NaN }],
          "keys()[0].notBeforeMs must be a Unix time in milliseconds",
        ],
        [
          () => Array(2).fill({ key: new Uint8Array(32), notBeforeMs: 0 }),
          "policy.resumption.stek: ",
        ],
        [
          stekFile(`${peers.path}/none`).keys,
          `No such file or directory (os error 2): stat '${peers.path}/none'`,
        ],
      ];
      for (const [keys, reason] of rows) {
        const error: GatewayError = await start({
          resumption: { stek: { keys } },
        }).then(
          async (server) => {
            await server.stop();
            throw new Error(`it started, and should have said: ${reason}`);
          },
          (error) => error,
        );
        expect([error.name, error.kind]).toEqual([
          "GatewayError",
          "tls_config",
        ]);
        expect(error.message).toMatch(/^policy\.resumption\.stek: /);
        expect(error.message).toContain(reason);
      }
    });

    it("one that fails later leaves the keys, and is told once for each reason", async () => {
      const said: string[] = [];
      const { error } = console;
      console.error = (...words: unknown[]) => said.push(words.join(" "));
      try {
        const stek = provider();
        await using server = await start({ resumption: { stek } });
        await peers.openssl(server.port, HELLO, { save: "kept" });
        for (const reason of ["gone", "broken"]) {
          stek.failure = reason;
          const { asked } = stek;
          await until(`it fails thrice`, () => stek.asked > asked + 3);
        }
        expect(
          (await peers.openssl(server.port, HELLO, { use: "kept" })).resumed,
        ).toBe(true);
      } finally {
        console.error = error;
      }
      expect(said).toEqual(
        ["gone", "broken"].map((reason) =>
          `sluice: warning: policy.resumption.stek: ${reason}; the session ticket keys stay as they are`
        ),
      );
    });

    describe("in a module of the command line", () => {
      const module = (steks: string) => `
import { Hono } from "hono";
import { defineGateway, respond, stekFile } from "sluice";
const stek = stekFile(${JSON.stringify(steks)}, { refreshMs: 100 });
const tls = {
  certificates: [${JSON.stringify(local)}],
  policy: { resumption: { stek } },
};
export default defineGateway(new Hono().get("/hello", respond("hello")), {
  listeners: [{ address: "127.0.0.1:0", tls }],
  isolates: 2,
});
`;

      it("keys come from the file, again when it changes, and after a reload", async () => {
        const first = base64(randomKey());
        const steks = `${peers.path}/steks`;
        await Deno.writeTextFile(steks, `0 ${first}\n`, { mode: 0o600 });
        await using folder = await folderOf({ "app.ts": module(steks) });
        await using here = await startCommand(["app.ts"], {
          folder: folder.path,
          ownListeners: true,
        });
        await using there = await startGateway(
          new Hono().get("/hello", respond("hello")),
          {
            listeners: [{
              address: "127.0.0.1:0",
              tls: {
                certificates: [local],
                policy: { resumption: { stek: stekFile(steks) } },
              },
            }],
          },
        );
        const resumes = async (from: number, to: number, save: string) => {
          await peers.openssl(from, HELLO, { save });
          return (await peers.openssl(to, HELLO, { use: save })).resumed;
        };
        expect(await resumes(there.port, here.port, "first")).toBe(true);
        await Deno.writeTextFile(steks, `0 ${base64(randomKey())}\n`);
        await until(
          "the first key is forgotten",
          async () =>
            !(await peers.openssl(here.port, HELLO, { use: "first" })).resumed,
        );
        here.kill("SIGHUP");
        await until("it is reloaded", () => here.err.includes("reloaded in"));
        await Deno.writeTextFile(steks, `0 ${first}\n`);
        await until(
          "the first key is back",
          async () =>
            (await peers.openssl(here.port, HELLO, { use: "first" })).resumed,
        );
        await Deno.writeTextFile(steks, "tomorrow secret\n");
        await until(
          "it is told",
          () =>
            here.err.includes(
              `sluice: warning: policy.resumption.stek: ${steks}:1: the first word must be a time`,
            ),
        );
        expect(here.err).not.toMatch("secret");
      });

      it("a slow provider is waited for, and is no blocked isolate", async () => {
        const steks = `${peers.path}/slow`;
        await Deno.writeTextFile(steks, `0 ${base64(randomKey())}\n`, {
          mode: 0o600,
        });
        const slow = module(steks).replace(
          "const tls = {",
          `const { keys } = stek;
stek.keys = () => new Promise((resolve) => setTimeout(() => resolve(keys()), 500));
const tls = {`,
        ).replace("isolates: 2", "limits: { isolateTimeoutMs: 100 }");
        await using folder = await folderOf({ "app.ts": slow });
        await using command = await startCommand(["app.ts"], {
          folder: folder.path,
          ownListeners: true,
        });
        await peers.openssl(command.port, HELLO, { save: "slow" });
        expect(
          (await peers.openssl(command.port, HELLO, { use: "slow" })).resumed,
        ).toBe(true);
      });

      it("without keys it does not start, and says why", async () => {
        const steks = `${peers.path}/nothing`;
        await using folder = await folderOf({ "app.ts": module(steks) });
        const { code, err } = await runCommand(["app.ts"], {
          folder: folder.path,
        });
        expect(code).toBe(1);
        expect(err).toMatch(
          /^sluice: Cannot start app\.ts: policy\.resumption\.stek: No such file/m,
        );
      });
    });
  });
});
