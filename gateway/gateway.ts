/**
 * A gateway: an app, its options, and the data plane that serves them.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import * as native from "../ffi/mod.ts";
import { makeRegion, reuseRegion, Ring, type RingMemory } from "../ffi/ring.ts";
import { parseAddress } from "./address.ts";
import type { ClientHelloHooks } from "./client_hello.ts";
import { Dispatcher, requestRunning, runDispatchers } from "./dispatcher.ts";
import { SocketDoorbell } from "./doorbell.ts";
import { backgroundDone } from "./request_env.ts";
import { GatewayError, show } from "./errors.ts";
import { explain, type Explanation } from "./explain.ts";
import { Lifecycle } from "./lifecycle.ts";
import {
  type CertificateStats,
  LiveCertificates,
  type ReloadedCertificates,
} from "./live_certificates.ts";
import {
  type CertificateOptions,
  type CheckedOptions,
  checkOptions,
  clientHelloHooksOf,
  type GatewayOptions,
  type LimitOptions,
  type ListenerTlsOptions,
  stekProviderOf,
} from "./options.ts";
import type { App } from "./app.ts";
import { compilePlan, type Plan, resolveUpstreams } from "./plan.ts";
import { encodePlan } from "./plan_blob.ts";
import { resolveHost } from "./resolve.ts";
import type { PluginStats } from "./plugins/contain.ts";
import { type PluginLike, PluginRegistry } from "./plugins/registry.ts";
import { installResponse } from "./response.ts";
import {
  type ClientAuthMode,
  type ClientAuthRow,
  compileClientAuth,
  compileHandshake,
  compileResumption,
  GROUP_NUMBERS,
  type HandshakeRow,
  type ResumptionMode,
  type ResumptionRow,
  type STEKProvider,
} from "../tls/mod.ts";
import { StekFeed } from "./stek_feed.ts";
import { setNamedUpstreams } from "./upstream.ts";
import { installUpgradeGuard } from "./websocket.ts";
import { setUnderscoreHeaders } from "./forward.ts";

/** The version of the data plane and of everything around it. */
export const VERSION: string = abi.SL_VERSION;

// ---- The data plane

const IO = {
  auto: abi.SL_IO_AUTO,
  uring: abi.SL_IO_URING,
  epoll: abi.SL_IO_EPOLL,
};
const LOG = {
  off: abi.SL_LOG_OFF,
  text: abi.SL_LOG_TEXT,
  json: abi.SL_LOG_JSON,
};

// Where each limit lies in sl_config. `drainMs` is an argument of sl_gateway_drain, `isolateTimeoutMs` the supervisor's.
const LIMIT_OFFSETS: Record<
  Exclude<keyof LimitOptions, "drainMs" | "isolateTimeoutMs">,
  number
> = {
  exchanges: abi.SL_CONFIG_EXCHANGES_OFF,
  connsMax: abi.SL_CONFIG_CONNS_MAX_OFF,
  requestsMax: abi.SL_CONFIG_REQUESTS_MAX_OFF,
  headBytesMax: abi.SL_CONFIG_HEAD_BYTES_MAX_OFF,
  lineBytesMax: abi.SL_CONFIG_LINE_BYTES_MAX_OFF,
  fieldsMax: abi.SL_CONFIG_FIELDS_MAX_OFF,
  headTimeoutMs: abi.SL_CONFIG_HEAD_TIMEOUT_MS_OFF,
  bodyTimeoutMs: abi.SL_CONFIG_BODY_TIMEOUT_MS_OFF,
  idleTimeoutMs: abi.SL_CONFIG_IDLE_TIMEOUT_MS_OFF,
  writeStallMs: abi.SL_CONFIG_WRITE_STALL_MS_OFF,
  handlerTimeoutMs: abi.SL_CONFIG_HANDLER_TIMEOUT_MS_OFF,
  lingerMs: abi.SL_CONFIG_LINGER_MS_OFF,
  bodyBytesMax: abi.SL_CONFIG_BODY_BYTES_MAX_OFF,
  pipelineBytesMax: abi.SL_CONFIG_PIPELINE_BYTES_MAX_OFF,
  highWatermarkBytes: abi.SL_CONFIG_HIGH_WATERMARK_BYTES_OFF,
  lowWatermarkBytes: abi.SL_CONFIG_LOW_WATERMARK_BYTES_OFF,
  requestsPerConnMax: abi.SL_CONFIG_REQUESTS_PER_CONN_MAX_OFF,
  notFoundInFlight: abi.SL_CONFIG_NOT_FOUND_MAX_OFF,
  backlog: abi.SL_CONFIG_BACKLOG_OFF,
  connAgeMs: abi.SL_CONFIG_CONN_AGE_MS_OFF,
  ticketSetBytes: abi.SL_CONFIG_TICKET_SET_BYTES_OFF,
  sealedBytes: abi.SL_CONFIG_SEALED_BYTES_OFF,
  prefault: abi.SL_CONFIG_PREFAULT_OFF,
  bodyBytesPerSecondMin: abi.SL_CONFIG_BODY_BYTES_PER_SECOND_MIN_OFF,
  bodyGraceMs: abi.SL_CONFIG_BODY_GRACE_MS_OFF,
  writeBytesPerSecondMin: abi.SL_CONFIG_WRITE_BYTES_PER_SECOND_MIN_OFF,
  pipelineRequestsMax: abi.SL_CONFIG_PIPELINE_REQUESTS_MAX_OFF,
  lingerBytesMax: abi.SL_CONFIG_LINGER_BYTES_MAX_OFF,
  connsPerAddressMax: abi.SL_CONFIG_CONNS_PER_ADDRESS_MAX_OFF,
  largeBufs: abi.SL_CONFIG_LARGE_BUFS_OFF,
  smallBufs: abi.SL_CONFIG_SMALL_BUFS_OFF,
};

