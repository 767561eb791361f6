// Every program in examples/ starts as its first lines say and answers.
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { ROOT, startCommand } from "./support.ts";

interface Example {
  /** Requests, each with its status and a part of its body. */
  asks: [path: string, status: number, text: string][];
}

const EXAMPLES: Record<string, Example> = {
  "gateway.ts": {
    asks: [
      ["/healthz", 200, "ok\n"],
      ["/hello/Ada", 200, "Hello, Ada!\n"],
      ["/whoami", 200, "GET /whoami HTTP/1.1\r\n"],
    ],
  },
  "reverse_proxy.ts": {
    asks: [
      ["/api/version", 200, '{"gateway":"sluice"}'],
      ["/api", 308, ""],
    ],
  },
};

describe("examples", () => {
  it("are all in this test", async () => {
    const names = (await Array.fromAsync(Deno.readDir(`${ROOT}/examples`)))
      .map(({ name }) => name).filter((name) => name.endsWith(".ts"));
    expect(names.sort()).toEqual(Object.keys(EXAMPLES).sort());
  });

  for (const [name, { asks }] of Object.entries(EXAMPLES)) {
    it(`${name} answers`, async () => {
      await using command = await startCommand([
        `${ROOT}/examples/${name}`,
        "--http",
        "127.0.0.1:0",
      ]);
      for (const [path, status, text] of asks) {
        const answer = await fetch(
          `http://127.0.0.1:${command.port}${path}`,
          { redirect: "manual" },
        );
        expect([path, answer.status]).toEqual([path, status]);
        expect(await answer.text()).toContain(text);
      }
    });
  }
});
