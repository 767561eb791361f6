/**
 * `deno task bench handshake`: what a connection costs the server that is made for one request: accept, TLS 1.3 handshake, one small answer, close.
 * By kind of handshake, key and group, beside nginx, HAProxy and Caddy with the same certificates.
 *
 * @module
 */
import { builtFolder, type Load, run } from "./clients.ts";
import {
  CLIENT_CORE,
  costOf,
  type Effort,
  OTHERS_MAX,
  SERVER_CORE,
  type Setting,
} from "./measure.ts";
import {
  fill,
  findProgram,
  freePort,
  ROOT,
  spawn,
  untilConnectable,
} from "./peers.ts";
import { columns, median, type Round } from "./table.ts";

export const KINDS = ["full", "resumed", "early"] as const;
export const KEYS = ["ecdsa", "rsa"] as const;
export const GROUPS = ["x25519", "mlkem"] as const;
export type Kind = (typeof KINDS)[number];
export type Key = (typeof KEYS)[number];
export type Group = (typeof GROUPS)[number];

const KEY_NAMES = { ecdsa: "ECDSA P-256", rsa: "RSA-2048" };
const GROUP_NAMES = { x25519: "X25519", mlkem: "X25519MLKEM768" };
const SLOTS = 32;
const TRIES_PER_ROUND = 2;

/** The peers whose better one the ratios are to. */
const BASES = ["nginx", "haproxy"];

interface Place {
  cores?: string;
  folder: string;
  library: string;
}

interface Server {
  pid: number;
  /** By key and kind. */
  ports: Record<Key, Record<Kind, number>>;
  stop(): Promise<void>;
}

/** A server with one worker. */
export interface Peer {
  name: string;
  program: string;
  install: string;
  kinds: readonly Kind[];
  groups: readonly Group[];
  start(place: Place): Promise<Server>;
}

const samePort = (port: number) => ({ full: port, resumed: port, early: port });

function sluice(io: "uring" | "epoll"): Peer {
  return {
    name: `Sluice ${io}`,
    program: Deno.execPath(),
    install: "",
    kinds: KINDS,
    groups: GROUPS,
    async start(place) {
      const spawned = spawn(
        [
          ...[Deno.execPath(), "run", "--no-config", "--allow-all"],
          ...[`${ROOT}/tools/start.ts`, "gateway"],
          ...[`${ROOT}/bench/handshake_app.ts`, "--workers", "1", "--io", io],
        ],
        place,
        { SLUICE_LIBRARY: place.library, BENCH_CERTIFICATES: place.folder },
      );
      const said = (start: string) =>
        spawned.line((line) => line.startsWith(start));
      const pid = parseInt((await said("sluice: pid ")).slice(12));
      const ready = await said("sluice: ready");
      const [ecdsa, rsa] = ready.match(/https:\/\/\S+/g)!
        .map((url) => samePort(Number(new URL(url).port)));
      return { pid, ports: { ecdsa, rsa }, stop: () => spawned.stop(pid) };
    },
  };
}

function peer(
  name: string,
  template: string,
  kinds: readonly Kind[],
  commandOf: (program: string, config: string, folder: string) => string[],
  env: Record<string, string> = {},
): Peer {
  const start = async (place: Place): Promise<Server> => {
    const folder = await Deno.makeTempDir({ dir: place.folder, prefix: name });
    const [ecdsa, rsa, ecdsaEarly, rsaEarly] = [0, 0, 0, 0].map(freePort);
    const config = `${folder}/${template}`;
    const values = {
      FOLDER: folder,
      CERTIFICATES: place.folder,
      ECDSA: ecdsa,
      RSA: rsa,
      ECDSA_EARLY: ecdsaEarly,
      RSA_EARLY: rsaEarly,
    };
    await Deno.writeTextFile(config, await fill(template, values));
    const program = (await findProgram(name))!;
    const command = commandOf(program, config, folder);
    const homes = { XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder };
    const spawned = spawn(command, place, { ...homes, ...env });
    await untilConnectable(rsa, spawned.process);
    const ports = {
      ecdsa: { full: ecdsa, resumed: ecdsa, early: ecdsaEarly },
      rsa: { full: rsa, resumed: rsa, early: rsaEarly },
    };
    return { pid: spawned.process.pid, ports, stop: () => spawned.stop() };
  };
  const install = `apt-get install ${name}`;
  return { name, program: name, install, kinds, groups: ["x25519"], start };
}

