/**
 * What a request may cost, by counts that do not depend on time: allocations of a worker, its system calls, what stays of JavaScript's heap.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  certificate,
  ioUnderTest,
  RawClient,
  rawClient,
  ROOT,
  runProgram,
  until,
  within,
} from "./support.ts";
import { type ChildGateway, runClient, startChild } from "./child.ts";

const SOAK = Boolean(Deno.env.get("SLUICE_SOAK"));
const KINDS = ["/native", "/ts/1", "/up/native"];
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

interface Pair extends AsyncDisposable {
  gateway: ChildGateway;
}

/** A gateway whose upstream is another one. */
async function startPair(
  options: Parameters<typeof startChild>[0] = {},
  env: Record<string, string> = {},
): Promise<Pair> {
  const upstream = await startChild();
  const url = `http://127.0.0.1:${upstream.port}`;
  const gateway = await startChild(options, { upstream: url, env });
  const end = async () => {
    await gateway[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
  };
  return { gateway, [Symbol.asyncDispose]: end };
}

// ---- Allocations. The layout of native/tests/malloc_guard.c.

const CALLS = ["malloc", "calloc", "realloc", "aligned", "mmap", "free"];
const STACKS_AT = 8 * 8;
const STACK_WORDS = 14;
const GUARD = `${ROOT}/native/build/release/libmalloc_guard.so`;
const LIBRARY = `${ROOT}/ffi/target/release/libsluice_ffi.so`;

interface Stack {
  count: number;
  call: string;
  frames: { name: string; file: string }[];
}

const show = ({ count, call, frames }: Stack) =>
  `${count} x ${call}: ${frames.map(({ name }) => name).join(" < ")}`;

class MallocGuard implements AsyncDisposable {
  private constructor(readonly file: string) {}

  static async create(): Promise<MallocGuard> {
    await Deno.stat(GUARD).catch(() => {
      throw new Error(`${GUARD} is missing: \`deno task test\` builds it`);
    });
    return new MallocGuard(
      await Deno.makeTempFile({ prefix: "sluice-guard-" }),
    );
  }

  get env(): Record<string, string> {
    return { LD_PRELOAD: GUARD, SLUICE_MALLOC_GUARD: this.file };
  }

  async #view(): Promise<DataView> {
    return new DataView((await Deno.readFile(this.file)).buffer);
  }

  /** Calls so far, by function. */
  async calls(): Promise<Record<string, number>> {
    const view = await this.#view();
    return Object.fromEntries(
      CALLS.map((name, i) => [name, Number(view.getBigUint64(i * 8, true))]),
    );
  }

  /** Who asked at least so often, innermost first. */
  async stacks(leastCount: number): Promise<Stack[]> {
    const view = await this.#view();
    const word = (at: number) => Number(view.getBigUint64(at, true));
    const found = [];
    for (
      let at = STACKS_AT;
      at < view.byteLength && word(at) > 0;
      at += STACK_WORDS * 8
    ) {
      const words = Array.from(
        { length: STACK_WORDS },
        (_, i) => word(at + i * 8),
      );
      const offsets = words.slice(2).filter((offset) => offset > 0);
      if (words[0] >= leastCount) found.push({ words, offsets });
    }
    // The call, not what follows it.
    const asked = found.flatMap(({ offsets }) =>
      offsets.map((offset) => (offset - 1).toString(16))
    );
    const { out } = await runProgram(["addr2line", "-fe", LIBRARY, ...asked]);
    const lines = out.trim().split("\n");
    return found.map(({ words, offsets }) => ({
      count: words[0],
      call: CALLS[words[1]],
      frames: offsets.map(() => ({
        name: lines.shift()!,
        file: lines.shift()!.replace(/:.*$/, ""),
      })),
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.file);
  }
}

// Compilers name a source by different ways to it, so it is its name that tells; BoringSSL's end in .cc.
const SOURCES = new Set(
  [...Deno.readDirSync(`${ROOT}/native/src`)].map(({ name }) => name)
    .filter((name) => name.endsWith(".c")),
);

function isOurs({ file }: { file: string }): boolean {
  return SOURCES.has(file.replace(/^.*\//, ""));
}

function difference(
  before: Record<string, number>,
  after: Record<string, number>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after).map(([name, count]) => [name, count - before[name]]),
  );
}

describe("a worker's allocations", () => {
  const connections = 50;
  // 33,350 of each kind make 100,000.
  const turns = 667;
  const none = Object.fromEntries(CALLS.map((name) => [name, 0]));

  it(
    `are none in ${
      connections * turns * KINDS.length
    } plaintext requests: native, TypeScript, proxied`,
    async () => {
      await using guard = await MallocGuard.create();
      await using pair = await startPair({}, guard.env);
      const { port } = pair.gateway;
      const start = await guard.calls();
      assert(start.malloc + start.calloc > 0, "the shim counts nothing");
      for (const path of KINDS) {
        await runClient("crowd", ["lockstep", port, connections, path, 10]);
      }
      const warm = await guard.calls();
      for (const path of KINDS) {
        const load = ["lockstep", port, connections, path, turns];
        const [result] = await runClient("crowd", load);
        assertEquals(result, { requests: connections * turns, errors: 0 });
      }
      const spent = difference(warm, await guard.calls());
      if (Object.values(spent).some((count) => count > 0)) {
        console.log((await guard.stacks(1)).map(show).join("\n"));
      }
      assertEquals(spent, none);
    },
  );

  it("with TLS are at most 4 per request and answer, all of them in libssl", async () => {
    const tls = await certificate();
    await using guard = await MallocGuard.create();
    const listeners = [{
      address: "127.0.0.1:0",
      tls: { certificates: [tls] },
    }];
    await using pair = await startPair({ listeners }, guard.env);
    const { port } = pair.gateway;
    using client = new RawClient(
      await within<Deno.Conn>(
        Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [tls.cert] }),
        "a connection",
      ),
    );
    for (const path of KINDS) await client.ask(get(path));
    const warm = await guard.calls();
    const asked = 300;
    for (let i = 0; i < asked; i++) {
      await client.ask(get(KINDS[i % KINDS.length]));
    }
    const { free, ...spent } = difference(warm, await guard.calls());
    const allocations = Object.values(spent).reduce((sum, n) => sum + n, 0);
    console.log(
      `${allocations / asked} allocations and ${
        free / asked
      } frees per request and answer over TLS`,
    );
    assert(allocations <= 4 * asked, `${allocations} in ${asked} requests`);
    const perRequest = await guard.stacks(asked / 4);
    assert(allocations === 0 || perRequest.length > 0);
    for (const stack of perRequest) {
      console.log(show(stack));
      const ours = stack.frames.findIndex(isOurs);
      assert(stack.frames[ours]?.file.endsWith("src/tls.c"), show(stack));
      const theirs = stack.frames.slice(0, ours).map(({ name }) => name);
      assert(theirs.length > 0, "it is ours");
      for (const name of theirs) assert(/bssl|^SSL_|^OPENSSL_/.test(name));
    }
  });
});

