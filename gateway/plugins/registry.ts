/**
 * The plugins of a gateway: in which order, with which options, and their lives.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { usedPart } from "../define_middleware.ts";
import {
  GatewayError,
  type OptionProblem,
  OptionsError,
  show,
} from "../errors.ts";
import { type App, isHono } from "../app.ts";
import {
  askPart,
  contain,
  Deadlines,
  type PluginStats,
  type RunningPlugin,
} from "./contain.ts";
import { NAMED_PARTS, type PartKind, type RunningPart } from "./parts.ts";
import {
  type CheckedDefinition,
  checkPluginOptions,
  definePlugin,
  definitionOf,
  type NoteProblem,
  type OptionsSchema,
  type Plugin,
  type PluginDefinition,
  type PluginParts,
  type PluginRoute,
} from "./plugin.ts";
import { withRoutes } from "./with_routes.ts";

/** What a gateway takes for a plugin: what `definePlugin` made, or what it takes, from a package that does not import it. */
export type PluginLike<Given, Options> =
  | Plugin<Given>
  | PluginDefinition<Given, Options>;

/** A plugin whatever its options are: what `definePlugin` made, or what it takes. */
export type AnyPlugin =
  | Plugin<never>
  | Omit<PluginDefinition<never, never>, "options"> & {
    options?:
      | ((given: never, problem: NoteProblem) => unknown)
      | OptionsSchema<unknown>;
  };

/** An entry of the option `plugins`: a plugin that needs no options, or one with its options. */
export type PluginEntry = AnyPlugin | readonly [AnyPlugin, unknown];

interface Use {
  definition: CheckedDefinition<unknown>;
  options: unknown;
  /** Where it was said: `plugins[0]`, `use() at gateway.ts:7`. */
  place: string;
}

/** A plugin whose `setup` is done. */
interface Live {
  plugin: Running;
  dispose?: () => unknown;
}

/** A store or balancer, and whose it is. */
interface NamedPart extends RunningPart {
  kind: PartKind;
  name: string;
  plugin: string;
}

/** The plugins of one gateway, in one isolate. */
export class PluginRegistry {
  #uses: Use[] = [];
  #live: Live[] = [];
  #stats: Record<string, PluginStats> = {};
  #routes: Required<PluginRoute>[] = [];
  #parts: NamedPart[] = [];
  #slots = new Set<{ running?: RunningPart }>();
  #setUp: Promise<void> | undefined;
  #say: (line: string) => void;

  constructor(
    entries: readonly PluginEntry[] = [],
    say: (line: string) => void = (line) => console.error(`sluice: ${line}`),
  ) {
    this.#say = say;
    for (const [i, entry] of entries.entries()) {
      const [plugin, options] = Array.isArray(entry) ? entry : [entry];
      this.add(plugin, options, `plugins[${i}]`);
    }
  }

  /** Adds a plugin behind the others. Throws an {@linkcode OptionsError}. */
  add(plugin: unknown, given: unknown, place: string): void {
    if (this.#setUp) {
      throw new GatewayError(
        `${place}: plugins are added before the gateway starts`,
        { kind: "wrong_state" },
      );
    }
    const definition = definitionOf(plugin) ?? plain(plugin);
    const problems: OptionProblem[] = [];
    const fail = (value: unknown, reason: string) =>
      problems.push({ path: place, value, reason });
    if (!definition) {
      fail(plugin, "must be a plugin, as definePlugin() makes it");
      throw new OptionsError(problems);
    }
    const { name } = definition;
    const before = this.#uses.find((use) => use.definition.name === name);
    if (before) fail(name, `has the name of the plugin of ${before.place}`);
    const path = `${place} ${name}`;
    const options = checkPluginOptions(definition, given, path, problems);
    if (problems.length > 0) throw new OptionsError(problems);
    this.#uses.push({ definition, options, place });
  }

  /** How many there are. */
  get size(): number {
    return this.#uses.length;
  }

