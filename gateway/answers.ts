/**
 * Answers that a middleware gives by itself, the same in both forms: as the row that C sends, and as a Response.
 *
 * @module
 */
import type { RespondStep } from "./define_middleware.ts";

/** Text, as `c.text()` answers it. */
export function textAnswer(
  status: number,
  text: string,
  headers: readonly (readonly [string, string])[] = [],
): RespondStep {
  const type = ["content-type", "text/plain;charset=UTF-8"] as const;
  return {
    op: "respond",
    status,
    headers: [...headers, type],
    body: new TextEncoder().encode(text),
  };
}

/** Text for a string, JSON for an object: what Hono's built-ins make of a message. */
export function messageAnswer(
  status: number,
  message: string | object,
  headers: readonly (readonly [string, string])[] = [],
): RespondStep {
  if (typeof message === "string") return textAnswer(status, message, headers);
  const type = ["content-type", "application/json"] as const;
  const body = new TextEncoder().encode(JSON.stringify(message));
  return { op: "respond", status, headers: [...headers, type], body };
}

/** The row as a Response, with more fields if there are any. */
export function responseOf(
  answer: RespondStep,
  more: readonly (readonly [string, string])[] = [],
): Response {
  const fields = [...answer.headers, ...more].map(([name, value]) =>
    [name, value] as [string, string]
  );
  const body = answer.body as Uint8Array<ArrayBuffer>;
  return new Response(body, { status: answer.status, headers: fields });
}
