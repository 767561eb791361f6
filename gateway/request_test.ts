import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { type BodySource, IncomingBody, IncomingRequest } from "./request.ts";

const encode = (text: string) => new TextEncoder().encode(text);

// Gives its parts one by one, each only after the one before was taken.
class Source implements BodySource {
  wants = 0;
  taken = 0;
  body = new IncomingBody(this);
  #parts: Uint8Array<ArrayBuffer>[];

  constructor(parts: string[]) {
    this.#parts = parts.map(encode);
  }

  want(): void {
    this.wants++;
    this.#next();
  }

  #next(): void {
    const part = this.#parts[this.taken];
    if (part) {
      this.body.arrive(part.length, this.taken === this.#parts.length - 1);
    }
  }

  take(): Uint8Array<ArrayBuffer> {
    const part = this.#parts[this.taken++];
    queueMicrotask(() => this.#next());
    return part;
  }
}

const HEAD =
  "POST /x?y=1 HTTP/1.1\r\nhost: h\r\naccept:  a/b \r\nx-two: 1\r\n" +
  "x-two:2\r\nx-empty:\r\nx-latin: caf\u00e9\r\ncontent-type: text/plain\r\n\r\n";

function make(body?: string[], method = "POST"): IncomingRequest & Request {
  const source = body && new Source(body);
  const request = new IncomingRequest(
    method,
    "http://h/x?y=1",
    HEAD,
    source?.body,
  );
  return request as IncomingRequest & Request;
}

describe("IncomingRequest", () => {
  it("is a Request with method and URL as they came", () => {
    const request = make();
    expect(request instanceof Request).toBe(true);
    expect(request.method).toBe("POST");
    expect(request.url).toBe("http://h/x?y=1");
    expect(request.redirect).toBe("follow");
  });

  it("reads headers case-insensitively, trimmed, duplicates joined", () => {
    const { headers } = make();
    expect(headers instanceof Headers).toBe(true);
    expect(headers.get("Accept")).toBe("a/b");
    expect(headers.get("x-two")).toBe("1, 2");
    expect(headers.get("x-empty")).toBe("");
    expect(headers.get("x-latin")).toBe("caf\u00e9");
    expect(headers.get("x-tw")).toBe(null);
    expect(headers.has("X-EMPTY")).toBe(true);
    expect(() => headers.has("x\r\nhost")).toThrow(TypeError);
  });

  it("throws for a name that is no token", () => {
    expect(() => make().headers.get("a b")).toThrow(TypeError);
    expect(() => make().headers.get("accept: a\r\nx")).toThrow(TypeError);
  });

  it("iterates over headers and lets them be changed", () => {
    const { headers } = make();
    expect([...headers].map(([name]) => name)).toEqual(
      ["accept", "content-type", "host", "x-empty", "x-latin", "x-two"],
    );
    headers.set("accept", "changed");
    expect(headers.get("accept")).toBe("changed");
    expect(Object.fromEntries(headers.entries()).accept).toBe("changed");
  });

  it("keeps the same headers object", () => {
    const request = make();
    expect(request.headers).toBe(request.headers);
  });

  it("reads the body once", async () => {
    const request = make(["hel", "lo"]);
    expect(request.bodyUsed).toBe(false);
    expect(await request.text()).toBe("hello");
    expect(request.bodyUsed).toBe(true);
    await expect(request.text()).rejects.toThrow(TypeError);
  });

  it("gives json, bytes, arrayBuffer, blob", async () => {
    expect(await make(['{"a":', "1}"]).json()).toEqual({ a: 1 });
    expect(await make(["ab"]).bytes()).toEqual(encode("ab"));
    expect((await make(["ab", "c"]).arrayBuffer()).byteLength).toBe(3);
    const blob = await make(["ab"]).blob();
    expect([await blob.text(), blob.type]).toEqual(["ab", "text/plain"]);
  });

  it("has an empty text and a null body without one", async () => {
    const request = make(undefined, "GET");
    expect(request.body).toBe(null);
    expect(await request.text()).toBe("");
    expect(await make(undefined, "GET").text()).toBe("");
  });

  it("asks for the body only when it is read, and only as fast", async () => {
    const source = new Source(["a", "b", "c"]);
    const request = new IncomingRequest("POST", "http://h/", HEAD, source.body);
    const reader = request.body!.getReader();
    expect(source.wants).toBe(0);
    expect((await reader.read()).value).toEqual(encode("a"));
    expect([source.wants, source.taken]).toEqual([1, 1]);
    await reader.read();
    await reader.read();
    expect((await reader.read()).done).toBe(true);
    expect(source.taken).toBe(3);
  });

  it("lets a BYOB reader end", async () => {
    const reader = make(["ab"]).body!.getReader({ mode: "byob" });
    const { value } = await reader.read(new Uint8Array(8));
    expect(value).toEqual(encode("ab"));
    expect((await reader.read(new Uint8Array(8))).done).toBe(true);
  });

  it("can be cloned, and both bodies are read", async () => {
    const request = make(["hel", "lo"]);
    const clone = request.clone();
    expect(clone.headers.get("accept")).toBe("a/b");
    expect(await clone.text()).toBe("hello");
    expect(await request.text()).toBe("hello");
  });

  it("goes into new Request() with another body, as body-limit does", async () => {
    const request = make(["old"]);
    const other = new Request(request, { body: "new" });
    expect(other.method).toBe("POST");
    expect(other.headers.get("x-two")).toBe("1, 2");
    expect(await other.text()).toBe("new");
  });

  it("goes into new Request() with its own body", async () => {
    const other = new Request("http://other/", make(["own"]));
    expect(await other.text()).toBe("own");
  });

  it("goes into fetch()", async () => {
    const server = Deno.serve(
      { port: 0, onListen() {} },
      async (request) =>
        new Response(`${request.method} ${await request.text()}`),
    );
    const url = `http://127.0.0.1:${server.addr.port}/`;
    const request = new IncomingRequest(
      "POST",
      url,
      HEAD.replace(/^.*\r\nhost: h/, "POST / HTTP/1.1\r\nhost: 127.0.0.1"),
      new Source(["bo", "dy"]).body,
    );
    const answer = await fetch(request as unknown as Request);
    expect(await answer.text()).toBe("POST body");
    await server.shutdown();
  });

  it("is used after it was read, even where it is made real later", async () => {
    const request = make(["x"]);
    await request.text();
    expect(() => request.clone()).toThrow(TypeError);
    expect(request.headers.get("accept")).toBe("a/b");
  });

  it("parses a form", async () => {
    const head = HEAD.replace(
      "text/plain",
      "application/x-www-form-urlencoded",
    );
    const source = new Source(["a=1&", "b=2"]);
    const request = new IncomingRequest("POST", "http://h/", head, source.body);
    const form = await (request as unknown as Request).formData();
    expect([form.get("a"), form.get("b")]).toEqual(["1", "2"]);
  });

  it("aborts its signal with the reason, looked at before or after", () => {
    const reason = new Error("gone");
    const before = make();
    let heard: unknown;
    before.signal.addEventListener("abort", () => heard = before.signal.reason);
    IncomingRequest.abort(before, reason);
    expect(heard).toBe(reason);
    const after = make();
    IncomingRequest.abort(after, reason);
    expect(after.signal.reason).toBe(reason);
    expect(make().signal.aborted).toBe(false);
  });

  it("fails a read when the exchange ends", async () => {
    const source = new Source([]);
    const request = new IncomingRequest("POST", "http://h/", HEAD, source.body);
    const text = request.text();
    source.body.fail(new Error("gone"));
    await expect(text).rejects.toThrow("gone");
  });
});
