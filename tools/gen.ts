// Writes what is generated from the C headers, the Rust annotations and public types, and is checked in:
//   ffi/abi.ts            constants, offsets and tables, by compiling a small C program against native/include
//   ffi/bindings/mod.ts   the binding, by running ffi's second binary (made by `deno task build`)
//   docs/reference        by reference.ts, from those and from the comments of what users import
//
//   deno task gen           writes them
//   deno task gen --check   fails if one of them is not current

import { reference } from "./reference.ts";
import { capture, CARGO_DIR, exists, ROOT } from "./support.ts";

export interface Generated {
  path: string;
  text: string;
}

const HEADERS = [
  "sluice/sluice.h",
  "sluice/counters.h",
  "sluice/tls_reason.h",
];

/** The text of `ffi/abi.ts` as the C headers want it. */
export async function abi(): Promise<Generated> {
  const names = await constantNames();
  const rows = (await runC(program(names))).trimEnd().split("\n").map((line) =>
    line.split("\t")
  );
  return { path: "ffi/abi.ts", text: render(rows) };
}

/** The text of `ffi/bindings/mod.ts` as the library's annotations want it. Needs the built `bindgen`. */
export async function bindings(): Promise<Generated> {
  const out = await Deno.makeTempFile({ prefix: "sluice-bindings-" });
  try {
    await capture([`${CARGO_DIR}/release/bindgen`, out]);
    return { path: "ffi/bindings/mod.ts", text: await Deno.readTextFile(out) };
  } finally {
    await Deno.remove(out);
  }
}

/** Whether the program that makes the bindings is there. */
export async function canBind(): Promise<boolean> {
  return await exists(`${CARGO_DIR}/release/bindgen`);
}

/** All that is generated, one after the other: what is written from one may be read for the next. */
export async function* generated(
  withBindings = true,
): AsyncGenerator<Generated> {
  yield await abi();
  if (withBindings) yield await bindings();
  yield* await reference();
}

/** What to say of a file that is not current. */
export function staleText({ path }: Generated): string {
  return `${path} is not current: run \`deno task gen\` and commit it`;
}

