/**
 * The native library as typed functions: one for each function of native/include/sluice/sluice.h, which is their manual. A failure throws
 * {@linkcode NativeError}. Importing this module opens nothing: {@linkcode openLibrary} does, or the first call of a function that is not hot.
 *
 * @module
 */

import * as binding from "./bindings/mod.ts";
import {
  COUNTERS,
  type Counters,
  SL_CONFIG_BYTES,
  SL_E_STATE,
  SL_OK,
  SL_STATUS_SLOTS,
  SL_STEK_GIVEN_BYTES,
  SL_STEK_GIVEN_KEY_OFF,
  SL_STEK_GIVEN_NOT_BEFORE_MS_OFF,
  SL_TLS_REASON_SLOTS,
  STATUS,
  TLS_REASONS,
} from "./abi.ts";

/** `certificates` of {@linkcode gatewayListen} for plain HTTP. */
export const NO_CERTIFICATE = 0xffffffff;

const TEXT_BYTES_MAX = 16384;
const CERTIFICATE_BYTES_MAX = 16384;

const rows = new Map(STATUS.map((row) => [row.status, row]));
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A negative status of a native function. */
export class NativeError extends Error {
  override name = "NativeError";
  /** One of SL_E_... in abi.ts. */
  readonly status: number;
  /** The word of the status in logs and metrics, such as "address_in_use". */
  readonly label: string;
  /** What was tried, why it failed and the value at hand. */
  readonly text: string;

  constructor(status: number, text: string) {
    const row = rows.get(status);
    super(text || row?.text || `The native library answered ${status}.`);
    this.status = status;
    this.label = row?.label ?? `status_${-status}`;
    this.text = this.message;
  }
}

let opened: string | undefined;

/** Where the library is looked for: `SLUICE_LIBRARY`, else where `deno task build` puts it. */
export function libraryPath(): string {
  const built = new URL("./target/release/libsluice_ffi.so", import.meta.url);
  const { state } = Deno.permissions.querySync({
    name: "env",
    variable: "SLUICE_LIBRARY",
  });
  return (state === "granted" && Deno.env.get("SLUICE_LIBRARY")) ||
    decodeURIComponent(built.pathname);
}

/** Opens the library, once per isolate. Needs `--allow-ffi=<path>`. */
export function openLibrary(path: string = libraryPath()): void {
  if (opened !== undefined) return;
  try {
    binding.load(path);
  } catch (cause) {
    throw new Error(
      `Cannot open the native library ${path}: ${openAdvice(cause, path)}`,
      { cause },
    );
  }
  opened = path;
}

function openAdvice(cause: unknown, path: string): string {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return cause instanceof Deno.errors.NotCapable
    ? `this process may not. Run it with \`--allow-ffi=${path}\`.`
    : `${reason}. Make it with \`deno task build\`, or name another file in SLUICE_LIBRARY.`;
}

/** Makes a gateway (warming) from one `struct sl_config` as 32 words; returns its handle. */
export function gatewayNew(config: Uint32Array): number {
  openLibrary();
  if (config.byteLength !== SL_CONFIG_BYTES) {
    throw new RangeError(
      `config has ${config.byteLength} bytes, not ${SL_CONFIG_BYTES}`,
    );
  }
  return checked(binding.sluice_gateway_new(bytesOf(config)));
}

/** What was decided: io, io_reason, workers, workers_reason, workers_cpus, conns_max, memory_bytes, ring_bytes. */
export function gatewayDescribe(gateway: number): Record<string, string> {
  openLibrary();
  const text = readText((out) => binding.sluice_gateway_describe(gateway, out));
  return Object.fromEntries(
    text.split("\n").filter(Boolean).map((line) => {
      const space = line.indexOf(" ");
      return space < 0
        ? [line, ""]
        : [line.slice(0, space), line.slice(space + 1)];
    }),
  );
}

/**
 * Adds a certificate chain and its key, PEM, to a set (SL_SET_NEW: to a new one); returns the set's index for {@linkcode gatewayListen}. `names`:
 * what server names it answers to; empty: its own.
 */
