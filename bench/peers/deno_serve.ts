/**
 * The app of the benches on `Deno.serve`.
 *
 * @module
 */
import gateway from "../app.ts";

const server = Deno.serve(
  {
    hostname: "127.0.0.1",
    port: 0,
    onListen: ({ port }) =>
      console.log(`ready ${Deno.pid} http://127.0.0.1:${port}`),
  },
  gateway.app.fetch as Deno.ServeHandler,
);
Deno.addSignalListener("SIGTERM", () => server.shutdown());
await server.finished;
Deno.exit(0);
