import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { isOurs, moduleFlags, projectOf, stripComments } from "./module_map.ts";

Deno.test("stripComments() leaves strings alone", () => {
  const text = '{ // a\n "x": "// no, /* no */", /* b */ "y": ["\\",]", 1,], }';
  assertEquals(JSON.parse(stripComments(text)), {
    x: "// no, /* no */",
    y: ['",]', 1],
  });
});

Deno.test("isOurs() is true for hono, sluice and what the offline map serves", () => {
  const ours = { hono: "", "@std/assert": "" };
  for (
    const name of [
      "hono",
      "hono/",
      "hono/cors",
      "sluice",
      "@std/assert",
      "@std/assert/",
    ]
  ) {
    assert(isOurs(name, ours), name);
  }
  for (const name of ["honoka", "sluices", "@std/fs", "kleur"]) {
    assert(!isOurs(name, ours), name);
  }
});

Deno.test("projectOf() reads imports, import map files, workspaces and package.json", async () => {
  await withFiles({
    "a/deno.jsonc":
      '{ "imports": { "x": "npm:x@1", "y/": "./y/", "z": "jsr:@z/z@2", }, } // end',
    "b/deno.json": '{ "importMap": "./maps/m.json" }',
    "b/maps/m.json": '{ "imports": { "x": "./x.ts" } }',
    "c/deno.json":
      '{ "workspace": ["./m"], "imports": { "root": "npm:root@1" } }',
    "c/m/deno.json": '{ "imports": { "own": "./own.ts" } }',
    "d/package.json":
      '{ "dependencies": { "k": "^4", "l": "file:../l", "m": "npm:n@2" } }',
    "e/app.ts": "",
  }, async (root) => {
    const names = async (path: string) =>
      (await projectOf(`${root}/${path}`)).names;
    assertEquals(await names("a/deep/app.ts"), {
      "x": "npm:x@1",
      "x/": "npm:/x@1/",
      "y/": `file://${root}/a/y/`,
      "z": "jsr:@z/z@2",
      "z/": "jsr:/@z/z@2/",
    });
    assertEquals(await names("b/app.ts"), { x: `file://${root}/b/maps/x.ts` });
    assertEquals(await names("c/m/app.ts"), {
      root: "npm:root@1",
      "root/": "npm:/root@1/",
      own: `file://${root}/c/m/own.ts`,
    });
    assertEquals(await names("d/src/app.ts"), {
      k: "npm:k@^4",
      "k/": "npm:/k@^4/",
      m: "npm:n@2",
      "m/": "npm:/n@2/",
    });
    assertEquals(await names("e/app.ts"), {});
  });
});

Deno.test("a module imports hono and sluice from here and local names from its own deno.json", async () => {
  await withFiles({
    "app/deno.json":
      '{ "imports": { "words": "./lib/words.ts", "hono": "./wrong.ts" } }',
    "app/lib/words.ts": 'export const word = "mine";',
    "app/src/app.tsx": `
      import { Hono } from "hono";
      import { basicAuth } from "hono/basic-auth";
      import { word } from "words";
      export default new Hono().get("/", (c) => c.html(<b>{word} {typeof basicAuth}</b>));`,
  }, async (root) => {
    assertEquals(
      await answerOf(`${root}/app/src/app.tsx`, root),
      "<b>mine function</b>",
    );
  });
});

Deno.test("a module imports ES and CommonJS packages from its node_modules, and hono from here", async () => {
  await withFiles({
    "app/package.json": '{ "dependencies": { "es": "1", "cjs": "1" } }',
    "app/node_modules/es/package.json":
      '{ "name": "es", "version": "1.0.0", "type": "module", "exports": "./es.js" }',
    "app/node_modules/es/es.js": 'export const es = "es";',
    "app/node_modules/cjs/package.json":
      '{ "name": "cjs", "version": "1.0.0", "main": "cjs.js" }',
    "app/node_modules/cjs/cjs.js": 'exports.cjs = require("needed");',
    "app/node_modules/needed/package.json":
      '{ "name": "needed", "version": "1.0.0" }',
    "app/node_modules/needed/index.js": 'module.exports = "cjs";',
    "app/app.ts": `
      import { Hono } from "hono";
      import { cors } from "hono/cors";
      import { getPath } from "hono/utils/url";
      import { es } from "es";
      import cjs from "cjs";
      export default new Hono().get("/", (c) => c.text([es, cjs.cjs, typeof cors, typeof getPath].join(" ")));`,
  }, async (root) => {
    assertEquals(
      await answerOf(`${root}/app/app.ts`, root),
      "es cjs function function",
    );
  });
});

Deno.test("modules of a package.json alone, or of deno.json that says so, name each other without extensions", async () => {
  const files = {
    "main.ts":
      'import { Hono } from "hono";\nimport { Page } from "./pages/page";\nimport pages from "./pages";\n' +
      'export default new Hono().get("/", (c) => c.html(Page(pages)));',
    "pages/index.ts": 'export default "an index";',
    "pages/page.tsx": "export const Page = (text: string) => <p>{text}</p>;",
  };
  const projects: [project: Record<string, string>, works: boolean][] = [
    [{ "package.json": '{ "type": "module" }' }, true],
    [{ "deno.json": '{ "unstable": ["sloppy-imports"] }' }, true],
    [{ "deno.json": "{}", "package.json": "{}" }, false], // as `deno run` would
  ];
  for (const [project, works] of projects) {
    await withFiles({ ...files, ...project }, async (root) => {
      const answer = await answerOf(`${root}/main.ts`, root);
      if (works) assertEquals(answer, "<p>an index</p>");
      else assertStringIncludes(answer, "Module not found");
    });
  }
});

Deno.test("a configuration that is no JSON is named", async () => {
  await withFiles({ "deno.json": "{ nonsense" }, async (root) => {
    const message = await projectOf(`${root}/app.ts`).then(
      () => "",
      (error) => error.message,
    );
    assertStringIncludes(message, `${root}/deno.json`);
  });
});

// What the module answers to GET /, when another program imports it under its flags.
async function answerOf(path: string, root: string): Promise<string> {
  const temp = `${root}/temp`;
  await Deno.mkdir(temp);
  await Deno.writeTextFile(
    `${root}/importer.ts`,
    `import { Hono } from "hono";
    const { default: app } = await import(Deno.args[0]);
    if (!(app instanceof Hono)) throw new Error("two copies of hono");
    console.log(await (await app.request("/")).text());`,
  );
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      ...await moduleFlags(path, temp),
      "--allow-read",
      "--allow-env",
      `${root}/importer.ts`,
      path,
    ],
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return decoder.decode(stdout).trim() || decoder.decode(stderr);
}

async function withFiles(
  files: Record<string, string>,
  work: (root: string) => Promise<void>,
) {
  const root = await Deno.realPath(
    await Deno.makeTempDir({ prefix: "sluice-test-" }),
  );
  try {
    for (const [path, text] of Object.entries(files)) {
      await Deno.mkdir(`${root}/${path}`.replace(/\/[^/]*$/, ""), {
        recursive: true,
      });
      await Deno.writeTextFile(`${root}/${path}`, text);
    }
    await work(root);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}
