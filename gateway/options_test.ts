import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import { OptionsError } from "./errors.ts";
import { checkOptions, fillPool, type GatewayOptions } from "./options.ts";

// deno-lint-ignore no-explicit-any
type Wrong = any;

function problems(options: Wrong): string[] {
  try {
    checkOptions(options);
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error;
    return error.problems.map(({ path, reason }) => `${path}: ${reason}`);
  }
  return [];
}

describe("checkOptions()", () => {
  it("fills in every default", () => {
    const checked = checkOptions({});
    expect(checked.listeners).toEqual([{ address: "127.0.0.1:8080" }]);
    expect(checked).toMatchObject({
      isolates: 1,
      io: "auto",
      log: "off",
      notFound: "typescript",
      paths: "strict",
      underscoreHeaders: "drop",
    });
    expect(checked.limits).toMatchObject({ exchanges: 1024, drainMs: 30_000 });
    expect(Object.values(checked.limits).includes(undefined as Wrong)).toBe(
      false,
    );
  });

  it("has the edge's defaults", () => {
    expect(checkOptions({}).limits).toMatchObject({
      headBytesMax: 16 * 1024,
      lineBytesMax: 8 * 1024,
      fieldsMax: 100,
      headTimeoutMs: 10_000,
      bodyTimeoutMs: 30_000,
      bodyBytesPerSecondMin: 240,
      bodyGraceMs: 5000,
      bodyBytesMax: 10 * 1024 * 1024,
      writeStallMs: 60_000,
      writeBytesPerSecondMin: 240,
      idleTimeoutMs: 65_000,
      requestsPerConnMax: 10_000,
      connAgeMs: 3_600_000,
      pipelineRequestsMax: 64,
      pipelineBytesMax: 16 * 1024,
      connsPerAddressMax: 0,
      backlog: 4096,
      lingerMs: 2000,
      lingerBytesMax: 64 * 1024,
      handlerTimeoutMs: 30_000,
      drainMs: 30_000,
    });
    expect(fillPool({})).toMatchObject({
      connectTimeoutMs: 3000,
      headTimeoutMs: 30_000,
      idleTimeoutMs: 60_000,
      tunnelIdleTimeoutMs: 600_000,
      idleMax: 64,
      connsMax: 1024,
    });
  });

  const wrong: [options: Wrong, problem: RegExp][] = [
    [{ workers: 0 }, /^workers: must be an integer from 1 to 64/],
    [{ workers: 1.5 }, /^workers: /],
    [{ isolates: 17 }, /^isolates: /],
    [{ io: "epol" }, /^io: .*did you mean "epoll"/],
    [{ listner: [] }, /^listner: is not an option; did you mean "listeners"/],
    [{ zzz: 1 }, /^zzz: is not an option; known keys: /],
    [{ listeners: [] }, /^listeners: /],
    [{ listeners: [{ address: "8080" }] }, /^listeners\[0\].address: /],
    [
      { listeners: [{ address: "example.org:80" }] },
      /only localhost may be a name/,
    ],
    [{ listeners: [{ address: "1.2.3.4:70000" }] }, /port from 0 to 65535/],
    [{ listeners: [{ address: "1.2.3.444:7" }] }, /IPv4/],
    [
      { listeners: [{ address: "1.2.3.4:7", tls: {} }] },
      /^listeners\[0\]\.tls\.certificates: /,
    ],
    [
      { listeners: [{ address: "1.2.3.4:7", tls: { certificates: [{}] } }] },
      /certificates\[0\]\.cert: /,
    ],
    [{ limits: { exchanges: 100 } }, /^limits.exchanges: must be a power of/],
    [{ limits: { headBytesMx: 1 } }, /did you mean "headBytesMax"/],
    [{ limits: { lowWatermarkBytes: 65536 } }, /must be below/],
    [{ upstreams: { "a b": { url: "http://h" } } }, /^upstreams.a b: /],
    [{ upstreams: { a: { url: "https://h" } } }, /https upstreams/],
    [{ upstreams: { a: { url: "http://h/path" } } }, /without a path/],
    [{ upstreams: { a: {} } }, /^upstreams.a.url: /],
    [
      { upstreams: { a: { url: "http://h", idleMax: 9, connsMax: 3 } } },
      /must not exceed connsMax/,
    ],
    [[], /must be an object/],
  ];
  for (const [options, problem] of wrong) {
    it(`refuses ${JSON.stringify(options)}`, () => {
      expect(problems(options).join("\n")).toMatch(problem);
    });
  }

  it("reports every problem with its value", () => {
    const options = { workers: 0, io: "x", limits: { backlog: -1 } } as Wrong;
    expect(problems(options).length).toBe(3);
    expect(() => checkOptions(options as GatewayOptions)).toThrow("(got -1)");
  });

  it("takes IPv6 and port 0", () => {
    expect(problems({ listeners: [{ address: "[::1]:0" }] })).toEqual([]);
  });
});