// ---- System calls

// What a worker's thread has asked the kernel for: its loop, and waking the isolate.
async function syscalls(gateway: ChildGateway): Promise<number> {
  const stats = await gateway.stats();
  return stats.io_enters + stats.isolate_wakes;
}

describe("a worker's system calls", () => {
  // The gateway is stopped while the requests arrive, so how they are batched is not left to the scheduler: all are there when it goes on.
  it("per 1,000 requests of 50 connections at once are bounded", async () => {
    const connections = 50, turns = 20;
    // A turn of 50 native requests: epoll 50 recv, 50 sendmsg and its waits; io_uring a few enters.
    const bounds: Record<string, Record<string, number>> = {
      epoll: { "/native": 2150, "/ts/1": 2300, "/up/native": 4500 },
      uring: { "/native": 120, "/ts/1": 250, "/up/native": 400 },
    };
    await using pair = await startPair();
    const { gateway } = pair;
    const io = ioUnderTest() === "epoll" ? "epoll" : "uring";
    for (const path of KINDS) {
      const clients = await Promise.all(
        Array.from({ length: connections }, () => rawClient(gateway.port)),
      );
      const turn = async () => {
        gateway.kill("SIGSTOP");
        await until("it is stopped", async () => {
          const stat = await Deno.readTextFile(`/proc/${gateway.pid}/stat`);
          return stat.slice(stat.lastIndexOf(")")).startsWith(") T");
        });
        for (const client of clients) await client.send(get(path));
        gateway.kill("SIGCONT");
        for (const client of clients) {
          assertEquals((await client.readAnswer()).status, 200);
        }
      };
      await turn();
      await turn();
      const before = await syscalls(gateway);
      for (let i = 0; i < turns; i++) await turn();
      const spent = await syscalls(gateway) - before;
      const per1000 = spent / (connections * turns) * 1000;
      console.log(`${io} ${path}: ${per1000} system calls per 1,000 requests`);
      assert(per1000 <= bounds[io][path], `${path}: ${per1000}`);
      for (const client of clients) client.close();
    }
  });
});

// ---- JavaScript's heap

describe("JavaScript's heap", () => {
  const requests = SOAK ? 100_000 : 20_000;
  const growthMax = 256 * 1024; // 13 bytes for each of 20,000

  it(`does not grow by ${requests} requests of every kind, and gives all slots back`, async () => {
    await using gateway = await startChild();
    const body = "b".repeat(3000);
    const post = (path: string) =>
      `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const kinds = [
      get("/ts/param"),
      get("/fields?q=1"),
      post("/text"),
      post("/bytes"),
      post("/piped"),
      get("/streamed"),
      get("/later"),
      get("/none"),
    ];
    const batch = kinds.join("");
    // Each visit asks every kind twice; every fourth leaves in the middle.
    const visit = async (i: number) => {
      using client = await rawClient(gateway.port);
      await client.send(batch);
      for (let k = 0; k < kinds.length; k++) {
        assertEquals((await client.readAnswer()).status, k === 7 ? 404 : 200);
      }
      await client.send(batch);
      if (i % 4 === 0) return;
      for (let k = 0; k < kinds.length; k++) await client.readAnswer();
    };
    const run = async (visits: number) => {
      let next = 0;
      const loop = async () => {
        while (next < visits) await visit(next++);
      };
      await Promise.all(Array.from({ length: 16 }, loop));
      await until("all has ended", async () => {
        const stats = await gateway.stats();
        return stats.conns_live + stats.requests_live + stats.exchanges_live ===
          0;
      });
    };
    const visits = requests / (2 * kinds.length);
    await run(visits / 2);
    const before = await gateway.heapUsed();
    await run(visits);
    const growth = await gateway.heapUsed() - before;
    console.log(
      `the heap is ${(before / 1024).toFixed(0)} KiB and grew by ${
        (growth / 1024).toFixed(1)
      } KiB in ${requests} requests`,
    );
    assert(growth < growthMax, `${growth} bytes`);
    const stats = await gateway.stats();
    assertEquals([stats.bad_verdicts, stats.io_bufs_lent], [0, 0]);
  });
});
