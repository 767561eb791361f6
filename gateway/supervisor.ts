/**
 * Isolates as main sees them: Workers that it starts, talks to, watches and ends.
 *
 * @module
 */
import { SocketDoorbell } from "./doorbell.ts";
import type { IsolateSeat } from "./gateway.ts";
import type {
  AppSource,
  FromIsolate,
  LoadedApp,
  ToIsolate,
} from "./isolate_messages.ts";
import type { GatewayOptions } from "./options.ts";

/** A module that cannot be loaded, with what it said. */
export class ModuleError extends Error {
  override name = "ModuleError";
}

const CRASHES_MAX = 5;
const CRASHES_WITHIN_MS = 30_000;
const FIRST_PAUSE_MS = 100;

/** Whether an isolate that has crashed is started again, and when: each time later, and not for ever. */
export class RestartPolicy {
  #crashes: number[] = [];

  /** The pause before it may start again; undefined: it crashed too often. */
  crashed(nowMs: number): number | undefined {
    this.#crashes = this.#crashes.filter((at) =>
      nowMs - at < CRASHES_WITHIN_MS
    );
    this.#crashes.push(nowMs);
    const count = this.#crashes.length;
    return count < CRASHES_MAX ? FIRST_PAUSE_MS * 2 ** (count - 1) : undefined;
  }

  toString(): string {
    return `it crashed ${this.#crashes.length} times within ${
      CRASHES_WITHIN_MS / 1000
    } s`;
  }
}

type Waiting = {
  resolve: (message: FromIsolate) => void;
  reject: (error: Error) => void;
};

/** One Worker that runs routes. */
export class IsolateHandle {
  #worker: Worker;
  #waiting: Waiting | undefined;
  #ended = false;
  #onEnd: (reason: string) => void;
  #lastError = "";

  /** `onEnd` is called once if the isolate ends by itself. */
  constructor(name: string, onEnd: (reason: string) => void) {
    this.#onEnd = onEnd;
    this.#worker = new Worker(new URL("./isolate.ts", import.meta.url), {
      type: "module",
      name,
    });
    this.#worker.onmessage = (event: MessageEvent<FromIsolate>) =>
      this.#hear(event.data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#lastError = event.message;
      this.#fail(new ModuleError(event.message));
      this.#end(event.message);
    };
    this.#watch();
  }

  /** Whether it has ended, by itself or by `terminate`. */
  get ended(): boolean {
    return this.#ended;
  }

  async #watch(): Promise<void> {
    const lifeline = await SocketDoorbell.open((port, token) =>
      this.#send({ type: "lifeline", port, token })
    );
    while (await lifeline.rung());
    lifeline.close();
    this.#end(this.#lastError || "it closed itself (Deno.exit or self.close)");
  }

  #hear(message: FromIsolate): void {
    if (message.type === "failed") this.#fail(new ModuleError(message.message));
    else this.#waiting?.resolve(message);
    this.#waiting = undefined;
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#fail(new ModuleError(reason));
    this.#onEnd(reason);
  }

  #send(message: ToIsolate): void {
    this.#worker.postMessage(message);
  }

  #ask(message: ToIsolate): Promise<FromIsolate> {
    if (this.#ended) {
      return Promise.reject(new ModuleError("the isolate has ended"));
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#send(message);
    });
  }

  async load(
    source: AppSource,
    overrides: Partial<GatewayOptions>,
  ): Promise<LoadedApp> {
    const answer = await this.#ask({ type: "load", source, overrides });
    return (answer as { app: LoadedApp }).app;
  }

  async run(seat: IsolateSeat): Promise<void> {
    await this.#ask({ type: "run", seat });
  }

  /** Lets background work finish, at most so long; a handler that never yields is not waited for longer. */
  async close(waitMs: number): Promise<void> {
    const asked = this.#ask({ type: "close", waitMs }).catch(() => {});
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) =>
      timer = setTimeout(resolve, waitMs + 500)
    );
    await Promise.race([asked, late]);
    clearTimeout(timer);
    this.terminate();
  }

  terminate(): void {
    this.#ended = true;
    this.#worker.terminate();
  }
}
