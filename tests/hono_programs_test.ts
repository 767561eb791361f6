/**
 * Hono programs that this project did not write (tests/hono_programs/README.md says whose they are), unmodified: each is served by Deno.serve
 * and by Sluice, asked the same, and every byte of the answers is compared, but for what `EXCEPTIONS` names.
 *
 * @module
 */
import { expect } from "@std/expect";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { sign } from "hono/jwt";
import { head, TYPES } from "./hono_servers.ts";
import {
  ioUnderTest,
  latin1,
  type RawAnswer,
  rawClient,
  ROOT,
  type RunningCommand,
  startCommand,
  within,
} from "./support.ts";

const FOLDER = `${ROOT}/tests/hono_programs`;

/** What two right servers may say differently; nothing else is left out of the comparison. */
const EXCEPTIONS: Record<string, string> = {
  date: "the clock",
  connection: "hop by hop (RFC 9110 section 7.6.1)",
  "keep-alive": "hop by hop",
  "transfer-encoding": "hop by hop: the body's framing is the server's own",
  "content-length":
    "the same: it is compared with the body that came, and where both servers give one",
};
// Deno.serve can compress, so it adds this to whatever it might compress; no program here asks for it.
const ADDED_BY_DENO = "Accept-Encoding";

interface Question {
  method?: string;
  path: string;
  fields?: Record<string, string>;
  body?: string;
}

interface Program {
  /** The file in tests/hono_programs. */
  file: string;
  questions: () => Question[] | Promise<Question[]>;
  /** What in an answer comes from a clock or from chance, by a pattern. */
  varies?: [reason: string, pattern: RegExp][];
  /** It is also started by the command line, as a plain module. */
  asModule?: boolean;
}

const get = (path: string, fields: Record<string, string> = {}): Question => ({
  path,
  fields,
});
const post = (
  path: string,
  body: string,
  type: string = TYPES.json,
  fields: Record<string, string> = {},
): Question => ({
  method: "POST",
  path,
  body,
  fields: { "content-type": type, ...fields },
});
const as = (method: string, question: Question): Question => ({
  ...question,
  method,
});
const basic = (user: string) => ({ authorization: `Basic ${btoa(user)}` });
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

const MULTIPART = "multipart/form-data; boundary=b0undary";
const multipart = (name: string, text: string) =>
  `--b0undary\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\n` +
  `Content-Type: text/plain\r\n\r\n${text}\r\n--b0undary--\r\n`;