  /**
   * The app with the plugins' middleware before its own, and what theirs and its own use of them. Sets them up, the first time. Throws an
   * {@linkcode OptionsError} if something uses what is not there.
   */
  async apply(app: App): Promise<App> {
    await (this.#setUp ??= this.#start());
    const own = isHono(app) ? app.routes : [];
    this.#connect([...this.#routes, ...own].map(({ handler }) => handler));
    return withRoutes(app, this.#routes);
  }

  // Stores and balancers to those that use them: all, or none if one is unknown.
  #connect(handlers: readonly unknown[]): void {
    const problems: OptionProblem[] = [];
    const found = new Map<{ running?: RunningPart }, NamedPart>();
    for (const slot of handlers.map(usedPart)) {
      if (!slot) continue;
      const { kind, name: value, path, running } = slot;
      const known = this.#parts.filter((part) => part.kind === kind);
      const part = known.find(({ name }) => name === value);
      if (part && (running ?? part) === part) found.set(slot, part);
      else {
        const names = known.map(({ name }) => name).join(", ") || "none";
        const reason = part
          ? "is of a middleware that another gateway uses: make one for each"
          : `names none of the plugins' ${kind} (known: ${names})`;
        problems.push({ path, value, reason });
      }
    }
    if (problems.length > 0) throw new OptionsError(problems);
    for (const [slot, part] of found) {
      slot.running = part;
      this.#slots.add(slot);
    }
  }

  async #start(): Promise<void> {
    for (const use of this.#uses) {
      try {
        await this.#startOne(use);
      } catch (cause) {
        await this.dispose();
        const { name, version } = use.definition;
        throw new GatewayError(
          `plugin ${name} ${version} (${use.place}): setup() failed: ${
            textOf(cause)
          }`,
          { kind: "plugin_failed", cause },
        );
      }
    }
  }

