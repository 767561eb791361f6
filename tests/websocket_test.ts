/**
 * WebSockets on TypeScript routes over real sockets: RFC 6455 byte by byte, Deno's client and npm:ws as peers that are not ours, and every way in
 * which a connection ends.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Hono, type MiddlewareHandler } from "hono";
import { upgradeWebSocket as upgradeByHono } from "hono/deno";
import { secureHeaders } from "hono/secure-headers";
import type { WSContext } from "hono/ws";
// deno-lint-ignore no-import-prefix -- in an import map it would be there for modules of users, too
import { WebSocket as NodeWebSocket } from "npm:ws@8.18.3";
import {
  type CertificateOptions,
  definePlugin,
  headers,
  proxy,
  type ServerWebSocket,
  upgradeWebSocket,
} from "sluice";
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
import {
  ACCEPT,
  type ClientFrame,
  closeFrame,
  frameBytes,
  handshake,
  RawWebSocket,
} from "./websocket_peer.ts";

// ---- The app

interface Ended {
  path: string;
  code: number;
  reason: string;
  wasClean: boolean;
}

const ended: Ended[] = [];
const failed: string[] = [];
const opened = new Map<string, WSContext<ServerWebSocket>>();

function events(
  path: string,
  onMessage: (
    data: string | ArrayBuffer,
    ws: WSContext<ServerWebSocket>,
  ) => unknown,
) {
  return () => ({
    onOpen: (_: Event, ws: WSContext<ServerWebSocket>) =>
      void opened.set(path, ws),
    onMessage: (event: MessageEvent, ws: WSContext<ServerWebSocket>) =>
      onMessage(event.data, ws) as void,
    onClose: ({ code, reason, wasClean }: CloseEvent) =>
      void ended.push({ path, code, reason, wasClean }),
    onError: (event: Event) =>
      void failed.push(`${path}: ${(event as ErrorEvent).message}`),
  });
}

type Data = string | ArrayBuffer;
const echo = (data: Data, ws: WSContext<ServerWebSocket>) => ws.send(data);

function createApp(): Hono {
  const app = new Hono();
  app.use("/edited/*", headers({ response: { set: { "x-native": "yes" } } }));
  app.use("/secured/*", secureHeaders());
  app.get("/echo", upgradeWebSocket(events("/echo", echo)));
  app.get("/echo", (c) => c.text("not a WebSocket"));
  app.get("/edited/echo", upgradeWebSocket(events("/edited/echo", echo)));
  app.get("/secured/echo", upgradeWebSocket(events("/secured/echo", echo)));
  app.get(
    "/chat",
    upgradeWebSocket(events("/chat", echo), {
      protocols: ["v2.chat", "v1.chat"],
    }),
  );
  app.get("/peer", upgradeWebSocket(events("/peer", echo)));
  app.get(
    "/origin",
    upgradeWebSocket(events("/origin", echo), {
      origins: ["https://here.example"],
    }),
  );
  app.get(
    "/kind",
    upgradeWebSocket(events("/kind", (data, ws) =>
      ws.send(
        typeof data === "string"
          ? "text"
          : `${data instanceof ArrayBuffer} ${data.byteLength}`,
      ))),
  );
  app.get(
    "/blob",
    upgradeWebSocket(() => ({
      onOpen: (_, ws) => void (ws.raw!.binaryType = "blob"),
      onMessage: (event, ws) =>
        ws.send(String(event.data instanceof Blob && event.data.size)),
    })),
  );
  app.get(
    "/small",
    upgradeWebSocket(events("/small", echo), {
      messageBytesMax: 1000,
      frameBytesMax: 600,
      fragmentsMax: 4,
    }),
  );
  app.get(
    "/throws",
    upgradeWebSocket(events("/throws", () => {
      throw new Error("on purpose");
    })),
  );
  app.get(
    "/rejects",
    upgradeWebSocket(events("/rejects", async () => {
      await undefined;
      throw new Error("on purpose");
    })),
  );
  app.get(
    "/throws/early",
    upgradeWebSocket(() => {
      throw new Error("on purpose");
    }),
  );
  app.get(
    "/close/:code",
    upgradeWebSocket((c) =>
      events(
        "/close",
        (data, ws) => ws.close(Number(c.req.param("code")), String(data)),
      )()
    ),
  );
  app.get(
    "/pinged",
    upgradeWebSocket(events("/pinged", echo), {
      pingIntervalMs: 20,
      pongTimeoutMs: 2000,
    }),
  );
  app.get(
    "/silent",
    upgradeWebSocket(events("/silent", echo), {
      pingIntervalMs: 20,
      pongTimeoutMs: 20,
    }),
  );
  app.get(
    "/idle",
    upgradeWebSocket(events("/idle", echo), { idleTimeoutMs: 50 }),
  );
  app.get(
    "/unanswered",
    upgradeWebSocket(events("/unanswered", (_, ws) => ws.close(4001, "now")), {
      closeTimeoutMs: 50,
    }),
  );
  app.get(
    "/flood",
    upgradeWebSocket(
      events("/flood", (_, ws) => {
        for (let i = 0; i < 64; i++) ws.send(new Uint8Array(65536));
      }),
      { sendBytesMax: 1 << 20 },
    ),
  );
  app.get(
    "/patient",
    upgradeWebSocket(
      events("/patient", async (_, ws) => {
        for (let i = 0; i < 64; i++) {
          ws.send(new Uint8Array(65536).fill(i));
          if (!await ws.raw!.drained()) return;
        }
        ws.send("done");
      }),
      { sendBytesMax: 1 << 20 },
    ),
  );
  app.get("/by-hono", upgradeByHono(() => ({})));
  app.get("/by-deno", (c) => Deno.upgradeWebSocket(c.req.raw).response);
  app.get("/bare-101", () => new Response(null, { status: 101 }));
  app.onError((error, c) => c.text(`${error.message}\n`, 500));
  return app;
}

let gateway: RunningGateway;
let tls: CertificateOptions & { ca: string };

async function makeCertificate(): Promise<typeof tls> {
  await using folder = await folderOf({});
  const words =
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem";
  const { code, err } = await runProgram(["openssl", ...words.split(" ")], {
    folder: folder.path,
  });
  if (code !== 0) throw new Error(err);
  const cert = await Deno.readTextFile(`${folder.path}/cert.pem`);
  return {
    cert,
    key: await Deno.readTextFile(`${folder.path}/key.pem`),
    ca: cert,
  };
}

const { error } = console;

beforeAll(async () => {
  console.error = (...values: unknown[]) => {
    if (!String(values[1] ?? values[0]).includes("on purpose")) {
      error(...values);
    }
  };
  const { ca, ...certificate } = await makeCertificate();
  tls = { ...certificate, ca };
  gateway = await startGateway(createApp(), {
    listeners: [
      { address: "127.0.0.1:0" },
      { address: "127.0.0.1:0", tls: { certificates: [certificate] } },
    ],
  });
});
afterAll(async () => {
  await gateway.stop();
  console.error = error;
});

const open = (path: string, fields = {}, behind?: Uint8Array) =>
  RawWebSocket.open(gateway.port, path, fields, behind);
const status = () => gateway.gateway.stats().byStatus;

async function endOf(path: string): Promise<Ended> {
  await until(
    `a close on ${path}`,
    () => ended.some((end) => end.path === path),
  );
  return ended.splice(ended.findIndex((end) => end.path === path), 1)[0];
}

// ---- The handshake

describe("the handshake of upgradeWebSocket()", () => {
  it("answers 101 with the key's proof", async () => {
    using ws = await open("/echo");
    assertEquals(ws.head.get("sec-websocket-accept"), ACCEPT);
    assertEquals([ws.head.get("connection"), ws.head.get("upgrade")], [
      "upgrade",
      "websocket",
    ]);
    assertEquals(ws.head.get("sec-websocket-protocol"), undefined);
    assertEquals(ws.head.get("sec-websocket-extensions"), undefined);
    await ws.send(closeFrame(1000));
    assertEquals(await ws.closed(), 1000);
  });

  const ROWS: [
    name: string,
    fields: Record<string, string | undefined>,
    status: number,
    line?: string,
  ][] = [
    ["tokens in any case, among others", {
      Connection: "keep-alive, UPGRADE",
      Upgrade: "h2c, WebSocket",
    }, 101],
    ["without Upgrade it is another request", { Upgrade: undefined }, 200],
    ["an upgrade to something else is, too", { Upgrade: "h2c" }, 200],
    ["Upgrade means nothing in HTTP/1.0", {}, 200, "GET /echo HTTP/1.0"],
    ["Connection without upgrade", { Connection: "keep-alive" }, 400],
    ["no version", { "Sec-WebSocket-Version": undefined }, 426],
    ["version 8", { "Sec-WebSocket-Version": "8" }, 426],
    ["two versions", { "Sec-WebSocket-Version": "13, 8" }, 426],
    ["no key", { "Sec-WebSocket-Key": undefined }, 400],
    ["a key of 15 bytes", { "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAA" }, 400],
    [
      "a key of 17 bytes",
      { "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAAA=" },
      400,
    ],
    ["a key with bits behind its end", {
      "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAB==",
    }, 400],
    ["a key that is no base64", {
      "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAA-A==",
    }, 400],
    ["a body", { "Content-Length": "1" }, 400],
    ["subprotocols that are none", { "Sec-WebSocket-Protocol": "a b" }, 400],
  ];
  for (const [name, fields, expected, line] of ROWS) {
    it(`${name}: ${expected}`, async () => {
      using client = await rawClient(gateway.port);
      await client.send(
        handshake("/echo", fields, line) +
          (fields["Content-Length"] ? "x" : ""),
      );
      const head = await client.readHead();
      assertEquals(Number(head!.line.split(" ")[1]), expected);
      if (expected !== 426) return;
      assertEquals(head!.get("sec-websocket-version"), "13");
      assertEquals([head!.get("connection"), head!.get("upgrade")], [
        "upgrade",
        "websocket",
      ]);
    });
  }

  it("refuses other methods with 405", async () => {
    await using other = await startGateway(
      new Hono().all("/echo", upgradeWebSocket(() => ({}))),
    );
    for (const method of ["POST", "HEAD", "PUT"]) {
      using client = await other.connect();
      await client.send(
        handshake(
          "/echo",
          { "Content-Length": "0" },
          `${method} /echo HTTP/1.1`,
        ),
      );
      assertEquals(
        (await client.readHead())!.line,
        "HTTP/1.1 405 Method Not Allowed",
      );
    }
  });

  it("chooses the subprotocol that the app likes best, among those offered", async () => {
    const chosen = async (path: string, offered?: string) => {
      using ws = await open(path, { "Sec-WebSocket-Protocol": offered });
      return ws.head.get("sec-websocket-protocol");
    };
    assertEquals(await chosen("/chat", "v1.chat, v2.chat"), "v2.chat");
    assertEquals(await chosen("/chat", "v0.chat,v1.chat"), "v1.chat");
    assertEquals(await chosen("/chat", "v0.chat"), undefined);
    assertEquals(await chosen("/chat"), undefined);
    assertEquals(await chosen("/echo", "first, second"), "first");
    assertEquals(opened.get("/echo")!.protocol, "first");
  });

  it("lets pages of the listed origins in, and programs", async () => {
    const answer = async (origin?: string) => {
      using client = await rawClient(gateway.port);
      await client.send(handshake("/origin", { Origin: origin }));
      return (await client.readHead())!.line.split(" ")[1];
    };
    assertEquals(await answer("https://here.example"), "101");
    assertEquals(await answer("https://there.example"), "403");
    assertEquals(await answer("null"), "403");
    assertEquals(await answer(), "101");
  });

  it("keeps what middleware adds, native or not", async () => {
    using edited = await open("/edited/echo");
    assertEquals(edited.head.get("x-native"), "yes");
    using secured = await open("/secured/echo");
    assertEquals(secured.head.get("x-frame-options"), "SAMEORIGIN");
    for (const ws of [edited, secured]) {
      assertEquals(ws.head.get("sec-websocket-accept"), ACCEPT);
      await ws.send({ opcode: 1, data: "through" });
      assertEquals(await ws.text(), "through");
    }
  });

  it("reads frames that came in the handshake's packet", async () => {
    using ws = await open(
      "/echo",
      {},
      frameBytes({ opcode: 1, data: "early" }, { opcode: 1, data: "bird" }),
    );
    assertEquals([await ws.text(), await ws.text()], ["early", "bird"]);
  });

  it("an error before the upgrade is a 500", async () => {
    using client = await rawClient(gateway.port);
    const { status, text } = await client.ask(handshake("/throws/early"));
    assertEquals([status, text], [500, "on purpose\n"]);
  });

  for (
    const [path, says] of [
      ["/by-hono", 'use upgradeWebSocket() of "sluice"'],
      ["/by-deno", 'use upgradeWebSocket() of "sluice"'],
      ["/bare-101", "500"],
    ]
  ) {
    it(`${path} is a 500 that names upgradeWebSocket()`, async () => {
      const errors: string[] = [];
      const before = console.error;
      console.error = (...values: unknown[]) =>
        void errors.push(String(values[0]));
      using client = await rawClient(gateway.port);
      const { status, text } = await client.ask(handshake(path));
      console.error = before;
      assertEquals(status, 500);
      assert(`${status} ${text} ${errors}`.includes(says), text);
      if (path === "/bare-101") {
        assert(errors[0].includes("use upgradeWebSocket()"), errors[0]);
      }
    });
  }

  it("refuses options that it does not know, or that cannot be", () => {
    for (
      const options of [{ pingInterval: 1 }, { messageBytesMax: 0 }, {
        fragmentsMax: 1.5,
      }, { protocols: ["a b"] }]
    ) {
      let message = "";
      try {
        upgradeWebSocket(() => ({}), options);
      } catch (error) {
        message = (error as Error).message;
      }
      assert(
        message.startsWith("upgradeWebSocket(): "),
        JSON.stringify(options),
      );
    }
  });
});

// ---- Frames, as Autobahn's sections 1 to 7: the codec's own table is gateway/websocket_frames_test.ts

interface Row {
  name: string;
  path?: string;
  send: ClientFrame[];
  /** What comes back: text, or a control frame with its payload. */
  gives?: (string | [opcode: number, data: string])[];
  /** The close that ends it. */
  code: number;
}

