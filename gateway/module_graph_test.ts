import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { FileWatcher, importsOf, readGraph } from "./module_graph.ts";

const REFERRER = "file:///app/src/main.ts";

describe("importsOf()", () => {
  const rows: [source: string, urls: string[]][] = [
    ['import { a } from "./a.ts";', ["file:///app/src/a.ts"]],
    ["import './a.ts'; export * from \"../b.tsx\"", [
      "file:///app/src/a.ts",
      "file:///app/b.tsx",
    ]],
    ['const a = await import("/etc/a.js");', ["file:///etc/a.js"]],
    ["const a = await import(`./a b.ts`);", ["file:///app/src/a%20b.ts"]],
    ['const a = require("./a.cjs");', ["file:///app/src/a.cjs"]],
    [
      'import data from "./data.json" with { type: "json" };',
      ["file:///app/src/data.json"],
    ],
    ['import {\n  a,\n  b,\n} from\n  "./a.ts?x#y";', ["file:///app/src/a.ts"]],
    ['import "file:///x.ts"', ["file:///x.ts"]],
    ['import { x } from "named"; import "@/deep/y.ts"; import "@/z.ts"', [
      "file:///app/lib/named.ts",
      "file:///app/other/y.ts",
      "file:///app/root/z.ts",
    ]],
    // None of these is a file of the module's own.
    [
      'import "hono"; import "npm:x@1"; import "jsr:@a/b"; import "node:fs"',
      [],
    ],
    ['import "https://example.org/x.ts"; import "data:text/plain,x"', []],
    ['import "./node_modules/x/index.js"', []],
    ["const name = `./${x}.ts`; await import(name); important('x')", []],
  ];
  const map = {
    imports: { named: "file:///elsewhere/named.ts", "@/": "file:///no/" },
    scopes: {
      "file:///app/": {
        named: "file:///app/lib/named.ts",
        "@/": "file:///app/root/",
        "@/deep/": "file:///app/other/",
      },
      "file:///other/": { named: "file:///other/named.ts" },
    },
  };
  for (const [source, urls] of rows) {
    it(`finds ${urls.length} in ${source}`, () =>
      expect(importsOf(source, REFERRER, map)).toEqual(urls));
  }
});

async function withFiles(
  files: Record<string, string>,
  run: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.realPath(await Deno.makeTempDir());
  try {
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${folder}/${name}`, text);
    }
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

describe("readGraph()", () => {
  it("follows imports, in circles too, and sums names and contents", () =>
    withFiles({
      "main.ts": 'import "./a b.ts"; import "./none.ts";',
      "a b.ts": 'import "./main.ts"; import "./data.json";',
      "data.json": '{ "from": "./never.ts" }',
    }, async (folder) => {
      const entry = `file://${folder}/main.ts`;
      const before = await readGraph(entry);
      expect([...before.files].sort()).toEqual(
        ["a b.ts", "data.json", "main.ts", "none.ts"].map((name) =>
          `${folder}/${name}`
        ),
      );
      const sums = new Set([before.sum]);
      expect((await readGraph(entry)).sum).toBe(before.sum);
      await Deno.writeTextFile(`${folder}/data.json`, "{}");
      sums.add((await readGraph(entry)).sum);
      await Deno.writeTextFile(`${folder}/none.ts`, "");
      sums.add((await readGraph(entry)).sum);
      await Deno.remove(`${folder}/none.ts`);
      sums.add((await readGraph(entry)).sum); // as after the first change
      expect(sums.size).toBe(3);
    }));
});

describe("FileWatcher", () => {
  it("takes many changes together, also of files that replace others", () =>
    withFiles({ "main.ts": "0" }, async (folder) => {
      let calls = 0;
      let called = Promise.withResolvers<void>();
      const watcher = new FileWatcher(() => {
        calls++;
        called.resolve();
      });
      try {
        await watcher.watch(new Set([`${folder}/main.ts`]));
        for (let i = 0; i < 20; i++) {
          Deno.writeTextFileSync(`${folder}/new`, String(i));
          Deno.renameSync(`${folder}/new`, `${folder}/main.ts`);
        }
        await called.promise;
        expect(calls).toBeLessThan(5); // of 40 events; one, unless the machine is busy
        called = Promise.withResolvers();
        await Deno.writeTextFile(`${folder}/main.ts`, "last");
        await called.promise;
      } finally {
        watcher.close();
      }
    }));

  it("also watches where a link leads", () =>
    withFiles({ "real.ts": "0" }, async (folder) => {
      await Deno.mkdir(`${folder}/links`);
      await Deno.symlink(`${folder}/real.ts`, `${folder}/links/main.ts`);
      const called = Promise.withResolvers<void>();
      const watcher = new FileWatcher(called.resolve);
      try {
        await watcher.watch(new Set([`${folder}/links/main.ts`]));
        await Deno.writeTextFile(`${folder}/real.ts`, "1");
        await called.promise;
      } finally {
        watcher.close();
      }
    }));
});
