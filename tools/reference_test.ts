import { assertEquals, assertStringIncludes } from "@std/assert";
import { isCurrent } from "./gen.ts";
import { reference, typeText } from "./reference.ts";

Deno.test("reference() makes the pages that are in the repository", async () => {
  const pages = await reference();
  for (const page of pages) {
    assertEquals(await isCurrent(page), true, page.path);
  }
  const [options, middleware, answers, metrics] = pages.map(({ text }) => text);
  assertStringIncludes(
    options,
    "| `exchanges` | `number`, 64 to 16384, a power of two | `1024` | Requests that wait",
  );
  assertStringIncludes(middleware, "## rateLimit\n");
  assertStringIncludes(answers, "| `bad_request` | 400 | client | no |");
  assertStringIncludes(metrics, "| `conns_accepted` | connections accepted |");
});

Deno.test("typeText() reads a type up to its end", () => {
  assertEquals(typeText('"a" | "b";\n  next: 1;'), '"a" | "b"');
  assertEquals(typeText("() => { a: 1; b: 2 };"), "() => { a: 1; b: 2 }");
  assertEquals(typeText('\n  | "a"\n  | "b";'), '"a" | "b"');
});
