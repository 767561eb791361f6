/**
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import {
  HOP_BY_HOP,
  isFieldName,
  isFieldValue,
  trimValue,
} from "../header_fields.ts";

/** What a {@linkcode respond} answer has besides its body. */
export interface RespondOptions {
  /** The status, 200 to 599. @default 200 */
  status?: number;
  /** Header fields. A text body has `content-type: text/plain;charset=UTF-8` unless one is given. */
  headers?: Record<string, string> | [string, string][] | Headers;
}

const NO_BODY = new Set([204, 205, 304]);

/**
 * Answers with the same bytes every time. Native: V8 is not entered.
 *
 * @example A health check that costs nothing
 * ```ts
 * import { Hono } from "hono";
 * import { respond } from "sluice";
 *
 * const app = new Hono();
 * app.get("/healthz", respond("ok\n", { headers: { "cache-control": "no-store" } }));
 * ```
 */
export function respond(
  body: string | Uint8Array,
  init: RespondOptions = {},
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  const status = init.status ?? 200;
  if (typeof body !== "string" && !(body instanceof Uint8Array)) {
    problems.push({
      path: "respond() body",
      value: body,
      reason: "must be a string or a Uint8Array",
    });
  }
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    problems.push({
      path: "respond() status",
      value: status,
      reason: "must be an integer from 200 to 599",
    });
  } else if (NO_BODY.has(status) && body.length > 0) {
    problems.push({
      path: "respond() body",
      value: body,
      reason: `must be empty: a ${status} answer has no body`,
    });
  }
  const headers = checkHeaders(init.headers ?? {}, problems);
  if (problems.length > 0) throw new OptionsError(problems);

  const bytes = typeof body === "string"
    ? new TextEncoder().encode(body)
    : body.slice();
  if (
    typeof body === "string" && !NO_BODY.has(status) &&
    !headers.some(([name]) => name === "content-type")
  ) {
    headers.push(["content-type", "text/plain;charset=UTF-8"]);
  }
  const content = NO_BODY.has(status) ? null : bytes as Uint8Array<ArrayBuffer>;
  return defineMiddleware({
    name: "respond",
    native: { op: "respond", status, headers, body: bytes },
    handler: () => new Response(content, { status, headers }),
  });
}

function checkHeaders(
  init: NonNullable<RespondOptions["headers"]>,
  problems: OptionProblem[],
): [string, string][] {
  const pairs = init instanceof Headers || Array.isArray(init)
    ? [...init]
    : Object.entries(init);
  return pairs.map(([given, value]) => {
    const name = String(given).toLowerCase();
    const path = `respond() headers[${JSON.stringify(given)}]`;
    if (!isFieldName(name)) {
      problems.push({ path, value: given, reason: "is not a field name" });
    } else if (HOP_BY_HOP.has(name)) {
      problems.push({
        path,
        value,
        reason: "is written by the gateway: leave it out",
      });
    } else if (name === "date") {
      problems.push({
        path,
        value,
        reason: "is written by the gateway: leave it out",
      });
    } else if (typeof value !== "string" || !isFieldValue(value)) {
      problems.push({
        path,
        value,
        reason: "must be text without CR, LF, NUL or characters above U+00FF",
      });
    }
    return [name, trimValue(String(value))] as [string, string];
  });
}
