/**
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { messageAnswer, responseOf } from "../answers.ts";
import {
  type HashFunction,
  isSameSecret,
  type Message,
  quote,
} from "../credentials.ts";
import { defineMiddleware, type RespondStep } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkKeys } from "../header_edits.ts";
import { isFieldName, isFieldValue } from "../header_fields.ts";

/** How a refusal is worded. A function runs in TypeScript, and so does the step. */
export interface BearerAuthRefusal {
  /** The body: text, or an object that is sent as JSON. */
  message?: Message;
  /** The whole `WWW-Authenticate`, or its parameters as an object. */
  wwwAuthenticateHeader?: Message;
}

/** Whose token {@linkcode bearerAuth} takes. */
export interface BearerAuthOptions {
  /** The token or tokens, of the characters `A-Z a-z 0-9 - . _ ~ + /`, with `=` at the end. */
  token?: string | readonly string[];
  /** Decides in place of `token`. A function runs in TypeScript, and so does the step, here and below. */
  verifyToken?: (token: string, c: Context) => boolean | Promise<boolean>;
  /** What the client is told that the token is for. @default "" */
  realm?: string;
  /** What stands before the token, in any case; empty: nothing. @default "Bearer" */
  prefix?: string;
  /** The field. @default "Authorization" */
  headerName?: string;
  /** Tokens are compared by what it makes of them, too. */
  hashFunction?: HashFunction;
  /** Without the field: 401. @default message "Unauthorized", `Bearer realm="…"` */
  noAuthenticationHeader?: BearerAuthRefusal;
  /** With one that is malformed: 400. @default message "Bad Request", `Bearer error="invalid_request"` */
  invalidAuthenticationHeader?: BearerAuthRefusal;
  /** With another token: 401. @default message "Unauthorized", `Bearer error="invalid_token"` */
  invalidToken?: BearerAuthRefusal;
}

const REFUSALS = [
  "noAuthenticationHeader",
  "invalidAuthenticationHeader",
  "invalidToken",
] as const;
const KEYS = [
  "token",
  "verifyToken",
  "realm",
  "prefix",
  "headerName",
  "hashFunction",
  ...REFUSALS,
];
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/**
 * Lets requests with a token pass (RFC 6750); answers the others 401, or 400 where the field is malformed. As Hono's `bearerAuth`, but that it answers by
 * itself: the app's `onError` is not asked. Native: every token is compared, in a time that does not tell how much of it was right. Secrets are in
 * no log, error or `explain`; a plan that holds them is wiped when it is no longer used.
 *
 * @example One token for the API
 * ```ts
 * import { Hono } from "hono";
 * import { bearerAuth, proxy } from "sluice";
 *
 * const app = new Hono();
 * app.use("/api/*", bearerAuth({ token: "a-long-and-secret-token" }));
 * app.all("/api/*", proxy("http://127.0.0.1:3000"));
 * ```
 */
export function bearerAuth(options: BearerAuthOptions): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, KEYS, "bearerAuth()", problems);
  const { prefix = "Bearer", headerName = "Authorization", realm = "" } =
    options;
  const tokens = checkTokens(options, problems);
  checkTexts(prefix, headerName, realm, problems);
  for (const name of ["verifyToken", "hashFunction"] as const) {
    const value = options[name];
    if (value === undefined || typeof value === "function") continue;
    const reason = "must be a function";
    problems.push({ path: `bearerAuth() ${name}`, value, reason });
  }
  for (const name of REFUSALS) checkRefusal(options[name], name, problems);
  if (problems.length > 0) throw new OptionsError(problems);
  const start = prefix === "" ? "" : `${prefix} `;
  const missing = refusal(
    401,
    start,
    `${start}realm=${quote(realm)}`,
    "Unauthorized",
    options.noAuthenticationHeader,
  );
  const malformed = refusal(
    400,
    start,
    `${start}error="invalid_request"`,
    "Bad Request",
    options.invalidAuthenticationHeader,
  );
  const wrong = refusal(
    401,
    start,
    `${start}error="invalid_token"`,
    "Unauthorized",
    options.invalidToken,
  );
  const name = headerName.toLowerCase();
  const fixed = missing.fixed && malformed.fixed && wrong.fixed;
  const native = fixed && !options.verifyToken && !options.hashFunction;
  return defineMiddleware({
    name: "bearerAuth",
    native: native
      ? {
        op: "bearerAuth",
        name,
        prefix: prefix.toLowerCase(),
        tokens,
        answer: wrong.fixed,
        otherAnswers: [missing.fixed!, malformed.fixed!],
      }
      : undefined,
    typescript: "one of its options is a function",
    handler: async (c, next) => {
      const value = c.req.header(name);
      if (!value) return await missing.respond(c);
      const token = tokenOf(value, prefix);
      if (token === undefined) return await malformed.respond(c);
      const known = options.verifyToken
        ? await options.verifyToken(token, c)
        : await isToken(token, tokens, options.hashFunction);
      if (!known) return await wrong.respond(c);
      await next();
    },
  });
}

