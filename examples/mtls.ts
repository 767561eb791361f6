// Clients with certificates (mTLS): whoever shows one of our CA is known by its name; /admin is for them alone.
//
//   EC="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
//   openssl req -x509 $EC -keyout key.pem -out cert.pem -subj /CN=localhost -days 30
//   openssl req -x509 $EC -keyout ca.key -out ca.pem -subj /CN=our-ca -days 30
//   openssl req $EC -keyout alice.key -subj /CN=alice | openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out alice.pem
//   deno task start gateway examples/mtls.ts
//
//   curl -k https://localhost:8443/admin                                   403
//   curl -k --cert alice.pem --key alice.key https://localhost:8443/admin  200

import { Hono } from "hono";
import { defineGateway, type TlsConnection } from "sluice";

const app = new Hono<{ Bindings: { tls?: TlsConnection } }>();

app.get("/", (c) => c.text(`Hello, ${c.env.tls?.client?.subject ?? "you"}.\n`));

app.get("/admin", (c) => {
  const { client } = c.env.tls ?? {};
  if (!client) return c.text("Show a certificate of our CA.\n", 403);
  return c.text(`Welcome, ${client.subject}.\n`);
});

export default defineGateway(app, {
  listeners: [{
    address: `127.0.0.1:${Deno.env.get("PORT") ?? 8443}`,
    tls: {
      certificates: [{ cert: "cert.pem", key: "key.pem" }],
      // Without "optional" the handshake itself refuses who shows none.
      policy: { clientAuth: { mode: "optional", ca: "ca.pem" } },
    },
  }],
});
