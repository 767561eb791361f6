/**
 * The static probes of the built library are those that docs/internals/life_of_a_request.md lists.
 *
 * @module
 */
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { ROOT, runProgram } from "./support.ts";

const include = ["cc", "-E", "-xc", "-include", "sys/sdt.h", "/dev/null"];
const hasHeader = (await runProgram(include)).code === 0;
if (!hasHeader) console.log("no sys/sdt.h (apt-get install systemtap-sdt-dev)");

describe("static probes", () => {
  (hasHeader ? it : it.skip)(
    "are in the library as the document lists them",
    async () => {
      const page = await Deno.readTextFile(
        `${ROOT}/docs/internals/life_of_a_request.md`,
      );
      const table = page.slice(page.indexOf("| Step | Probe |"));
      const listed = table.split("\n")
        .filter((line) => /^\| \d/.test(line))
        .flatMap((line) => [...line.split("|")[2].matchAll(/`(\w+)`/g)])
        .map(([, name]) => name);
      const library = Deno.env.get("SLUICE_LIBRARY") ??
        `${ROOT}/ffi/target/cargo/release/libsluice_ffi.so`;
      const { out } = await runProgram(["readelf", "-n", "-W", library]);
      const built = [...out.matchAll(/Provider: sluice\s+Name: (\w+)/g)]
        .map(([, name]) => name);
      expect([...new Set(built)].sort()).toEqual(listed.sort());
    },
  );
});
