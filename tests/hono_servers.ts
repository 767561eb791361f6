/**
 * One app on two servers: on Deno.serve and on Sluice. The same raw client asks both, and what comes back is compared.
 *
 * @module
 */
import type { Hono } from "hono";
import {
  latin1,
  type RawAnswer,
  type RawClient,
  rawClient,
  startGateway,
} from "./support.ts";

const encoder = new TextEncoder();

/** An app, and what its handlers tell. */
export interface World {
  app: Hono;
  /** What handlers have told, in order. */
  told: string[];
}

// ---- Servers

/** A world that is served. */
export interface Server extends World {
  name: string;
  port: number;
  connect(): Promise<RawClient>;
  stop(): Promise<void>;
}

/** As Deno runs a Hono app. */
export function serveByDeno(world: World): Server {
  const context = {
    waitUntil: (promise: Promise<unknown>) => void promise,
    passThroughOnException() {},
    props: {},
  };
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request, info) => world.app.fetch(request, info, context),
  );
  const { port } = server.addr;
  return {
    ...world,
    name: "Deno.serve",
    port,
    connect: () => rawClient(port),
    stop: () => server.shutdown(),
  };
}

/** As Sluice runs it. */
export async function serveBySluice(world: World): Promise<Server> {
  const server = await startGateway(world.app, {
    limits: { bodyBytesMax: 64 << 20 },
  });
  return {
    ...world,
    name: "Sluice",
    port: server.port,
    connect: server.connect,
    stop: server.stop,
  };
}

// ---- What is asked

/** A question to a server, and its answer in a form that can be compared. */
export type Case = [name: string, ask: (server: Server) => Promise<unknown>];

// What differs by right: the time, what Deno.serve adds for its compression, how a connection is kept, and how a body is framed.
const APART = new Set([
  "date",
  "vary",
  "connection",
  "keep-alive",
  "content-length",
  "transfer-encoding",
]);

/** An answer without what differs by right. */
export function comparable(answer: RawAnswer): unknown {
  const names = new Set(answer.head.fields.map(([name]) => name));
  const fields = [...names].filter((name) => !APART.has(name)).sort()
    .map((name) => {
      // Whether values of one name come on one line or several means nothing, but for Set-Cookie.
      const value = name === "set-cookie"
        ? answer.head.all(name)
        : answer.head.get(name)!;
      return [name, value];
    });
  const body = answer.body.length > 2000
    ? `${answer.body.length} bytes`
    : latin1(answer.body);
  return {
    status: answer.status,
    fields,
    body: body.replaceAll(/127\.0\.0\.1:\d+/g, "*"),
  };
}

/** What a server answers to one request on a connection of its own. */
export async function ask(
  server: Server,
  request: string | Uint8Array,
  toHead = false,
): Promise<unknown> {
  using client = await server.connect();
  await client.send(request);
  const answer = await client.readAnswer({ toHead });
  const digest = answer.body.length > 2000
    ? await digestOf(answer.body as Uint8Array<ArrayBuffer>)
    : "";
  return [comparable(answer), digest];
}

/** A request's head. */
export function head(
  method: string,
  path: string,
  fields: Record<string, string> = {},
): string {
  const lines = Object.entries({ host: "h.example", ...fields }).map((
    [name, value],
  ) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** A case that is a GET. */
export function get(path: string, fields?: Record<string, string>): Case {
  const more = fields ? ` ${JSON.stringify(fields)}` : "";
  return [
    `GET ${path}${more}`,
    (server) => ask(server, head("GET", path, fields)),
  ];
}

/** A case that sends a body. */
export function send(
  method: string,
  path: string,
  body: string,
  fields: Record<string, string> = {},
  name = `${method} ${path} ${JSON.stringify(body.slice(0, 40))}`,
): Case {
  const bytes = encoder.encode(body);
  const request =
    head(method, path, { "content-length": String(bytes.length), ...fields }) +
    body;
  return [name, (server) => ask(server, request)];
}

export const TYPES = {
  json: "application/json",
  form: "application/x-www-form-urlencoded",
};

/** Length and hash of a body that is too long to be shown. */
export async function digestOf(
  bytes: ArrayBuffer | Uint8Array<ArrayBuffer>,
): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", bytes);
  return `${bytes.byteLength} ${new Uint8Array(hash).toHex()}`;
}
