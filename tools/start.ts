// `deno task start gateway [MODULE] [options]`: makes sure that the library is built, then runs gateway/main.ts with the permissions it needs
// and no more. Flags that begin with --allow-, --deny- or --inspect are Deno's and passed to it; all others are main.ts's.

import { build, failureText } from "./build.ts";
import { moduleFlags } from "./module_map.ts";
import {
  modulePath,
  parseArguments,
  permissionFlags,
  userFolder,
} from "./start_arguments.ts";
import { productFlags } from "./std.ts";
import { LIBRARY, ROOT } from "./support.ts";

const SIGNALS: Deno.Signal[] = ["SIGTERM", "SIGINT", "SIGHUP"];
const SIGNAL_NUMBERS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGTERM: 15,
};

async function run(args: string[]): Promise<number> {
  const parsed = parseArguments(args);
  const asksOnly = parsed.options.has("--help") || parsed.options.has("-h") ||
    parsed.options.has("--version");
  const library = Deno.env.get("SLUICE_LIBRARY") || LIBRARY;
  if (!asksOnly && library === LIBRARY) {
    await build({ log: (line) => console.error(`build: ${line}`) });
  }
  const path = asksOnly ? undefined : await modulePath(parsed);
  const temp = path ? await Deno.makeTempDir({ prefix: "sluice-" }) : undefined;
  try {
    const flags = path && temp ? await moduleFlags(path, temp) : productFlags();
    return await runChild([
      "run",
      ...flags,
      ...permissionFlags(parsed, library),
      `${ROOT}/gateway/main.ts`,
      ...parsed.gateway,
    ], {
      SLUICE_WORDS: JSON.stringify(args),
      ...temp ? { SLUICE_IMPORT_MAP: `${temp}/import_map.json` } : {},
      ...parsed.permissions.some((word) => word.startsWith("--inspect"))
        ? { SLUICE_DEBUG: "1" }
        : {},
    });
  } finally {
    if (temp) await Deno.remove(temp, { recursive: true });
  }
}

// Each signal that reaches us reaches the child once; a terminal's Ctrl-C also reaches it directly, and main.ts takes both as one.
async function runChild(
  args: string[],
  env: Record<string, string>,
): Promise<number> {
  const folder = userFolder();
  const child = new Deno.Command(Deno.execPath(), {
    args,
    cwd: folder,
    env: { INIT_CWD: folder, ...env },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  const forwards = SIGNALS.map((signal) => {
    const forward = () => {
      try {
        child.kill(signal);
      } catch {
        // It has ended meanwhile.
      }
    };
    Deno.addSignalListener(signal, forward);
    return () => Deno.removeSignalListener(signal, forward);
  });
  const { code, signal } = await child.status;
  for (const stop of forwards) stop();
  return signal ? 128 + (SIGNAL_NUMBERS[signal] ?? 0) : code;
}

const USAGE =
  "usage: deno task start gateway [MODULE] [options]     (options: deno task start gateway --help)";

async function main([what, ...args]: string[]): Promise<number> {
  if (what !== "gateway") {
    console.error(
      `start: ${
        what ? `"${what}" is not something to start` : "say what to start"
      }\n${USAGE}`,
    );
    return 2;
  }
  try {
    return await run(args);
  } catch (error) {
    console.error(`start: ${failureText(error)}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
