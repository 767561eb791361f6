import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { type OptionProblem, OptionsError } from "../errors.ts";
import {
  checkPluginOptions,
  definePlugin,
  definitionOf,
  type OptionsSchema,
  type SchemaResult,
} from "./plugin.ts";

const setup = () => {};

function problemsOf(definition: object): string {
  try {
    definePlugin(definition as never);
  } catch (error) {
    if (error instanceof OptionsError) return error.message;
    throw error;
  }
  return "";
}

describe("definePlugin()", () => {
  it("makes a frozen value that knows its name and version", () => {
    const plugin = definePlugin({ name: "@x/acl", version: "1.0.0", setup });
    expect([plugin.name, plugin.version]).toEqual(["@x/acl", "1.0.0"]);
    expect(Object.isFrozen(plugin)).toBe(true);
    const { onError, timeoutMs } = definitionOf(plugin)!;
    expect([onError, timeoutMs]).toEqual(["closed", 5000]);
    expect(definitionOf({ name: "acl" })).toBe(undefined);
  });

  const good = { name: "acl", version: "1.0.0", setup };
  const table: [change: object, says: string][] = [
    [{ name: "A b" }, "definePlugin() name: must be like a package's"],
    [{ version: "one" }, "definePlugin() version: must be like a package's"],
    [{ setup: 1 }, "definePlugin() setup: must be a function (got 1)"],
    [{ options: {} }, "definePlugin() options: must be a function or a"],
    [{ onError: "maybe" }, 'must be "open" or "closed" (got "maybe")'],
    [{ timeoutMs: 0 }, "must be an integer from 1 to 3600000 (got 0)"],
    [
      { stup: 1 },
      "definePlugin() stup: is not a part of a plugin; known: name",
    ],
  ];
  for (const [change, says] of table) {
    it(`refuses ${JSON.stringify(change)}`, () => {
      expect(problemsOf({ ...good, ...change })).toContain(says);
    });
  }
});

function check(options: unknown, given: unknown): [unknown, string] {
  const problems: OptionProblem[] = [];
  const plugin = definePlugin(
    { name: "acl", version: "1.0.0", setup, options } as never,
  );
  const value = checkPluginOptions(
    definitionOf(plugin)!,
    given,
    "at",
    problems,
  );
  return [value, problems.length > 0 ? new OptionsError(problems).message : ""];
}

describe("checkPluginOptions()", () => {
  it("takes what the check makes of the options", () => {
    const [value] = check(
      (given: { n?: number }) => ({ n: given.n ?? 7 }),
      undefined,
    );
    expect(value).toEqual({ n: 7 });
  });

  it("puts the plugin's path before that of each problem", () => {
    const [, text] = check(
      (
        given: { n: number; list: string[] },
        problem: (...args: unknown[]) => void,
      ) => {
        problem("n", given.n, "must be positive");
        problem("[0]", given.list, "must be text");
        problem("", given, "is odd");
      },
      { n: -1, list: [] },
    );
    expect(text).toBe(
      "at.n: must be positive (got -1)\nat[0]: must be text (got [])\n" +
        'at: is odd (got {"n":-1,"list":[]})',
    );
  });

  it("reports a check that throws, and options where none are taken", () => {
    const throws = () => {
      throw new Error("boom");
    };
    expect(check(throws, 1)[1]).toBe(
      "at: plugin acl cannot check it: Error: boom (got 1)",
    );
    expect(check(undefined, 1)[1]).toBe(
      "at: plugin acl takes no options (got 1)",
    );
    expect(check(undefined, undefined)[1]).toBe("");
  });

  it("takes a Standard Schema", () => {
    const schema = (
      result: SchemaResult<unknown> | Promise<unknown>,
    ): OptionsSchema<unknown> => ({
      "~standard": { validate: () => result },
    });
    expect(check(schema({ value: { n: 1 } }), {})[0]).toEqual({ n: 1 });
    const issues = [{ message: "Expected text", path: ["list", { key: 0 }] }];
    expect(check(schema({ issues }), { list: [5] })[1]).toBe(
      "at.list[0]: Expected text (got 5)",
    );
    expect(check(schema(Promise.resolve()), {})[1]).toContain("asynchronous");
  });
});
