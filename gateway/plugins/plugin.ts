/**
 * What a plugin is: a package that adds middleware, stores or balancers to a gateway, under a name that options, errors, logs and counters know it by.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { type OptionProblem, OptionsError } from "../errors.ts";
import type { Balancer, Store } from "./parts.ts";

/** Notes one thing that is wrong with a plugin's options. */
export type NoteProblem = (
  /** Where, as a key path: `lists[0]`; empty for the options as a whole. */
  path: string,
  /** The value at hand. */
  value: unknown,
  /** Why it cannot be used, and what can: `must be a number from 1 to 10`. */
  reason: string,
) => void;

/** Any schema that follows https://standardschema.dev: those of Zod, Valibot and ArkType do. */
export interface OptionsSchema<Options> {
  /** The part of a schema that the standard names; of it only this is used. */
  readonly "~standard": {
    /** Checks a value. It must answer at once: a promise is refused as an asynchronous schema. */
    validate(value: unknown): SchemaResult<Options> | Promise<unknown>;
  };
}

/** What a schema says. */
export interface SchemaResult<Options> {
  /** The checked options with defaults filled in, where there are no `issues`. */
  readonly value?: Options;
  /** All that is wrong, each in words and with the keys that lead to it; absent where nothing is. */
  readonly issues?: readonly {
    readonly message: string;
    readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[];
  }[];
}

/** A middleware of a plugin, and what it is registered for. */
export interface PluginRoute {
  /** The method that it runs for, in upper case; `ALL` is every one. @default "ALL" */
  method?: string;
  /** A pattern of Hono's. @default "*" */
  path?: string;
  /** The middleware. One that `defineMiddleware` made stays native. */
  handler: MiddlewareHandler;
}

/** What a plugin adds to a gateway. */
export interface PluginParts {
  /** Runs before the app's own, in this order. What `defineMiddleware` made stays native. */
  middleware?: readonly (MiddlewareHandler | PluginRoute)[];
  /** By name, for `rateLimit({ store: "name" })`. */
  stores?: Readonly<Record<string, Store>>;
  /** By name, for `proxy({ upstreams, balancer: "name" })`. */
  balancers?: Readonly<Record<string, Balancer>>;
  /** Gives back what `setup` took, after the last request. */
  dispose?(): void | Promise<void>;
}

/** What a plugin knows of where it runs. */
export interface PluginContext {
  /** Says something on standard error, under the plugin's name. */
  log(text: string): void;
}

/** What {@linkcode definePlugin} takes. */
export interface PluginDefinition<Given, Options> {
  /** As a package's: `acl`, `@example/acl`. A gateway has one plugin of a name. */
  name: string;
  /** As a package's: `1.2.0`. */
  version: string;
  /** Checks the options and fills in defaults. Without it the plugin takes none. */
  options?:
    | ((given: Given, problem: NoteProblem) => Options)
    | OptionsSchema<Options>;
  /** Runs once in each isolate before it answers requests. */
  setup(
    options: Options,
    context: PluginContext,
  ): PluginParts | void | Promise<PluginParts | void>;
  /**
   * What a request gets when a middleware of the plugin throws, answers nonsense or takes too long: `closed`, an error (500, or 503 if it was too
   * late); `open`, what it would get without the plugin. So with a store, where open means no limit, and a balancer, where it means the first of
   * the upstreams. @default "closed"
   */
  onError?: "open" | "closed";
  /**
   * How long a middleware, a store or a balancer may take, without the time of what comes after it, give or take a quarter; `setup` and `dispose`, too. In milliseconds.
   * @default 5000
   */
  timeoutMs?: number;
}

const DEFINITION: unique symbol = Symbol.for("sluice.plugin") as never;

/** What {@linkcode definePlugin} makes: for `gateway.use(plugin, options)` or the option `plugins`. */
export interface Plugin<Given = unknown> {
  /** As {@linkcode PluginDefinition} has it; no other plugin of a gateway has the same. */
  readonly name: string;
  /** As {@linkcode PluginDefinition} has it: `1.2.0`. */
  readonly version: string;
  /**
   * Not for use: what it was made of.
   * @internal
   */
  readonly [DEFINITION]: CheckedDefinition<Given>;
}

/** A definition after the check. */
export interface CheckedDefinition<Given> {
  name: string;
  version: string;
  options?:
    | { check(given: Given, problem: NoteProblem): unknown }["check"]
    | OptionsSchema<unknown>;
  setup(options: unknown, context: PluginContext): unknown;
  onError: "open" | "closed";
  timeoutMs: number;
}

const NAME = /^(?:@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]{0,63}$/;
const KEYS = ["name", "version", "options", "setup", "onError", "timeoutMs"];
const HOUR = 3_600_000;