export function gatewayCertificate(
  gateway: number,
  set: number,
  cert: Uint8Array,
  key: Uint8Array,
  names: readonly string[],
): number {
  openLibrary();
  const lines = encoder.encode(names.join("\n"));
  return checked(
    binding.sluice_gateway_certificate(gateway, set, cert, key, lines),
  );
}

/**
 * Puts another chain and key, PEM, in the place of a certificate, with an OCSP response (DER; empty: none). Any time: handshakes from a worker's
 * next turn on have it.
 */
export function gatewayCertificateReplace(
  gateway: number,
  set: number,
  index: number,
  cert: Uint8Array,
  key: Uint8Array,
  ocsp: Uint8Array,
): void {
  openLibrary();
  checked(
    binding.sluice_gateway_certificate_replace(
      gateway,
      set,
      index,
      cert,
      key,
      ocsp,
    ),
  );
}

/** What a certificate says of itself. */
export interface CertificateFacts {
  /** "ECDSA P-256", "RSA 2048", "Ed25519". */
  key: string;
  /** Unix seconds. */
  notBefore: number;
  /** Unix seconds. */
  notAfter: number;
  /** Its serial number, in hexadecimal digits. */
  serial: string;
  /** Its DNS names, in lower case. */
  dns: string[];
}

/** What a certificate says, if the key is its own; else throws why it cannot be used. */
export function certificateDescribe(
  cert: Uint8Array,
  key: Uint8Array,
): CertificateFacts {
  openLibrary();
  const text = readText((out) =>
    checked(binding.sluice_certificate_describe(cert, key, out))
  );
  const facts: CertificateFacts = {
    key: "",
    notBefore: 0,
    notAfter: 0,
    serial: "",
    dns: [],
  };
  for (const line of text.split("\n")) {
    const [word, ...rest] = line.split(" ");
    const value = rest.join(" ");
    if (word === "key") facts.key = value;
    else if (word === "not_before") facts.notBefore = Number(value);
    else if (word === "not_after") facts.notAfter = Number(value);
    else if (word === "serial") facts.serial = value;
    else if (word === "dns") facts.dns.push(value);
  }
  return facts;
}

/** What an OCSP response says of one certificate. */
export interface OcspAnswer {
  /** The certificate's serial number, in hexadecimal digits. */
  serial: string;
  status: "good" | "revoked" | "unknown";
  /** Unix seconds: from when on it holds. */
  thisUpdate: number;
  /** Unix seconds: until when; undefined: it does not say. */
  nextUpdate?: number;
}

/** What an OCSP response (DER) says. Its signature is not checked. Throws why it is none. */
export function ocspDescribe(response: Uint8Array): OcspAnswer[] {
  openLibrary();
  const text = readText((out) =>
    checked(binding.sluice_ocsp_describe(response, out))
  );
  return text.split("\n").filter(Boolean).map((line) => {
    const [serial, status, from, until] = line.split(" ");
    return {
      serial,
      status: status as OcspAnswer["status"],
      thisUpdate: Number(from),
      ...until !== "0" && { nextUpdate: Number(until) },
    };
  });
}

/** How clients of certificate `index` of a set resume: one `struct sl_resumption` as 16 words. Before the start. */
export function gatewayResumption(
  gateway: number,
  set: number,
  index: number,
  row: Uint32Array,
): void {
  openLibrary();
  checked(
    binding.sluice_gateway_resumption(gateway, set, index, bytesOf(row)),
  );
}

/** What a certificate of a set agrees on. */
export function gatewayHandshake(
  gateway: number,
  set: number,
  index: number,
  row: Uint32Array,
): void {
  openLibrary();
  checked(
    binding.sluice_gateway_handshake(gateway, set, index, bytesOf(row)),
  );
}

/** Whom clients of a certificate's names must show a certificate of: PEM. Again while it runs, with the same mode: these from a worker's next turn on. */
export function gatewayClientAuth(
  gateway: number,
  set: number,
  index: number,
  mode: number,
  cas: Uint8Array,
): void {
  openLibrary();
  checked(
    binding.sluice_gateway_client_auth(gateway, set, index, mode, cas),
  );
}

