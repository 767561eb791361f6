/**
 * `gateway.stats()` in a handler, where the command runs the module: an app shows its own metrics.
 *
 * @module
 */
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { certificate, folderOf, startCommand, until } from "./support.ts";

const MODULE = `
  import { Hono } from "hono";
  import { defineGateway, respond } from "sluice";

  const app = new Hono().get("/native", respond("native"));
  app.get("/stats", (c) => c.json(gateway.stats()));
  const gateway = defineGateway(app, { workers: 2, isolates: 2, listeners: [
    { address: "127.0.0.1:0" },
    { address: "127.0.0.1:0", tls: { certificates: [{ cert: "cert.pem", key: "key.pem" }] } },
  ] });
  console.log(attempt(() => gateway.stats()));
  export default gateway;

  function attempt(what) {
    try { return what(); } catch (error) { return "before the start: " + error.message; }
  }`;

describe("gateway.stats() in a handler", () => {
  it("counts all workers and isolates, and has the certificates in use", async () => {
    const { cert, key } = await certificate();
    await using folder = await folderOf({
      "app.ts": MODULE,
      "cert.pem": cert,
      "key.pem": key,
    });
    await using command = await startCommand(["app.ts"], {
      folder: folder.path,
      ownListeners: true,
    });
    using client = await command.connect();
    const ask = async (path: string) =>
      (await client.ask(`GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`)).text;
    const stats = async () => JSON.parse(await ask("/stats"));
    for (let i = 0; i < 7; i++) expect(await ask("/native")).toBe("native");
    const before = await stats();
    expect(before).toMatchObject({ requests_native: 7, conns_live: 1 });
    expect(before.connsByWorker.toSorted()).toEqual([0, 1]);
    expect(before.plugins).toEqual({});
    expect(before.certificates).toMatchObject([{ names: [] }]);

    const other = await certificate();
    await Deno.writeTextFile(`${folder.path}/key.pem`, other.key);
    await Deno.writeTextFile(`${folder.path}/cert.pem`, other.cert);
    const [{ serial }] = before.certificates;
    await until("the handler sees the renewed certificate", async () => {
      return (await stats()).certificates[0].serial !== serial;
    });
    expect(command.out).toMatch(/before the start: .*stats\(\)/);
  });
});
