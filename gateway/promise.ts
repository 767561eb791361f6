/**
 * What a hook or a handler gives at once, or later.
 *
 * @module
 */

/** Whether it comes later: a promise, or anything with its `then`. */
export function isPromise<T>(
  value: T | PromiseLike<T>,
): value is PromiseLike<T> {
  return value instanceof Promise ||
    typeof (value as PromiseLike<T> | null | undefined)?.then === "function";
}
