// BoringSSL, built once per user, version, flags and compiler (tools/pinned.ts).

import { cmake, ninjaProgress, type Pinned, pinned } from "./pinned.ts";
import { capture } from "./support.ts";

const OPTIMISED = "-O2 -DNDEBUG -g0 -ffunction-sections -fdata-sections";
const FLAGS = [
  "-DCMAKE_BUILD_TYPE=Release",
  "-DCMAKE_POSITION_INDEPENDENT_CODE=ON",
  "-DBUILD_TESTING=OFF",
  `-DCMAKE_C_FLAGS_RELEASE=${OPTIMISED}`,
  `-DCMAKE_CXX_FLAGS_RELEASE=${OPTIMISED}`,
];

const BORINGSSL: Pinned = {
  title: "BoringSSL",
  crates: ["boring-sys"],
  name: "boringssl",
  flags: FLAGS,
  archive: "libssl.a",
  async make([crate], { build, out }, compiler, log) {
    const source = `${crate}/deps/boringssl`;
    log(
      `building with ${compiler.c}, once for this user (about two minutes on two cores)`,
    );
    await cmake(source, build, compiler, FLAGS, ["ssl", "crypto"], {
      onLine: ninjaProgress(log),
    });
    for (const name of ["libcrypto.a", "libssl.a"]) {
      await Deno.rename(`${build}/${name}`, `${out}/lib/${name}`);
    }
    await capture(["cp", "-r", `${source}/include`, `${out}/include`]);
    await capture(["cp", `${source}/LICENSE`, `${out}/LICENSE`]);
  },
};

/** The folder with include/ and lib/, built if it is not there yet. */
export function boringssl(log: (line: string) => void): Promise<string> {
  return pinned(BORINGSSL, log);
}
