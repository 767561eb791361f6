/**
 * Header fields: what may be sent, and what belongs to one hop only.
 *
 * @module
 */

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Fields that describe one connection or its framing: C writes them itself, and a proxy never passes them on. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Whether the text can be a field's name. */
export function isFieldName(name: string): boolean {
  return TOKEN.test(name);
}

/** Whether the text can be a field's value: no CR, LF, NUL or other control, and no character above U+00FF. */
export function isFieldValue(value: string): boolean {
  return VALUE.test(value);
}

/** A field's value without the blanks around it. */
export function trimValue(value: string): string {
  return value.replace(/^[\t ]+|[\t ]+$/g, "");
}

/** The names that a Connection field nominates, in lower case. */
export function nominated(connection: string | null | undefined): string[] {
  if (!connection) return [];
  return connection.split(",").map((name) => name.trim().toLowerCase()).filter((
    name,
  ) => name !== "");
}
