// The native router against Hono's: random tables and requests, the chain that C finds beside the handlers that Hono would run.
//
// SLUICE_SEED=N takes N for the fresh seed; a failure is made smaller and printed with its own.
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { type Context, Hono, type Next } from "hono";
import { Hono as QuickHono } from "hono/quick";
import { LinearRouter } from "hono/router/linear-router";
import { PatternRouter } from "hono/router/pattern-router";
import { RegExpRouter } from "hono/router/reg-exp-router";
import { TrieRouter } from "hono/router/trie-router";
import { Hono as TinyHono } from "hono/tiny";
import * as abi from "../ffi/abi.ts";
import { explain } from "./explain.ts";
import { headers } from "./middleware/headers.ts";
import { requestId } from "./middleware/request_id.ts";
import { respond } from "./middleware/respond.ts";
import { checkOptions } from "./options.ts";
import { compilePlan, matchChain, type Plan } from "./plan.ts";
import { encodePlan } from "./plan_blob.ts";

const CHAINS = new URL("../native/build/release/chains", import.meta.url);

// ---- Random tables

type Random = (below: number) => number;

// A small generator with a seed, so that a failure can be run again.
function random(seed: number): Random {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const pick = <T>(rand: Random, list: readonly T[]): T =>
  list[rand(list.length)];
const many = <T>(rand: Random, min: number, max: number, make: () => T): T[] =>
  Array.from({ length: min + rand(max - min + 1) }, make);

type Handler = "respond" | "headers" | "policy" | "code";

/** A call of an app's method. */
type Call =
  | { on: string[]; paths: string[]; handlers: Handler[] }
  | { use: string; handlers: Handler[] }
  | { route: string; calls: Call[]; onError: boolean }
  | { mount: string };

const APPS = {
  default: (strict: boolean) => new Hono({ strict }),
  trie: (strict: boolean) => new Hono({ strict }).get("/-t-/:a{a(b)}", code), // a group: RegExpRouter refuses
  quick: (strict: boolean) => new QuickHono({ strict }),
  tiny: (strict: boolean) => new TinyHono({ strict }),
  pattern: (strict: boolean) =>
    new Hono({ strict, router: new PatternRouter() }),
  linear: (strict: boolean) => new Hono({ strict, router: new LinearRouter() }),
  regexp: (strict: boolean) => new Hono({ strict, router: new RegExpRouter() }),
  trieAlone: (strict: boolean) =>
    new Hono({ strict, router: new TrieRouter() }),
};

interface Table {
  app: keyof typeof APPS;
  strict: boolean;
  basePath: string;
  calls: Call[];
}

interface Ask {
  method: string;
  target: string;
}

// deno-fmt-ignore
const PARTS = [
  "a", "b", "c", "api", "v1", "users", "a.js", "a+b", "$()", "x:y", "ü", "日本", "[a]", "(b)", "A", "-", "~", "", // static
  ":id", ":id", ":name", "*", ":p{.+}", ":id{[0-9]+}", ":id{\\d+}", ":n{[a-z0-9-]{2,4}}", ":y{\\d{4}}", // C can have them
  ":n{[\\w.-]+}", ":x{[^/]+}", ":x{[0-9]}", ":n{a|b}", ":n{.+}", ":n{.*}", ":n{[a-z/]+}", ":n{[^.]+}", ":f{[a-z]+\\.png}",
  ":o{(?:a|b)c}", ":g{(a|b)}", "*", "a*", "*.js", "x%41", "a%2Fb", ":id:x", "a b",
];
// deno-fmt-ignore
const TEXTS = [
  "a", "b", "c", "api", "v1", "users", "a.js", "a+b", "$()", "x:y", "[a]", "(b)", "A", "-", "~", "", "1", "42", "2024", "12345", "0x",
  "ab", "ab-1", "abcde", "a_b", "a.b", "bc", "ac", "x.png", "apix", "%C3%BC", "%c3%bc", "%E6%97%A5%E6%9C%AC", "%61", "%61pi", "%41", "%2F",
  "%2f", "a%2Fb", "%25", "%2541", "%", "%zz", "%4", "%%41", "%%341", "%ff", "%41%ff", "%C3", "%C3%28", "%ed%a0%80", "%00", "%20", "a%20b", ";x",
  "a,b", "@", "!", "|", "^", "`", "{}", "\"", "<", "\\", "%5C", "%23", "%3F", "%7B", "%0A", ".", "..", "%2e", "%2E.", "...", "a%0Ab", "%E2%80%A8", "%E2%80%AA", "a/b",
];
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"];
// deno-fmt-ignore
const ASKED = [...METHODS, "GET", "GET", "HEAD", "HEAD", "purge", "get", "PURGES", "QUERY", "M-SEARCH"];
const HANDLERS: Handler[] = ["respond", "headers", "policy", "code"];

/** Which parts a table's patterns are made of. */
type Style = (level: number) => readonly string[];

const STATIC = PARTS.slice(0, 18);
const PLAIN = PARTS.slice(0, 27);

// RegExpRouter takes only tables whose patterns do not compete; one odd part sends a whole table to TrieRouter.
function randomStyle(rand: Random): Style {
  const kind = rand(4);
  if (kind === 0) return () => PARTS;
  if (kind === 1) return () => PLAIN;
  const levels = many(rand, 8, 8, () => {
    const param = [pick(rand, PARTS.slice(18, kind === 2 ? 27 : PARTS.length))];
    return rand(2) === 0 ? STATIC : param;
  });
  return (level) => levels[level];
}

function randomPattern(rand: Random, style: Style, deepest: number): string {
  const count = 1 + rand(deepest);
  const parts = Array.from({ length: count }, (_, i) => pick(rand, style(i)));
  if (rand(3) === 0) parts.push("*");
  let end = rand(12) === 0 ? "/" : "";
  if (rand(6) === 0 && parts.at(-1)!.startsWith(":")) end = "?";
  return (rand(20) === 0 ? "" : "/") + parts.join("/") + end;
}

function randomCall(rand: Random, style: Style, depth: number): Call {
  const pattern = () => randomPattern(rand, style, 4);
  const few = () => randomPattern(rand, style, 2);
  const handlers = rand(40) === 0
    ? many(rand, 15, 20, (): Handler => "headers")
    : many(rand, 1, 3, () => pick(rand, HANDLERS));
  const kind = rand(depth > 1 ? 8 : 10);
  if (kind < 2) return { use: rand(3) === 0 ? "*" : pattern(), handlers };
  if (kind === 8) {
    const calls = many(rand, 1, 3, () => randomCall(rand, style, depth + 1));
    return { route: few(), calls, onError: rand(2) === 0 };
  }
  if (kind === 9) return { mount: few() };
  const methods = many(
    rand,
    1,
    2,
    () => pick(rand, [...METHODS, "ALL", "ALL", "head", "GET", "GET"]),
  );
  const paths = many(rand, 1, rand(4) === 0 ? 3 : 1, pattern);
  return { on: methods, paths, handlers };
}

function randomTable(rand: Random): Table {
  const kinds = Object.keys(APPS) as (keyof typeof APPS)[];
  const style = randomStyle(rand);
  const size = rand(40) === 0 ? 60 : 8;
  return {
    app: rand(8) > 0 ? "default" : pick(rand, kinds),
    strict: rand(5) > 0,
    basePath: rand(6) === 0 ? randomPattern(rand, style, 2) : "",
    calls: many(rand, 1, size, () => randomCall(rand, style, 0)),
  };
}

const code = (_: Context, next: Next) => next();
const edit = headers({ response: { set: { "x-a": "1" } } });
const MADE = {
  respond: respond("x"),
  headers: edit,
  policy: requestId(),
  code,
};

function build({ app: kind, strict, basePath, calls }: Table): Hono {
  const made = APPS[kind](strict) as Hono;
  const app = basePath ? made.basePath(basePath) : made;
  for (const call of calls) apply(app, call);
  return app;
}

function apply(app: Hono, call: Call): void {
  if ("on" in call) {
    app.on(call.on, call.paths, ...call.handlers.map((name) => MADE[name]));
  } else if ("use" in call) {
    app.use(call.use, ...call.handlers.map((name) => MADE[name]));
  } else if ("route" in call) {
    const inner = new Hono();
    for (const each of call.calls) apply(inner, each);
    if (call.onError) inner.onError((_, c) => c.text("inner", 500));
    app.route(call.route, inner);
  } else app.mount(call.mount, () => new Response("mounted"));
}

// A path that probably meets one of the table's patterns.
function randomTarget(rand: Random, app: Hono): string {
  const { path } = rand(5) > 0 && app.routes.length > 0
    ? pick(rand, app.routes)
    : { path: "/:a/:b".slice(0, 3 * (1 + rand(2))) };
  const parts = path.replace(/^\//, "").split("/").flatMap((part) => {
    if (rand(12) === 0) return [pick(rand, TEXTS)];
    if (part === "*") return many(rand, 0, 2, () => pick(rand, TEXTS));
    if (part.endsWith("?") && rand(2) === 0) return [];
    if (!/[:*]/.test(part)) return [written(rand, part)];
    return [rand(2) === 0 ? String(rand(3000)) : pick(rand, TEXTS)];
  });
  if (rand(12) === 0) parts.push(pick(rand, TEXTS));
  if (rand(20) === 0) parts.pop();
  const slash = rand(8) === 0 ? "/" : "";
  const query = rand(10) === 0
    ? pick(rand, ["?", "?a/b", "?%41", "?x=%2F"])
    : "";
  return `/${parts.join("/")}${slash}${query}`;
}

