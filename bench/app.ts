/**
 * The one app of all benches: Sluice runs it as its module, and `Deno.serve` runs the very same Hono app.
 *
 * @module
 */
import { Hono } from "hono";
import { defineGateway, respond } from "sluice";

const app = new Hono();
app.get("/native", respond("Hello, World!"));
app.get("/hello/:name", (c) => c.text(`Hello, ${c.req.param("name")}!`));

// As in bench/peers/nginx.conf: a connection is not closed for its age.
const limits = { requestsPerConnMax: 1_000_000_000 };

export default defineGateway(app, { limits });
