/**
 * The Response that handlers make. It is light: status, field lines and body are kept as they were given, so that the
 * dispatcher writes them without streams or promises; everything else is done by a real Response, made when it is touched.
 *
 * @module
 */
import { HOP_BY_HOP, isFieldName, isFieldValue } from "./header_fields.ts";
import { installRequest, standIn } from "./request.ts";
import { UpstreamAnswer } from "./upstream_answer.ts";

const NativeResponse = globalThis.Response;
const NativeHeaders = globalThis.Headers;

/** A body that can be sent: whole, as a stream, or as it comes from an upstream. */
export type OutgoingBody =
  | string
  | UpstreamAnswer
  | Uint8Array<ArrayBuffer>
  | ReadableStream<Uint8Array<ArrayBuffer>>
  | null;

/** What an answer is made of. */
export interface ResponseParts {
  status: number;
  /** `name: value\r\n` each, as latin1; without framing and hop-by-hop fields. */
  lines: string;
  body: OutgoingBody;
  /** The length that the handler declared; -1: none. */
  declaredLength: number;
  /** For HEAD: the body that the GET answer would have. */
  headBody: OutgoingBody;
}

const TEXT_LINE = "content-type: text/plain;charset=UTF-8\r\n";
const JSON_LINE = "content-type: application/json\r\n";

// ---- Field lines

// What a field name becomes: its lower-case form with ": ", "" for one that C writes, or undefined.
const names = new Map<string, string>();
const NAMES_MAX = 1024;
const LENGTH = "content-length: ";
const TYPE = "content-type: ";

function lineStart(name: string): string {
  let start = names.get(name);
  if (start === undefined) {
    const lower = name.toLowerCase();
    if (!isFieldName(lower)) {
      throw new TypeError(`Invalid header name: ${JSON.stringify(name)}`);
    }
    start = HOP_BY_HOP.has(lower) && lower !== "content-length"
      ? ""
      : `${lower}: `;
    if (names.size >= NAMES_MAX) names.clear(); // a handler makes up names: do not keep them all
    names.set(name, start);
  }
  return start;
}

function fieldValue(value: string): string {
  if (!isFieldValue(value)) {
    throw new TypeError(`Invalid header value: ${JSON.stringify(value)}`);
  }
  const first = value.charCodeAt(0);
  const last = value.charCodeAt(value.length - 1);
  const blank = first === 0x20 || first === 0x09 || last === 0x20 ||
    last === 0x09;
  return blank ? value.replace(/^[\t ]+|[\t ]+$/g, "") : value;
}

// Collects fields as lines. One is enough: it is emptied before each use.
class Lines {
  text = "";
  hasType = false;
  declaredLength = -1;

  reset(): void {
    this.text = "";
    this.hasType = false;
    this.declaredLength = -1;
  }

  add(name: string, given: unknown): void {
    const value = fieldValue(typeof given === "string" ? given : String(given));
    const start = lineStart(name);
    if (start === "") return;
    if (start === LENGTH) {
      if (/^\d{1,15}$/.test(value)) this.declaredLength = Number(value);
      return;
    }
    if (start === TYPE) this.hasType = true;
    this.text += start + value + "\r\n";
  }

  addAll(init: HeadersInit): void {
    if (init instanceof NativeHeaders || Symbol.iterator in init) {
      const pairs = init instanceof NativeHeaders
        ? init
        : new NativeHeaders(init);
      for (const [name, value] of pairs) this.add(name, value);
      return;
    }
    for (const name of Object.keys(init)) {
      this.add(name, (init as Record<string, string>)[name]);
    }
  }
}

const lines = new Lines();

// ---- The response

// The light body behind a stream that `body` handed out: new Response(old.body, old) finds it again.
const lightBodies = new WeakMap<ReadableStream, LightResponse>();

/** A light Response. Installed as `globalThis.Response` where TypeScript routes run. */
export class LightResponse {
  #status = 200;
  #lines = "";
  #body: OutgoingBody = null;
  #declaredLength = -1;
  #headBody: OutgoingBody = null;
  #native: Response | undefined;
  #streamed: ReadableStream | undefined; // handed out by `body`