// A static part as a client may write it: some characters escaped, in either case; those that a target may not have always.
function written(rand: Random, part: string): string {
  return [...part].map((char) => {
    if (/[!-~]/.test(char) && (rand(12) > 0 || char === "%")) return char;
    const bytes = [...new TextEncoder().encode(char)];
    const escaped = bytes.map((byte) =>
      "%" + byte.toString(16).padStart(2, "0")
    ).join("");
    return rand(2) === 0 ? escaped : escaped.toUpperCase();
  }).join("");
}

// ---- What C says

interface Found {
  steps: number[];
  end: number;
  route: number;
}

const NO_END = 255,
  LIMIT = 254,
  ALL_TYPESCRIPT = 253,
  BAD_HEAD = 252,
  BAD_PATH = 251;

interface Case {
  table: Table;
  app: Hono;
  plan: Plan;
  asks: Ask[];
}

function caseOf(table: Table, asks: Ask[], app: Hono = build(table)): Case {
  return { table, app, plan: compilePlan(app, checkOptions()), asks };
}

function bytesOf({ plan, asks }: Case): Uint8Array[] {
  const blob = encodePlan(plan);
  const lines = asks.map(({ method, target }) =>
    new TextEncoder().encode(`${method} ${target}`)
  );
  const words = (...values: number[]) =>
    new Uint8Array(Uint32Array.from(values).buffer);
  return [
    words(blob.length),
    blob,
    words(asks.length),
    ...lines.flatMap((
      line,
    ) => [new Uint8Array(Uint16Array.of(line.length).buffer), line]),
  ];
}

