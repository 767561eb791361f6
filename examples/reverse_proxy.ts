// A reverse proxy: bodies stream through C in both directions, and V8 is entered for one route only.
//
//   deno task start gateway examples/reverse_proxy.ts --http 127.0.0.1:8080
//
// Two upstreams are expected: on port 3000 for /api, on port 3001 for all other paths.

import { Hono } from "hono";
import { defineGateway, headers, proxy, redirect } from "sluice";

const app = new Hono();

// Of every answer, whoever gives it; in C, too.
app.use(
  headers({
    response: {
      set: { "x-content-type-options": "nosniff" },
      remove: ["server"],
    },
  }),
);
app.get("/api", redirect("/api/", 308));
app.get("/api/version", (c) => c.json({ gateway: "sluice" })); // before the proxy, so it wins
app.all(
  "/api/*",
  headers({ request: { set: { "x-forwarded-prefix": "/api" } } }),
  proxy("http://127.0.0.1:3000", { headTimeoutMs: 5000 }),
);
app.all("/*", proxy({ upstream: "site" }));

export default defineGateway(app, {
  listeners: [{ address: "127.0.0.1:8080" }],
  upstreams: { site: { url: "http://127.0.0.1:3001", connsMax: 256 } },
});
