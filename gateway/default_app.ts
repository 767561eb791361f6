/**
 * What runs without a MODULE: a welcome page, a TypeScript route, and the request as an upstream would see it.
 *
 * @module
 */
import { Hono } from "hono";
import { GatewayError } from "./errors.ts";
import { proxy } from "./middleware/proxy.ts";
import { whoami } from "./middleware/whoami.ts";
import { welcome, type Welcomed } from "./welcome.ts";

/** The embedded default. `welcomed`: the gateway that it runs in; whoever only reads its routes has none. */
export function createDefaultApp(
  welcomed: () => Welcomed = () => {
    throw new GatewayError("the welcome page tells of a gateway that runs", {
      kind: "wrong_state",
    });
  },
): Hono {
  const app = new Hono();
  app.route("/", welcome(welcomed));
  app.get("/hello/:name", (c) => c.text(`Hello, ${c.req.param("name")}!\n`));
  app.get("/whoami", whoami());
  return app;
}

/** `--upstream URL`: everything goes there. */
export function createUpstreamApp(url: string): Hono {
  return new Hono().all("/*", proxy(url));
}
