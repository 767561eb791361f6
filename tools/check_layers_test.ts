import { assertEquals, assertStringIncludes } from "@std/assert";
import { findViolations } from "./check_layers.ts";

// [file, text, part of the complaint]
const BAD: [string, string, string][] = [
  ["native/src/timer.c", '#include "io.h"', "a higher layer"],
  ["native/src/http1_parse.h", '#include "conn.h"', "a higher layer"],
  ["native/src/tls.c", '#include "http1_parse.h"', "a higher layer"],
  ["native/src/novelty.c", "", "has no layer"],
  ["native/src/conn.c", '#include "novelty.h"', "which has no layer"],
  ["native/src/conn.c", "#include <openssl/ssl.h>", "BoringSSL"],
  ["native/src/epoll.c", '#include "uring_abi.h"', "SQE"],
  ["native/src/uring.c", "n = recv(fd, data, len, 0);", "sys.c"],
  ["native/src/conn.c", "close(fd);", "sys.c"],
  ["native/src/timer.c", "x = clock_gettime(0, &t);", "time is an argument"],
  ["native/src/http1_parse.c", "p = malloc(3);", "parsers own nothing"],
  ["native/include/sluice/sluice.h", '#include "base.h"', "public header"],
  ["ffi/src/lib.rs", "static COUNT: u32 = 0;", "no state"],
  ["gateway/plan.ts", 'import { x } from "../ffi/mod.ts";', "touch ffi/"],
  [
    "gateway/gateway.ts",
    'import { x } from "../ffi/bindings/mod.ts";',
    "binding",
  ],
  [
    "gateway/plan.ts",
    'import { x } from "../tls/policy.ts";',
    "tls/mod.ts only",
  ],
  ["gateway/plan.ts", 'import { x } from "../tools/support.ts";', "gateway/"],
  ["gateway/middleware/a.ts", 'import { b } from "./b.ts";', "another"],
  ["gateway/plan.ts", 'const x = await import("../ffi/mod.ts");', "touch ffi/"],
  ["gateway/plan.ts", 'export {\n  x,\n} from "../ffi/mod.ts";', "touch ffi/"],
  [
    "tls/policy.ts",
    'import { x } from "../gateway/mod.ts";',
    "nothing of ours",
  ],
  ["ffi/mod.ts", 'import { x } from "../gateway/mod.ts";', "above it"],
  ["mod.ts", 'export { x } from "./gateway/plan.ts";', "only"],
  ["examples/a.ts", 'import { x } from "../gateway/mod.ts";', "as users do"],
  ["tests/a_test.ts", 'import { x } from "../ffi/mod.ts";', "as users do"],
  ["gateway/ring.ts", "Deno." + "UnsafePointerView", "buffers"],
];

for (const [file, text, complaint] of BAD) {
  Deno.test(`findViolations() refuses ${text || "an unknown file"} in ${file}`, () => {
    const violations = findViolations({ [file]: `\n${text}\n` });
    assertEquals(violations.length, 1);
    assertEquals(violations[0].file, file);
    assertStringIncludes(violations[0].text, complaint);
  });
}

Deno.test("findViolations() takes what the house allows", () => {
  assertEquals(
    findViolations({
      "native/src/conn.c":
        '#include "http1_parse.h"\n#include "sluice/sluice.h"',
      "native/src/tls.c": "#include <openssl/ssl.h>",
      "native/src/timer.c": "// clock_gettime() is the caller's",
      "gateway/gateway.ts": 'import { x } from "../ffi/mod.ts";',
      "gateway/plan_blob.ts": 'import { x } from "../ffi/abi.ts";',
      "gateway/plan_test.ts": 'import { x } from "../ffi/mod.ts";',
      "gateway/middleware/a_test.ts":
        'import { a } from "./a.ts";\nimport { b } from "./b.ts";',
      "examples/a.ts":
        'import { x } from "sluice";\nimport { y } from "../mod.ts";',
      "tests/a_test.ts": 'import { x } from "./support.ts";',
    }),
    [],
  );
});