/** Sluice first. OpenSSL 3.0 and the Go of Debian's Caddy know no X25519MLKEM768, and neither Go nor HAProxy is asked for early data. */
export const PEERS: readonly Peer[] = [
  sluice("uring"),
  sluice("epoll"),
  peer(
    "nginx",
    "nginx_handshake.conf",
    KINDS,
    (
      nginx,
      config,
      folder,
    ) => [nginx, "-e", "stderr", "-p", folder, "-c", config],
  ),
  peer(
    "haproxy",
    "haproxy_handshake.cfg",
    ["full", "resumed"],
    (haproxy, config) => [haproxy, "-db", "-f", config],
  ),
  peer(
    "caddy",
    "Caddyfile",
    ["full", "resumed"],
    (
      caddy,
      config,
    ) => [caddy, "run", "--adapter", "caddyfile", "--config", config],
    { GOMAXPROCS: "1" },
  ),
];

/** One certificate for each key; haproxy wants both in one file. */
export async function makeCertificates(folder: string): Promise<void> {
  const keys = {
    ecdsa: ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    rsa: ["rsa:2048"],
  };
  for (const key of KEYS) {
    const [cert, path] = [`${folder}/${key}.crt`, `${folder}/${key}.key`];
    await run([
      ...["openssl", "req", "-x509", "-newkey", ...keys[key], "-nodes"],
      ...[
        "-keyout",
        path,
        "-out",
        cert,
        "-days",
        "30",
        "-subj",
        "/CN=localhost",
      ],
      ...["-addext", "subjectAltName=DNS:localhost"],
    ]);
    const both = await Deno.readTextFile(cert) + await Deno.readTextFile(path);
    await Deno.writeTextFile(`${folder}/${key}.pem`, both);
  }
}

/** Compiles bench/client/handshake.c with the BoringSSL that the library has; its path. */
export async function buildClient(folder: string): Promise<string> {
  const ssl = await builtFolder("boringssl");
  const program = `${folder}/handshake`;
  await run([
    ...["cc", "-O2", "-o", program, `-I${ssl}/include`],
    `${ROOT}/bench/client/handshake.c`,
    ...[`${ssl}/lib/libssl.a`, `${ssl}/lib/libcrypto.a`],
    ...["-lstdc++", "-lpthread"],
  ]);
  return program;
}