const PROGRAMS: Program[] = [
  {
    file: "basic/index.ts",
    asModule: true,
    varies: [["a duration", /(?<=x-response-time=)\d+ms/g]],
    questions: () => [
      ..."/ /hello /entry/7 /book /book/9 /redirect /none /api/posts /api/posts?pretty /api/other /error /type-error"
        .split(" ").map((path) => get(path)),
      post("/book", ""),
      post("/api/posts", "{}"),
      get("/user-agent", { "user-agent": "Test/1" }),
      get("/auth/x"),
      get("/auth/x", basic("hono:acoolproject")),
      get("/auth/x", basic("hono:wrong")),
      get("/etag/cached"),
      get("/etag/cached", {
        "if-none-match": '"90ea638841fff3c326fc22cbd156f1146ac0ac02"',
      }),
      as("HEAD", get("/hello")),
      as("HEAD", get("/api/posts")),
      as("OPTIONS", get("/")),
      as("DELETE", get("/book/9")),
    ],
  },
  {
    file: "jsx_ssr/index.tsx",
    asModule: true,
    questions: () => [
      get("/"),
      get("/post/1"),
      get("/post/5"),
      get("/post/9"),
      get("/post/x"),
      as("HEAD", get("/")),
    ],
  },
  {
    file: "trpc/index.ts",
    asModule: true,
    questions: () => [
      get("/trpc/hello"),
      get("/trpc/hello?input=%22Hono%22"),
      get("/trpc/hello?batch=1&input=%7B%220%22%3A%22a%22%7D"),
      get(
        "/trpc/hello,hello?batch=1&input=%7B%220%22%3A%22a%22%2C%221%22%3A%22b%22%7D",
      ),
      get("/trpc/none"),
      get("/trpc/hello?input=7"),
      post("/trpc/hello", '"posted"'),
      get("/else"),
    ],
    varies: [["a stack trace", /"stack":"[^"]*"/g]],
  },
  {
    file: "zod_openapi.ts",
    asModule: true,
    questions: () => [
      get("/users/1212121"),
      get("/users/1"),
      get("/doc"),
      get("/none"),
    ],
  },
  {
    file: "openauth.ts",
    asModule: true,
    varies: [
      ["an encrypted cookie", /(?<=set-cookie=\w+=)[^;]+/g],
      ["a state that is drawn", /(?<=state=)[\w-]+/g],
    ],
    questions: () => [
      get("/.well-known/oauth-authorization-server"),
      get(
        "/authorize?client_id=c&redirect_uri=http%3A%2F%2Flocalhost%2Fcb&response_type=code",
      ),
      get("/authorize?client_id=c"),
      get("/password/authorize"),
      get("/password/register"),
      post("/token", "grant_type=nonsense", TYPES.form),
      post(
        "/token",
        "grant_type=authorization_code&code=unknown&redirect_uri=a&client_id=b",
        TYPES.form,
      ),
      get("/userinfo"),
      get("/none"),
    ],
  },
  {
    file: "hono_openapi.ts",
    questions: () => [get("/"), get("/?name=Ada"), get("/?name=a&name=b")],
  },
  {
    file: "swagger_ui.ts",
    questions: () => [get("/doc"), get("/ui"), get("/health")],
  },
  {
    file: "zod_validator.ts",
    questions: () => [
      post("/author", '{"name":"Ada","age":36}'),
      post("/author", '{"name":"Ada","age":"36"}'),
      post("/author", "{"),
      post("/author", "name=Ada", TYPES.form),
    ],
  },
  {
    file: "rate_limiter.ts",
    varies: [["seconds until the window ends", /(?<=reset=)\d+/g]],
    questions: () => [
      get("/", { "x-forwarded-for": "192.0.2.1" }),
      get("/error", { "x-forwarded-for": "192.0.2.1" }),
      post("/crash", "", "text/plain", { "x-forwarded-for": "192.0.2.1" }),
      get("/", { "x-forwarded-for": "192.0.2.1" }),
      get("/", { "x-forwarded-for": "192.0.2.2" }),
      as("HEAD", get("/", { "x-forwarded-for": "192.0.2.1" })),
    ],
  },
  {
    file: "prometheus.ts",
    varies: [
      ["a duration", /(?<=_sum\{[^}]*\} )[\d.e-]+/g],
      ["how long it took, in a histogram", /(?<=_bucket\{[^}]*\} )\d+/g],
    ],
    questions: () => [get("/"), get("/"), get("/none"), get("/metrics")],
  },
  {
    file: "cbor.ts",
    questions: () => [get("/"), as("HEAD", get("/"))],
  },
  {
    file: "jwt.ts",
    questions: async () => [
      get("/auth/page"),
      get("/auth/page", bearer("nonsense")),
      get("/auth/page", bearer(await sign({ a: 1 }, "wrong", "HS256"))),
      get("/auth/page", bearer(await sign({ exp: 1 }, "it-is-very-secret"))),
      get("/auth/page", bearer(await sign({ a: 1 }, "it-is-very-secret"))),
    ],
  },
  {
    file: "cors.ts",
    questions: () =>
      [1, 2, 3, 4, 5].flatMap((n) => {
        const path = `/api${n === 1 ? "" : n}/abc`;
        return [
          get(path),
          get(path, { origin: "https://example.com" }),
          get(path, { origin: "http://sub.example.com" }),
          as(
            "OPTIONS",
            get(path, {
              origin: "https://example.com",
              "access-control-request-method": "PUT",
              "access-control-request-headers": "x-a, x-b",
            }),
          ),
        ];
      }),
  },
  {
    file: "etag.ts",
    questions: () => [
      get("/etag/abc"),
      get("/etag/abc", {
        "if-none-match": '"4e32298b1cb4edc595237405e5b696e105c2399a"',
      }),
      get("/etag/abc", { "if-none-match": "*" }),
      as("HEAD", get("/etag/abc")),
    ],
  },
  {
    file: "compress.ts",
    questions: () =>
      ["gzip", "deflate", "identity", "br", ""].flatMap((coding) => [
        get("/long", coding ? { "accept-encoding": coding } : {}),
        get("/short", coding === "gzip" ? { "accept-encoding": coding } : {}),
      ]),
  },
  {
    file: "combine.ts",
    questions: () => [
      get("/api/page"),
      get("/api/page", bearer("honoiscool")),
      get("/api/page", bearer("wrong")),
      get("/api/page", { authorization: "Nonsense" }),
      get("/api/public/page"),
    ],
  },
  {
    file: "basic_auth.ts",
    questions: () => [
      get("/auth/page"),
      as("DELETE", get("/auth/page")),
      as("DELETE", get("/auth/page", basic("hono:acoolproject"))),
      as("DELETE", get("/auth/page", { authorization: "Basic ?" })),
    ],
  },
  {
    file: "body_limit.ts",
    questions: () => [
      post("/upload", multipart("a.txt", "small"), MULTIPART),
      post("/upload", multipart("a.txt", "x".repeat(60_000)), MULTIPART),
    ],
  },
  {
    file: "file_upload.ts",
    questions: () => [
      post(
        "/upload",
        multipart("a.txt", "one").replace("--b0undary--\r\n", "") +
          multipart("b.txt", "two"),
        MULTIPART,
      ),
      post("/upload", "file=text", TYPES.form),
    ],
  },
  { file: "timeout.ts", questions: () => [get("/api/data")] },
  {
    file: "method_override.ts",
    questions: () => [
      post("/posts", "_method=DELETE", TYPES.form),
      post("/posts", "_method=PUT", TYPES.form),
      post(
        "/posts",
        '--b0undary\r\nContent-Disposition: form-data; name="_method"\r\n\r\nDELETE\r\n--b0undary--\r\n',
        MULTIPART,
      ),
      post("/posts", "", "text/plain", { "x-method-override": "DELETE" }),
      post("/posts?_method=DELETE", ""),
      as("DELETE", get("/posts")),
    ],
  },
  {
    file: "trailing_slash_append.ts",
    questions: () => [get("/about/me"), get("/about/me/"), get("/about/you")],
  },
  {
    file: "trailing_slash_trim.ts",
    questions: () => [
      get("/about/me"),
      get("/about/me/"),
      get("/about/me/?a=b"),
      as("HEAD", get("/about/me/")),
    ],
  },
  { file: "context_storage.ts", questions: () => [get("/")] },
  {
    file: "request_id.ts",
    questions: () => [get("/", { "x-request-id": "mine-1" }), get("/")],
    varies: [["an id that is drawn", /[0-9a-f]{8}-[0-9a-f-]{27}/g]],
  },
  {
    file: "language.ts",
    questions: () => [
      get("/"),
      get("/?lang=ar"),
      get("/", { cookie: "language=ja" }),
      get("/", { "accept-language": "ar,en;q=0.9" }),
    ],
  },
  { file: "secure_headers.ts", questions: () => [get("/test"), get("/")] },
  {
    file: "streaming.ts",
    questions: () => [get("/stream"), get("/streamText")],
  },
  { file: "jsx.tsx", questions: () => [get("/")] },
  {
    file: "jsx_html.tsx",
    questions: () => [get("/%3Cb%3E%E2%82%AC"), get("/")],
  },
  { file: "jsx_errors.tsx", questions: () => [get("/sync")] },
  {
    file: "jsx_renderer.tsx",
    questions: () => [get("/page/about"), get("/page/none"), get("/blog")],
  },
  { file: "jsx_streaming.tsx", questions: () => [get("/")] },
  {
    file: "validation.ts",
    questions: () => [
      post("/testing", '{"key":"value"}'),
      post("/testing", '{"key":"value"}', "text/plain"),
      post("/testing", "{"),
    ],
  },
  { file: "html.ts", questions: () => [get("/%3Cscript%3E"), get("/a/b")] },
  { file: "conninfo.ts", questions: () => [get("/")] },
  {
    file: "routing.ts",
    questions: () =>
      "/ /wild/x/card /any-method /posts /user/ada /posts/1/comment/2 /api/animal /api/animal/cat /post/20260101/title /post/x/title /posts/deep/a.png /endpoint /book/a /book/b"
        .split(" ").flatMap((path) => [
          get(path),
          as("PUT", get(path)),
          as("DELETE", get(path)),
          as("PURGE", get(path)),
          post(path, ""),
        ]),
  },
  {
    file: "routing_host.ts",
    questions: () => [
      get("/hello", { host: "www1.example.com" }),
      get("/hello", { host: "www2.example.com" }),
      get("/hello"),
    ],
  },
  {
    file: "grouping_routes.ts",
    questions: () => [
      get("/authors"),
      get("/authors/3"),
      post("/books", ""),
      get("/books/none/here"),
    ],
  },
  {
    file: "serve_static.ts",
    questions: () => [
      get("/"),
      get("/static/hello.txt"),
      get("/static/demo/"),
      get("/static/demo/index.html"),
      get("/static/none.txt"),
      get("/static/hello%2Etxt"),
      get("/favicon.ico"),
      get("/else"),
      get("/static/hello.txt", { range: "bytes=0-2" }),
      as("HEAD", get("/static/hello.txt")),
      post("/static/hello.txt", ""),
    ],
  },
];

