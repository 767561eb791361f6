/**
 * `deno task start gateway`: reads the command line, starts isolates and the data plane, tells what was decided, and drains on
 * signals. User code runs in isolates only, so nothing that a handler does can keep main from hearing a signal.
 *
 * @module
 */
import {
  type Command,
  HELP,
  parseCommand,
  UsageError,
} from "./command_line.ts";
import { GatewayError, show } from "./errors.ts";
import { DataPlane, makeCertificate, VERSION } from "./gateway.ts";
import type { AppSource, LoadedApp } from "./isolate_messages.ts";
import { localCertificate, stateFolder } from "./local_certificate.ts";
import {
  dataPlaneLines,
  listenerUrls,
  overrideLines,
  routeLines,
  upstreamLines,
} from "./narrate.ts";
import type {
  CertificateOptions,
  GatewayOptions,
  ListenerOptions,
} from "./options.ts";
import { IsolateHandle, ModuleError, RestartPolicy } from "./supervisor.ts";

const EXIT_OK = 0;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

// One Ctrl-C may reach us twice: from the terminal, and from `deno task`.
const SAME_SIGNAL_MS = 500;
const SLOW_LOAD_MS = 5000;

/** A failure whose message says all: what was tried, why it failed, and what to type next. */
class StartError extends Error {}

const started = performance.now();

function say(line: string): void {
  console.error(`sluice: ${line}`);
}

// ---- What to run

async function sourceOf(command: Command): Promise<AppSource> {
  if (command.upstream !== undefined) {
    return { kind: "upstream", url: command.upstream };
  }
  if (command.module === undefined) {
    const conventional = fileUrl("gateway.ts");
    return await isFile(conventional)
      ? { kind: "module", url: conventional.href }
      : { kind: "default" };
  }
  if (/^(?:https?|npm|jsr|data):/.test(command.module)) {
    return { kind: "module", url: command.module };
  }
  const url = command.module.startsWith("file:")
    ? new URL(command.module)
    : fileUrl(command.module);
  if (!await isFile(url)) {
    throw new StartError(
      `Cannot load ${command.module}: there is no such file in ${userFolder()}.\n` +
        "Name a file that exports a Hono app or a gateway, or none for the welcome page: deno task start gateway",
    );
  }
  return { kind: "module", url: url.href };
}

// `deno task` changes the folder; the user's is in INIT_CWD.
function userFolder(): string {
  return Deno.env.get("INIT_CWD") || Deno.cwd();
}

