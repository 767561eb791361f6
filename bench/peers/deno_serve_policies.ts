/**
 * The policies' bench on `Deno.serve`: Hono's own cors, requestId and secureHeaders; Hono has no rate limit, so that is Sluice's, in TypeScript.
 *
 * @module
 */
import { Hono } from "hono";
import { cors } from "hono/cors";
import { requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import { rateLimit } from "sluice";

const app = new Hono();
app.use(rateLimit({ key: "client-ip", rate: 100_000, burst: 1_000_000 }));
app.use(cors({ origin: "https://example.org" }));
app.use(requestId());
app.use(secureHeaders());
app.get("/native", (c) => c.text("Hello, World!"));

const server = Deno.serve(
  {
    hostname: "127.0.0.1",
    port: 0,
    onListen: ({ port }) =>
      console.log(`ready ${Deno.pid} http://127.0.0.1:${port}`),
  },
  // hono/deno's shape of env, which getConnInfo reads.
  (request, info) => app.fetch(request, info),
);
Deno.addSignalListener("SIGTERM", () => server.shutdown());
await server.finished;
Deno.exit(0);
