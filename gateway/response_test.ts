import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { LightResponse } from "./response.ts";

const NativeResponse = globalThis.Response;
const Response = LightResponse as unknown as typeof globalThis.Response;
const parts = (response: Response) => LightResponse.parts(response);

describe("LightResponse", () => {
  it("keeps text with its default type", () => {
    expect(parts(new Response("hi"))).toMatchObject({
      status: 200,
      lines: "content-type: text/plain;charset=UTF-8\r\n",
      body: "hi",
    });
  });

  it("keeps status and headers, names in lower case, values trimmed", () => {
    const response = new Response("x", {
      status: 201,
      headers: { "Content-Type": "a/b", "X-One": " 1 " },
    });
    expect(parts(response)).toMatchObject({
      status: 201,
      lines: "content-type: a/b\r\nx-one: 1\r\n",
    });
  });

  it("keeps several Set-Cookie apart", () => {
    const headers = new Headers();
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2");
    expect(parts(new Response(null, { headers })).lines).toBe(
      "set-cookie: a=1\r\nset-cookie: b=2\r\n",
    );
    const pairs: [string, string][] = [["set-cookie", "a=1"], [
      "set-cookie",
      "b=2",
    ]];
    expect(parts(new Response(null, { headers: pairs })).lines).toBe(
      "set-cookie: a=1\r\nset-cookie: b=2\r\n",
    );
  });

  it("drops what the gateway writes, and keeps a declared length aside", () => {
    const response = new Response(null, {
      headers: {
        connection: "close",
        "Transfer-Encoding": "x",
        "keep-alive": "1",
        "Content-Length": "12",
        a: "b",
      },
    });
    expect(parts(response)).toMatchObject({
      lines: "a: b\r\n",
      declaredLength: 12,
    });
  });

  for (const value of ["a\r\nx: y", "a\nb", "a\0", "\u20ac", "a\x01"]) {
    it(`refuses the header value ${JSON.stringify(value)}`, () => {
      expect(() => new Response("", { headers: { a: value } })).toThrow(
        TypeError,
      );
    });
  }

  it("refuses a header name that is no token", () => {
    expect(() => new Response("", { headers: { "a b": "c" } })).toThrow(
      TypeError,
    );
  });

  it("throws what the real one throws", () => {
    expect(() => new Response("x", { status: 204 })).toThrow(TypeError);
    expect(() => new Response("x", { status: 99 })).toThrow(RangeError);
    expect(() => new Response("x", { status: 600 })).toThrow(RangeError);
  });

  it("copies bytes, so that a buffer can be used again", () => {
    const bytes = new Uint8Array([1, 2]);
    const response = new Response(bytes);
    bytes[0] = 9;
    expect(parts(response).body).toEqual(new Uint8Array([1, 2]));
    expect(parts(response).lines).toBe("");
  });

  it("does not see later changes of the headers it was made with", () => {
    const headers = new Headers({ a: "1" });
    const response = new Response("x", { headers });
    headers.set("a", "2");
    expect(parts(response).lines).toContain("a: 1");
  });

  it("is a Response, and so are native ones and subclasses", () => {
    class Mine extends Response {}
    expect(new Response("x") instanceof Response).toBe(true);
    expect(new Response("x") instanceof NativeResponse).toBe(true);
    expect(new NativeResponse("x") instanceof Response).toBe(true);
    expect(new Mine("x") instanceof Response).toBe(true);
    expect(new Mine("x") instanceof Mine).toBe(true);
    expect(new Response("x") instanceof Mine).toBe(false);
    expect(({} as Response) instanceof Response).toBe(false);
  });

  it("reads like a real one", async () => {
    const response = new Response('{"a":1}', {
      status: 202,
      headers: { "x-a": "b", "content-type": "application/json" },
    });
    expect([response.status, response.ok, response.statusText]).toEqual([
      202,
      true,
      "",
    ]);
    expect(response.headers.get("x-a")).toBe("b");
    expect(response.bodyUsed).toBe(false);
    const clone = response.clone();
    expect(await response.json()).toEqual({ a: 1 });
    expect(response.bodyUsed).toBe(true);
    expect(await clone.text()).toBe('{"a":1}');
    expect(await new Response("abc").bytes()).toEqual(
      new TextEncoder().encode("abc"),
    );
    expect((await new Response("abc").blob()).size).toBe(3);
  });

  it("has a body stream", async () => {
    const chunks = [];
    for await (const chunk of new Response("abc").body!) chunks.push(chunk);
    expect(chunks).toEqual([new TextEncoder().encode("abc")]);
    expect(new Response(null).body).toBe(null);
  });

  it("sends the headers that a middleware changed, and the light body", () => {
    const response = new Response("x", { headers: { a: "1" } });
    response.headers.set("a", "2");
    response.headers.append("set-cookie", "c=1");
    response.headers.append("set-cookie", "d=1");
    expect(parts(response)).toMatchObject({ body: "x" });
    expect(parts(response).lines).toContain("a: 2\r\n");
    expect(parts(response).lines).toContain(
      "set-cookie: c=1\r\nset-cookie: d=1\r\n",
    );
  });

  it("stays light when it is wrapped again, as Hono does", () => {
    const first = new Response("text", { status: 201, headers: { a: "1" } });
    const second = new Response(first.body, first);
    expect(parts(second)).toMatchObject({ status: 201, body: "text" });
    expect(parts(second).lines).toContain("a: 1\r\n");
    second.headers.set("b", "2");
    const third = new Response(second.body, second);
    expect(parts(third).body).toBe("text");
    expect(parts(third).lines).toContain("b: 2\r\n");
  });

  it("remembers the GET answer's body for HEAD", () => {
    const get = new Response("12345");
    expect(parts(new Response(null, get))).toMatchObject({
      body: null,
      headBody: "12345",
    });
    get.headers.set("a", "b");
    expect(parts(new Response(null, get))).toMatchObject({ headBody: "12345" });
  });

  it("refuses to send a body that was read", async () => {
    const response = new Response("x");
    await response.text();
    expect(() => parts(response)).toThrow(TypeError);
    const locked = new Response("x");
    locked.body!.getReader();
    expect(() => parts(locked)).toThrow(TypeError);
  });

  it("takes other bodies", async () => {
    expect(await new Response(new Blob(["b"])).text()).toBe("b");
    expect(await new Response(new URLSearchParams({ a: "1" })).text()).toBe(
      "a=1",
    );
    const form = new FormData();
    form.set("a", "1");
    expect(parts(new Response(form)).lines).toMatch(
      /^content-type: multipart\/form-data; boundary=/,
    );
    expect(await new Response(new ArrayBuffer(3)).arrayBuffer()).toHaveProperty(
      "byteLength",
      3,
    );
  });

  it("makes JSON", () => {
    expect(parts(Response.json({ a: 1 }))).toMatchObject({
      body: '{"a":1}',
      lines: "content-type: application/json\r\n",
    });
    expect(parts(Response.json(1, { status: 201 })).status).toBe(201);
    expect(() => Response.json(undefined)).toThrow(TypeError);
    expect(Response.redirect("http://h/").status).toBe(302);
  });

  it("drops the coding that fetch() has undone", async () => {
    const server = Deno.serve(
      { port: 0, onListen() {} },
      () =>
        new NativeResponse(
          new NativeResponse("zipped").body!.pipeThrough(
            new CompressionStream("gzip"),
          ),
          { headers: { "content-encoding": "gzip" } },
        ),
    );
    const answer = await fetch(`http://127.0.0.1:${server.addr.port}/`);
    const { lines, declaredLength } = parts(answer);
    expect([lines.includes("content-encoding"), declaredLength]).toEqual([
      false,
      -1,
    ]);
    expect(await answer.text()).toBe("zipped");
    await server.shutdown();
  });

  it("hands none of Deno.serve's native handles out", () => {
    const symbols = Object.getOwnPropertySymbols(new NativeResponse("x"))
      .filter(({ description }) => description?.startsWith("serve "));
    const light = new Response("x") as unknown as Record<symbol, unknown>;
    for (const symbol of symbols) {
      expect([null, 0]).toContain(light[symbol]);
    }
  });

  it("can be given to Deno.serve", async () => {
    const make = () => new Response("light", { headers: { "x-a": "b" } });
    const server = Deno.serve({ port: 0, onListen() {} }, make);
    const url = `http://127.0.0.1:${server.addr.port}/`;
    for (let i = 0; i < 100; i++) {
      const answer = await fetch(url);
      const { headers } = answer;
      expect([await answer.text(), headers.get("x-a")]).toEqual(["light", "b"]);
    }
    await server.shutdown();
  });
});
