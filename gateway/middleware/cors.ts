/**
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { cors as honoCors } from "hono/cors";
import {
  type CorsStep,
  defineMiddleware,
  type HeadersStep,
} from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkKeys, type HeaderEdit } from "../header_edits.ts";
import { isFieldName, isFieldValue } from "../header_fields.ts";

/** Which origins may read answers: the options of Hono's own `cors`. */
export type CorsOptions = NonNullable<Parameters<typeof honoCors>[0]>;

const KEYS = [
  "origin",
  "allowMethods",
  "allowHeaders",
  "maxAge",
  "credentials",
  "exposeHeaders",
];
const METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "QUERY"];
const LINES_MAX = 4000; // of a preflight's answer and of one origin, each

/**
 * Lets pages of other origins read the answers (CORS, Fetch standard section 3.3), as Hono's own `cors` does, with the same options and defaults:
 * all origins may, with the methods `GET`, `HEAD`, `PUT`, `POST`, `DELETE`, `PATCH` and `QUERY`. Every `OPTIONS` request is answered 204 here.
 * Answers that depend on `Origin` say so in `Vary`. Native, preflights too; but functions as `origin` and `allowMethods` need TypeScript.
 *
 * @example Two sites, with cookies
 * ```ts
 * import { Hono } from "hono";
 * import { cors, proxy } from "sluice";
 *
 * const app = new Hono();
 * app.use("/api/*", cors({
 *   origin: ["https://example.org", "https://admin.example.org"],
 *   credentials: true,
 *   maxAge: 600,
 * }));
 * app.all("/api/*", proxy("http://127.0.0.1:3000"));
 * ```
 */
export function cors(options: CorsOptions = {}): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, KEYS, "cors()", problems);
  const step = stepOf(options, problems);
  if (problems.length > 0) throw new OptionsError(problems);
  return defineMiddleware({
    name: "cors",
    native: step,
    typescript: "its origin or allowMethods is a function",
    handler: honoCors(options),
  });
}

// Undefined: it depends on code.
function stepOf(
  options: CorsOptions,
  problems: OptionProblem[],
): CorsStep | undefined {
  const { origin = "*", maxAge, credentials } = options;
  const list = (
    key: "allowMethods" | "allowHeaders" | "exposeHeaders",
    given: unknown,
  ) => checkList(given ?? [], `cors() ${key}`, problems);
  const methods = typeof options.allowMethods === "function"
    ? undefined
    : list("allowMethods", options.allowMethods ?? METHODS);
  const allowed = list("allowHeaders", options.allowHeaders);
  const exposed = list("exposeHeaders", options.exposeHeaders);
  if (maxAge != null && !(Number.isInteger(maxAge) && maxAge >= -1)) {
    const reason = "must be an integer of seconds, or -1";
    problems.push({ path: "cors() maxAge", value: maxAge, reason });
  }
  const origins = typeof origin === "function"
    ? undefined
    : checkOrigins(origin, problems);
  if (methods === undefined || origins === undefined) return undefined;
  const any = origin === "*";
  const common: HeaderEdit[] = [
    ...credentials ? [set("access-control-allow-credentials", "true")] : [],
    ...exposed.length > 0
      ? [set("access-control-expose-headers", exposed.join(","))]
      : [],
    ...any ? [] : [
      {
        kind: "append",
        name: "vary",
        value: "Origin",
      } as const,
    ],
  ];
  const edits = (value?: string): HeadersStep => ({
    op: "headers",
    request: [],
    response: value === undefined
      ? common
      : [set("access-control-allow-origin", value), ...common],
  });
  const preflight: [string, string][] = [];
  const add = (name: string, value: string) => preflight.push([name, value]);
  if (maxAge != null) add("access-control-max-age", String(maxAge));
  if (methods.length > 0) {
    add("access-control-allow-methods", methods.join(","));
  }
  if (allowed.length > 0) {
    add("access-control-allow-headers", allowed.join(","));
    const vary = [...any ? [] : ["Origin"], "Access-Control-Request-Headers"];
    add("vary", vary.join(", "));
  }
  checkSize([methods, allowed], "allowMethods and allowHeaders", problems);
  checkSize([exposed, origins], "exposeHeaders and origin", problems, true);
  return {
    op: "cors",
    headers: [edits(any ? "*" : undefined), ...origins.map(edits)],
    origins,
    preflight,
    varies: !any,
    reflects: allowed.length === 0,
  };
}

function set(name: string, value: string): HeaderEdit {
  return { kind: "set", name, value };
}

function checkList(
  given: unknown,
  path: string,
  problems: OptionProblem[],
): string[] {
  if (!Array.isArray(given)) {
    problems.push({ path, value: given, reason: "must be a list of names" });
    return [];
  }
  for (const [i, each] of given.entries()) {
    if (typeof each === "string" && isFieldName(each)) continue;
    const reason = "must be a name, without blanks and commas";
    problems.push({ path: `${path}[${i}]`, value: each, reason });
  }
  return given;
}

// "*" is in no list: a list's origin is compared.
function checkOrigins(given: unknown, problems: OptionProblem[]): string[] {
  if (given === "*") return [];
  const list: unknown[] = Array.isArray(given) ? given : [given];
  for (const [i, each] of list.entries()) {
    const good = typeof each === "string" && each !== "" &&
      isFieldValue(each) && !/\s/.test(each);
    if (good) continue;
    const path = Array.isArray(given) ? `cors() origin[${i}]` : "cors() origin";
    const reason = 'must be "*" or an origin, such as "https://example.org"';
    problems.push({ path, value: each, reason });
  }
  return [...new Set(list as string[])];
}

function checkSize(
  lists: string[][],
  what: string,
  problems: OptionProblem[],
  each = false,
): void {
  const [first, second] = lists.map((list) => {
    const sizes = list.map((item) => String(item).length + 1);
    return each && list === lists[1]
      ? Math.max(0, ...sizes)
      : sizes.reduce((sum, size) => sum + size, 0);
  });
  if (first + second <= LINES_MAX) return;
  const reason = `have too many bytes: at most ${LINES_MAX}`;
  problems.push({ path: `cors() ${what}`, value: first + second, reason });
}
