/**
 * Certificates of a gateway, the CAs of its clients' certificates, and their files while it runs: what is renewed is taken without a restart, what cannot
 * be used is told, and what ends soon is told each day. Files are watched for speed, and looked at every minute for certainty: a network file system tells of no change.
 *
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import {
  type CertificateFacts,
  type CertificateOptions,
  certificateWarnings,
  type OcspAnswer,
  ocspRefusal,
} from "../tls/mod.ts";
import { GatewayError, show } from "./errors.ts";
import { FileWatcher } from "./module_graph.ts";

const LOOK_MS = 60_000;
// Certificate and key are written one after the other: what does not fit together yet gets this long before it is told.
const PAIR_MS = 2_000;
const DAY_MS = 86_400_000;
const NONE = new Uint8Array();

const { setTimeout, clearTimeout, setInterval, clearInterval } = globalThis; // a module may replace them

/** One certificate as `stats` tells it. Times are in Unix seconds. */
export interface CertificateStats {
  /** The server names that it answers to. */
  names: string[];
  /** Until when it is valid. */
  notAfter: number;
  /** Its serial number, in hexadecimal digits. */
  serial: string;
  /** Until when its OCSP response holds; undefined: none is sent, or it does not say. */
  ocspNextUpdate?: number;
}

/** What {@linkcode LiveCertificates.reload} found. */
export interface ReloadedCertificates {
  /** Of each certificate that was taken, and each file of CAs, a sentence. */
  renewed: string[];
  /** What could not be used, and what ends soon. */
  warnings: string[];
}

/** What C does for it. Each throws an error whose `message` says what is wrong. */
export interface CertificateDoor {
  /** What a certificate says, if the key is its own. */
  describe(cert: Uint8Array, key: Uint8Array): CertificateFacts;
  /** What an OCSP response says. */
  ocsp(response: Uint8Array): OcspAnswer[];
  /** Puts them in the place of certificate `index` of a set. */
  replace(
    set: number,
    index: number,
    cert: Uint8Array,
    key: Uint8Array,
    ocsp: Uint8Array,
  ): void;
}

/** Who hears of it. */
export interface CertificateTalk {
  warn(text: string): void;
  note(text: string): void;
}

/** Chain and key as bytes; the key's are erased by `forget`. */
class Pair {
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
  /** Equal only if both are. */
  readonly sum: string;

  constructor({ cert, key }: CertificateOptions) {
    this.cert = pemBytes(cert);
    this.key = pemBytes(key);
    this.sum = sumOf([this.cert, this.key]);
  }

  forget(): void {
    this.key.fill(0);
  }
}

/** An OCSP response that is sent, and what it says. */
interface Staple {
  bytes: Uint8Array;
  answer: OcspAnswer;
}

const SALT = randomBytes(16); // a digest of a key is kept: one that says nothing elsewhere

function sumOf(parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256").update(SALT);
  for (const part of parts) hash.update(`${part.length} `).update(part);
  return hash.digest("hex");
}

function isPem(text: string): boolean {
  return text.includes("-----BEGIN ");
}

/** How texts name a PEM option: by its file. */
export function nameOf(pem: string): string {
  return isPem(pem) ? "(PEM text)" : show(pem);
}

/** What a PEM option holds. `path`: its place, if the error shall name it. */
export function pemBytes(pem: string, path?: string): Uint8Array {
  return isPem(pem) ? new TextEncoder().encode(pem) : readFile(pem, path);
}

/** Reads a file, or throws a {@linkcode GatewayError} that names it. */
function readFile(file: string, path?: string): Uint8Array {
  try {
    return Deno.readFileSync(file);
  } catch (cause) {
    const reason = cause instanceof Error
      ? cause.message.split(": readfile")[0]
      : String(cause);
    const place = path === undefined ? "" : `${path}: `;
    throw new GatewayError(`${place}cannot read ${show(file)}: ${reason}`, {
      kind: "tls_config",
      cause,
    });
  }
}

// What is read from files again and again.
interface Watched {
  /** Its place in the options. */
  path: string;
  /** Of what C has. */
  sum: string;
  /** What was wrong with files when they were looked at last, since when, and whether that was told. */
  problem?: string;
  sinceMs: number;
  isTold: boolean;
}

// The CAs of one certificate's clients.
interface CasEntry extends Watched {
  ca: string;
  give: (pem: Uint8Array) => void;
}

