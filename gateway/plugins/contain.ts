/**
 * A plugin's middleware behind glass: what it does wrong is counted, named in a log line, and costs no other request anything.
 *
 * @module
 */
import type { Context, MiddlewareHandler, Next } from "hono";
import { wrapHandler } from "../define_middleware.ts";

/** What is counted of one plugin. Native steps of a plugin run in C and are not in here. */
export interface PluginStats {
  /** Requests that came to one of its middleware. */
  calls: number;
  /** How often one threw, rejected, or neither answered nor called `next()`. */
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
  /** Says what went wrong, not too often. */
  complain(text: string): void;
}

type Fault = "errors" | "timeouts" | "doubles";

/** What a plugin did wrong, by itself. */
class PluginFault extends Error {
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
  #timer: ReturnType<typeof setTimeout> | undefined;
  #late = Promise.withResolvers<never>();
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
      returned.catch(() => {}); // it may reject when nobody waits any more
      if (!this.#rest) this.#resume();
      return await this.#judge(
        await Promise.race([returned, this.#late.promise]),
      );
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
    const { timeoutMs } = this.plugin;
    this.#since ??= performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const text = `it did not answer within ${timeoutMs} ms`;
      this.#late.reject(new PluginFault("timeouts", text));
    }, timeoutMs);
  }

  #pause(): void {
    clearTimeout(this.#timer);
    if (this.#since === undefined) return;
    this.plugin.stats.timeMs += performance.now() - this.#since;
    this.#since = undefined;
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
    const late = error instanceof PluginFault && error.fault === "timeouts";
    if (this.plugin.onError === "open") {
      this.#note(error, "the request goes on without it");
      return await (this.#rest ?? this.next());
    }
    const status = late ? 503 : 500;
    this.#note(error, `answered ${status}`);
    await this.#rest?.catch(() => {});
    const answer = new Response(`${status} Plugin failed\n`, {
      status,
      headers: { "content-type": "text/plain;charset=UTF-8" },
    });
    if (!this.c.finalized) return answer;
    await this.c.res.body?.cancel().catch(() => {});
    this.c.res = undefined; // else the new one inherits its fields
    this.c.res = answer;
  }

  #note(error: unknown, result: string): void {
    const ours = error instanceof PluginFault;
    this.plugin.stats[ours ? error.fault : "errors"]++;
    const { method, path } = this.c.req;
    const what = ours ? error.message : `it threw ${error}`;
    this.plugin.complain(`${method} ${path}: ${what}; ${result}`);
  }
}

function refused(fault: Fault, message: string): Promise<void> {
  const promise = Promise.reject(new PluginFault(fault, message));
  promise.catch(() => {});
  return promise;
}
