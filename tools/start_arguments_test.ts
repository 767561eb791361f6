import { assertEquals } from "@std/assert";
import { parseArguments, permissionFlags } from "./start_arguments.ts";

const plain = (args: string[]) => {
  const { options, ...rest } = parseArguments(args);
  return { ...rest, options: Object.fromEntries(options) };
};

Deno.test("parseArguments() finds the MODULE between options and their values", () => {
  assertEquals(
    plain(["--http", "127.0.0.1:0", "--log=json", "app.ts", "--workers", "2"]),
    {
      permissions: [],
      gateway: [
        "--http",
        "127.0.0.1:0",
        "--log=json",
        "app.ts",
        "--workers",
        "2",
      ],
      module: "app.ts",
      options: { "--http": "127.0.0.1:0", "--log": "json", "--workers": "2" },
    },
  );
});

Deno.test("parseArguments() takes Deno's permission flags out, wherever they stand", () => {
  const { permissions, gateway, module } = parseArguments([
    "--allow-run=ls",
    "app.ts",
    "--deny-net=1.1.1.1",
    "--allow-sys",
  ]);
  assertEquals(permissions, [
    "--allow-run=ls",
    "--deny-net=1.1.1.1",
    "--allow-sys",
  ]);
  assertEquals([gateway, module], [["app.ts"], "app.ts"]);
});

Deno.test("parseArguments() passes a debugger's flags on, too, and nothing that only looks like one", () => {
  const { permissions, gateway } = parseArguments([
    "--inspect",
    "--inspect-brk=127.0.0.1:9229",
    "--inspector",
    "app.ts",
  ]);
  assertEquals(permissions, ["--inspect", "--inspect-brk=127.0.0.1:9229"]);
  assertEquals(gateway, ["--inspector", "app.ts"]);
});

Deno.test("parseArguments() leaves an option without its value, and an unknown one, to main.ts", () => {
  assertEquals(parseArguments(["--http"]).gateway, ["--http"]);
  const unknown = parseArguments(["--htpp", "x.ts"]);
  assertEquals([unknown.gateway, unknown.module], [["--htpp", "x.ts"], "x.ts"]);
});

Deno.test("permissionFlags() gives net, read, env, and ffi for one file; a folder to write only without --cert", () => {
  const flags = permissionFlags(
    parseArguments(["--cert", "a.pem", "--key", "b.pem"]),
    "/x.so",
  );
  assertEquals(flags, [
    "--allow-net",
    "--allow-read",
    "--allow-env",
    "--allow-ffi=/x.so",
    "--no-prompt",
  ]);
  const written = permissionFlags(parseArguments(["--allow-run"]), "/x.so")
    .slice(4);
  assertEquals(written.length, 3);
  assertEquals(/^--allow-write=\/.*\/sluice$/.test(written[0]), true);
  assertEquals(written.slice(1), ["--no-prompt", "--allow-run"]);
});
