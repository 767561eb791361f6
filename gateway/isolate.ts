/**
 * The Worker that runs a user's module: it imports the module, compiles app and options to a plan for main, and answers
 * TypeScript routes from its rings. Main watches it: whatever a handler does here, signals, drain and native routes go on.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import * as abi from "../ffi/abi.ts";
import * as native from "../ffi/mod.ts";
import type { ClientHelloHooks } from "./client_hello.ts";
import { createDefaultApp, createUpstreamApp } from "./default_app.ts";
import { GatewayError, show } from "./errors.ts";
import {
  feedSteks,
  type Gateway,
  isGateway,
  IsolateRunner,
  type IsolateSeat,
  SEATED,
  VERSION,
} from "./gateway.ts";
import type {
  AppSource,
  FromIsolate,
  LoadedApp,
  Pulse,
  ToIsolate,
} from "./isolate_messages.ts";
import { listenerUrls } from "./narrate.ts";
import {
  checkOptions,
  clientHelloHooksOf,
  type GatewayOptions,
  stekProviderOf,
  withoutProviders,
} from "./options.ts";
import type { App } from "./app.ts";
import { compilePlan, resolveUpstreams } from "./plan.ts";
import { resolveHost } from "./resolve.ts";
import { PluginRegistry } from "./plugins/registry.ts";
import { routeTable } from "./route_table.ts";
import { installResponse } from "./response.ts";
import type { StekFeed } from "./stek_feed.ts";
import { setNamedUpstreams } from "./upstream.ts";
import { installUpgradeGuard } from "./websocket.ts";
import type { Welcomed } from "./welcome.ts";
import { setUnderscoreHeaders } from "./forward.ts";
import {
  compileResumption,
  type ListenerTlsOptions,
  type STEKProvider,
} from "../tls/mod.ts";

const scope = globalThis as unknown as DedicatedWorkerGlobalScope;
let app: App;
let gateway: Gateway | undefined;
let loaded: LoadedApp;
let seat: IsolateSeat | undefined;
let welcomed: Welcomed | undefined;
let isReplaced = false;
let plugins: PluginRegistry | undefined;
let runner: IsolateRunner | undefined;
let provider: STEKProvider | undefined;
let feed: StekFeed | undefined;
let hooks: ClientHelloHooks = [];

function tell(message: FromIsolate): void {
  scope.postMessage(message);
}

// Main notices by this connection that the isolate has ended, however it did.
async function connectLifeline(port: number, token: Uint8Array): Promise<void> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(token);
  conn.read(new Uint8Array(1)).catch(() => {}); // it stays open as long as the isolate
}

const { setInterval } = globalThis; // a module may replace it

function beat({ count, everyMs }: Pulse): void {
  setInterval(() => Atomics.add(count, 0, 1), everyMs);
}

async function load(
  source: AppSource,
  overrides: Partial<GatewayOptions>,
): Promise<LoadedApp> {
  const exported = await exportOf(source);
  if (isGateway(exported)) gateway = exported;
  const given = gateway?.options ?? {};
  const { plugins: _, ...merged } = { ...given, ...overrides };
  const options = checkOptions(merged);
  provider = stekProviderOf(merged);
  hooks = clientHelloHooksOf(merged);
  plugins = gateway?.plugins ?? new PluginRegistry();
  app = await plugins.apply(gateway?.app ?? exported);
  setNamedUpstreams(options.upstreams);
  setUnderscoreHeaders(options.underscoreHeaders);
  const plan = compilePlan(app, options);
  await resolveUpstreams(plan, resolveHost);
  return loaded = { options, plan, given: withoutProviders(given) };
}

/** What an isolate runs: the module's default export. */
async function exportOf(source: AppSource): Promise<App> {
  if (source.kind === "default") {
    return createDefaultApp(() => welcomed ??= welcomedIn(seat!));
  }
  if (source.kind === "upstream") return createUpstreamApp(source.url);
  const module = await import(source.url);
  const exported = module.default;
  if (typeof exported?.fetch === "function") return exported;
  throw new GatewayError(
    exported === undefined
      ? "it has no default export; add `export default app;`"
      : `its default export is neither a gateway nor an object with fetch (got ${
        show(exported)
      })`,
    { kind: "module_invalid" },
  );
}