const T = 1, B = 2, C = 0;
const bye = closeFrame(1000);
const many = "*".repeat(65536);

const ROWS: Row[] = [
  { name: "empty text", send: [{ opcode: T }, bye], gives: [""], code: 1000 },
  ...[125, 126, 127, 65535, 65536].map((n): Row => ({
    name: `text of ${n} bytes`,
    send: [{ opcode: T, data: "*".repeat(n) }, bye],
    gives: ["*".repeat(n)],
    code: 1000,
  })),
  {
    name: "binary of 65536 bytes",
    send: [{ opcode: B, data: many }, bye],
    gives: [[2, many]],
    code: 1000,
  },
  {
    name: "ping",
    send: [{ opcode: 9, data: "are you there?" }, bye],
    gives: [[10, "are you there?"]],
    code: 1000,
  },
  {
    name: "ten pings",
    send: [
      ...Array.from({ length: 10 }, (_, i) => ({ opcode: 9, data: `${i}` })),
      bye,
    ],
    gives: Array.from({ length: 10 }, (_, i) => [10, `${i}`]),
    code: 1000,
  },
  {
    name: "unsolicited pong",
    send: [{ opcode: 10, data: "x" }, { opcode: 9, data: "y" }, bye],
    gives: [[10, "y"]],
    code: 1000,
  },
  {
    name: "long ping",
    send: [{ opcode: 9, data: "p".repeat(126) }],
    code: 1002,
  },
  {
    name: "reserved bit",
    send: [{ opcode: T, data: "a" }, { opcode: T, data: "b", rsv: 0x40 }],
    gives: ["a"],
    code: 1002,
  },
  { name: "opcode 3", send: [{ opcode: 3 }], code: 1002 },
  {
    name: "opcode 11",
    send: [{ opcode: T, data: "a" }, { opcode: 11 }, { opcode: 9 }],
    gives: ["a"],
    code: 1002,
  },
  {
    name: "fragments with a ping between",
    send: [{ opcode: T, data: "a", fin: false }, { opcode: 9, data: "p" }, {
      opcode: C,
      data: "b",
    }, bye],
    gives: [[10, "p"], "ab"],
    code: 1000,
  },
  {
    name: "fragmented ping",
    send: [{ opcode: 9, fin: false }, { opcode: C }],
    code: 1002,
  },
  {
    name: "continuation of nothing",
    send: [{ opcode: C, data: "a" }],
    code: 1002,
  },
  {
    name: "text inside a text",
    send: [{ opcode: T, data: "a", fin: false }, { opcode: T, data: "b" }],
    code: 1002,
  },
  {
    name: "text beyond ASCII in fragments that cut characters",
    send: [{ opcode: T, data: [0xf0, 0x90], fin: false }, {
      opcode: C,
      data: [0x8d, 0x88],
    }, bye],
    gives: ["𐍈"],
    code: 1000,
  },
  {
    name: "text that is not UTF-8",
    send: [{ opcode: T, data: [0xce, 0xba, 0xff] }],
    code: 1007,
  },
  {
    name: "text that becomes none in its second fragment",
    send: [{ opcode: T, data: [0xf4], fin: false }, {
      opcode: C,
      data: [0x90],
      fin: false,
    }],
    code: 1007,
  },
  {
    name: "no mask",
    send: [{ opcode: T, data: "a", masked: false }],
    code: 1002,
  },
  { name: "close", send: [closeFrame()], code: 1005 },
  {
    name: "close with half a code",
    send: [{ opcode: 8, data: [3] }],
    code: 1002,
  },
  {
    name: "close 3000 with a reason",
    send: [closeFrame(3000, "enough")],
    code: 3000,
  },
  { name: "close 1005", send: [closeFrame(1005)], code: 1002 },
  { name: "close 2999", send: [closeFrame(2999)], code: 1002 },
  {
    name: "close with a reason that is not UTF-8",
    send: [{ opcode: 8, data: [3, 232, 0xff] }],
    code: 1007,
  },
  {
    name: "what comes behind a close is not read",
    send: [bye, { opcode: T, data: "a" }, { opcode: 3 }],
    code: 1000,
  },
  {
    name: "a message at its limit",
    path: "/small",
    send: [{ opcode: T, data: "s".repeat(600), fin: false }, {
      opcode: C,
      data: "s".repeat(400),
    }, bye],
    gives: ["s".repeat(1000)],
    code: 1000,
  },
  {
    name: "a message above it",
    path: "/small",
    send: [{ opcode: T, data: "s".repeat(600), fin: false }, {
      opcode: C,
      data: "s".repeat(401),
    }],
    code: 1009,
  },
  {
    name: "a frame above its limit",
    path: "/small",
    send: [{ opcode: T, data: "s".repeat(601) }],
    code: 1009,
  },
  {
    name: "too many frames",
    path: "/small",
    send: [
      { opcode: T, fin: false },
      ...Array(4).fill({ opcode: C, fin: false }),
    ],
    code: 1009,
  },
];

