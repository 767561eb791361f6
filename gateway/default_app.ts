/**
 * What runs without a MODULE: a welcome page, a TypeScript route, and the request as an upstream would see it.
 *
 * @module
 */
import { Hono } from "hono";
import { proxy } from "./middleware/proxy.ts";
import { respond } from "./middleware/respond.ts";
import { whoami } from "./middleware/whoami.ts";

const WELCOME = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 38rem; margin: 4rem auto; padding: 0 1rem; color: #1c2733; }
  h1 { font-size: 1.6rem; }
  code { background: #eef2f6; padding: .1rem .3rem; border-radius: .2rem; }
  a { color: #0b63ce; }
</style>
<h1>Sluice is running</h1>
<p>This page was answered by C, from a plan that a Hono app was compiled to. V8 did not hear of it.</p>
<ul>
  <li><a href="/hello/Ada">/hello/Ada</a> is a TypeScript route.</li>
  <li><a href="/whoami">/whoami</a> shows this request as an upstream would see it.</li>
</ul>
<p>Write your own in <code>gateway.ts</code>:</p>
<pre><code>import { Hono } from &quot;hono&quot;;
import { defineGateway, proxy } from &quot;sluice&quot;;

const app = new Hono();
app.all("/api/*", proxy("http://127.0.0.1:3000"));
app.get("/hello/:name", (c) =&gt; c.text(\`Hello, \${c.req.param("name")}!\`));

export default defineGateway(app);</code></pre>
</html>
`;

/** The embedded default. */
export function createDefaultApp(): Hono {
  const app = new Hono();
  app.get(
    "/",
    respond(WELCOME, {
      headers: { "content-type": "text/html; charset=UTF-8" },
    }),
  );
  app.get("/hello/:name", (c) => c.text(`Hello, ${c.req.param("name")}!\n`));
  app.get("/whoami", whoami());
  return app;
}

/** `--upstream URL`: everything goes there. */
export function createUpstreamApp(url: string): Hono {
  return new Hono().all("/*", proxy(url));
}
