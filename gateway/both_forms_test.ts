/**
 * Serves an app twice, for tests: once so that native steps run in C, once behind a middleware that makes all of them run in
 * TypeScript. One suite judges both.
 *
 * @module
 */
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { Hono } from "hono";
import { defineGateway, type Gateway } from "./gateway.ts";
import type { GatewayOptions } from "./options.ts";

export interface Form {
  form: "native" | "TypeScript";
  /** `http://127.0.0.1:port`, once the tests run. */
  base: string;
  gateway: Gateway;
}

/** Runs `suite` for each form of what `build` adds to an app. `options` is called when the tests begin. */
export function describeForms(
  name: string,
  build: (app: Hono) => void,
  suite: (form: Form) => void,
  options: () => GatewayOptions = () => ({}),
): void {
  for (const form of ["native", "TypeScript"] as const) {
    describe(`${name}, ${form}`, () => {
      const served = { form } as Form;
      beforeAll(async () => {
        const app = new Hono();
        if (form === "TypeScript") app.use((_, next) => next());
        build(app);
        const listeners = [{ address: "127.0.0.1:0" }];
        served.gateway = defineGateway(app, {
          listeners,
          workers: 1,
          ...options(),
        });
        const { addresses } = await served.gateway.start();
        served.base = `http://127.0.0.1:${addresses[0].port}`;
      });
      afterAll(() => served.gateway.close({ deadlineMs: 2000 }));
      suite(served);
    });
  }
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
