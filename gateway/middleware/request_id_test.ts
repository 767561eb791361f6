import { expect } from "@std/expect";
import { afterAll, describe, it } from "@std/testing/bdd";
import { Hono } from "hono";
import { requestId as honoRequestId } from "hono/request-id";
import {
  ALL_FORMS,
  describeForms,
  type Form,
  rawExchange,
} from "../both_forms_test.ts";
import { OptionsError } from "../errors.ts";
import { headers } from "./headers.ts";
import { proxy } from "./proxy.ts";
import {
  requestId,
  type RequestIdOptions,
  type RequestIdVariables,
} from "./request_id.ts";
import { respond } from "./respond.ts";
import { whoami } from "./whoami.ts";

const UUID =
  /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe("requestId()", () => {
  const wrong: [options: RequestIdOptions, reason: RegExp][] = [
    [{ headerName: "a b" }, /headerName.*field name/],
    [{ headerName: "" }, /headerName.*field name/],
    [{ headerName: "Host" }, /headerName/],
    [{ headerName: "date" }, /headerName/],
    [{ headerName: "Content-Length" }, /headerName.*gateway writes it/],
    [{ headerName: "X-Forwarded-For" }, /headerName.*written by proxy/],
    [{ headerName: 3 as never }, /headerName/],
    [{ limitLength: 0 }, /limitLength.*integer/],
    [{ limitLength: 1.5 }, /limitLength.*integer/],
    [{ generator: "uuid" as never }, /generator.*function/],
    [{ trust: "10.0.0.0/8" as never }, /trust.*list/],
    [{ trust: ["10.0.0.0/33"] }, /trust\[0\].*range/],
    [{ trust: ["::1", "localhost"] }, /trust\[1\].*range/],
    [{ header: "x" } as never, /requestId\(\) header.*known keys/],
  ];
  for (const [options, reason] of wrong) {
    it(`refuses ${JSON.stringify(options)}`, () => {
      expect(() => requestId(options)).toThrow(OptionsError);
      expect(() => requestId(options)).toThrow(reason);
    });
  }

  it("returns a function of the same name", () => {
    expect(requestId().name).toBe("requestId");
  });
});

const upstream = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen() {} },
  (request) =>
    Response.json(Object.fromEntries(request.headers), {
      headers: { "x-request-id": "of the upstream", "x-up": "1" },
    }),
);
const UPSTREAM = `http://127.0.0.1:${upstream.addr.port}`;
const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
const CLOSED = `http://127.0.0.1:${closed.addr.port}`;
closed.close();
afterAll(() => upstream.shutdown());

function build(app: Hono): void {
  const typed = app as unknown as Hono<{ Variables: RequestIdVariables }>;
  const ends = (path: string) => {
    app.get(`${path}/native`, respond("native"));
    app.get(`${path}/whoami`, whoami());
    typed.get(
      `${path}/text`,
      (c) => c.text(`${c.get("requestId")} ${c.req.header("x-request-id")}`),
    );
    app.get(
      `${path}/raw`,
      () => new Response("raw", { headers: { "x-request-id": "handler" } }),
    );
    app.get(`${path}/throws`, () => {
      throw new Error("of the handler");
    });
    app.get(`${path}/up`, proxy(UPSTREAM));
    app.get(`${path}/down`, proxy(CLOSED));
  };
  app.use("/none/*", requestId());
  ends("/none");
  app.use("/all/*", requestId({ trust: true }));
  ends("/all");
  app.use("/peer/*", requestId({ trust: ["192.0.2.0/24", "127.0.0.0/8"] }));
  ends("/peer");
  app.use("/other/*", requestId({ trust: ["192.0.2.0/24", "::/8"] }));
  ends("/other");
  app.use("/short/*", requestId({ trust: true, limitLength: 8 }));
  ends("/short");
  app.use("/long/*", requestId({ trust: true, limitLength: 300 }));
  ends("/long");
  app.use("/own/*", requestId({ generator: (c) => `own-${c.req.method}` }));
  ends("/own");
  app.use("/named/*", requestId({ headerName: "X-Trace", trust: true }));
  ends("/named");

  // What a step before it has done to the request is what it sees.
  app.use("/set/*", headers({ request: { set: { "x-request-id": "ours" } } }));
  app.use("/set/*", requestId({ trust: true }));
  app.get("/set/whoami", whoami());
  app.use("/gone/*", headers({ request: { remove: ["x-request-id"] } }));
  app.use("/gone/*", requestId({ trust: true }));
  app.get("/gone/whoami", whoami());
  // And what a step around it does to the answer comes after it.
  app.use("/hidden/*", headers({ response: { remove: ["x-request-id"] } }));
  app.use("/hidden/*", requestId());
  app.get("/hidden/native", respond("h"));
  // Two of them: each its field.
  app.use("/two/*", requestId(), requestId({ headerName: "x-second" }));
  app.get("/two/whoami", whoami());
  typedTwo(app);
}

function typedTwo(app: Hono): void {
  app.get(
    "/two/text",
    (c) =>
      c.text(`${c.req.header("x-request-id")} ${c.req.header("x-second")}`),
  );
}

