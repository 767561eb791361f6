/**
 * What Sluice runs for `deno task bench handshake`: one native answer, on an HTTPS listener for each key type. The policy is the default one, with
 * early data.
 *
 * @module
 */
import { Hono } from "hono";
import { defineGateway, earlyData, respond } from "sluice";

const app = new Hono();
app.get("/native", earlyData(), respond("Hello, World!"));

const folder = Deno.env.get("BENCH_CERTIFICATES");
const listeners = ["ecdsa", "rsa"].map((key) => ({
  address: "127.0.0.1:0",
  tls: {
    certificates: [{
      cert: `${folder}/${key}.crt`,
      key: `${folder}/${key}.key`,
    }],
    policy: { earlyData: true },
  },
}));

// Each handshake of a run brings a ticket, thousands in a second: all of them may come back with early data.
export default defineGateway(app, {
  listeners,
  limits: { ticketSetBytes: 1 << 28 },
});
