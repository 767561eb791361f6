import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { describeForms } from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { respond } from "./respond.ts";

describe("respond()", () => {
  // deno-lint-ignore no-explicit-any
  const wrong: [what: string, make: () => any, reason: RegExp][] = [
    ["a status of 199", () => respond("", { status: 199 }), /200 to 599/],
    ["a status of 200.5", () => respond("", { status: 200.5 }), /200 to 599/],
    ["a body for 204", () => respond("x", { status: 204 }), /must be empty/],
    [
      "a number as body",
      () => respond(1 as unknown as string),
      /string or a Uint8Array/,
    ],
    [
      "a name that is no token",
      () => respond("", { headers: { "a b": "c" } }),
      /not a field name/,
    ],
    [
      "a value with CRLF",
      () => respond("", { headers: { a: "b\r\nc: d" } }),
      /without CR/,
    ],
    [
      "content-length",
      () => respond("", { headers: { "Content-Length": "3" } }),
      /leave it out/,
    ],
    [
      "connection",
      () => respond("", { headers: { connection: "close" } }),
      /leave it out/,
    ],
    ["date", () => respond("", { headers: { date: "now" } }), /leave it out/],
  ];
  for (const [what, make, reason] of wrong) {
    it(`refuses ${what}`, () => {
      expect(make).toThrow(OptionsError);
      expect(make).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(respond("x").name).toBe("respond");
  });
});

const BYTES = new Uint8Array([0, 255, 10]);

describeForms("respond()", (app) => {
  app.get("/text", respond("caf\u00e9\n"));
  app.get("/bytes", respond(BYTES));
  app.get(
    "/made",
    respond("", {
      status: 201,
      headers: { "X-Name": "v\u00e4l", etag: '"1"' },
    }),
  );
  app.get("/none", respond("", { status: 204 }));
  app.get("/same", respond("", { status: 304 }));
  app.get("/large", respond("x".repeat(300_000)));
  app.get(
    "/html",
    respond("<p>", { headers: { "content-type": "text/html" } }),
  );
}, (served) => {
  it("answers text with its type and length", async () => {
    const answer = await fetch(`${served.base}/text`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/plain;charset=UTF-8");
    expect(answer.headers.get("content-length")).toBe("6");
    expect(await answer.text()).toBe("caf\u00e9\n");
  });

  it("answers bytes as they are, without a type", async () => {
    const answer = await fetch(`${served.base}/bytes`);
    expect(answer.headers.get("content-type")).toBe(null);
    expect(await answer.bytes()).toEqual(BYTES);
  });

  it("sends status and headers", async () => {
    const answer = await fetch(`${served.base}/made`);
    expect(answer.status).toBe(201);
    expect(answer.headers.get("x-name")).toBe("v\u00e4l");
    expect(answer.headers.get("etag")).toBe('"1"');
    expect(await answer.text()).toBe("");
  });

  it("sends no body with 204 and 304", async () => {
    for (const [path, status] of [["/none", 204], ["/same", 304]] as const) {
      const answer = await fetch(served.base + path);
      expect(answer.status).toBe(status);
      expect(answer.headers.get("content-type")).toBe(null);
      expect(await answer.text()).toBe("");
    }
  });

  it("answers HEAD with the length of GET", async () => {
    const answer = await fetch(`${served.base}/text`, { method: "HEAD" });
    expect(answer.headers.get("content-length")).toBe("6");
    expect(await answer.text()).toBe("");
  });

  it("sends a large body whole", async () => {
    const text = await (await fetch(`${served.base}/large`)).text();
    expect(text === "x".repeat(300_000)).toBe(true);
  });

  it("keeps the type that was given", async () => {
    const answer = await fetch(`${served.base}/html`);
    expect(answer.headers.get("content-type")).toBe("text/html");
    await answer.body?.cancel();
  });

  it(`runs where it should`, () => {
    expect(served.gateway.explain("GET", "/text").answeredBy).toBe(served.form);
  });
});
