/**
 * Hono's patterns as C matches them (`native/include/sluice/plan.h` defines the matching).
 *
 * Hono has two routers behind one name and their answers differ at the edges, so a pattern is compiled exactly where the router at hand and C
 * agree on every path; else it is cut before its first odd part, takes too much, and Hono decides.
 *
 * @module
 */

/** One part of a pattern, between two slashes. */
export type Segment =
  | { kind: "static"; text: string }
  /** Any text but none. */
  | { kind: "param" }
  /** `min` to `max` characters, all of a set: `{[0-9]+}`. */
  | CharacterClass
  /** Last: all that remains, slashes too, if that is something: `{.+}`. */
  | { kind: "tail" }
  /** Last: whatever remains, also nothing. */
  | { kind: "rest" };

/** A set of ASCII characters as 16 bytes: a bit for each. */
export interface CharacterClass {
  kind: "class";
  set: number[];
  min: number;
  max: number;
}

/** A pattern as C matches it; one that is not exact matches too much and goes to TypeScript. */
export interface Pattern {
  segments: Segment[];
  exact: boolean;
  /** Why it is not exact. */
  why?: string;
}

/** Which of Hono's routers judges. */
export type RouterName = "RegExpRouter" | "TrieRouter";

const SEGMENTS_MAX = 64;
const COUNT_MAX = 0xffff_ffff;

/** A Hono pattern as C can match it: one, or two where its last parameter is optional. */
export function compilePattern(
  path: string,
  router: RouterName = "TrieRouter",
): Pattern[] {
  if (isStatic(path)) {
    return [limit({ segments: split(path).map(staticSegment), exact: true })];
  }
  if (!hasOptional(path)) return [compileSegments(split(path), router)];
  const segments = split(path);
  const last = segments.pop()!.slice(0, -1);
  const base = segments.length === 0 ? [""] : segments;
  // Behind a * both patterns would match, and Hono would run the handlers twice.
  const simple = parameter(last) && !segments.includes("") &&
    !segments.some((part) => part.includes("?")) && segments.at(-1) !== "*";
  if (!simple) return [cut(path)];
  return [
    compileSegments(base, router),
    compileSegments([...segments, last], router),
  ];
}