describe("frames", () => {
  const check = async (row: Row, ws: RawWebSocket) => {
    for (const expected of row.gives ?? []) {
      const { opcode, fin, data } = await ws.read();
      const text = new TextDecoder().decode(data);
      const [code, payload] = typeof expected === "string"
        ? [1, expected]
        : expected;
      assertEquals([opcode, fin, text], [code, true, payload]);
    }
    assertEquals(await ws.closed(), row.code);
  };
  for (const row of ROWS) {
    const bytes = frameBytes(...row.send);
    it(row.name, async () => {
      using whole = await open(row.path ?? "/echo");
      await whole.client.send(bytes);
      await check(row, whole);
      for (let cut = 0; cut < bytes.length && bytes.length < 40; cut++) {
        using split = await open(
          row.path ?? "/echo",
          {},
          bytes.subarray(0, cut),
        );
        await split.client.send(bytes.subarray(cut));
        await check(row, split);
      }
    });
  }

  it("that are broken are counted, and told to onError", async () => {
    const before = status().bad_websocket_frame;
    failed.length = 0;
    using ws = await open("/kind");
    await ws.send({ opcode: 3 });
    assertEquals(await ws.closed(), 1002);
    assertEquals(failed, ["/kind: opcode 3 means nothing"]);
    assertEquals(await endOf("/kind"), {
      path: "/kind",
      code: 1006,
      reason: "",
      wasClean: false,
    });
    assertEquals(status().bad_websocket_frame, before + 1);
  });
});

