// Proxying, to a scripted upstream and to a real one: what arrives on the other side, in both directions.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { createHash } from "node:crypto";
import { Hono } from "hono";
import { proxy, respond } from "sluice";
import {
  answering,
  ioUnderTest,
  type RawClient,
  type RunningCommand,
  type RunningGateway,
  startCommand,
  startGateway,
  startUpstream,
  until,
  type Upstream,
  type UpstreamConn,
  within,
} from "./support.ts";

const MIB = 1 << 20;

function appOf(upstream: Upstream): Hono {
  const app = new Hono();
  app.get("/native", respond("native"));
  app.all("/*", proxy(upstream.url));
  return app;
}

interface Pair extends AsyncDisposable {
  upstream: Upstream;
  running: RunningGateway;
  client: RawClient;
}

/** A scripted upstream, a gateway in front of it, and a client of the gateway. */
async function startPair(
  script: (conn: UpstreamConn, index: number) => Promise<void>,
): Promise<Pair> {
  const upstream = await startUpstream(script);
  const running = await startGateway(appOf(upstream));
  const client = await running.connect();
  return {
    upstream,
    running,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await running.stop();
      await upstream.stop();
    },
  };
}

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("proxy(): what the upstream gets", () => {
  it("the path's own bytes, the client's Host, and no field that was for us", async () => {
    let text = "";
    await using pair = await startPair(async (conn) => {
      text = (await conn.readRequest())?.head.text ?? "";
      await conn.send(OK);
    });
    await pair.client.ask(
      "GET /a//b/%2F%41;x=[1]?q=%20&r=/../ HTTP/1.1\r\nHost: Example.com:81\r\n" +
        "Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n" +
        "Proxy-Connection: keep-alive\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n" +
        "X-Forwarded-Host: evil\r\nVia: 1.0 before\r\nX-Kept: a,  b\r\nX-Kept: c\r\nCookie: k=v\r\n\r\n",
    );
    const [line, ...fields] = text.split("\r\n");
    assertEquals(line, "GET /a//b/%2F%41;x=[1]?q=%20&r=/../ HTTP/1.1");
    const lower = fields.map((field) => field.toLowerCase()).sort();
    assertEquals(lower, [
      "cookie: k=v",
      "host: example.com:81",
      "via: 1.0 before, 1.1 sluice",
      "x-forwarded-for: 127.0.0.1",
      "x-forwarded-host: example.com:81",
      "x-forwarded-proto: http",
      "x-kept: a,  b",
      "x-kept: c",
    ]);
  });

  it("bodies with a length and in chunks, in pieces of any size", async () => {
    await using pair = await startPair(answering(({ method, head, body }) => {
      const text = `${method} ${head.get("content-length")} ${
        head.get("transfer-encoding")
      } ${createHash("sha256").update(body).digest("hex")}`;
      return `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
    }));
    const body = new Uint8Array(300_000).map((_, i) =>
      (i * 7 + (i >> 8)) & 255
    );
    const sum = createHash("sha256").update(body).digest("hex");
    await pair.client.send(
      `PUT /length HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    await pair.client.send(body);
    assertEquals(
      (await pair.client.readAnswer()).text,
      `PUT ${body.length} undefined ${sum}`,
    );
    await pair.client.send(
      "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for (
      let at = 0, size = 1;
      at < body.length;
      at += size, size = size * 3 + 1
    ) {
      const part = body.subarray(at, at + size);
      await pair.client.send(`${part.length.toString(16)};ext=1\r\n`);
      await pair.client.send(part);
      await pair.client.send("\r\n");
    }
    await pair.client.send("0\r\nX-Trailer: 1\r\n\r\n");
    assertEquals(
      (await pair.client.readAnswer()).text,
      `POST undefined chunked ${sum}`,
    );
    const stats = pair.running.gateway.stats();
    assertEquals([stats.upstream_connects, stats.upstream_reuses], [1, 1]);
  });

  it("one connection for requests that follow each other, as many as are at once", async () => {
    await using pair = await startPair(answering(() => OK));
    for (let i = 0; i < 20; i++) {
      assertEquals(
        (await pair.client.ask(`GET /${i} HTTP/1.1\r\nHost: a\r\n\r\n`)).text,
        "ok",
      );
    }
    let stats = pair.running.gateway.stats();
    assertEquals(
      [stats.upstream_connects, stats.upstream_reuses, stats.upstream_idle],
      [1, 19, 1],
    );
    assertEquals(pair.upstream.conns, 1);
    const clients = await Promise.all(
      [1, 2, 3, 4].map(() => pair.running.connect()),
    );
    await Promise.all(clients.map(async (client) => {
      await client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      client.close();
    }));
    stats = pair.running.gateway.stats();
    assert(
      pair.upstream.conns <= 4 && stats.upstream_idle === pair.upstream.conns,
    );
    assertEquals(stats.upstream_failures + stats.upstream_discards, 0);
  });

  it("a head near the limit, and a body of many buffers behind it in one piece", async () => {
    await using pair = await startPair(answering(({ head, body }) => {
      const text = `${head.get("x-large")?.length} ${body.length} ${
        body.every((byte) => byte === 122)
      }`;
      return `HTTP/1.1 200 OK\r\nX-Large: ${
        "r".repeat(14_000)
      }\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
    }));
    const size = 3 * MIB;
    const answer = await pair.client.ask(
      `POST /${"p".repeat(1000)} HTTP/1.1\r\nHost: a\r\nX-Large: ${
        "q".repeat(14_000)
      }\r\nContent-Length: ${size}\r\n\r\n` +
        "z".repeat(size),
    );
    assertEquals(answer.text, `14000 ${size} true`);
    assertEquals(answer.head.get("x-large")?.length, 14_000);
  });
});

describe("proxy(): what the client gets", () => {
  it("the answer without the fields that were for us", async () => {
    await using pair = await startPair(
      answering(() =>
        "HTTP/1.1 201 As It Likes\r\nServer: up\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n" +
        "Keep-Alive: timeout=1\r\nProxy-Authenticate: Basic\r\nVia: 1.1 cache\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
      ),
    );
    const { status, head, text } = await pair.client.ask(
      "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assertEquals([status, text], [201, "ok"]);
    assertEquals(head.all("set-cookie"), ["a=1", "b=2"]);
    assertEquals(head.get("date"), "Thu, 01 Jan 1970 00:00:00 GMT");
    assertEquals(head.get("via"), "1.1 cache, 1.1 sluice");
    assertEquals(head.get("server"), "up");
    for (const name of ["connection", "x-hop", "keep-alive"]) {
      assertEquals(head.get(name), undefined, name);
    }
    assertEquals(
      (await pair.client.ask("GET /native HTTP/1.1\r\nHost: a\r\n\r\n")).text,
      "native",
    );
  });

  const bodiless: [string, string, string, string | undefined][] = [
    ["HEAD", "200 OK", "Content-Length: 12345\r\n", "12345"],
    ["HEAD", "200 OK", "Transfer-Encoding: chunked\r\n", undefined],
    ["GET", "204 No Content", "", undefined],
    ["GET", "304 Not Modified", 'Content-Length: 777\r\nETag: "x"\r\n', "777"],
    ["GET", "304 Not Modified", "", undefined],
    ["DELETE", "204 No Content", "X-A: 1\r\n", undefined],
  ];
  it("HEAD, 204 and 304 without a body, and the next answer on the same connections", async () => {
    await using pair = await startPair(answering((_, index) => {
      const [, status, fields] = bodiless[index >> 1];
      return index % 2 ? OK : `HTTP/1.1 ${status}\r\n${fields}\r\n`;
    }));
    for (const [method, status, , length] of bodiless) {
      const answer = await pair.client.ask(
        `${method} /x HTTP/1.1\r\nHost: a\r\n\r\n`,
        { toHead: method === "HEAD" },
      );
      assertEquals([answer.status, answer.head.get("content-length")], [
        parseInt(status),
        length,
      ]);
      assertEquals(
        (await pair.client.ask("GET /y HTTP/1.1\r\nHost: a\r\n\r\n")).text,
        "ok",
      );
    }
    assertEquals(pair.upstream.conns, 1);
  });

  it("chunks as chunks, and to HTTP/1.0 as a body that ends with the connection", async () => {
    await using pair = await startPair(
      answering(() =>
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nX-T: 1\r\n\r\n"
      ),
    );
    const answer = await pair.client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assertEquals([answer.text, answer.head.get("transfer-encoding")], [
      "abcd",
      "chunked",
    ]);
    await pair.client.send(
      "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    );
    const old = await pair.client.readAll();
    assertMatch(old, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nabcd$/);
    assert(!/transfer-encoding/i.test(old));
  });

  it("a body that ends with the upstream's connection as chunks", async () => {
    await using pair = await startPair(async (conn) => {
      await conn.readRequest();
      await conn.send("HTTP/1.1 200 OK\r\n\r\n");
      await conn.send("x".repeat(100_000));
    });
    const answer = await pair.client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assertEquals([answer.body.length, answer.head.get("transfer-encoding")], [
      100_000,
      "chunked",
    ]);
    assertEquals(
      (await pair.client.ask("GET /native HTTP/1.1\r\nHost: a\r\n\r\n")).text,
      "native",
    );
  });

  it("103 before the final answer; HTTP/1.0 gets the final one alone", async () => {
    const early =
      "HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n";
    await using pair = await startPair(answering(() => early + early + OK));
    await pair.client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for (let i = 0; i < 2; i++) {
      const hint = await pair.client.readHead();
      assertMatch(hint?.line ?? "", /^HTTP\/1\.1 103/);
      assertEquals(hint?.get("link"), "</s.css>; rel=preload");
    }
    assertEquals((await pair.client.readAnswer()).text, "ok");
    await pair.client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assertMatch(await pair.client.readAll(), /^HTTP\/1\.1 200/);
  });

  it("100 Continue when the upstream gives it, and a refusal without it", async () => {
    await using pair = await startPair(async (conn) => {
      const head = await conn.readHead();
      assertEquals(head?.get("expect"), "100-continue");
      await conn.send("HTTP/1.1 100 Continue\r\n\r\n");
      assertEquals(new TextDecoder().decode(await conn.readBytes(5)), "hello");
      await conn.send(OK);
      assertEquals((await conn.readHead())?.get("expect"), "100-continue");
      await conn.send("HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno");
      await conn.readHead();
    });
    const ask =
      "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    await pair.client.send(ask);
    assertMatch((await pair.client.readHead())?.line ?? "", /^HTTP\/1\.1 100 /);
    assertEquals((await pair.client.ask("hello")).text, "ok");
    await pair.client.send(ask);
    const refused = await pair.client.readAnswer();
    assertEquals([refused.status, refused.head.get("connection")], [
      417,
      "close",
    ]);
    assertEquals(await pair.client.readAll(), "");
  });

  it("the early answer to an upload, although nobody reads the rest of it", async () => {
    await using pair = await startPair(async (conn) => {
      await conn.readHead();
      await conn.send(
        "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
      );
    });
    const { gateway } = pair.running;
    await pair.client.send(
      "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n",
    );
    await until("the answer is sent", () => gateway.stats().bytes_out > 0);
    await pair.client.send(new Uint8Array(MIB)); // more than is read on, less than the kernel holds
    await until("the rest is given up", () => gateway.stats().responses === 1);
    await pair.client.send("more"); // a client that has not read yet must not be told of a broken connection
    await pair.client.send("and more");
    const answer = await pair.client.readAnswer();
    assertEquals([answer.status, answer.text], [413, "big"]);
    assertEquals(await pair.client.readAll(), "");
  });

  it("the whole answer after a half-close, and all answers of a pipeline", async () => {
    const size = 200_000;
    await using pair = await startPair(
      answering(({ target }) =>
        `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${
          target[1].repeat(size)
        }`
      ),
    );
    await pair.client.send(
      ["a", "b", "c"].map((name) => `GET /${name} HTTP/1.1\r\nHost: a\r\n\r\n`)
        .join(""),
    );
    await pair.client.closeWrite();
    for (const name of ["a", "b", "c"]) {
      const { text } = await pair.client.readAnswer();
      assert(text === name.repeat(size), `answer ${name}`);
    }
    assertEquals(await pair.client.readAll(), "");
  });

  it("508 for a request that came through this gateway before", async () => {
    await using upstream = await startUpstream(answering(() => OK));
    await using inner = await startGateway(appOf(upstream));
    const app = new Hono();
    app.all("/*", proxy(inner.base));
    await using outer = await startGateway(app);
    using client = await outer.connect();
    const answer = await client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assertEquals(answer.status, 508);
    assertEquals(upstream.conns, 0);
  });
});

describe("proxy(): many at once", () => {
  it("4,000 requests of every shape on 80 connections: each answer names its own request", async () => {
    await using upstream = await startUpstream(async (conn) => {
      for (
        let request = await conn.readRequest();
        request;
        request = await conn.readRequest()
      ) {
        const [, name, size, framing] = request.target.split("/");
        const text = new TextDecoder().decode(request.body);
        const wrong = text !== "" &&
          text !== name.repeat(text.length / name.length);
        const body = wrong
          ? `mixed up: ${name}`
          : name.padEnd(Number(size), name);
        if (body.length % 3 === 0) {
          await new Promise((resolve) => setTimeout(resolve, body.length % 7));
        }
        await conn.send(
          framing === "length"
            ? `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`
            : `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${
              body.length.toString(16)
            }\r\n${body}\r\n0\r\n\r\n`,
        );
      }
    });
    const app = new Hono();
    app.get("/native/:name", (c) => c.text(c.req.param("name")));
    app.all("/*", proxy(upstream.url));
    await using running = await startGateway(app, { workers: 2 });
    const oneClient = async (number: number) => {
      using client = await running.connect();
      for (let i = 0; i < 50; i++) {
        const name = `${number}x${i}y`;
        const size = [10, 500, 5_000, 40_000][(number + i) % 4];
        const framing = (number * 3 + i) % 2 ? "length" : "chunked";
        const path = i % 5 === 4
          ? `/native/${name}`
          : `/${name}/${size}/${framing}`;
        const sent = i % 3 ? name.repeat((i * 37) % 400) : "";
        const request = i % 5 === 4
          ? `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
          : i % 2
          ? `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${sent.length}\r\n\r\n${sent}`
          : `POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${
            sent && `${sent.length.toString(16)}\r\n${sent}\r\n`
          }0\r\n\r\n`;
        const { text } = await client.ask(request);
        const expected = i % 5 === 4 ? name : name.padEnd(size, name);
        assert(text === expected, `${path}: ${text.slice(0, 60)}`);
      }
    };
    await Promise.all(
      Array.from({ length: 80 }, (_, number) => oneClient(number)),
    );
    const stats = running.gateway.stats();
    assertEquals([stats.requests_proxied, stats.requests_typescript], [
      3200,
      800,
    ]);
    assertEquals(stats.upstream_failures, 0);
  });
});

// ---- A real upstream

interface Nginx extends AsyncDisposable {
  url: string;
  folder: string;
}

async function findNginx(): Promise<string | undefined> {
  for (
    const path of ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
  ) {
    if (await Deno.stat(path).then((info) => info.isFile, () => false)) {
      return path;
    }
  }
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  listener.close();
  return listener.addr.port;
}

async function startNginx(program: string): Promise<Nginx> {
  const folder = await Deno.makeTempDir({ prefix: "sluice-nginx-" });
  const port = freePort();
  await Deno.chmod(folder, 0o755);
  await Deno.mkdir(`${folder}/files`);
  await Deno.writeTextFile(
    `${folder}/nginx.conf`,
    `user root; daemon off; master_process off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
     events { worker_connections 256; }
     http {
       access_log off; client_max_body_size 0; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/p;
       fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
       server { listen 127.0.0.1:${port}; root ${folder}/files; location / { dav_methods PUT; } }
     }`,
  );
  const child = new Deno.Command(program, {
    args: [
      "-e",
      `${folder}/error.log`,
      "-p",
      folder,
      "-c",
      `${folder}/nginx.conf`,
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();
  const url = `http://127.0.0.1:${port}`;
  const listens = async () => {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    } catch {
      return false;
    }
  };
  await until("nginx listens", listens);
  return {
    url,
    folder: `${folder}/files`,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await within(child.status, "nginx's end");
      await Deno.remove(folder, { recursive: true });
    },
  };
}

async function residentBytes(pid: number): Promise<number> {
  const text = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1]) * 1024;
}

async function fileSum(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path);
  for await (const part of file.readable) hash.update(part);
  return hash.digest("hex");
}

async function downloadSum(
  url: string,
  client?: Deno.HttpClient,
): Promise<string> {
  const hash = createHash("sha256");
  const answer = await fetch(url, { client });
  assertEquals(answer.status, 200);
  for await (const part of answer.body!) hash.update(part);
  return hash.digest("hex");
}

async function upload(
  url: string,
  path: string,
  client?: Deno.HttpClient,
): Promise<void> {
  const file = await Deno.open(path);
  const answer = await fetch(url, {
    method: "PUT",
    body: file.readable,
    client,
  });
  await answer.body?.cancel();
  assert([201, 204].includes(answer.status), String(answer.status));
}

async function localRoot(command: RunningCommand): Promise<string[]> {
  const [, folder] = await command.says(/certificate: .* kept in (\S+)/);
  const names = [];
  for await (const entry of Deno.readDir(folder)) names.push(entry.name);
  const name = names.find((name) => /cert|crt/.test(name))!;
  return [await Deno.readTextFile(`${folder}/${name}`)];
}

const nginx = await findNginx();

describe("--upstream in front of nginx", () => {
  const why = nginx
    ? ""
    : " (skipped: nginx is not installed; apt-get install nginx-light)";
  (nginx ? it : it.skip)(
    `100 MB each way arrive with their SHA-256, and the process grows by less than 8 MB${why}`,
    async () => {
      await using site = await startNginx(nginx!);
      const source = `${site.folder}/source`;
      {
        using file = await Deno.open(source, { write: true, create: true });
        const part = new Uint8Array(MIB);
        for (let i = 0; i < 100; i++) {
          for (let at = 0; at < MIB; at += 65536) {
            crypto.getRandomValues(
              part.subarray(at, at + 65536),
            );
          }
          await file.write(part);
        }
      }
      const sum = await fileSum(source);
      await using command = await startCommand([
        "--upstream",
        site.url,
        "--http",
        "127.0.0.1:0",
        "--https",
        "127.0.0.1:0",
        "--workers",
        "1", // else it is chance whose buffers the first transfer touches
      ]);
      assertMatch(
        command.err,
        new RegExp(`io: ${ioUnderTest() === "auto" ? "" : ioUnderTest()}`),
      );
      const roots = await localRoot(command);
      using secure = Deno.createHttpClient({ caCerts: roots });
      const urls = [command.base, `https://localhost:${command.ports[1]}`];
      // The first transfer touches the buffers that the start text counted.
      const cold = await residentBytes(command.pid);
      assertEquals(await downloadSum(`${urls[0]}/source`), sum);
      await upload(`${urls[0]}/warm`, source);
      const growth: Record<string, number> = {};
      for (const url of urls) {
        const client = url.startsWith("https") ? secure : undefined;
        const before = await residentBytes(command.pid);
        assertEquals(await downloadSum(`${url}/source`, client), sum);
        await upload(`${url}/uploaded`, source, client);
        assertEquals(await fileSum(`${site.folder}/uploaded`), sum);
        await Deno.remove(`${site.folder}/uploaded`);
        growth[url.slice(0, url.indexOf(":"))] =
          await residentBytes(command.pid) - before;
      }
      const total = await residentBytes(command.pid) - cold;
      console.log(
        `resident: ${JSON.stringify(growth)}, since the start ${total}`,
      );
      assert(
        Math.max(...Object.values(growth)) < 8 * MIB,
        JSON.stringify(growth),
      );
      assertEquals((await command.stop()).code, 0);
    },
  );
});