function split(path: string): string[] {
  return path.replace(/^\//, "").split("/");
}

// Without a wildcard or parameter both routers compare the whole text. '%' is left out: malformed escapes of a request could meet it.
function isStatic(path: string): boolean {
  return !/\*|\/:|[{}%]/.test(path) && path.isWellFormed() &&
    !hasOptional(path);
}

// Hono's checkOptionalParameter.
function hasOptional(path: string): boolean {
  return path.endsWith("?") && path.includes(":");
}

function staticSegment(text: string): Segment {
  return { kind: "static", text };
}

// Characters that mean something to RegExpRouter's source text, or to Hono's pattern language.
function isPlain(part: string): boolean {
  // deno-lint-ignore no-control-regex
  return !/[:*{}?|%#@\\\x00-\x20]/.test(part) && part.isWellFormed();
}

function parameter(part: string): Segment | undefined {
  const [, expression] = /^:[\w-]+(?:\{(.+)\})?$/.exec(part) ?? [];
  if (expression === ".+") return { kind: "tail" };
  if (expression !== undefined) return characterClass(expression);
  return /^:[\w-]+$/.test(part) ? { kind: "param" } : undefined;
}

function compileSegments(parts: string[], router: RouterName): Pattern {
  const segments: Segment[] = [];
  for (const [i, part] of parts.entries()) {
    const segment = compilePart(part, parts[i + 1], router);
    if (!segment) {
      const why = whyOdd(part, parts[i + 1]);
      segments.push({ kind: "rest" });
      return limit({ segments, exact: false, why });
    }
    segments.push(segment);
  }
  return limit({ segments, exact: true });
}

function compilePart(
  part: string,
  next: string | undefined,
  router: RouterName,
): Segment | undefined {
  if (part === "*") {
    if (next === undefined) return { kind: "rest" };
    return router === "RegExpRouter" ? { kind: "param" } : undefined; // TrieRouter takes an empty part, too
  }
  if (isPlain(part)) return staticSegment(part);
  const segment = parameter(part);
  if (segment?.kind === "tail") return next === undefined ? segment : undefined;
  return segment?.kind === "class" && !mayFollow(next) ? undefined : segment;
}

// TrieRouter pastes the part behind an expression into it, as it is.
function mayFollow(next: string | undefined): boolean {
  return next === undefined || /^(?:[\w.-]*|\*|:.*)$/.test(next);
}

function whyOdd(part: string, next: string | undefined): string {
  if (part === "*") return "a * that is not last";
  if (part.includes("{")) {
    return parameter(part)
      ? `the expression of ${part} before ${next}`
      : `the expression of ${part}`;
  }
  if (part.includes("*")) return `a * inside of ${part}`;
  return `the part ${part}`;
}

// An optional parameter also matches without it, and Hono drops empty segments before it.
function cut(path: string): Pattern {
  const parts = split(path);
  const odd = parts.findIndex((part) => part === "" || !isPlain(part));
  return limit({
    segments: [...parts.slice(0, odd).map(staticSegment), { kind: "rest" }],
    exact: false,
    why: "an optional parameter with odd parts around it",
  });
}

function limit(pattern: Pattern): Pattern {
  if (pattern.segments.length <= SEGMENTS_MAX) return pattern;
  return {
    segments: [...pattern.segments.slice(0, SEGMENTS_MAX - 1), {
      kind: "rest",
    }],
    exact: false,
    why: `more than ${SEGMENTS_MAX} parts`,
  };
}

// ---- Expressions that are a set of characters and a count

/** `[0-9]+`, `\d{4}`, `[\w-]{1,8}`; undefined for all that is more. */
function characterClass(expression: string): Segment | undefined {
  const [, shorthand, inner, quantifier] =
    /^(?:\\([dw])|\[([^\]^[\\]*(?:\\[dw.-][^\]^[\\]*)*)\])(\+|\{\d+(?:,\d*)?\})?$/
      .exec(expression) ?? [];
  if (shorthand === undefined && !inner) return undefined;
  const set = setOf(shorthand ? `\\${shorthand}` : inner);
  const count = countOf(quantifier);
  return set && count && { kind: "class", set, ...count };
}

const SHORTHANDS: Record<string, string> = {
  "\\d": "0-9",
  "\\w": "A-Za-z0-9_",
};

function setOf(inner: string): number[] | undefined {
  const set = new Array<number>(16).fill(0);
  const text = inner.replace(/\\[dw]/g, (word) => SHORTHANDS[word]);
  for (const [item] of text.matchAll(/\\[.-]|[^-]-[^-]|[^]/g)) {
    const chars = item.replace(/^\\/, "");
    const first = chars.charCodeAt(0);
    const last = chars.charCodeAt(chars.length - 1);
    if (last > 127 || first > last) return undefined;
    for (let code = first; code <= last; code++) {
      set[code >> 3] |= 1 << code % 8;
    }
  }
  const slash = "/".charCodeAt(0);
  return set[slash >> 3] & 1 << slash % 8 ? undefined : set;
}

function countOf(
  quantifier: string | undefined,
): { min: number; max: number } | undefined {
  if (quantifier === undefined) return { min: 1, max: 1 };
  if (quantifier === "+") return { min: 1, max: COUNT_MAX };
  const [, low, comma, high] = /(\d+)(,?)(\d*)/.exec(quantifier)!;
  const min = Number(low);
  const max = high ? Number(high) : comma ? COUNT_MAX : min;
  return min >= 1 && min <= max && max <= COUNT_MAX ? { min, max } : undefined;
}

/** Whether a text between two slashes is of the class. */
function isOfClass({ set, min, max }: CharacterClass, text: string): boolean {
  if (text.length < min || text.length > max) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127 || !(set[code >> 3] & 1 << code % 8)) return false;
  }
  return true;
}

// ---- Matching, as native/src/route.c does it

/** Whether a pattern takes a path (decoded as Hono's getPath decodes it). */
export function patternMatches(
  segments: readonly Segment[],
  path: string,
): boolean {
  const parts = path.slice(1).split("/");
  for (const [i, segment] of segments.entries()) {
    if (segment.kind === "rest") return true;
    if (i >= parts.length) return false;
    if (segment.kind === "tail") return /^.+$/.test(parts.slice(i).join("/"));
    if (!segmentMatches(segment, parts[i])) return false;
  }
  return parts.length === segments.length;
}

function segmentMatches(segment: Segment, part: string): boolean {
  if (segment.kind === "static") return segment.text === part;
  return segment.kind === "class" ? isOfClass(segment, part) : part !== "";
}

/** Whether one pattern takes every path that another takes. */
export function patternCovers(
  wide: readonly Segment[],
  narrow: readonly Segment[],
): boolean {
  for (const [i, segment] of wide.entries()) {
    if (segment.kind === "rest") return true;
    const other = narrow[i];
    if (!other || other.kind === "rest") return false;
    if (!segmentCovers(segment, other)) return false;
  }
  return wide.length === narrow.length;
}

function segmentCovers(wide: Segment, narrow: Segment): boolean {
  if (wide.kind === "tail" || narrow.kind === "tail") {
    return wide.kind === narrow.kind;
  }
  if (narrow.kind === "static") return segmentMatches(wide, narrow.text);
  return wide.kind === "param" ||
    JSON.stringify(wide) === JSON.stringify(narrow);
}

// ---- Patterns that change others

/** Whether RegExpRouter, which pastes all patterns into one expression without quoting, may match others differently because of this one. */
export function isHazard(path: string): boolean {
  if (isStatic(path)) return false;
  let broken = false;
  const outside = path.replace(
    /\{((?:\{[\d,]+\}|[^}])+)\}/g,
    (_, expression: string) => {
      broken ||= /[#@]\d/.test(expression) || !isExpression(expression);
      return "";
    },
  );
  const named = outside.replace(/\?$/, "");
  return broken || /[{}?|@#\\]/.test(named);
}

function isExpression(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}