// One certificate of a set.
interface Entry extends Watched {
  options: CertificateOptions;
  set: number;
  index: number;
  facts: CertificateFacts;
  staple?: Staple;
}

/** What one look at files brought. */
interface Renewal {
  renewed?: string;
  warnings: string[];
}

/** The certificates of all listeners. */
export class LiveCertificates {
  #door: CertificateDoor;
  #talk: CertificateTalk;
  #now: () => number;
  #entries: Entry[] = [];
  #cas: CasEntry[] = [];
  #toldOn = new Map<string, number>(); // warnings that come each day
  #watcher: FileWatcher | undefined;
  #looks: ReturnType<typeof setInterval> | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  /** `now`: milliseconds, for tests. */
  constructor(
    door: CertificateDoor,
    talk: CertificateTalk,
    now: () => number = Date.now,
  ) {
    this.#door = door;
    this.#talk = talk;
    this.#now = now;
  }

  /**
   * A certificate of the options at `path`, before the start. `give` hands it to C as the next one of its set, and says which set that is. Returns what
   * clients will not like about it; throws a {@linkcode GatewayError} if it cannot be used.
   */
  add(
    path: string,
    options: CertificateOptions,
    index: number,
    give: (cert: Uint8Array, key: Uint8Array) => number,
  ): { set: number; warnings: string[] } {
    const pair = pairAtStart(path, options);
    try {
      const facts = this.#door.describe(pair.cert, pair.key);
      const { staple, problem } = this.#staple(path, options, facts);
      const set = give(pair.cert, pair.key);
      if (staple) {
        this.#door.replace(set, index, pair.cert, pair.key, staple.bytes);
      }
      const { sum } = pair;
      const entry = { path, options, set, index, sum, facts, staple, problem };
      this.#entries.push({ ...entry, sinceMs: 0, isTold: true });
      const warnings = this.#daily(entry);
      return { set, warnings: problem ? [...warnings, problem] : warnings };
    } catch (cause) {
      throw usable(`${path}: ${namesOf(options)}`, cause);
    } finally {
      pair.forget();
    }
  }

  /** The CAs of the options at `path`, before the start. `give` hands them to C, then and whenever their file has changed. */
  addCas(path: string, ca: string, give: (pem: Uint8Array) => void): void {
    const pem = pemBytes(ca, path);
    try {
      give(pem);
    } catch (cause) {
      throw usable(`${path}: ${nameOf(ca)}`, cause);
    }
    const entry = { path, ca, give, sum: sumOf([pem]) };
    this.#cas.push({ ...entry, sinceMs: 0, isTold: true });
  }

