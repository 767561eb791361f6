/**
 * `deno task start gateway`: reads the command line, starts isolates and the data plane, tells what was decided, and drains on
 * signals. User code runs in isolates only, so nothing that a handler does can keep main from hearing a signal.
 *
 * @module
 */
import {
  adviceFor,
  type Attempt,
  typedWords,
  withLog,
  withPermission,
} from "./advice.ts";
import {
  type Command,
  HELP,
  parseCommand,
  UsageError,
} from "./command_line.ts";
import {
  applyCertificates,
  flagsOf,
  importMapOf,
  isFileModule,
  sourceOf,
  sourceText,
  StartError,
  userFolder,
} from "./command_source.ts";
import { GatewayError, show } from "./errors.ts";
import {
  DataPlane,
  type IsolateSeat,
  notifyStarter,
  VERSION,
} from "./gateway.ts";
import { Generation, type Recipe, sourceGraph } from "./generation.ts";
import type { LoadedApp } from "./isolate_messages.ts";
import { FileWatcher } from "./module_graph.ts";
import {
  clientHelloLines,
  dataPlaneLines,
  fixedChanges,
  listenerUrls,
  overrideLines,
  routeLines,
  upstreamLines,
} from "./narrate.ts";
import type { CertificateOptions, CheckedOptions } from "./options.ts";
import { ReloadQueue, Superseded } from "./reload_queue.ts";
import { ModuleError, RestartPolicy } from "./supervisor.ts";
import {
  type ServiceOptions,
  serviceOptions,
  ServiceStates,
} from "./systemd.ts";
import { UpstreamWatch } from "./upstream_watch.ts";

const EXIT_OK = 0;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

// One Ctrl-C may reach us twice: from the terminal, and from `deno task`.
const SAME_SIGNAL_MS = 500;
const SLOW_LOAD_MS = 5000;
const ERROR_LINES_MAX = 8;
const SEAT_POLL_MS = 50;
const UPSTREAM_LOOK_MS = 1000;
const SEATS_MAX = 32;
const GIVEN_UP_MAX = 8;

const started = performance.now();

function say(line: string): void {
  console.error(`sluice: ${line}`);
}

// Each reload takes as many seats as there are isolates, and those before it keep theirs until they have finished.
function seatsFor({ isolates }: CheckedOptions, watch: boolean): number {
  return watch ? SEATS_MAX : 2 * isolates;
}

// ---- The run

class Run {
  #generation: Generation | undefined; // whose plan the plane has
  #loading: Generation | undefined; // that is to be the next
  #givenUp = 0; // isolates that were blocked and whose threads go on
  #retiring = new Set<Generation>();
  #restarts: RestartPolicy[] = [];
  #recipe!: Recipe;
  #certificates: CertificateOptions[] | undefined;
  #name = "";
  #fixed!: CheckedOptions; // as C has them
  #plane!: DataPlane;
  #isReady = false;
  #watcher: FileWatcher | undefined;
  #reloads: ReloadQueue;
  #closing: Promise<number> | undefined;
  #exit: (code: number) => void;
  #firstSignal = 0;
  #service: ServiceOptions;
  #states: ServiceStates | undefined; // somebody wants to know
  #urls = "";
  #words: readonly string[];
  #upstreamLooks: ReturnType<typeof setInterval> | undefined;