// ---- Answers

function bytesOf({ method = "GET", path, fields = {}, body }: Question) {
  const length: Record<string, string> = body === undefined
    ? {}
    : { "content-length": String(new TextEncoder().encode(body).length) };
  return head(method, path, { ...length, ...fields }) + (body ?? "");
}

function valuesOf(answer: RawAnswer, name: string): string[] {
  const values = answer.head.all(name);
  if (name !== "vary") return values;
  return values.flatMap((value) => value.split(/ *, */))
    .filter((token) => token.toLowerCase() !== ADDED_BY_DENO.toLowerCase());
}

// One text of status, fields and body: Set-Cookie line by line, other fields as what their lines mean together.
function textOf(answer: RawAnswer, { varies = [] }: Program): string {
  const names = new Set(answer.head.fields.map(([name]) => name));
  const lines = [...names].filter((name) => !(name in EXCEPTIONS)).sort()
    .map((name) => [name, valuesOf(answer, name)] as const)
    .filter(([, values]) => values.length > 0)
    .flatMap(([name, values]) =>
      name === "set-cookie"
        ? values.map((value) => `${name}=${value}`)
        : [`${name}=${values.join(", ")}`]
    );
  let text = [String(answer.status), ...lines, "", latin1(answer.body)]
    .join("\n");
  for (const [reason, pattern] of varies) {
    text = text.replaceAll(pattern, `(${reason})`);
  }
  return text;
}

