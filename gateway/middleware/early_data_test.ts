import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { describeForms } from "../both_forms_test.ts";
import { defineGateway } from "../gateway.ts";
import { OptionsError } from "../errors.ts";
import { earlyData } from "./early_data.ts";
import { respond } from "./respond.ts";

describe("earlyData()", () => {
  it("refuses options that it does not know", () => {
    for (
      const options of [{ other: 1 }, {
        others: "later",
      }] as unknown as Parameters<
        typeof earlyData
      >
    ) {
      expect(() => earlyData(options)).toThrow(OptionsError);
    }
  });

  it("is native, and explains itself", () => {
    const app = new Hono();
    app.get("/a", earlyData(), respond("a"));
    app.get("/b", earlyData({ others: "refuse" }), (c) => c.text("b"));
    const gateway = defineGateway(app);
    expect(gateway.explain("GET", "/a").steps.map(({ runs }) => runs)).toEqual([
      "native",
      "native",
    ]);
    expect(String(gateway.explain("GET", "/a"))).toMatch(
      "wait for the handshake",
    );
    expect(String(gateway.explain("GET", "/b"))).toMatch("425");
  });
});

describeForms(
  "earlyData() lets other requests pass",
  (app) => {
    app.use(earlyData({ others: "refuse" }));
    app.get("/native", respond("native"));
    app.get("/typescript", (c) => c.text("typescript"));
  },
  (form) => {
    for (const word of ["native", "typescript"]) {
      it(`to ${word}`, async () => {
        const response = await fetch(`${form.base}/${word}`);
        expect([response.status, await response.text()]).toEqual([200, word]);
      });
    }
  },
);
