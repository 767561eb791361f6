import { expect } from "@std/expect";
import { afterAll, describe, it } from "@std/testing/bdd";
import { describeForms, rawExchange } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { proxy } from "./proxy.ts";

describe("proxy()", () => {
  const wrong: [what: string, make: () => unknown, reason: RegExp][] = [
    ["a text that is no URL", () => proxy("127.0.0.1:3000"), /must/],
    ["a path", () => proxy("http://h/path"), /without a path/],
    ["https", () => proxy("https://h"), /not supported yet/],
    ["a password", () => proxy("http://u:p@h"), /user name or password/],
    ["an empty name", () => proxy({ upstream: "" }), /URL origin or/],
    [
      "an unknown limit",
      () => proxy("http://h", { connMax: 1 } as never),
      /did you mean "connsMax"/,
    ],
    [
      "a limit out of range",
      () => proxy("http://h", { connsMax: 0 }),
      /from 1 to 4096/,
    ],
  ];
  for (const [what, make, reason] of wrong) {
    it(`refuses ${what}`, () => {
      expect(make).toThrow(OptionsError);
      expect(make).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(proxy("http://h").name).toBe("proxy");
  });
});

// A port on which nobody listens any more.
const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
closed.close();

// What the upstream saw, as JSON; or what the path asks for.
const upstream = Deno.serve({ port: 0, onListen() {} }, async (request) => {
  const { pathname, search } = new URL(request.url);
  if (pathname === "/redirect") {
    return new Response(null, {
      status: 302,
      headers: { location: "http://elsewhere/" },
    });
  }
  if (pathname === "/none") return new Response(null, { status: 204 });
  if (pathname === "/cookies") {
    return new Response("x", {
      headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-hop", "1"]],
    });
  }
  if (pathname === "/stream") {
    const chunks = ReadableStream.from(["a", "b", "c"]).pipeThrough(
      new TextEncoderStream(),
    );
    return new Response(chunks, { headers: { "x-streamed": "1" } });
  }
  const length = (await request.bytes()).length;
  const headers = Object.fromEntries(request.headers);
  return Response.json({
    method: request.method,
    path: pathname + search,
    headers,
    length,
  });
});

describeForms(
  "proxy()",
  (app) => {
    const origin = `http://127.0.0.1:${upstream.addr.port}`;
    app.all("/named/*", proxy({ upstream: "one" }));
    app.all("/down", proxy(`http://127.0.0.1:${closed.addr.port}`));
    app.all("/*", proxy(origin));
  },
  (served) => {
    it("passes method, path, query and host on as they are", async () => {
      const text = await rawExchange(
        served.base,
        "GET /a//b%2Fc?d=%20 HTTP/1.1\r\nHost: example.org:81\r\nAccept: x/y\r\nConnection: close\r\n\r\n",
      );
      const seen = JSON.parse(
        text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1),
      );
      expect(seen).toMatchObject({
        method: "GET",
        path: "/a//b%2Fc?d=%20",
        length: 0,
      });
      expect(seen.headers).toMatchObject({
        host: "example.org:81",
        accept: "x/y",
        via: "1.1 sluice",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "example.org:81",
        "x-forwarded-proto": "http",
      });
    });

    it("passes a body on", async () => {
      const body = new Uint8Array(1_000_000);
      const seen =
        await (await fetch(`${served.base}/upload`, { method: "PUT", body }))
          .json();
      expect(seen).toMatchObject({ method: "PUT", length: 1_000_000 });
    });

    it("streams a body whose length is unknown", async () => {
      const body = ReadableStream.from(["one", "two"]).pipeThrough(
        new TextEncoderStream(),
      );
      const seen =
        await (await fetch(`${served.base}/upload`, { method: "POST", body }))
          .json();
      expect(seen).toMatchObject({ method: "POST", length: 6 });
      const answer = await fetch(`${served.base}/stream`);
      expect(answer.headers.get("x-streamed")).toBe("1");
      expect(await answer.text()).toBe("abc");
    });

    it("does not follow redirects", async () => {
      const answer = await fetch(`${served.base}/redirect`, {
        redirect: "manual",
      });
      expect([answer.status, answer.headers.get("location")]).toEqual([
        302,
        "http://elsewhere/",
      ]);
      await answer.body?.cancel();
    });

    it("passes 204, HEAD and several Set-Cookie back", async () => {
      expect((await fetch(`${served.base}/none`)).status).toBe(204);
      const head = await fetch(`${served.base}/cookies`, { method: "HEAD" });
      expect(head.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
      expect(head.headers.get("via")).toBe("1.1 sluice");
      expect(await head.text()).toBe("");
    });

    it("finds an upstream by its name", async () => {
      const seen = await (await fetch(`${served.base}/named/x`)).json();
      expect(seen.path).toBe("/named/x");
    });

    it("answers 502 with a reason if the upstream is down", async () => {
      const answer = await fetch(`${served.base}/down`);
      expect([answer.status, await answer.text()]).toEqual([
        502,
        "The upstream refused the connection.\n",
      ]);
    });
  },
  () => ({
    upstreams: { one: { url: `http://127.0.0.1:${upstream.addr.port}` } },
  }),
);

afterAll(() => upstream.shutdown());