// What the welcome page tells: the gateway that gives this isolate its seat.
function welcomedIn({ gateway, addresses }: IsolateSeat): Welcomed {
  const { options, plan } = loaded;
  const decided = native.gatewayDescribe(gateway);
  const urls = listenerUrls(options, addresses);
  return {
    facts: {
      version: VERSION,
      io: `${decided.io} (${decided.io_reason})`,
      workers: `${decided.workers} (${decided.workers_reason})`,
      isolates: options.isolates,
      listeners: options.listeners.map(({ tls }, i) => ({
        url: urls[i],
        ...tls && { resumption: resumptionOf(tls) },
      })),
      routes: routeTable(plan),
    },
    counts: () => {
      const stats = native.gatewayStats(gateway);
      return {
        requests: stats.requests,
        native: stats.requests_native,
        typescript: stats.requests_typescript,
        conns: stats.conns_live,
      };
    },
    isOver: () => isReplaced || native.gatewayState(gateway) >= abi.SL_DRAINING,
  };
}

function resumptionOf(tls: ListenerTlsOptions): string {
  const modes = compileResumption(tls).map(({ mode }) => mode);
  return [...new Set(modes)].join(", ");
}

async function handle(message: ToIsolate): Promise<void> {
  if (message.type === "lifeline") {
    await connectLifeline(message.port, message.token);
  } else if (message.type === "load") {
    tell({
      type: "loaded",
      app: await load(message.source, message.overrides),
    });
  } else if (message.type === "run") {
    const { feedsSteks, pulse } = message;
    seat = message.seat;
    beat(pulse); // first: a provider may take its time
    if (feedsSteks && provider) feed = await feedSteks(seat.gateway, provider);
    gateway?.[SEATED](seat);
    runner = await IsolateRunner.start(seat, app, loaded.plan.id, hooks);
    tell({ type: "running" });
  } else if (message.type === "certificates") {
    const { certificates } = message;
    if (seat) gateway?.[SEATED](seat = { ...seat, certificates });
  } else if (message.type === "replaced") {
    feed?.stop();
    isReplaced = true;
  } else {
    feed?.stop();
    await runner?.stop(message.waitMs);
    await plugins?.dispose();
    tell({ type: "closed" });
  }
}

const OURS = new URL(".", import.meta.url).href;

// Our own errors say all that there is to say; for others the place in the module helps.
function failure(error: unknown): string {
  if (!(error instanceof Error)) return show(error);
  if (error.name === "OptionsError" || error.name === "GatewayError") {
    return error.message;
  }
  const stack = error.stack ?? error.message;
  return stack.split("\n").filter((line) => !line.includes(OURS)).join("\n");
}

// Where in the module it came up: of our own errors, who called us.
function placeOf(error: unknown): string | undefined {
  const stack = error instanceof Error ? error.stack ?? "" : "";
  return Array.from(stack.matchAll(/file:\/\/\S+?:\d+:\d+/g), ([url]) => url)
    .find((url) => !url.startsWith(OURS) && !url.includes("/node_modules/"));
}

installResponse();
installUpgradeGuard();

// One after the other: a module may end the isolate while it is loaded, and main must be able to notice by then.
let handled = Promise.resolve();
scope.onmessage = (event: MessageEvent<ToIsolate>) => {
  handled = handled.then(() => handle(event.data)).catch(async (error) => {
    if (!runner) await plugins?.dispose();
    tell({ type: "failed", message: failure(error), place: placeOf(error) });
  });
};

// A stray error of one handler must not end the isolate, and with it all other requests.
scope.addEventListener("unhandledrejection", (event) => {
  if (!runner) return;
  event.preventDefault();
  console.error("Unhandled rejection:", event.reason);
});
scope.addEventListener("error", (event) => {
  if (!runner) return;
  event.preventDefault();
  console.error("Uncaught error:", event.error);
});