function configWords(options: CheckedOptions, isolates: number): Uint32Array {
  const words = new Uint32Array(abi.SL_CONFIG_BYTES / 4);
  words[abi.SL_CONFIG_IO_OFF / 4] = IO[options.io];
  words[abi.SL_CONFIG_LOG_OFF / 4] = LOG[options.log];
  words[abi.SL_CONFIG_WORKERS_OFF / 4] = options.workers;
  words[abi.SL_CONFIG_ISOLATES_OFF / 4] = isolates;
  for (const [key, off] of Object.entries(LIMIT_OFFSETS)) {
    words[off / 4] = options.limits[key as keyof typeof LIMIT_OFFSETS];
  }
  const { keyRotationMs, keysKept, earlyWindowMs, given } = options.steks;
  words[abi.SL_CONFIG_STEK_ROTATION_MS_OFF / 4] = given
    ? abi.SL_STEKS_GIVEN
    : keyRotationMs;
  words[abi.SL_CONFIG_STEKS_KEPT_OFF / 4] = keysKept;
  words[abi.SL_CONFIG_EARLY_WINDOW_MS_OFF / 4] = earlyWindowMs;
  return words;
}

const MODES: Record<ResumptionMode, number> = {
  off: abi.SL_RESUMPTION_OFF,
  stateless: abi.SL_RESUMPTION_STATELESS,
  once: abi.SL_RESUMPTION_ONCE,
  sealed: abi.SL_RESUMPTION_SEALED,
};

const CLIENT_AUTH: Record<ClientAuthMode, number> = {
  optional: abi.SL_CLIENT_AUTH_OPTIONAL,
  required: abi.SL_CLIENT_AUTH_REQUIRED,
};

function methodBits(methods: readonly string[]): number {
  return methods.reduce(
    (bits, method) => bits | 1 << abi.METHODS.indexOf(method),
    0,
  );
}

const VERSIONS = { "1.2": 0x0303, "1.3": 0x0304 };

function handshakeWords(
  { minVersion, groups, alpn }: HandshakeRow,
): Uint32Array {
  const words = new Uint32Array(abi.SL_HANDSHAKE_BYTES / 4);
  words[abi.SL_HANDSHAKE_VERSION_MIN_OFF / 4] = VERSIONS[minVersion];
  words[abi.SL_HANDSHAKE_GROUP_COUNT_OFF / 4] = groups.length;
  const numbers = groups.map((group) => GROUP_NUMBERS[group]);
  words.set(numbers, abi.SL_HANDSHAKE_GROUPS_OFF / 4);
  words[abi.SL_HANDSHAKE_ALPN_OFF_OFF / 4] = alpn.length === 0 ? 1 : 0;
  return words;
}

function resumptionWords(row: ResumptionRow): Uint32Array {
  const words = new Uint32Array(abi.SL_RESUMPTION_BYTES / 4);
  const { earlyData } = row;
  words[abi.SL_RESUMPTION_MODE_OFF / 4] = MODES[row.mode];
  words[abi.SL_RESUMPTION_TICKETS_OFF / 4] = row.ticketsPerConn;
  words[abi.SL_RESUMPTION_TICKET_LIFETIME_S_OFF / 4] = Math.ceil(
    row.ticketLifetimeMs / 1000,
  );
  words[abi.SL_RESUMPTION_EARLY_DATA_OFF / 4] = earlyData ? 1 : 0;
  words[abi.SL_RESUMPTION_EARLY_WINDOW_S_OFF / 4] = Math.ceil(
    (earlyData?.windowMs ?? 0) / 1000,
  );
  words[abi.SL_RESUMPTION_EARLY_AGE_SKEW_MS_OFF / 4] = earlyData?.ageSkewMs ??
    0;
  words[abi.SL_RESUMPTION_EARLY_METHODS_OFF / 4] = methodBits(
    earlyData?.methods ?? [],
  );
  words[abi.SL_RESUMPTION_EARLY_BYTES_MAX_OFF / 4] = earlyData?.maxBytes ?? 0;
  return words;
}

