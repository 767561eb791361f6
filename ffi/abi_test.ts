import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { ABI, COUNTERS, SL_CONFIG_BYTES, SL_SET_NEW, STATUS } from "./abi.ts";
import * as ffi from "./mod.ts";

Deno.test("abi.ts has the sizes and offsets of the running library", () => {
  const words = ffi.abiWords();
  assertEquals(words.length, ABI.length);
  for (const [index, [name, value]] of ABI.entries()) {
    assertEquals(words[index], value, name);
  }
});

Deno.test("STATUS has one row per status, each negative and named once", () => {
  for (const part of ["status", "name", "label"] as const) {
    assertEquals(new Set(STATUS.map((row) => row[part])).size, STATUS.length);
  }
  assert(STATUS.every(({ status }) => status < 0));
});

Deno.test("a negative status is thrown with its label and the native text", () => {
  const error = assertThrows(
    () => ffi.gatewayListen(9999, "127.0.0.1:0"),
    ffi.NativeError,
  );
  const row = STATUS.find(({ status }) => status === error.status);
  assertEquals(error.label, row?.label);
  assertStringIncludes(error.text, "9999");
  assertEquals(error.message, error.text);
});

Deno.test("gatewayNew() refuses a config of another size before C sees it", () => {
  assertThrows(() => ffi.gatewayNew(new Uint32Array(3)), RangeError, "12");
});

Deno.test("an empty buffer reaches C as NULL and is refused, not read", () => {
  const gateway = ffi.gatewayNew(new Uint32Array(SL_CONFIG_BYTES / 4));
  try {
    const error = assertThrows(
      () => ffi.planLoad(gateway, new Uint8Array()),
      ffi.NativeError,
    );
    assertEquals(error.label, "plan_invalid");
  } finally {
    ffi.gatewayFree(gateway);
  }
});

Deno.test("a gateway is described, counted and freed", () => {
  const config = new Uint32Array(SL_CONFIG_BYTES / 4);
  const gateway = ffi.gatewayNew(config);
  try {
    const described = ffi.gatewayDescribe(gateway);
    assertEquals(described.workers, described.workers_cpus);
    assert(/^\d+ CPUs?/.test(described.workers_reason));
    assert(Number(described.memory_bytes) > 0);
    const {
      byStatus,
      byEarlyReason,
      byTlsFailure,
      tlsMicroseconds,
      upstreams,
      ...stats
    } = ffi.gatewayStats(gateway);
    assertEquals(upstreams, {});
    assertEquals(byEarlyReason.accepted, 0);
    assertEquals(byTlsFailure, {});
    assertEquals(tlsMicroseconds.length, 16);
    assertEquals(Object.keys(stats), COUNTERS.map(([name]) => name));
    assertEquals(Object.keys(byStatus), STATUS.map(({ label }) => label));
    assert(ffi.gatewayListen(gateway, "127.0.0.1:0") > 0);
  } finally {
    ffi.gatewayFree(gateway);
  }
  assertThrows(() => ffi.gatewayState(gateway), ffi.NativeError);
});

Deno.test("certificateMake() answers a certificate and its key, which fit", () => {
  const { cert, key } = ffi.certificateMake();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert(
    /^-----BEGIN CERTIFICATE-----\n[^]*\n-----END CERTIFICATE-----\n$/.test(
      text(cert),
    ),
  );
  assert(
    /^-----BEGIN PRIVATE KEY-----\n[^]*\n-----END PRIVATE KEY-----\n$/.test(
      text(key),
    ),
  );
  const gateway = ffi.gatewayNew(new Uint32Array(SL_CONFIG_BYTES / 4));
  try {
    assertEquals(ffi.gatewayCertificate(gateway, SL_SET_NEW, cert, key, []), 0);
    const facts = ffi.certificateDescribe(cert, key);
    assertEquals([facts.key, facts.dns], ["ECDSA P-256", ["localhost"]]);
    assertEquals(facts.notAfter - facts.notBefore, 365 * 86400 + 3600);
    assert(/^[4-7][0-9A-F]{31}$/.test(facts.serial));
    const { key: other } = ffi.certificateMake();
    const none = new Uint8Array();
    assertThrows(
      () => ffi.certificateDescribe(cert, other),
      ffi.NativeError,
      "the key does not match the certificate",
    );
    assertThrows(() =>
      ffi.gatewayCertificateReplace(gateway, 0, 0, cert, other, none)
    );
    ffi.gatewayCertificateReplace(gateway, 0, 0, cert, key, none);
    assertThrows(() => ffi.ocspDescribe(cert), ffi.NativeError, "no OCSP");
  } finally {
    ffi.gatewayFree(gateway);
  }
});

Deno.test("openLibrary() names the flag that is missing, and the command that builds", async () => {
  const open = (flags: string[], env: Record<string, string>) =>
    run(
      ["run", "--no-config", "--no-lock", "--no-prompt", ...flags, "-"],
      env,
      openScript,
    );
  const refused = await open(["--allow-env"], {});
  assertStringIncludes(refused, `--allow-ffi=${ffi.libraryPath()}`);
  const absent = await open(["--allow-env", "--allow-ffi"], {
    SLUICE_LIBRARY: "/nowhere/library.so",
  });
  assertStringIncludes(absent, "/nowhere/library.so");
  assertStringIncludes(absent, "deno task build");
});

Deno.test("the library opens with --allow-ffi for its own file alone", async () => {
  const flags = [
    "--no-config",
    "--no-lock",
    "--no-prompt",
    `--allow-ffi=${ffi.libraryPath()}`,
  ];
  assertEquals(await run(["run", ...flags, "-"], {}, openScript), "opened\n");
});

Deno.test("the library stays mapped after its last user closed it", async () => {
  // Else threads that ran a BoringSSL function would end in a destructor that is no longer there.
  const script = `
    const path = ${JSON.stringify(ffi.libraryPath())};
    const symbols = { sluice_ring_bytes: { parameters: ["u32"], result: "u32" } };
    Deno.dlopen(path, symbols).close();
    console.log(Deno.readTextFileSync("/proc/self/maps").includes(path));`;
  assertEquals(
    await run(
      ["run", "--no-config", "--no-lock", "--allow-all", "-"],
      {},
      script,
    ),
    "true\n",
  );
});

Deno.test("the library shows its own functions only, nothing of BoringSSL", async () => {
  const { code, stdout } = await new Deno.Command("nm", {
    args: ["-D", "--defined-only", "--format=posix", ffi.libraryPath()],
  }).output();
  assertEquals(code, 0);
  const names = new TextDecoder().decode(stdout).trim().split("\n").map((
    line,
  ) => line.split(" ")[0]);
  const foreign = names.filter((name) =>
    !/^sluice_\w+$|^__(start|stop)_linkm[e2]_INVENTORY$/.test(name)
  );
  assertEquals(foreign, []);
  assert(names.includes("sluice_gateway_wake"));
});

const openScript = `
  import { openLibrary } from "${new URL("./mod.ts", import.meta.url)}";
  try { openLibrary(); console.log("opened"); } catch (error) { console.log(error.message); }`;

async function run(
  args: string[],
  env: Record<string, string>,
  input: string,
): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args,
    env: { ...env, NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { stdout, stderr } = await child.output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}
