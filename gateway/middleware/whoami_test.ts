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

describeForms(
  "whoami() with underscoreHeaders: keep",
  (app) => {
    app.get("/whoami", whoami());
  },
  (served) => {
    it("shows names with _, but no alias of what only we say", async () => {
      const text = await rawExchange(
        served.base,
        "GET /whoami HTTP/1.1\r\nHost: h\r\nX_One: 1\r\nX-Two_: 2\r\n_: 3\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n" +
          "Keep_Alive: 4\r\nX_Forwarded_For: 1.2.3.4\r\nX-Forwarded_Port: 5\r\nX_Real-IP: 1.2.3.4\r\nProxy_Authorization: a\r\n" +
          "X_Hop: no\r\nConnection: close, x_hop\r\n\r\n",
      );
      expect(text.split("\r\n\r\n")[1].split("\r\n").sort()).toEqual([
        "GET /whoami HTTP/1.1",
        "_: 3",
        "host: h",
        "via: 1.1 sluice",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: h",
        "x-forwarded-proto: http",
        "x-two_: 2",
        "x_one: 1",
      ]);
    });
  },
  () => ({ underscoreHeaders: "keep" }),
);
