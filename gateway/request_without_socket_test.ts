import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { testClient } from "hono/testing";
import { defineGateway, type Gateway } from "./gateway.ts";
import { headers } from "./middleware/headers.ts";
import { proxy } from "./middleware/proxy.ts";
import { redirect } from "./middleware/redirect.ts";
import { respond } from "./middleware/respond.ts";
import { whoami } from "./middleware/whoami.ts";

type Env = { Bindings: { secret: string }; Variables: { seen: string } };

function buildApp(): Hono<Env> {
  const app = new Hono<Env>();
  app.use(
    "/edited/*",
    headers({
      request: { set: { "x-way-in": "1" } },
      response: { set: { "x-way-out": "2" } },
    }),
  );
  app.get("/edited/fields", (c) => c.json(c.req.header()));
  app.get("/edited/respond", respond("native", { status: 203 }));
  app.get("/redirect", redirect("/there", 308));
  app.all("/edited/up", proxy({ upstream: "api" }));
  app.get("/whoami", whoami());
  app.get("/env", (c) => c.text(c.env.secret));
  app.get("/later", (c) => {
    c.executionCtx.waitUntil(Promise.resolve("work"));
    return c.text("answered");
  });
  app.get("/url", (c) => c.text(c.req.url));
  app.post("/body", async (c) => c.text(await c.req.text()));
  return app;
}

describe("gateway.request()", () => {
  let upstream: Deno.HttpServer<Deno.NetAddr>;
  let gateway: Gateway;

  beforeAll(() => {
    upstream = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      async (request) => {
        const { pathname } = new URL(request.url);
        const text = [
          request.method,
          pathname,
          request.headers.get("x-way-in"),
          request.headers.get("via"),
          await request.text(),
        ].join(" ");
        return new Response(text, { headers: { "x-up": "1" } });
      },
    );
    gateway = defineGateway(buildApp(), {
      upstreams: { api: { url: `http://127.0.0.1:${upstream.addr.port}` } },
    });
  });
  afterAll(() => upstream.shutdown());

  it("takes what Hono's app.request() takes, and asks the same", async () => {
    const inputs: [string | URL | Request, RequestInit?][] = [
      ["/url?a=b"],
      ["url"],
      ["http://h.example/url"],
      [new URL("https://h.example/url?c")],
      [new Request("http://h.example/url")],
      [new Request("http://h.example/body"), { method: "POST", body: "init" }],
      ["/body", { method: "POST", body: "posted" }],
      ["/none"],
    ];
    for (const [input, init] of inputs) {
      const copy = input instanceof Request ? input.clone() : input;
      const ours = await gateway.request(input, init);
      const honos = await buildApp().request(copy as string, init);
      expect([ours.status, await ours.text(), [...ours.headers]]).toEqual([
        honos.status,
        await honos.text(),
        [...honos.headers],
      ]);
    }
  });

  it("hands on bindings and an execution context", async () => {
    const waited: unknown[] = [];
    const context = {
      waitUntil: (promise: Promise<unknown>) => waited.push(promise),
      passThroughOnException() {},
      props: {},
    };
    const env = await gateway.request("/env", undefined, { secret: "s3" });
    expect(await env.text()).toBe("s3");
    const later = await gateway.request("/later", undefined, {}, context);
    expect(await later.text()).toBe("answered");
    expect(await Promise.all(waited)).toEqual(["work"]);
  });

  it("runs every native step in its TypeScript form, named upstreams before any start", async () => {
    const fields = await gateway.request("/edited/fields");
    expect(await fields.json()).toMatchObject({ "x-way-in": "1" });
    expect(fields.headers.get("x-way-out")).toBe("2");
    const respond = await gateway.request("/edited/respond");
    expect([
      respond.status,
      await respond.text(),
      respond.headers.get("x-way-out"),
    ]).toEqual([203, "native", "2"]);
    const redirect = await gateway.request("/redirect");
    expect([redirect.status, redirect.headers.get("location")]).toEqual([
      308,
      "/there",
    ]);
    const up = await gateway.request("/edited/up", {
      method: "POST",
      body: "body",
    });
    expect([up.status, await up.text()]).toEqual([
      200,
      "POST /edited/up 1 1.1 sluice body",
    ]);
    expect([up.headers.get("x-up"), up.headers.get("x-way-out")]).toEqual([
      "1",
      "2",
    ]);
    expect(await (await gateway.request("/whoami")).text()).toMatch(
      /^GET \/whoami HTTP\/1\.1\r\n/,
    );
  });

  it("opens no library and no socket, so stats() has nothing to count", () => {
    expect(() => gateway.stats()).toThrow(/stats\(\)/);
  });

  it("is not needed by Hono's own test client, which takes the app", async () => {
    const client = testClient(
      new Hono().get("/typed", (c) => c.json({ a: 1 })),
    );
    const answer = await client.typed.$get();
    expect(await answer.json()).toEqual({ a: 1 });
  });
});
