// Brotli and zlib in one archive, built once per user, versions, flags and compiler (tools/pinned.ts). The data plane compresses certificates with
// them (native/src/tls_compression.c); of what decompresses, which its tests use, the linker takes nothing into a product.

import { cmake, type Pinned, pinned } from "./pinned.ts";
import { capture, ROOT } from "./support.ts";

const PROJECT = `${ROOT}/native/deps`;
const FLAGS = [
  "-DCMAKE_BUILD_TYPE=Release",
  "-DCMAKE_POSITION_INDEPENDENT_CODE=ON",
  "-DCMAKE_C_FLAGS_RELEASE=-O2 -DNDEBUG -g0 -ffunction-sections -fdata-sections",
];

const COMPRESSION: Pinned = {
  title: "brotli and zlib",
  crates: ["brotlic-sys", "libz-sys"],
  name: "compression",
  flags: FLAGS,
  archive: "libcompression.a",
  async make([brotliCrate, zlibCrate], { build, out }, compiler, log) {
    const brotli = `${brotliCrate}/brotli/c`;
    const zlib = `${zlibCrate}/src/zlib`;
    log(`building with ${compiler.c}, once for this user (some seconds)`);
    const folders = [`-DBROTLI_DIR=${brotli}`, `-DZLIB_DIR=${zlib}`];
    await cmake(PROJECT, build, compiler, [...FLAGS, ...folders], [
      "compression",
    ]);
    await capture(["cp", "-r", `${brotli}/include`, `${out}/include`]);
    for (const name of ["zlib.h", "zconf.h"]) {
      await Deno.copyFile(`${zlib}/${name}`, `${out}/include/${name}`);
    }
    await Deno.copyFile(`${zlib}/LICENSE`, `${out}/LICENSE.zlib`);
    const archive = "libcompression.a";
    await Deno.rename(`${build}/${archive}`, `${out}/lib/${archive}`);
  },
};

/** The folder with include/ and lib/libcompression.a, built if it is not there yet. */
export async function compression(
  log: (line: string) => void,
): Promise<string> {
  const project = await Deno.readTextFile(`${PROJECT}/CMakeLists.txt`);
  const flags = [...COMPRESSION.flags, project];
  return await pinned({ ...COMPRESSION, flags }, log);
}
