/**
 * Serves an app several times, for tests: so that native steps run in C, behind a middleware that makes all of them run in TypeScript, and on
 * Deno's own server. One suite judges all.
 *
 * @module
 */
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { Hono } from "hono";
import { defineGateway, type Gateway } from "./gateway.ts";
import type { GatewayOptions } from "./options.ts";

export interface Form {
  form: "native" | "TypeScript" | "Deno.serve";
  /** `http://127.0.0.1:port`, once the tests run. */
  base: string;
  /** But for Deno.serve. */
  gateway: Gateway;
}

/** Both forms on our gateway. */
export const GATEWAY_FORMS: readonly Form["form"][] = ["native", "TypeScript"];
/** And the TypeScript form on Deno's server. */
export const ALL_FORMS: readonly Form["form"][] = [
  ...GATEWAY_FORMS,
  "Deno.serve",
];

/** Runs `suite` for each form of what `build` adds to an app. `options` is called when the tests begin. */
export function describeForms(
  name: string,
  build: (app: Hono) => void,
  suite: (form: Form) => void,
  options: () => GatewayOptions = () => ({}),
  forms = GATEWAY_FORMS,
): void {
  for (const form of forms) {
    describe(`${name}, ${form}`, () => {
      const served = { form } as Form;
      let stop: () => Promise<void>;
      beforeAll(async () => {
        const app = new Hono();
        if (form === "TypeScript") app.use((_, next) => next());
        build(app);
        stop = form === "Deno.serve"
          ? serveByDeno(served, app)
          : await serve(served, app, options());
      });
      afterAll(() => stop());
      suite(served);
    });
  }
}

async function serve(
  served: Form,
  app: Hono,
  options: GatewayOptions,
): Promise<() => Promise<void>> {
  const gateway = defineGateway(app, {
    listeners: [{ address: "127.0.0.1:0" }],
    workers: 1,
    io: (Deno.env.get("SLUICE_IO") || "auto") as GatewayOptions["io"],
    ...options,
  });
  const { addresses } = await gateway.start();
  served.gateway = gateway;
  served.base = `http://127.0.0.1:${addresses[0].port}`;
  return () => gateway.close({ deadlineMs: 2000 });
}

function serveByDeno(served: Form, app: Hono): () => Promise<void> {
  const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
  const server = Deno.serve(
    options,
    (request, info) => app.fetch(request, info),
  );
  served.base = `http://127.0.0.1:${server.addr.port}`;
  return () => server.shutdown();
}

/** Sends bytes on a connection of their own and reads until the other side closes. */
export async function rawExchange(
  base: string,
  bytes: string,
): Promise<string> {
  const { hostname, port } = new URL(base);
  const conn = await Deno.connect({ hostname, port: Number(port) });
  await conn.write(Uint8Array.from(bytes, (char) => char.charCodeAt(0)));
  return await new Response(conn.readable).text();
}