  constructor(
    words: readonly string[],
    exit: (code: number) => void,
    service: ServiceOptions,
  ) {
    this.#words = words;
    this.#exit = exit;
    this.#service = service;
    const { notifySocket } = service;
    if (notifySocket !== undefined) {
      this.#states = new ServiceStates(
        service,
        (text) => notifyStarter(notifySocket, text),
        (text) => say(`warning: ${text}`),
      );
    }
    this.#reloads = new ReloadQueue(
      (isAsked) => this.#reloadOnce(isAsked),
      () => this.#loading?.terminate(),
    );
  }

  async start(command: Command): Promise<void> {
    const source = await sourceOf(command, this.#words);
    const flags = await flagsOf(command, source);
    const importMap = await importMapOf(Deno.env.get("SLUICE_IMPORT_MAP"));
    const debug = Deno.env.get("SLUICE_DEBUG") !== undefined;
    this.#recipe = { source, overrides: flags.overrides, importMap, debug };
    this.#certificates = flags.certificates;
    const { module } = command; // of the packed binary, if nobody has typed it
    const isInside = module !== undefined && !this.#words.includes(module);
    this.#name = sourceText(source, command, isInside);
    if (command.watch && !isFileModule(source)) {
      throw new UsageError(
        `--watch needs a MODULE that is a file (this runs ${this.#name})`,
      );
    }
    say(`pid ${Deno.pid}, version ${VERSION}, running ${this.#name}`);
    const generation = this.#loading = this.#newGeneration();
    const { options, plan, given } = await this.#load(generation);
    for (const line of overrideLines(given, flags.overrides)) say(line);
    this.#fixed = options;
    this.#plane = new DataPlane(
      options,
      seatsFor(options, command.watch),
      this.#service.sockets,
      (text) => {
        say(text);
        const certificates = this.#plane.certificates.stats();
        for (
          const one of [this.#generation, this.#loading, ...this.#retiring]
        ) {
          one?.renewed(certificates);
        }
      },
    );
    const seats = await this.#takeSeats(options.isolates);
    for (const line of dataPlaneLines(this.#plane.describe(), options)) {
      say(line);
    }
    await this.#runFirst(generation, seats);
    this.#plane.load(plan, generation.seats);
    this.#generation = generation;
    this.#loading = undefined;
    await this.#plane.start();
    for (
      const line of [
        ...routeLines(plan, isInside ? "" : module),
        ...upstreamLines(plan),
        ...clientHelloLines(options),
      ]
    ) say(line);
    for (const warning of [...this.#plane.warnings, ...plan.warnings]) {
      say(`warning: ${warning}`);
    }
    if (flags.note) say(flags.note);
    if (command.watch) await this.#watch();
    const ms = Math.round(performance.now() - started);
    this.#urls = listenerUrls(options, this.#plane.addresses).join(" ");
    say(`ready in ${ms} ms on ${this.#urls}`);
    this.#isReady = true;
    this.#states?.ready(`serving ${this.#urls}`);
    if (options.log === "off") this.#watchUpstreams();
  }

  #watchUpstreams(): void {
    const watch = new UpstreamWatch();
    this.#upstreamLooks = setInterval(() => {
      if (this.#generation!.app.plan.upstreams.length === 0) return;
      for (const line of watch.look(this.#plane.stats(), performance.now())) {
        say(`warning: ${line}. ${withLog(this.attempt)}`);
      }
    }, UPSTREAM_LOOK_MS);
  }

  async #runFirst(
    generation: Generation,
    seats: IsolateSeat[],
  ): Promise<void> {
    try {
      await generation.run(seats, this.#plane);
    } catch (error) {
      if (!(error instanceof ModuleError)) throw error;
      const text = `Cannot start ${this.#name}: ${error.message}`;
      throw new StartError(text, { cause: error });
    }
  }

  #newGeneration(): Generation {
    return new Generation(
      this.#recipe,
      (...end) => this.#isolateEnded(...end),
    );
  }

  // The module's app, with the flags that concern what it says.
  async #load(generation: Generation): Promise<LoadedApp> {
    const slow = setTimeout(
      () =>
        say(
          `still loading ${this.#name}: does it await something that does not come?`,
        ),
      SLOW_LOAD_MS,
    );
    try {
      const app = await generation.load();
      applyCertificates(app, this.#certificates);
      return app;
    } catch (error) {
      if (!(error instanceof ModuleError)) throw error;
      throw new StartError(
        `Cannot load ${this.#name}: ${error.message}${
          moduleAdvice(error.message, this.attempt)
        }`,
        { cause: error },
      );
    } finally {
      clearTimeout(slow);
    }
  }

  // Those of generations that finish become free when they have, at their deadline at the latest.
  async #takeSeats(count: number): Promise<IsolateSeat[]> {
    const seats: IsolateSeat[] = [];
    for (let told = false; seats.length < count;) {
      const seat = this.#plane.takeSeat();
      if (seat) {
        seats.push(seat);
        continue;
      }
      if (!told) {
        say(
          `reload: ${this.#retiring.size} older generations still have requests; waiting for one to finish`,
        );
      }
      told = true;
      await new Promise((resolve) => setTimeout(resolve, SEAT_POLL_MS));
      if (this.#closing) break;
    }
    return seats;
  }

  /** SIGUSR2. */
  tellStats(): void {
    if (this.#isReady && !this.#closing) {
      const generations = 1 + this.#retiring.size;
      say(`stats ${JSON.stringify({ ...this.#plane.stats(), generations })}`);
    }
  }

  // ---- Reloads

  async #watch(): Promise<void> {
    this.#watcher = new FileWatcher(() => this.#reloads.changed());
    await this.#watcher.watch((await sourceGraph(this.#recipe)).files);
    this.#reloads.changed(); // what was saved before the watching began
  }

  /** SIGHUP. */
  hangup(): void {
    if (this.#closing) return;
    say("SIGHUP: reload");
    if (this.#isReady) {
      this.#plane.certificates.look();
      this.#reloads.asked();
    } else say("reload: it is starting; nothing to do");
  }

  // `isAsked`: also if no file has changed. Never throws: what is wrong is said, and the old generation goes on.
  async #reloadOnce(isAsked: boolean): Promise<void> {
    if (this.#closing) return;
    const graph = await sourceGraph(this.#recipe);
    await this.#watcher?.watch(graph.files);
    const last = this.#triedSum ?? this.#generation!.sum;
    if (!isAsked && graph.sum === last) return;
    this.#triedSum = graph.sum;
    if (!isAsked && graph.sum === this.#generation!.sum) {
      say("reload: the files are again as they are running");
      return;
    }
    this.#states?.reloading();
    try {
      await this.#next();
      this.#states?.ready(`serving ${this.#urls}`);
    } catch (error) {
      if (this.#closing) return;
      const isSuperseded = error instanceof Superseded;
      const text = isSuperseded
        ? ""
        : `reload failed, what ran before goes on: ${withPlace(error)}`;
      if (!isSuperseded) say(text);
      this.#states?.ready(text || `serving ${this.#urls}`);
    }
  }

  #triedSum: string | undefined;

  // The next generation: made beside the current one, warm before any request comes to it, then one switch.
  async #next(): Promise<void> {
    const begun = performance.now();
    const generation = this.#loading = this.#newGeneration();
    try {
      const { options, plan } = await this.#load(generation);
      if (2 * options.isolates > this.#plane.seatCount) {
        throw new StartError(
          `isolates is ${options.isolates} now: restart to apply`,
        );
      }
      const seats = await this.#takeSeats(options.isolates);
      if (this.#closing) throw new Superseded();
      await generation.run(seats, this.#plane);
      if (this.#closing) throw new Superseded();
      this.#plane.load(plan, generation.seats);
    } catch (error) {
      generation.terminate();
      for (const seat of generation.seats) {
        if (!this.#closing) this.#plane.isolateGone(seat, "retired");
      }
      throw this.#reloads.isAborting ? new Superseded() : error;
    } finally {
      this.#loading = undefined;
    }
    const before = this.#generation!;
    this.#generation = generation;
    this.#triedSum = generation.sum;
    this.#tellNext(generation.app, performance.now() - begun);
    this.#retire(before);
  }

  #tellNext({ options, plan }: LoadedApp, ms: number): void {
    say(`reloaded in ${Math.round(ms)} ms: ${routeLines(plan)[0]}`);
    for (const warning of plan.warnings) say(`warning: ${warning}`);
    const fixed = fixedChanges(this.#fixed, options);
    if (fixed.length > 0) {
      say(
        `warning: ${fixed.join(", ")} ${
          fixed.length === 1 ? "has" : "have"
        } changed: restart to apply`,
      );
    }
  }

  async #retire(generation: Generation): Promise<void> {
    this.#retiring.add(generation);
    const { drainMs } = this.#generation!.app.options.limits;
    const { cut } = await generation.retire(
      this.#plane,
      drainMs,
      () => this.#closing !== undefined,
    );
    this.#retiring.delete(generation);
    if (cut) {
      say(
        `cut requests that the isolates before the reload still had after ${drainMs} ms`,
      );
    }
  }

  // ---- Isolates that end

  // What it had begun is answered 503; what comes meanwhile goes to the others, or is answered 503 until it runs again. Where that does not help,
  // whoever restarts us can do better.
  #isolateEnded(
    generation: Generation,
    index: number,
    reason: string,
    end: "crashed" | "blocked",
    dead: Promise<void>,
  ): void {
    if (this.#closing) return;
    this.#plane.isolateGone(generation.seats[index], end);
    if (end === "blocked") this.#countGivenUp(dead);
    if (this.#closing) return;
    if (generation !== this.#generation) {
      if (generation === this.#loading) generation.terminate();
      say(`error: isolate ${index} of another generation has ended: ${reason}`);
      return;
    }
    const policy = this.#restarts[index] ??= new RestartPolicy();
    const pauseMs = policy.crashed(performance.now());
    if (pauseMs === undefined) {
      say(`error: isolate ${index} has ended: ${reason}`);
      if (this.#watcher) {
        say(`error: ${policy}; waiting for the next save`);
        return;
      }
      say(`error: ${policy}; draining, exit 1`);
      this.#drain(EXIT_FAILED);
      return;
    }
    say(
      `error: isolate ${index} has ended: ${reason}; it starts again in ${pauseMs} ms`,
    );
    setTimeout(
      () => this.#reloads.alone(() => this.#restart(generation, index)),
      pauseMs,
    );
  }

  // Each keeps its thread and its memory until its handler returns, if ever.
  #countGivenUp(dead: Promise<void>): void {
    this.#givenUp++;
    dead.then(() => this.#givenUp--);
    if (this.#givenUp < GIVEN_UP_MAX) return;
    say(
      `error: ${this.#givenUp} blocked isolates do not end; draining, exit 1`,
    );
    this.#drain(EXIT_FAILED);
  }

  // As it was, or, where its files have changed since, in a generation of its own: an isolate never runs beside the plan of another module.
  async #restart(generation: Generation, index: number): Promise<void> {
    if (this.#closing || generation !== this.#generation) return;
    try {
      const result = await generation.restart(index, this.#plane);
      if (this.#closing || generation !== this.#generation) return;
      if (result === "running") say(`isolate ${index} runs again`);
      else if (result === "changed") await this.#next();
    } catch (error) {
      if (this.#closing || error instanceof Superseded) return;
      const reason = error instanceof StartError
        ? error.message.replace(`Cannot load ${this.#name}: `, "")
        : error instanceof Error
        ? error.message
        : show(error);
      this.#isolateEnded(
        generation,
        index,
        reason,
        "crashed",
        Promise.resolve(),
      );
    }
  }

  // ---- The end

  signal(name: string): void {
    const now = performance.now();
    if (this.#closing) {
      if (now - this.#firstSignal < SAME_SIGNAL_MS) return;
      say(`${name} again: exit at once`);
      this.#exit(EXIT_FAILED);
      return;
    }
    this.#firstSignal = now;
    if (!this.#generation) this.#exit(EXIT_OK);
    else {
      const running = this.#plane.stats().requests_live;
      const { drainMs } = this.#generation.app.options.limits;
      this.#drain(EXIT_OK); // first: what is said holds by then
      say(`${name}: draining ${running} requests, at most ${drainMs} ms`);
    }
  }

  #drain(code: number): void {
    if (!this.#closing) this.#states?.stopping("draining");
    this.#closing ??= this.#close(code);
    this.#closing.then(this.#exit, (error) => {
      report(error, this.attempt);
      this.#exit(EXIT_FAILED);
    });
  }

  async #close(code: number): Promise<number> {
    const { drainMs } = this.#generation!.app.options.limits;
    const until = performance.now() + drainMs;
    this.#watcher?.close();
    clearInterval(this.#upstreamLooks);
    this.#loading?.terminate();
    await this.#plane.drain(drainMs);
    const left = Math.max(0, until - performance.now());
    await Promise.all(
      [this.#generation!, ...this.#retiring].map((generation) =>
        generation.close(left)
      ),
    );
    const { responses, conns_accepted, byStatus } = this.#plane.stats();
    this.#plane.free();
    if (byStatus.draining > 0) {
      say(
        `cut ${byStatus.draining} connections at the deadline of ${drainMs} ms`,
      );
    }
    say(`closed after ${responses} answers on ${conns_accepted} connections`);
    return code;
  }

  /** What was tried, for those who advise. */
  get attempt(): Attempt {
    return { words: this.#words, options: this.#fixed };
  }

  /** Ends what was begun, after a failed start. */
  abandon(): void {
    this.#loading?.terminate();
    this.#generation?.terminate();
  }
}

// ---- Errors

/** What is wrong, with the place in a file first: `app.ts:3:7`, as seen from the user's folder. */
function withPlace(error: unknown): string {
  const text = error instanceof Error ? error.message : show(error);
  const place = error instanceof StartError &&
    error.cause instanceof ModuleError && error.cause.place;
  // deno-lint-ignore no-control-regex -- Deno colours some of its errors
  const lines = text.replace(/\x1b\[[0-9;]*m/g, "").split("\n");
  const shown = place &&
    decodeURI(new URL(place).pathname).replace(`${userFolder()}/`, "");
  return [...shown ? [shown] : [], ...lines.slice(0, ERROR_LINES_MAX)]
    .join("\n");
}

function moduleAdvice(message: string, attempt: Attempt): string {
  const permission = /run again with the (--allow-[a-z]+)/.exec(message);
  if (permission) return `\n${withPermission(attempt, permission[1])}`;
  if (
    /Relative import path "([^"]+)" not prefixed|Import "([^"]+)" not a dependency/
      .test(message)
  ) {
    return "\nAdd the package to the deno.json or package.json beside the module (deno add npm:NAME).";
  }
  return "";
}

function report(error: unknown, attempt: Attempt): void {
  if (error instanceof UsageError) {
    say(
      `${error.message}\nusage: deno task start gateway [MODULE] [options]     (--help shows them)`,
    );
  } else if (error instanceof StartError) say(error.message);
  else if (error instanceof GatewayError) {
    say(`error: ${error.message}`);
    const advice = adviceFor(error, attempt);
    if (advice) console.error(advice);
  } else {say(
      `error: ${
        error instanceof Error ? error.stack ?? error.message : show(error)
      }`,
    );}
}

// The packed binary's own libgcc (native/launcher/launcher.c) is loaded by now, and not there for programs that a module starts.
function dropOwnPreload(): void {
  if (/^\/proc\/self\/fd\/\d+$/.test(Deno.env.get("LD_PRELOAD") ?? "")) {
    Deno.env.delete("LD_PRELOAD");
  }
}

async function main(args: readonly string[]): Promise<void> {
  dropOwnPreload();
  const service = serviceOptions(Deno.env, Deno.pid);
  const words = typedWords(Deno.env.get("SLUICE_WORDS"), args);
  const run = new Run(words, (code) => Deno.exit(code), service);
  try {
    const command = parseCommand(args);
    if (command.help) {
      console.log(HELP.trimEnd());
      return;
    }
    if (command.version) {
      console.log(VERSION);
      return;
    }
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      Deno.addSignalListener(signal, () => run.signal(signal));
    }
    Deno.addSignalListener("SIGHUP", () => run.hangup());
    Deno.addSignalListener("SIGUSR2", () => run.tellStats());
    await run.start(command);
  } catch (error) {
    report(error, run.attempt);
    run.abandon();
    Deno.exit(error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED);
  }
}

if (import.meta.main) await main(Deno.args);
