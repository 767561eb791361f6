/**
 * @module
 */
import type { Context, MiddlewareHandler, Next } from "hono";
import { defineMiddleware, type RespondStep } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkKeys } from "../header_edits.ts";

/** What {@linkcode bodyLimit} takes. */
export interface BodyLimitOptions {
  /** The largest body that may pass, in bytes. */
  maxSize: number;
  /** Makes the answer to a larger one. A function of yours runs in TypeScript, and so does the step. @default 413 Payload Too Large */
  onError?: (c: Context) => Response | Promise<Response>;
}

const TEXT = "Payload Too Large";
const TYPE = "text/plain;charset=UTF-8";
const TOO_LARGE: RespondStep = {
  op: "respond",
  status: 413,
  headers: [["content-type", TYPE]],
  body: new TextEncoder().encode(TEXT),
};

/**
 * Refuses bodies that are too large: `413 Payload Too Large`. A `Content-Length` that is too large is answered at once, and nothing of the body is read.
 * A chunked body is counted while it passes to the handler or upstream. One that turns out to be too large ends there: the handler's read fails, the
 * upstream's connection is closed before the body's end; the client gets the 413, or a broken transfer if its answer has begun. Native, but for an
 * `onError` of yours. The limit `bodyBytesMax` of the gateway holds for TypeScript routes besides.
 *
 * @example Uploads of at most a megabyte
 * ```ts
 * import { Hono } from "hono";
 * import { bodyLimit, proxy } from "sluice";
 *
 * const app = new Hono();
 * app.post("/upload", bodyLimit({ maxSize: 1024 * 1024 }), proxy("http://127.0.0.1:3000"));
 * ```
 */
export function bodyLimit(options: BodyLimitOptions): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, ["maxSize", "onError"], "bodyLimit()", problems);
  const { maxSize, onError } = options ?? {};
  if (!Number.isSafeInteger(maxSize) || maxSize < 0) {
    const reason = "must be an integer of bytes, 0 or more";
    problems.push({ path: "bodyLimit() maxSize", value: maxSize, reason });
  }
  if (onError !== undefined && typeof onError !== "function") {
    const reason = "must be a function that returns a Response";
    problems.push({ path: "bodyLimit() onError", value: onError, reason });
  }
  if (problems.length > 0) throw new OptionsError(problems);
  const refuse = onError ??
    (() =>
      new Response(TEXT, { status: 413, headers: { "content-type": TYPE } }));
  return defineMiddleware({
    name: "bodyLimit",
    native: onError
      ? undefined
      : { op: "bodyLimit", maxSize, answer: TOO_LARGE },
    typescript: "its onError is a function",
    handler: (c, next) => limit(c, next, maxSize, refuse),
  });
}

async function limit(
  c: Context,
  next: Next,
  maxSize: number,
  refuse: (c: Context) => Response | Promise<Response>,
): Promise<Response | void> {
  const { body, headers } = c.req.raw;
  if (!body) return await next();
  const length = headers.get("content-length");
  if (length !== null && !headers.has("transfer-encoding")) {
    return Number(length) > maxSize ? await refuse(c) : await next();
  }
  let size = 0;
  const counted = body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(part, controller) {
        size += part.length;
        if (size > maxSize) controller.error(new RangeError(TEXT));
        else controller.enqueue(part);
      },
    }),
  );
  c.req.raw = new Request(c.req.raw, { body: counted });
  const outer = [...c.res.headers];
  await next();
  if (size <= maxSize) return;
  c.res = undefined; // or its fields would go on to the next one
  const refusal = await refuse(c);
  c.res = new Response(refusal.body, refusal);
  for (const [name, value] of outer) c.res.headers.set(name, value);
}
