/**
 * Limits that hold over all workers, or that only the options can show to be carried to C. native/tests/edge_test.c has each limit's own test.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { respond } from "sluice";
import { type RawClient, rawClient, startGateway, until } from "./support.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const app = () => new Hono().get("/", respond("ok"));

// Whether it is served; else it has been closed, by FIN or reset.
async function isServed(client: RawClient): Promise<boolean> {
  try {
    return (await client.ask(GET)).text === "ok";
  } catch {
    return false;
  }
}

describe("limits", () => {
  it("connsPerAddressMax holds over all workers", async () => {
    await using running = await startGateway(app(), {
      workers: 4,
      limits: { connsPerAddressMax: 3 },
    });
    const clients: RawClient[] = [];
    for (let i = 0; i < 12; i++) clients.push(await running.connect());
    const served: boolean[] = [];
    for (const client of clients) served.push(await isServed(client));
    assertEquals(served.filter(Boolean).length, 3);
    assertEquals(running.gateway.stats().byStatus.shed_address, 9);
    for (const client of clients) client.close();
    await until("all are gone", () => {
      return running.gateway.stats().conns_live === 0;
    });
    using after = await rawClient(running.port);
    assertEquals(await isServed(after), true);
  });

  it("requestsPerConnMax closes with an answer", async () => {
    await using running = await startGateway(app(), {
      limits: { requestsPerConnMax: 1 },
    });
    using client = await running.connect();
    const answer = await client.ask(GET);
    assertEquals(answer.head.get("connection"), "close");
    assertEquals(await client.readAll(), "");
  });

  it("pipelineRequestsMax keeps order and loses nothing", async () => {
    await using running = await startGateway(
      new Hono().get("/:n", (c) => c.text(c.req.param("n"))),
      { limits: { pipelineRequestsMax: 1 } },
    );
    using client = await running.connect();
    const all = Array.from({ length: 100 }, (_, i) => String(i));
    await client.send(
      all.map((n) => `GET /${n} HTTP/1.1\r\nHost: h\r\n\r\n`).join(""),
    );
    const answers: string[] = [];
    for (const _ of all) answers.push((await client.readAnswer()).text);
    assertEquals(answers, all);
  });
});
