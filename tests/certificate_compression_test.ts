/**
 * Compressed certificates (RFC 8879), by what a gateway counts: Chromium gets one, clients that do not offer it get the certificate as it is.
 * OpenSSL 3.0 and Debian's GnuTLS have no such extension, so there is no other peer; `native/tests/tls_compression_test.c` has BoringSSL's client.
 *
 * @module
 */
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { respond } from "sluice";
import { folderOf, runProgram, startGateway } from "./support.ts";
import { lastRequest, TlsPeers } from "./tls_peers.ts";

const chromium = await runProgram(["chromium", "--version"])
    .then(({ code }) => code === 0, () => false)
  ? it
  : it.skip;

const app = new Hono().get("/", respond("hello"));

describe("a compressed certificate", () => {
  async function start(peers: TlsPeers) {
    const certificates = [await peers.certificate("localhost")];
    return await startGateway(app, {
      listeners: [{ address: "127.0.0.1:0", tls: { certificates } }],
    });
  }

  it("goes to nobody who does not offer it", async () => {
    await using peers = await TlsPeers.make();
    await using server = await start(peers);
    for (const version of ["1.2", "1.3"] as const) {
      const more = { version };
      const { text } = await peers.openssl(server.port, lastRequest("/"), more);
      expect(text).toContain("hello");
    }
    expect(server.gateway.stats().certs_compressed).toBe(0);
  });

  // Skipped where there is no chromium (apt-get install chromium).
  chromium("goes to Chromium, which shows the page", async () => {
    await using peers = await TlsPeers.make();
    await using server = await start(peers);
    await using profile = await folderOf({});
    const { out } = await runProgram([
      ...["chromium", "--headless", "--no-sandbox", "--disable-gpu"],
      ...["--ignore-certificate-errors", `--user-data-dir=${profile.path}`],
      ...["--dump-dom", `https://localhost:${server.port}/`],
    ]);
    expect(out).toContain("hello");
    const stats = server.gateway.stats();
    expect(stats.certs_compressed).toBeGreaterThan(0);
    expect(stats.certs_compressed_late).toBe(0);
    expect(stats.certs_compressed_bytes)
      .toBeLessThan(stats.certs_uncompressed_bytes);
  });
});
