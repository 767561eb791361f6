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
import { capture } from "./support.ts";

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

// The steps of a Containerfile as [instruction, rest].
function stepsOf(text: string): [string, string][] {
  return text.split("\n").filter((line) => line && !line.startsWith("#"))
    .map((line) => {
      const space = line.indexOf(" ");
      return [line.slice(0, space), line.slice(space + 1)];
    });
}

const APART = "ip link set lo up; mount --bind $0 $0; " +
  'mount -o remount,bind,ro $0; exec "$@"';
const apart = await runProgram([
  ...["unshare", "-rnm", "sh", "-c", APART, ROOT, "true"],
]).then(({ code, err }) => code === 0 ? undefined : err, String);
if (apart) console.log(`no read-only folder for the container's: ${apart}`);

// The image itself is not built here: there is no builder, and no registry to take its base from.
describe("deploy/Containerfile", () => {
  it("ends as a user that is not root, and copies what is there", async () => {
    const steps = stepsOf(
      await Deno.readTextFile(`${ROOT}/deploy/Containerfile`),
    );
    const last = (name: string) =>
      steps.findLast(([other]) => other === name)?.[1] ?? "";
    assertEquals(last("USER"), "65532:65532");
    assertEquals(last("ENTRYPOINT"), '["/usr/local/bin/sluice"]');
    assertEquals(steps.filter(([name]) => name === "FROM").length, 2);
    const module = last("ARG").replace("MODULE=", "");
    assertEquals((await Deno.stat(`${ROOT}/${module}`)).isFile, true);
    const version = (await Deno.readTextFile(`${ROOT}/.ci/run`))
      .match(/DENO_VERSION=(\S+)/)![1];
    const deno = steps.find(([, rest]) => rest.includes("denoland/deno"))![1];
    assertStringIncludes(deno, `deno:bin-${version} /deno `);
  });

  (apart ? it.skip : it)(
    "its steps make a gateway that answers where nothing can be written",
    async () => {
      await using root = await folderOf({});
      const steps = stepsOf(
        await Deno.readTextFile(`${ROOT}/deploy/Containerfile`),
      );
      const runs = steps.filter(([name]) => name === "RUN")
        .map(([, rest]) => rest).filter((rest) => !rest.includes("apt-get"));
      assertEquals(runs.length, 2);
      for (const run of runs) {
        const here = run.replaceAll("/out/", `${root.path}/out/`)
          .replace("deno task", `${Deno.execPath()} task`)
          .replace("$MODULE", "deploy/gateway.example.ts");
        await capture(["sh", "-c", here], {
          cwd: ROOT,
          env: { INIT_CWD: ROOT },
        });
      }
      const out = `${root.path}/out`;
      const script = `${out}/sluice & p=$!
curl -s --retry 50 --retry-delay 0 --retry-connrefused --max-time 10 http://127.0.0.1:8080/healthz
kill $p; wait $p`;
      const { code, out: said, err } = await runProgram([
        ...["unshare", "-rnm", "sh", "-c", APART, out],
        ...["env", "-i", `PATH=${Deno.env.get("PATH")}`],
        ...[`SLUICE_CACHE=${out}/cache`, "PORT=8080", "sh", "-c", script],
      ]);
      assertEquals([code, said], [0, "ok"], err);
    },
  );
});
