/**
 * Early data over real sockets, with OpenSSL's client: what is accepted, what is refused and still served, what waits for the handshake, and what
 * TypeScript is told.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import {
  type CertificateOptions,
  earlyData,
  type LimitOptions,
  respond,
  type STEKProvider,
  type TlsConnection,
} from "sluice";
import { type RunningGateway, startGateway } from "./support.ts";
import { hasGnutls, lastRequest, request, TlsPeers } from "./tls_peers.ts";

function createApp() {
  const app = new Hono<{ Bindings: { tls?: TlsConnection } }>();
  app.all("/early", earlyData(), respond("early\n"));
  app.get("/refuse", earlyData({ others: "refuse" }), respond("taken\n"));
  app.post("/refuse", earlyData({ others: "refuse" }), respond("taken\n"));
  app.get("/plain", respond("plain\n"));
  app.get("/tls", earlyData(), (c) => c.json(c.env.tls ?? "none"));
  app.get("/tls/held", (c) => c.json(c.env.tls ?? "none"));
  return app;
}

const gnutls = await hasGnutls() ? it : it.skip;

describe("early data", () => {
  let peers: TlsPeers;
  let certificate: CertificateOptions;
  let server: RunningGateway;

  beforeAll(async () => {
    peers = await TlsPeers.make();
    certificate = await peers.certificate("localhost");
    server = await start();
  });
  afterAll(async () => {
    await server.stop();
    await peers[Symbol.asyncDispose]();
  });

  function start(
    resumption: { stek?: STEKProvider; mode?: "once" | "sealed" } = {},
    limits: LimitOptions = {},
  ): Promise<RunningGateway> {
    const policy = { earlyData: true, resumption };
    const tls = { certificates: [certificate], policy };
    return startGateway(createApp(), {
      listeners: [{ address: "127.0.0.1:0", tls }],
      workers: 2,
      limits,
    });
  }

  it("has a single-use set of the size that limits.ticketSetBytes gives it", async () => {
    // A power of two of cache lines in each of 18 tables, of which 17 are in use; 8 tickets a line.
    expect(server.gateway.stats().ticket_set_capacity).toBe(8192 * 8 * 17);
    const small = await start({}, { ticketSetBytes: 65_536 });
    try {
      expect(small.gateway.stats().ticket_set_capacity).toBe(32 * 8 * 17);
    } finally {
      await small.stop();
    }
  });

  let tickets = 0;

  /** A new ticket, as the name of a session file. */
  async function ticket(
    { port }: RunningGateway = server,
    version?: "1.2",
  ): Promise<string> {
    const save = `ticket-${tickets++}`;
    await peers.openssl(port, lastRequest("/plain"), { save, version });
    return save;
  }

  /** What counters have grown by while something ran. */
  async function grown(run: () => Promise<void>) {
    const before = server.gateway.stats();
    await run();
    const after = server.gateway.stats();
    return (name: "early_held" | "tls_early" | "ticket_takes_lost") =>
      after[name] - before[name];
  }

  it("is accepted once; the second time it is refused, and served after the handshake", async () => {
    const use = await ticket();
    const early = request("/early");
    const by = await grown(async () => {
      const first = await peers.openssl(server.port, lastRequest("/plain"), {
        use,
        early,
      });
      expect([first.resumed, first.early]).toEqual([true, "accepted"]);
      expect(first.text).toMatch(/\r\n\r\nearly\nHTTP\/1\.1 200 OK[^]*plain\n/);
      for (let i = 0; i < 3; i++) { // s_client does not send it again by itself: we do
        const again = await peers.openssl(server.port, lastRequest("/early"), {
          use,
          early,
        });
        expect([again.resumed, again.early]).toEqual([true, "rejected"]);
        expect(again.text.match(/\r\n\r\nearly\n/g)).toHaveLength(1);
      }
    });
    expect(by("tls_early")).toBe(1);
    expect(by("ticket_takes_lost")).toBe(3);
    expect(by("early_held")).toBe(0);
  });

  it("is refused by the sealed ticket's process when it comes again, and the handshake is a full one", async () => {
    await using sealed = await start({ mode: "sealed" });
    const use = await ticket(sealed);
    const early = request("/early");
    const last = lastRequest("/early");
    const first = await peers.openssl(sealed.port, last, { use, early });
    expect([first.resumed, first.early]).toEqual([true, "accepted"]);
    expect(first.text.match(/\r\n\r\nearly\n/g)).toHaveLength(2);
    const again = await peers.openssl(sealed.port, last, { use, early });
    expect([again.resumed, again.early]).toEqual([false, "rejected"]);
    expect(again.text.match(/\r\n\r\nearly\n/g)).toHaveLength(1);
  });

  it("is refused after a restart, with the same keys and without", async () => {
    const key = crypto.getRandomValues(new Uint8Array(32));
    const stek = { keys: () => [{ key, notBeforeMs: 0 }] };
    const early = request("/early");
    const before = await start({ stek });
    const use = await ticket(before);
    await before.stop();
    await using same = await start({ stek });
    await using stranger = await start();
    for (const [after, resumed] of [[same, true], [stranger, false]] as const) {
      const seen = await peers.openssl(after.port, lastRequest("/early"), {
        use,
        early,
      });
      expect([seen.resumed, seen.early]).toEqual([resumed, "rejected"]);
      expect(seen.text.match(/\r\n\r\nearly\n/g)).toHaveLength(1);
    }
  });

  describe("waits for the handshake", () => {
    const rows: [what: string, early: string, answer: RegExp][] = [
      [
        "on a route without earlyData()",
        request("/plain"),
        /200 OK[^]*\r\n\r\nplain\n/,
      ],
      [
        "with a method that is not safe",
        request("/early", { method: "POST" }),
        /200 OK[^]*\r\n\r\nearly\n/,
      ],
      ["where no route is", request("/nowhere"), /404 Not Found/],
    ];
    for (const [what, early, answer] of rows) {
      it(`${what}`, async () => {
        const use = await ticket();
        const by = await grown(async () => {
          const seen = await peers.openssl(server.port, lastRequest("/early"), {
            use,
            early,
          });
          expect([seen.resumed, seen.early]).toEqual([true, "accepted"]);
          expect(seen.text).toMatch(answer);
          expect(seen.text.match(/\r\n\r\nearly\n/g)?.length)
            .toBeGreaterThan(0);
        });
        expect(by("early_held")).toBe(1);
      });
    }
  });

  it("is answered 425 where the route says so, and after the handshake it is not", async () => {
    const use = await ticket();
    const post = { method: "POST" };
    const seen = await peers.openssl(
      server.port,
      lastRequest("/refuse", post),
      { use, early: request("/refuse", post) },
    );
    expect(seen.early).toBe("accepted");
    expect(seen.text).toMatch(/425 Too Early[^]*HTTP\/1\.1 200 OK[^]*taken\n/);
  });

  it("does not exist in TLS 1.2, which resumes", async () => {
    const use = await ticket(server, "1.2");
    const by = await grown(async () => {
      const seen = await peers.openssl(server.port, lastRequest("/early"), {
        use,
        early: request("/early"),
        version: "1.2",
      });
      expect([seen.resumed, seen.early]).toEqual([true, undefined]);
      expect(seen.text.match(/\r\n\r\nearly\n/g)).toHaveLength(1);
    });
    expect(by("tls_early")).toBe(0);
  });

  describe("and c.env.tls", () => {
    /** What the handler saw, of each answer. */
    const objects = (text: string) =>
      Array.from(
        text.matchAll(/\{"version":.*?\}/g),
        ([json]) => JSON.parse(json),
      );

    it("say whether a handler ran before the handshake was done", async () => {
      const rows: [path: string, early: boolean][] = [
        ["/tls", true],
        ["/tls/held", false],
      ];
      for (const [path, early] of rows) {
        const seen = await peers.openssl(server.port, lastRequest("/tls"), {
          use: await ticket(),
          early: request(path),
          words: "-alpn http/1.1 -groups X25519",
        });
        expect(seen.early).toBe("accepted");
        const tls = {
          version: "TLSv1.3",
          cipher: "TLS_AES_256_GCM_SHA384",
          group: "X25519",
          sni: "localhost",
          alpn: "http/1.1",
          resumed: true,
        };
        expect(objects(seen.text)).toEqual([
          { ...tls, early },
          { ...tls, early: false },
        ]);
      }
    });

    it("tell what was agreed on", async () => {
      const rows: [words: string, version: "1.2" | "1.3", tls: object][] = [
        [
          "-groups P-384 -ciphersuites TLS_CHACHA20_POLY1305_SHA256 -noservername",
          "1.3",
          {
            version: "TLSv1.3",
            cipher: "TLS_CHACHA20_POLY1305_SHA256",
            group: "P-384",
          },
        ],
        [
          "-groups P-256 -cipher ECDHE-ECDSA-AES128-GCM-SHA256 -alpn http/1.1",
          "1.2",
          {
            version: "TLSv1.2",
            cipher: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            group: "P-256",
            sni: "localhost",
            alpn: "http/1.1",
          },
        ],
      ];
      for (const [words, version, tls] of rows) {
        const name = words.includes("-noservername") ? "" : "localhost";
        const seen = await peers.openssl(server.port, lastRequest("/tls"), {
          words,
          version,
          name,
        });
        expect(objects(seen.text)).toEqual([
          { ...tls, resumed: false, early: false },
        ]);
      }
    });

    it("are not there without TLS", async () => {
      await using plain = await startGateway(createApp());
      using client = await plain.connect();
      expect((await client.ask(request("/tls"))).text).toBe('"none"');
    });
  });

  gnutls("comes from gnutls-cli, too", async () => {
    const by = await grown(async () => {
      const seen = await peers.gnutls(server.port, {
        first: request("/plain"),
        answer: "plain",
        early: request("/early"),
        second: lastRequest("/plain"),
      });
      expect(seen.resumed).toBe(true);
      expect(seen.text).toMatch(/\r\n\r\nearly\n/);
    });
    expect(by("tls_early")).toBe(1);
  });
});
