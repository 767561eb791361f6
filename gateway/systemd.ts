/**
 * What systemd, or whoever speaks its protocol, gives to a service and wants to hear: listening sockets (sd_listen_fds(3)), its states (sd_notify(3))
 * and a pulse (sd_watchdog_enabled(3)). Nothing of it where the environment does not ask for it.
 *
 * @module
 */

const FIRST_SOCKET = 3;
const SOCKETS_MAX = 64;
const NAMES = [
  "LISTEN_PID",
  "LISTEN_FDS",
  "LISTEN_FDNAMES",
  "NOTIFY_SOCKET",
  "WATCHDOG_PID",
  "WATCHDOG_USEC",
];

/** What the environment asks for. */
export interface ServiceOptions {
  /** Descriptors of sockets that listen. */
  sockets: number[];
  /** Where states are told. */
  notifySocket?: string;
  /** How often a pulse is expected. */
  watchdogMs?: number;
}

/** Reads the environment of the process `pid`, and takes these variables out of it: what a handler starts is no service. */
export function serviceOptions(
  env: Pick<typeof Deno.env, "get" | "delete">,
  pid: number,
): ServiceOptions {
  const value = Object.fromEntries(NAMES.map((name) => [name, env.get(name)]));
  for (const name of NAMES) env.delete(name);
  const count = value.LISTEN_PID === `${pid}` ? Number(value.LISTEN_FDS) : 0;
  const isMine = !value.WATCHDOG_PID || value.WATCHDOG_PID === `${pid}`;
  const watchdogMs = isMine ? Number(value.WATCHDOG_USEC) / 1000 : 0;
  return {
    sockets: Array.from(
      { length: count > 0 && count <= SOCKETS_MAX ? count : 0 },
      (_, i) => FIRST_SOCKET + i,
    ),
    ...value.NOTIFY_SOCKET && { notifySocket: value.NOTIFY_SOCKET },
    ...watchdogMs > 0 && value.NOTIFY_SOCKET && { watchdogMs },
  };
}

/** A service's states, told as they come. */
export class ServiceStates {
  #send: (text: string) => void;
  #watchdogMs: number | undefined;
  #pulse: ReturnType<typeof setInterval> | undefined;

  /** `send` gets lines such as "READY=1"; what it throws is told once by `warn`, and the service goes on. */
  constructor(
    { watchdogMs }: Pick<ServiceOptions, "watchdogMs">,
    send: (text: string) => void,
    warn: (text: string) => void,
  ) {
    let warned = false;
    this.#watchdogMs = watchdogMs;
    this.#send = (text) => {
      try {
        send(text);
      } catch (error) {
        if (!warned) warn((error as Error).message);
        warned = true;
      }
    };
  }

  /** It serves, for the first time or after `reloading`. */
  ready(status: string): void {
    this.#send(`READY=1\nSTATUS=${oneLine(status)}`);
    // Twice in the time, as sd_watchdog_enabled(3) says. From this thread, which signals, reloads and the drain need.
    if (this.#watchdogMs === undefined || this.#pulse !== undefined) return;
    this.#pulse = setInterval(
      () => this.#send("WATCHDOG=1"),
      this.#watchdogMs / 2,
    );
    Deno.unrefTimer(this.#pulse);
  }

  reloading(): void {
    this.#send("RELOADING=1\nSTATUS=reloading");
  }

  /** No more pulse. */
  close(): void {
    clearInterval(this.#pulse);
    this.#pulse = undefined;
  }

  /** The pulse goes on: a drain takes its time. */
  stopping(status: string): void {
    this.#send(`STOPPING=1\nSTATUS=${oneLine(status)}`);
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").slice(0, 400);
}
