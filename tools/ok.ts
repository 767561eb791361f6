// `deno task ok`: everything about the sources that can be judged without running them. Each check is one line; all run, also after a failure.

import { checkCode, checkDocs } from "./check_docs.ts";
import { findViolations, readSources } from "./check_layers.ts";
import { undocumented } from "./doc_lint.ts";
import { canBind, generated, isCurrent, staleText } from "./gen.ts";
import { testFlags } from "./std.ts";
import {
  capture,
  CommandError,
  exists,
  filesUnder,
  findProgram,
  ROOT,
} from "./support.ts";

interface Check {
  name: string;
  /** Throws, or returns why it could not judge. */
  run: () => Promise<string | void>;
}

const deno = Deno.execPath();
const config = `--config=${ROOT}/deno.json`;

const CHECKS: Check[] = [
  { name: "deno fmt", run: () => quiet([deno, "fmt", "--check", config]) },
  { name: "deno lint", run: () => quiet([deno, "lint", config]) },
  { name: "deno check", run: checkTypes },
  { name: "layers", run: checkLayers },
  { name: "documents", run: checkDocuments },
  { name: "code in documents", run: checkDocumentCode },
  { name: "documented types", run: checkDocumentation },
  { name: "generated files", run: checkGenerated },
  { name: "clang-format", run: checkFormat },
];

async function quiet(command: string[]): Promise<void> {
  await capture(command, { cwd: ROOT, env: { NO_COLOR: "1" } });
}

async function checkTypes(): Promise<string | void> {
  const { std, why, flags } = await testFlags();
  const folders = [
    "gateway",
    "tls",
    "ffi",
    "tools",
    "tests",
    "bench",
    "examples",
    "deploy",
  ];
  const files = (await exists(`${ROOT}/mod.ts`)) ? ["mod.ts"] : [];
  for (const folder of folders) {
    if (await exists(`${ROOT}/${folder}`)) {
      files.push(...await filesUnder(folder, isOurs));
    }
  }
  console.log(`deno check: @std from ${std} (${why})`);
  await quiet([deno, "check", ...flags, ...files]);
}

// Programs that others wrote are run as they are.
function isOurs(path: string): boolean {
  return /\.tsx?$/.test(path) && !path.includes("tests/hono_programs/");
}

async function checkLayers(): Promise<void> {
  const violations = findViolations(await readSources());
  const lines = violations.map(({ file, line, text }) =>
    `${file}:${line}: ${text}`
  );
  if (lines.length) throw new Error(lines.join("\n"));
}

async function checkDocuments(): Promise<void> {
  const broken = await checkDocs();
  if (broken.length) throw new Error(broken.join("\n"));
}

async function checkDocumentCode(): Promise<void> {
  const broken = await checkCode();
  if (broken.length) throw new Error(broken.join("\n"));
}

async function checkDocumentation(): Promise<void> {
  const complaints = await undocumented();
  if (complaints.length) throw new Error(complaints.join("\n"));
}

async function checkGenerated(): Promise<string | void> {
  const built = await canBind();
  const stale: string[] = [];
  for await (const file of generated(built)) {
    if (!await isCurrent(file)) stale.push(staleText(file));
  }
  if (stale.length) throw new Error(stale.join("\n"));
  if (!built) {
    return "ffi/bindings/mod.ts is not judged: run `deno task build` first";
  }
}

// Headers and tables of tests are laid out by hand, in columns; sources are not.
async function checkFormat(): Promise<string | void> {
  const program = await findProgram("clang-format-14");
  if (!program) return "no clang-format-14 (apt-get install clang-format-14)";
  const files = await filesUnder("native/src", (path) => path.endsWith(".c"));
  await quiet([program, "--dry-run", "--Werror", ...files]);
}

async function main(): Promise<number> {
  let failed = 0;
  for (const { name, run } of CHECKS) {
    try {
      const skipped = await run();
      console.log(skipped ? `skipped ${name}: ${skipped}` : `ok ${name}`);
    } catch (error) {
      failed++;
      const text = error instanceof CommandError
        ? error.output.trimEnd()
        : (error as Error).message;
      console.log(`${text}\nNOT OK ${name}`);
    }
  }
  return failed ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main());
