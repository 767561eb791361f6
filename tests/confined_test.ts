/**
 * The real command where less is allowed: io_uring denied whole or in part, little locked memory, few descriptors, no home, closed standard
 * streams, no /sys. It starts with what there is and says so, or says what is missing and what to do.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import {
  type CommandOptions,
  folderOf,
  ioUnderTest,
  type RawClient,
  ROOT,
  runCommand,
  type RunningCommand,
  runProgram,
  startCommand,
} from "./support.ts";

const CONFINED = `${ROOT}/native/build/release/confined`;
const ADDRESS = ["--http", "127.0.0.1:0"];
const ROOT_USER = Deno.uid() === 0;

function confined(
  rules: string[],
  options: CommandOptions = {},
): CommandOptions {
  return {
    ...options,
    through: [CONFINED, ...rules, "--"],
    env: { SLUICE_IO: "", ...options.env },
  };
}

async function get(client: RawClient, path: string): Promise<string> {
  const { status, text } = await client.ask(
    `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`,
  );
  return `${status} ${text.trimEnd()}`;
}

async function serves(command: RunningCommand): Promise<void> {
  for (let i = 0; i < 4; i++) {
    using client = await command.connect();
    expect(await get(client, "/hello/Ada")).toBe("200 Hello, Ada!");
    expect(await get(client, "/")).toMatch(/^200 /);
  }
}

async function servesAndEnds(command: RunningCommand): Promise<string> {
  await serves(command);
  const { code, err } = await command.stop();
  expect(code).toBe(0);
  return err;
}

async function works(rules: string[], program: string[]): Promise<boolean> {
  return (await runProgram([CONFINED, ...rules, "--", ...program])).code === 0;
}

const uring = await (async () => {
  await using command = await startCommand([], confined([]));
  const { err } = await command.stop();
  return /^sluice: io: uring \(multishot receive with a buffer ring works\)$/m
    .test(err);
})();

// The suite runs once per backend; what chooses its own is not repeated.
const describeOnce = ioUnderTest() === "epoll" ? () => {} : describe;
// What this machine, or this user on it, cannot show is skipped.
const itIf = (holds: boolean) => holds ? it : it.skip;

describeOnce("io_uring denied by a filter", () => {
  const rows: [errno: string, remedy: string][] = [
    ["EPERM", "seccomp or kernel.io_uring_disabled=2"],
    [
      "ENOSYS",
      "no io_uring in this kernel or sandbox; Linux 6.1 or later is needed",
    ],
    ["EOPNOTSUPP", "this kernel or sandbox does not support it"],
  ];
  for (const [errno, remedy] of rows) {
    const reason = `io_uring_setup: ${errno}; ${remedy}`;
    it(`with ${errno} means epoll, and why`, async () => {
      await using command = await startCommand(
        [],
        confined([`deny=setup:${errno}`]),
      );
      expect(await servesAndEnds(command)).toContain(
        `sluice: io: epoll (${reason})\n`,
      );
    });

    it(`with ${errno} is an error for --io uring, with the next step`, async () => {
      const { code, out, err } = await runCommand(
        [...ADDRESS, "--io", "uring"],
        confined([`deny=setup:${errno}`]),
      );
      expect([code, out]).toEqual([1, ""]);
      expect(err).toContain(
        `sluice: error: io: io_uring was asked for but does not work here: ${reason}\n` +
          "Let the gateway choose: deno task start gateway --http 127.0.0.1:0 --io auto\n",
      );
    });
  }

  const parts: [what: string, rule: string, said: string][] = [
    [
      "entering",
      "deny=enter:EPERM",
      "epoll (multishot receive: EPERM; seccomp or kernel.io_uring_disabled=2)",
    ],
    [
      "buffer rings",
      "deny=register.22:EINVAL",
      "epoll (io_uring_register(PBUF_RING): EINVAL; Linux 6.1 or later is needed)",
    ],
    [
      "a registered ring",
      "deny=register.20:EINVAL",
      "uring (multishot receive with a buffer ring works; without a registered ring)",
    ],
    [
      "restrictions",
      "deny=register.11:EINVAL",
      "uring (multishot receive with a buffer ring works; operations are not restricted: EINVAL)",
    ],
  ];
  for (const [what, rule, said] of parts) {
    itIf(uring)(`in part: ${what}`, async () => {
      await using command = await startCommand([], confined([rule]));
      expect(await servesAndEnds(command)).toContain(`sluice: io: ${said}\n`);
    });
  }
});

// A user without rights needs what root's folders hold: the packages and the library, where all may read.
interface Outside extends AsyncDisposable {
  options: CommandOptions;
  rules: string[];
}

async function outsideOfHome(): Promise<Outside> {
  const folder = await folderOf({ "work/empty": "" });
  const { denoDir } = JSON.parse(
    (await runProgram([Deno.execPath(), "info", "--json"])).out,
  );
  const library = Deno.env.get("SLUICE_LIBRARY") ||
    `${ROOT}/ffi/target/release/libsluice_ffi.so`;
  const steps = [
    ["mkdir", `${folder.path}/deno`],
    ["cp", "-r", `${denoDir}/npm`, `${folder.path}/deno/npm`],
    ["cp", library, `${folder.path}/library.so`],
    ["chmod", "-R", "a+rwX", folder.path],
  ];
  for (const step of steps) expect((await runProgram(step)).code).toBe(0);
  return {
    rules: ROOT_USER ? ["uid=65534"] : [],
    options: {
      folder: `${folder.path}/work`,
      env: {
        DENO_DIR: `${folder.path}/deno`,
        SLUICE_LIBRARY: `${folder.path}/library.so`,
      },
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const readable = !ROOT_USER ||
  await works(["uid=65534"], [
    "sh",
    "-c",
    `test -r ${ROOT}/mod.ts -a -x ${Deno.execPath()}`,
  ]);

const hides = await works(["hide=/sys"], ["true"]);

describeOnce("a user without rights, with a limit on locked memory", () => {
  let outside: Outside;
  beforeAll(async () => {
    outside = await outsideOfHome();
  });
  afterAll(() => outside[Symbol.asyncDispose]());

  for (const workers of ["1", "2"]) {
    itIf(readable)(
      `of 8 MiB: ${workers} of workers start, on io_uring if it fits`,
      async () => {
        await using command = await startCommand(
          ["--workers", workers],
          confined(["memlock=8388608", ...outside.rules], outside.options),
        );
        const err = await servesAndEnds(command);
        expect(err).toMatch(/^sluice: io: (uring|epoll) \(.+\)$/m);
        expect(err).toMatch(
          new RegExp(`^sluice: workers: ${workers} \\(asked for; `, "m"),
        );
        if (uring) expect(err).toMatch(/^sluice: io: uring /m);
      },
    );
  }

  itIf(readable)(
    "of 64 KiB: epoll, and what to raise to how much, where rings are charged",
    async () => {
      await using command = await startCommand(
        [],
        confined(["memlock=65536", ...outside.rules], outside.options),
      );
      // Kernels of 5.12 to 6.13 charge nothing for a ring.
      expect(await servesAndEnds(command)).toMatch(
        uring
          ? /^sluice: io: (epoll \(.*: ENOMEM; raise ulimit -l \(a ring needs \d+ KiB\)\)|uring .*)$/m
          : /^sluice: io: epoll /m,
      );
    },
  );

  itIf(readable)(
    "that fits one ring and no more: each worker that has none says so",
    async () => {
      await using command = await startCommand(
        ["--workers", "3"],
        confined([`memlock=${320 * 1024}`, ...outside.rules], outside.options),
      );
      const err = await servesAndEnds(command);
      for (const line of err.match(/^sluice: worker .*$/gm) ?? []) {
        expect(line).toMatch(
          /^sluice: worker \d runs on epoll: .*ENOMEM; raise ulimit -l \(a ring needs \d+ KiB\)$/,
        );
      }
    },
  );
});

describe("few descriptors", () => {
  for (const limit of [64, 256]) {
    it(`${limit}: as many connections as fit, the next is refused in order`, async () => {
      await using command = await startCommand(
        ["--workers", "1"],
        confined([`nofile=${limit}`]),
      );
      const most = Number(
        (await command.says(/each with at most (\d+) connections/))[1],
      );
      expect(most).toBeGreaterThanOrEqual(8);
      expect(most).toBeLessThan(limit);
      const clients: RawClient[] = [];
      try {
        for (let i = 0; i < most; i++) {
          clients.push(await command.connect());
          expect(await get(clients[i], "/hello/x")).toBe("200 Hello, x!");
        }
        using refused = await command.connect();
        expect(await refused.readAll().catch(() => "")).toBe("");
        for (const client of clients) {
          expect(await get(client, "/")).toMatch(/^200 /);
        }
      } finally {
        for (const client of clients) client.close();
      }
      expect((await command.stop()).code).toBe(0);
    });
  }

  it("48: too few, and how many it takes", async () => {
    const { code, err } = await runCommand(
      [...ADDRESS, "--workers", "1"],
      confined(["nofile=48"]),
    );
    expect(code).toBe(1);
    const [, least] =
      /^sluice: error: descriptors: this process may have 48 \(RLIMIT_NOFILE\); with 1 worker it needs at least (\d+): raise ulimit -n, or take fewer workers$/m
        .exec(err) ?? [];
    expect(Number(least)).toBeGreaterThan(48);
  });
});

describe("CPUs", () => {
  it("of the affinity mask are counted", async () => {
    const mask = (await Deno.readTextFile("/proc/self/status"))
      .match(/^Cpus_allowed_list:\s*(\d+)/m)![1];
    await using command = await startCommand([], {
      through: ["taskset", "-c", mask],
    });
    expect(await servesAndEnds(command)).toMatch(
      /^sluice: workers: 1 \(1 CPU(; cgroup quota [\d.]+)?\), each with at most \d+ connections; isolates: 1$/m,
    );
  });

  it("may be fewer than --workers, with a warning", async () => {
    await using command = await startCommand(["--workers", "33"]);
    expect(await servesAndEnds(command)).toMatch(
      /^sluice: workers: 33 \(asked for; .*\n(sluice: .*\n)*sluice: warning: 33 workers where there is room for \d+: they take time from each other$/m,
    );
  });
});

describe("surroundings that lack something", () => {
  const nowhere =
    /^sluice: certificate: a local one for localhost, in memory only \(.+\)$/m;
  const denoDir = async () =>
    JSON.parse((await runProgram([Deno.execPath(), "info", "--json"])).out)
      .denoDir as string;

  it("no HOME: the certificate stays in memory", async () => {
    const env = { HOME: "", XDG_STATE_HOME: "", DENO_DIR: await denoDir() };
    await using command = await startCommand(
      [...ADDRESS, "--https", "127.0.0.1:0"],
      { env },
    );
    expect(await servesAndEnds(command)).toMatch(nowhere);
  });

  it("a HOME that cannot be written", async () => {
    const env = {
      HOME: "/proc",
      XDG_STATE_HOME: "",
      DENO_DIR: await denoDir(),
    };
    await using command = await startCommand(
      [...ADDRESS, "--https", "127.0.0.1:0"],
      { env },
    );
    expect(await servesAndEnds(command)).toMatch(nowhere);
  });

  for (const rule of ["no=stdin", "no=stdout", "no=reader"]) {
    it(`${rule}: it serves, and its log harms nobody`, async () => {
      await using command = await startCommand(
        ["--log", "text"],
        confined([rule]),
      );
      const { code, out } = await (async () => {
        await serves(command);
        return await command.stop();
      })();
      expect(code).toBe(0);
      expect(out.split("\n").length - 1).toBe(rule === "no=stdin" ? 8 : 0);
    });
  }

  itIf(hides)("no /sys, and so no cgroup", async () => {
    await using command = await startCommand([], confined(["hide=/sys"]));
    expect(await servesAndEnds(command)).toMatch(
      /^sluice: workers: \d+ \(\d+ CPUs?\), each/m,
    );
  });
});
