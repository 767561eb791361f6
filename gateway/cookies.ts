/**
 * Cookies of a request, in TypeScript forms. C does the same in `native/src/http1_cookie.c`.
 *
 * @module
 */

/** The first cookie of this name in a Cookie field: its value as sent, without blanks and quotes around it. */
export function cookieOf(
  field: string | undefined,
  name: string,
): string | undefined {
  for (const pair of field?.split(";") ?? []) {
    const equals = pair.indexOf("=");
    if (equals < 0 || trim(pair.slice(0, equals)) !== name) continue;
    const value = trim(pair.slice(equals + 1));
    return /^".*"$/.test(value) ? value.slice(1, -1) : value;
  }
  return undefined;
}

function trim(text: string): string {
  return text.replace(/^[\t ]+|[\t ]+$/g, "");
}
