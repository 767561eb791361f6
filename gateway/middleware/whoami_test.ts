import { expect } from "@std/expect";
import { it } from "@std/testing/bdd";
import { describeForms, rawExchange } from "../both_forms_test.ts";
import { whoami } from "./whoami.ts";

describeForms("whoami()", (app) => {
  app.get("/whoami", whoami());
}, (served) => {
  it("shows the head as an upstream would see it", async () => {
    const text = await rawExchange(
      served.base,
      "GET /whoami?a=%20b HTTP/1.1\r\nHost: example.org:81\r\nX-One: 1\r\nX_Alias: no\r\n" +
        "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nVia: 1.0 other\r\nX-Hop: no\r\n" +
        "Connection: close, x-hop\r\n\r\n",
    );
    const [head, body] = text.split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.1 200 /);
    expect(head).toContain("cache-control: no-store");
    expect(body.split("\r\n").sort()).toEqual([
      "GET /whoami?a=%20b HTTP/1.1",
      "host: example.org:81",
      "via: 1.0 other, 1.1 sluice",
      "x-forwarded-for: 127.0.0.1",
      "x-forwarded-host: example.org:81",
      "x-forwarded-proto: http",
      "x-one: 1",
    ]);
  });
});
