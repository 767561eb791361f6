/**
 * What lies in deploy/: units that systemd takes, a gateway that runs, and a Containerfile whose steps do what they say.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  answering,
  certificate,
  folderOf,
  ROOT,
  runProgram,
  startCommand,
  startUpstream,
} from "../tests/support.ts";

const ANALYZE = await runProgram(["systemd-analyze", "--version"])
  .then(() => true, () => false);
if (!ANALYZE) {
  console.log("no systemd-analyze here (apt-get install systemd)");
}

describe("deploy/", () => {
  (ANALYZE ? it : it.skip)(
    "the units in deploy/ are as systemd wants them",
    async () => {
      const program = "/usr/local/bin/sluice"; // which is not installed here
      const service = await Deno.readTextFile(`${ROOT}/deploy/gateway.service`);
      assertStringIncludes(service, `ExecStart=${program} `);
      await using folder = await folderOf({
        "gateway.service": service.replace(program, "/bin/sh"),
        "gateway.socket": await Deno.readTextFile(
          `${ROOT}/deploy/gateway.socket`,
        ),
      });
      const { code, err } = await runProgram([
        "systemd-analyze",
        "verify",
        `${folder.path}/gateway.service`,
        `${folder.path}/gateway.socket`,
      ]);
      assertEquals([code, err], [0, ""]);
    },
  );
});

describe("deploy/gateway.example.ts", () => {
  it("answers, and proxies /api, over HTTP and with a unit's credentials over HTTPS", async () => {
    await using upstream = await startUpstream(
      answering(() =>
        "HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\nfrom the service"
      ),
    );
    const { cert, key } = await certificate();
    await using credentials = await folderOf({
      "cert.pem": cert,
      "key.pem": key,
    });
    await using command = await startCommand([
      `${ROOT}/deploy/gateway.example.ts`,
    ], {
      ownListeners: true,
      env: {
        PORT: "0",
        TLS_PORT: "0",
        UPSTREAM: `http://127.0.0.1:${upstream.port}`,
        CREDENTIALS_DIRECTORY: credentials.path,
      },
    });
    using client = Deno.createHttpClient({ caCerts: [cert] });
    const [http, https] = command.ports;
    const ok = await fetch(`http://127.0.0.1:${http}/healthz`);
    assertEquals(await ok.text(), "ok");
    const api = await fetch(`https://127.0.0.1:${https}/api/x`, { client });
    assertEquals(await api.text(), "from the service");
    assertEquals((await command.stop()).code, 0);
  });
});
