// Clients that come back: they resume by a session ticket, and send their first request before the handshake is done.
//
//   openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -subj /CN=localhost -days 30
//   deno task start gateway examples/session_tickets.ts
//
//   printf 'GET /news HTTP/1.1\r\nHost: localhost\r\n\r\n' > request
//   openssl s_client -connect localhost:8443 -sess_out ticket             (type a request: its answer brings the ticket)
//   openssl s_client -connect localhost:8443 -sess_in ticket -early_data request          the ticket's early data is accepted
//   openssl s_client -connect localhost:8443 -sess_in ticket -early_data request          and never again

import { Hono } from "hono";
import { defineGateway, earlyData, type TlsConnection } from "sluice";

const app = new Hono<{ Bindings: { tls?: TlsConnection } }>();

// Safe to do twice, so it may run early; everything else waits for the handshake by itself.
app.get("/news", earlyData(), (c) => {
  const { resumed, early } = c.env.tls ?? {};
  return c.text(
    `Nothing new. resumed: ${resumed === true}, early: ${early === true}\n`,
  );
});
app.post("/order", (c) => c.text("Ordered, once.\n"));

export default defineGateway(app, {
  listeners: [{
    address: `127.0.0.1:${Deno.env.get("PORT") ?? 8443}`,
    tls: {
      certificates: [{ cert: "cert.pem", key: "key.pem" }],
      policy: {
        resumption: {
          mode: "once", // a ticket's early data is accepted once
          ticketLifetimeMs: 8 * 3_600_000,
          // For a fleet: stek: stekFile("steks"), the same file on all nodes.
        },
        earlyData: { windowMs: 600_000 },
      },
    },
  }],
});
