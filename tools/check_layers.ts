// Who may import whom, in C and in TypeScript, proved by reading the sources. A file that this table does not know is a violation, too:
// whoever adds one decides where it belongs.

import { filesUnder, ROOT } from "./support.ts";

/** From the lowest to the highest; a file includes headers of its own layer and lower ones only. */
const LAYERS = ["base", "io", "tls", "http", "proxy", "api"] as const;
type Layer = (typeof LAYERS)[number];

// One noun is one .c/.h pair. What lies in native/include is data and prototypes only: any layer may include it.
const LAYER_OF_FILE: Record<Layer, string> = {
  base:
    "address_set base buf clients concurrency cpus handoff log log_format notify port_holder probes random rate_limit region secret slab status timer text hash limit metrics",
  io:
    "epoll io io_internal kernel_tls sim sim_epoll sim_internal sim_uring sys uring uring_abi",
  tls:
    "tls tls_boringssl tls_certificate tls_compression tls_ocsp tls_sni client_auth ticket ticket_set ticket_vault stek",
  http:
    "client_ip http1_auth http1_chunk http1_cookie http1_edit http1_parse http1_parse_avx2 http1_parse_internal http1_parse_scalar http1_parse_simd http1_parse_sse42 http1_write inq outq websocket",
  proxy:
    "body_limit certificates client_hello conn cors early_data exchange gateway inherited ip_restriction listener method_not_allowed plan policy proxy request request_id resumption route route_index tls_failure tunnel upstream worker" +
    " policy_auth policy_canary policy_concurrency policy_key policy_rate_limit policy_timeout",
  api: "abi sluice",
};