// ---- Messages

describe("messages", () => {
  it("come as strings and ArrayBuffers, or as Blobs", async () => {
    using ws = await open("/kind");
    await ws.send({ opcode: T, data: "abc" }, { opcode: B, data: [1, 2, 3] }, {
      opcode: B,
    });
    assertEquals([await ws.text(), await ws.text(), await ws.text()], [
      "text",
      "true 3",
      "true 0",
    ]);
    using blob = await open("/blob");
    await blob.send({ opcode: B, data: [1, 2, 3] });
    assertEquals(await blob.text(), "3");
  });

  it("of many sizes come back in order over TLS", async () => {
    const conn = await Deno.connectTls({
      hostname: "127.0.0.1",
      port: gateway.ports[1],
      caCerts: [tls.ca],
    });
    using ws = await RawWebSocket.open(new RawClient(conn), "/echo");
    const sizes = [0, 1, 125, 126, 5000, 16384, 65535, 65536, 200_000, 1 << 20];
    for (const [i, size] of sizes.entries()) {
      const data = new Uint8Array(size).fill(i);
      const sent = ws.send({ opcode: B, data });
      assertEquals((await ws.read()).data, data);
      await sent;
    }
    await ws.send(closeFrame(1000));
    assertEquals(await ws.closed(), 1000);
    assertEquals(opened.get("/echo")!.url!.protocol, "wss:");
  });

  it("leave together if they were sent together", async () => {
    using ws = await open("/echo");
    const before = gateway.gateway.stats().verdicts;
    await ws.send(
      ...Array.from({ length: 300 }, (_, i) => ({ opcode: T, data: `${i}` })),
    );
    for (let i = 0; i < 300; i++) assertEquals(await ws.text(), `${i}`);
    const verdicts = gateway.gateway.stats().verdicts - before;
    assert(verdicts < 100, `${verdicts} verdicts for 300 messages`);
  });

  it("send() after the close does nothing, and before the open it throws", async () => {
    using ws = await open("/echo");
    const context = opened.get("/echo")!;
    await ws.send(closeFrame(1000));
    assertEquals(await ws.closed(), 1000);
    await until("it is closed", () => context.readyState === 3);
    context.send("nobody hears it");
    context.close(1000, "nor this");
    assertEquals(context.raw!.bufferedAmount, 0);
  });
});

