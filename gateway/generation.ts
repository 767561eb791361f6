/**
 * A generation: the isolates that run one state of a module, and the plan that was made of it. A reload makes the next one beside it and then lets
 * the plane switch from one to the other, so that no request ever meets the plan of one and the module of the other.
 *
 * @module
 */
import type { DataPlane, IsolateSeat } from "./gateway.ts";
import type { AppSource, LoadedApp } from "./isolate_messages.ts";
import type { CertificateStats } from "./live_certificates.ts";
import { type ImportMap, readGraph } from "./module_graph.ts";
import type { GatewayOptions } from "./options.ts";
import { IsolateHandle } from "./supervisor.ts";

/** What generations are made of, the same for all. */
export interface Recipe {
  source: AppSource;
  overrides: Partial<GatewayOptions>;
  importMap?: ImportMap;
  /** A debugger may stop isolates for as long as it likes. */
  debug?: boolean;
}

/** Called when an isolate of a running generation has ended by itself, or is given up. `dead` resolves when its thread has ended. */
export type OnIsolateEnd = (
  generation: Generation,
  index: number,
  reason: string,
  end: "crashed" | "blocked",
  dead: Promise<void>,
) => void;

// A file may be saved while the isolates read it.
const LOADS_MAX = 5;
const POLL_MS = 10;

/** The files of a source that can change; none for one that is no file. */
export async function sourceGraph(
  { source, importMap }: Recipe,
): Promise<{ files: Set<string>; sum: string }> {
  if (source.kind !== "module" || !source.url.startsWith("file:")) {
    return { files: new Set(), sum: "" };
  }
  return await readGraph(source.url, importMap);
}

/** One generation: made by `load`, started by `run`, ended by `retire` or `close`. */
export class Generation {
  #recipe: Recipe;
  #onEnd: OnIsolateEnd;
  #isolates: IsolateHandle[] = [];
  #seats: IsolateSeat[] = [];
  #app!: LoadedApp;
  #isRunning = false;
  #isEnded = false;
  /** Of the module's files, as they were when it was loaded. */
  sum = "";

  constructor(recipe: Recipe, onEnd: OnIsolateEnd) {
    this.#recipe = recipe;
    this.#onEnd = onEnd;
  }

  get app(): LoadedApp {
    return this.#app;
  }

  get seats(): readonly IsolateSeat[] {
    return this.#seats;
  }

  #spawn(index: number): IsolateHandle {
    const isolate = new IsolateHandle(
      `isolate ${index}`,
      (reason, end) => {
        if (this.#isRunning && this.#isolates[index] === isolate) {
          this.#onEnd(this, index, reason, end, isolate.dead);
        }
      },
    );
    return this.#isolates[index] = isolate;
  }

  /** Loads the module in as many isolates as its options say. All of them have read the same files, or it throws. */
  async load(): Promise<LoadedApp> {
    for (let tries = 1;; tries++) {
      this.sum = (await sourceGraph(this.#recipe)).sum;
      if (this.#isEnded) throw new Error("the generation was ended");
      this.#app = await this.#load(0);
      const others = Array.from(
        { length: this.#app.options.isolates - 1 },
        (_, i) => this.#load(i + 1),
      );
      await Promise.all(others);
      if ((await sourceGraph(this.#recipe)).sum === this.sum) return this.#app;
      if (tries === LOADS_MAX) {
        throw new Error(
          `its files changed while they were loaded, ${tries} times`,
        );
      }
      this.#terminate();
    }
  }

  async #load(index: number): Promise<LoadedApp> {
    const { source, overrides } = this.#recipe;
    return await this.#spawn(index).load(source, overrides);
  }

  /** Gives each isolate a seat and lets it wait there for requests. The plane's next plan may name them then. */
  async run(seats: IsolateSeat[], plane: DataPlane): Promise<void> {
    this.#seats = seats;
    this.#isRunning = true; // an end is told from here on
    await Promise.all(seats.map((_, index) => this.#run(index, plane)));
  }

  async #run(index: number, plane: DataPlane): Promise<void> {
    const seat = this.#seats[index];
    const { isolateTimeoutMs } = this.#app.options.limits;
    const timeoutMs = this.#recipe.debug ? 0 : isolateTimeoutMs;
    await this.#isolates[index].run(
      seat,
      timeoutMs,
      plane.observe(seat),
      index === 0 && plane.takesSteks,
    );
  }

  /**
   * Starts an isolate again that has ended; the plane knows that it is gone. "changed": the module is not what it was, so that the others and the
   * plan have to be made anew, too. "ended": it has ended once more, which was told. Throws if the module does not load any more.
   */
  async restart(
    index: number,
    plane: DataPlane,
  ): Promise<"running" | "changed" | "ended"> {
    const { sum } = await sourceGraph(this.#recipe);
    if (this.#isEnded) return "ended";
    if (sum !== this.sum) return "changed";
    const loading = this.#load(index);
    const isolate = this.#isolates[index];
    try {
      const { plan } = await loading;
      if (this.#isEnded) return "ended";
      if (plan.id !== this.#app.plan.id) {
        isolate.terminate();
        return "changed";
      }
      this.#seats[index] = plane.retakeSeat(this.#seats[index]);
      await this.#run(index, plane);
      return "running";
    } catch (error) {
      if (isolate.ended) return "ended";
      isolate.terminate();
      throw error;
    }
  }

  /** Other certificates are in use now. */
  renewed(certificates: CertificateStats[]): void {
    if (!this.#isRunning) return;
    for (const isolate of this.#isolates) isolate.renewed(certificates);
  }

  /** Waits until the plane needs it no longer, at most so long, and ends it. `isOver`: the plane closes meanwhile, and ends all. */
  async retire(
    plane: DataPlane,
    waitMs: number,
    isOver: () => boolean,
  ): Promise<{ cut: boolean }> {
    const until = performance.now() + waitMs;
    for (const isolate of this.#isolates) isolate.replaced();
    const isBusy = () => this.#seats.some((seat) => plane.isBusy(seat));
    while (!isOver() && isBusy() && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    if (isOver()) return { cut: false };
    const cut = isBusy();
    const dead = await this.close(Math.max(0, until - performance.now()));
    if (!isOver()) {
      for (const [index, seat] of this.#seats.entries()) {
        plane.isolateGone(seat, "retired", dead[index]);
      }
    }
    return { cut };
  }

  /** Lets background work finish, at most so long, and ends all isolates. Of each, whether its thread has ended. */
  async close(waitMs: number): Promise<boolean[]> {
    this.#isEnded = true;
    this.#isRunning = false;
    return await Promise.all(
      this.#isolates.map((isolate) => isolate.close(waitMs)),
    );
  }

  /** Ends all isolates at once. */
  terminate(): void {
    this.#isEnded = true;
    this.#terminate();
  }

  #terminate(): void {
    this.#isRunning = false;
    for (const isolate of this.#isolates) isolate.terminate();
    this.#isolates = [];
  }
}
