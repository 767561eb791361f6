import { assert, assertEquals } from "@std/assert";
import {
  firstMissing,
  named,
  runTranscript,
  whyNoTranscripts,
} from "./transcript.ts";

const why = await whyNoTranscripts();
const shell = (text: string, language = "console") => ({
  file: "a.md",
  line: 5,
  language,
  text,
});

Deno.test("firstMissing() compares all but numbers, dates and what a machine decides", () => {
  const seen = [
    "date: Wed, 25 Nov 2026 04:00:00 GMT",
    "sluice: io: epoll (asked for)",
    "sluice: ready in 7 ms",
  ];
  const expected = [
    "date: Tue, 24 Dec 2025 19:48:45 GMT",
    "sluice: io: uring",
    "sluice: ready in 88 ms",
  ];
  assertEquals(firstMissing(expected, seen), undefined);
  assertEquals(firstMissing(["...", expected[2]], seen), undefined);
  assertEquals(firstMissing([expected[2]], seen), expected[2]);
  assertEquals(firstMissing(["...", "other"], seen), "other");
});

Deno.test("named() takes the modules whose first line is a file's name", () => {
  const text = "// app.ts\nexport {};\n";
  assertEquals(named([shell(text, "ts"), shell("// two words.ts\n", "ts")]), {
    "app.ts": text,
  });
});

Deno.test({
  name:
    `runTranscript() types what stands there, and names the command that fails${
      why ? ` (skipped: ${why})` : ""
    }`,
  ignore: why !== undefined,
  fn: async () => {
    const good = shell("$ x=1; echo one $x\none 1\n$ pwd >/dev/null\n");
    assertEquals(await runTranscript([good]), undefined);
    const missing = await runTranscript([shell("$ true\n$ echo a\nb\n")]) ?? "";
    assert(missing.startsWith("a.md:6: $ echo a\n"), missing);
    assert(missing.includes("this is missing: b; it said:\na"), missing);
    const failing = await runTranscript([shell("$ false\n")]) ?? "";
    assert(failing.includes("code 1"), failing);
  },
});

Deno.test({
  name: `runTranscript() starts a gateway, asks it and ends it${
    why ? ` (skipped: ${why})` : ""
  }`,
  ignore: why !== undefined,
  fn: async () => {
    const app = shell(
      '// app.ts\nimport { Hono } from "hono";\nexport default new Hono().get("/", (c) => c.text("here"));\n',
      "ts",
    );
    const block = shell(
      "$ deno task start gateway app.ts --http 8080 # a comment\n...\nsluice: ready in 1 ms on http://127.0.0.1:8080\n" +
        "$ curl -s http://127.0.0.1:8080\nhere\n" +
        "$ kill 7\nsluice: SIGTERM: draining 0 requests, at most 30000 ms\n" +
        "sluice: closed after 1 answers on 1 connections\n",
    );
    assertEquals(await runTranscript([app, block]), undefined);
    const meanwhile = [
      shell("$ deno task start gateway app.ts --http 8080 --log text\n"),
      shell(
        "$ deno task start gateway app.ts --http 8080\n...\n" +
          "sluice: error: listen on 127.0.0.1:8080: the address is in use (held by pid 1, deno)\n...\n",
      ),
      shell("$ curl -s http://127.0.0.1:8080\nhere\n"),
      shell(
        '2026-11-25T12:25:19.262Z 127.0.0.1:3 "GET / HTTP/1.1" 200 4B 0.1ms typescript 127.0.0.1:8080 -\n',
      ),
    ];
    assertEquals(await runTranscript([app, ...meanwhile]), undefined);
    const again = shell(block.text.replace("\nhere", "\nthere"));
    const problem = await runTranscript([app, again]) ?? "";
    assert(problem.includes("this is missing: there"), problem);
  },
});
