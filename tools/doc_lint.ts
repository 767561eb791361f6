// `deno doc --lint` of what users import: every public symbol is documented, and names only types that can be imported.
//
// Types of package hono are the exception: users import them from there. They are listed pair by pair, so that a type of ours that has such a name
// is still found. And every symbol is shown by an example, its own or that of what takes it;
// docs_run_test.ts runs them.

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
  declarations: (Pick<Declaration, "kind" | "jsDoc"> & { def?: unknown })[];
}

const CALLED = ["function", "class", "variable"];

function examplesOf({ declarations }: Shown): string[] {
  return declarations.flatMap(({ jsDoc }) =>
    (jsDoc?.tags ?? []).filter(({ kind }) => kind === "example")
      .map(({ doc }) => doc ?? "")
  );
}

// Its members', too.
function allExamplesOf({ declarations }: Shown): string[] {
  const texts: string[] = [];
  JSON.stringify(declarations, (_, value) => {
    if (value?.kind === "example") texts.push(value.doc ?? "");
    return value;
  });
  return texts;
}

// The types of its signature, or of its own parts, as `deno doc --json` has them.
function typesOf({ declarations }: Shown): string[] {
  const json = JSON.stringify(declarations.map(({ def }) => def ?? {}));
  const refs = json.matchAll(/"(?:typeName|repr)":"([\w.]+)/g);
  return [...refs].map(([, name]) => name);
}

// Whatever has an example, what such an example names, and the types of all that.
function shownNames(symbols: Shown[]): Set<string> {
  const byName = new Map(symbols.map((symbol) => [symbol.name, symbol]));
  const shown = new Set<string>();
  const visit = (name: string) => {
    const symbol = byName.get(name);
    if (!symbol || shown.has(name)) return;
    shown.add(name);
    typesOf(symbol).forEach(visit);
  };
  for (const symbol of symbols) {
    if (examplesOf(symbol).length > 0) visit(symbol.name);
    const words = allExamplesOf(symbol).flatMap((text) => text.match(/\w+/g));
    for (const word of words) if (word) visit(word);
  }
  return shown;
}

/** What no example shows: a function, class or variable without one of its own; a type that is neither in one nor of what has one. */
export function withoutExample(
  symbols: Shown[],
  exceptions: Record<string, string>,
): string[] {
  const shown = shownNames(symbols);
  const isCalled = ({ declarations }: Shown) =>
    declarations.every(({ kind }) => CALLED.includes(kind));
  const lacking = symbols.filter((symbol) =>
    isCalled(symbol) ? examplesOf(symbol).length === 0 : !shown.has(symbol.name)
  ).map(({ name }) => name);
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