async function askC(cases: readonly Case[]): Promise<Found[][]> {
  const child = new Deno.Command(CHAINS, {
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const answered = child.output();
  const input = new Blob(cases.flatMap(bytesOf) as Uint8Array<ArrayBuffer>[]);
  await input.stream().pipeTo(child.stdin);
  const { code, stdout } = await answered;
  expect(code).toBe(0);
  const view = new DataView(
    stdout.buffer,
    stdout.byteOffset,
    stdout.byteLength,
  );
  let at = 0;
  const word = () => view.getUint32((at += 4) - 4, true);
  const found = cases.map(({ asks }) =>
    asks.map(() => {
      const steps = Array.from({ length: view.getUint8(at++) }, word);
      return { steps, end: view.getUint8(at++), route: word() };
    })
  );
  expect(at).toBe(stdout.byteLength);
  return found;
}

// ---- The judge

const seen = {
  native: 0,
  prefix: 0,
  typescript: 0,
  inexact: 0,
  none: 0,
  refused: 0,
  limit: 0,
  all: 0,
};

// What is wrong with C's answer; undefined: it is what Hono would run.
function judge(
  { app, plan, table }: Case,
  { method, target }: Ask,
  found: Found,
): string | undefined {
  const claimed = ["default", "trie", "quick"].includes(table.app);
  if (found.end === ALL_TYPESCRIPT) {
    seen.all++;
    if (plan.allTypeScript === undefined) {
      return "C sends everything to TypeScript, the plan does not";
    }
    return claimed && !/pattern|router/.test(plan.allTypeScript)
      ? plan.allTypeScript
      : undefined;
  }
  if (found.end === BAD_HEAD) return "C cannot read it";
  const refused = explain(plan, method, target).reason.includes("is refused");
  if (refused !== (found.end === BAD_PATH)) {
    return `explain() says that it is ${
      refused ? "" : "not "
    }refused; C differs`;
  }
  if (refused) {
    seen.refused++;
    return undefined;
  }
  if (!claimed) return "C routes an app whose router it does not know";
  const path = app.getPath(new Target(`http://h${target}`) as Request);
  const hono = app.router.match(method === "HEAD" ? "GET" : method, path)[0]
    .map(([pair]) =>
      (pair as unknown as [unknown, (typeof app.routes)[number]])[1]
    )
    .map((route) => app.routes.indexOf(route));
  const problem = differs(hono, plan, found);
  return problem &&
      `${problem}\n  Hono's chain: ${hono}\n  C's: ${found.steps}, ends with ${found.end} of ${found.route}` ||
    differsFromExplain(plan, method, path, found);
}

class Target {
  constructor(readonly url: string) {}
}

const OP_TYPESCRIPT = abi.SL_PLAN_OP_TYPESCRIPT;

function differs(hono: number[], plan: Plan, found: Found): string | undefined {
  seen.prefix += found.steps.length;
  if (found.steps.some((route, i) => hono[i] !== route)) {
    return "C does other steps";
  }
  const decides = hono[found.steps.length];
  if (found.end === NO_END) {
    seen.none++;
    return decides === undefined ? undefined : "C finds no end";
  }
  if (found.end === LIMIT) {
    seen.limit++;
    return undefined;
  }
  const exact = plan.entries.filter((entry) =>
    entry.steps.some((step) => step.route === found.route)
  )
    .every((entry) => entry.exact);
  if (found.end === OP_TYPESCRIPT && !exact) {
    seen.inexact++; // too wide: Hono decides
    return undefined;
  }
  seen[found.end === OP_TYPESCRIPT ? "typescript" : "native"]++;
  return decides === found.route ? undefined : "C ends elsewhere";
}

// explain() walks the plan in TypeScript.
function differsFromExplain(
  plan: Plan,
  method: string,
  path: string,
  found: Found,
): string | undefined {
  const { prefix, end, limit } = matchChain(plan, method, path);
  const same = prefix.length === found.steps.length &&
    prefix.every(({ step }, i) => step.route === found.steps[i]) &&
    (found.end === NO_END
      ? end === undefined
      : found.end === LIMIT
      ? limit !== undefined
      : end?.step.route === found.route);
  return same
    ? undefined
    : `explain() sees ${
      prefix.map(({ step }) => step.route)
    } and ${end?.step.route}; C ${found.steps} and ${found.route}`;
}

// ---- Smaller failures

async function fails(table: Table, ask: Ask): Promise<string | undefined> {
  let one: Case;
  try {
    one = caseOf(table, [ask]);
  } catch {
    return undefined; // another failure than the one at hand
  }
  const [[found]] = await askC([one]);
  return judge(one, ask, found);
}

function* smallerTables(table: Table): Generator<Table> {
  if (!table.strict) yield { ...table, strict: true };
  if (table.basePath) yield { ...table, basePath: "" };
  if (table.app !== "default") yield { ...table, app: "default" };
  for (const calls of smallerLists(table.calls, smallerCalls)) {
    yield { ...table, calls };
  }
}

function* smallerLists<T>(
  list: readonly T[],
  smaller?: (item: T) => Iterable<T[]>,
): Generator<T[]> {
  for (const [i, item] of list.entries()) {
    if (list.length > 1) yield list.toSpliced(i, 1);
    for (const items of smaller?.(item) ?? []) {
      yield list.toSpliced(i, 1, ...items);
    }
  }
}

function* smallerCalls(call: Call): Generator<Call[]> {
  if ("handlers" in call) {
    for (const handlers of smallerLists(call.handlers)) {
      yield [{ ...call, handlers }];
    }
  }
  if ("on" in call) {
    for (const on of smallerLists(call.on)) yield [{ ...call, on }];
    for (const paths of smallerLists(call.paths)) yield [{ ...call, paths }];
  }
  if ("route" in call) {
    yield call.calls;
    if (call.onError) yield [{ ...call, onError: false }];
    for (const calls of smallerLists(call.calls, smallerCalls)) {
      yield [{ ...call, calls }];
    }
  }
}

function* smallerAsks({ method, target }: Ask): Generator<Ask> {
  if (method !== "GET") yield { method: "GET", target };
  if (target.includes("?")) {
    yield { method, target: target.replace(/\?.*/, "") };
  }
  for (const parts of smallerLists(target.slice(1).split("/"))) {
    yield { method, target: `/${parts.join("/")}` };
  }
}

async function shrink(table: Table, ask: Ask): Promise<[Table, Ask, string]> {
  let problem = await fails(table, ask);
  for (let shrunk = true; shrunk;) {
    shrunk = false;
    const all: [Table, Ask][] = [
      ...[...smallerTables(table)].map((each): [Table, Ask] => [each, ask]),
      ...[...smallerAsks(ask)].map((each): [Table, Ask] => [table, each]),
    ];
    for (const [smallerTable, smallerAsk] of all) {
      const still = await fails(smallerTable, smallerAsk);
      if (!still) continue;
      [table, ask, problem, shrunk] = [smallerTable, smallerAsk, still, true];
      break;
    }
  }
  return [table, ask, String(problem)];
}

const TABLES = 850;
const ASKS = 30;

// Some routers refuse some patterns: no such app can be.
function possibleTable(rand: Random): [Table, Hono] {
  for (;;) {
    const table = randomTable(rand);
    try {
      const app = build(table);
      if (app.router.name !== "LinearRouter") app.router.match("GET", "/");
      return [table, app];
    } catch { /* the next one */ }
  }
}

async function run(seed: number): Promise<void> {
  const cases = Array.from({ length: TABLES }, (_, i) => {
    const rand = random(seed * TABLES + i);
    const [table, app] = possibleTable(rand);
    return caseOf(
      table,
      many(rand, ASKS, ASKS, () => ({
        method: pick(rand, ASKED),
        target: randomTarget(rand, app),
      })),
      app,
    );
  });
  const found = await askC(cases);
  for (const [i, each] of cases.entries()) {
    for (const [k, ask] of each.asks.entries()) {
      if (!judge(each, ask, found[i][k])) continue;
      const [table, smallest, problem] = await shrink(each.table, ask);
      throw new Error(
        `${problem}\n  ${smallest.method} ${smallest.target}\n  in ${
          JSON.stringify(table)
        }\n  seed ${seed}: SLUICE_SEED=${seed} deno task test deno route_test`,
      );
    }
  }
}

describe("the native router", () => {
  const fresh = Number(Deno.env.get("SLUICE_SEED") ?? Date.now() % 1_000_000);
  const seeds = Deno.env.get("SLUICE_SOAK")
    ? Array.from({ length: 50 }, (_, i) => fresh + i)
    : [1, 1007, 1008, fresh]; // two have found something
  for (const seed of seeds) {
    it(`finds the chains that Hono finds, for ${TABLES * ASKS} requests of seed ${seed}`, () =>
      run(seed));
  }

  it("saw enough of each kind for that to mean something", () => {
    expect(seen.native).toBeGreaterThan(5_000);
    expect(seen.prefix).toBeGreaterThan(10_000);
    expect(seen.typescript).toBeGreaterThan(5_000);
    expect(seen.none).toBeGreaterThan(2_000);
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(100);
  });
});
