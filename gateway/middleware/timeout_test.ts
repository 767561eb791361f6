import { expect } from "@std/expect";
import { afterAll, describe, it } from "@std/testing/bdd";
import type { Hono } from "hono";
import { ALL_FORMS, describeForms } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { headers } from "./headers.ts";
import { proxy } from "./proxy.ts";
import { respond } from "./respond.ts";
import { upgradeWebSocket } from "../websocket.ts";
import { timeout } from "./timeout.ts";

describe("timeout()", () => {
  const wrong: [what: string, make: () => unknown, reason: RegExp][] = [
    ["no time", () => timeout(0), /duration.*from 1 to/],
    ["half a millisecond", () => timeout(0.5), /duration.*whole/],
    ["a text", () => timeout("1" as never), /duration/],
    ["weeks", () => timeout(2 ** 31), /duration/],
    ["a text to throw", () => timeout(1, "late" as never), /exception/],
  ];
  for (const [what, make, reason] of wrong) {
    it(`refuses ${what}`, () => {
      expect(make).toThrow(OptionsError);
      expect(make).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(timeout(1).name).toBe("timeout");
  });
});

// What waits here waits until the test has seen the timeout, never for a time.
const waiting = new Set<() => void>();
function never(): Promise<void> {
  return new Promise((resolve) => waiting.add(resolve));
}
function release(): void {
  for (const resolve of waiting) resolve();
  waiting.clear();
}
const aborted = new Map<string, () => void>();

const encode = (text: string) => new TextEncoder().encode(text);
function half(): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(encode("half"));
      never().then(() => {
        try {
          controller.close();
        } catch { /* it was cancelled */ }
      });
    },
  });
}

const upstream = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname.endsWith("/never")) await never();
    if (pathname.endsWith("/half")) return new Response(half());
    return new Response("up");
  },
);
const UPSTREAM = `http://127.0.0.1:${upstream.addr.port}`;
afterAll(async () => {
  release();
  await upstream.shutdown();
});

function build(app: Hono): void {
  // An hour, and so little that it is over before anything else can happen in time.
  app.use("/long/*", timeout(3_600_000));
  app.use("/short/*", timeout(50));
  for (const path of ["/long", "/short"]) {
    app.get(`${path}/native`, respond("native"));
    app.get(`${path}/up/*`, proxy(UPSTREAM));
    app.get(`${path}/code`, (c) => c.text("code"));
    app.get(`${path}/none`, (c) => c.body(null, 204));
    app.get(`${path}/throws`, () => {
      throw new Error("of the handler");
    });
    app.get(`${path}/never`, async (c) => {
      const { signal } = c.req.raw;
      signal.addEventListener("abort", () => aborted.get(path)?.());
      await never();
      return c.text("late");
    });
    app.get(`${path}/half`, (c) => c.body(half()));
  }
  app.use("/edited/*", headers({ response: { set: { "x-out": "1" } } }));
  app.use("/edited/*", timeout(50));
  app.use("/edited/*", headers({ response: { set: { "x-in": "1" } } }));
  app.get("/edited/never", async (c) => {
    await never();
    return c.text("late");
  });
  app.get("/edited/up/*", proxy(UPSTREAM));
  app.use("/both/*", timeout(3_600_000), timeout(50), timeout(3_600_000));
  app.get("/both/up/*", proxy(UPSTREAM));
  app.use("/own/*", timeout(50, () => new Error("too late for you")));
  app.get("/own/never", async (c) => {
    await never();
    return c.text("late");
  });
  app.get("/own/code", (c) => c.text("code"));
  app.get(
    "/short/socket",
    upgradeWebSocket(() => ({
      onMessage: (event, socket) => socket.send(`${event.data}!`),
    })),
  );
  app.onError((error, c) => c.text(error.message, 500));
}

describeForms(
  "timeout()",
  build,
  (served) => {
    const ask = async (path: string, init?: RequestInit) => {
      const answer = await fetch(served.base + path, init);
      return { answer, status: answer.status, text: await answer.text() };
    };

    it("lets pass what is in time", async () => {
      const expected = {
        "/native": [200, "native"],
        "/up/x": [200, "up"],
        "/code": [200, "code"],
        "/none": [204, ""],
        "/throws": [500, "of the handler"],
        "/nothing": [404, "404 Not Found"],
      };
      for (const [path, seen] of Object.entries(expected)) {
        const { status, text } = await ask(`/long${path}`);
        expect([status, text]).toEqual(seen);
      }
      const head = await ask("/long/code", { method: "HEAD" });
      expect([head.status, head.text]).toEqual([200, ""]);
    });

    for (const path of ["/short/never", "/short/up/never", "/both/up/never"]) {
      it(`answers 504 before the head, ${path}`, async () => {
        const { answer, status, text } = await ask(path);
        expect([status, text]).toEqual([504, "Gateway Timeout"]);
        expect(answer.headers.get("content-type")).toBe(
          "text/plain;charset=UTF-8",
        );
        release();
      });
    }

    for (const path of ["/short/half", "/short/up/half"]) {
      it(`cuts the transfer behind it, ${path}`, async () => {
        const answer = await fetch(served.base + path);
        expect(answer.status).toBe(200);
        const reader = answer.body!.getReader();
        const first = await reader.read();
        expect(new TextDecoder().decode(first.value)).toBe("half");
        await expect(reader.read()).rejects.toThrow();
        release();
      });
    }

    for (const path of ["/edited/never", "/edited/up/never"]) {
      it(`answers at its own place in the chain, ${path}`, async () => {
        const { answer, status } = await ask(path);
        expect(status).toBe(504);
        expect(answer.headers.get("x-out")).toBe("1");
        expect(answer.headers.get("x-in")).toBe(null);
        release();
      });
    }

    it("throws what it is told to", async () => {
      const { status, text } = await ask("/own/never");
      expect([status, text]).toEqual([500, "too late for you"]);
      release();
      expect((await ask("/own/code")).text).toBe("code");
    });

    if (served.form !== "Deno.serve") {
      it("leaves an open WebSocket alone", async () => {
        const url = `${served.base}/short/socket`.replace("http", "ws");
        const socket = new WebSocket(url);
        let open = true;
        const answer = new Promise<unknown>((resolve) => {
          socket.onmessage = ({ data }) => resolve(data);
          socket.onclose = () => resolve(open = false);
        });
        await new Promise((resolve) => socket.onopen = resolve);
        // Its time is over when that of a later request is.
        expect((await ask("/short/up/never")).status).toBe(504);
        release();
        if (open) socket.send("still here");
        expect(await answer).toBe("still here!");
        socket.close();
      });
    }

    if (served.form === "native") {
      it("tells the handler that nobody waits any more", async () => {
        const heard = new Promise<void>((resolve) =>
          aborted.set("/short", resolve)
        );
        expect((await ask("/short/never")).status).toBe(504);
        await heard;
        release();
      });

      it("runs in C where it can, and says what it does", () => {
        const how = (path: string) => served.gateway.explain("GET", path);
        expect(how("/short/native").answeredBy).toBe("native");
        expect(how("/short/code").steps[0].runs).toBe("native");
        expect(how("/own/code").steps[0].runs).toBe("TypeScript");
        expect(String(how("/short/native"))).toContain("50 ms");
      });
    }
  },
  () => ({}),
  ALL_FORMS,
);
