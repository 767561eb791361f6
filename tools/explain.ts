// `deno task explain [MODULE] [METHOD URL]`: finds the module as `deno task start gateway` does, and runs gateway/explain_command.ts so that the
// module finds its own dependencies. It builds nothing: a plan is compiled without the library.

import { pathToFileURL } from "node:url";
import { failureText } from "./build.ts";
import { moduleFlags } from "./module_map.ts";
import { explainedModule, modulePath, userFolder } from "./start_arguments.ts";
import { productFlags } from "./std.ts";
import { exists, ROOT } from "./support.ts";

async function run(args: string[]): Promise<number> {
  const permissions = args.filter((word) => /^--(allow|deny)-/.test(word));
  const words = args.filter((word) => !permissions.includes(word));
  const module = explainedModule(words);
  const path = await modulePath({ module, options: new Map() });
  if (module && path && !await exists(path)) {
    console.error(
      `explain: there is no ${module} in ${userFolder()}\nusage: deno task explain [MODULE] [METHOD URL]`,
    );
    return 1;
  }
  const temp = path ? await Deno.makeTempDir({ prefix: "sluice-" }) : undefined;
  try {
    const url = path ? pathToFileURL(path).href : module ?? "";
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        ...path && temp ? await moduleFlags(path, temp) : productFlags(),
        "--allow-net",
        "--allow-read",
        "--allow-env",
        "--no-prompt",
        ...permissions,
        `${ROOT}/gateway/explain_command.ts`,
        ...words,
      ],
      cwd: userFolder(),
      env: { INIT_CWD: userFolder(), SLUICE_MODULE: url },
    }).spawn().status;
    return code;
  } finally {
    if (temp) await Deno.remove(temp, { recursive: true });
  }
}

try {
  Deno.exit(await run(Deno.args));
} catch (error) {
  console.error(`explain: ${failureText(error)}`);
  Deno.exit(1);
}