// ---- Peers that are not ours

describe("Deno's own client", () => {
  it("has its messages back and closes in order", async () => {
    const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}/peer`, [
      "v1.chat",
    ]);
    ws.binaryType = "arraybuffer";
    const got: unknown[] = [];
    const closed = new Promise<CloseEvent>((resolve) => {
      ws.onopen = () => {
        ws.send("text");
        ws.send(new Uint8Array([1, 2, 3]));
        ws.send("ü".repeat(100_000));
      };
      ws.onmessage = ({ data }) => {
        got.push(typeof data === "string" ? data : new Uint8Array(data));
        if (got.length === 3) ws.close(4321, "thanks");
      };
      ws.onclose = resolve;
    });
    const { code, wasClean } = await within(closed, "the close");
    assertEquals([code, wasClean, ws.protocol], [4321, true, "v1.chat"]);
    assertEquals(got, ["text", new Uint8Array([1, 2, 3]), "ü".repeat(100_000)]);
    assertEquals(await endOf("/peer"), {
      path: "/peer",
      code: 4321,
      reason: "thanks",
      wasClean: true,
    });
  });
});

describe("npm:ws", () => {
  for (const scheme of ["ws", "wss"]) {
    it(`over ${scheme}: fragments, pings, close`, async () => {
      const port = gateway.ports[scheme === "ws" ? 0 : 1];
      const ws = new NodeWebSocket(`${scheme}://localhost:${port}/echo`, {
        ca: tls.ca,
        perMessageDeflate: true,
      });
      const got: string[] = [];
      const closed = new Promise<number>((resolve, reject) => {
        ws.on("open", () => {
          ws.send("one, ", { fin: false });
          ws.ping("ping");
          ws.send("two", { fin: true });
          ws.send(new Uint8Array(100_000));
        });
        ws.on(
          "pong",
          (data: Uint8Array) =>
            got.push(`pong ${new TextDecoder().decode(data)}`),
        );
        ws.on("message", (data: Uint8Array, isBinary: boolean) => {
          got.push(
            isBinary ? `${data.length} bytes` : new TextDecoder().decode(data),
          );
          if (isBinary) ws.close(1001, "leaving");
        });
        ws.on("error", reject);
        ws.on("close", resolve);
      });
      assertEquals(await within(closed, "the close"), 1001);
      assertEquals(got, ["pong ping", "one, two", "100000 bytes"]);
      assertEquals(ws.extensions, "");
    });
  }
});

