/**
 * What is refused is never forwarded: each rejected row of the rule tables (native/tests/http1_parse_test.c and http1_chunk_test.c) goes through a
 * running gateway in front of an upstream that records every byte.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { proxy } from "sluice";
import {
  latin1,
  type RawClient,
  ROOT,
  type RunningGateway,
  startGateway,
  until,
} from "./support.ts";

// ---- The rows, as the C tests have them

interface Row {
  rule: number;
  bytes: string;
  /** `E_BAD_LINE`. */
  reason: string;
  http: number;
}

function source(path: string): string {
  const text = Deno.readTextFileSync(`${ROOT}/native/${path}`);
  return text.replaceAll("\\\n", " ");
}

const ESCAPES: Record<string, string> = {
  ...{ r: "\r", n: "\n", t: "\t", '"': '"', "\\": "\\" },
};

// A C string literal's bytes, one character each.
function unescape(literal: string): string {
  return literal.replace(
    /\\(?:x([0-9a-f]+)|([0-7]{1,3})|(.))/gi,
    (_, hex, octal, other) => {
      if (other !== undefined) return ESCAPES[other];
      return String.fromCharCode(parseInt(hex ?? octal, hex ? 16 : 8));
    },
  );
}

const TOKEN = /\s+|\/\/.*|"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|-?\d+|./y;

// The arguments of the macro call that begins at `at`, strings and macros put together.
function argumentsAt(
  text: string,
  at: number,
  macros: Map<string, string>,
): string[] {
  const all = [""];
  for (TOKEN.lastIndex = at;;) {
    const [token] = TOKEN.exec(text)!;
    if (token === ")") return all;
    const last = all.length - 1;
    if (token === ",") all.push("");
    else if (token[0] === '"') all[last] += unescape(token.slice(1, -1));
    else if (!/^(?:\s|\/\/)/.test(token)) {
      all[last] += macros.get(token) ?? token;
    }
  }
}

