/**
 * A plugin's middleware behind glass: what it does wrong is counted, named in a log line, and costs no other request anything.
 *
 * @module
 */
import type { Context, MiddlewareHandler, Next } from "hono";
import { wrapHandler } from "../define_middleware.ts";
import type { Asked } from "./parts.ts";

/** What is counted of one plugin. Native steps of a plugin run in C and are not in here. */
export interface PluginStats {
  /** Requests that came to one of its middleware, and questions to its stores and balancers. */
  calls: number;
  /** How often one threw, rejected, answered nonsense, or neither answered nor called `next()`. */
  errors: number;
  /** How often one took longer than its `timeoutMs`. */
  timeouts: number;
  /** How often one called `next()` twice, or answered what was answered. */
  doubles: number;
  /** The time that they took, without what came after them, in milliseconds. */
  timeMs: number;
}

/** A plugin that runs. */
export interface RunningPlugin {
  readonly name: string;
  readonly onError: "open" | "closed";
  readonly timeoutMs: number;
  readonly stats: PluginStats;
  readonly deadlines: Deadlines;
  /** Says what went wrong, not too often. */
  complain(text: string): void;
}

const HOPS = 10;

/** Tells who runs too long, at most a quarter of the time later. A timer is only there while somebody runs for more than a moment. */
export class Deadlines {
  #running = new Map<{ late(): void }, number>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #arming = false;

  constructor(readonly timeoutMs: number) {}