/** The session ticket keys from now on. The caller erases its copies. */
export function gatewaySteks(
  gateway: number,
  keys: readonly { notBeforeMs: number; key: Uint8Array }[],
): void {
  openLibrary();
  const bytes = new Uint8Array(keys.length * SL_STEK_GIVEN_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [i, { notBeforeMs, key }] of keys.entries()) {
    const at = i * SL_STEK_GIVEN_BYTES;
    view.setFloat64(at + SL_STEK_GIVEN_NOT_BEFORE_MS_OFF, notBeforeMs, true);
    bytes.set(key, at + SL_STEK_GIVEN_KEY_OFF);
  }
  try {
    checked(binding.sluice_gateway_steks(gateway, bytes));
  } finally {
    bytes.fill(0);
  }
}

/** Binds "127.0.0.1:8080" or "[::1]:0" and holds it; returns the bound port. */
export function gatewayListen(
  gateway: number,
  address: string,
  certificates: number = NO_CERTIFICATE,
): number {
  openLibrary();
  return checked(
    binding.sluice_gateway_listen(
      gateway,
      encoder.encode(address),
      certificates,
    ),
  );
}

/** As {@linkcode gatewayListen}, on a socket that listens already and that others may go on using. Takes the descriptor over. */
export function gatewayAdopt(
  gateway: number,
  fd: number,
  certificates: number = NO_CERTIFICATE,
): number {
  openLibrary();
  return checked(binding.sluice_gateway_adopt(gateway, fd, certificates));
}

/** Clients of a listener get the row that TypeScript chooses, if it says so in time. Before the start. */
export function gatewayClientHello(
  gateway: number,
  listener: number,
  timeoutMs: number,
): void {
  openLibrary();
  checked(binding.sluice_gateway_client_hello(gateway, listener, timeoutMs));
}

/** The address of a TCP socket that listens: "127.0.0.1:8080", "[::1]:8080". */
export function socketAddress(fd: number): string {
  openLibrary();
  return readText((out) => checked(binding.sluice_socket_address(fd, out)));
}

/** Tells whoever started this process, by sd_notify(3): `path` is `NOTIFY_SOCKET`. */
export function notify(path: string, text: string): void {
  openLibrary();
  checked(binding.sluice_notify(encoder.encode(path), encoder.encode(text)));
}

/** Bytes of one ring region. */
export function ringBytes(exchanges: number): number {
  openLibrary();
  return binding.sluice_ring_bytes(exchanges);
}

/** Gives the region of (worker, isolate), page aligned: C replaces its pages by its own. Again after {@linkcode gatewayIsolateGone}. */
export function gatewayAttach(
  gateway: number,
  worker: number,
  isolate: number,
  region: Uint8Array,
): void {
  openLibrary();
  checked(binding.sluice_gateway_attach(gateway, worker, isolate, region));
}

/** Connects the wake socket of an isolate that listens on 127.0.0.1:port, and sends it the token (16 bytes). */
export function gatewayIsolateWake(
  gateway: number,
  isolate: number,
  port: number,
  token: Uint8Array,
): void {
  openLibrary();
  checked(binding.sluice_gateway_isolate_wake(gateway, isolate, port, token));
}

/**
 * The isolate has ended, for one of SL_ISOLATE_RETIRED, SL_ISOLATE_CRASHED, SL_ISOLATE_BLOCKED: requests that it had not begun go to another of its
 * plan, the others answer 503, and its slots are taken back.
 */
export function gatewayIsolateGone(
  gateway: number,
  isolate: number,
  reason: number,
): void {
  openLibrary();
  checked(binding.sluice_gateway_isolate_gone(gateway, isolate, reason));
}

/** One of SL_SEAT_EMPTY, SL_SEAT_IDLE, SL_SEAT_BUSY. */
export function gatewayIsolateState(gateway: number, isolate: number): number {
  openLibrary();
  return checked(binding.sluice_gateway_isolate_state(gateway, isolate));
}

/** Checks the plan, copies it and publishes it to all workers; a bad one changes nothing. */
export function planLoad(gateway: number, blob: Uint8Array): void {
  openLibrary();
  checked(binding.sluice_plan_load(gateway, blob));
}