// ---- How it ends

describe("the end", () => {
  for (const path of ["/throws", "/rejects"]) {
    it(`a handler that ${path.slice(1)} closes its own connection with 1011, and is counted`, async () => {
      using other = await open("/echo");
      const before = status().handler_failed;
      using ws = await open(path);
      await ws.send({ opcode: T, data: "x" });
      const { opcode, data } = await ws.read();
      assertEquals([opcode, [...data.subarray(0, 2)]], [8, [
        1011 >> 8,
        1011 & 255,
      ]]);
      await ws.send(closeFrame(1011));
      await ws.ended();
      assertEquals((await endOf(path)).code, 1011);
      await until(
        "it is counted",
        () => status().handler_failed === before + 1,
      );
      await other.send({ opcode: T, data: "unharmed" });
      assertEquals(await other.text(), "unharmed");
    });
  }

  it("close() sends its code and reason, and takes the client's answer", async () => {
    using ws = await open("/close/4000");
    await ws.send({ opcode: T, data: "because" });
    const { opcode, data } = await ws.read();
    assertEquals([opcode, new TextDecoder().decode(data.subarray(2))], [
      8,
      "because",
    ]);
    await ws.send({ opcode: T, data: "too late" }, closeFrame(4000));
    await ws.ended();
    assertEquals(await endOf("/close"), {
      path: "/close",
      code: 4000,
      reason: "",
      wasClean: true,
    });
  });

  for (const code of [999, 1004, 1005, 1006, 1015, 2000, 5000]) {
    it(`close(${code}) throws, which is 1011`, async () => {
      const before = console.error;
      console.error = () => {};
      using ws = await open(`/close/${code}`);
      await ws.send({ opcode: T, data: "x" }, closeFrame(1000));
      assertEquals(await ws.closed(), 1011);
      console.error = before;
      await endOf("/close");
    });
  }

  it("a close that the client does not answer ends in its time", async () => {
    using ws = await open("/unanswered");
    await ws.send({ opcode: T });
    assertEquals(await ws.closed(), 4001);
    assertEquals(await endOf("/unanswered"), {
      path: "/unanswered",
      code: 1006,
      reason: "",
      wasClean: false,
    });
  });

  it("a client that ends without a close: 1006", async () => {
    using ws = await open("/kind");
    await ws.send({ opcode: T, data: "x" });
    assertEquals(await ws.text(), "text");
    await ws.client.closeWrite();
    await ws.ended();
    assertEquals(await endOf("/kind"), {
      path: "/kind",
      code: 1006,
      reason: "",
      wasClean: false,
    });
  });

  it("a client that is gone: 1006", async () => {
    const ws = await open("/kind");
    ws.client.close();
    assertEquals((await endOf("/kind")).code, 1006);
  });

  it("a client that answers pings stays", async () => {
    using ws = await open("/pinged");
    for (let i = 0; i < 5; i++) {
      const { opcode, data } = await ws.read();
      assertEquals([opcode, data.length], [9, 0]);
      await ws.send({ opcode: 10 });
    }
    await ws.send({ opcode: T, data: "here" });
    for (;;) { // perhaps behind another ping
      const { opcode } = await ws.read();
      if (opcode === 1) break;
      assertEquals(opcode, 9);
    }
  });

  it("a client that does not is cut off, and counted", async () => {
    const before = status().idle_timeout;
    failed.length = 0;
    using ws = await open("/silent");
    assertEquals((await ws.read()).opcode, 9);
    await ws.client.readRest().then(() => assert(false, "no reset"), () => {});
    assertEquals((await endOf("/silent")).code, 1006);
    assertEquals(failed, [
      "/silent: The client has not answered a ping for 20 ms",
    ]);
    assertEquals(status().idle_timeout, before + 1);
  });

  it("without messages it is closed with 1001, if that is asked for", async () => {
    using ws = await open("/idle");
    const { opcode, data } = await ws.read();
    assertEquals([opcode, [...data.subarray(0, 2)]], [8, [3, 233]]);
    await ws.send(closeFrame(1001));
    await ws.ended();
    assertEquals((await endOf("/idle")).code, 1001);
  });

  it("a drain closes with 1001, and cuts who does not answer at its deadline", async () => {
    const other = await startGateway(createApp());
    using ws = await RawWebSocket.open(other.port, "/echo");
    using silent = await RawWebSocket.open(other.port, "/echo");
    ended.length = 0;
    const closing = other.gateway.close({ deadlineMs: 100 });
    await ws.send({ opcode: T, data: "on its way" });
    let frame = await ws.read();
    if (frame.opcode === 1) frame = await ws.read();
    assertEquals([...frame.data.subarray(0, 2)], [3, 233]);
    await ws.send(closeFrame(1001));
    await ws.ended();
    assertEquals((await silent.read()).opcode, 8);
    await within(closing, "the close");
    await until("both have heard of it", () => ended.length === 2);
    assertEquals(ended.map(({ code }) => code), [1001, 1006]);
  });
});

