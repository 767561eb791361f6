// What the documents promise exists: relative links point to files, headings named by links are there, `deno task NAME` is a task, and
// files named in backticks by their whole path are in the repository. Their code, and that of examples in JSDoc, has no type error; docs_run_test.ts
// runs it.

import {
  type Block,
  checkTypesOf,
  documentBlocks,
  isCode,
  isShell,
  jsDocBlocks,
  placeOf,
} from "./doc_blocks.ts";
import { testFlags } from "./std.ts";
import { stepsOf } from "./transcript.ts";
import { exists, filesUnder, ROOT } from "./support.ts";

export interface Doc {
  path: string;
  text: string;
}

/** One line per broken promise. */
export async function findBroken(
  docs: Doc[],
  tasks: string[],
  isFile: (path: string) => Promise<boolean>,
): Promise<string[]> {
  const broken: string[] = [];
  const headings = new Map(docs.map(({ path, text }) => [path, anchors(text)]));
  for (const { path, text } of docs) {
    const prose = text.replace(/^```[^]*?^```/gm, "");
    for (const [, target] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file, anchor] = target.split("#");
      const wanted = file
        ? new URL(file, `file:///${path}`).pathname.slice(1)
        : path;
      if (!await isFile(wanted)) {
        broken.push(`${path}: links to ${wanted}, which is not there`);
      } else if (anchor && !headings.get(wanted)?.has(anchor)) {
        broken.push(`${path}: ${wanted} has no heading #${anchor}`);
      }
    }
    for (
      const [, file] of prose.matchAll(
        /`((?:native|gateway|ffi|tls|tools|bench|docs|examples)\/[\w./-]+\.\w+)`/g,
      )
    ) {
      if (!await isFile(file)) {
        broken.push(`${path}: names ${file}, which is not there`);
      }
    }
    for (const [, task] of text.matchAll(/\bdeno task (?:-\S+ )*([a-z]\w*)/g)) {
      if (!tasks.includes(task)) {
        broken.push(`${path}: deno.json has no task "${task}"`);
      }
    }
  }
  return broken;
}

// As GitHub makes them.
function anchors(text: string): Set<string> {
  return new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
    ),
  );
}

/** What cannot be run as it stands: a line per shell block that types nothing. */
export function findUntyped(blocks: Block[]): string[] {
  return blocks.filter((block) => isShell(block) && !block.byHand)
    .flatMap((block) => {
      try {
        return stepsOf(block).length > 0
          ? []
          : [`${placeOf(block)}: a shell block types nothing`];
      } catch (error) {
        return [(error as Error).message];
      }
    });
}

/** Judges the code of documents and of JSDoc examples. */
export async function checkCode(): Promise<string[]> {
  const documents = await documentBlocks();
  const code = [...documents, ...await jsDocBlocks()].filter(isCode);
  const { flags } = await testFlags();
  const problem = await checkTypesOf(code, flags);
  return [...findUntyped(documents), ...problem ? [problem] : []];
}

/** Judges the repository's documents. */
export async function checkDocs(): Promise<string[]> {
  const paths = await filesUnder("", (path) => path.endsWith(".md"));
  const docs = await Promise.all(
    paths.map(async (path) => ({
      path,
      text: await Deno.readTextFile(`${ROOT}/${path}`),
    })),
  );
  const { tasks } = JSON.parse(await Deno.readTextFile(`${ROOT}/deno.json`));
  return findBroken(
    docs,
    Object.keys(tasks),
    (path) => exists(`${ROOT}/${path}`),
  );
}

if (import.meta.main) {
  const broken = [...await checkDocs(), ...await checkCode()];
  for (const line of broken) console.error(line);
  Deno.exit(broken.length ? 1 : 0);
}