function suite(served: Form): void {
  const get = (path: string, id?: string) =>
    fetch(served.base + path, id ? { headers: { "x-request-id": id } } : {});

  async function idOf(path: string, id?: string, name = "x-request-id") {
    const response = await get(path, id);
    await response.body?.cancel();
    return response.headers.get(name)!;
  }

  for (
    const end of ["native", "whoami", "text", "raw", "throws", "up", "down"]
  ) {
    it(`gives a new id each time, ${end}`, async () => {
      const ids = new Set<string>();
      for (let i = 0; i < 40; i++) ids.add(await idOf(`/none/${end}`));
      expect(ids.size).toBe(40);
      for (const id of ids) expect(id).toMatch(UUID);
    });

    it(`takes an id over from whom it trusts, ${end}`, async () => {
      expect(await idOf(`/none/${end}`, "client")).toMatch(UUID);
      expect(await idOf(`/all/${end}`, "client")).toBe("client");
      expect(await idOf(`/peer/${end}`, "client")).toBe("client");
      expect(await idOf(`/other/${end}`, "client")).toMatch(UUID);
      expect(await idOf(`/all/${end}`)).toMatch(UUID);
    });
  }

  it("sends the id on, one and the same", async () => {
    const up = await get("/none/up", "client");
    const seen = await up.json();
    expect(seen["x-request-id"]).toBe(up.headers.get("x-request-id"));
    expect(seen["x-request-id"]).toMatch(UUID);
    const text = await get("/none/text", "client");
    const id = text.headers.get("x-request-id");
    expect(await text.text()).toBe(`${id} ${id}`);
    const named = await fetch(`${served.base}/named/up`, {
      headers: { "x-trace": "t-1", "x-request-id": "kept" },
    });
    expect(named.headers.get("x-trace")).toBe("t-1");
    expect(await named.json()).toMatchObject({
      "x-trace": "t-1",
      "x-request-id": "kept",
    });
  });

  it("takes over what is an id, no longer than it may be", async () => {
    const good = ["a", "A-z_0=9", "=", "x".repeat(255)];
    const bad = [
      "a b",
      "a,b",
      "a.b",
      "é",
      '"a"',
      "x".repeat(256),
      "a/b",
      "%41",
    ];
    for (const id of good) expect(await idOf("/all/native", id)).toBe(id);
    for (const id of bad) expect(await idOf("/all/native", id)).toMatch(UUID);
    expect(await idOf("/short/native", "12345678")).toBe("12345678");
    expect(await idOf("/short/native", "123456789")).toMatch(UUID);
    expect(await idOf("/long/native", "x".repeat(300))).toBe("x".repeat(300));
    expect(await idOf("/long/native", "x".repeat(301))).toMatch(UUID);
  });

  it("takes over no list and no empty id", async () => {
    for (
      const lines of [
        "X-Request-Id: a\r\nX-Request-Id: b\r\n",
        "X-Request-Id:\r\n",
      ]
    ) {
      const answer = await rawExchange(
        served.base,
        `GET /all/whoami HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${lines}\r\n`,
      );
      const ids = [...answer.matchAll(/x-request-id: (.*)\r/gi)].map((m) =>
        m[1]
      );
      expect(ids).toHaveLength(2); // the answer's, and the one that it shows
      expect(ids[0]).toMatch(UUID);
      expect(ids[1]).toBe(ids[0]);
    }
  });

  it("sees the request as the steps before it have left it", async () => {
    const seen = async (path: string) =>
      (await (await get(path, "client")).text()).match(
        /x-request-id: (.*)\r/,
      )![1];
    expect(await seen("/set/whoami")).toBe("ours");
    expect(await seen("/gone/whoami")).toMatch(UUID);
  });

  it("leaves the last word to the steps around it", async () => {
    expect(await idOf("/hidden/native")).toBe(null);
  });

  it("works twice in one chain", async () => {
    const response = await get("/two/text");
    const [first, second] = (await response.text()).split(" ");
    expect(response.headers.get("x-request-id")).toBe(first);
    expect(response.headers.get("x-second")).toBe(second);
    expect(first).not.toBe(second);
  });

  it("calls a generator", async () => {
    expect(await idOf("/own/native")).toBe("own-GET");
    expect(await idOf("/own/up", "client")).toBe("own-GET");
  });

  if (served.form === "native") {
    it("runs in C where it can", () => {
      const how = (path: string) => served.gateway.explain("GET", path);
      expect(how("/none/native").answeredBy).toBe("native");
      expect(String(how("/peer/native"))).toContain("id of a trusted peer");
      expect(how("/own/native").answeredBy).toBe("TypeScript");
      expect(how("/long/native").answeredBy).toBe("TypeScript");
      expect(how("/none/text").steps[0].runs).toBe("native");
    });
  }
}

describeForms("requestId()", build, suite, undefined, ALL_FORMS);

describe("Hono's own requestId()", () => {
  it("agrees where all ids are trusted", async () => {
    const ids = [
      "a",
      "A-z_09",
      "",
      "a b",
      "a,b",
      "x".repeat(255),
      "x".repeat(256),
    ];
    for (const make of [honoRequestId, () => requestId({ trust: true })]) {
      const app = new Hono<{ Variables: RequestIdVariables }>();
      app.use(make() as ReturnType<typeof requestId>);
      app.get("/", (c) => c.text(c.get("requestId")));
      for (const id of ids) {
        const response = await app.request("/", {
          headers: { "x-request-id": id },
        });
        const given = response.headers.get("x-request-id")!;
        expect(await response.text()).toBe(given);
        if (/^[\w-]{1,255}$/.test(id)) expect(given).toBe(id);
        else expect(given).toMatch(UUID);
      }
    }
  });
});
