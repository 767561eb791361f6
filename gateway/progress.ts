/**
 * How far C has come with a request before it came here. A native step that does not end the chain is done by C when all before it are native,
 * too: then its TypeScript form lets the request pass, and C also does the response half, unless the answer did not come back through it.
 *
 * The dispatcher puts this on its Request; other Requests have none, so a chain that starts here runs here whole.
 *
 * @module
 */

/** What is known of one request's native steps. */
export interface Progress {
  /** Steps done by C that Hono has not come to yet. */
  left: number;
  /** Steps done by C that Hono has passed. */
  taken: number;
  /** A bit for each step that has no answer to work on: what came after it threw. */
  failed: number;
}

// By name, so that it is the same for another copy of this module.
/** Where a Request of ours has its progress: an own property, undefined if C has done no step. */
export const PROGRESS: unique symbol = Symbol.for("sluice.progress") as never;

/** Where the bindings of a request that came here over a socket keep our Request: middleware may have put another in `c.req.raw`. */
export const ORIGIN: unique symbol = Symbol.for("sluice.origin") as never;

/** Where our Request has its way to an upstream that C takes. */
export const SEND_ON: unique symbol = Symbol.for("sluice.sendOn") as never;

/** What our Request can do besides what a Request does. */
export interface SendsOn extends Request {
  /** The one that came, which this was made of: itself, but for `new Request(raw, init)`. */
  readonly [ROOT]: unknown;
  /** No body comes with it, not even one that a Request does not show (GET). */
  readonly [BODILESS]: boolean;
  /** Nobody has looked at its fields in a way that lets them be changed. */
  readonly [UNTOUCHED]: boolean;
  /**
   * Has C send it to an upstream, and gives the answer back; undefined: the body was read, so C cannot.
   * `head`: another one, "" for none; its last `ours` fields are the app's own.
   */
  [SEND_ON](
    upstream: number,
    head: string,
    ours: number,
  ): Promise<Response> | undefined;
}
export const ROOT: unique symbol = Symbol.for("sluice.root") as never;
export const BODILESS: unique symbol = Symbol.for("sluice.bodiless") as never;
export const UNTOUCHED: unique symbol = Symbol.for("sluice.untouched") as never;

/** Whether this is a Request that the dispatcher made. */
export function isOurs(request: Request): boolean {
  return PROGRESS in request;
}

/** Passes the next step, if C has done it. Returns its progress, or undefined: the step is to be run. */
export function takeStep(request: Request): Progress | undefined {
  const progress = (request as { [PROGRESS]?: Progress })[PROGRESS];
  if (progress === undefined || progress.left === 0) return undefined;
  progress.left--;
  progress.taken++;
  return progress;
}

/** The steps whose response half C must not do. */
export function stepsFailed(progress: Progress | undefined): number {
  if (progress === undefined) return 0;
  const untaken = ((1 << progress.left) - 1) << progress.taken;
  return progress.failed | untaken;
}