  async #startOne({ definition, options }: Use): Promise<void> {
    const { name, timeoutMs } = definition;
    const plugin = new Running(definition, this.#say);
    const context = { log: (text: string) => this.#say(`${name}: ${text}`) };
    const setUp = async () => await definition.setup(options, context);
    const parts = await within(setUp(), timeoutMs);
    const { middleware, named, dispose } = checkParts(parts);
    this.#live.push({ plugin, dispose });
    for (const { kind, name, part } of named) {
      this.#addPart(plugin, kind, name, part);
    }
    this.#stats[name] = plugin.stats;
    for (const { handler, ...where } of middleware) {
      this.#routes.push({ ...where, handler: contain(plugin, handler) });
    }
  }

  #addPart(plugin: Running, kind: PartKind, name: string, part: unknown): void {
    const before = this.#parts.find((one) =>
      one.kind === kind && one.name === name
    );
    if (before) {
      throw new TypeError(
        `${kind}.${name}: plugin ${before.plugin} has one of this name`,
      );
    }
    const called = `${kind.slice(0, -1)} ${name}`;
    const ask = (c: Context, work: (part: unknown) => unknown) =>
      askPart(plugin, called, c, () => work(part));
    this.#parts.push({ kind, name, plugin: plugin.name, ask });
  }

  /** Ends the plugins, the last one first. One that fails is named, and keeps no other from its end. `apply` begins anew. */
  async dispose(): Promise<void> {
    this.#setUp = undefined;
    this.#routes = [];
    this.#parts = [];
    for (const slot of this.#slots) slot.running = undefined;
    this.#slots.clear();
    for (let live = this.#live.pop(); live; live = this.#live.pop()) {
      const { plugin, dispose } = live;
      try {
        await within((async () => await dispose?.())(), plugin.timeoutMs);
      } catch (error) {
        this.#say(`plugin ${plugin.name}: dispose() failed: ${textOf(error)}`);
      }
      plugin.sayRest();
    }
  }

  /** What is counted of each since its setup, by name. */
  stats(): Record<string, PluginStats> {
    return structuredClone(this.#stats);
  }
}

function plain(plugin: unknown): CheckedDefinition<unknown> | undefined {
  const { setup } = (plugin ?? {}) as { setup?: unknown };
  return typeof setup === "function"
    ? definitionOf(definePlugin(plugin as PluginDefinition<unknown, unknown>))
    : undefined;
}

const COMPLAINTS_EVERY_MS = 10_000;

class Running implements RunningPlugin {
  readonly name: string;
  readonly onError: "open" | "closed";
  readonly timeoutMs: number;
  readonly stats: PluginStats = {
    calls: 0,
    errors: 0,
    timeouts: 0,
    doubles: 0,
    timeMs: 0,
  };
  readonly deadlines: Deadlines;
  #version: string;
  #say: (line: string) => void;
  #saidAt = -COMPLAINTS_EVERY_MS;
  #unsaid = 0;

  constructor(
    { name, version, onError, timeoutMs }: CheckedDefinition<unknown>,
    say: (line: string) => void,
  ) {
    this.name = name;
    this.#version = version;
    this.onError = onError;
    this.timeoutMs = timeoutMs;
    this.deadlines = new Deadlines(timeoutMs);
    this.#say = say;
  }

  /** How often it was silent about more of the same. */
  sayRest(): void {
    if (this.#unsaid === 0) return;
    this.#say(`plugin ${this.name}: failed ${this.#unsaid} times more`);
    this.#unsaid = 0;
  }

  complain(text: string): void {
    const now = performance.now();
    if (now - this.#saidAt < COMPLAINTS_EVERY_MS) {
      this.#unsaid++;
      return;
    }
    const more = this.#unsaid > 0 ? ` (and ${this.#unsaid} times before)` : "";
    this.#say(`plugin ${this.name} ${this.#version}: ${text}${more}`);
    this.#saidAt = now;
    this.#unsaid = 0;
  }
}

const PARTS = "middleware, stores, balancers, dispose";

function checkParts(parts: unknown): {
  middleware: Required<PluginRoute>[];
  named: { kind: PartKind; name: string; part: unknown }[];
  dispose?: () => unknown;
} {
  if (parts === undefined) return { middleware: [], named: [] };
  if (typeof parts !== "object" || parts === null) {
    throw new TypeError(
      `it must return { ${PARTS} } or nothing (got ${show(parts)})`,
    );
  }
  const { middleware = [], dispose, stores, balancers, ...others } =
    parts as PluginParts;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    throw new TypeError(
      `it returned ${unknown}, which is not a part of a plugin; known: ${PARTS}`,
    );
  }
  if (dispose !== undefined && typeof dispose !== "function") {
    throw new TypeError(`dispose must be a function (got ${show(dispose)})`);
  }
  return {
    middleware: middleware.map(routeOf),
    named: [
      ...namedParts("stores", stores),
      ...namedParts("balancers", balancers),
    ],
    dispose: dispose && (() => dispose.call(parts)),
  };
}

function namedParts(kind: PartKind, parts: unknown = {}) {
  const method = NAMED_PARTS[kind];
  if (typeof parts !== "object" || parts === null) {
    throw new TypeError(`${kind} must be an object (got ${show(parts)})`);
  }
  return Object.entries(parts).map(([name, part]) => {
    if (typeof part?.[method] === "function") return { kind, name, part };
    throw new TypeError(
      `${kind}.${name} must have a method ${method}() (got ${show(part)})`,
    );
  });
}

function routeOf(
  part: MiddlewareHandler | PluginRoute,
  index: number,
): Required<PluginRoute> {
  const { method = "ALL", path = "*", handler } = typeof part === "function"
    ? { handler: part }
    : part ?? {} as PluginRoute;
  if (typeof handler !== "function") {
    throw new TypeError(
      `middleware[${index}] must be a function, or { path, method, handler } (got ${
        show(part)
      })`,
    );
  }
  return {
    method: method.toUpperCase(),
    path: `/${path.replace(/^\//, "")}`,
    handler,
  };
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const text = `it took longer than its timeoutMs (${ms})`;
    timer = setTimeout(() => reject(new Error(text)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error
    ? `${error.name}: ${error.message}`
    : show(error);
}