/** What one isolate needs to run its routes. */
export interface IsolateSeat {
  gateway: number;
  isolate: number;
  /** One region for each worker. */
  rings: RingMemory[];
  /** Those in use. */
  certificates: CertificateStats[];
  /** Where the gateway listens, in the order of its listeners. */
  addresses: readonly Deno.NetAddr[];
}

/** An isolate's work as others see it. */
export interface IsolateWork {
  /** Changes with each event that it begins. */
  progress(): number;
  /** The request that it handles now, as "METHOD URL", if it is in a handler's first turn. */
  running(): string | undefined;
}

/** Why an isolate has ended. */
export type IsolateEnd = "retired" | "crashed" | "blocked";
const ENDS: Record<IsolateEnd, number> = {
  retired: abi.SL_ISOLATE_RETIRED,
  crashed: abi.SL_ISOLATE_CRASHED,
  blocked: abi.SL_ISOLATE_BLOCKED,
};

// How long native threads may take to end after the drain's deadline.
const END_WAIT_MS = 5000;
const POLL_MS = 10;

/** The native half of a gateway: workers, listeners and rings. Made warming; `start` makes it active. */
export class DataPlane {
  readonly handle: number;
  readonly addresses: Deno.NetAddr[] = [];
  /** What is wrong with certificates, though they can be used. */
  readonly warnings: string[] = [];
  readonly certificates: LiveCertificates;
  /** Whether its session ticket keys come from a provider. */
  readonly takesSteks: boolean;
  #seats: (IsolateSeat | undefined)[];
  #memory: RingMemory[][] = []; // by seat: of who sat there last
  #exchanges = 0;
  #workers = 0;
  #started = false;
  #last?: PlaneStats;

  /**
   * `seats`: how many isolates there can be at once, those that end while others begin included. `sockets`: descriptors that listen already, for the
   * listeners with their addresses. `note` hears what went well while it runs.
   */
  constructor(
    options: CheckedOptions,
    seats: number,
    sockets: readonly number[] = [],
    note: (text: string) => void = () => {},
  ) {
    this.#seats = new Array(seats).fill(undefined);
    this.takesSteks = options.steks.given;
    this.certificates = new LiveCertificates({
      describe: native.certificateDescribe,
      ocsp: native.ocspDescribe,
      replace: (...row) =>
        native.gatewayCertificateReplace(this.handle, ...row),
    }, {
      warn: (text) => console.error(`sluice: warning: ${text}`),
      note,
    });
    this.handle = orGatewayError(() =>
      native.gatewayNew(configWords(options, seats))
    );
    try {
      orGatewayError(() => this.#prepare(options, sockets));
    } catch (error) {
      native.gatewayFree(this.handle);
      throw error;
    }
  }

  #prepare(options: CheckedOptions, sockets: readonly number[]): void {
    const inherited = new Map(
      sockets.map((fd) => [native.socketAddress(fd), fd]),
    );
    const sets = new Map<string, number>(); // listeners with the same certificates share them
    for (const [i, { address, tls }] of options.listeners.entries()) {
      const path = `listeners[${i}].tls.certificates`;
      const certificate = tls
        ? this.#certificates(tls, path, sets)
        : native.NO_CERTIFICATE;
      const fd = takeSocket(inherited, address);
      const port = fd === undefined
        ? native.gatewayListen(this.handle, address, certificate)
        : native.gatewayAdopt(this.handle, fd, certificate);
      const host = address.slice(0, address.lastIndexOf(":")).replace(
        /^\[|\]$/g,
        "",
      );
      const hostname = host === "localhost" ? "127.0.0.1" : host;
      this.addresses.push({ transport: "tcp", hostname, port });
      if (tls?.clientHelloTimeoutMs !== undefined) {
        native.gatewayClientHello(this.handle, i, tls.clientHelloTimeoutMs);
      }
    }
    if (inherited.size > 0) throw unclaimed([...inherited.keys()], options);
    this.#exchanges = options.limits.exchanges;
    this.#workers = Number(this.describe().workers);
  }

  /** How many isolates there can be at once. */
  get seatCount(): number {
    return this.#seats.length;
  }

