// `deno task explain` as typed: it finds the module and what that imports, and says what the gateway would do.
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { folderOf, ROOT, runProgram } from "./support.ts";

const COMMAND = [
  Deno.execPath(),
  "run",
  "--no-config",
  "--allow-all",
  `${ROOT}/tools/explain.ts`,
];

describe("deno task explain", () => {
  it("explains a request to a module", async () => {
    await using folder = await folderOf({
      "app.ts":
        'import { Hono } from "hono";\nimport { defineGateway, proxy } from "sluice";\n' +
        'const app = new Hono().all("/api/*", proxy("http://127.0.0.1:3000"));\n' +
        "export default defineGateway(app);\n",
    });
    const at = { folder: folder.path, env: { INIT_CWD: folder.path } };
    const one = await runProgram([...COMMAND, "app.ts", "POST", "/api/x"], at);
    expect([one.code, one.err]).toEqual([0, ""]);
    expect(one.out).toContain(
      "POST /api/x: native, because proxy() ends the chain in C\n" +
        "  1. ALL /api/*  proxy  native -> 127.0.0.1:3000\nlimits:\n",
    );
    const none = await runProgram([...COMMAND, "nope.ts", "GET", "/"], at);
    expect(none.code).toBe(1);
    expect(none.err).toContain("explain: there is no nope.ts in");
    const wrong = await runProgram([...COMMAND, "--nope"], at);
    expect([wrong.code, wrong.out]).toEqual([2, ""]);
    expect(wrong.err).toContain("there is no option --nope\nusage:");
  });
});
