/**
 * Proxies everything to the upstream that the bench started.
 *
 * @module
 */
import { Hono } from "hono";
import { defineGateway, proxy } from "sluice";

const app = new Hono();
app.all("*", proxy(Deno.env.get("BENCH_UPSTREAM")!));

// As in bench/peers/nginx.conf: a connection is not closed for its age.
const limits = { requestsPerConnMax: 1_000_000_000 };

export default defineGateway(app, { limits });
