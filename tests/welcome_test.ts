/**
 * The welcome page of the embedded default: what it says is true of the gateway that serves it, and it asks for nothing else.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { createHash } from "node:crypto";
import {
  folderOf,
  type RawAnswer,
  type RawClient,
  type RunningCommand,
  startCommand,
  until,
} from "./support.ts";

const BROWSER = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";

async function ask(
  command: RunningCommand,
  fields = "",
  method = "GET",
  path = "/",
): Promise<RawAnswer> {
  using client = await command.connect();
  return await client.ask(
    `${method} ${path} HTTP/1.1\r\nHost: h\r\n${fields}\r\n`,
    { toHead: method === "HEAD" },
  );
}

async function openLive(command: RunningCommand): Promise<RawClient> {
  const client = await command.connect();
  await client.send("GET /live HTTP/1.1\r\nHost: h\r\n\r\n");
  return client;
}

async function nextCounts(
  client: RawClient,
): Promise<Record<"requests" | "native" | "typescript" | "conns", number>> {
  const text = await client.readUntil("\n\n");
  return JSON.parse(/^data: (.*)$/m.exec(text)![1]);
}

// The text of each tag of a name, without markup inside it.
function textsOf(page: string, tag: string): string[] {
  const found = page.matchAll(new RegExp(`<${tag}[ >][^]*?</${tag}>`, "g"));
  return Array.from(found, ([text]) => text.replace(/<[^>]*>/g, " ").trim());
}

function hashOf(page: string, tag: string): string {
  const text = new RegExp(`<${tag}>([^]*?)</${tag}>`).exec(page)![1];
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

const EMPTY = /^(?:!doctype|meta|link)$/i;

// Names of tags that are opened and not closed, or closed and not open. What is inside <style> and <script> is no markup.
function unbalanced(page: string): string[] {
  const open: string[] = [];
  const markup = page.replace(/(<(style|script)>)[^]*?(<\/\2>)/g, "$1$3");
  for (
    const [, end, name, self] of markup.matchAll(/<(\/?)([!\w]+)[^>]*?(\/?)>/g)
  ) {
    if (EMPTY.test(name) || self) continue;
    if (!end) open.push(name);
    else if (open.at(-1) === name) open.pop();
    else return [...open, `/${name}`];
  }
  return open;
}

describe("the welcome page", () => {
  it("runs its own script and style and nothing else, and is well formed", async () => {
    await using command = await startCommand();
    const { status, head, text } = await ask(command, BROWSER);
    assertEquals([status, head.get("content-type")], [
      200,
      "text/html; charset=UTF-8",
    ]);
    assertEquals(head.all("content-security-policy"), [
      `default-src 'none'; script-src ${hashOf(text, "script")}; style-src ${
        hashOf(text, "style")
      }; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    ]);
    assertEquals(head.get("x-content-type-options"), "nosniff");
    assertEquals(head.get("x-frame-options"), "DENY");
    assertEquals(head.get("referrer-policy"), "no-referrer");
    assertEquals(head.get("cross-origin-opener-policy"), "same-origin");
    assertEquals(head.get("strict-transport-security"), undefined);
    assertEquals([head.get("cache-control"), head.get("vary")], [
      "no-store",
      "accept",
    ]);
    // A policy of hashes would block these, without a word to anybody but the console.
    assertEquals(text.match(/<[^>]*\s(?:on\w+|style)=[^>]*>/g), null);
    const links = Array.from(
      text.matchAll(/\b(?:href|src|action)="([^"]*)"/g),
      ([, url]) => url,
    );
    assertEquals(links.length, 4);
    for (const url of links) {
      assertMatch(url, new RegExp(`^(?:${command.base})?/[^/]*(?:/Ada)?$`));
    }
    assertEquals(text.match(/url\(|@import|\bimport\(|xmlns/g), null);
    assertEquals(unbalanced(text), []);
    assertMatch(text, /^<!DOCTYPE html>\n<html lang="en">/);
    const ids = Array.from(text.matchAll(/ id="([^"]*)"/g), ([, id]) => id);
    assertEquals(ids.length, new Set(ids).size);
    for (
      const [, id] of text.matchAll(/(?:labelledby|data-copies)="([^"]*)"/g)
    ) {
      assert(ids.includes(id), id);
    }
    const icon = await ask(command, "", "GET", "/favicon.svg");
    assertEquals([icon.status, icon.head.get("content-type")], [
      200,
      "image/svg+xml",
    ]);
    assertEquals(unbalanced(icon.text), []);
    await command.stop();
  });

  for (const [workers, isolates] of [["1", "2"], ["3", "1"]]) {
    it(`tells what runs: ${workers} workers, ${isolates} isolates`, async () => {
      await using command = await startCommand([
        ...["--workers", workers, "--isolates", isolates],
        ...["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"],
      ]);
      const { text: page } = await ask(command, BROWSER);
      const { text: plain } = await ask(command);
      const [http, https] = command.ports;
      const io = /^sluice: io: (.*)$/m.exec(command.err)![1];
      const version = /, version (\S+),/.exec(command.err)![1];
      const facts = textsOf(page, "dd").slice(4); // behind the counts
      assertEquals(facts.slice(0, 1), [io]);
      assertMatch(facts[1], new RegExp(`^${workers} \\(asked for`));
      assertEquals(facts.slice(2, 4), [isolates, `http://127.0.0.1:${http}`]);
      assertMatch(
        facts[4],
        new RegExp(`^https://127.0.0.1:${https}\\s+TLS, resumption: once$`),
      );
      assertMatch(page, new RegExp(`>Version ${version}\\. `));
      const said = Array.from(
        command.err.matchAll(
          /^sluice: {3}(\S+) +(\S+) +(native|TypeScript) /gm,
        ),
        ([, ...row]) => row,
      );
      assertEquals(said.length, 6);
      const rows = textsOf(page, "tr").slice(1).map((text) => text.split(/\s+/))
        .map((words) => [...words.slice(0, 2), words.at(-1)]);
      assertEquals(rows, said);
      assertEquals(
        plain.split("\n").slice(0, 5).map((line) => line.split(" (")[0]),
        [
          `Sluice ${version} is running.`,
          "",
          `backend: ${io.split(" (")[0]}`,
          `workers: ${workers}`,
          `listener: http://127.0.0.1:${http}`,
        ],
      );
      assertMatch(
        plain,
        new RegExp(`https://127.0.0.1:${https} \\(TLS, resumption: once\\)\n`),
      );
      const plainRows = plain.split("\n").map((line) =>
        line.trim().split(/ +/).slice(0, 3)
      );
      for (const row of said) {
        assert(plainRows.some((words) => String(words) === String(row)), plain);
      }
      const commands = Array.from(
        page.matchAll(/<code id="command-\d">([^]*?)<\/code>/g),
        ([, text]) => text.replace(/<[^>]*>/g, ""),
      );
      assertEquals(commands, [
        `curl http://127.0.0.1:${http}/hello/Ada`,
        "deno task start gateway --upstream http://127.0.0.1:3000",
        "deno task start gateway gateway.ts --watch",
      ]);
      assert(
        plain.endsWith(
          `Next:\n${commands.map((line) => `  ${line}\n`).join("")}`,
        ),
        plain,
      );
      await command.stop();
    });
  }

  it("is a short text for whoever does not ask for HTML, and answers HEAD", async () => {
    await using command = await startCommand();
    const texts = ["", "Accept: */*\r\n", "Accept: text/html;q=0, */*\r\n"];
    for (const fields of texts) {
      const { status, head, text } = await ask(command, fields);
      assertEquals([status, head.get("content-type"), fields], [
        200,
        "text/plain; charset=UTF-8",
        fields,
      ]);
      assertMatch(text, /^Sluice \S+ is running\.\n/);
    }
    for (const fields of ["", BROWSER, "Accept: TEXT/HTML\r\n"]) {
      const get = await ask(command, fields);
      const head = await ask(command, fields, "HEAD");
      const kept = ({ head }: RawAnswer) =>
        head.fields.filter(([name]) =>
          !["date", "content-length", "transfer-encoding"].includes(name)
        );
      assertEquals([head.status, head.body.length], [200, 0]);
      assertEquals(kept(head), kept(get));
    }
    await command.stop();
  });

  it("counts while one looks, and never keeps a drain or a reload waiting", async () => {
    await using command = await startCommand();
    using live = await openLive(command);
    const head = (await live.readHead())!;
    assertEquals(head.get("content-type"), "text/event-stream");
    const first = await nextCounts(live);
    assertEquals(first, { requests: 1, native: 0, typescript: 1, conns: 1 });
    for (const path of ["/whoami", "/whoami", "/hello/Ada"]) {
      await ask(command, "", "GET", path);
    }
    const last = { requests: 4, native: 2, typescript: 2, conns: 1 };
    await until("the counts", async () => {
      const counts = await nextCounts(live);
      return JSON.stringify(counts) === JSON.stringify(last);
    });
    command.kill("SIGHUP");
    await command.says(/^sluice: reloaded in /m);
    await live.readUntil("\r\n0\r\n\r\n");
    live.close();
    using again = await openLive(command);
    assertEquals((await nextCounts(again)).native, 2); // the new isolate tells of the same gateway
    const { code, err } = await command.stop();
    await again.readUntil("\r\n0\r\n\r\n");
    assertEquals(code, 0);
    assertMatch(
      err,
      /: draining 1 requests, at most 30000 ms\nsluice: closed after /,
    );
  });

  it("has a limit of streams, and one that ends makes room", async () => {
    await using command = await startCommand();
    const streams = await Promise.all(
      Array.from({ length: 64 }, () => openLive(command)),
    );
    for (const stream of streams) await nextCounts(stream);
    const open = async () => {
      using client = await openLive(command);
      const head = (await client.readHead())!;
      return [head.line.split(" ")[1], head.get("retry-after")];
    };
    assertEquals(await open(), ["503", "2"]);
    streams.pop()!.close();
    await until("room for one more", async () => (await open())[0] === "200");
    for (const stream of streams) stream.close();
    await command.stop();
  });

  it("shows a program that runs, and is not there any more beside it", async () => {
    await using command = await startCommand();
    const { text } = await ask(command, BROWSER);
    await command.stop();
    const shown = /<code id="program-text">([^]*?)<\/code>/.exec(text)![1];
    const program = shown.replace(/&quot;/g, '"').replace(/&gt;/g, ">");
    await using folder = await folderOf({ "gateway.ts": program });
    await using own = await startCommand([], { folder: folder.path });
    assertEquals(
      (await ask(own, "", "GET", "/hello/Ada")).text,
      "Hello, Ada!\n",
    );
    for (const path of ["/", "/live", "/favicon.svg"]) {
      assertEquals((await ask(own, BROWSER, "GET", path)).status, 404);
    }
    await own.stop();
  });
});