  constructor(body?: BodyInit | null, init?: ResponseInit) {
    if (!this.#take(body, init)) this.#native = new NativeResponse(body, init);
  }

  // Takes the parts if they are of the light kinds. Errors are thrown by the real constructor, with its texts.
  #take(
    body: BodyInit | null | undefined,
    init: ResponseInit | undefined,
  ): boolean {
    let status = 200;
    let headers: HeadersInit | undefined;
    if (init !== undefined) {
      if (init === null || typeof init !== "object") return false;
      if (#lines in init && !init.#native) return this.#copy(body, init);
      if (init.statusText) return false;
      status = init.status ?? 200;
      if (!Number.isInteger(status) || status < 200 || status > 599) {
        return false;
      }
      headers = init.headers;
      if (#lines in init) this.#headBody = init.#bodyOfGet();
    }
    if (!this.#takeBody(body, status)) return false;
    this.#status = status;
    // Text has a type; what another response gave out as a stream has the one of that response, or none.
    const isText = typeof body === "string";
    if (headers === undefined || headers === null) {
      if (isText) this.#lines = TEXT_LINE;
      return true;
    }
    if (typeof headers !== "object") return false;
    lines.reset();
    lines.addAll(headers);
    this.#lines = isText && !lines.hasType
      ? lines.text + TEXT_LINE
      : lines.text;
    this.#declaredLength = lines.declaredLength;
    return true;
  }

  // new Response(body, other): the fields are checked lines already.
  #copy(body: BodyInit | null | undefined, other: LightResponse): boolean {
    if (!this.#takeBody(body, other.#status)) return false;
    this.#status = other.#status;
    this.#lines = other.#lines;
    this.#declaredLength = other.#declaredLength;
    if (this.#body === null) this.#headBody = other.#bodyOfGet();
    if (typeof body === "string" && !this.#lines.includes(TYPE)) {
      this.#lines += TEXT_LINE;
    }
    return true;
  }

  // What tells a HEAD answer its length: no body is an empty one, but for those that only the real Response knows.
  #bodyOfGet(): OutgoingBody {
    const unknown = this.#native !== undefined && this.#native.body !== null;
    return this.#body ?? this.#headBody ?? (unknown ? null : "");
  }

  #takeBody(body: BodyInit | null | undefined, status: number): boolean {
    if (body === null || body === undefined) return true;
    if (status === 204 || status === 205 || status === 304) return false;
    if (typeof body === "string") this.#body = body;
    else if (body instanceof Uint8Array) this.#body = copyOf(body);
    else if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) {
      this.#body = copyOf(viewOf(body));
    } else if (body instanceof ReadableStream) return this.#takeStream(body);
    else return false;
    return true;
  }

  #takeStream(stream: ReadableStream): boolean {
    if (stream.locked) return false;
    const origin = lightBodies.get(stream);
    this.#body = origin && !origin.bodyUsed && isKept(origin.#body)
      ? origin.#body
      : stream;
    return true;
  }

  get status(): number {
    return this.#native ? this.#native.status : this.#status;
  }

  get statusText(): string {
    return this.#native ? this.#native.statusText : "";
  }

  get headers(): Headers {
    return LightResponse.materialize(this).headers;
  }

  get ok(): boolean {
    return this.status < 300;
  }

  get bodyUsed(): boolean {
    return this.#native ? this.#native.bodyUsed : false;
  }

  get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    if (!this.#native && this.#body instanceof ReadableStream) {
      return this.#body;
    }
    const stream = LightResponse.materialize(this).body;
    if (stream && isKept(this.#body)) {
      lightBodies.set(stream, this);
      this.#streamed = stream;
    }
    return stream;
  }

