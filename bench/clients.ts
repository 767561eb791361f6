/**
 * Who sends the requests: wrk under load, a small program in C for latencies, and `fetch` where neither is needed.
 *
 * @module
 */
import { ROOT } from "./peers.ts";

/** What one round gave. */
export interface Load {
  requests: number;
  errors: number;
  seconds: number;
  /** All bytes that came. */
  bytes: number;
}

/** Everything that is wrong with an answer, as a sentence; undefined: nothing. */
export async function wrongAnswer(
  url: string,
  body: string,
  client?: Deno.HttpClient,
): Promise<string | undefined> {
  const response = await fetch(url, { client });
  const text = await response.text();
  if (response.status === 200 && text === body) return undefined;
  return `${url} answers ${response.status} ${JSON.stringify(text)}, not 200 ${
    JSON.stringify(body)
  }`;
}

export async function run(command: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command[0], {
    args: command.slice(1),
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (code === 0) return text;
  const said = text + new TextDecoder().decode(stderr);
  throw new Error(`\`${command.join(" ")}\` failed with code ${code}\n${said}`);
}

const pin = (cores: string | undefined) =>
  cores === undefined ? [] : ["taskset", "-c", cores];

/** As many requests as `connections` closed loops make, each with `inFlight` requests at once. */
export async function wrk(
  url: string,
  connections: number,
  seconds: number,
  cores?: string,
  inFlight = 1,
): Promise<Load> {
  const out = await run([
    ...pin(cores),
    ...["wrk", "--threads", "1", "--connections", String(connections)],
    ...["--duration", `${seconds}s`, "--timeout", "10s"],
    ...["--script", `${ROOT}/bench/client/report.lua`, url],
    ...(inFlight > 1 ? ["--", String(inFlight)] : []),
  ]);
  return JSON.parse(out.trim().split("\n").pop()!);
}

/** Few requests by `fetch`, each answer looked at: what the tests use. */
export async function few(
  url: string,
  body: string,
  connections: number,
  requests: number,
  client?: Deno.HttpClient,
): Promise<Load> {
  const load: Load = { requests: 0, errors: 0, seconds: 0, bytes: 0 };
  const started = performance.now();
  const loop = async () => {
    while (load.requests < requests) {
      load.requests++;
      if (await wrongAnswer(url, body, client)) load.errors++;
      load.bytes += body.length;
    }
  };
  await Promise.all(Array.from({ length: connections }, loop));
  load.seconds = (performance.now() - started) / 1000;
  return load;
}

/** The same with `inFlight` requests at once on one connection: all answers must be equal, but for the second of their date. */
export async function fewPipelined(
  url: string,
  body: string,
  inFlight: number,
  requests: number,
): Promise<Load> {
  const { hostname, port, host, pathname } = new URL(url);
  using conn = await Deno.connect({ hostname, port: Number(port) });
  const request = `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const batch = new TextEncoder().encode(request.repeat(inFlight));
  const load: Load = { requests: 0, errors: 0, seconds: 0, bytes: 0 };
  const started = performance.now();
  while (load.requests < requests) {
    await writeAll(conn, batch);
    const answers = await readAnswers(conn, body, inFlight);
    load.requests += inFlight;
    load.bytes += answers.reduce((sum, { length }) => sum + length, 0);
    load.errors += answers.filter((answer) =>
      !answer.startsWith("HTTP/1.1 200 OK\r\n") ||
      answer.length !== answers[0].length
    ).length;
  }
  load.seconds = (performance.now() - started) / 1000;
  return load;
}

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += await conn.write(bytes.subarray(at));
  }
}

// `count` answers, each up to the end of its body, and nothing behind them.
async function readAnswers(
  conn: Deno.Conn,
  body: string,
  count: number,
): Promise<string[]> {
  const end = `\r\n\r\n${body}`;
  const part = new Uint8Array(65536);
  let text = "";
  while (text.split(end).length <= count) {
    const n = await conn.read(part);
    if (n === null) throw new Error(`the connection has ended after:\n${text}`);
    text += new TextDecoder().decode(part.subarray(0, n));
  }
  const answers = text.split(end);
  if (answers.pop() !== "") throw new Error(`more than answers:\n${text}`);
  return answers.map((head) => head + end);
}

/** The folder of what the library is linked with, for `cc`. */
export async function builtFolder(
  name: "boringssl" | "compression",
): Promise<string> {
  const build = [`${ROOT}/tools/build.ts`, `--${name}`];
  return (await run([
    ...[Deno.execPath(), "run", "--no-config", "--allow-all"],
    ...build,
  ])).trim();
}

/** Compiles a client of `bench/client`; its path. */
export async function buildClient(
  folder: string,
  name: string,
): Promise<string> {
  const program = `${folder}/${name}`;
  await run([
    "cc",
    "-O2",
    "-o",
    program,
    `${ROOT}/bench/client/${name}.c`,
  ]);
  return program;
}

/** One connection, a pause before each request. */
export async function paced(
  program: string,
  url: string,
  count: number,
  gapUs: number,
  cores?: string,
): Promise<{ latenciesNs: number[]; errors: number }> {
  const { port, pathname } = new URL(url);
  const args = [port, pathname, String(count), String(gapUs)];
  return JSON.parse(await run([...pin(cores), program, ...args]));
}
