/**
 * Asks a listener's `onClientHello` about handshakes, and says what it answers.
 *
 * @module
 */
import * as abi from "../ffi/abi.ts";
import type {
  ClientHello,
  ClientHelloAnswer,
  ClientHelloHook,
} from "../tls/mod.ts";
import { show } from "./errors.ts";
import { isPromise } from "./promise.ts";

/** The hooks of a gateway's listeners, in their order. */
export type ClientHelloHooks = readonly (ClientHelloHook | undefined)[];

/** Takes an answer to a handshake: `kind` is one of SL_HELLO_..., `name` ASCII. */
export type AnswerHello = (
  slot: number,
  gen: number,
  kind: number,
  name: string,
) => void;

/** The handshakes of one ring that wait. */
export class ClientHellos {
  #hooks: ClientHelloHooks;
  #answer: AnswerHello;
  #waiting = new Map<number, number>(); // generations by slot

  constructor(hooks: ClientHelloHooks, answer: AnswerHello) {
    this.#hooks = hooks;
    this.#answer = answer;
  }

  /** `bytes`: a `struct sl_slot_hello` and what is behind it, copied. */
  ask(
    slot: number,
    gen: number,
    bytes: Uint8Array<ArrayBuffer>,
    remoteAddress: string,
  ): void {
    const hello = readHello(bytes, remoteAddress);
    let result: ClientHelloAnswer | PromiseLike<ClientHelloAnswer>;
    try {
      result = this.#hooks[hello.listener]?.(hello);
    } catch (error) {
      this.#failed(slot, gen, error);
      return;
    }
    if (!isPromise(result)) {
      this.#answered(slot, gen, result);
      return;
    }
    this.#waiting.set(slot, gen);
    result.then((answer) => {
      if (this.abort(slot, gen)) this.#answered(slot, gen, answer);
    }, (error) => {
      if (this.abort(slot, gen)) this.#failed(slot, gen, error);
    });
  }

  /** Nobody waits any more; whether somebody did. */
  abort(slot: number, gen: number): boolean {
    return this.#waiting.get(slot) === gen && this.#waiting.delete(slot);
  }

  #answered(slot: number, gen: number, answer: unknown): void {
    const choice = answer === undefined ? {} : answer;
    if (answer === "reject") {
      this.#answer(slot, gen, abi.SL_HELLO_REJECT, "");
    } else if (!isChoice(choice)) {
      const wanted = '{ certificate: "a.example" }, "reject" or undefined';
      const text = `onClientHello must give ${wanted} (got ${show(answer)})`;
      this.#failed(slot, gen, new TypeError(text));
    } else if (choice.certificate === undefined) {
      this.#answer(slot, gen, abi.SL_HELLO_ORDINARY, "");
    } else {
      this.#answer(slot, gen, abi.SL_HELLO_ROW_OF, choice.certificate);
    }
  }

  #failed(slot: number, gen: number, error: unknown): void {
    console.error(error);
    this.#answer(slot, gen, abi.SL_HELLO_FAILED, "");
  }
}

const NAME = /^[\x21-\x7e]{1,253}$/; // whether there is such a name only C knows

function isChoice(value: unknown): value is { certificate?: string } {
  if (typeof value !== "object" || value === null) return false;
  const { certificate, ...rest } = value as Record<string, unknown>;
  return Object.keys(rest).length === 0 &&
    (certificate === undefined ||
      typeof certificate === "string" && NAME.test(certificate));
}

/** Reads what a client said. */
export function readHello(
  bytes: Uint8Array<ArrayBuffer>,
  remoteAddress: string,
): ClientHello {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const half = (off: number) => view.getUint16(off, true);
  let at = abi.SL_SLOT_HELLO_BYTES;
  const part = (lengthOff: number) => {
    const from = at;
    at += half(lengthOff);
    return bytes.subarray(from, at);
  };
  const name = part(abi.SL_SLOT_HELLO_SERVER_NAME_LEN_OFF);
  const alpn = part(abi.SL_SLOT_HELLO_ALPN_LEN_OFF);
  const versions = numbers(part(abi.SL_SLOT_HELLO_VERSIONS_LEN_OFF));
  const hello: ClientHello = {
    alpn: texts(alpn),
    versions: versions.length > 0
      ? versions
      : [half(abi.SL_SLOT_HELLO_LEGACY_VERSION_OFF)],
    cipherSuites: numbers(part(abi.SL_SLOT_HELLO_CIPHERS_LEN_OFF)),
    groups: numbers(part(abi.SL_SLOT_HELLO_GROUPS_LEN_OFF)),
    remoteAddress,
    listener: half(abi.SL_SLOT_HELLO_LISTENER_OFF),
  };
  if (name.length > 0) hello.serverName = latin1(name);
  return hello;
}

// A character for each byte, which TextDecoder does not do: its latin1 is windows-1252.
function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

// Two bytes each; what is left of an odd one is none.
function numbers(list: Uint8Array): number[] {
  return Array.from(
    { length: list.length >> 1 },
    (_, i) => list[2 * i] << 8 | list[2 * i + 1],
  );
}

// A byte with its length before each; one that is cut is the last.
function texts(list: Uint8Array): string[] {
  const found: string[] = [];
  for (let at = 0; at < list.length; at += 1 + list[at]) {
    found.push(latin1(list.subarray(at + 1, at + 1 + list[at])));
  }
  return found;
}