  clone(): Response {
    if (this.#body instanceof UpstreamAnswer) this.#body.share();
    return LightResponse.materialize(this).clone();
  }

  /** The answer of an upstream. */
  static ofUpstream(answer: UpstreamAnswer): Response {
    const response = new LightResponse();
    response.#status = answer.status;
    response.#lines = answer.lines;
    response.#body = answer;
    response.#declaredLength = answer.declaredLength;
    return response as unknown as Response;
  }

  /** The real Response with the same parts. The light one uses it from now on. */
  static materialize(response: LightResponse): Response {
    return response.#native ??= response.#make();
  }

  #make(): Response {
    const headers = new NativeHeaders();
    for (const line of this.#lines.split("\r\n")) {
      const colon = line.indexOf(": ");
      if (colon > 0) {
        headers.append(line.slice(0, colon), line.slice(colon + 2));
      }
    }
    if (this.#declaredLength >= 0) {
      headers.set("content-length", String(this.#declaredLength));
    }
    const body = this.#body instanceof UpstreamAnswer
      ? this.#body.bodiless ? null : this.#body.stream()
      : this.#body;
    // Somebody has piped it on, and wants the rest: what is left of the body is that it was used.
    const isGone = body instanceof ReadableStream && body.locked;
    const native = new NativeResponse(isGone ? "" : body, {
      status: this.#status,
      headers,
    });
    if (isGone) native.text();
    // A body has a default type, but a light one that has none was made so: from bytes.
    if (!headers.has("content-type")) native.headers.delete("content-type");
    return native;
  }

  /** What is to be sent. Throws if the body was read already. */
  static parts(response: Response | LightResponse): ResponseParts {
    if (!(#lines in response)) return nativeParts(response, response.body);
    if (!response.#native) return response.#parts();
    if (response.#streamed?.locked || response.#native.bodyUsed) throw used();
    const kept = isKept(response.#body) ? response.#body : null;
    const parts = nativeParts(
      response.#native,
      kept ?? response.#native.body,
    );
    parts.headBody = response.#headBody;
    return parts;
  }

  #parts(): ResponseParts {
    return {
      status: this.#status,
      lines: this.#lines,
      body: this.#body,
      declaredLength: this.#declaredLength,
      headBody: this.#headBody,
    };
  }

  static json(data: unknown, init?: ResponseInit): Response {
    if (init !== undefined) return NativeResponse.json(data, init);
    const text = JSON.stringify(data);
    if (text === undefined) return NativeResponse.json(data); // throws
    const response = new LightResponse(text);
    response.#lines = JSON_LINE;
    return response as unknown as Response;
  }

  static error(): Response {
    return NativeResponse.error();
  }

  static redirect(url: string | URL, status?: number): Response {
    return NativeResponse.redirect(url, status);
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    if (this !== LightResponse) {
      return Function.prototype[Symbol.hasInstance].call(this, value);
    }
    return value instanceof NativeResponse;
  }
}

function viewOf(body: ArrayBuffer | ArrayBufferView): Uint8Array {
  return body instanceof ArrayBuffer
    ? new Uint8Array(body)
    : new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
}

function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy;
}

// What can be sent although somebody was handed a stream of it.
function isKept(
  body: OutgoingBody,
): body is string | Uint8Array<ArrayBuffer> | UpstreamAnswer {
  return typeof body === "string" || body instanceof Uint8Array ||
    body instanceof UpstreamAnswer && body.isWhole;
}

function used(): TypeError {
  return new TypeError("The response's body was read before it could be sent");
}

function nativeParts(response: Response, body: OutgoingBody): ResponseParts {
  if (response.bodyUsed) throw used();
  if (body instanceof ReadableStream && body.locked) throw used();
  lines.reset();
  const decoded = response.url !== "" && isDecoded(response.headers);
  for (const [name, value] of response.headers) {
    const stale = name === "content-encoding" || name === "content-length";
    if (!(decoded && stale)) lines.add(name, value);
  }
  const { text, declaredLength } = lines;
  const { status } = response;
  return { status, lines: text, body, declaredLength, headBody: null };
}

// fetch() decodes these codings but keeps the fields that speak of the coded body.
function isDecoded(headers: Headers): boolean {
  return /^(?:gzip|br)$/i.test(headers.get("content-encoding") ?? "");
}

standIn(
  LightResponse as unknown as { prototype: LightResponse },
  NativeResponse as unknown as { prototype: Response },
  new NativeResponse("x"),
  LightResponse.materialize,
  true,
);
Object.defineProperty(LightResponse, "name", { value: "Response" });

/** Makes `new Response()` light in this isolate, and `new Request()` of a light one. Returns a function that takes it back. */
export function installResponse(): () => void {
  const uninstallRequest = installRequest();
  globalThis.Response = LightResponse as unknown as typeof Response;
  return () => {
    uninstallRequest();
    globalThis.Response = NativeResponse;
  };
}