async function ask(port: number, question: Question): Promise<RawAnswer> {
  using client = await rawClient(port);
  await client.send(bytesOf(question));
  return await client.readAnswer({ toHead: question.method === "HEAD" });
}

// ---- Servers

class Servers implements AsyncDisposable {
  #child: Deno.ChildProcess;
  #text = "";
  ports: number[] = [];

  constructor(server: "deno" | "sluice") {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--frozen",
        "--no-check",
        "--allow-all",
        `--config=${FOLDER}/deno.json`,
        `${ROOT}/tests/hono_programs_child.ts`,
        server,
        ioUnderTest(),
        FOLDER,
        ...PROGRAMS.map(({ file }) => file),
      ],
      cwd: FOLDER,
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null", // programs fail on purpose, and say so
    }).spawn();
  }

  /** Waits for the ports: installing may come first. */
  async ready(): Promise<void> {
    const found = Promise.withResolvers<void>();
    this.#child.stdout.pipeThrough(new TextDecoderStream()).pipeTo(
      new WritableStream({
        write: (text) => {
          this.#text += text;
          const line = /^ports (\[.*\])\n/m.exec(this.#text);
          if (!line) return;
          this.ports = JSON.parse(line[1]);
          found.resolve();
        },
      }),
    ).then(() => found.reject(new Error("the servers have ended")));
    await within(found.promise, "the programs' ports", 60_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close();
    const { code } = await within(this.#child.status, "the servers' end");
    if (code !== 0) throw new Error(`the servers ended with code ${code}`);
  }
}

describe("programs that others wrote", () => {
  let deno: Servers;
  let sluice: Servers;

  beforeAll(async () => {
    deno = new Servers("deno");
    sluice = new Servers("sluice");
    await Promise.all([deno.ready(), sluice.ready()]);
  });
  afterAll(async () => {
    await deno[Symbol.asyncDispose]();
    await sluice[Symbol.asyncDispose]();
  });

  for (const [i, program] of PROGRAMS.entries()) {
    const { file, questions, asModule } = program;
    const expected: string[] = [];

    it(`${file} answers as on Deno.serve`, async () => {
      let isAlive = false; // two servers that always fail would be equal, too
      for (const question of await questions()) {
        const theirs = await ask(deno.ports[i], question);
        const ours = await ask(sluice.ports[i], question);
        expected.push(textOf(theirs, program));
        expect([bytesOf(question), textOf(ours, program)]).toEqual([
          bytesOf(question),
          expected.at(-1),
        ]);
        isAlive ||= ours.status < 500;
        const lengths = [ours, theirs].map(({ head }) =>
          head.get("content-length")
        );
        // Deno.serve says 0 for HEAD where it does not know the length; and what varies may vary in length.
        const comparable = question.method !== "HEAD" && !program.varies;
        if (comparable && lengths.every(Boolean)) {
          expect(lengths[0]).toBe(lengths[1]);
        }
      }
      expect(isAlive).toBe(true);
    });

    if (asModule) {
      it(`${file} answers the same, started as a module`, async () => {
        await using command: RunningCommand = await startCommand([file], {
          folder: FOLDER,
        });
        const all = await questions();
        for (const [k, question] of all.entries()) {
          const answer = await ask(command.port, question);
          expect(textOf(answer, program)).toBe(expected[k]);
        }
        await command.stop();
      });
    }
  }
});
