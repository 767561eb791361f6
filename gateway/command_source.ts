/**
 * What the command line asks to run: the app, and the options that its flags give.
 *
 * @module
 */
import { noModule } from "./advice.ts";
import { type Command, UsageError } from "./command_line.ts";
import { show } from "./errors.ts";
import { makeCertificate } from "./gateway.ts";
import type { AppSource, LoadedApp } from "./isolate_messages.ts";
import { localCertificate, stateFolder } from "./local_certificate.ts";
import type { ImportMap } from "./module_graph.ts";
import type {
  CertificateOptions,
  GatewayOptions,
  ListenerOptions,
} from "./options.ts";

/** A failure whose message says all: what was tried, why it failed, and what to type next. */
export class StartError extends Error {}

/** The app that is asked for. */
export async function sourceOf(
  command: Command,
  words: readonly string[],
): Promise<AppSource> {
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
    const path = decodeURIComponent(url.pathname);
    throw new StartError(
      await noModule(command.module, words, userFolder(), path),
    );
  }
  return { kind: "module", url: url.href };
}

/** `deno task` changes the folder; the user's is in INIT_CWD. */
export function userFolder(): string {
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

/** How it is called in what is said. `isInside`: it is a part of the packed binary. */
export function sourceText(
  source: AppSource,
  { module = "gateway.ts" }: Command,
  isInside: boolean,
): string {
  if (source.kind === "default") return "the embedded default (a welcome page)";
  if (source.kind === "upstream") return `everything to ${source.url}`;
  return isInside
    ? `${module.slice(module.lastIndexOf("/") + 1)}, which is inside`
    : module;
}

/** Whether it is a file, which may change. */
export function isFileModule(source: AppSource): boolean {
  return source.kind === "module" && source.url.startsWith("file:");
}

/** What names in the module's folder resolve to, for the watch. tools/start.ts has written it. */
export async function importMapOf(
  path: string | undefined,
): Promise<ImportMap> {
  if (!path) return {};
  return JSON.parse(await Deno.readTextFile(path));
}

// ---- Options from flags

/** What the flags say of the options. */
export interface Flags {
  overrides: Partial<GatewayOptions>;
  /** Replaces the certificates of every listener with TLS. */
  certificates?: CertificateOptions[];
  /** What to say about the local certificate. */
  note?: string;
}

/** The options that the flags give, and the listeners of an app that has none. */
export async function flagsOf(
  command: Command,
  source: AppSource,
): Promise<Flags> {
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

/** Puts the flags' certificates in the place of the module's. */
export function applyCertificates(
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