/** Starts the client; when it has its tickets `go` lets it begin and answers what it did. */
export async function connect(
  program: string,
  port: number,
  kind: Kind,
  group: Group,
  { seconds, requests }: Effort,
  slots = SLOTS,
): Promise<() => Promise<Load>> {
  const much = requests === undefined
    ? ["seconds", String(seconds)]
    : ["count", String(requests)];
  const pin = requests === undefined
    ? ["taskset", "-c", String(CLIENT_CORE)]
    : [];
  const command = [
    ...pin,
    ...[program, String(port), kind, group, String(slots), ...much],
  ];
  const process = new Deno.Command(command[0], {
    args: command.slice(1),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(process.stderr).text();
  const reader = process.stdout.pipeThrough(new TextDecoderStream())
    .getReader();
  const failed = async () =>
    new Error(
      `\`${command.join(" ")}\` ended with ${
        (await process.status).code
      }: ${await stderr}`,
    );
  let said = "";
  while (!said.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw await failed();
    said += value;
  }
  return async () => {
    const writer = process.stdin.getWriter();
    await writer.write(new TextEncoder().encode("go\n"));
    await writer.close();
    let result = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      result += value;
    }
    if (!(await process.status).success) throw await failed();
    return JSON.parse(result);
  };
}

/** What is measured of one kind, key and group: rounds by the peer's name. */
export interface Cell {
  kind: Kind;
  key: Key;
  group: Group;
  rounds: Record<string, Round[]>;
}

export interface Handshakes {
  cells: Cell[];
  left: string[];
  /** Rounds of a cell that others disturbed and that were taken again. */
  disturbed: number;
}

async function measureOnce(
  program: string,
  server: Server,
  { kind, key, group }: Cell,
  effort: Effort,
): Promise<Round> {
  const { pid, ports } = server;
  const go = await connect(program, ports[key][kind], kind, group, effort);
  return await costOf(pid, go);
}

const CELLS = GROUPS.flatMap((group) =>
  KEYS.flatMap((key) => KINDS.map((kind) => ({ kind, key, group })))
);

/** Starts every peer, then measures round after round: in each, every cell of every peer once. */
export async function measureHandshakes(
  setting: Setting,
  only?: string,
): Promise<Handshakes> {
  const { effort, folder, library } = setting;
  const cores = effort.requests === undefined ? String(SERVER_CORE) : undefined;
  await makeCertificates(folder);
  const program = await buildClient(folder);
  const result: Handshakes = { cells: [], left: [], disturbed: 0 };
  await using servers = new AsyncDisposableStack();
  const running: { peer: Peer; server: Server }[] = [];
  for (const peer of withBefore(setting.before)) {
    if (!await findProgram(peer.program)) {
      result.left.push(
        `${peer.name} is left out: no ${peer.program} (${peer.install})`,
      );
      continue;
    }
    const server = await peer.start({ cores, folder, library });
    servers.defer(() => server.stop());
    running.push({ peer, server });
  }
  result.cells = CELLS.filter(({ kind, key, group }) =>
    !only || `${kind} ${key} ${group}`.includes(only)
  ).map((cell) => ({ ...cell, rounds: {} }));
  for (let round = 0; round < effort.rounds; round++) {
    for (const cell of result.cells) {
      const here = running.filter(({ peer }) =>
        peer.kinds.includes(cell.kind) && peer.groups.includes(cell.group)
      );
      const measured = await undisturbed(effort, result, async () => {
        const all: Round[] = [];
        for (const { server } of here) {
          all.push(await measureOnce(program, server, cell, effort));
        }
        return all;
      });
      for (const [i, { peer }] of here.entries()) {
        (cell.rounds[peer.name] ??= []).push(measured[i]);
      }
    }
  }
  return result;
}

function withBefore(library: string | undefined): Peer[] {
  if (library === undefined) return [...PEERS];
  return PEERS.flatMap((peer) => {
    if (!peer.name.startsWith("Sluice")) return [peer];
    const start: Peer["start"] = (place) => peer.start({ ...place, library });
    return [peer, { ...peer, name: `${peer.name}, before`, start }];
  });
}

// As in measure.ts: a round that others disturbed is taken again, but not for ever.
async function undisturbed(
  effort: Effort,
  result: Handshakes,
  measure: () => Promise<Round[]>,
): Promise<Round[]> {
  for (let tries = 1;; tries++) {
    const round = await measure();
    const quiet = round.every(({ others, stolen }) =>
      others + stolen <= OTHERS_MAX
    );
    const last = tries === TRIES_PER_ROUND || effort.requests !== undefined;
    if (quiet || last) return round;
    result.disturbed++;
  }
}

const costs = (rounds: Round[]) => rounds.map(({ costUs }) => costUs);

/** The better of nginx and HAProxy in a cell. */
function baseOf({ rounds }: Cell): string | undefined {
  return BASES.filter((name) => rounds[name])
    .toSorted((a, b) => median(costs(rounds[a])) - median(costs(rounds[b])))[0];
}

// Of each round's own pair: what slowed a whole round down falls out.
function ratio(rounds: Round[], base: Round[]): string {
  return median(rounds.map(({ costUs }, i) => costUs / base[i].costUs))
    .toFixed(2);
}

function cellText(cell: Cell | undefined, name: string): string[] {
  const rounds = cell?.rounds[name];
  if (!cell || !rounds) return ["", "", ""];
  const all = costs(rounds), base = baseOf(cell);
  return [
    median(all).toFixed(1),
    `${Math.min(...all).toFixed(0)}-${Math.max(...all).toFixed(0)}`,
    base === name ? "1" : base ? ratio(rounds, cell.rounds[base]) : "",
  ];
}

function renderOne(cells: Cell[], key: Key, group: Group): string[] {
  const here = cells.filter((cell) => cell.key === key && cell.group === group);
  if (here.length === 0) return [];
  const of = (kind: Kind) => here.find((cell) => cell.kind === kind);
  const names = [...new Set(here.flatMap(({ rounds }) => Object.keys(rounds)))];
  const head = [
    "server",
    ...KINDS.flatMap((kind) => [kind, "min-max", "ratio"]),
  ];
  const [full, resumed] = [of("full"), of("resumed")];
  const own = names.filter((name) =>
    full?.rounds[name] && resumed?.rounds[name]
  )
    .map((name) =>
      `${name} ${ratio(resumed!.rounds[name], full!.rounds[name])}`
    );
  return [
    "",
    `${KEY_NAMES[key]}, ${
      GROUP_NAMES[group]
    }: server CPU of one connection, µs`,
    ...columns([
      head,
      ...names.map((
        name,
      ) => [name, ...KINDS.flatMap((kind) => cellText(of(kind), name))]),
    ]),
    ...(own.length ? [`resumed by full: ${own.join(", ")}`] : []),
  ];
}

/** The tables: one for each key and group; ratios are to the better of nginx and HAProxy. */
export function renderHandshakes(result: Handshakes): string {
  const { cells, left, disturbed } = result;
  const rounds = cells.flatMap((cell) => Object.values(cell.rounds).flat());
  const idle = median(rounds.map(({ idle }) => idle)).toFixed(0);
  const others = median(rounds.map(({ others, stolen }) => others + stolen));
  return [
    ...GROUPS.flatMap((group) =>
      KEYS.flatMap((key) => renderOne(cells, key, group))
    ),
    "",
    `of the server's core: ${idle} % idle, ${
      Math.max(0, others).toFixed(0)
    } % others (medians)`,
    ...(disturbed
      ? [`${disturbed} rounds, disturbed by others, were taken again`]
      : []),
    "X25519MLKEM768: nginx and haproxy run on OpenSSL 3.0, caddy on Debian's Go; neither has it. Early data: only nginx and Sluice are asked for it.",
    ...left,
  ].join("\n").trimStart();
}
