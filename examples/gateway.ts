// Native routes and TypeScript routes side by side.
//
//   deno task start gateway examples/gateway.ts
//   curl http://127.0.0.1:8080/hello/Ada

import { Hono } from "hono";
import { defineGateway, respond, whoami } from "sluice";

const app = new Hono();

// Answered by C from the plan: V8 never hears of these.
app.get(
  "/healthz",
  respond("ok\n", { headers: { "cache-control": "no-store" } }),
);
app.get("/whoami", whoami());

// Answered by TypeScript, as in any Hono app.
app.get("/hello/:name", (c) => c.text(`Hello, ${c.req.param("name")}!\n`));
app.post(
  "/length",
  async (c) => c.json({ bytes: (await c.req.arrayBuffer()).byteLength }),
);

export default defineGateway(app, {
  listeners: [{ address: "127.0.0.1:8080" }],
});
