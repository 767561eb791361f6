// Upstreams and clients that fail, at every point: each failure has its answer, nothing broken looks whole, and nothing is left behind.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import net from "node:net";
import { Hono } from "hono";
import { proxy, type ProxyOptions, respond } from "sluice";
import {
  folderOf,
  type RunningGateway,
  startCommand,
  startGateway,
  startUpstream,
  until,
  type UpstreamConn,
  within,
} from "./support.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SHORT: ProxyOptions = { headTimeoutMs: 300, idleTimeoutMs: 300 };

/** A gateway in front of `url`. */
function startFor(
  url: string,
  options: ProxyOptions = {},
): Promise<RunningGateway> {
  const app = new Hono();
  app.get("/native", respond("native"));
  app.all("/*", proxy(url, options));
  return startGateway(app);
}

/** Nothing is in flight, lent or open any more. */
async function baseline({ gateway }: RunningGateway): Promise<void> {
  const live = () => {
    const { conns_live, requests_live, io_bufs_lent, exchanges_live } = gateway
      .stats();
    return { conns_live, requests_live, io_bufs_lent, exchanges_live };
  };
  await until(
    "nothing is lent",
    () => Object.values(live()).every((count) => count === 0),
  ).catch(
    (error) => {
      throw new Error(`${error.message}: ${JSON.stringify(live())}`);
    },
  );
}

type Script = (conn: UpstreamConn) => Promise<void>;

/** A script that reads a request, sends `text`, and ends as it says. */
function says(text: string, end: "close" | "reset" | "stay" = "close"): Script {
  return async (conn) => {
    await conn.readRequest();
    if (text) await conn.send(text);
    if (end === "reset") conn.reset();
    if (end === "stay") await conn.readHead();
  };
}

const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const LENGTH = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";

