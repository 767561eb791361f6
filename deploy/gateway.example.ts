/**
 * A gateway for a machine: /api goes to a service of this machine, under a limit; the rest is answered here.
 *
 * Ports are systemd's (gateway.socket) or a container's; PORT and TLS_PORT change them. The certificate is a credential of the unit, or what
 * TLS_CERT and TLS_KEY name; without one there is HTTP alone.
 */
import { Hono } from "hono";
import {
  defineGateway,
  proxy,
  rateLimit,
  requestId,
  secureHeaders,
} from "sluice";

const env = (name: string) => Deno.env.get(name);
const credentials = env("CREDENTIALS_DIRECTORY");
const cert = env("TLS_CERT") ?? (credentials && `${credentials}/cert.pem`);
const key = env("TLS_KEY") ?? (credentials && `${credentials}/key.pem`);

const app = new Hono();
app.use(requestId());
app.use(secureHeaders());
app.use("/api/*", rateLimit({ key: "client-ip", rate: 50, burst: 100 }));
app.all("/api/*", proxy(env("UPSTREAM") ?? "http://127.0.0.1:3000"));
app.get("/healthz", (c) => c.text("ok"));

export default defineGateway(app, {
  listeners: [
    { address: `0.0.0.0:${env("PORT") ?? 80}` },
    ...cert && key
      ? [{
        address: `0.0.0.0:${env("TLS_PORT") ?? 443}`,
        tls: { certificates: [{ cert, key }] },
      }]
      : [],
  ],
});
