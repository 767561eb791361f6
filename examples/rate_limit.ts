// Limits in front of an API: how often, how many at once, how long. All of it runs in C, also in front of the handler.
//
//   deno task start gateway examples/rate_limit.ts --http 127.0.0.1:8080

import { Hono } from "hono";
import {
  bearerAuth,
  concurrencyLimit,
  defineGateway,
  rateLimit,
  timeout,
} from "sluice";

const app = new Hono();

// Each client address: 100 requests a second in the long run, 200 at once. Behind a load balancer say whose word counts: trustedProxies.
app.use("/api/*", rateLimit({ key: "client-ip", rate: 100, burst: 200 }));
// One login attempt each 10 seconds, three at once; of each client by itself.
app.use(
  "/login",
  rateLimit({ key: "client-ip", rate: 0.1, burst: 3, name: "login" }),
);
app.use(
  "/api/*",
  bearerAuth({ token: Deno.env.get("API_TOKEN") ?? "a-token-for-the-example" }),
);
app.get(
  "/api/report",
  concurrencyLimit({ max: 10 }), // it is dear: no more of them at once
  timeout(5000),
  (c) => c.json({ report: "done" }),
);
app.post("/login", (c) => c.text("Wrong password.\n", 403));

export default defineGateway(app);
