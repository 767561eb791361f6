/**
 * What is measured: a request, the answer it must get, and the servers that give it.
 *
 * @module
 */
import {
  denoServe,
  denoServePolicies,
  fasthttp,
  haproxy,
  nginx,
  type Peer,
  sluice,
} from "./peers.ts";

export interface Workload {
  /** One sentence. */
  title: string;
  path: string;
  /** The answer's body, to the byte. */
  body: string;
  tls?: boolean;
  /** So many requests are sent before their answers are waited for; 1 if left out. */
  inFlight?: number;
  /** Rows whose names end so are compared with the row before, round by round. */
  adds?: string;
  /** Proxies get an upstream. */
  proxied?: boolean;
  /** Sluice first; the first that is not Sluice is what the ratios are to. */
  peers: Peer[];
}

const HELLO = "Hello, World!";

const native: Workload = {
  title: "native respond",
  path: "/native",
  body: HELLO,
  peers: [sluice("uring"), sluice("epoll"), nginx],
};

const hono: Workload = {
  title: "Hono route",
  path: "/hello/World",
  body: HELLO,
  peers: [sluice("uring"), sluice("epoll"), denoServe],
};

const proxied: Workload = {
  title: "proxy to a kept upstream connection",
  path: "/proxied",
  body: "Hello, upstream!",
  proxied: true,
  peers: [
    sluice("uring", "proxy_app.ts"),
    sluice("epoll", "proxy_app.ts"),
    nginx,
    haproxy,
  ],
};

const tls: Workload = {
  title: "native respond over HTTPS, kept connections",
  path: "/native",
  body: HELLO,
  tls: true,
  peers: [
    sluice("uring", "app.ts", true),
    sluice("epoll", "app.ts", true),
    nginx,
  ],
};

const pipelined: Workload = {
  title: "native respond, 16 requests in flight on each connection",
  path: "/native",
  body: HELLO,
  inFlight: 16,
  peers: [sluice("uring"), sluice("epoll"), fasthttp, nginx],
};

const POLICIES = ", 4 policies";
const policies: Workload = {
  title:
    "native respond, alone and behind rateLimit, cors, requestId and secureHeaders",
  path: "/native",
  body: HELLO,
  adds: POLICIES,
  peers: [
    sluice("uring"),
    sluice("uring", "policy_app.ts", false, POLICIES),
    sluice("epoll"),
    sluice("epoll", "policy_app.ts", false, POLICIES),
    denoServePolicies,
  ],
};

/** Workloads by the word that picks them; `""` is the canonical table. */
export const WORKLOADS: Record<string, Workload[]> = {
  "": [native, hono],
  proxy: [proxied],
  tls: [tls],
  pipelined: [pipelined],
  policies: [policies],
};

/** One client, one connection, pauses: the price of waking a TypeScript route. */
export const WAKE = {
  title: "Hono route, one connection, a pause before each request",
  path: "/hello/World",
  body: HELLO,
  gapsUs: [300, 1000, 5000, 20_000],
  peers: [sluice("uring"), sluice("epoll"), denoServe],
};
