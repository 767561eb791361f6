import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { rawExchange } from "./both_forms_test.ts";
import { GatewayError, OptionsError } from "./errors.ts";
import {
  defineGateway,
  Gateway,
  isGateway,
  makeCertificate,
} from "./gateway.ts";
import { headers } from "./middleware/headers.ts";
import { respond } from "./middleware/respond.ts";
import type { GatewayOptions } from "./options.ts";

const LISTENERS = [{ address: "127.0.0.1:0" }];

async function serve(
  app: Hono,
  run: (base: string, gateway: Gateway) => Promise<void>,
  options: GatewayOptions = {},
): Promise<void> {
  const gateway = defineGateway(app, {
    listeners: LISTENERS,
    workers: 1,
    ...options,
  });
  const { addresses } = await gateway.start();
  try {
    await run(`http://127.0.0.1:${addresses[0].port}`, gateway);
  } finally {
    await gateway.close({ deadlineMs: 2000 });
  }
}

describe("defineGateway()", () => {
  it("is pure, and checks options at once", () => {
    const gateway = defineGateway(new Hono(), { listeners: LISTENERS });
    expect(gateway instanceof Gateway && isGateway(gateway)).toBe(true);
    expect(() => defineGateway(new Hono(), { workers: 0 })).toThrow(
      OptionsError,
    );
    expect(() => defineGateway({} as Hono)).toThrow(/must be a Hono app/);
  });

  it("lets routes be added until it starts", async () => {
    const app = new Hono();
    const gateway = defineGateway(app, { listeners: LISTENERS });
    app.get("/late", (c) => c.text("late"));
    expect(await (await gateway.request("/late")).text()).toBe("late");
    expect(gateway.explain("GET", "/late").answeredBy).toBe("TypeScript");
  });
});