  start(who: { late(): void }, now: number): void {
    this.#running.set(who, now + this.timeoutMs);
    if (this.#timer === undefined && !this.#arming) this.#arm();
  }

  // Most middleware end within a few promises: for those a timer would cost more than all the rest.
  async #arm(): Promise<void> {
    this.#arming = true;
    for (let i = 0; i < HOPS; i++) await undefined;
    this.#arming = false;
    if (this.#running.size === 0) return;
    this.#timer = setInterval(() => this.#sweep(), this.timeoutMs / 4);
  }

  stop(who: { late(): void }): void {
    this.#running.delete(who);
    if (this.#running.size > 0 || this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #sweep(): void {
    const now = performance.now();
    for (const [who, until] of this.#running) if (now >= until) who.late();
  }
}

type Fault = "errors" | "timeouts" | "doubles";

/** What a plugin did wrong, by itself. */
export class PluginFault extends Error {
  constructor(readonly fault: Fault, message: string) {
    super(message);
  }
}

/** The middleware as the gateway runs it. Its native record stays to be seen. */
export function contain(
  plugin: RunningPlugin,
  handler: MiddlewareHandler,
): MiddlewareHandler {
  const contained: MiddlewareHandler = (c, next) =>
    new Passage(plugin, c, next).run(handler);
  const inner = handler.name && handler.name !== "handler"
    ? ` ${handler.name}`
    : "";
  return wrapHandler(contained, handler, `plugin ${plugin.name}${inner}`);
}

// One request's way through one middleware. Its time runs while the middleware does, not while what comes after it does.
class Passage {
  #since: number | undefined = performance.now(); // undefined: its time stands still
  #giveUp: ((fault: PluginFault) => void) | undefined;
  #over = false;
  /** What comes after it, once that has been called. */
  #rest: Promise<void> | undefined;
  #restError: { error: unknown } | undefined;
  #again: PluginFault | undefined;

  constructor(
    readonly plugin: RunningPlugin,
    readonly c: Context,
    readonly next: Next,
  ) {
    plugin.stats.calls++;
  }

  async run(handler: MiddlewareHandler): Promise<Response | void> {
    try {
      const returned = handler(this.c, () => this.#next());
      if (!(returned instanceof Promise)) return await this.#judge(returned);
      if (!this.#rest) this.#resume();
      const result = await new Promise((resolve, reject) => {
        this.#giveUp = reject;
        returned.then(resolve, reject); // it may come when nobody waits any more
      });
      return await this.#judge(result);
    } catch (error) {
      if (this.#restError?.error === error) throw error; // not the plugin's
      return await this.#fail(error);
    } finally {
      this.#pause();
      this.#over = true;
    }
  }

  #next(): Promise<void> {
    if (this.#over) return refused("timeouts", "it called next() too late");
    if (this.#rest) {
      this.#again = new PluginFault("doubles", "it called next() twice");
      return refused("doubles", this.#again.message);
    }
    this.#pause();
    const run = async () => {
      try {
        return await this.next();
      } catch (error) {
        this.#restError = { error };
        throw error;
      } finally {
        if (!this.#over) this.#resume();
      }
    };
    this.#rest = run();
    this.#rest.catch(() => {}); // it may not be awaited
    return this.#rest;
  }

  #resume(): void {
    this.#since ??= performance.now();
    this.plugin.deadlines.start(this, this.#since);
  }

  #pause(): void {
    if (this.#since === undefined) return;
    this.plugin.deadlines.stop(this);
    this.plugin.stats.timeMs += performance.now() - this.#since;
    this.#since = undefined;
  }

  late(): void {
    this.#giveUp?.(lateFault(this.plugin));
  }

  // What a middleware returned, as Hono would take it.
  async #judge(result: unknown): Promise<Response | void> {
    if (this.#rest) {
      await this.#rest;
      if (this.#again) this.#note(this.#again, "the first call stands");
      if (result === undefined || result === this.c) return;
      if (result === this.c.res) return;
      const text = "it returned something after next() had answered";
      this.#note(new PluginFault("doubles", text), "the first answer stands");
      return;
    }
    if (result instanceof Response) return result;
    if (result === undefined && this.c.finalized) return;
    throw new PluginFault(
      "errors",
      result === undefined
        ? "it neither answered nor called next()"
        : "it returned something that is no Response",
    );
  }

  async #fail(error: unknown): Promise<Response | void> {
    this.#pause();
    this.#over = true;
    const answer = failure(this.plugin, this.c, error);
    if (!answer) return await (this.#rest ?? this.next());
    await this.#rest?.catch(() => {});
    if (!this.c.finalized) return answer;
    await this.c.res.body?.cancel().catch(() => {});
    this.c.res = undefined; // else the new one inherits its fields
    this.c.res = answer;
  }

  #note(error: unknown, result: string): void {
    note(this.plugin, this.c, error, result);
  }
}

/** Asks a part of a plugin something for a request; `name` is what its failures are told under. */
export async function askPart<T>(
  plugin: RunningPlugin,
  name: string,
  c: Context,
  work: () => T | Promise<T>,
): Promise<Asked<T>> {
  plugin.stats.calls++;
  const since = performance.now();
  const { promise, reject } = Promise.withResolvers<never>();
  const question = { late: () => reject(lateFault(plugin)) };
  plugin.deadlines.start(question, since);
  try {
    return { value: await Promise.race([work(), promise]) };
  } catch (error) {
    return { answer: failure(plugin, c, error, `${name}: `) };
  } finally {
    plugin.deadlines.stop(question);
    plugin.stats.timeMs += performance.now() - since;
  }
}

function lateFault({ timeoutMs }: RunningPlugin): PluginFault {
  const text = `it did not answer within ${timeoutMs} ms`;
  return new PluginFault("timeouts", text);
}

// What a request gets whose plugin fails; undefined: it goes on without it.
function failure(
  plugin: RunningPlugin,
  c: Context,
  error: unknown,
  part = "",
): Response | undefined {
  if (plugin.onError === "open") {
    note(plugin, c, error, "the request goes on without it", part);
    return undefined;
  }
  const late = error instanceof PluginFault && error.fault === "timeouts";
  const status = late ? 503 : 500;
  note(plugin, c, error, `answered ${status}`, part);
  return new Response(`${status} Plugin failed\n`, {
    status,
    headers: { "content-type": "text/plain;charset=UTF-8" },
  });
}

function note(
  plugin: RunningPlugin,
  { req: { method, path } }: Context,
  error: unknown,
  result: string,
  part = "",
): void {
  const ours = error instanceof PluginFault;
  plugin.stats[ours ? error.fault : "errors"]++;
  const what = ours ? error.message : `it threw ${error}`;
  plugin.complain(`${method} ${path}: ${part}${what}; ${result}`);
}

function refused(fault: Fault, message: string): Promise<void> {
  const promise = Promise.reject(new PluginFault(fault, message));
  promise.catch(() => {});
  return promise;
}
