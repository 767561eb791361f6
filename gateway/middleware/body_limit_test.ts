import { expect } from "@std/expect";
import { afterAll, describe, it } from "@std/testing/bdd";
import { type Context, Hono } from "hono";
import { bodyLimit as honoBodyLimit } from "hono/body-limit";
import {
  ALL_FORMS,
  describeForms,
  type Form,
  rawExchange,
} from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { bodyLimit, type BodyLimitOptions } from "./body_limit.ts";
import { cors } from "./cors.ts";
import { headers } from "./headers.ts";
import { proxy } from "./proxy.ts";
import { respond } from "./respond.ts";

describe("bodyLimit()", () => {
  const wrong: [options: BodyLimitOptions, reason: RegExp][] = [
    [{} as BodyLimitOptions, /maxSize.*integer/],
    [undefined as never, /maxSize.*integer/],
    [{ maxSize: -1 }, /maxSize.*integer/],
    [{ maxSize: 1.5 }, /maxSize.*integer/],
    [{ maxSize: Infinity }, /maxSize.*integer/],
    [{ maxSize: 2 ** 53 }, /maxSize.*integer/],
    [{ maxSize: 1, onError: "no" as never }, /onError.*function/],
    [{ maxSize: 1, max: 2 } as never, /max.*known keys/],
  ];
  for (const [options, reason] of wrong) {
    it(`refuses ${JSON.stringify(options)}`, () => {
      expect(() => bodyLimit(options)).toThrow(OptionsError);
      expect(() => bodyLimit(options)).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(bodyLimit({ maxSize: 1 }).name).toBe("bodyLimit");
  });
});

// An upstream that keeps what it gets, and ends the answer when the body ends.
const bodies: string[] = [];
const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
const UPSTREAM = `http://127.0.0.1:${listener.addr.port}`;
const ANSWER = new TextEncoder().encode(
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup",
);

async function serveOne(conn: Deno.Conn): Promise<void> {
  const part = new Uint8Array(65536);
  let seen = "";
  for (;;) {
    const n = await conn.read(part).catch(() => null);
    if (n === null) break;
    seen += new TextDecoder().decode(part.subarray(0, n));
    const [head, body] = seen.split(/\r\n\r\n([^]*)/);
    if (body === undefined) continue;
    const length = /content-length: (\d+)/i.exec(head)?.[1];
    const whole = length === undefined
      ? !/chunked/i.test(head) || body.endsWith("0\r\n\r\n")
      : body.length === Number(length);
    if (whole) {
      bodies.push(body);
      seen = "";
      await conn.write(ANSWER).catch(() => {});
    }
  }
  if (seen !== "") bodies.push(`cut: ${seen.split(/\r\n\r\n([^]*)/)[1]}`);
  conn.close();
}

(async () => {
  for await (const conn of listener) serveOne(conn);
})();
afterAll(() => listener.close());

const read = async (c: Context) =>
  c.text(`read ${(await c.req.text()).length}`);

function build(app: Hono): void {
  app.use("/*", headers({ response: { set: { "x-outer": "1" } } }));
  app.use("/*", cors({ origin: "https://a.example" }));
  app.use("/ten/*", bodyLimit({ maxSize: 10 }));
  app.use("/ten/*", headers({ response: { set: { "x-inner": "1" } } }));
  app.all("/ten/read", read);
  app.all("/ten/native", respond("native"));
  app.all("/ten/ignore", (c) => c.text("ignored"));
  app.all("/ten/catch", async (c) => {
    const text = await c.req.text().catch((error) => `error ${error.name}`);
    return c.text(text);
  });
  app.all("/ten/up", proxy(UPSTREAM));
  app.all("/ten/begun", (c) =>
    c.body(
      new ReadableStream({
        async start(controller) {
          controller.enqueue(new TextEncoder().encode("begun"));
          try {
            for await (const part of c.req.raw.body!) controller.enqueue(part);
            controller.close();
          } catch (error) {
            controller.error(error);
          }
        },
      }),
    ));
  app.all("/none", bodyLimit({ maxSize: 0 }), read);
  app.all(
    "/two/in",
    bodyLimit({ maxSize: 20 }),
    headers({ response: { set: { "x-between": "1" } } }),
    bodyLimit({ maxSize: 10 }),
    read,
  );
  app.all(
    "/two/out",
    bodyLimit({ maxSize: 10 }),
    headers({ response: { set: { "x-between": "1" } } }),
    bodyLimit({ maxSize: 20 }),
    read,
  );
  const onError = (c: Context) => c.text("mine", 400);
  app.all("/own", bodyLimit({ maxSize: 10, onError }), read);
}

interface Answer {
  status: number;
  fields: Headers;
  body: string;
}

const CHUNKED = [undefined, true];

describeForms(
  "bodyLimit()",
  build,
  (served: Form) => {
    async function post(
      path: string,
      size: number,
      chunked?: boolean,
    ): Promise<Answer> {
      const text = "x".repeat(size);
      const body = chunked
        ? new Blob([text]).stream().pipeThrough(slicer(7))
        : text;
      const response = await fetch(served.base + path, {
        method: "POST",
        body,
        headers: { origin: "https://a.example" },
      });
      return {
        status: response.status,
        fields: response.headers,
        body: await response.text(),
      };
    }

    function slicer(size: number) {
      return new TransformStream<Uint8Array, Uint8Array>({
        transform(part, controller) {
          for (let at = 0; at < part.length; at += size) {
            controller.enqueue(part.slice(at, at + size));
          }
        },
      });
    }

    function checkRefused(answer: Answer): void {
      expect([answer.status, answer.body]).toEqual([413, "Payload Too Large"]);
      const { fields } = answer;
      expect(fields.get("content-type")).toBe("text/plain;charset=UTF-8");
      expect(fields.get("x-outer")).toBe("1");
      expect(fields.get("access-control-allow-origin")).toBe(
        "https://a.example",
      );
    }

    for (const chunked of CHUNKED) {
      const how = chunked ? "in chunks" : "with a length";
      for (const end of ["read", "up", "catch"]) {
        it(`lets pass what is small, ${how}, ${end}`, async () => {
          for (const size of [0, 1, 9, 10]) {
            const answer = await post(`/ten/${end}`, size, chunked);
            expect(answer.status).toBe(200);
            expect(answer.fields.get("x-inner")).toBe("1");
            if (end === "read") expect(answer.body).toBe(`read ${size}`);
          }
        });

        it(`refuses what is too large, ${how}, ${end}`, async () => {
          for (const size of [11, 12, 1000, 30_000]) {
            const answer = await post(`/ten/${end}`, size, chunked);
            checkRefused(answer);
            expect(answer.fields.get("x-inner")).toBe(null);
          }
        });
      }

      it(`may refuse every body, ${how}`, async () => {
        expect((await post("/none", 0)).body).toBe("read 0");
        checkRefused(await post("/none", 1, chunked));
      });

      it(`knows two limits, ${how}`, async () => {
        for (const path of ["/two/in", "/two/out"]) {
          expect((await post(path, 10, chunked)).body).toBe("read 10");
          const answer = await post(path, 15, chunked);
          checkRefused(answer);
          const inner = path === "/two/in";
          expect(answer.fields.get("x-between")).toBe(inner ? "1" : null);
          checkRefused(await post(path, 25, chunked));
        }
      });

      it(`asks onError, ${how}`, async () => {
        expect((await post("/own", 10, chunked)).body).toBe("read 10");
        const { status, body } = await post("/own", 11, chunked);
        expect([status, body]).toEqual([400, "mine"]);
      });
    }

    // Deno's server waits for the body, and for the client to close.
    const gateway = served.form === "Deno.serve" ? () => {} : it;
    gateway("refuses a length before a byte of the body is there", async () => {
      for (const end of ["native", "read", "up"]) {
        const answer = await rawExchange(
          served.base,
          `POST /ten/${end} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 11\r\n\r\n`,
        );
        expect(answer).toMatch(/^HTTP\/1\.1 413 [^]*Payload Too Large$/);
      }
    });

    it("does not wait for chunks that nobody reads", async () => {
      for (const end of ["native", "ignore"]) {
        expect((await post(`/ten/${end}`, 1000, true)).status).toBe(200);
      }
    });

    it("lets no upstream take a cut body for whole", async () => {
      bodies.length = 0;
      const chunk = "6\r\nabcdef\r\n";
      const answer = await rawExchange(
        served.base,
        "POST /ten/up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" +
          chunk + chunk + "0\r\n\r\n",
      );
      expect(answer).toMatch(/^HTTP\/1\.1 413 /);
      for (const body of bodies) {
        expect(body).toMatch(/^cut: /);
        expect(body).not.toMatch(/0\r\n\r\n$/);
      }
    });

    gateway("breaks an answer that has begun", async () => {
      const chunk = "6\r\nabcdef\r\n";
      const answer = await rawExchange(
        served.base,
        "POST /ten/begun HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" +
          chunk + chunk + "0\r\n\r\n",
      ).catch((error) => error.name);
      expect(answer).not.toMatch(/\r\n0\r\n\r\n$/);
    });

    if (served.form === "native") {
      it("runs in C where it can", () => {
        const how = served.gateway.explain("POST", "/ten/up");
        expect(how.answeredBy).toBe("native");
        expect(String(how)).toContain("bodies of at most 10 bytes");
        expect(served.gateway.explain("POST", "/own").answeredBy).toBe(
          "TypeScript",
        );
      });
    }
  },
  undefined,
  ALL_FORMS,
);

describe("Hono's own bodyLimit()", () => {
  it("agrees where the body is read", async () => {
    const onError = (c: Context) => c.text("mine", 400);
    for (const options of [{ maxSize: 10 }, { maxSize: 10, onError }]) {
      const apps = [honoBodyLimit, bodyLimit].map((make) =>
        new Hono().post("/", make(options), read)
      );
      for (const size of [0, 10, 11, 100]) {
        for (const stream of [false, true]) {
          const answers = await Promise.all(apps.map(async (app) => {
            const text = "x".repeat(size);
            const body = stream ? new Blob([text]).stream() : text;
            const length: Record<string, string> = stream
              ? {}
              : { "content-length": String(size) };
            const init = { method: "POST", body, headers: length };
            const response = await app.request("/", init);
            return [
              response.status,
              await response.text(),
              response.headers.get("content-type")!.replace(" ", ""),
            ];
          }));
          expect(answers[0]).toEqual(answers[1]);
        }
      }
    }
  });
});
