// `@std/assert` where JSR cannot be reached: the names of it that we use, over node:assert, with the same argument orders and narrowing.
import nodeAssert, { AssertionError } from "node:assert";

export { AssertionError };

// deno-lint-ignore no-explicit-any -- as in @std/assert: any constructor
type Constructor<E> = new (...args: any[]) => E;

export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) fail(msg || "Expected a truthy value");
}

export function assertFalse(expr: unknown, msg = ""): asserts expr is false {
  if (expr) fail(msg || "Expected a falsy value");
}

export function assertEquals<T>(actual: T, expected: T, msg?: string) {
  nodeAssert.deepStrictEqual(actual, expected, msg);
}

export function assertNotEquals<T>(actual: T, expected: T, msg?: string) {
  nodeAssert.notDeepStrictEqual(actual, expected, msg);
}

export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  nodeAssert.strictEqual(actual, expected, msg);
}

export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string) {
  nodeAssert.notStrictEqual(actual, expected, msg);
}

export function assertExists<T>(
  actual: T,
  msg = "",
): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) {
    fail(msg || `Expected a value that exists, got ${actual}`);
  }
}

export function assertMatch(actual: string, expected: RegExp, msg?: string) {
  nodeAssert.match(actual, expected, msg);
}

export function assertNotMatch(actual: string, expected: RegExp, msg?: string) {
  nodeAssert.doesNotMatch(actual, expected, msg);
}

export function assertStringIncludes(
  actual: string,
  expected: string,
  msg = "",
) {
  if (!actual.includes(expected)) {
    fail(msg || `Expected ${quote(actual)} to include ${quote(expected)}`);
  }
}

export function assertArrayIncludes<T>(
  actual: readonly T[],
  expected: readonly T[],
  msg = "",
) {
  const missing = expected.filter((item) =>
    !actual.some((other) => equal(other, item))
  );
  if (missing.length > 0) {
    fail(msg || `Expected ${quote(actual)} to include ${quote(missing)}`);
  }
}

export function assertObjectMatch(
  actual: Record<PropertyKey, unknown>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
) {
  nodeAssert.partialDeepStrictEqual(actual, expected, msg);
}

export function assertInstanceOf<E>(
  actual: unknown,
  expected: Constructor<E>,
  msg = "",
): asserts actual is E {
  if (!(actual instanceof expected)) {
    fail(
      msg || `Expected an instance of ${expected.name}, got ${quote(actual)}`,
    );
  }
}

export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance = 1e-7,
  msg = "",
) {
  if (!(Math.abs(actual - expected) <= tolerance)) {
    fail(msg || `Expected ${actual} to be within ${tolerance} of ${expected}`);
  }
}

export function assertGreater<T>(actual: T, low: T, msg = "") {
  if (!(actual > low)) fail(msg || `Expected ${actual} > ${low}`);
}

export function assertGreaterOrEqual<T>(actual: T, low: T, msg = "") {
  if (!(actual >= low)) fail(msg || `Expected ${actual} >= ${low}`);
}

export function assertLess<T>(actual: T, high: T, msg = "") {
  if (!(actual < high)) fail(msg || `Expected ${actual} < ${high}`);
}

export function assertLessOrEqual<T>(actual: T, high: T, msg = "") {
  if (!(actual <= high)) fail(msg || `Expected ${actual} <= ${high}`);
}

export function assertIsError<E extends Error = Error>(
  error: unknown,
  // deno-lint-ignore no-explicit-any -- as in @std/assert
  ErrorClass: Constructor<E> = Error as any,
  msgMatches?: string | RegExp,
  msg = "",
): asserts error is E {
  if (!(error instanceof ErrorClass)) {
    fail(msg || `Expected a ${ErrorClass.name}, got ${quote(error)}`);
  }
  const { message } = error;
  const matches = msgMatches === undefined ||
    (typeof msgMatches === "string"
      ? message.includes(msgMatches)
      : msgMatches.test(message));
  if (!matches) {
    fail(msg || `Expected an error about ${msgMatches}, got ${quote(message)}`);
  }
}

export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass?: Constructor<E>,
  msgIncludes?: string,
  msg?: string,
): E {
  try {
    fn();
  } catch (error) {
    assertIsError(error, ErrorClass, msgIncludes, msg);
    return error;
  }
  fail(msg || "Expected the function to throw");
}

export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass?: Constructor<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E> {
  try {
    await fn();
  } catch (error) {
    assertIsError(error, ErrorClass, msgIncludes, msg);
    return error;
  }
  fail(msg || "Expected the promise to be rejected");
}

export function fail(msg = ""): never {
  throw new AssertionError({ message: msg || "Failed", stackStartFn: fail });
}

export function unreachable(msg = "unreachable"): never {
  fail(msg);
}

export function equal(a: unknown, b: unknown): boolean {
  try {
    nodeAssert.deepStrictEqual(a, b);
    return true;
  } catch {
    return false;
  }
}

function quote(value: unknown): string {
  return Deno.inspect(value, { depth: 3, strAbbreviateSize: 300 });
}