  /** A seat for one more isolate, or undefined: all are taken, perhaps by one whose last bytes are being sent. */
  takeSeat(): IsolateSeat | undefined {
    const isolate = this.#seats.findIndex((seat, i) =>
      seat === undefined &&
      native.gatewayIsolateState(this.handle, i) === abi.SL_SEAT_EMPTY
    );
    return isolate < 0 ? undefined : this.#sit(isolate, this.#memory[isolate]);
  }

  /** The same seat for the next life of an isolate that is gone. */
  retakeSeat({ isolate }: IsolateSeat): IsolateSeat {
    return this.#sit(isolate, undefined); // what the last one had may still be being sent
  }

  #sit(isolate: number, known: RingMemory[] | undefined): IsolateSeat {
    const attach = (worker: number) => (region: Uint8Array) =>
      native.gatewayAttach(this.handle, worker, isolate, region);
    known?.forEach((memory, worker) => reuseRegion(memory, attach(worker)));
    const rings = known ?? Array.from(
      { length: this.#workers },
      (_, worker) => makeRegion(this.#exchanges, attach(worker)),
    );
    this.#memory[isolate] = rings;
    const { handle: gateway, addresses } = this;
    const certificates = this.certificates.stats();
    const seat = { gateway, isolate, rings, addresses, certificates };
    return this.#seats[isolate] = seat;
  }

  #certificates(
    tls: ListenerTlsOptions,
    path: string,
    sets: Map<string, number>,
  ): number {
    const { certificates, policy } = tls;
    const key = JSON.stringify({ certificates, policy });
    let set = sets.get(key);
    if (set !== undefined) return set;
    set = abi.SL_SET_NEW;
    for (const [i, certificate] of certificates.entries()) {
      const give = (cert: Uint8Array, key: Uint8Array) =>
        native.gatewayCertificate(
          this.handle,
          set!,
          cert,
          key,
          certificate.names ?? [],
        );
      const place = `${path}[${i}]`;
      const added = this.certificates.add(place, certificate, i, give);
      set = added.set;
      this.warnings.push(...added.warnings);
    }
    for (const [i, row] of compileHandshake(tls).entries()) {
      native.gatewayHandshake(this.handle, set, i, handshakeWords(row));
    }
    for (const [i, row] of compileResumption(tls).entries()) {
      native.gatewayResumption(this.handle, set, i, resumptionWords(row));
    }
    for (const [i, row] of compileClientAuth(tls).entries()) {
      if (row) this.#clientAuth(set, i, row, path);
    }
    sets.set(key, set);
    return set;
  }

  #clientAuth(
    set: number,
    index: number,
    { mode, ca }: ClientAuthRow,
    path: string,
  ): void {
    const where = `${path}[${index}]: policy.clientAuth.ca`;
    const give = (pem: Uint8Array) =>
      native.gatewayClientAuth(
        this.handle,
        set,
        index,
        CLIENT_AUTH[mode],
        pem,
      );
    this.certificates.addCas(where, ca, give);
  }

  /** What was decided: io, io_reason, workers, conns_max, memory_bytes, ring_bytes. */
  describe(): Record<string, string> {
    return native.gatewayDescribe(this.handle);
  }

  /** Publishes a plan to all workers, for these isolates to run. A bad one changes nothing. */
  load(plan: Plan, seats: readonly IsolateSeat[]): void {
    const isolates = seats.reduce(
      (bits, { isolate }) => bits | 1 << isolate,
      0,
    );
    const blob = encodePlan(plan, isolates >>> 0);
    try {
      orGatewayError(() => native.planLoad(this.handle, blob));
    } finally {
      blob.fill(0); // C has its own, and there may be secrets in it
    }
  }

  async start(): Promise<void> {
    this.#started = true;
    orGatewayError(() => native.gatewayStart(this.handle));
    await this.certificates.start();
  }

  /** After `free`: the last. */
  stats(): PlaneStats {
    return this.#last ?? this.#stats();
  }

  #stats(): PlaneStats {
    return planeStats(
      this.handle,
      this.#workers,
      this.certificates.stats(),
    );
  }

  /**
   * Its isolate has ended, or is given up: what it had begun is answered 503, the rest by another one of its plan. A retired one's seat is free
   * again, and its memory if it surely has ended.
   */
  isolateGone({ isolate }: IsolateSeat, end: IsolateEnd, isDead = false): void {
    native.gatewayIsolateGone(this.handle, isolate, ENDS[end]);
    if (end === "retired") this.#seats[isolate] = undefined;
    if (!isDead) delete this.#memory[isolate];
  }

  /** Whether an isolate has requests, or may still get some by a plan in use. */
  isBusy({ isolate }: IsolateSeat): boolean {
    return native.gatewayIsolateState(this.handle, isolate) ===
      abi.SL_SEAT_BUSY;
  }

  /** What can be seen of an isolate's work from here, whatever its thread does. */
  observe({ rings }: IsolateSeat): IsolateWork {
    const seen = rings.map((memory) => new Ring(memory));
    return {
      progress: () => seen.reduce((sum, ring) => (sum + ring.begun()) | 0, 0),
      running: () =>
        seen.map(requestRunning).find((request) => request !== undefined),
    };
  }

  /** Stops accepting, finishes what runs, and cuts the rest at the deadline. Resolves when the threads have ended. */
  async drain(deadlineMs: number): Promise<void> {
    if (!this.#started) return;
    native.gatewayDrain(this.handle, deadlineMs);
    const until = Date.now() + deadlineMs + END_WAIT_MS;
    while (native.gatewayState(this.handle) !== abi.SL_CLOSED) {
      if (Date.now() > until) {
        throw new GatewayError(
          `the data plane did not stop within ${deadlineMs + END_WAIT_MS} ms`,
          { kind: "wrong_state" },
        );
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Gives everything back, after the drain. */
  free(): void {
    this.certificates.stop();
    if (this.#started && !native.gatewayJoin(this.handle, END_WAIT_MS)) {
      throw new GatewayError("the data plane's threads do not end", {
        kind: "wrong_state",
      });
    }
    this.#last = this.#stats();
    native.gatewayFree(this.handle);
    this.#seats.fill(undefined);
    this.#memory.length = 0;
  }
}

// The socket that listens on a listener's address already, if there is one. Each is taken once.
function takeSocket(
  inherited: Map<string, number>,
  address: string,
): number | undefined {
  const wanted = addressKey(address);
  for (const [text, fd] of inherited) {
    if (addressKey(text) !== wanted) continue;
    inherited.delete(text);
    return fd;
  }
  return undefined;
}

function addressKey(text: string): string {
  const colon = text.lastIndexOf(":");
  const host = text.slice(0, colon).replace(/^\[|\]$/g, "");
  const number = parseAddress(host === "localhost" ? "127.0.0.1" : host);
  return `${number} ${text.slice(colon + 1)}`;
}

function unclaimed(sockets: string[], options: CheckedOptions): GatewayError {
  const listeners = options.listeners.map(({ address }) => address).join(", ");
  return new GatewayError(
    `the socket on ${
      sockets.join(", ")
    } that was passed here is no listener's: they are on ${listeners}. Give ListenStream= and the listener the same address.`,
    { kind: "invalid_argument" },
  );
}

// What the library refuses, as the error that programs catch.
function orGatewayError<T>(run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (!(cause instanceof native.NativeError)) throw cause;
    throw new GatewayError(cause.text, { kind: cause.label, cause });
  }
}

/** Tells whoever started this process, by sd_notify(3). */
export function notifyStarter(path: string, text: string): void {
  native.notify(path, text);
}

/** A self-signed certificate for localhost, as PEM. */
export function makeCertificate(): CertificateOptions {
  const { cert, key } = native.certificateMake();
  const decoder = new TextDecoder();
  return { cert: decoder.decode(cert), key: decoder.decode(key) };
}

/** Runs TypeScript routes in this isolate until the gateway closes its doorbell. */
export class IsolateRunner {
  #dispatchers: Dispatcher[];
  #doorbell: SocketDoorbell;
  /** Resolves when it has stopped. */
  readonly stopped: Promise<void>;

  private constructor(dispatchers: Dispatcher[], doorbell: SocketDoorbell) {
    this.#dispatchers = dispatchers;
    this.#doorbell = doorbell;
    this.stopped = runDispatchers(dispatchers, doorbell);
  }

  /** `plan`: the id of the plan that was made of the app. `hooks`: by listener. */
  static async start(
    seat: IsolateSeat,
    app: App,
    plan: number,
    hooks: ClientHelloHooks,
  ): Promise<IsolateRunner> {
    native.openLibrary();
    const dispatchers = seat.rings.map((memory, worker) =>
      new Dispatcher(
        new Ring(memory),
        app,
        () => native.gatewayWake(seat.gateway, worker),
        plan,
        hooks,
      )
    );
    const doorbell = await SocketDoorbell.open((port, token) =>
      native.gatewayIsolateWake(seat.gateway, seat.isolate, port, token)
    );
    return new IsolateRunner(dispatchers, doorbell);
  }

  setApp(app: App, plan: number): void {
    for (const dispatcher of this.#dispatchers) dispatcher.setApp(app, plan);
  }

  /** Waits for background work, at most so long, and stops. */
  async stop(waitMs: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) =>
      timer = setTimeout(resolve, waitMs)
    );
    await Promise.race([backgroundDone(), late]);
    clearTimeout(timer);
    this.#doorbell.close();
    await this.stopped;
  }
}

/**
 * Gives a gateway a provider's session ticket keys, now and then every `refreshMs`. Throws if it gives none and the gateway has not started; later
 * that is told on standard error.
 */
export async function feedSteks(
  gateway: number,
  provider: STEKProvider,
): Promise<StekFeed> {
  const feed = new StekFeed(provider, {
    give: (keys) => native.gatewaySteks(gateway, keys),
    tell: (text) => console.error(`sluice: warning: ${text}`),
  });
  await feed.start(native.gatewayState(gateway) === abi.SL_WARMING);
  return feed;
}

// ---- The gateway

const GATEWAY: unique symbol = Symbol.for("sluice.gateway") as never;
/** Tells a gateway whose module the command runs in which seat that is. */
export const SEATED: unique symbol = Symbol.for("sluice.seated") as never;

/** How `close` waits. */
export interface CloseOptions {
  /** How long running requests may take, in milliseconds. @default options.limits.drainMs */
  deadlineMs?: number;
}

/** What `stats` counts; the names are those of `native/include/sluice/counters.h`. */
export interface GatewayStats extends DataPlaneStats {
  /** Open connections of each worker. */
  connsByWorker: number[];
  /** The certificates in use, in the order of the options. */
  certificates: CertificateStats[];
  /** Whether this kernel could do TLS for sockets, which no connection uses: `available, unused`, or `not available: ` and why. */
  kernelTls: string;
  /** What is counted of each plugin in this isolate, by name. */
  plugins: Record<string, PluginStats>;
}

/** What C counts by itself, summed over all workers. */
export type DataPlaneStats = native.GatewayStats;

/** What C counts, and what we know of its listeners. */
type PlaneStats = Omit<GatewayStats, "plugins">;

/** One upstream's part of it. */
export type UpstreamStats = native.UpstreamStats;

function planeStats(
  gateway: number,
  workers: number,
  certificates: CertificateStats[],
): PlaneStats {
  const connsByWorker = Array.from(
    { length: workers },
    (_, worker) => native.gatewayWorkerConns(gateway, worker),
  );
  return {
    ...native.gatewayStats(gateway),
    connsByWorker,
    certificates,
    kernelTls: native.kernelTls(),
  };
}

/**
 * An app with its options, which {@linkcode defineGateway} makes. `deno task start gateway` runs a module's default export; a program may start one itself.
 *
 * @example A program that starts one, asks it, and ends it
 * ```ts
 * import { defineGateway, type Gateway, respond } from "sluice";
 * import { Hono } from "hono";
 *
 * const gateway: Gateway = defineGateway(new Hono().get("/", respond("hello")), {
 *   listeners: [{ address: "127.0.0.1:0" }],
 * });
 * const { addresses: [{ port }] } = await gateway.start();
 * console.log(await (await fetch(`http://127.0.0.1:${port}/`)).text()); // hello
 * await gateway.close();
 * ```
 */
export class Gateway {
  /** The app that it was made of. */
  readonly app: App;
  /** The options as they were given, without defaults. */
  readonly options: GatewayOptions;
  /**
   * Its plugins: `use` adds one.
   * @internal
   */
  readonly plugins: PluginRegistry;
  /**
   * What tells gateways from all else, of whatever copy of this module.
   * @internal
   */
  readonly [GATEWAY] = true;
  #app: App;
  /** The app behind the middleware of plugins. */
  #served: Promise<App> | undefined;
  #checked: CheckedOptions;
  #lifecycle = new Lifecycle();
  #plan: Plan | undefined;
  #plane: DataPlane | undefined;
  #seat: IsolateSeat | undefined;
  /** Where the command, whose data plane it is, has this isolate run. */
  #seated: IsolateSeat | undefined;
  #runner: IsolateRunner | undefined;
  #stekFeed: StekFeed | undefined;
  #closing: Promise<void> | undefined;

  /**
   * What `defineGateway` does. Throws a `TypeError` if `app` has no `fetch`, and an {@linkcode OptionsError} that lists all that is wrong with the
   * options.
   */
  constructor(app: App, options: GatewayOptions) {
    if (typeof app?.fetch !== "function") {
      throw new TypeError(
        `defineGateway(app): app must be a Hono app, or an object with fetch (got ${
          show(app)
        })`,
      );
    }
    this.app = this.#app = app;
    this.options = options;
    this.#checked = checkOptions(options);
    this.plugins = new PluginRegistry(options.plugins);
  }

  /**
   * Adds a plugin behind those that are there, before the start. Its middleware run before the app's own. Throws an {@linkcode OptionsError} if the
   * options are not what the plugin takes, or if a plugin of this name is there.
   */
  use<Given, Options = Given>(
    plugin: PluginLike<Given, Options>,
    options?: Given,
  ): this {
    this.plugins.add(plugin, options, `use()${callerPlace()}`);
    return this;
  }

  /** What a server calls for each request, so that the same module also runs under `deno serve`. */
  fetch = (
    request: Request,
    env?: unknown,
    ctx?: unknown,
  ): Response | Promise<Response> =>
    this.plugins.size === 0
      ? this.#app.fetch(request, env, ctx)
      : this.#serve().then((app) => app.fetch(request, env, ctx));

  #serve(): Promise<App> {
    return this.#served ??= this.plugins.apply(this.#app);
  }

  /**
   * Calls the app without a socket, as Hono's `app.request` does: a path or a URL, then what the request is made of. Every step runs in its
   * TypeScript form.
   *
   * @example In an app's own tests
   * ```ts
   * import { defineGateway, respond } from "sluice";
   * import { Hono } from "hono";
   *
   * const gateway = defineGateway(new Hono().get("/healthz", respond("ok")));
   * const answer = await gateway.request("/healthz");
   * console.log(answer.status, await answer.text()); // 200 ok
   * ```
   */
  async request(
    input: string | URL | Request,
    init?: RequestInit,
    env?: unknown,
    executionCtx?: unknown,
  ): Promise<Response> {
    this.#announce();
    const request = input instanceof Request
      ? init ? new Request(input, init) : input
      : new Request(urlOf(String(input)), init);
    return await this.fetch(request, env, executionCtx);
  }

  /**
   * Serves the app: its routes run in this isolate. Resolves when connections are accepted. `warnings` tells what an operator should know:
   * certificates that end soon, steps that cannot be native.
   */
  async start(): Promise<{ addresses: Deno.NetAddr[]; warnings: string[] }> {
    this.#lifecycle.require(["warming"], "start()");
    if (this.#plane) {
      throw new GatewayError("start() was called before", {
        kind: "wrong_state",
      });
    }
    installResponse();
    installUpgradeGuard();
    try {
      await this.#run();
    } catch (error) {
      await this.#end();
      throw error;
    }
    const [plane, plan] = [this.#plane!, this.#plan!];
    this.#lifecycle.advance("active", "start()");
    const warnings = [...plane.warnings, ...plan.warnings];
    return { addresses: plane.addresses, warnings };
  }

  async #run(): Promise<void> {
    const app = await this.#serve();
    const plan = await this.#compile(app);
    const plane = this.#plane = new DataPlane(this.#checked, 1);
    try {
      const seat = this.#seat = plane.takeSeat()!;
      plane.load(plan, [seat]);
      const provider = stekProviderOf(this.options);
      if (provider) this.#stekFeed = await feedSteks(plane.handle, provider);
      const hooks = clientHelloHooksOf(this.options);
      this.#runner = await IsolateRunner.start(seat, app, plan.id, hooks);
      await plane.start();
    } catch (error) {
      await this.#release(plane, 0);
      this.#plane = undefined;
      throw error;
    }
  }

  // Plugins end last; what starts again sets them up again.
  async #end(): Promise<void> {
    this.#served = undefined;
    await this.plugins.dispose();
  }

  // What the TypeScript forms must know of the options.
  #announce(): void {
    setNamedUpstreams(this.#checked.upstreams);
    setUnderscoreHeaders(this.#checked.underscoreHeaders);
  }

  async #compile(app: App): Promise<Plan> {
    const plan = compilePlan(app, this.#checked);
    this.#announce();
    await resolveUpstreams(plan, resolveHost);
    this.#plan = plan;
    return plan;
  }

  /** Replaces the app. Connections stay; requests that run finish with the old one. A bad app changes nothing. */
  async reload(app: App): Promise<void> {
    this.#lifecycle.require(["active"], "reload()");
    const before = this.#plan;
    const served = await this.plugins.apply(app);
    try {
      this.#plane!.load(await this.#compile(served), [this.#seat!]);
    } catch (error) {
      this.#plan = before;
      throw error;
    }
    this.#app = app;
    this.#served = Promise.resolve(served);
    this.#runner!.setApp(served, this.#plan!.id);
  }

  /**
   * Looks at the files of all certificates and client CAs and takes what has changed, without dropping a connection: handshakes from now on have it. Nobody needs to call
   * it, since files are watched; a program that has just written them hears at once what became of that. What cannot be used changes nothing, and is in
   * `warnings` with the reason.
   */
  reloadCertificates(): ReloadedCertificates {
    this.#lifecycle.require(["active"], "reloadCertificates()");
    return this.#plane!.certificates.reload();
  }

  /** Drains and closes: running requests finish, the rest is cut at the deadline. */
  async close(options: CloseOptions = {}): Promise<void> {
    const deadlineMs = options.deadlineMs ?? this.#checked.limits.drainMs;
    await (this.#closing ??= this.#close(deadlineMs));
  }

  async #close(deadlineMs: number): Promise<void> {
    if (this.#lifecycle.state === "active") {
      this.#lifecycle.advance("draining", "close()");
      await this.#release(this.#plane!, deadlineMs);
    }
    await this.#end();
    this.#lifecycle.advance("closed", "close()");
  }

  async #release(plane: DataPlane, deadlineMs: number): Promise<void> {
    try {
      await plane.drain(deadlineMs);
    } finally {
      this.#stekFeed?.stop();
      await this.#runner?.stop(deadlineMs);
      this.#runner = undefined;
      plane.free();
    }
  }

  /** Closes it as `close()` does at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * What the plan does with a request, and why: its chain in order, which steps are native, the upstream, the limits. `url` may be a path; of
   * `headers` only Host counts.
   *
   * @example Why is this route not native?
   * ```ts
   * import { defineGateway, respond } from "sluice";
   * import { Hono } from "hono";
   *
   * const app = new Hono().get("/files/:name{.*}", respond("x"));
   * console.log(String(defineGateway(app).explain("GET", "/files/a/b")));
   * ```
   */
  explain(method: string, url: string, headers?: HeadersInit): Explanation {
    if (!this.#plan && this.plugins.size > 0) {
      throw new GatewayError(
        "explain() knows plugins when they are set up: call it after start(), or run `deno task explain MODULE`",
        { kind: "wrong_state" },
      );
    }
    return explain(
      this.#plan ?? compilePlan(this.#app, this.#checked),
      method,
      url,
      { options: this.#checked, headers },
    );
  }

  /**
   * Counters since the start, summed over workers, and of each upstream since the plan names it as it does now. Cheap: workers hand
   * over a copy in their next turn, and are not held. Handlers may ask, also where the command runs the module, and in whatever isolate: only `plugins` are
   * this isolate's own. After the close the last ones, without upstreams.
   *
   * @example What share of the proxied requests found a connection?
   * ```ts
   * import { defineGateway, proxy, type UpstreamStats } from "sluice";
   * import { Hono } from "hono";
   *
   * const app = new Hono().all("/*", proxy({ upstream: "site" }));
   * const gateway = defineGateway(app, { upstreams: { site: { url: "http://127.0.0.1:3001" } } });
   * const reused = ({ connects, reuses }: UpstreamStats) => reuses / (connects + reuses);
   * const report = () => console.log(reused(gateway.stats().upstreams.site));
   * ```
   */
  stats(): GatewayStats {
    if (this.#seated) {
      const { gateway, rings, certificates } = this.#seated;
      const stats = planeStats(gateway, rings.length, certificates);
      return { ...stats, plugins: this.plugins.stats() };
    }
    const closed = this.#plane && this.#lifecycle.state === "closed";
    if (!closed) this.#lifecycle.require(["active", "draining"], "stats()");
    return { ...this.#plane!.stats(), plugins: this.plugins.stats() };
  }

  /** @internal Once it runs there, and when certificates have changed. */
  [SEATED](seat: IsolateSeat): void {
    this.#seated = seat;
  }
}

// Where our caller's caller stands, for errors: " at gateway.ts:7:12", or nothing.
function callerPlace(): string {
  const frame = new Error().stack?.split("\n")[3] ?? "";
  const [, place] = /([^/\\() ]+:\d+:\d+)\)?$/.exec(frame) ?? [];
  return place ? ` at ${place}` : "";
}

// A path is one of this host, with or without its first slash.
function urlOf(input: string): string {
  if (/^https?:\/\//.test(input)) return input;
  return `http://localhost${input.startsWith("/") ? "" : "/"}${input}`;
}

/** Whether something is a Gateway, of whatever copy of this module. */
export function isGateway(value: unknown): value is Gateway {
  return typeof value === "object" && value !== null && GATEWAY in value;
}

/**
 * Puts an app and its options together. Pure: no library is opened and no socket bound before `start`.
 *
 * @example A gateway module
 * ```ts
 * import { Hono } from "hono";
 * import { defineGateway, respond } from "sluice";
 *
 * const app = new Hono();
 * app.get("/healthz", respond("ok\n"));
 * app.get("/hello/:name", (c) => c.text(`Hello, ${c.req.param("name")}!`));
 *
 * export default defineGateway(app, { listeners: [{ address: "127.0.0.1:8080" }] });
 * ```
 */
export function defineGateway(app: App, options: GatewayOptions = {}): Gateway {
  return new Gateway(app, options);
}