describe("Gateway", () => {
  it("serves, counts and closes", () =>
    serve(
      new Hono().get("/n", respond("n")).get("/t", (c) => c.text("t")),
      async (base, gateway) => {
        expect(await (await fetch(`${base}/n`)).text()).toBe("n");
        expect(await (await fetch(`${base}/t`)).text()).toBe("t");
        expect((await fetch(`${base}/none`)).status).toBe(404);
        const stats = gateway.stats();
        expect([
          stats.requests,
          stats.requests_native,
          stats.requests_typescript,
        ]).toEqual([3, 1, 2]);
      },
    ));

  it("serves on two workers and several listeners", () =>
    serve(
      new Hono().get("/", (c) => c.text(new URL(c.req.url).port)),
      async (base, gateway) => {
        for (let i = 0; i < 20; i++) {
          const text = await rawExchange(
            base,
            "GET / HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\n\r\n",
          );
          expect(text).toMatch(/\r\n\r\n1$/);
        }
        expect(gateway.stats().conns_accepted).toBe(20);
      },
      { workers: 2, listeners: [...LISTENERS, { address: "[::1]:0" }] },
    ));

  it("speaks TLS", async () => {
    const certificate = makeCertificate();
    const gateway = defineGateway(
      new Hono().get("/", (c) => c.text(c.req.url)),
      {
        listeners: [{
          address: "127.0.0.1:0",
          tls: { certificates: [certificate] },
        }],
        workers: 1,
      },
    );
    const { addresses } = await gateway.start();
    const client = Deno.createHttpClient({ caCerts: [certificate.cert] });
    const url = `https://localhost:${addresses[0].port}/`;
    expect(await (await fetch(url, { client })).text()).toBe(url);
    client.close();
    await gateway.close({ deadlineMs: 2000 });
  });

  it("streams, and hears when the client goes", async () => {
    let gone = () => {};
    const cancelled = new Promise<void>((resolve) => gone = resolve);
    const app = new Hono().get("/", () =>
      new Response(
        new ReadableStream({
          start: (controller) =>
            controller.enqueue(new TextEncoder().encode("first")),
          cancel: () => gone(),
        }),
      ));
    await serve(app, async (base) => {
      const abort = new AbortController();
      const answer = await fetch(base, { signal: abort.signal });
      const { value } = await answer.body!.getReader().read();
      expect(new TextDecoder().decode(value)).toBe("first");
      abort.abort();
      await cancelled;
    });
  });

  it("replaces its app without dropping connections; a bad app changes nothing", () =>
    serve(
      new Hono().get("/", respond("one")).get("/t", (c) => c.text("one")),
      async (base, gateway) => {
        const ask = async (path: string) =>
          await (await fetch(base + path)).text();
        expect([await ask("/"), await ask("/t")]).toEqual(["one", "one"]);
        await gateway.reload(
          new Hono().get("/", respond("two")).get("/t", (c) => c.text("two")),
        );
        expect([await ask("/"), await ask("/t")]).toEqual(["two", "two"]);
        expect(gateway.stats().conns_accepted).toBe(1);
        const bad = new Hono().get(
          "/",
          respond("x", { headers: { a: "b".repeat(20_000) } }),
        );
        await expect(gateway.reload(bad)).rejects.toThrow(GatewayError);
        expect(await ask("/")).toBe("two");
        expect(gateway.explain("GET", "/").answeredBy).toBe("native");
      },
    ));

  it("never mixes the steps of one app with the handlers of another", () => {
    // "old" does in C what "new" does in TypeScript, so a mix would show as none or two.
    const app = (name: string) => {
      const made = new Hono();
      if (name === "new") made.use((_, next) => next());
      made.use(headers({ response: { append: { "x-app": name } } }));
      made.use(headers({ request: { append: { "x-in": name } } }));
      return made.get(
        "/",
        (c) => c.text(`${name} ${c.req.header("x-in")}`),
      );
    };
    return serve(app("old"), async (base, gateway) => {
      for (let round = 1; round <= 10; round++) {
        const request =
          "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        const { hostname, port } = new URL(base);
        const conn = await Deno.connect({ hostname, port: Number(port) });
        await conn.write(new TextEncoder().encode(request));
        // The event lies in the ring, and nobody reads it before the reload.
        while (gateway.stats().requests_typescript < round);
        await gateway.reload(app(round % 2 ? "new" : "old"));
        const answer = await new Response(conn.readable).text();
        const [head, body] = answer.split("\r\n\r\n");
        const name = body.split(" ")[0];
        expect(head.match(/^x-app: .*$/gm)).toEqual([`x-app: ${name}`]);
        expect(body).toBe(`${name} ${name}`);
      }
    });
  });

  it("lets a running request finish when it closes", async () => {
    let finish = () => {};
    let entered = () => {};
    const running = new Promise<void>((resolve) => entered = resolve);
    const app = new Hono().get("/", async (c) => {
      entered();
      await new Promise<void>((resolve) => finish = resolve);
      return c.text("whole");
    });
    const gateway = defineGateway(app, { listeners: LISTENERS, workers: 1 });
    const { addresses } = await gateway.start();
    const answer = fetch(`http://127.0.0.1:${addresses[0].port}/`);
    await running;
    const closed = gateway.close({ deadlineMs: 10_000 });
    finish();
    expect(await (await answer).text()).toBe("whole");
    await closed;
  });

  it("cuts what does not finish by the deadline", async () => {
    let entered = () => {};
    const running = new Promise<void>((resolve) => entered = resolve);
    const app = new Hono().get("/", () => {
      entered();
      return new Promise<Response>(() => {});
    });
    const gateway = defineGateway(app, { listeners: LISTENERS, workers: 1 });
    const { addresses } = await gateway.start();
    const answer = fetch(`http://127.0.0.1:${addresses[0].port}/`).then(
      () => "answered",
      () => "cut",
    );
    await running;
    await gateway.close({ deadlineMs: 50 });
    expect(await answer).toBe("cut");
  });

  it("names the address that is in use, and can be started again", async () => {
    const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const address = `127.0.0.1:${taken.addr.port}`;
    const gateway = defineGateway(new Hono(), {
      listeners: [{ address }],
      workers: 1,
    });
    await expect(gateway.start()).rejects.toThrow(address);
    taken.close();
    await gateway.start();
    await expect(gateway.start()).rejects.toThrow("start()");
    await gateway[Symbol.asyncDispose]();
    await gateway.close();
  });

  it("says which file of a certificate cannot be read", async () => {
    const certificates = [{ cert: "no/such/cert.pem", key: "no/such/key.pem" }];
    const gateway = defineGateway(new Hono(), {
      listeners: [{ address: "127.0.0.1:0", tls: { certificates } }],
    });
    await expect(gateway.start()).rejects.toThrow("no/such/cert.pem");
  });

  it("says which certificate and key do not fit", async () => {
    const [{ cert }, { key }] = [makeCertificate(), makeCertificate()];
    const certificates = [{ cert, key }];
    const gateway = defineGateway(new Hono(), {
      listeners: [{ address: "127.0.0.1:0", tls: { certificates } }],
    });
    await expect(gateway.start()).rejects.toThrow(
      /\(PEM text\).*does not match/,
    );
  });

  it("says what is not possible in which state", async () => {
    const gateway = defineGateway(new Hono(), { listeners: LISTENERS });
    await expect(gateway.reload(new Hono())).rejects.toThrow("warming");
    expect(() => gateway.stats()).toThrow("warming");
    await gateway.close();
    await expect(gateway.start()).rejects.toThrow("closed");
    expect(() => gateway.stats()).toThrow("closed");
  });
});
