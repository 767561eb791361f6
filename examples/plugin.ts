// A plugin: middleware with options, a life and a name that errors, logs and counters know it by.
//
//   deno task start gateway examples/plugin.ts
//   curl -i -H "x-team: blue" http://127.0.0.1:8080/hello

import { Hono } from "hono";
import { defineGateway, definePlugin, headers } from "sluice";

const teams = definePlugin({
  name: "teams",
  version: "1.0.0",
  options: (given: { allow: string[] }, problem) => {
    if (!given.allow?.length) problem("allow", given.allow, "must name a team");
    return { allow: new Set(given.allow) };
  },
  setup: ({ allow }) => ({
    middleware: [
      headers({ response: { set: { "x-guarded-by": "teams" } } }), // native: C does it
      async (c, next) => {
        const team = c.req.header("x-team") ?? "";
        if (!allow.has(team)) return c.text(`No team "${team}"\n`, 403);
        await next();
      },
    ],
  }),
  onError: "closed", // if it throws or hangs, its requests are errors, and nobody else's
  timeoutMs: 1000,
});

const app = new Hono().get("/hello", (c) => c.text("Hello, team!\n"));

export default defineGateway(app, {
  listeners: [{ address: "127.0.0.1:8080" }],
}).use(teams, { allow: ["blue"] });
