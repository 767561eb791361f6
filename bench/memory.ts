/**
 * `deno run --allow-all bench/memory.ts [--io uring|epoll] [--rounds N]`: what an idle connection costs.
 *
 * The resident memory of a gateway at `connsMax` 10,000 with 10,000 idle connections that each served one request, less that of one at 64 with
 * 64, all pools resident from the start, divided by 9,936. Over TLS with 1,000 connections. The kernel's share (sockets of both ends) is apart.
 *
 * @module
 */
import { Hono } from "hono";
import { defineGateway, respond } from "sluice";
import { buildClient } from "./clients.ts";
import { ROOT } from "./peers.ts";

const FEW = 64, MANY = 10_000, MANY_TLS = 1_000; // a handshake is dear for the client

interface Sample {
  rss: number;
  kernel: number;
}

// ---- The gateway, in a process of its own: this file with --serve.

async function serve(io: "uring" | "epoll", connsMax: number, cert?: string) {
  const app = new Hono();
  app.get("/", respond("ok"));
  const tls = cert
    ? { certificates: [{ cert: `${cert}/c`, key: `${cert}/k` }] }
    : undefined;
  const started = performance.now();
  const gateway = defineGateway(app, {
    workers: 1,
    io,
    listeners: [{ address: "127.0.0.1:0", tls }],
    limits: {
      connsMax,
      prefault: Deno.env.get("SLUICE_LAZY") ? 0 : 1,
      idleTimeoutMs: 600_000,
    },
  });
  const { addresses } = await gateway.start();
  const startMs = performance.now() - started;
  console.log(JSON.stringify({ port: addresses[0].port, startMs }));
  const { gc } = globalThis as { gc?: () => void };
  for await (const _ of Deno.stdin.readable) {
    gc!();
    console.log(JSON.stringify(gateway.stats().conns_live));
  }
  await gateway.close({ deadlineMs: 100 });
}

// ---- What measures it

async function firstLine(child: Deno.ChildProcess): Promise<string> {
  const reader = child.stdout.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { done, value } = await reader.read();
    if (done) throw new Error("bench/memory: a process ended early");
    text += new TextDecoder().decode(value);
  }
  reader.releaseLock();
  return text.slice(0, text.indexOf("\n"));
}

function spawn(command: string[]): Deno.ChildProcess {
  return new Deno.Command(command[0], {
    args: command.slice(1),
    stdin: "piped",
    stdout: "piped",
  }).spawn();
}

async function residentOf(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+(\d+)/.exec(status)![1]) * 1024;
}

// Slabs (sockets, inodes, dentries, armed operations) and memory of TCP, of the whole machine.
async function kernelBytes(): Promise<number> {
  const slab = /^Slab:\s+(\d+)/m.exec(await Deno.readTextFile("/proc/meminfo"));
  const tcp = /^TCP:.* mem (\d+)/m.exec(
    await Deno.readTextFile("/proc/net/sockstat"),
  );
  return Number(slab![1]) * 1024 + Number(tcp![1]) * 4096;
}

async function holdTls(port: number, count: number): Promise<Deno.Conn[]> {
  const caCerts = [await Deno.readTextFile(`${certificates}/c`)];
  const conns: Deno.Conn[] = [];
  const request = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const answer = new Uint8Array(4096);
  while (conns.length < count) {
    const options = { hostname: "127.0.0.1", port, caCerts };
    const conn = await Deno.connectTls(options);
    await conn.write(request);
    await conn.read(answer);
    conns.push(conn);
  }
  return conns;
}

let certificates = "";
const starts: number[] = [];

async function sample(
  io: string,
  count: number,
  tls: boolean,
  crowd: string,
): Promise<Sample> {
  const server = spawn([
    Deno.execPath(),
    ...["run", "--no-config", "--no-lock", "--allow-all"],
    `--import-map=${ROOT}/tools/std/offline.json`,
    "--v8-flags=--expose-gc",
    ...[import.meta.filename!, "--serve", io, String(count)],
    ...tls ? [certificates] : [],
  ]);
  const { port, startMs } = JSON.parse(await firstLine(server));
  starts.push(startMs);
  const before = await kernelBytes();
  const client = tls
    ? undefined
    : spawn([crowd, "idle", String(port), String(count), "/"]);
  if (client) await firstLine(client);
  const conns = tls ? await holdTls(port, count) : [];
  const writer = server.stdin.getWriter();
  await writer.write(new Uint8Array([10]));
  const live = Number(await firstLine(server));
  if (live !== count) throw new Error(`${live} connections, not ${count}`);
  const rss = await residentOf(server.pid);
  const kernel = await kernelBytes() - before;
  for (const conn of conns) conn.close();
  if (client) {
    await client.stdin.close();
    await client.status;
    await client.stdout.cancel();
  }
  await writer.close();
  await server.status;
  await server.stdout.cancel();
  return { rss, kernel };
}

const median = (values: number[]) =>
  values.toSorted((a, b) => a - b)[values.length >> 1];

async function measure(
  io: string,
  tls: boolean,
  rounds: number,
  crowd: string,
) {
  const each: number[] = [], kernel: number[] = [];
  const count = tls ? MANY_TLS : MANY;
  for (let round = 0; round < rounds; round++) {
    const few = await sample(io, FEW, tls, crowd);
    const many = await sample(io, count, tls, crowd);
    each.push((many.rss - few.rss) / (count - FEW));
    kernel.push(many.kernel / count);
  }
  const list = each.map((value) => value.toFixed(0)).join(", ");
  console.log(
    `${io}, ${tls ? "TLS" : "plaintext"}: ${
      median(each).toFixed(0)
    } bytes for each idle connection (${list}); the kernel's, both ends: ${
      median(kernel).toFixed(0)
    }`,
  );
}

async function main(args: string[]) {
  const option = (name: string) =>
    args.includes(name) ? args[args.indexOf(name) + 1] : undefined;
  const folder = await Deno.makeTempDir({ prefix: "sluice-bench-" });
  certificates = folder;
  const words =
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
  await new Deno.Command("openssl", { args: words.split(" "), cwd: folder })
    .output();
  const crowd = await buildClient(folder, "crowd");
  const rounds = Number(option("--rounds") ?? 3);
  for (const io of option("--io") ? [option("--io")!] : ["uring", "epoll"]) {
    await measure(io, false, rounds, crowd);
    if (!args.includes("--plain")) await measure(io, true, 1, crowd);
  }
  console.log(`start took ${starts.map((ms) => ms.toFixed(0)).join(", ")} ms`);
  await Deno.remove(folder, { recursive: true });
}

if (Deno.args[0] === "--serve") {
  const [, io, connsMax, cert] = Deno.args;
  await serve(io as "uring" | "epoll", Number(connsMax), cert);
} else if (import.meta.main) {
  await main(Deno.args);
}
