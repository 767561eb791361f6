// A gray release: one client in twenty is served by the new version, and stays there; whoever asks for it is, too.
//
//   deno task start gateway examples/canary.ts --http 127.0.0.1:8080
//
// Two upstreams are expected: the old version on port 3000, the new one on port 3001.

import { Hono } from "hono";
import { canary, defineGateway, proxy, respond } from "sluice";

const app = new Hono();

app.get("/healthz", respond("ok\n"));
app.use(
  canary({
    to: { upstream: "new" },
    weight: 5, // percent; more weight keeps those who are there already
    header: { name: "X-Canary", value: "yes" },
    cookie: { name: "canary", value: "yes" },
    sticky: { cookie: "session" }, // else by client address
  }),
);
app.all("/*", proxy({ upstream: "old" }));

export default defineGateway(app, {
  upstreams: {
    old: { url: "http://127.0.0.1:3000" },
    new: { url: "http://127.0.0.1:3001" },
  },
});
