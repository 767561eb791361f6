/**
 * `deno task explain [MODULE] METHOD URL`: what a gateway does with a request, and why; without METHOD and URL, the table of all routes. It
 * compiles the module as the gateway does, and needs neither the library nor a socket.
 *
 * @module
 */
import { createDefaultApp } from "./default_app.ts";
import { OptionsError, show } from "./errors.ts";
import { explain } from "./explain.ts";
import { isGateway } from "./gateway.ts";
import { checkOptions } from "./options.ts";
import { compilePlan, resolveUpstreams } from "./plan.ts";
import { PluginRegistry } from "./plugins/registry.ts";
import { resolveHost } from "./resolve.ts";
import { routeSummary, routeTable, routeText } from "./route_table.ts";

export const USAGE = `usage: deno task explain [MODULE] [METHOD URL] [options]

What a gateway does with a request: the steps of its chain in order, where each runs and
why, its upstream and limits. Without METHOD and URL: all routes.

  --header "NAME: VALUE"   a field of the request
  --json                   as JSON
  --help`;

/** What the command line asks for. */
export interface ExplainCommand {
  /** As typed. */
  module?: string;
  request?: { method: string; url: string; headers: Headers };
  json: boolean;
  help: boolean;
}

/** Reads the words; a text is what is wrong with them. */
export function parseExplain(args: readonly string[]): ExplainCommand | string {
  const command: ExplainCommand = { json: false, help: false };
  const headers = new Headers();
  const words: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const word = args[i];
    if (word === "--json") command.json = true;
    else if (word === "--help" || word === "-h") command.help = true;
    else if (word === "--header" || word === "-H") {
      const [, name, value] = /^([^:]+):(.*)$/.exec(args[++i] ?? "") ?? [];
      if (!name) return `${word} needs "NAME: VALUE" (got ${show(args[i])})`;
      try {
        headers.append(name, value);
      } catch {
        return `${word} needs a field name and a value (got ${show(args[i])})`;
      }
    } else if (word.startsWith("-")) return `there is no option ${word}`;
    else words.push(word);
  }
  if (words.length > 3) return `${show(words[3])} is one word too many`;
  if (words.length % 2 === 1) command.module = words.shift();
  const [method, url] = words;
  if (method !== undefined) {
    if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(method)) {
      return `${show(method)} is not a method`;
    }
    command.request = { method, url, headers };
  }
  return command;
}

/** What the command prints. `module`: the URL of the module, undefined for the embedded default. */
export async function explainText(
  { request, json }: ExplainCommand,
  module: string | undefined,
): Promise<string> {
  const exported = module === undefined
    ? createDefaultApp()
    : (await import(module)).default;
  if (typeof exported?.fetch !== "function") {
    throw new TypeError(
      `its default export is neither a gateway nor an object with fetch (got ${
        show(exported)
      })`,
    );
  }
  const options = checkOptions(isGateway(exported) ? exported.options : {});
  const plugins = isGateway(exported) ? exported.plugins : new PluginRegistry();
  const app = await plugins.apply(
    isGateway(exported) ? exported.app : exported,
  );
  const plan = compilePlan(app, options);
  await resolveUpstreams(plan, resolveHost);
  await plugins.dispose();
  if (request) {
    const { method, url, headers } = request;
    const found = explain(plan, method, url, { options, headers });
    return json ? JSON.stringify(found, null, 2) : String(found);
  }
  const rows = routeTable(plan);
  if (json) return JSON.stringify(rows, null, 2);
  const lines = plan.allTypeScript === undefined
    ? [`routes: ${routeSummary(rows)}`, ...routeText(rows)]
    : [`routes: all in TypeScript, because ${plan.allTypeScript}`];
  return [...lines, ...plan.warnings.map((text) => `warning: ${text}`)]
    .join("\n");
}

if (import.meta.main) {
  const command = parseExplain(Deno.args);
  if (typeof command === "string") {
    console.error(`explain: ${command}\n${USAGE}`);
    Deno.exit(2);
  }
  try {
    // tools/explain.ts has found the file.
    const module = Deno.env.get("SLUICE_MODULE") || undefined;
    console.log(command.help ? USAGE : await explainText(command, module));
  } catch (error) {
    const name = command.module ?? "gateway.ts";
    const text = error instanceof OptionsError
      ? error.message
      : error instanceof Error
      ? error.stack ?? error.message
      : show(error);
    console.error(`explain: cannot load ${name}: ${text}`);
    Deno.exit(1);
  }
}