function fileUrl(path: string): URL {
  return new URL(
    path.replace(/[%?#]/g, encodeURIComponent),
    `file://${encodeURI(userFolder())}/`,
  );
}

async function isFile(url: URL): Promise<boolean> {
  try {
    return (await Deno.stat(url)).isFile;
  } catch {
    return false;
  }
}

function sourceText(source: AppSource, command: Command): string {
  if (source.kind === "default") return "the embedded default (a welcome page)";
  if (source.kind === "upstream") return `everything to ${source.url}`;
  return command.module ?? "gateway.ts";
}

// ---- Options from flags

interface Flags {
  overrides: Partial<GatewayOptions>;
  /** Replaces the certificates of every listener with TLS. */
  certificates?: CertificateOptions[];
  /** What to say about the local certificate. */
  note?: string;
}

async function flagsOf(command: Command, source: AppSource): Promise<Flags> {
  const { workers, isolates, log } = command;
  const io = command.io ?? ioOfEnvironment();
  const given = Object.entries({ workers, isolates, log, io }).filter((
    [, value],
  ) => value !== undefined);
  const flags: Flags = { overrides: Object.fromEntries(given) };
  if (command.cert.length > 0) {
    flags.certificates = command.cert.map((cert, i) => ({
      cert: userPath(cert),
      key: userPath(command.key[i]),
    }));
  }
  const http = command.http;
  let https = command.https;
  if (http.length + https.length === 0) {
    if (source.kind === "module") return flags;
    http.push("127.0.0.1:8080");
    https = ["127.0.0.1:8443"];
  }
  const listeners: ListenerOptions[] = http.map((address) => ({ address }));
  if (https.length > 0) {
    const certificates = flags.certificates ?? [await takeLocal(flags)];
    for (const address of https) {
      listeners.push({ address, tls: { certificates } });
    }
  }
  flags.overrides.listeners = listeners;
  return flags;
}

function ioOfEnvironment(): Command["io"] {
  const value = Deno.env.get("SLUICE_IO");
  if (!value) return undefined;
  if (value === "auto" || value === "uring" || value === "epoll") return value;
  throw new UsageError(
    `SLUICE_IO must be auto, uring or epoll (got ${show(value)})`,
  );
}

function userPath(path: string): string {
  return path.startsWith("/") ? path : `${userFolder()}/${path}`;
}

async function takeLocal(flags: Flags): Promise<CertificateOptions> {
  const { certificate, kept } = await localCertificate(
    stateFolder((name) => Deno.env.get(name)),
    makeCertificate,
  );
  flags.note = "folder" in kept
    ? `certificate: a local one for localhost, kept in ${kept.folder}`
    : `certificate: a local one for localhost, in memory only (${kept.memory})`;
  return certificate;
}

function applyCertificates(
  app: LoadedApp,
  certificates: CertificateOptions[] | undefined,
): void {
  if (!certificates) return;
  const secure = app.options.listeners.filter((listener) => listener.tls);
  if (secure.length === 0) {
    throw new UsageError(
      "--cert and --key need a listener with TLS: add --https ADDR",
    );
  }
  for (const listener of secure) {
    listener.tls = { ...listener.tls, certificates };
  }
}

// ---- The run

class Run {
  #isolates: IsolateHandle[] = [];
  #restarts: RestartPolicy[] = [];
  #source!: AppSource;
  #overrides!: Partial<GatewayOptions>;
  #app!: LoadedApp;
  #plane!: DataPlane;
  #closing: Promise<number> | undefined;
  #exit: (code: number) => void;
  #firstSignal = 0;

  constructor(exit: (code: number) => void) {
    this.#exit = exit;
  }

  async start(command: Command): Promise<void> {
    const source = this.#source = await sourceOf(command);
    const flags = await flagsOf(command, source);
    this.#overrides = flags.overrides;
    say(
      `pid ${Deno.pid}, version ${VERSION}, running ${
        sourceText(source, command)
      }`,
    );
    this.#app = await this.#load(command);
    applyCertificates(this.#app, flags.certificates);
    const { options, plan, given } = this.#app;
    for (const line of overrideLines(given, flags.overrides)) say(line);
    this.#plane = new DataPlane(options, options.isolates);
    for (const line of dataPlaneLines(this.#plane.describe(), options)) {
      say(line);
    }
    this.#plane.load(plan);
    await this.#runIsolates();
    this.#plane.start();
    for (
      const line of [
        ...routeLines(plan, command.module),
        ...upstreamLines(plan),
      ]
    ) say(line);
    for (const warning of [...this.#plane.warnings, ...plan.warnings]) {
      say(`warning: ${warning}`);
    }
    if (flags.note) say(flags.note);
    const ms = Math.round(performance.now() - started);
    say(
      `ready in ${ms} ms on ${
        listenerUrls(options, this.#plane.addresses).join(" ")
      }`,
    );
  }

  async #load(command: Command): Promise<LoadedApp> {
    const isolate = this.#spawn(0);
    const name = sourceText(this.#source, command);
    const slow = setTimeout(
      () =>
        say(
          `still loading ${name}: does it await something that does not come?`,
        ),
      SLOW_LOAD_MS,
    );
    try {
      return await isolate.load(this.#source, this.#overrides);
    } catch (error) {
      if (!(error instanceof ModuleError)) throw error;
      throw new StartError(
        `Cannot load ${name}: ${error.message}${
          moduleAdvice(error.message, name)
        }`,
      );
    } finally {
      clearTimeout(slow);
    }
  }

  #spawn(index: number): IsolateHandle {
    const isolate = new IsolateHandle(
      `isolate ${index}`,
      (reason) => this.#isolateEnded(index, reason),
    );
    this.#isolates[index] = isolate;
    return isolate;
  }

  async #runIsolates(): Promise<void> {
    await Promise.all(this.#plane.seats.map(async (seat, index) => {
      const isolate = this.#isolates[index] ?? this.#spawn(index);
      if (index > 0) await isolate.load(this.#source, this.#overrides);
      await isolate.run(seat);
    }));
  }

  // Its requests are answered 503 from here on, until it runs again. Where that does not help, whoever restarts us can do better.
  #isolateEnded(index: number, reason: string): void {
    if (!this.#plane || this.#closing) return;
    this.#plane.isolateGone(index);
    const policy = this.#restarts[index] ??= new RestartPolicy();
    const pauseMs = policy.crashed(performance.now());
    if (pauseMs === undefined) {
      say(`error: isolate ${index} has ended: ${reason}`);
      say(`error: ${policy}; draining, exit 1`);
      this.#drain(EXIT_FAILED);
      return;
    }
    say(
      `error: isolate ${index} has ended: ${reason}; it starts again in ${pauseMs} ms`,
    );
    setTimeout(() => this.#restart(index), pauseMs);
  }

  // The plan stays: it is what all isolates run.
  async #restart(index: number): Promise<void> {
    if (this.#closing) return;
    const isolate = this.#spawn(index);
    try {
      await isolate.load(this.#source, this.#overrides);
      if (this.#closing) return;
      await isolate.run(this.#plane.seat(index));
      say(`isolate ${index} runs again`);
    } catch (error) {
      if (isolate.ended) return; // that was told
      isolate.terminate();
      this.#isolateEnded(
        index,
        error instanceof Error ? error.message : show(error),
      );
    }
  }

  signal(name: string): void {
    const now = performance.now();
    if (this.#closing) {
      if (now - this.#firstSignal < SAME_SIGNAL_MS) return;
      say(`${name} again: exit at once`);
      this.#exit(EXIT_FAILED);
      return;
    }
    this.#firstSignal = now;
    if (!this.#plane || !this.#app) this.#exit(EXIT_OK);
    else {
      const running = this.#plane.stats().requests_live;
      this.#drain(EXIT_OK); // first: what is said holds by then
      say(
        `${name}: draining ${running} requests, at most ${this.#app.options.limits.drainMs} ms`,
      );
    }
  }

  #drain(code: number): void {
    this.#closing ??= this.#close(code);
    this.#closing.then(this.#exit, (error) => {
      report(error);
      this.#exit(EXIT_FAILED);
    });
  }

  async #close(code: number): Promise<number> {
    const { drainMs } = this.#app.options.limits;
    const until = performance.now() + drainMs;
    await this.#plane.drain(drainMs);
    const left = Math.max(0, until - performance.now());
    await Promise.all(this.#isolates.map((isolate) => isolate.close(left)));
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

  /** Ends what was begun, after a failed start. */
  abandon(): void {
    for (const isolate of this.#isolates) isolate.terminate();
  }
}

// ---- Errors

function moduleAdvice(message: string, module: string): string {
  const permission = /run again with the (--allow-[a-z]+)/.exec(message);
  if (permission) {
    return `\nGive it that permission: deno task start gateway ${module} ${
      permission[1]
    }`;
  }
  if (
    /Relative import path "([^"]+)" not prefixed|Import "([^"]+)" not a dependency/
      .test(message)
  ) {
    return "\nAdd the package to the deno.json or package.json beside the module (deno add npm:NAME).";
  }
  return "";
}

const ADVICE: Record<string, string> = {
  address_in_use:
    "Stop that process, or take another address: deno task start gateway --http 127.0.0.1:0",
  io_unavailable: "Let the gateway choose: deno task start gateway --io auto",
  tls_config:
    "Look into the files: openssl x509 -noout -subject -dates -in CERT; openssl pkey -noout -check -in KEY",
};

function report(error: unknown): void {
  if (error instanceof UsageError) {
    say(
      `${error.message}\nusage: deno task start gateway [MODULE] [options]     (--help shows them)`,
    );
  } else if (error instanceof StartError) say(error.message);
  else if (error instanceof GatewayError) {
    say(`error: ${error.message}`);
    const advice = ADVICE[error.kind];
    if (advice) console.error(advice);
  } else {say(
      `error: ${
        error instanceof Error ? error.stack ?? error.message : show(error)
      }`,
    );}
}

async function main(args: readonly string[]): Promise<void> {
  const run = new Run((code) => Deno.exit(code));
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
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
      Deno.addSignalListener(signal, () => run.signal(signal));
    }
    await run.start(command);
  } catch (error) {
    report(error);
    run.abandon();
    Deno.exit(error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED);
  }
}

if (import.meta.main) await main(Deno.args);
