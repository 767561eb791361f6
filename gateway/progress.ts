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
