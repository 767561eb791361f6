// The documents' code runs: modules that export a gateway start, examples of JSDoc are evaluated, and shell blocks are typed as they stand.

import { assertEquals } from "@std/assert";
import {
  type Block,
  documentBlocks,
  isCode,
  isShell,
  jsDocBlocks,
  placeOf,
  writeModules,
} from "./doc_blocks.ts";
import { testFlags } from "./std.ts";
import { capture } from "./support.ts";
import { runTranscript, whyNoTranscripts } from "./transcript.ts";
import { certificate } from "../tests/support.ts";
import { type App, defineGateway, Gateway } from "sluice";

// What a module of a document may expect to find in its folder.
async function files(): Promise<Record<string, string>> {
  const { cert, key } = await certificate();
  const secret = btoa("0123456789abcdef".repeat(2));
  return {
    "cert.pem": cert,
    "key.pem": key,
    "old.pem": cert,
    "old.key": key,
    "ca.pem": (await certificate(true)).cert,
    "steks": `2026-01-01T00:00:00Z ${secret}\n`,
  };
}

// Fixed ports are for readers: here every gateway takes a free one.
function onFreePorts(block: Block): Block {
  const text = block.text.replace(/(address: "[^"]*):\d+"/g, '$1:0"');
  return { ...block, text };
}

function isTest({ text }: Block): boolean {
  return /^Deno\.test\(/m.test(text);
}

async function startsAndEnds(exported: Gateway | App): Promise<void> {
  const listeners = [{ address: "127.0.0.1:0" }];
  const gateway = !(exported instanceof Gateway)
    ? defineGateway(exported, { listeners, workers: 1 })
    : exported.options.listeners
    ? exported
    : defineGateway(exported.app, { ...exported.options, listeners });
  const { addresses } = await gateway.start();
  try {
    assertEquals(addresses.every(({ port }) => port > 0), true);
  } finally {
    await gateway.close({ deadlineMs: 1000 });
  }
}

async function run(block: Block): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "sluice-docs-" });
  const before = Deno.cwd();
  try {
    for (const [name, text] of Object.entries(await files())) {
      await Deno.writeTextFile(`${folder}/${name}`, text, { mode: 0o600 });
    }
    const [path] = await writeModules([onFreePorts(block)], folder);
    Deno.chdir(folder);
    if (isTest(block)) {
      const { flags } = await testFlags();
      return void await capture([
        Deno.execPath(),
        "test",
        ...flags,
        "-A",
        path,
      ]);
    }
    const module = await import(`file://${path}`);
    if (module.default) await startsAndEnds(module.default);
  } finally {
    Deno.chdir(before);
    await Deno.remove(folder, { recursive: true });
  }
}

const documents = await documentBlocks();
const code = [...documents, ...await jsDocBlocks()].filter(isCode);

for (const block of code) {
  const starts = /^export default /m.test(block.text);
  Deno.test(`${placeOf(block)} ${starts ? "starts" : "runs"}`, () =>
    run(block));
}

const why = await whyNoTranscripts();
const byDocument = Map.groupBy(documents, ({ file }) => file);
for (const [file, blocks] of byDocument) {
  if (!blocks.some((block) => isShell(block) && !block.byHand)) continue;
  const name = `the shell blocks of ${file} run as they stand`;
  Deno.test({
    name: why ? `${name} (skipped: ${why})` : name,
    ignore: why !== undefined,
    fn: async () =>
      assertEquals(await runTranscript(blocks, await files()), undefined),
  });
}