// No head of an answer has left yet: the client gets an answer of ours, with this status and reason.
const answered: [string, Script, number, string][] = [
  ["closes at once", () => Promise.resolve(), 502, "upstream_reset"],
  ["closes before its head", says(""), 502, "upstream_reset"],
  ["resets before its head", says("", "reset"), 502, "upstream_reset"],
  [
    "closes inside its head",
    says("HTTP/1.1 200 OK\r\nConte"),
    502,
    "upstream_reset",
  ],
  [
    "resets inside its head",
    says("HTTP/1.1 200 OK\r\nConte", "reset"),
    502,
    "upstream_reset",
  ],
  ["is silent", says("", "stay"), 504, "upstream_timeout"],
  [
    "is silent inside its head",
    says("HTTP/1.1 200 OK\r\n", "stay"),
    504,
    "upstream_timeout",
  ],
  [
    "closes after 103",
    says("HTTP/1.1 103 Early Hints\r\n\r\n"),
    502,
    "upstream_reset",
  ],
  [
    "speaks no HTTP",
    says("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    502,
    "upstream_bad_answer",
  ],
  [
    "speaks HTTP/2",
    says("HTTP/2.0 200 OK\r\n\r\n"),
    502,
    "upstream_bad_answer",
  ],
  [
    "gives a length twice",
    says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    502,
    "upstream_bad_answer",
  ],
  [
    "gives a length that is none",
    says("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    502,
    "upstream_bad_answer",
  ],
  [
    "gives length and chunks",
    says(
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    502,
    "upstream_bad_answer",
  ],
  [
    "gives an unknown coding",
    says("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    502,
    "upstream_bad_answer",
  ],
  [
    "gives a field without colon",
    says("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
    502,
    "upstream_bad_answer",
  ],
  [
    "folds a field",
    says("HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
    502,
    "upstream_bad_answer",
  ],
  [
    "gives a head of 40 KB",
    says(`HTTP/1.1 200 OK\r\nA: ${"a".repeat(40_000)}\r\n\r\n`),
    502,
    "upstream_bad_answer",
  ],
  [
    "switches protocols",
    says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    502,
    "upstream_bad_answer",
  ],
];

// The head has left: the transfer must break, and what came before must have come.
const broken: [string, Script, string][] = [
  ["closes behind its head", says(LENGTH), ""],
  ["resets behind its head", says(LENGTH, "reset"), ""],
  ["closes inside a body with a length", says(LENGTH + "hello"), "hello"],
  [
    "resets inside a body with a length",
    says(LENGTH + "hello", "reset"),
    "hello",
  ],
  [
    "stops inside a body with a length",
    says(LENGTH + "hello", "stay"),
    "hello",
  ],
  ["closes behind the head of chunks", says(CHUNKED), ""],
  ["closes between chunks", says(CHUNKED + "5\r\nhello\r\n"), "hello"],
  ["closes inside a chunk", says(CHUNKED + "ff\r\nhello"), "hello"],
  [
    "closes inside the last chunk",
    says(CHUNKED + "5\r\nhello\r\n0\r\n"),
    "hello",
  ],
  ["resets between chunks", says(CHUNKED + "5\r\nhello\r\n", "reset"), "hello"],
  ["stops between chunks", says(CHUNKED + "5\r\nhello\r\n", "stay"), "hello"],
  [
    "gives a bad chunk size",
    says(CHUNKED + "5\r\nhello\r\nxyz\r\n", "stay"),
    "hello",
  ],
  [
    "gives a chunk that is longer than it says",
    says(CHUNKED + "5\r\nhello!\r\n", "stay"),
    "hello",
  ],
  [
    "resets inside a body that ends with the connection",
    says("HTTP/1.1 200 OK\r\n\r\nhello", "reset"),
    "hello",
  ],
];

describe("an upstream that fails before its answer", () => {
  for (const [what, script, status, label] of answered) {
    it(`${what}: ${status}, ${label}, and the connection goes on`, async () => {
      await using upstream = await startUpstream((conn) => script(conn));
      await using running = await startFor(upstream.url, SHORT);
      {
        using client = await running.connect();
        const answer = await client.ask(GET);
        assertEquals([answer.status, answer.head.get("connection")], [
          status,
          undefined,
        ]);
        assertMatch(answer.text, /^The upstream.*\.\n$/);
        assertEquals(
          (await client.ask("GET /native HTTP/1.1\r\nHost: a\r\n\r\n")).text,
          "native",
        );
        assertEquals(running.gateway.stats().byStatus[label], 1);
      }
      await baseline(running);
      assertEquals([upstream.conns, running.gateway.stats().upstream_idle], [
        1,
        0,
      ]);
    });
  }

  it("refuses: 502 with the reason", async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    listener.close();
    await using running = await startFor(
      `http://127.0.0.1:${listener.addr.port}`,
    );
    using client = await running.connect();
    const answer = await client.ask(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
    );
    assertEquals([answer.status, answer.text], [
      502,
      "The upstream refused the connection.\n",
    ]);
    assertEquals(
      (await client.ask("GET /native HTTP/1.1\r\nHost: a\r\n\r\n")).text,
      "native",
    );
  });

  it("says nothing to Expect: 100-continue: 504, although the client waits as well", async () => {
    await using upstream = await startUpstream(async (conn) => {
      await conn.readHead();
      await conn.readHead();
    });
    await using running = await startFor(upstream.url, SHORT);
    using client = await running.connect();
    const answer = await client.ask(
      "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
    );
    assertEquals([answer.status, answer.head.get("connection")], [
      504,
      "close",
    ]);
  });
});

describe("an upstream that fails inside its answer", () => {
  for (const [what, script, before] of broken) {
    it(`${what}: the transfer breaks`, async () => {
      await using upstream = await startUpstream((conn) => script(conn));
      await using running = await startFor(upstream.url, SHORT);
      using client = await running.connect();
      await client.send(GET);
      let text = "", end: unknown = "a whole answer";
      try {
        for (
          let part = await client.read();
          part !== null;
          part = await client.read()
        ) {
          text += new TextDecoder().decode(part);
        }
      } catch (error) {
        end = error;
      }
      assert(
        end instanceof Deno.errors.ConnectionReset,
        `it ended with ${end}: ${text}`,
      );
      // A reset may overtake bytes that were not read yet; what did come is a beginning.
      const body = text.replace(/^[^]*?\r\n\r\n/, "").replace(
        /^5\r\n|\r\n$/g,
        "",
      );
      assert(
        before.startsWith(body) || body === before,
        `${JSON.stringify(text)}`,
      );
      assert(!text.endsWith("0\r\n\r\n"));
      client.close();
      await baseline(running);
      assertEquals(running.gateway.stats().upstream_idle, 0);
    });
  }
});

describe("pooled upstream connections", () => {
  it("with bytes behind an answer are not used again", async () => {
    await using upstream = await startUpstream(async (conn, index) => {
      while (await conn.readRequest()) {
        await conn.send(
          index === 0
            ? OK + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            : OK,
        );
      }
    });
    await using running = await startFor(upstream.url);
    using client = await running.connect();
    for (let i = 0; i < 3; i++) {
      assertEquals((await client.ask(GET)).text, "ok");
    }
    assertEquals(upstream.conns, 2);
  });

  it("that speak while nobody asked are dropped", async () => {
    const answered = Promise.withResolvers<void>();
    await using upstream = await startUpstream(async (conn, index) => {
      await conn.readRequest();
      await conn.send(OK);
      if (index > 0) return;
      await answered.promise;
      await conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
      await conn.readHead();
    });
    await using running = await startFor(upstream.url);
    using client = await running.connect();
    assertEquals((await client.ask(GET)).text, "ok");
    answered.resolve();
    await until(
      "it is dropped",
      () => running.gateway.stats().upstream_discards === 1,
    );
    assertEquals((await client.ask(GET)).text, "ok");
    assertEquals(upstream.conns, 2);
  });

  it("that the upstream has closed are not used again", async () => {
    await using upstream = await startUpstream(says(OK));
    await using running = await startFor(upstream.url);
    using client = await running.connect();
    for (let i = 1; i <= 3; i++) {
      assertEquals((await client.ask(GET)).text, "ok");
      await until(
        "the end is seen",
        () => running.gateway.stats().upstream_idle === 0,
      );
    }
    const stats = running.gateway.stats();
    assertEquals([
      upstream.conns,
      stats.upstream_retries,
      stats.upstream_failures,
    ], [3, 0, 0]);
  });

  // The first connection answers once and closes when it gets a second request, as if it had closed while that was under way.
  const stale =
    (fresh: (conn: UpstreamConn) => Promise<void>) =>
    async (conn: UpstreamConn, index: number) => {
      if (index > 0) return await fresh(conn);
      await conn.readRequest();
      await conn.send(OK);
      await conn.readHead();
    };
  for (const method of ["GET", "HEAD", "DELETE", "OPTIONS"]) {
    it(`that close under a ${method} make it go to a fresh one, once`, async () => {
      await using upstream = await startUpstream(
        stale(says(OK.replace(/ok$/, method === "HEAD" ? "" : "ok"))),
      );
      await using running = await startFor(upstream.url);
      using client = await running.connect();
      await client.ask(GET);
      const answer = await client.ask(
        `${method} /x HTTP/1.1\r\nHost: a\r\n\r\n`,
        { toHead: method === "HEAD" },
      );
      assertEquals(answer.status, 200);
      assertEquals([upstream.conns, running.gateway.stats().upstream_retries], [
        2,
        1,
      ]);
    });
  }

  it("that close under a GET twice make it a 502: there is no third attempt", async () => {
    await using upstream = await startUpstream(stale(says("")));
    await using running = await startFor(upstream.url);
    using client = await running.connect();
    await client.ask(GET);
    assertEquals((await client.ask(GET)).status, 502);
    assertEquals([upstream.conns, running.gateway.stats().upstream_retries], [
      2,
      1,
    ]);
  });

  for (const body of ["", "x"]) {
    it(`that close under a POST with ${body.length} bytes make it a 502: it may have been done`, async () => {
      await using upstream = await startUpstream(stale(says(OK)));
      await using running = await startFor(upstream.url);
      using client = await running.connect();
      await client.ask(GET);
      const answer = await client.ask(
        `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      assertEquals(answer.status, 502);
      const { upstream_retries } = running.gateway.stats();
      assertEquals([upstream.conns, upstream_retries], [1, 0]);
    });
  }
});

// ---- Processes that are killed

const KILLED = `
const part = new Uint8Array(1000).fill(120);
Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: ({ port }) => console.log(port) }, (request) => {
  const body = new ReadableStream({
    async pull(controller) {
      controller.enqueue(part);
      await new Promise((resolve) => setTimeout(resolve, 5));
    },
  });
  const headers = request.url.endsWith("/length") ? { "content-length": "100000000" } : undefined;
  return new Response(body, { headers });
});`;

describe("kill -9 of the upstream inside its answer", () => {
  for (
    const [path, codes] of [["/length", [18, 56]], ["/chunked", [
      18,
      56,
    ]]] as const
  ) {
    it(`${path}: curl sees a broken transfer (${codes.join(" or ")}), and the gateway lives`, async () => {
      await using folder = await folderOf({ "upstream.ts": KILLED });
      const child = new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--no-config",
          "--no-lock",
          "--allow-net",
          `${folder.path}/upstream.ts`,
        ],
        stdout: "piped",
        stderr: "null",
      }).spawn();
      const reader = child.stdout.pipeThrough(new TextDecoderStream())
        .getReader();
      const port = Number(
        (await within(reader.read(), "the upstream's port")).value,
      );
      await using command = await startCommand([
        "--upstream",
        `http://127.0.0.1:${port}`,
      ]);
      const curl = new Deno.Command("curl", {
        args: ["-sS", "-N", `${command.base}${path}`],
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const output = curl.stdout.getReader();
      let bytes = 0;
      while (bytes < 5000) {
        bytes += (await within(output.read(), "a part")).value?.length ?? 0;
      }
      child.kill("SIGKILL");
      for (;;) {
        const { done, value } = await within(output.read(), "curl's end");
        if (done) break;
        bytes += value.length;
      }
      const { code } = await within(curl.status, "curl");
      await curl.stderr.cancel();
      await child.status;
      await reader.cancel();
      assert(
        ([...codes] as number[]).includes(code),
        `curl: exit ${code} after ${bytes} bytes`,
      );
      {
        using client = await command.connect();
        assertEquals((await client.ask(GET)).status, 502);
      }
      assertEquals((await command.stop()).code, 0);
    });
  }
});

// ---- Clients that fail

async function socketTo(port: number): Promise<net.Socket> {
  const socket = net.connect({ host: "127.0.0.1", port });
  socket.on("error", () => {});
  await within(
    new Promise<void>((resolve) => socket.once("connect", resolve)),
    "a connection",
  );
  return socket;
}

describe("a client that resets", () => {
  const endless = async (conn: UpstreamConn) => {
    await conn.readHead();
    await conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (;;) await conn.send(`400000\r\n${"x".repeat(0x400000)}\r\n`);
  };
  const swallow = async (conn: UpstreamConn) => {
    while (await conn.read() !== null);
  };
  function appOf(url: string): Hono {
    const app = new Hono();
    app.get("/native", respond("n".repeat(1_000_000)));
    app.get("/ts", (c) => {
      const part = new Uint8Array(16384);
      return c.body(
        new ReadableStream({ pull: (controller) => controller.enqueue(part) }),
      );
    });
    app.put(
      "/ts",
      async (c) => c.text(String((await c.req.arrayBuffer()).byteLength)),
    );
    app.all("/*", proxy(url));
    return app;
  }
  const download = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
  const upload = (path: string) =>
    `PUT ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n` +
    "u".repeat(200_000);
  const cases: [string, string, Script][] = [
    ["inside a proxied download", download("/up"), endless],
    ["inside a TypeScript download", download("/ts"), endless],
    ["inside a native download", download("/native"), endless],
    ["inside a proxied upload", upload("/up"), swallow],
    ["inside a TypeScript upload", upload("/ts"), endless],
    ["inside a head", "GET /native HT", endless],
    [
      "while the upstream thinks",
      download("/up"),
      (conn) => conn.readHead().then(() => conn.readHead()).then(() => {}),
    ],
  ];
  for (const [what, request, script] of cases) {
    it(`${what} leaves nothing behind`, async () => {
      const upstream = await startUpstream((conn) =>
        script(conn).catch(() => {})
      );
      const running = await startGateway(appOf(upstream.url));
      for (let i = 0; i < 10; i++) {
        const socket = await socketTo(running.port);
        socket.pause();
        const seen = running.gateway.stats().bytes_in;
        socket.write(request);
        await until(
          "the request is there",
          () => running.gateway.stats().bytes_in > seen,
        );
        if (i % 2) {
          await until("it works", () =>
            running.gateway.stats().bytes_out > 0 ||
            !request.startsWith("GET /up") || script !== endless);
        }
        socket.resetAndDestroy();
      }
      await baseline(running);
      assertEquals(running.gateway.stats().conns_accepted, 10);
      await running.stop();
      await upstream.stop();
    });
  }

  it("behind an upload that the upstream does not read is found soon, not at the upstream's idle timeout", async () => {
    const ended = Promise.withResolvers<void>();
    await using upstream = await startUpstream((conn) =>
      conn.readHead().then(() => ended.promise)
    );
    await using running = await startFor(upstream.url);
    const socket = await socketTo(running.port);
    const whole = new Uint8Array(40_000_000);
    socket.write(
      `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${whole.length}\r\n\r\n`,
    );
    socket.write(whole);
    let seen = 0;
    await until("the gateway stops reading", () => {
      const before = seen;
      seen = running.gateway.stats().bytes_in;
      return seen > 1_000_000 && seen === before;
    });
    socket.resetAndDestroy();
    await baseline(running);
    assert(running.gateway.stats().bytes_in < whole.length);
    ended.resolve();
  });
});
