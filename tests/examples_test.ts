// Every program in examples/ starts as its first lines say and answers.
import { expect } from "@std/expect";
import { describe, it } from "@std/testing/bdd";
import {
  certificate,
  folderOf,
  ROOT,
  startCommand,
  within,
} from "./support.ts";

interface Example {
  /** It says itself where it listens, with TLS: on the port of $PORT, with cert.pem and key.pem of the folder. */
  secure?: boolean;
  /** What it may do besides. */
  permission?: string;
  /** Upstreams by the port that it has for each; they answer with that, the path and the prefix they are told. */
  upstreams?: number[];
  /** Requests, each with its status and a part of its body. */
  asks: [
    path: string,
    status: number,
    text: string,
    headers?: Record<string, string>,
  ][];
  /** What a WebSocket of this path answers to "hello". */
  socket?: [path: string, text: string];
}

const EXAMPLES: Record<string, Example> = {
  "gateway.ts": {
    asks: [
      ["/healthz", 200, "ok\n"],
      ["/hello/Ada", 200, "Hello, Ada!\n"],
      ["/whoami", 200, "GET /whoami HTTP/1.1\r\n"],
    ],
  },
  "reverse_proxy.ts": {
    asks: [
      ["/api/version", 200, '{"gateway":"sluice"}'],
      ["/api", 308, ""],
      ["/api/users", 200, "3000 /api/users /api"],
      ["/about", 200, "3001 /about null"],
    ],
    upstreams: [3000, 3001],
  },
  "rate_limit.ts": {
    asks: [
      ["/api/report", 401, "Unauthorized"],
      [
        "/api/report",
        200,
        '{"report":"done"}',
        { authorization: "Bearer a-token-for-the-example" },
      ],
      ["/login", 404, "404 Not Found"], // it is POST
    ],
  },
  "canary.ts": {
    asks: [
      ["/healthz", 200, "ok\n"],
      ["/a", 200, "3001 /a", { "x-canary": "yes" }],
      ["/a", 200, "3001 /a", { cookie: "canary=yes" }],
      // Of sessions one in twenty is in, always the same ones.
      ["/a", 200, "3000 /a", { cookie: "session=1" }],
      ["/a", 200, "3001 /a", { cookie: "session=14" }],
    ],
    upstreams: [3000, 3001],
  },
  "mtls.ts": {
    secure: true,
    asks: [
      ["/", 200, "Hello, you.\n"],
      ["/admin", 403, "Show a certificate of our CA.\n"],
    ],
  },
  "plugin.ts": {
    asks: [
      ["/hello", 403, 'No team ""\n'],
      ["/hello", 200, "Hello, team!\n", { "x-team": "blue" }],
    ],
  },
  "shared_limit.ts": {
    permission: "--allow-write=.",
    asks: [
      ["/report", 200, "Nothing to report."],
      ["/report", 200, "Nothing to report."],
      ["/report", 200, "Nothing to report."],
      ["/report", 429, "Too many requests."],
    ],
  },
  "session_tickets.ts": {
    secure: true,
    asks: [["/news", 200, "Nothing new. resumed: false, early: false\n"]],
  },
  "websocket.ts": {
    asks: [["/", 200, "new WebSocket"]],
    socket: ["/room/lobby", "1 here: hello"],
  },
};

/** What a WebSocket answers to "hello". */
async function hello(url: string): Promise<string> {
  const socket = new WebSocket(url);
  try {
    return await within(
      new Promise<string>((resolve, reject) => {
        socket.onopen = () => socket.send("hello");
        socket.onmessage = ({ data }) => resolve(data);
        socket.onerror = (event) => reject((event as ErrorEvent).error);
      }),
      "an answer",
    );
  } finally {
    socket.close();
  }
}

/** Upstreams by port, and the text of the example with their real ports. */
async function withUpstreams(name: string, ports: number[]) {
  let text = await Deno.readTextFile(`${ROOT}/examples/${name}`);
  await using servers = new AsyncDisposableStack();
  for (const port of ports) {
    const options = { port: 0, hostname: "127.0.0.1", onListen() {} };
    const server = servers.use(
      Deno.serve(options, ({ url, headers }) =>
        new Response(
          `${port} ${new URL(url).pathname} ${
            headers.get("x-forwarded-prefix")
          }`,
        )),
    );
    text = text.replaceAll(
      `127.0.0.1:${port}"`,
      `127.0.0.1:${server.addr.port}"`,
    );
  }
  return { text, servers: servers.move() };
}

describe("examples", () => {
  it("are all in this test", async () => {
    const names = (await Array.fromAsync(Deno.readDir(`${ROOT}/examples`)))
      .map(({ name }) => name).filter((name) => name.endsWith(".ts"));
    expect(names.sort()).toEqual(Object.keys(EXAMPLES).sort());
  });

  for (
    const [name, { asks, socket, secure, permission, upstreams = [] }] of Object
      .entries(EXAMPLES)
  ) {
    it(`${name} answers`, async () => {
      const pem = secure ? await certificate() : { cert: "", key: "" };
      const { text, servers } = await withUpstreams(name, upstreams);
      await using _ = servers;
      await using folder = await folderOf({
        ...upstreams.length > 0 && { [name]: text },
        "cert.pem": pem.cert,
        "key.pem": pem.key,
        "ca.pem": secure ? (await certificate(true)).cert : "",
      });
      await using command = await startCommand([
        upstreams.length > 0 ? name : `${ROOT}/examples/${name}`,
        ...permission ? [permission] : [],
      ], {
        folder: folder.path,
        ownListeners: secure,
        env: { PORT: "0" },
      });
      using client = Deno.createHttpClient({ caCerts: [pem.cert] });
      const scheme = secure ? "https" : "http";
      for (const [path, status, text, headers] of asks) {
        const answer = await fetch(
          `${scheme}://127.0.0.1:${command.port}${path}`,
          { redirect: "manual", headers, client },
        );
        expect([path, answer.status]).toEqual([path, status]);
        expect(await answer.text()).toContain(text);
      }
      if (socket) {
        const url = `ws://127.0.0.1:${command.port}${socket[0]}`;
        expect(await hello(url)).toBe(socket[1]);
      }
    });
  }
});