/**
 * Makes a plugin: an ordinary value that a package or a file exports.
 *
 * Throws an {@linkcode OptionsError} if the definition cannot be used.
 *
 * @example A plugin that counts requests, and one gateway that uses it
 * ```ts
 * import { Hono } from "hono";
 * import { defineGateway, definePlugin } from "sluice";
 *
 * const counter = definePlugin({
 *   name: "counter",
 *   version: "1.0.0",
 *   options: (given: { every?: number }, problem) => {
 *     const every = given.every ?? 1000;
 *     if (!(every >= 1)) problem("every", every, "must be a number from 1 on");
 *     return { every };
 *   },
 *   setup({ every }, { log }) {
 *     let count = 0;
 *     return {
 *       middleware: [async (_, next) => {
 *         if (++count % every === 0) log(`${count} requests`);
 *         await next();
 *       }],
 *     };
 *   },
 *   onError: "open",
 * });
 *
 * export default defineGateway(new Hono()).use(counter, { every: 100 });
 * ```
 */
export function definePlugin<Given = void, Options = Given>(
  definition: PluginDefinition<Given, Options>,
): Plugin<Given> {
  const problems: OptionProblem[] = [];
  const fail = (key: string, value: unknown, reason: string) =>
    problems.push({ path: `definePlugin() ${key}`, value, reason });
  const { name, version, options, setup } = definition;
  const { onError = "closed", timeoutMs = 5000 } = definition;
  for (const [key, value] of Object.entries(definition)) {
    if (KEYS.includes(key)) continue;
    fail(key, value, `is not a part of a plugin; known: ${KEYS.join(", ")}`);
  }
  if (typeof name !== "string" || !NAME.test(name)) {
    fail("name", name, 'must be like a package\'s: "acl", "@example/acl"');
  }
  if (typeof version !== "string" || !/^\d+\.\d+\.\d+/.test(version)) {
    fail("version", version, 'must be like a package\'s: "1.2.0"');
  }
  if (options !== undefined && !isCheck(options)) {
    fail("options", options, "must be a function or a Standard Schema");
  }
  if (typeof setup !== "function") {
    fail("setup", setup, "must be a function");
  }
  if (onError !== "open" && onError !== "closed") {
    fail("onError", onError, 'must be "open" or "closed"');
  }
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > HOUR) {
    fail("timeoutMs", timeoutMs, `must be an integer from 1 to ${HOUR}`);
  }
  if (problems.length > 0) throw new OptionsError(problems);
  const checked = { ...definition, onError, timeoutMs };
  return Object.freeze({
    name,
    version,
    [DEFINITION]: checked as unknown as CheckedDefinition<Given>,
  });
}

function isCheck(options: unknown): boolean {
  const schema = (options as Partial<OptionsSchema<unknown>>)?.["~standard"];
  return typeof options === "function" ||
    typeof schema?.validate === "function";
}

/** What a plugin was made of, of whatever copy of this module; undefined if it is none. */
export function definitionOf(
  plugin: unknown,
): CheckedDefinition<unknown> | undefined {
  return (plugin as Partial<Plugin> | null | undefined)?.[DEFINITION];
}

/** Checks a plugin's options; problems go to the list, their paths begin with `path`. */
export function checkPluginOptions(
  definition: CheckedDefinition<unknown>,
  given: unknown,
  path: string,
  problems: OptionProblem[],
): unknown {
  const note: NoteProblem = (at, value, reason) => {
    const separator = at === "" || at.startsWith("[") ? "" : ".";
    problems.push({ path: `${path}${separator}${at}`, value, reason });
  };
  const { options, name } = definition;
  if (options === undefined) {
    if (given !== undefined) note("", given, `plugin ${name} takes no options`);
    return undefined;
  }
  try {
    return typeof options === "function"
      ? options(given ?? {}, note)
      : validated(options, given ?? {}, note);
  } catch (error) {
    note("", given, `plugin ${name} cannot check it: ${error}`);
    return undefined;
  }
}

function validated(
  schema: OptionsSchema<unknown>,
  given: unknown,
  note: NoteProblem,
): unknown {
  const result = schema["~standard"].validate(given);
  if (result instanceof Promise) {
    result.catch(() => {});
    throw new Error("its schema is asynchronous");
  }
  for (const { message, path = [] } of result.issues ?? []) {
    const keys = path.map((part) => typeof part === "object" ? part.key : part);
    let value = given;
    for (const key of keys) {
      value = (value as Record<PropertyKey, unknown> | undefined)?.[key];
    }
    note(keyPath(keys), value, message);
  }
  return result.value;
}

function keyPath(keys: readonly PropertyKey[]): string {
  return keys.map((key, i) =>
    typeof key === "number" ? `[${key}]` : `${i > 0 ? "." : ""}${String(key)}`
  ).join("");
}