/** Warming to active; returns when every worker accepts. */
export function gatewayStart(gateway: number): void {
  openLibrary();
  checked(binding.sluice_gateway_start(gateway));
}

/**
 * Wakes a worker's loop: (gateway, worker) to a status. Hot: it is the binding itself, so {@linkcode openLibrary} must have been called in
 * this isolate, and it never throws.
 */
export const gatewayWake: (gateway: number, worker: number) => number =
  binding.sluice_gateway_wake;

/** Active to draining; returns at once. */
export function gatewayDrain(gateway: number, deadlineMs: number): void {
  openLibrary();
  checked(binding.sluice_gateway_drain(gateway, deadlineMs));
}

/** One of SL_WARMING, SL_ACTIVE, SL_DRAINING, SL_CLOSED. */
export function gatewayState(gateway: number): number {
  openLibrary();
  return checked(binding.sluice_gateway_state(gateway));
}

/** Waits at most `waitMs` for the native threads to end; whether they have. Blocks the isolate meanwhile. */
export function gatewayJoin(gateway: number, waitMs: number): boolean {
  openLibrary();
  const status = binding.sluice_gateway_join(gateway, waitMs);
  if (status === SL_E_STATE) return false;
  return checked(status) === SL_OK;
}

/** Frees a gateway that is joined or was never started. */
export function gatewayFree(gateway: number): void {
  openLibrary();
  checked(binding.sluice_gateway_free(gateway));
}

/** Connections that a worker has now. */
export function gatewayWorkerConns(gateway: number, worker: number): number {
  openLibrary();
  return checked(binding.sluice_gateway_worker_conns(gateway, worker));
}

/** What {@linkcode gatewayStats} returns. */
export interface GatewayStats extends Counters {
  /** Answers and closes by their reason: the label of each row of `native/include/sluice/status.h`, such as `bad_request`. */
  byStatus: Record<string, number>;
  /** TLS handshakes by what became of early data: BoringSSL's reasons, such as `accepted` and `not_offered`. */
  byEarlyReason: Record<string, number>;
  /**
   * TLS handshakes that failed, by their reason: the labels of `native/include/sluice/tls_reason.h`, such as `alpn`, `plain_http`, `silent` (left without a
   * byte) and `alert_unknown_ca`; those alone that happened.
   */
  byTlsFailure: Record<string, number>;
  /** TLS handshakes by the time that they kept a worker busy: number i took less than 2^(i + 4) microseconds, and not less than the number before. */
  tlsMicroseconds: number[];
  /** By the upstream's name; one that `proxy()` names by its URL has that as its name. */
  upstreams: Record<string, UpstreamStats>;
}

// enum ssl_early_data_reason_t of BoringSSL.
const EARLY_REASONS: Record<number, string> = {
  0: "unknown",
  1: "disabled",
  2: "accepted",
  3: "protocol_version",
  4: "not_offered",
  5: "no_ticket",
  6: "not_resumed",
  7: "unsupported_for_session",
  8: "hello_retry_request",
  9: "alpn_mismatch",
  12: "ticket_age_skew",
};
const EARLY_REASON_SLOTS = 16;
const TLS_TIME_SLOTS = 16;

/** Connections to one upstream, summed over workers. */
export interface UpstreamStats {
  /** Kept without a request now. Upstreams at one address share these. */
  idle: number;
  /** That carry a request now. */
  active: number;
  /** Requests that wait for a connection now. */
  waiting: number;
  /** Opened. */
  connects: number;
  /** Requests that were sent on a kept connection. */
  reuses: number;
  /** Requests that failed there: refused, cut, timed out or malformed. */
  failures: number;
}

function upstreamStats(gateway: number): Record<string, UpstreamStats> {
  let out = new Uint8Array(TEXT_BYTES_MAX);
  let bytes = checked(binding.sluice_gateway_upstreams(gateway, out));
  if (bytes > out.length) {
    out = new Uint8Array(bytes);
    bytes = checked(binding.sluice_gateway_upstreams(gateway, out));
  }
  const lines = decoder.decode(out.subarray(0, bytes - 1)).split("\n");
  return Object.fromEntries(
    lines.filter(Boolean).map((line) => {
      const [, numbers, name] = /^((?:\d+ ){6})(.*)$/.exec(line) ?? [];
      const [idle, active, waiting, connects, reuses, failures] = numbers
        .split(" ").map(Number);
      return [name, { idle, active, waiting, connects, reuses, failures }];
    }),
  );
}