// What only some files may say, as a pattern in the text, comments apart.
const C_RULES: {
  only: (name: string, layer: Layer) => boolean;
  pattern: RegExp;
  why: string;
}[] = [
  {
    only: (_, layer) => layer === "tls",
    pattern: /#include <openssl\//,
    why: "only the tls layer sees BoringSSL",
  },
  {
    only: (name) => /^(uring|sys|sim)/.test(name),
    pattern: /\bio_uring_sqe\b|"uring_abi\.h"/,
    why: "only uring.c and the simulated kernel see an SQE",
  },
  {
    only: (name) => !/^(io|uring|epoll|conn|upstream|worker)$/.test(name),
    pattern:
      /(?<![\w>.])(syscall|socket|socketpair|bind|listen|connect|accept4?|recv(msg)?|send(msg)?|shutdown|getsockname|getpeername|[gs]etsockopt|close|read|write|eventfd|epoll_(create1|ctl|p?wait)|mmap|munmap|clock_gettime)\s*\((?!CLOCK_REALTIME)/,
    why:
      "only sys.c asks the operating system: through struct sl_sys, or io.h above",
  },
  {
    only: (_, layer) => layer !== "base",
    pattern: /\b(clock_gettime|gettimeofday|timespec_get|time)\s*\(/,
    why: "base never reads the clock: time is an argument",
  },
  {
    only: (name) => !/^http1_(auth|parse|chunk|cookie|edit)/.test(name),
    pattern: /\b(malloc|calloc|realloc|free|sl_buf_(take|ref|unref))\s*\(/,
    why: "parsers own nothing",
  },
];
// The log's thread waits with a timeout, which is a point in time.
const READS_THE_CLOCK = new Set(["log", "log_format"]);

// Files of gateway/ that may touch ffi/; ffi/abi.ts is constants, and anyone's.
const TOUCH_FFI =
  /^gateway\/(gateway|isolate|dispatcher|request|response|websocket|telemetry\/metrics)\.ts$/;
const BESIDE = /_(test|bench)\.tsx?$/;

export interface Violation {
  file: string;
  line: number;
  text: string;
}

export type Sources = Record<string, string>;

/** All violations in a set of sources, given by their path in the repository. */
export function findViolations(sources: Sources): Violation[] {
  return Object.entries(sources).flatMap(([file, text]) => {
    if (/^native\/src\/.*\.[ch]$/.test(file)) return checkC(file, text);
    if (/^native\/include\/.*\.h$/.test(file)) {
      return checkPublicHeader(file, text);
    }
    if (/\.tsx?$/.test(file)) return checkTypeScript(file, text);
    if (file === "ffi/src/lib.rs") return checkRust(file, text);
    return [];
  });
}

function layerOf(name: string): Layer | undefined {
  return LAYERS.find((layer) => LAYER_OF_FILE[layer].split(" ").includes(name));
}

function checkC(file: string, source: string): Violation[] {
  const text = withoutComments(source);
  const name = file.replace(/^.*\/|\.[ch]$/g, "");
  const layer = layerOf(name);
  if (!layer) {
    return [
      at(
        file,
        text,
        0,
        `"${name}" has no layer: add it to LAYER_OF_FILE in tools/check_layers.ts`,
      ),
    ];
  }
  const found: Violation[] = [];
  for (const match of text.matchAll(/^\s*#include "([^"]+)"/gm)) {
    if (match[1].startsWith("sluice/")) continue;
    const included = layerOf(match[1].replace(/\.h$/, ""));
    if (!included) {
      found.push(
        at(
          file,
          text,
          match.index,
          `includes "${match[1]}", which has no layer`,
        ),
      );
    } else if (LAYERS.indexOf(included) > LAYERS.indexOf(layer)) {
      found.push(
        at(
          file,
          text,
          match.index,
          `${layer} includes "${match[1]}" of ${included}, a higher layer`,
        ),
      );
    }
  }
  for (const { only, pattern, why } of C_RULES) {
    const clock = why.includes("clock") && READS_THE_CLOCK.has(name);
    const match = only(name, layer) || clock ? null : text.match(pattern);
    if (match) {
      found.push(at(file, text, match.index!, `${match[0].trim()}: ${why}`));
    }
  }
  return found;
}

function checkPublicHeader(file: string, source: string): Violation[] {
  const text = withoutComments(source);
  return [...text.matchAll(/^\s*#include "(?!sluice\/)([^"]+)"/gm)].map((
    match,
  ) =>
    at(
      file,
      text,
      match.index,
      `a public header includes "${match[1]}" of native/src`,
    )
  );
}

function checkRust(file: string, source: string): Violation[] {
  const text = withoutComments(source);
  const match = text.match(
    /\bstatic\b|\bthread_local!|\b(Mutex|RwLock|OnceLock|Atomic\w+)\b/,
  );
  return match
    ? [
      at(
        file,
        text,
        match.index!,
        `${match[0]}: ffi/src/lib.rs forwards and holds no state`,
      ),
    ]
    : [];
}

function checkTypeScript(file: string, source: string): Violation[] {
  if (OWN.test(file)) return [];
  const text = withoutComments(source);
  const found: Violation[] = [];
  const pointer = text.indexOf("Deno.UnsafePointer");
  if (pointer >= 0) {
    found.push(
      at(
        file,
        text,
        pointer,
        "Deno.UnsafePointer: ring memory crosses as buffers",
      ),
    );
  }
  for (const match of text.matchAll(IMPORT)) {
    const target = resolveImport(file, match[1] ?? match[2]);
    const why = target && whyNot(file, target);
    if (why) {
      found.push(at(file, text, match.index, `imports ${target}: ${why}`));
    }
  }
  return found;
}

// These two quote what they forbid.
const OWN = /^tools\/check_layers(_test)?\.ts$/;
const IMPORT =
  /\b(?:import|export)\b[^;'"`]*?\bfrom\s*["']([^"']+)["']|\bimport\s*\(?\s*["']([^"']+)["']/g;

// Our file that an import means, or undefined if it is none of ours.
function resolveImport(file: string, specifier: string): string | undefined {
  if (specifier === "sluice") return "mod.ts";
  if (!specifier.startsWith(".")) return undefined;
  return new URL(specifier, `file:///${file}`).pathname.slice(1);
}

// The rules of house.md, "Who may import whom"; the first that forbids an import gives its reason.
function whyNot(file: string, target: string): string | undefined {
  if (target === "ffi/bindings/mod.ts" && file !== "ffi/mod.ts") {
    return "only ffi/mod.ts imports the binding";
  }
  const [from, to] = [topOf(file), topOf(target)];
  const beside = BESIDE.test(file);
  if (from === "mod.ts") {
    return ["gateway/mod.ts", "tls/mod.ts"].includes(target)
      ? undefined
      : "mod.ts imports gateway/mod.ts and tls/mod.ts only";
  }
  if (["examples", "bench", "tests"].includes(from)) {
    return to === from || target === "mod.ts"
      ? undefined
      : `${from}/ imports mod.ts, as users do`;
  }
  if (from === "tls" && to !== "tls") return "tls/ imports nothing of ours";
  if (from === "ffi" && to !== "ffi" && !beside) {
    return "ffi/ knows nothing above it";
  }
  if (from === "tools" && to !== "tools" && !beside) {
    return "tools are run, and import tools only";
  }
  return from === "gateway" ? whyNotGateway(file, target, beside) : undefined;
}

function whyNotGateway(
  file: string,
  target: string,
  beside: boolean,
): string | undefined {
  const to = topOf(target);
  if (to === "tls") {
    return target === "tls/mod.ts" || beside
      ? undefined
      : "gateway/ imports tls/mod.ts only";
  }
  if (to === "ffi") {
    if (target === "ffi/abi.ts" || beside) return undefined;
    if (!["ffi/mod.ts", "ffi/ring.ts"].includes(target)) {
      return "gateway/ imports ffi/mod.ts, ring.ts and abi.ts only";
    }
    return TOUCH_FFI.test(file)
      ? undefined
      : "only the files named in house.md touch ffi/";
  }
  if (to !== "gateway") {
    return "gateway/ imports gateway/, tls/mod.ts and ffi/mod.ts only";
  }
  const middleware = /^gateway\/middleware\//; // their tests put several in one chain
  return middleware.test(file) && middleware.test(target) && !beside
    ? "a middleware never imports another"
    : undefined;
}

function topOf(path: string): string {
  return path.split("/")[0];
}

// Comments become blanks, so that line numbers stay.
function withoutComments(text: string): string {
  return text.replace(
    /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\/[^\n]*|\/\*[^]*?\*\//g,
    (all, literal) => literal ?? all.replace(/[^\n]/g, " "),
  );
}

function at(
  file: string,
  text: string,
  index: number,
  what: string,
): Violation {
  return { file, line: text.slice(0, index).split("\n").length, text: what };
}

/** The sources that the rules are about. */
export async function readSources(): Promise<Sources> {
  const paths = await filesUnder(
    "",
    (path) =>
      /^native\/(src|include)\/.*\.[ch]$/.test(path) ||
      path === "ffi/src/lib.rs" ||
      /^(mod\.ts|(gateway|tls|ffi|tests|bench|examples|tools)\/.*\.tsx?)$/.test(
        path,
      ),
  );
  return Object.fromEntries(
    await Promise.all(
      paths.map(async (
        path,
      ) => [path, await Deno.readTextFile(`${ROOT}/${path}`)]),
    ),
  );
}

if (import.meta.main) {
  const violations = findViolations(await readSources());
  for (const { file, line, text } of violations) {
    console.error(`${file}:${line}: ${text}`);
  }
  Deno.exit(violations.length ? 1 : 0);
}