/** Whether the file in the repository is the generated text. */
export async function isCurrent({ path, text }: Generated): Promise<boolean> {
  try {
    return await Deno.readTextFile(`${ROOT}/${path}`) === text;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Writes the file if it differs; answers whether it did. */
export async function write(file: Generated): Promise<boolean> {
  if (await isCurrent(file)) return false;
  const path = `${ROOT}/${file.path}`;
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.writeTextFile(`${path}.tmp`, file.text);
  await Deno.rename(`${path}.tmp`, path);
  return true;
}

// Names of our macros and enumerators, in the order of the headers. The preprocessor has expanded the X-macros, so the tables' rows are
// enumerators like any other; their values come from the compiler, not from here.
async function constantNames(): Promise<string[]> {
  const source = HEADERS.map((header) => `#include "${header}"\n`).join("");
  const text = await capture([
    "cc",
    "-std=gnu11",
    "-E",
    "-dD",
    "-P",
    `-I${ROOT}/native/include`,
    "-xc",
    "-",
  ], { input: source });
  const names: string[] = [];
  for (
    const match of text.matchAll(
      /^#define (SL_\w+) (\S.*)$|\benum (?:sl_\w+ )?\{([^}]*)\}/gm,
    )
  ) {
    const [, macro, value, body] = match;
    if (macro && /^("|\(?-?\d|SL_)/.test(value)) names.push(macro);
    if (body) {
      names.push(
        ...[...body.matchAll(/\b(SL_\w+)\s*(?:=|,|$)/g)].map((row) => row[1]),
      );
    }
  }
  return names.filter((name) =>
    !/_(H|MAP|ENUM)$/.test(name) || name.startsWith("SL_H_")
  );
}

// A program that prints one row per fact, tab separated.
function program(names: string[]): string {
  return `
${HEADERS.map((header) => `#include "${header}"`).join("\n")}
#include "abi.h"
#include <stdio.h>
#define PRINT(name) _Generic((name), char *: print_text, default: print_number)(#name, (uintptr_t)(name));
static void print_text(const char *name, uintptr_t v) { printf("const\\t%s\\t\\"%s\\"\\n", name, (const char *)v); }
static void print_number(const char *name, uintptr_t v) { printf("const\\t%s\\t%lld\\n", name, (long long)(intptr_t)v); }
#define SIZE(s) printf("struct\\t%s\\t%zu\\n", #s, sizeof(struct sl_##s));
#define FIELD(s, f) printf("field\\t%s\\t%s\\t%zu\\t%zu\\n", #s, #f, offsetof(struct sl_##s, f), sizeof(((struct sl_##s *)0)->f));
#define STATUS(name, value, label, source, retry, http, text) \\
    printf("status\\t%d\\t%s\\t%s\\t%s\\t%d\\t%d\\t%s\\n", value, #name, label, #source, retry, http, text);
#define METHOD(name, value) printf("method\\t%d\\t%s\\n", value, #name);
#define HEADER(name, value, text) printf("header\\t%d\\t%s\\n", value, text);
#define COUNTER(name, text) printf("counter\\t%s\\t%s\\n", #name, text);
#define TLS_REASON(name, label, text) printf("tls_reason\\t%s\\n", label);
int main(void) {
    ${names.map((name) => `PRINT(${name})`).join("\n    ")}
    SL_ABI_MAP(SIZE, FIELD)
    SL_STATUS_MAP(STATUS)
    SL_METHOD_MAP(METHOD)
    SL_HEADER_MAP(HEADER)
    SL_COUNTER_MAP(COUNTER)
    SL_TLS_REASON_MAP(TLS_REASON)
}
`;
}

async function runC(source: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "sluice-gen-" });
  try {
    const include = [`-I${ROOT}/native/include`, `-I${ROOT}/native/src`];
    await capture([
      "cc",
      "-std=gnu11",
      "-w",
      ...include,
      "-xc",
      "-",
      "-o",
      `${folder}/gen`,
    ], { input: source });
    return await capture([`${folder}/gen`]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function render(rows: string[][]): string {
  const of = (kind: string) =>
    rows.filter((row) => row[0] === kind).map((row) => row.slice(1));
  const layout = structs(of("struct"), of("field"));
  const parts = [
    "// Generated from native/include/sluice by tools/gen.ts (`deno task gen`). Do not edit.\n" +
    "// Constants keep their C names. SL_<STRUCT>_BYTES is sizeof, SL_<STRUCT>_<FIELD>_OFF is offsetof.\n",
    of("const").map(([name, value]) => `export const ${name} = ${value};\n`)
      .join(""),
    layout.map(([name, value]) => `export const ${name} = ${value};\n`).join(
      "",
    ),
    "/** What sl_abi of the library must report, word by word. */\n" +
    table(
      "ABI",
      "readonly (readonly [name: string, value: number])[]",
      layout.map(([name, value]) => `["${name}", ${value}]`),
    ),
    STATUS_ROW +
    table("STATUS", "readonly StatusRow[]", of("status").map(statusRow)),
    "/** Names of methods by number; 0 is any other. */\n" +
    byNumber("METHODS", of("method")),
    "/** Names of known header fields by number; 0 is any other. */\n" +
    byNumber("HEADERS", of("header")),
    "/** Why TLS handshakes fail, by number. */\n" +
    table(
      "TLS_REASONS",
      "readonly string[]",
      of("tls_reason").map(([label]) => JSON.stringify(label)),
    ),
    "/** Counters in the order of sl_gateway_stats, and what each counts. */\n" +
    `export const COUNTERS = [\n${
      of("counter").map(([name, text]) =>
        `  [${JSON.stringify(name)}, ${JSON.stringify(text)}],\n`
      ).join("")
    }] as const;\n` +
    "export type CounterName = (typeof COUNTERS)[number][0];\n\n" +
    "/** The same as an object. Those with `now` tell a state, all others count since the start. */\n" +
    `export interface Counters {\n${
      of("counter").map(([name, text]) =>
        `  /** ${text[0].toUpperCase()}${
          text.slice(1)
        }. */\n  ${name}: number;\n`
      ).join("")
    }}\n`,
  ];
  return parts.join("\n");
}

const STATUS_ROW = `export interface StatusRow {
  readonly status: number;
  /** The C name without SL_. */
  readonly name: string;
  /** The word in logs and metrics. */
  readonly label: string;
  readonly source: "client" | "upstream" | "gateway";
  /** Whether sending the same request again may help. */
  readonly retry: boolean;
  /** What a client sees; 0 where nothing can be sent. */
  readonly http: number;
  readonly text: string;
}

/** Every way that something can go wrong (status.h). */
`;

function statusRow(
  [status, name, label, source, retry, http, text]: string[],
): string {
  return `{ status: ${status}, name: "${name}", label: "${label}", source: "${source.toLowerCase()}", ` +
    `retry: ${retry === "1"}, http: ${http}, text: ${JSON.stringify(text)} }`;
}

function table(name: string, type: string, rows: string[]): string {
  return `export const ${name}: ${type} = [\n${
    rows.map((row) => `  ${row},\n`).join("")
  }];\n`;
}

function byNumber(name: string, rows: string[][]): string {
  const names: string[] = [""];
  for (const [number, text] of rows) names[Number(number)] = text;
  return table(
    name,
    "readonly string[]",
    Array.from(names, (text) => JSON.stringify(text ?? "")),
  );
}

/** [constant, value] in the order of sl_abi. Fields must tile their struct: a gap is a field that abi.h forgot. */
export function structs(
  sizes: string[][],
  fields: string[][],
): [string, number][] {
  return sizes.flatMap(([name, bytes]) => {
    const rows: [string, number][] = [[
      `SL_${name.toUpperCase()}_BYTES`,
      Number(bytes),
    ]];
    let end = 0;
    for (
      const [, field, offset, size] of fields.filter((row) => row[0] === name)
    ) {
      if (Number(offset) !== end) {
        throw new Error(gap(name, field, end, Number(offset)));
      }
      rows.push([`SL_${name.toUpperCase()}_${field.toUpperCase()}_OFF`, end]);
      end += Number(size);
    }
    if (end !== Number(bytes)) {
      throw new Error(gap(name, "its end", end, Number(bytes)));
    }
    return rows;
  });
}

function gap(name: string, before: string, from: number, to: number): string {
  return `native/src/abi.h: struct sl_${name} has bytes ${from}-${to} before ${before} that no F(${name}, ...) names: ` +
    "add the missing field there, in order";
}

async function main(args: string[]): Promise<number> {
  const check = args.includes("--check");
  let stale = 0;
  for await (const file of generated()) {
    if (check && !await isCurrent(file)) {
      console.error(staleText(file));
      stale++;
    } else if (!check && await write(file)) {
      console.error(`${file.path} changed`);
    }
  }
  return stale ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