// ---- Backpressure

describe("a client that reads slowly", () => {
  it("is cut off when too much waits for it", async () => {
    const before = status().write_stalled;
    failed.length = 0;
    using ws = await open("/flood");
    await ws.send({ opcode: T });
    assertEquals((await endOf("/flood")).code, 1006);
    assert(
      failed[0].startsWith("/flood: The client reads too slowly: "),
      failed[0],
    );
    await until("it is counted", () => status().write_stalled === before + 1);
  });

  it("is waited for by drained()", async () => {
    using ws = await open("/patient");
    await ws.send({ opcode: T });
    for (let i = 0; i < 64; i++) {
      const { data } = await ws.read();
      assertEquals([data.length, data[0], data[65535]], [65536, i, i]);
    }
    assertEquals(await ws.text(), "done");
  });

  it("is not read from meanwhile", async () => {
    using ws = await open("/echo");
    const context = opened.get("/echo")!.raw!;
    const bytes = frameBytes({ opcode: B, data: new Uint8Array(1 << 20) });
    const sending = (async () => {
      for (let i = 0; i < 32; i++) await ws.client.send(bytes);
    })();
    sending.catch(() => {});
    await until("something waits", () => context.bufferedAmount > 0);
    let most = 0;
    for (let i = 0; i < 32; i++) {
      const { data } = await ws.read();
      assertEquals(data.length, 1 << 20);
      most = Math.max(most, context.bufferedAmount);
    }
    await sending;
    // One message, and what waited when it came.
    assert(most < (1 << 20) + 256 * 1024 + 64, `${most} bytes waited`);
  });
});

// ---- Through a proxy

describe("a WebSocket through proxy()", () => {
  let front: RunningGateway;
  beforeAll(async () => {
    const { ca: _, ...certificate } = tls;
    const app = new Hono().all("/*", proxy(gateway.base));
    front = await startGateway(app, {
      listeners: [
        { address: "127.0.0.1:0" },
        { address: "127.0.0.1:0", tls: { certificates: [certificate] } },
      ],
    });
  });
  afterAll(() => front.stop());

  it("never enters TypeScript, and closes with its own code", async () => {
    using ws = await RawWebSocket.open(
      front.port,
      "/echo",
      { "Sec-WebSocket-Protocol": "a" },
      frameBytes({ opcode: T, data: "early" }),
    );
    assertEquals(ws.head.get("sec-websocket-accept"), ACCEPT);
    assertEquals(ws.head.get("sec-websocket-protocol"), "a");
    assertEquals(ws.head.get("connection"), "upgrade");
    assertEquals(await ws.text(), "early");
    const data = new Uint8Array(1 << 20).fill(7);
    const sent = ws.send({ opcode: B, data });
    assertEquals((await ws.read()).data, data);
    await sent;
    await ws.send(closeFrame(3000));
    assertEquals(await ws.closed(), 3000);
    const { events, upgrades, requests_proxied } = front.gateway.stats();
    assertEquals([events, upgrades, requests_proxied], [0, 1, 1]);
  });

  it("works over TLS for npm:ws", async () => {
    const ws = new NodeWebSocket(`wss://localhost:${front.ports[1]}/echo`, {
      ca: tls.ca,
    });
    const closed = new Promise<number>((resolve, reject) => {
      ws.on("open", () => ws.send("x".repeat(300_000)));
      ws.on("message", () => ws.close(1000));
      ws.on("error", reject);
      ws.on("close", resolve);
    });
    assertEquals(await within(closed, "the close"), 1000);
  });

  it("passes what the upstream says of a bad handshake", async () => {
    using client = await rawClient(front.port);
    const version = { "Sec-WebSocket-Version": "8" };
    const { status, head } = await client.ask(handshake("/echo", version));
    assertEquals([status, head.get("sec-websocket-version")], [426, "13"]);
  });

  it("ends with the end that is gone", async () => {
    const gone = await RawWebSocket.open(front.port, "/kind");
    await gone.send({ opcode: T });
    assertEquals(await gone.text(), "text");
    gone.client.close();
    assertEquals((await endOf("/kind")).code, 1006);
    using thrown = await RawWebSocket.open(front.port, "/throws");
    await thrown.send({ opcode: T }, closeFrame(1000));
    assertEquals(await thrown.closed(), 1011);
    await endOf("/throws");
    thrown.client.close(); // until then it might go on
    await until(
      "no tunnel is left",
      () => front.gateway.stats().upgrades_live === 0,
    );
  });

  it("is cut at the drain's deadline", async () => {
    const other = await startGateway(
      new Hono().all("/*", proxy(gateway.base)),
    );
    using ws = await RawWebSocket.open(other.port, "/kind");
    await other.gateway.close({ deadlineMs: 50 });
    await ws.client.readRest().then(() => assert(false, "no reset"), () => {});
    assertEquals(other.gateway.stats().byStatus.draining, 1);
    assertEquals((await endOf("/kind")).code, 1006);
    await other.stop();
  });
});