  // What may be sent: the file's, else what it held before, while that holds. Throws at the start if the file is no OCSP response.
  #staple(
    path: string,
    { ocsp }: CertificateOptions,
    facts: CertificateFacts,
    before?: Entry,
  ): { staple?: Staple; problem?: string } {
    if (ocsp === undefined) return {};
    const nowS = this.#now() / 1000;
    let refusal: string | undefined;
    try {
      const bytes = readFile(ocsp);
      const answers = this.#door.ocsp(bytes);
      refusal = ocspRefusal(answers, facts.serial, nowS);
      if (refusal === undefined) {
        const answer = answers.find(({ serial }) => serial === facts.serial)!;
        return { staple: { bytes, answer } };
      }
    } catch (error) {
      if (!before) throw ocspError(path, ocsp, error);
      refusal = `cannot be used: ${(error as Error).message}`;
    }
    const last = before?.staple;
    const holds = last &&
      ocspRefusal([last.answer], facts.serial, nowS) === undefined;
    const what = holds
      ? "is not taken, the one before goes on"
      : "is not sent to clients";
    return {
      staple: holds ? last : undefined,
      problem: `${path}.ocsp: ${
        show(ocsp)
      } ${what}: it ${refusal}. Look: openssl ocsp -noverify -text -respin ${ocsp}`,
    };
  }

  /** The warnings that a certificate deserves today, but those that were told today. */
  #daily(
    { path, options, facts }: Pick<Entry, "path" | "options" | "facts">,
  ): string[] {
    const nowMs = this.#now();
    const texts = certificateWarnings(facts, options.names ?? [], nowMs / 1000)
      .map((text) => `${path}: certificate ${nameOf(options.cert)} ${text}`);
    const day = Math.floor(nowMs / DAY_MS);
    const fresh = texts.filter((text) => this.#toldOn.get(text) !== day);
    for (const text of fresh) this.#toldOn.set(text, day);
    for (const [text, told] of this.#toldOn) {
      if (told !== day) this.#toldOn.delete(text);
    }
    return fresh;
  }

  // ---- While it runs

  /** Looks at the files whenever they may have changed, until `stop`. */
  async start(): Promise<void> {
    this.#looks = setInterval(() => this.look(), LOOK_MS);
    await this.#watch();
    this.look(); // what was written before the watching began
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#looks);
    clearTimeout(this.#again);
    this.#watcher?.close();
  }

  async #watch(): Promise<void> {
    const files = [
      ...this.#entries.flatMap(({ options }) => filesOf(options)),
      ...this.#cas.map(({ ca }) => ca).filter((ca) => !isPem(ca)),
    ].map((file) => file.startsWith("/") ? file : `${Deno.cwd()}/${file}`);
    if (files.length === 0 || this.#isStopped) return;
    this.#watcher ??= new FileWatcher(() => this.#changed());
    try {
      await this.#watcher.watch(new Set(files));
    } catch (error) {
      this.#warnDaily(
        `certificates: their folders cannot be watched (${
          (error as Error).message
        }); they are looked at every ${LOOK_MS / 1000} s`,
      );
    }
    if (this.#isStopped) this.#watcher.close(); // while it was being opened
  }

  #warnDaily(text: string): void {
    const day = Math.floor(this.#now() / DAY_MS);
    if (this.#toldOn.get(text) === day) return;
    this.#toldOn.set(text, day);
    this.#talk.warn(text);
  }

  // A link may point into another folder now.
  async #changed(): Promise<void> {
    if (this.#isStopped) return;
    this.look();
    await this.#watch();
  }

  /** Takes what has changed and can be used, and tells what was done. What cannot be used gets a moment: its other half may be on its way. */
  look(): void {
    if (this.#isStopped) return;
    let isPending = false;
    for (const [entry, { renewed, warnings }] of this.#renewals()) {
      if (renewed !== undefined) this.#talk.note(renewed);
      for (const text of warnings) this.#talk.warn(text);
      if (entry.problem === undefined || entry.isTold) continue;
      if (this.#now() - entry.sinceMs >= PAIR_MS) {
        entry.isTold = true;
        this.#talk.warn(entry.problem);
      } else isPending = true;
    }
    if (!isPending) return;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.look(), PAIR_MS + 50); // clocks differ a little
  }

  /** The same at once, for a caller who says that the files are whole. */
  reload(): ReloadedCertificates {
    const all: ReloadedCertificates = { renewed: [], warnings: [] };
    for (const [entry, { renewed, warnings }] of this.#renewals()) {
      if (renewed !== undefined) all.renewed.push(renewed);
      all.warnings.push(...warnings);
      if (entry.problem === undefined) continue;
      entry.isTold = true;
      all.warnings.push(entry.problem);
    }
    return all;
  }

  *#renewals(): Generator<[Watched, Renewal]> {
    for (const entry of this.#entries) yield [entry, this.#renew(entry)];
    for (const entry of this.#cas) yield [entry, this.#renewCas(entry)];
  }

  #renewCas(entry: CasEntry): Renewal {
    const { path, ca, give } = entry;
    let renewed: string | undefined;
    try {
      const pem = pemBytes(ca);
      const sum = sumOf([pem]);
      if (sum !== entry.sum) {
        give(pem);
        entry.sum = sum;
        renewed = `${path}: the CAs of ${
          nameOf(ca)
        } are renewed: tickets of before are not taken any more`;
      }
      this.#solve(entry, undefined);
    } catch (error) {
      const problem = `${path}: ${nameOf(ca)}: ${
        (error as Error).message
      }; the CAs loaded before go on. Look: openssl storeutl -noout -certs ${ca}`;
      this.#solve(entry, problem);
    }
    return { renewed, warnings: [] };
  }

  // Takes what can be used, and sets entry.problem.
  #renew(entry: Entry): Renewal {
    const { path, options, set, index } = entry;
    let pair: Pair | undefined;
    let renewed: string | undefined;
    try {
      pair = new Pair(options);
      const isNew = pair.sum !== entry.sum;
      const facts = isNew
        ? this.#door.describe(pair.cert, pair.key)
        : entry.facts;
      const { staple, problem } = this.#staple(path, options, facts, entry);
      const isStapled = !sameBytes(staple?.bytes, entry.staple?.bytes);
      if (isNew || isStapled) {
        const ocsp = staple?.bytes ?? NONE;
        this.#door.replace(set, index, pair.cert, pair.key, ocsp);
        renewed = renewalOf(entry, isNew ? facts : undefined, staple?.answer);
      }
      Object.assign(entry, { sum: pair.sum, facts, staple });
      this.#solve(entry, problem);
    } catch (error) {
      const problem = `${path}: ${namesOf(options)}: ${
        (error as Error).message
      }; what was loaded before goes on (serial ${entry.facts.serial}). ${
        advice(options)
      }`;
      this.#solve(entry, problem);
    } finally {
      pair?.forget();
    }
    return { renewed, warnings: this.#daily(entry) };
  }

  #solve(entry: Watched, problem: string | undefined): void {
    if (problem === entry.problem) return;
    Object.assign(entry, { problem, isTold: false, sinceMs: this.#now() });
  }

  stats(): CertificateStats[] {
    return this.#entries.map(({ options, facts, staple }) => ({
      names: options.names ?? [...facts.dns],
      notAfter: facts.notAfter,
      serial: facts.serial,
      ...staple?.answer.nextUpdate !== undefined &&
        { ocspNextUpdate: staple.answer.nextUpdate },
    }));
  }
}