function macrosOf(text: string): Map<string, string> {
  const macros = new Map<string, string>();
  for (const [, name, value] of text.matchAll(/^#define (\w+) (["A-Z].*)$/gm)) {
    macros.set(name, argumentsAt(`${value})`, 0, macros)[0]);
  }
  for (const [, name, value] of text.matchAll(/^#define (\w+) (\d+)u$/gm)) {
    macros.set(name, value);
  }
  return macros;
}

function calls(text: string, macro: string): string[][] {
  const macros = macrosOf(text);
  return [...text.matchAll(new RegExp(`\\b${macro}\\((?=\\s*\\d)`, "g"))]
    .map((match) => argumentsAt(text, match.index + match[0].length, macros));
}

const parseTest = source("tests/http1_parse_test.c");
const chunkTest = source("tests/http1_chunk_test.c");
const limit = (name: string) => Number(macrosOf(parseTest).get(name));

const heads: Row[] = calls(parseTest, "BAD").map((
  [rule, bytes, reason, http],
) => ({ rule: Number(rule), bytes, reason, http: Number(http) }));
// What the parser takes, and policy does not.
for (const [rule, bytes, want] of calls(parseTest, "GOOD")) {
  const refused = { rule: Number(rule), bytes };
  if (bytes.startsWith("CONNECT ")) {
    heads.push({ ...refused, reason: "E_METHOD_UNKNOWN", http: 501 });
  } else if (/flags=[a-z,]*dots,/.test(want)) {
    heads.push({ ...refused, reason: "E_BAD_PATH", http: 400 });
  }
}
const bodies: Row[] = calls(chunkTest, "BAD").map(([rule, bytes]) => ({
  ...{ rule: Number(rule), bytes, reason: "E_BAD_CHUNK", http: 400 },
}));

// Label and text of each reason.
const reasons = new Map(
  [
    ...source("include/sluice/status.h").matchAll(
      /X\((E_\w+),\s*-\d+,\s*"(\w+)",\s*\w+,\s*\d,\s*(\d+), "(.*?)"\)/g,
    ),
  ].map(([, name, label, http, text]) => [
    name,
    { label, http: Number(http), text },
  ]),
);

// ---- An upstream that records

class Recorder {
  /** What each connection brought. */
  readonly conns: { text: string; ended: boolean }[] = [];
  #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly url = `http://127.0.0.1:${
    (this.#listener.addr as Deno.NetAddr).port
  }`;
  readonly #done = this.#accept();

  text(): string {
    return this.conns.map(({ text }) => text).join("");
  }

  async #accept(): Promise<void> {
    const running: Promise<void>[] = [];
    for await (const conn of this.#listener) running.push(this.#record(conn));
    await Promise.all(running);
  }

  async #record(conn: Deno.Conn): Promise<void> {
    const seen = { text: "", ended: false };
    this.conns.push(seen);
    const part = new Uint8Array(65536);
    let answered = 0;
    try {
      for (let n; (n = await conn.read(part)) !== null;) {
        seen.text += latin1(part.subarray(0, n));
        const gets = seen.text.match(/GET [^]*?\r\n\r\n/g)?.length ?? 0;
        for (; answered < gets; answered++) {
          await conn.write(OK);
        }
      }
    } catch {
      // a reset is an end, too
    }
    seen.ended = true;
    conn.close();
  }

  async close(): Promise<void> {
    this.#listener.close();
    await this.#done;
  }
}

const OK = new TextEncoder().encode(
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
);
const CHUNKED =
  "POST /chunks HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
const GOOD = "GET /good HTTP/1.1\r\nHost: h\r\n\r\n";

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function byRule(rows: Row[]): [number, Row[]][] {
  return [...Map.groupBy(rows, (row) => row.rule)].sort(([a], [b]) => a - b);
}

describe("what is refused", () => {
  let upstream: Recorder;
  let running: RunningGateway;
  let good = ""; // a good request as it arrives

  beforeAll(async () => {
    upstream = new Recorder();
    const app = new Hono().all("*", proxy(upstream.url));
    running = await startGateway(app, {
      limits: {
        headBytesMax: limit("LIMITS_HEAD"),
        lineBytesMax: limit("LIMITS_LINE"),
        fieldsMax: limit("LIMITS_FIELDS"),
      },
    });
    await askGood();
    good = upstream.conns[0].text;
    assert(good.startsWith("GET /good HTTP/1.1\r\nhost: h\r\n"));
  });

  afterAll(async () => {
    await running.stop();
    await upstream.close();
  });

  async function askGood(): Promise<void> {
    using client = await running.connect();
    assertEquals((await client.ask(GOOD)).text, "ok");
  }

  const count = (label: string) => running.gateway.stats().byStatus[label];

  // Status, reason, close, and nothing behind it; the reason is counted under its own label.
  async function assertRefused(
    row: Row,
    before = "",
    begin: (client: RawClient) => Promise<void> = async () => {},
  ): Promise<void> {
    const { label, http, text } = reasons.get(row.reason)!;
    assertEquals(http, row.http);
    const counted = count(label);
    using client = await running.connect();
    await begin(client);
    await client.send(bytesOf(before + row.bytes));
    if (before) assertEquals((await client.readAnswer()).text, "ok");
    const answer = await client.readAnswer();
    assertEquals([answer.status, answer.text], [row.http, `${text}\n`]);
    assertEquals(answer.head.get("connection"), "close");
    assertEquals(
      answer.head.get("content-type"),
      "text/plain; charset=UTF-8",
    );
    assertEquals(await client.readAll(), "");
    assertEquals(count(label), counted + 1);
  }

  async function each(rows: Row[], check: (row: Row) => Promise<void>) {
    for (const row of rows) {
      try {
        await check(row);
      } catch (error) {
        const text = `rule ${row.rule}: ${JSON.stringify(row.bytes)}`;
        throw new Error(text, { cause: error });
      }
    }
  }

  it("has all rows of the tables", () => {
    const written = (text: string, row: RegExp) => text.match(row)!.length;
    assertEquals(
      written(parseTest, /\bE_\w+,\s*\d{3}\)/g),
      calls(parseTest, "BAD").length,
    );
    assertEquals(written(chunkTest, /^ +BAD\(\s*\d/gm), bodies.length);
    assert(heads.length > 150 && bodies.length > 50);
    for (const { reason } of heads) assert(reasons.has(reason), reason);
  });

  it("is counted under a label of its own, whatever the reason", () => {
    const labels = [...reasons.values()].map(({ label }) => label);
    assertEquals(new Set(labels).size, labels.length);
    assertEquals(
      Object.keys(running.gateway.stats().byStatus).sort(),
      labels.sort(),
    );
    for (const { http, text } of reasons.values()) {
      assert(http === 0 || /^[^\n]{5,100}$/.test(text));
    }
  });

  for (const [rule, rows] of byRule(heads)) {
    it(`reaches no upstream: rule ${rule}, ${rows.length} rows`, () =>
      each(rows, async (row) => {
        const before = upstream.text();
        await assertRefused(row);
        await assertRefused(row, GOOD); // pipelined: the one before is answered
        await askGood();
        assertEquals(upstream.text(), before + good + good);
      }));
  }

  // The head and the beginning of the body have gone on by then; the end never does.
  for (const [rule, rows] of byRule(bodies)) {
    it(`ends before it is whole: rule ${rule}, ${rows.length} rows`, () =>
      each(rows, async (row) => {
        const open = () =>
          upstream.conns.find(({ text, ended }) =>
            !ended && text.endsWith("3\r\nabc\r\n")
          );
        await assertRefused(row, "", async (client) => {
          await client.send(CHUNKED);
          await until("its beginning has arrived", () => open() !== undefined);
        });
        await until("its connection's end", () => open() === undefined);
        const { text } = upstream.conns.at(-1)!;
        assert(!/\r\n0\r\n/.test(text), text);
      }));
  }

  it("is not proxied", () => {
    const { requests_proxied } = running.gateway.stats();
    const goods = 1 + 2 * heads.length;
    assertEquals(requests_proxied, goods + bodies.length);
    assertEquals(upstream.text().split("GET /").length - 1, goods);
  });
});