describe("a WebSocket through proxy() behind TypeScript", () => {
  let front: RunningGateway;
  const upstream = { url: "" };
  beforeAll(async () => {
    upstream.url = gateway.base;
    const edits: MiddlewareHandler = async (c, next) => {
      c.req.raw.headers.set("sec-websocket-protocol", "a");
      await next();
      c.header("x-response", "edited");
    };
    const app = new Hono()
      .use("/echo", edits)
      .use("/refuses/*", async (c, next) => {
        await next();
        c.res = c.text(`not after a ${c.res.status}`, 403);
      })
      .use("/copies/*", async (c, next) => {
        await next();
        c.res.clone();
      })
      .use("/makes/*", (c, next) => {
        for (const line of handshake("/").split("\r\n").slice(2)) {
          const [name, value] = line.split(": ");
          if (value) c.req.raw.headers.set(name, value);
        }
        return next();
      })
      .all("/makes/*", toEcho, proxy({ upstreams: ["one", "two"] }))
      .all("/refuses/*", toEcho, proxy({ upstreams: ["one", "two"] }))
      .all("/copies/*", toEcho, proxy({ upstreams: ["one", "two"] }))
      .all(
        "/picked/*",
        toEcho,
        proxy({ upstreams: ["one", "two"], balancer: "last" }),
      )
      .all("/*", proxy({ upstreams: ["one", "two"] }));
    front = await startGateway(app, {
      upstreams: { one: upstream, two: upstream },
      plugins: [
        definePlugin({
          name: "test",
          version: "1.0.0",
          setup: () => ({
            balancers: { last: { pick: (_, names) => names.at(-1)! } },
          }),
        }),
      ],
    });
  });
  afterAll(() => front.stop());

  const toEcho: MiddlewareHandler = (c, next) => {
    c.req.raw = new Request(new URL("/echo", c.req.url), c.req.raw);
    return next();
  };

  async function echoes(path: string): Promise<RawWebSocket> {
    const before = front.gateway.stats();
    const early = frameBytes({ opcode: T, data: "early" });
    const ws = await RawWebSocket.open(front.port, path, {}, early);
    assertEquals(await ws.text(), "early");
    const data = crypto.getRandomValues(new Uint8Array(65536));
    for (let i = 0; i < 16; i++) {
      const sent = ws.send({ opcode: B, data });
      assertEquals((await ws.read()).data, data);
      await sent;
    }
    const { events, upgrades } = front.gateway.stats();
    assertEquals(
      [events - before.events, upgrades - before.upgrades],
      [2, 1], // the request and its answer, and none for what went through
    );
    return ws;
  }

  it("is tunnelled, and both heads are edited", async () => {
    using ws = await echoes("/echo");
    assertEquals(ws.head.get("sec-websocket-accept"), ACCEPT);
    assertEquals(ws.head.get("sec-websocket-protocol"), "a");
    assertEquals(ws.head.get("x-response"), "edited");
    assertEquals(ws.head.get("connection"), "upgrade");
    await ws.send(closeFrame(3000));
    assertEquals(await ws.closed(), 3000);
  });

  it("is tunnelled to what a balancer picks, or where its answer was copied", async () => {
    for (const path of ["/picked/a", "/copies/a"]) {
      using ws = await echoes(path);
      await ws.send(closeFrame(1000));
      assertEquals(await ws.closed(), 1000);
    }
  });

  it("is none that middleware makes of another request", async () => {
    using client = await rawClient(front.port);
    const { text } = await client.ask(
      "GET /makes/a HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assertEquals(text, "not a WebSocket");
  });

  it("is none where middleware answers itself", async () => {
    const before = front.gateway.stats().upgrades;
    using client = await rawClient(front.port);
    const { status, text } = await client.ask(handshake("/refuses/a"));
    assertEquals([status, text], [403, "not after a 101"]);
    assertEquals(front.gateway.stats().upgrades, before);
    assertEquals(front.gateway.stats().bad_verdicts, 0);
  });
});

// ---- The same module on Deno.serve

describe("upgradeWebSocket() on Deno.serve", () => {
  it("is Deno's own", async () => {
    const app = createApp();
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => app.fetch(request),
    );
    try {
      using ws = await RawWebSocket.open(server.addr.port, "/kind");
      assertEquals(ws.head.get("sec-websocket-accept"), ACCEPT);
      await ws.send({ opcode: T, data: "a" }, { opcode: B, data: [1, 2] });
      assertEquals([await ws.text(), await ws.text()], ["text", "true 2"]);
      using patient = await RawWebSocket.open(server.addr.port, "/patient");
      await patient.send({ opcode: T });
      for (let i = 0; i < 64; i++) {
        assertEquals((await patient.read()).data.length, 65536);
      }
      assertEquals(await patient.text(), "done");
      using client = await rawClient(server.addr.port);
      assertEquals(
        (await client.ask(handshake("/echo", { "Sec-WebSocket-Version": "8" })))
          .status,
        426,
      );
      using plain = await rawClient(server.addr.port);
      assertEquals(
        (await plain.ask("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")).text,
        "not a WebSocket",
      );
    } finally {
      await server.shutdown();
    }
  });
});