// ---- Texts

function pairAtStart(path: string, options: CertificateOptions): Pair {
  try {
    return new Pair(options);
  } catch (cause) {
    const { message } = cause as Error;
    const key = message.startsWith(`cannot read ${show(options.cert)}:`)
      ? "cert"
      : "key";
    throw new GatewayError(`${path}.${key}: ${message}`, {
      kind: "tls_config",
      cause,
    });
  }
}

function ocspError(path: string, file: string, cause: unknown): GatewayError {
  const { message } = cause as Error;
  const text = message.startsWith("cannot read")
    ? message
    : `${show(file)}: ${message}`;
  return new GatewayError(`${path}.ocsp: ${text}`, {
    kind: "tls_config",
    cause,
  });
}

// What C refuses, as the error that programs catch.
function usable(what: string, cause: unknown): unknown {
  const { label, text } = cause as { label?: string; text?: string };
  if (label === undefined) return cause;
  return new GatewayError(`${what}: ${text}`, { kind: label, cause });
}

function sameBytes(a?: Uint8Array, b?: Uint8Array): boolean {
  return a === b ||
    a !== undefined && b !== undefined && a.length === b.length &&
      a.every((byte, i) => byte === b[i]);
}

function filesOf({ cert, key, ocsp }: CertificateOptions): string[] {
  return [cert, key, ocsp ?? ""].filter((file) => file !== "" && !isPem(file));
}

function namesOf({ cert, key }: CertificateOptions): string {
  return `certificate ${nameOf(cert)}, key ${nameOf(key)}`;
}

// `facts`: of another certificate than before; undefined: only its OCSP response has changed, to nothing if it has no answer any more.
function renewalOf(
  { path, options }: Entry,
  facts: CertificateFacts | undefined,
  answer: OcspAnswer | undefined,
): string | undefined {
  const place = `${path}: certificate ${nameOf(options.cert)}`;
  if (facts) {
    const until = dateOf(facts.notAfter);
    return `${place} is renewed: serial ${facts.serial}, until ${until}`;
  }
  if (!answer) return undefined;
  const until = answer.nextUpdate === undefined
    ? ""
    : `, until ${dateOf(answer.nextUpdate)}`;
  return `${place}: its OCSP response is renewed${until}`;
}

function dateOf(unixS: number): string {
  return new Date(unixS * 1000).toISOString().slice(0, 10);
}

// The commands that show what is wrong.
function advice({ cert, key }: CertificateOptions): string {
  const commands: string[] = [];
  if (!isPem(cert)) {
    commands.push(`openssl x509 -noout -serial -dates -in ${cert}`);
  }
  if (!isPem(key)) commands.push(`openssl pkey -noout -check -in ${key}`);
  return `Look: ${commands.join("; ")}`;
}
