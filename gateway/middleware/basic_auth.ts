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
import { defineMiddleware } from "../define_middleware.ts";
import { type OptionProblem, OptionsError } from "../errors.ts";
import { checkKeys } from "../header_edits.ts";
import { isFieldValue } from "../header_fields.ts";

/** One who may pass. */
export interface BasicAuthUser {
  /** Text without a colon. */
  username: string;
  /** Text on one line. */
  password: string;
}

/** Whom {@linkcode basicAuth} lets pass. */
export interface BasicAuthOptions extends Partial<BasicAuthUser> {
  /** Decides in place of names and passwords. A function runs in TypeScript, and so does the step, here and below. */
  verifyUser?: (
    username: string,
    password: string,
    c: Context,
  ) => boolean | Promise<boolean>;
  /** What the client is told that it logs in to. @default "Secure Area" */
  realm?: string;
  /** Names and passwords are compared by what it makes of them, too. */
  hashFunction?: HashFunction;
  /** The body of a refusal: text, or an object that is sent as JSON. @default "Unauthorized" */
  invalidUserMessage?: Message;
  /** Called before a user passes. */
  onAuthSuccess?: (c: Context, username: string) => void | Promise<void>;
}

const KEYS = [
  "username",
  "password",
  "verifyUser",
  "realm",
  "hashFunction",
  "invalidUserMessage",
  "onAuthSuccess",
];
const FUNCTIONS = ["verifyUser", "hashFunction", "onAuthSuccess"] as const;
const CREDENTIALS = /^ *basic +([A-Za-z0-9._~+/-]+=*) *$/i;

/**
 * Lets users with a name and password pass (RFC 7617); answers the others 401. As Hono's `basicAuth`, but that it answers by itself: the app's
 * `onError` is not asked. Native: every secret is compared, in a time that does not tell how much of it was right. Secrets are in no log, error or
 * `explain`; a plan that holds them is wiped when it is no longer used.
 *
 * @example Two who may see the admin pages
 * ```ts
 * import { Hono } from "hono";
 * import { basicAuth, proxy } from "sluice";
 *
 * const app = new Hono();
 * const users = [{ username: "ada", password: "lovelace" }, { username: "alan", password: "turing" }];
 * app.use("/admin/*", basicAuth(users[0], users[1]));
 * app.all("/admin/*", proxy("http://127.0.0.1:3000"));
 * ```
 */
export function basicAuth(
  options: BasicAuthOptions,
  ...users: BasicAuthUser[]
): MiddlewareHandler {
  const problems: OptionProblem[] = [];
  checkKeys(options, KEYS, "basicAuth()", problems);
  const { realm = "Secure Area", invalidUserMessage = "Unauthorized" } =
    options;
  const all = checkUsers(options, users, problems);
  if (typeof realm !== "string" || !isFieldValue(realm)) {
    const reason =
      "must be text without CR, LF, NUL or characters above U+00FF";
    problems.push({ path: "basicAuth() realm", value: realm, reason });
  }
  for (const name of FUNCTIONS) {
    const value = options[name];
    if (value === undefined || typeof value === "function") continue;
    const reason = "must be a function";
    problems.push({ path: `basicAuth() ${name}`, value, reason });
  }
  if (problems.length > 0) throw new OptionsError(problems);
  const challenge = [[
    "www-authenticate",
    `Basic realm=${quote(realm)}`,
  ]] as const;
  const answerOf = (message: string | object) =>
    messageAnswer(401, message, challenge);
  const fixed = typeof invalidUserMessage === "function"
    ? undefined
    : answerOf(invalidUserMessage);
  const native = fixed &&
    FUNCTIONS.every((name) => options[name] === undefined);
  return defineMiddleware({
    name: "basicAuth",
    native: native ? { op: "basicAuth", users: all, answer: fixed } : undefined,
    typescript: "one of its options is a function",
    handler: async (c, next) => {
      const given = credentialsOf(c);
      if (given && await isUser(given, c, options, all)) {
        await options.onAuthSuccess?.(c, given.username);
        return await next();
      }
      return responseOf(
        typeof invalidUserMessage === "function"
          ? answerOf(await invalidUserMessage(c))
          : fixed!,
      );
    },
  });
}

// A secret is never the value at hand.
function checkUsers(
  { username, password, verifyUser }: BasicAuthOptions,
  others: BasicAuthUser[],
  problems: OptionProblem[],
): BasicAuthUser[] {
  const first = username !== undefined || password !== undefined;
  const users = first
    ? [{ username, password } as BasicAuthUser, ...others]
    : others;
  if (users.length === 0 && verifyUser === undefined) {
    const reason =
      "must say who may pass: username and password, or verifyUser";
    problems.push({ path: "basicAuth()", value: "neither", reason });
  }
  users.forEach((user, i) => {
    const path = `basicAuth() ${
      first && i === 0 ? "" : `users[${first ? i - 1 : i}].`
    }`;
    const fail = (name: string, reason: string) =>
      problems.push({ path: path + name, value: "not shown", reason });
    if (!isText(user?.username) || user.username.includes(":")) {
      fail("username", "must be well-formed text without a colon");
    }
    if (!isText(user?.password) || /[\n\r\u2028\u2029]/.test(user.password)) {
      fail("password", "must be well-formed text on one line");
    }
  });
  return users.map((user) => ({
    username: user?.username,
    password: user?.password,
  }));
}

// What a decoder may put in the place of other bytes is nobody's secret.
function isText(value: unknown): value is string {
  return typeof value === "string" && value.isWellFormed() &&
    !value.includes("\ufffd");
}

function credentialsOf(c: Context): BasicAuthUser | undefined {
  const match = CREDENTIALS.exec(c.req.header("authorization") ?? "");
  if (!match) return undefined;
  try {
    const bytes = Uint8Array.from(atob(match[1]), (char) => char.charCodeAt(0));
    const pair = /^([^:]*):(.*)$/.exec(new TextDecoder().decode(bytes));
    return pair ? { username: pair[1], password: pair[2] } : undefined;
  } catch {
    return undefined; // not base64
  }
}

async function isUser(
  given: BasicAuthUser,
  c: Context,
  { verifyUser, hashFunction }: BasicAuthOptions,
  users: BasicAuthUser[],
): Promise<boolean> {
  if (verifyUser) return await verifyUser(given.username, given.password, c);
  let known = false;
  for (const user of users) {
    const [name, password] = await Promise.all([
      isSameSecret(given.username, user.username, hashFunction),
      isSameSecret(given.password, user.password, hashFunction),
    ]);
    known = (name && password) || known;
  }
  return known;
}
