// `deno doc --lint` of what users import: every public symbol is documented, and names only types that can be imported.
//
// Types of package hono are the exception: users import them from there. They are listed pair by pair, so that a type of ours that has such a name
// is still found. And what users call has an example, which docs_run_test.ts runs.

import { type Declaration, publicSymbols } from "./doc_symbols.ts";
import { capture, CommandError, ROOT } from "./support.ts";

/** What names which of Hono's types. */
export const HONO_TYPES: Record<string, string[]> = {
  'Balancer["pick"]': ["Context"],
  'BasicAuthOptions["verifyUser"]': ["Context"],
  'BearerAuthOptions["verifyToken"]': ["Context"],
  'BodyLimitOptions["onError"]': ["Context"],
  CorsOptions: ["cors"],
  LimitKey: ["Context"],
  Message: ["Context"],
  'MethodNotAllowedOptions["app"]': ["Hono"],
  'MethodNotAllowedOptions["onMethodNotAllowed"]': ["Context"],
  'MiddlewareDefinition["handler"]': ["Context", "Next"],
  "PartSlot.prototype.ask": ["Context"],
  'PluginParts["middleware"]': ["MiddlewareHandler"],
  'PluginRoute["handler"]': ["MiddlewareHandler"],
  'RequestIdOptions["generator"]': ["Context"],
  SecureHeadersOptions: ["secureHeaders"],
  'WebSocketOptions["origins"]': ["Context"],
  basicAuth: ["MiddlewareHandler"],
  bearerAuth: ["MiddlewareHandler"],
  bodyLimit: ["MiddlewareHandler"],
  canary: ["MiddlewareHandler"],
  concurrencyLimit: ["MiddlewareHandler"],
  cors: ["MiddlewareHandler"],
  defineMiddleware: ["MiddlewareHandler"],
  earlyData: ["MiddlewareHandler"],
  headers: ["MiddlewareHandler"],
  ipRestriction: ["MiddlewareHandler"],
  methodNotAllowed: ["MiddlewareHandler"],
  proxy: ["MiddlewareHandler"],
  rateLimit: ["MiddlewareHandler"],
  redirect: ["MiddlewareHandler"],
  requestId: ["MiddlewareHandler"],
  respond: ["MiddlewareHandler"],
  secureHeaders: ["MiddlewareHandler"],
  timeout: ["Context", "MiddlewareHandler"],
  upgradeWebSocket: ["UpgradeWebSocket"],
  whoami: ["MiddlewareHandler"],
};

const ERROR = /^error\[([a-z-]+)\]: (.*)\n\s*--> (.*)$/gm;
const PAIR = /^public type '(.*)' references private type '(.*)'$/;
const TOTAL = /^error: Found (\d+) documentation lint errors?\.$/m;

/** What a lint found that the list does not have, and what the list has that it did not find. */
export function judgeLint(
  output: string,
  allowed: Record<string, string[]>,
): string[] {
  const complaints: string[] = [];
  const stale = new Set(
    Object.entries(allowed).flatMap(([symbol, types]) =>
      types.map((type) => pairText(symbol, type))
    ),
  );
  let count = 0;
  for (const [, rule, text, place] of output.matchAll(ERROR)) {
    count++;
    const pair = rule === "private-type-ref" ? text.match(PAIR) : null;
    const known = pair && allowed[pair[1]]?.includes(pair[2]);
    if (known) stale.delete(pairText(pair[1], pair[2]));
    else complaints.push(`${place.replace(`${ROOT}/`, "")}: ${rule}: ${text}`);
  }
  for (const pair of stale) {
    complaints.push(`HONO_TYPES has ${pair}, which is not there any more`);
  }
  // Else something was said that is not read here.
  const total = Number(output.match(TOTAL)?.[1] ?? 0);
  if (total !== count) {
    complaints.push(`${total} errors, of which ${count} are readable`);
  }
  return complaints;
}

function pairText(symbol: string, type: string): string {
  return `${symbol} -> ${type}`;
}

/** What needs no example of its own, and why. */
export const NO_EXAMPLE: Record<string, string> = {
  PartSlot: "exported as a type: Sluice makes them",
};

interface Shown {
  name: string;
  declarations: Pick<Declaration, "kind" | "jsDoc">[];
}

/** Functions, classes and variables whose documentation shows no use; types are shown by what takes them. */
export function withoutExample(
  symbols: Shown[],
  exceptions: Record<string, string>,
): string[] {
  const isShown = ({ declarations }: Shown) =>
    declarations.some(({ kind, jsDoc }) =>
      !["function", "class", "variable"].includes(kind) ||
      jsDoc?.tags?.some((tag) => tag.kind === "example")
    );
  const lacking = symbols.filter((symbol) => !isShown(symbol))
    .map(({ name }) => name);
  return [
    ...lacking.filter((name) => !(name in exceptions))
      .map((name) => `${name} has no @example`),
    ...Object.keys(exceptions).filter((name) => !lacking.includes(name))
      .map((name) => `NO_EXAMPLE has ${name}, which needs no exception`),
  ];
}

/** Lints a module's documentation; returns all that Deno says. */
export async function lintDocs(file: string): Promise<string> {
  const command = [
    ...[Deno.execPath(), "doc", "--lint", "--no-config"],
    ...[`--import-map=${ROOT}/tools/std/offline.json`, file],
  ];
  try {
    return await capture(command, { cwd: ROOT, env: { NO_COLOR: "1" } });
  } catch (error) {
    // It fails for each type of Hono's. What is no lint (a module that is not found) has no total, and is not to be judged.
    if (!(error instanceof CommandError && TOTAL.test(error.output))) {
      throw error;
    }
    return error.output;
  }
}

/** What is wrong with the documentation of what users import. */
export async function undocumented(): Promise<string[]> {
  return [
    ...judgeLint(await lintDocs("mod.ts"), HONO_TYPES),
    ...withoutExample(await publicSymbols("mod.ts"), NO_EXAMPLE),
  ];
}