// A secret is never the value at hand.
function checkTokens(
  { token, verifyToken }: BearerAuthOptions,
  problems: OptionProblem[],
): readonly string[] {
  const tokens = token === undefined
    ? []
    : typeof token === "string"
    ? [token]
    : token;
  const path = "bearerAuth() token";
  if (verifyToken === undefined && !(tokens?.length > 0)) {
    const reason =
      "must be a token or a list of them, unless there is verifyToken";
    problems.push({ path, value: token, reason });
  } else if (
    !Array.isArray(tokens) ||
    !tokens.every((each) => typeof each === "string" && TOKEN.test(each))
  ) {
    const reason = "must be of A-Z a-z 0-9 - . _ ~ + / and = at the end";
    problems.push({ path, value: "not shown", reason });
  }
  return [...tokens ?? []];
}

function checkTexts(
  prefix: unknown,
  headerName: unknown,
  realm: unknown,
  problems: OptionProblem[],
): void {
  const isPrefix = typeof prefix === "string" &&
    (prefix === "" || isFieldName(prefix));
  if (!isPrefix) {
    const reason = "must be a token of RFC 9110, or empty";
    problems.push({ path: "bearerAuth() prefix", value: prefix, reason });
  }
  if (typeof headerName !== "string" || !isFieldName(headerName)) {
    const reason = "is not a field name";
    problems.push({
      path: "bearerAuth() headerName",
      value: headerName,
      reason,
    });
  }
  if (typeof realm !== "string" || !isFieldValue(realm)) {
    const reason =
      "must be text without CR, LF, NUL or characters above U+00FF";
    problems.push({ path: "bearerAuth() realm", value: realm, reason });
  }
}

function checkRefusal(
  refusal: BearerAuthRefusal | undefined,
  name: string,
  problems: OptionProblem[],
): void {
  const path = `bearerAuth() ${name}`;
  checkKeys(
    refusal ?? {},
    ["message", "wwwAuthenticateHeader"],
    path,
    problems,
  );
  const challenge = refusal?.wwwAuthenticateHeader;
  const texts = typeof challenge === "object" && challenge !== null
    ? Object.entries(challenge).flat()
    : [challenge ?? ""];
  if (
    typeof challenge !== "function" &&
    !texts.every((text) => typeof text === "string" && isFieldValue(text))
  ) {
    const reason = "must be a field value, its parameters, or a function";
    problems.push({
      path: `${path}.wwwAuthenticateHeader`,
      value: challenge,
      reason,
    });
  }
}

function tokenOf(value: string, prefix: string): string | undefined {
  let token = value;
  if (prefix !== "") {
    const starts = value.toLowerCase().startsWith(prefix.toLowerCase()) &&
      value[prefix.length] === " ";
    if (!starts) return undefined;
    token = value.slice(prefix.length).trimStart();
  }
  return TOKEN.test(token) ? token : undefined;
}

async function isToken(
  given: string,
  tokens: readonly string[],
  hash?: HashFunction,
): Promise<boolean> {
  let known = false;
  for (const token of tokens) {
    known = await isSameSecret(given, token, hash) || known;
  }
  return known;
}

interface Refusal {
  /** The same for every request; undefined if a function words it. */
  fixed?: RespondStep;
  respond(c: Context): Promise<Response>;
}

function refusal(
  status: number,
  start: string,
  challenge: string,
  text: string,
  options: BearerAuthRefusal = {},
): Refusal {
  const { message = text, wwwAuthenticateHeader = challenge } = options;
  const answerOf = (message: string | object, challenge: string | object) => {
    const value = typeof challenge === "string" ? challenge : start +
      Object.entries(challenge).map(([key, each]) => `${key}="${each}"`)
        .join(",");
    return messageAnswer(status, message, [["www-authenticate", value]]);
  };
  if (
    typeof message !== "function" && typeof wwwAuthenticateHeader !== "function"
  ) {
    const fixed = answerOf(message, wwwAuthenticateHeader);
    return { fixed, respond: () => Promise.resolve(responseOf(fixed)) };
  }
  return {
    async respond(c) {
      const said = typeof message === "function" ? await message(c) : message;
      const challenge = typeof wwwAuthenticateHeader === "function"
        ? await wwwAuthenticateHeader(c)
        : wwwAuthenticateHeader;
      return responseOf(answerOf(said, challenge));
    },
  };
}
