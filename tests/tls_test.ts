/**
 * HTTPS over real sockets: TLS 1.3 and 1.2 as curl, OpenSSL and Deno's own TLS see them, and certificates that do not fit.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { type CertificateOptions, type GatewayError, respond } from "sluice";
import {
  folderOf,
  RawClient,
  rawClient,
  type RunningGateway,
  runProgram,
  startGateway,
  until,
  within,
} from "./support.ts";

const GET_URL =
  "GET /url HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

function createApp(): Hono {
  const app = new Hono();
  app.get("/native", respond("native\n"));
  app.get("/large", respond("0123456789abcdef".repeat(100_000)));
  app.get("/url", (c) => c.text(c.req.url));
  app.get("/stream/:parts", (c) => {
    let left = Number(c.req.param("parts"));
    return new Response(
      new ReadableStream({
        pull(controller) {
          if (left-- === 0) controller.close();
          else {controller.enqueue(
              new Uint8Array(10_000).fill(0x61 + left % 26),
            );}
        },
      }),
    );
  });
  app.post("/echo", async (c) => c.body(await c.req.arrayBuffer()));
  return app;
}

// ---- Certificates, made by openssl

async function openssl(
  folder: string,
  words: string,
  input = "",
): Promise<string> {
  const { code, out, err } = await runProgram(
    ["openssl", ...words.split(" ")],
    { folder, input },
  );
  if (code !== 0) throw new Error(`openssl ${words}: ${err}`);
  return out;
}

const NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1";

// A root, an intermediate that it signed, and leaves: ec (signed by the intermediate, with it in its file), rsa (self-signed).
async function makeCertificates(folder: string): Promise<void> {
  const ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
  await openssl(
    folder,
    `req -x509 ${ec} -keyout root.key -out root.pem -subj /CN=root -days 2`,
  );
  await openssl(
    folder,
    `req ${ec} -keyout middle.key -out middle.csr -subj /CN=middle`,
  );
  await Deno.writeTextFile(
    `${folder}/ca.ext`,
    "basicConstraints=critical,CA:true\n",
  );
  await Deno.writeTextFile(`${folder}/leaf.ext`, `${NAMES}\n`);
  await openssl(
    folder,
    "x509 -req -in middle.csr -CA root.pem -CAkey root.key -CAcreateserial -out middle.pem -days 2 -extfile ca.ext",
  );
  await openssl(
    folder,
    `req ${ec} -keyout ec.key -out ec.csr -subj /CN=localhost`,
  );
  await openssl(
    folder,
    "x509 -req -in ec.csr -CA middle.pem -CAkey middle.key -CAcreateserial -out leaf.pem -days 2 -extfile leaf.ext",
  );
  const chain = await Deno.readTextFile(`${folder}/leaf.pem`) +
    await Deno.readTextFile(`${folder}/middle.pem`);
  await Deno.writeTextFile(`${folder}/ec.pem`, chain);
  await openssl(
    folder,
    `req -x509 -newkey rsa:2048 -nodes -keyout rsa.key -out rsa.pem -subj /CN=localhost -days 2 -addext ${NAMES}`,
  );
  await openssl(
    folder,
    "pkcs8 -topk8 -in ec.key -out locked.key -passout pass:secret",
  );
}

function start(
  certificate: CertificateOptions,
  limits = {},
): Promise<RunningGateway> {
  const listeners = [{
    address: "127.0.0.1:0",
    tls: { certificates: [certificate] },
  }];
  return startGateway(createApp(), { listeners, limits });
}

describe("HTTPS", () => {
  let folder: Awaited<ReturnType<typeof folderOf>>;
  let ec: CertificateOptions;
  let server: RunningGateway;
  let root: string;

  beforeAll(async () => {
    folder = await folderOf({});
    await makeCertificates(folder.path);
    root = await Deno.readTextFile(`${folder.path}/root.pem`);
    ec = { cert: `${folder.path}/ec.pem`, key: `${folder.path}/ec.key` };
    server = await start(ec);
  });
  afterAll(async () => {
    await server.stop();
    await folder[Symbol.asyncDispose]();
  });

  async function tlsClient(): Promise<RawClient> {
    const options = {
      hostname: "127.0.0.1",
      port: server.port,
      caCerts: [root],
      alpnProtocols: ["http/1.1"],
    };
    return new RawClient(
      await within(Deno.connectTls(options), "a TLS connection"),
    );
  }

  async function curl(...words: string[]) {
    return await runProgram([
      "curl",
      "-sS",
      "--max-time",
      "9",
      "--cacert",
      `${folder.path}/root.pem`,
      ...words,
    ]);
  }

  // What openssl's client says and gets, with the messages of the handshake.
  async function client(
    words: string,
    input = "",
    port = server.port,
  ): Promise<string> {
    const { out, err } = await runProgram([
      ..."openssl s_client -ign_eof -msg -CAfile".split(" "),
      `${folder.path}/root.pem`,
      "-connect",
      `127.0.0.1:${port}`,
      ...words.split(" "),
    ], { input });
    return out + err;
  }

  for (const version of ["1.3", "1.2"]) {
    describe(`TLS ${version}`, () => {
      it("serves curl, native and TypeScript routes on one connection", async () => {
        const base = `https://localhost:${server.port}`;
        const write = [
          "-w",
          "%{num_connects} %{http_code}\\n",
          "--resolve",
          `localhost:${server.port}:127.0.0.1`,
        ];
        const { out, err } = await curl(
          `--tlsv${version}`,
          "--tls-max",
          version,
          ...write,
          `${base}/native`,
          `${base}/url`,
          `${base}/native`,
        );
        expect([out, err]).toEqual([
          `native\n1 200\n${base}/url0 200\nnative\n0 200\n`,
          "",
        ]);
      });

      it("sends the chain, speaks http/1.1, gives one ticket, and ends with close_notify", async () => {
        const said = await client(
          `-tls${version.replace(".", "_")} -alpn h2,http/1.1`,
          GET_URL,
        );
        expect(said).toMatch(/\r\n\r\nhttps:\/\/localhost\/url/);
        expect(said).toMatch(`New, TLSv${version}, Cipher is`);
        expect(said).toMatch("Verification: OK");
        expect(said).toMatch("ALPN protocol: http/1.1");
        expect(said).toMatch(
          /<<< TLS 1\.[23], Alert \[length 0002\], warning close_notify/,
        );
        expect(said.match(/<<< .*NewSessionTicket/g)).toHaveLength(1);
      });

      it("resumes by its ticket", async () => {
        const session = `${folder.path}/session-${version}`;
        const flag = `-tls${version.replace(".", "_")}`;
        await client(`${flag} -sess_out ${session}`, GET_URL);
        const again = await client(`${flag} -sess_in ${session}`, GET_URL);
        expect(again).toMatch(`Reused, TLSv${version}`);
        expect(again).toMatch(/\r\n\r\nhttps:\/\/localhost\/url/);
      });
    });
  }

  it("refuses TLS 1.1 with an alert", async () => {
    const said = await client("-tls1_1 -cipher DEFAULT@SECLEVEL=0");
    expect(said).toMatch("alert protocol version");
    expect(
      (await curl(
        "--tls-max",
        "1.1",
        "--ciphers",
        "DEFAULT@SECLEVEL=0",
        server.base,
      )).code,
    ).toBe(35);
  });

  it("refuses a client that speaks h2 only, and takes one without ALPN", async () => {
    expect(await client("-alpn h2", GET_URL)).toMatch(
      "alert no application protocol",
    );
    expect(await client("-tls1_3", GET_URL)).toMatch("HTTP/1.1 200 OK");
  });

  it("takes an RSA certificate", async () => {
    await using rsa = await start({
      cert: `${folder.path}/rsa.pem`,
      key: `${folder.path}/rsa.key`,
    });
    expect(await client("-tls1_3", GET_URL, rsa.port)).toMatch(
      /Peer signature type: RSA-PSS[^]*HTTP\/1\.1 200 OK/,
    );
    expect(await client("-tls1_2", GET_URL, rsa.port)).toMatch(
      /HTTP\/1\.1 200 OK/,
    );
  });

  it("takes certificate and key as PEM text", async () => {
    const [cert, key] = await Promise.all([
      Deno.readTextFile(ec.cert),
      Deno.readTextFile(ec.key),
    ]);
    await using text = await start({ cert, key });
    expect(await client("-tls1_3", GET_URL, text.port)).toMatch(
      "HTTP/1.1 200 OK",
    );
  });

  describe("to Deno's own TLS", () => {
    it("keeps a connection, pipelines, and ends without truncation", async () => {
      using tls = await tlsClient();
      const get = (path: string, more = "") =>
        `GET ${path} HTTP/1.1\r\nHost: h\r\n${more}\r\n`;
      await tls.send(get("/native") + get("/url") + get("/native"));
      const texts = [];
      for (let i = 0; i < 3; i++) texts.push((await tls.readAnswer()).text);
      expect(texts).toEqual(["native\n", "https://h/url", "native\n"]);
      for (const byte of get("/url", "Connection: close\r\n")) {
        await tls.send(byte);
      }
      expect((await tls.readAnswer()).text).toBe("https://h/url");
      expect(await tls.readAll()).toBe(""); // without close_notify this throws
    });

    it("moves large bodies both ways", async () => {
      using tls = await tlsClient();
      const large = await tls.ask("GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
      expect(large.text === "0123456789abcdef".repeat(100_000)).toBe(true);
      const stream = await tls.ask(
        "GET /stream/200 HTTP/1.1\r\nHost: h\r\n\r\n",
      );
      const parts = Array.from(
        { length: 200 },
        (_, i) => String.fromCharCode(0x61 + (199 - i) % 26).repeat(10_000),
      );
      expect(stream.text === parts.join("")).toBe(true);
      const body = new Uint8Array(3_000_000);
      for (let i = 0; i < body.length; i++) body[i] = i * 7 + (i >> 8);
      await tls.send(
        `POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n`,
      );
      await tls.send(body);
      const echo = await tls.readAnswer();
      expect(echo.body.length).toBe(body.length);
      expect(echo.body.every((byte, i) => byte === body[i])).toBe(true);
    });

    it("says 413 and 400 before it closes", async () => {
      for (
        const [request, status] of [
          [
            "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n",
            413,
          ],
          ["GET / HTTP/1.1\r\nBad Field: 1\r\n\r\n", 400],
        ] as const
      ) {
        using tls = await tlsClient();
        expect((await tls.ask(request)).status).toBe(status);
        expect(await tls.readAll()).toBe("");
      }
    });
  });

  describe("bad clients", () => {
    it("are cut if they do not speak TLS, and if their handshake takes too long", async () => {
      using plain = await rawClient(server.port);
      await plain.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
      const answer = await plain.readAll(); // at most an alert
      expect(answer === "" || answer.startsWith("\x15\x03")).toBe(true);
      await using hasty = await start(ec, { headTimeoutMs: 150 });
      using silent = await rawClient(hasty.port);
      using half = await rawClient(hasty.port);
      await half.send("\x16\x03\x01");
      expect([await silent.readAll(), await half.readAll()]).toEqual(["", ""]);
    });

    it("leave nothing behind", async () => {
      const { tls_failures, tls_handshakes } = server.gateway.stats();
      expect(tls_failures).toBeGreaterThanOrEqual(4);
      expect(tls_handshakes).toBeGreaterThan(8);
      await until(
        "all connections have ended",
        () => server.gateway.stats().conns_live === 0,
      );
      expect(server.gateway.stats().io_bufs_lent).toBe(0);
    });
  });

  describe("certificates that do not fit", () => {
    async function failure(
      certificate: CertificateOptions,
    ): Promise<GatewayError> {
      const started = start(certificate);
      return await started.then(
        async (running) => {
          await running.stop();
          throw new Error("it started");
        },
        (error) => error,
      );
    }

    it("are named with their reason, and the address is free again", async () => {
      const path = (name: string) => `${folder.path}/${name}`;
      const rows: [CertificateOptions, RegExp][] = [
        [
          { cert: path("ec.pem"), key: path("rsa.key") },
          /key .*(match|belong)/i,
        ],
        [
          { cert: path("none.pem"), key: path("ec.key") },
          /certificates\[0\]\.cert: cannot read ".*none\.pem": No such file/,
        ],
        [
          { cert: path("ec.pem"), key: path("none.key") },
          /certificates\[0\]\.key: cannot read ".*none\.key": No such file/,
        ],
        [{ cert: path("ec.key"), key: path("ec.key") }, /certificate/i],
        [{ cert: path("ec.pem"), key: path("ec.pem") }, /key/i],
        [
          { cert: path("ec.pem"), key: path("locked.key") },
          /key.*(passphrase|password|encrypted)/i,
        ],
        [{
          cert:
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
          key: path("ec.key"),
        }, /certificate/i],
      ];
      for (const [certificate, message] of rows) {
        const error = await failure(certificate);
        expect(error.name).toBe("GatewayError");
        expect(error.kind).toBe("tls_config");
        expect(error.message).toMatch(message);
      }
    });
  });
});
