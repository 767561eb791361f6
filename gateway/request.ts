/**
 * The Request that a handler gets. It is light: method, URL and the head's text are there, and everything else is made when it is
 * touched. Whatever the light object does not do itself is done by a real Request, made once; code of the runtime
 * that wants a real one (`fetch(c.req.raw)`, `new Request(c.req.raw, init)`) finds it through the same slots.
 *
 * @module
 */
import { isFieldName } from "./header_fields.ts";
import {
  BODILESS,
  PROGRESS,
  type Progress,
  ROOT,
  SEND_ON,
  UNTOUCHED,
} from "./progress.ts";
import { type Takeover, UPGRADE } from "./upgrade.ts";

const NativeRequest = globalThis.Request;
const NativeHeaders = globalThis.Headers;

/** Where a request's body comes from: the exchange that it belongs to. */
export interface BodySource {
  /** Asks for the first part; C sends nothing before. */
  want(): void;
  /** Copies the part that lies in the slot, and lets C fill it again. */
  take(bytes: number, last: boolean): Uint8Array<ArrayBuffer>;
}

/** A body as it arrives, part by part. */
export class IncomingBody {
  #source: BodySource;
  #wanted = false;
  #part = -1; // bytes of the part that lies in the slot, -1: none
  #last = false;
  #ended = false;
  #error: unknown;
  #waiter:
    | { resolve: () => void; reject: (error: unknown) => void }
    | undefined;

  constructor(source: BodySource) {
    this.#source = source;
  }

  /** Nobody has asked for any of it, and it has not failed. */
  get untouched(): boolean {
    return !this.#wanted && this.#part < 0 && this.#error === undefined &&
      !this.#ended;
  }

  /** A part has arrived. */
  arrive(bytes: number, last: boolean): void {
    this.#part = bytes;
    this.#last = last;
    this.#waiter?.resolve();
    this.#waiter = undefined;
  }

  /** No more will come: the exchange is over. */
  fail(error: unknown): void {
    if (this.#ended || this.#error !== undefined) return;
    this.#error = error;
    this.#part = -1;
    this.#waiter?.reject(error);
    this.#waiter = undefined;
  }

  /** The next part; undefined at the end. */
  async next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      if (this.#part >= 0) {
        const part = this.#source.take(this.#part, this.#last);
        this.#part = -1;
        this.#ended = this.#last;
        if (part.length > 0) return part;
        continue;
      }
      if (!this.#wanted) {
        this.#wanted = true;
        this.#source.want();
        continue;
      }
      await new Promise<void>((resolve, reject) => {
        this.#waiter = { resolve, reject };
      });
    }
  }

  /** All that is left, as one. */
  async rest(): Promise<Uint8Array<ArrayBuffer>> {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    for (let part = await this.next(); part; part = await this.next()) {
      parts.push(part);
      size += part.length;
    }
    if (parts.length === 1) return parts[0];
    const whole = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  /** The body as a byte stream that reads from the socket only as fast as it is read itself. */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new ReadableStream({
      type: "bytes",
      pull: async (controller) => {
        const part = await this.next();
        if (part) {
          controller.enqueue(part);
          return;
        }
        controller.close();
        controller.byobRequest?.respond(0);
      },
      cancel: () =>
        this.fail(new TypeError("The request's body was cancelled")),
    });
  }
}

// ---- Headers

/** A request's header fields, read from the head's text. */
export class IncomingHeaders {
  #head: string;
  #native: Headers | undefined;

  /** `head`: from the request line to the blank line; names in lower case. */
  constructor(head: string) {
    this.#head = head;
  }

