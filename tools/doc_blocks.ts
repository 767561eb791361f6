// The code blocks of documents and of JSDoc, each with its place, and what becomes of them:
//
//   ts, tsx         type-checked; those that export a gateway are started, the others of JSDoc run (docs_run_test.ts)
//   console, sh     run as written (transcript.ts), unless the line above says why not: <!-- by hand: it takes minutes -->
//
// Blocks of other languages are not judged.

import { capture, CommandError, filesUnder, ROOT } from "./support.ts";

export interface Block {
  /** Relative to the repository. */
  file: string;
  /** Of its first line of code, from 1. */
  line: number;
  /** The word behind the fence. */
  language: string;
  text: string;
  /** Why nothing runs it. */
  byHand?: string;
}

/** `file:line`, as compilers write it. */
export function placeOf({ file, line }: Block): string {
  return `${file}:${line}`;
}

export function isCode({ language }: Block): boolean {
  return /^tsx?$/.test(language);
}

export function isShell({ language }: Block): boolean {
  return ["console", "sh", "bash", "shell"].includes(language);
}

const BY_HAND = /^\s*<!-- by hand: (.*\S) -->$/;

/** The blocks of a Markdown file, or of the JSDoc comments of a source. */
export function findBlocks(file: string, text: string): Block[] {
  const inJsDoc = !file.endsWith(".md");
  const blocks: Block[] = [];
  let open: Block & { fence: string; lines: string[] } | undefined;
  let above = "";
  for (const [i, full] of text.split("\n").entries()) {
    const comment = inJsDoc ? /^\s*\* ?(.*)$/.exec(full) : undefined;
    const line = inJsDoc ? comment?.[1] ?? "" : full;
    const [, fence, language] = /^(\s*`{3,})(.*)$/.exec(line) ?? [];
    if (open && fence === open.fence && language === "") {
      const { fence: _, lines, ...block } = open;
      blocks.push({ ...block, text: lines.join("\n") + "\n" });
      open = undefined;
    } else if (open) {
      open.lines.push(line);
    } else if (fence !== undefined && (!inJsDoc || comment)) {
      const [, byHand] = BY_HAND.exec(above) ?? [];
      const place = { file, line: i + 2, language: language.trim(), text: "" };
      open = { ...place, ...byHand ? { byHand } : {}, fence, lines: [] };
    }
    if (line.trim()) above = line;
  }
  return blocks;
}

/** All blocks of the documents. */
export async function documentBlocks(): Promise<Block[]> {
  return await blocksOf(
    await filesUnder("", (path) => path.endsWith(".md")),
  );
}

/** All blocks of JSDoc in what users import. */
export async function jsDocBlocks(): Promise<Block[]> {
  const isSource = (path: string) => /(?<!_test)\.ts$/.test(path);
  const folders = ["gateway", "tls"];
  const files = await Promise.all(
    folders.map((folder) => filesUnder(folder, isSource)),
  );
  return await blocksOf(["mod.ts", ...files.flat()]);
}

async function blocksOf(files: string[]): Promise<Block[]> {
  const found = await Promise.all(
    files.map(async (file) =>
      findBlocks(file, await Deno.readTextFile(`${ROOT}/${file}`))
    ),
  );
  return found.flat();
}

/**
 * Writes blocks of code to a folder as modules, in the order of `blocks`. A module's lines have the numbers that they have in the document, so that what is
 * said of them leads there.
 */
export async function writeModules(
  blocks: Block[],
  folder: string,
): Promise<string[]> {
  return await Promise.all(blocks.map(async ({ line, language, text }, i) => {
    const path = `${folder}/${i}.${language}`;
    await Deno.writeTextFile(path, "\n".repeat(line - 1) + text);
    return path;
  }));
}

/** Type-checks blocks; what is wrong comes as text that names file and line. */
export async function checkTypesOf(
  blocks: Block[],
  flags: string[],
): Promise<string | undefined> {
  const folder = await Deno.makeTempDir({ prefix: "sluice-blocks-" });
  try {
    const paths = await writeModules(blocks, folder);
    await capture([Deno.execPath(), "check", ...flags, ...paths], {
      cwd: ROOT,
      env: { NO_COLOR: "1" },
    });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const [name] = folder.split("/").slice(-1);
    return error.output.trimEnd().replaceAll(
      new RegExp(`\\S*${name}/(\\d+)\\.tsx?`, "g"),
      (_, i) => blocks[Number(i)].file,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
