/**
 * Isolates as main sees them: Workers that it starts, talks to, watches and ends.
 *
 * @module
 */
import { SocketDoorbell } from "./doorbell.ts";
import type { IsolateSeat, IsolateWork } from "./gateway.ts";
import type { CertificateStats } from "./live_certificates.ts";
import type {
  AppSource,
  FromIsolate,
  LoadedApp,
  Pulse,
  ToIsolate,
} from "./isolate_messages.ts";
import type { GatewayOptions } from "./options.ts";

/** A module that cannot be loaded, with what it said. */
export class ModuleError extends Error {
  override name = "ModuleError";

  /** `place`: where in the module it came up, `file:///app.ts:3:7`. */
  constructor(message: string, readonly place?: string) {
    super(message);
  }
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

// An isolate's pulse is looked at so often before it counts as blocked: what stops main as well (a suspended machine) must not look like that.
const LOOKS = 5;
// An isolate that has nothing to do ends within milliseconds.
const DEATH_WAIT_MS = 2000;
const BLOCKED_WAIT_MS = 500;

/** Watches a pulse, and tells once if it has stopped. */
export class Watchdog {
  readonly pulse: Pulse;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `progress`: what else shows that it is not blocked, as handlers that are busy one after the other do. */
  constructor(
    timeoutMs: number,
    progress: () => number,
    onBlocked: () => void,
  ) {
    const everyMs = Math.max(1, timeoutMs / LOOKS);
    const count = new Int32Array(new SharedArrayBuffer(4));
    // 0: it is never blocked. The pulse is slow then, and nobody looks.
    this.pulse = { count, everyMs: timeoutMs === 0 ? 60_000 : everyMs / 2 };
    if (timeoutMs === 0) return;
    let seen = 0;
    let missed = 0;
    this.#timer = setInterval(() => {
      const now = Atomics.load(count, 0) + progress();
      missed = now !== seen ? 0 : missed + 1;
      seen = now;
      if (missed < LOOKS) return;
      this.stop();
      onBlocked();
    }, everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
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
  #onEnd: (reason: string, end: "crashed" | "blocked") => void;
  #lastError = "";
  #reason = "it was ended";
  #isAlive = false; // its lifeline is connected
  #blocked: string | undefined;
  #watchdog: Watchdog | undefined;
  #closed: Promise<boolean> | undefined;
  /** Whether its thread has ended. */
  isDead = false;
  /** Resolves when its thread has ended. */
  readonly dead: Promise<void>;

  /** `onEnd` is called once, when the isolate has ended by itself or was ended because it was blocked: nothing of it runs any more. */
  constructor(
    name: string,
    onEnd: (reason: string, end: "crashed" | "blocked") => void,
  ) {
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
      if (!this.#isAlive) this.#end(event.message);
    };
    this.dead = this.#watch();
  }

  /** Whether it has ended, by itself or by `terminate`. */
  get ended(): boolean {
    return this.#ended;
  }

  async #watch(): Promise<void> {
    const lifeline = await SocketDoorbell.open((port, token) =>
      this.#send({ type: "lifeline", port, token })
    );
    this.#isAlive = true;
    while (await lifeline.rung());
    lifeline.close();
    this.isDead = true;
    this.#end(this.#lastError || "it closed itself (Deno.exit or self.close)");
  }

  #hear(message: FromIsolate): void {
    if (message.type === "failed") {
      this.#fail(new ModuleError(message.message, message.place));
    } else this.#waiting?.resolve(message);
    this.#waiting = undefined;
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#reason = reason;
    this.#watchdog?.stop();
    this.#fail(new ModuleError(reason));
    this.#onEnd(reason, this.#blocked === undefined ? "crashed" : "blocked");
  }

  #send(message: ToIsolate): void {
    this.#worker.postMessage(message);
  }

  #ask(message: ToIsolate): Promise<FromIsolate> {
    if (this.#ended) {
      return Promise.reject(new ModuleError(this.#reason));
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

  /** `work`: of this seat. When neither that nor the isolate's event loop has moved for `timeoutMs`, it is given up. */
  async run(
    seat: IsolateSeat,
    timeoutMs: number,
    work: IsolateWork,
    feedsSteks: boolean,
  ): Promise<void> {
    const watchdog = new Watchdog(
      timeoutMs,
      () => work.progress(),
      () => this.#endBlocked(timeoutMs, work.running()),
    );
    this.#watchdog = watchdog;
    const { pulse } = watchdog;
    await this.#ask({ type: "run", seat, pulse, feedsSteks });
  }

  /** Other certificates are in use now. */
  renewed(certificates: CertificateStats[]): void {
    if (!this.#ended) this.#send({ type: "certificates", certificates });
  }

  /** Others run in its place from now on; it finishes what it has. */
  replaced(): void {
    if (!this.#ended) this.#send({ type: "replaced" });
  }

  // Deno cannot end JavaScript that never returns. So it is given up: once it returns, it ends.
  #endBlocked(timeoutMs: number, running: string | undefined): void {
    if (this.#ended) return;
    this.#blocked = `it was blocked for ${timeoutMs} ms ${
      running === undefined ? "by a timer or a promise" : `in ${running}`
    }`;
    this.#worker.terminate();
    this.#end(this.#blocked);
  }

  /** Lets background work finish, at most so long; a handler that never yields is not waited for longer. Whether its thread has ended. */
  close(waitMs: number): Promise<boolean> {
    return this.#closed ??= this.#close(waitMs);
  }

  async #close(waitMs: number): Promise<boolean> {
    this.#watchdog?.stop();
    let answered = false;
    const asked = this.#ask({ type: "close", waitMs }).then(
      () => answered = true,
      () => {},
    );
    await within(waitMs + 500, asked);
    this.terminate();
    // Deno cannot end JavaScript that never returns, so nothing is gained by waiting for it.
    await within(answered ? DEATH_WAIT_MS : BLOCKED_WAIT_MS, this.dead);
    return this.isDead;
  }

  terminate(): void {
    this.#ended = true;
    this.#watchdog?.stop();
    this.#fail(new ModuleError(this.#reason));
    this.#worker.terminate();
  }
}

async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