  get(name: string): string | null {
    if (this.#native) return this.#native.get(name);
    return findField(this.#head, fieldKey(name));
  }

  has(name: string): boolean {
    if (this.#native) return this.#native.has(name);
    return this.#head.includes(fieldKey(name));
  }

  /** Of fields that are given otherwise. */
  static of(native: Headers): IncomingHeaders {
    const headers = new IncomingHeaders("");
    headers.#native = native;
    return headers;
  }

  /** Whether somebody may have changed them. */
  static isTouched(headers: IncomingHeaders): boolean {
    return headers.#native !== undefined;
  }

  /** The same fields in a real Headers object, from now on the only truth. */
  static materialize(headers: IncomingHeaders): Headers {
    return headers.#native ??= new NativeHeaders(fieldsOf(headers.#head));
  }
}

// In the head a field begins with its name, at the start of a line; a value never holds CR or LF.
function fieldKey(name: string): string {
  const lower = String(name).toLowerCase();
  if (!isFieldName(lower)) {
    throw new TypeError(`Invalid header name: ${JSON.stringify(name)}`);
  }
  return `\r\n${lower}:`;
}

// Cookies are a list of their own kind (RFC 6265 section 4.2.1).
const COOKIE_KEY = "\r\ncookie:";

function findField(head: string, key: string): string | null {
  let at = head.indexOf(key);
  if (at < 0) return null;
  const joint = key === COOKIE_KEY ? "; " : ", ";
  let value = "";
  for (let first = true; at >= 0; first = false) {
    const from = at + key.length;
    const end = head.indexOf("\r\n", from);
    value = first
      ? trimmed(head, from, end)
      : value + joint + trimmed(head, from, end);
    at = head.indexOf(key, end);
  }
  return value;
}

function trimmed(text: string, from: number, end: number): string {
  while (from < end && isBlank(text.charCodeAt(from))) from++;
  while (end > from && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(from, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function fieldsOf(head: string): [string, string][] {
  const fields: [string, string][] = [];
  let at = head.indexOf("\r\n") + 2;
  for (
    let end = head.indexOf("\r\n", at);
    end > at;
    end = head.indexOf("\r\n", at)
  ) {
    const colon = head.indexOf(":", at);
    const name = head.slice(at, colon);
    if (name !== "cookie") {
      fields.push([name, trimmed(head, colon + 1, end)]);
    }
    at = end + 2;
  }
  const cookies = findField(head, COOKIE_KEY);
  if (cookies !== null) fields.push(["cookie", cookies]);
  return fields;
}

// ---- The request

// Requests that may be upgraded, and who takes the connection over.
const upgrades = new WeakMap<IncomingRequest, Takeover | undefined>();

const BODY_USED = "Body already consumed";
const decoder = new TextDecoder();

/** Who has made a Request, and can have C send it on. */
export interface RequestSource {
  sendOn(
    request: IncomingRequest,
    slot: number,
    gen: number,
    upstream: number,
    head: string,
    ours: number,
  ): Promise<Response>;
}

/** A light Request over one exchange. */
export class IncomingRequest {
  readonly [PROGRESS]: Progress | undefined;
  #method: string;
  #url: string;
  #head: string;
  #body: IncomingBody | undefined;
  #used = false;
  #headers: IncomingHeaders | undefined;
  #native: Request | undefined;
  #controller: AbortController | undefined;
  #aborted: unknown;
  #isShared = false;
  #source: RequestSource | undefined;
  #slot: number;
  #gen: number;
  #parent: IncomingRequest | undefined; // that this was made of
  readonly [BODILESS]: boolean;

  /** `head`: from the request line to the blank line; names in lower case. */
  constructor(
    method: string,
    url: string,
    head: string,
    body: IncomingBody | undefined,
    progress?: Progress,
    source?: RequestSource,
    slot = 0,
    gen = 0,
    bodiless = body === undefined,
  ) {
    this.#method = method;
    this.#url = url;
    this[PROGRESS] = progress;
    this.#head = head;
    this.#body = body;
    this.#source = source;
    this.#slot = slot;
    this.#gen = gen;
    this[BODILESS] = bodiless;
  }

  get [ROOT](): IncomingRequest {
    return this.#parent?.[ROOT] ?? this;
  }

  get [UNTOUCHED](): boolean {
    return this.#headers === undefined ||
      !IncomingHeaders.isTouched(this.#headers);
  }

  [SEND_ON](
    upstream: number,
    head: string,
    ours: number,
  ): Promise<Response> | undefined {
    const isRead = this.#used || this.#isShared || this.#native?.bodyUsed ||
      this.#native?.body?.locked || this.#body?.untouched === false;
    if (!this.#source || isRead) return undefined;
    this.#body?.fail(
      new TypeError("The request's body has gone to the upstream"),
    );
    return this.#source.sendOn(
      this,
      this.#slot,
      this.#gen,
      upstream,
      head,
      ours,
    );
  }

  get method(): string {
    return this.#method;
  }

  get url(): string {
    return this.#url;
  }

  get headers(): Headers {
    return (this.#headers ??= new IncomingHeaders(
      this.#head,
    )) as unknown as Headers;
  }

  get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    return this.#body ? IncomingRequest.materialize(this).body : null;
  }

  get bodyUsed(): boolean {
    return this.#used || (this.#native?.bodyUsed ?? false);
  }

  get signal(): AbortSignal {
    if (this.#parent) return this.#parent.signal;
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted);
    }
    return this.#controller.signal;
  }

  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#used) throw new TypeError(BODY_USED);
    if (this.#native) return await this.#native.bytes();
    if (!this.#body) return new Uint8Array();
    this.#used = true;
    return await this.#body.rest();
  }

  async text(): Promise<string> {
    return this.#native && !this.#used
      ? await this.#native.text()
      : decoder.decode(await this.bytes());
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return (await this.bytes()).buffer;
  }

  clone(): Request {
    this.#isShared = true; // the copy may be read at any time
    return IncomingRequest.materialize(this).clone();
  }

  [UPGRADE](takeover: Takeover): boolean {
    const root = this[ROOT];
    if (!upgrades.has(root) || upgrades.get(root)) return false;
    upgrades.set(root, takeover);
    return true;
  }

  /** 101 may be the answer. */
  static allowUpgrade(request: IncomingRequest): void {
    upgrades.set(request, undefined);
  }

  /** Who takes the connection over, if the answer is 101. */
  static takeover(request: IncomingRequest): Takeover | undefined {
    return upgrades.get(request);
  }

  /** `new Request(input, init)` where that only changes the head of ours, so that its body stays where it is; else undefined. */
  static derive(
    input: unknown,
    init: RequestInit | undefined,
  ): IncomingRequest | undefined {
    if (isIncoming(input)) {
      return changesHeadOnly(init)
        ? input.#derive(input.#url, init)
        : undefined;
    }
    if (!isIncoming(init)) return undefined;
    const url = plainUrl(input);
    return url === undefined ? undefined : init.#derive(url, undefined);
  }

  #derive(url: string, init?: RequestInit): IncomingRequest | undefined {
    const isRead = this.bodyUsed || this.#isShared ||
      this.#native?.body?.locked || this.#body?.untouched === false;
    const method = init?.method === undefined
      ? this.#method
      : methodOf(init.method);
    if (isRead || method === undefined) return undefined;
    if (this.#body && (method === "GET" || method === "HEAD")) return undefined;
    const headers = init?.headers
      ? new NativeHeaders(init.headers)
      : this[UNTOUCHED]
      ? undefined
      : new NativeHeaders(this.headers);
    const request = new IncomingRequest(
      method,
      url,
      this.#head,
      this.#body,
      this[PROGRESS],
      this.#source,
      this.#slot,
      this.#gen,
      this[BODILESS],
    );
    request.#parent = this;
    if (headers) request.#headers = IncomingHeaders.of(headers);
    if (this.#body) this.#used = true;
    return request;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && #slot in value;
  }

  /** The client is gone: tells whoever looks at the signal, now or later. */
  static abort(request: IncomingRequest, reason: unknown): void {
    request.#aborted = reason;
    request.#controller?.abort(reason);
  }

  /** The real Request with the same parts. The light one uses it from now on. */
  static materialize(request: IncomingRequest): Request {
    return request.#native ??= request.#make();
  }

  #make(): Request {
    const init: RequestInit & { duplex?: "half" } = {
      method: this.method,
      headers: IncomingHeaders.materialize(
        this.headers as unknown as IncomingHeaders,
      ),
      signal: this.signal,
    };
    if (this.#body) {
      init.body = this.#used ? "" : this.#body.stream();
      init.duplex = "half";
    }
    const native = new NativeRequest(this.url, init);
    if (this.#used) native.text(); // it is used there, too
    return native;
  }
}

// ---- Requests that are made of one

function isIncoming(value: unknown): value is IncomingRequest {
  return value instanceof IncomingRequest;
}

const HEAD_KEYS: ReadonlySet<string> = new Set(["headers", "method", "duplex"]);

function changesHeadOnly(init: RequestInit | undefined): boolean {
  if (init === undefined) return true;
  if (init === null || typeof init !== "object" || isIncoming(init)) {
    return false;
  }
  if (init instanceof NativeRequest) return false;
  return Object.entries(init).every(([key, value]) =>
    HEAD_KEYS.has(key) || value === undefined
  );
}

const NORMALIZED = /^(?:delete|get|head|options|post|put)$/i;
const FORBIDDEN = /^(?:connect|trace|track)$/i;

// As fetch() takes it; undefined: the real Request says what is wrong.
function methodOf(given: string): string | undefined {
  const method = String(given);
  if (!isFieldName(method) || FORBIDDEN.test(method)) return undefined;
  return NORMALIZED.test(method) ? method.toUpperCase() : method;
}

function plainUrl(input: unknown): string | undefined {
  if (typeof input !== "string" && !(input instanceof URL)) return undefined;
  const url = URL.parse(input);
  if (!url || url.username || url.password || url.hash) return undefined;
  return url.href;
}

/** Makes `new Request()` of a request of ours a light one, too. Returns a function that takes it back. */
export function installRequest(): () => void {
  const real = NativeRequest.prototype.constructor;
  Object.defineProperty(NativeRequest.prototype, "constructor", {
    value: DerivingRequest,
    configurable: true,
    writable: true,
  });
  globalThis.Request = DerivingRequest as unknown as typeof Request;
  return () => {
    Object.defineProperty(NativeRequest.prototype, "constructor", {
      value: real,
      configurable: true,
      writable: true,
    });
    globalThis.Request = NativeRequest;
  };
}

function DerivingRequest(
  this: unknown,
  input: RequestInfo | URL,
  init?: RequestInit,
): unknown {
  if (new.target === undefined) {
    throw new TypeError("Class constructor Request needs 'new'");
  }
  if (new.target !== DerivingRequest as unknown) {
    return Reflect.construct(NativeRequest, [input, init], new.target);
  }
  return IncomingRequest.derive(input, init) ?? new NativeRequest(input, init);
}
Object.setPrototypeOf(DerivingRequest, NativeRequest);
DerivingRequest.prototype = NativeRequest.prototype;
Object.defineProperty(DerivingRequest, "name", { value: "Request" });

// ---- What makes them pass for the real ones

/**
 * Lets `light` stand where the runtime wants a `Native`: `instanceof` holds, members that it lacks are those of the
 * materialized object, and so are the internal slots, which in Deno are properties keyed by symbols. `isInstalled`: it is the global
 * of that name, so `constructor` is itself.
 */
export function standIn<L extends object, N extends object>(
  light: { prototype: L },
  native: { prototype: N },
  sample: N,
  materialize: (light: L) => N,
  isInstalled = false,
): void {
  const prototype = light.prototype;
  Object.setPrototypeOf(prototype, native.prototype);
  if (!isInstalled) {
    const get = () => native.prototype.constructor; // whatever is installed
    Object.defineProperty(prototype, "constructor", { get });
  }
  const forward = (key: PropertyKey) => {
    Object.defineProperty(prototype, key, {
      configurable: true,
      get(this: L) {
        const value = Reflect.get(materialize(this), key);
        return typeof value === "function"
          ? value.bind(materialize(this))
          : value;
      },
      set(this: L, value: unknown) {
        Reflect.set(materialize(this), key, value);
      },
    });
  };
  for (const key of Object.getOwnPropertyNames(native.prototype)) {
    if (!Object.hasOwn(prototype, key)) forward(key);
  }
  // Only an iterator among the prototype's own symbols is called from outside; slots are own symbols of an instance.
  if (Symbol.iterator in native.prototype) forward(Symbol.iterator);
  for (const key of Object.getOwnPropertySymbols(sample)) {
    // Deno.serve's short cuts are native handles of one object; through another they corrupt memory (Deno 2.9.6). Without them
    // it takes the response apart like any other.
    if (!key.description?.startsWith("serve ")) forward(key);
    else {
      const value = key.description === "serve fast status" ? 0 : null;
      Object.defineProperty(prototype, key, { get: () => value, set() {} });
    }
  }
}

standIn(
  IncomingHeaders as unknown as { prototype: IncomingHeaders },
  NativeHeaders,
  new NativeHeaders(),
  IncomingHeaders.materialize,
);
standIn(
  IncomingRequest as unknown as { prototype: IncomingRequest },
  NativeRequest as unknown as { prototype: Request },
  new NativeRequest("http://localhost/", { method: "POST", body: "x" }),
  IncomingRequest.materialize,
);
