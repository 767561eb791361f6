/**
 * Versions, groups, ALPN and presets of a listener and of one of its names, as OpenSSL's s_client meets them.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { type CertificateOptions, respond, type TlsPolicy } from "sluice";
import { type RunningGateway, startGateway } from "./support.ts";
import { lastRequest, TlsPeers } from "./tls_peers.ts";

describe("TLS policy", () => {
  let peers: TlsPeers;
  let local: CertificateOptions;
  let other: CertificateOptions;

  beforeAll(async () => {
    peers = await TlsPeers.make();
    local = await peers.certificate("localhost");
    other = await peers.certificate("other.example");
  });
  afterAll(() => peers[Symbol.asyncDispose]());

  function start(
    policy: TlsPolicy,
    ofOther?: TlsPolicy,
  ): Promise<RunningGateway> {
    const certificates = [local, { ...other, policy: ofOther }];
    return startGateway(new Hono().get("/hello", respond("hello")), {
      listeners: [{
        address: "127.0.0.1:0",
        tls: { certificates, policy },
      }],
    });
  }

  async function served(
    { port }: RunningGateway,
    version: "1.2" | "1.3",
    name = "localhost",
    words?: string,
  ): Promise<boolean> {
    const hello = lastRequest("/hello", { host: name });
    const { text } = await peers.openssl(port, hello, { version, name, words });
    return text.includes("HTTP/1.1 200 OK");
  }

  for (const resumption of [undefined, { mode: "off" }] as const) {
    const mode = resumption?.mode ?? "once";
    it(`"modern" is TLS 1.3, but for a name that says otherwise, tickets ${mode}`, async () => {
      await using server = await start(
        { preset: "modern", resumption },
        { versions: { min: "1.2" } },
      );
      expect(await served(server, "1.3")).toBe(true);
      expect(await served(server, "1.2")).toBe(false);
      expect(await served(server, "1.3", "other.example")).toBe(true);
      expect(await served(server, "1.2", "other.example")).toBe(true);
    });
  }

  it("groups are those of the name", async () => {
    await using server = await start(
      { groups: ["P-384"] },
      { groups: ["X25519", "P-521"] },
    );
    const knows = (name: string, groups: string) =>
      served(server, "1.3", name, `-groups ${groups}`);
    expect(await knows("localhost", "P-384:P-521")).toBe(true);
    expect(await knows("localhost", "X25519:P-521")).toBe(false);
    expect(await knows("other.example", "P-521:P-384")).toBe(true);
    expect(await knows("other.example", "P-256:P-384")).toBe(false);
  });

  it("ALPN is that of the name: told and insisted on, or ignored", async () => {
    await using server = await start({}, { alpn: [] });
    const knows = (name: string, protocols: string) =>
      served(server, "1.3", name, `-alpn ${protocols}`);
    expect(await knows("localhost", "h2,http/1.1")).toBe(true);
    expect(await knows("localhost", "h2")).toBe(false);
    expect(await knows("other.example", "h2,http/1.1")).toBe(true);
    expect(await knows("other.example", "h2")).toBe(true);
  });

  it("says what is wrong, and where", async () => {
    const wrong = { versions: { min: "1.1" } } as unknown as TlsPolicy;
    await expect(start({}, wrong)).rejects.toThrow(
      'tls.certificates[1].policy.versions.min: must be "1.2" or "1.3"',
    );
  });
});