let kernelTlsText: string | undefined; // a kernel does not change its mind often enough to ask it each time

/** Whether this kernel could do TLS for sockets: `available, unused`, or `not available: ` and why. */
export function kernelTls(): string {
  if (kernelTlsText === undefined) {
    openLibrary();
    const out = new Uint8Array(256);
    const bytes = checked(binding.sluice_kernel_tls_describe(out));
    kernelTlsText = decoder.decode(out.subarray(0, bytes));
  }
  return kernelTlsText;
}

/** Counters since the start, summed over workers. Each worker publishes its own when it is asked: microseconds, unless one is busy. */
export function gatewayStats(gateway: number): GatewayStats {
  openLibrary();
  const reasonsAt = COUNTERS.length + SL_STATUS_SLOTS;
  const failuresAt = reasonsAt + EARLY_REASON_SLOTS;
  const timesAt = failuresAt + SL_TLS_REASON_SLOTS;
  const words = new BigUint64Array(timesAt + TLS_TIME_SLOTS);
  const count = checked(binding.sluice_gateway_stats(gateway, bytesOf(words)));
  if (count !== words.length) {
    throw new Error(
      `the library has ${count} counters, abi.ts ${words.length}: run \`deno task build\``,
    );
  }
  const stats = Object.fromEntries(
    COUNTERS.map(([name], index) => [name, Number(words[index])]),
  ) as unknown as Counters;
  const byStatus: Record<string, number> = {};
  for (const { status, label } of STATUS) {
    byStatus[label] = Number(words[COUNTERS.length - status]);
  }
  const byEarlyReason: Record<string, number> = {};
  for (let reason = 0; reason < EARLY_REASON_SLOTS; reason++) {
    const count = Number(words[reasonsAt + reason]);
    const label = EARLY_REASONS[reason] ?? `reason_${reason}`;
    if (count > 0 || reason in EARLY_REASONS) byEarlyReason[label] = count;
  }
  const byTlsFailure = Object.fromEntries(
    TLS_REASONS.map((label, i) =>
      [label, Number(words[failuresAt + i])] as const
    )
      .filter(([, count]) => count > 0),
  );
  const tlsMicroseconds = Array.from(words.subarray(timesAt), Number);
  return {
    ...stats,
    byStatus,
    byEarlyReason,
    byTlsFailure,
    tlsMicroseconds,
    upstreams: upstreamStats(gateway),
  };
}

/** A self-signed P-256 certificate and its key for localhost, 127.0.0.1 and ::1, PEM, valid for a year. */
export function certificateMake(): {
  cert: Uint8Array<ArrayBuffer>;
  key: Uint8Array<ArrayBuffer>;
} {
  openLibrary();
  const out = new Uint8Array(CERTIFICATE_BYTES_MAX);
  const end = checked(binding.sluice_certificate_make(out));
  const keyAt = 4 + new DataView(out.buffer).getUint32(0, true);
  return { cert: out.slice(4, keyAt), key: out.slice(keyAt, end) };
}

/** Sizes and offsets of shared structs as the library has them; compared with ABI in abi.ts by abi_test.ts. */
export function abiWords(): Uint32Array {
  openLibrary();
  const words = new Uint32Array(4096);
  return words.slice(0, checked(binding.sluice_abi(bytesOf(words))));
}

function checked(status: number): number {
  if (status >= 0) return status;
  throw new NativeError(status, readText(binding.sluice_error_text));
}

function readText(read: (out: Uint8Array) => number): string {
  const out = new Uint8Array(TEXT_BYTES_MAX);
  return decoder.decode(out.subarray(0, checkedLength(read(out), out.length)));
}

// The error text itself may not fail: an odd length is no text.
function checkedLength(length: number, max: number): number {
  if (length < 0) throw new NativeError(length, "");
  return Math.min(length, max);
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
