// Serves programs of tests/hono_programs on one of two servers, each on a port of its own: by Deno.serve or as the app of a gateway. Started by
// hono_programs_test.ts; prints the ports, and ends with its input.

import { defineGateway, type GatewayOptions } from "sluice";

const [server, io, folder, ...programs] = Deno.args;
const apps: { fetch: (request: Request) => Response | Promise<Response> }[] =
  [];
for (const program of programs) {
  apps.push((await import(`file://${folder}/${program}`)).default);
}

async function serve(app: typeof apps[number]): Promise<number> {
  if (server === "deno") {
    const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
    return Deno.serve(options, app.fetch).addr.port;
  }
  const gateway = defineGateway(app, {
    listeners: [{ address: "127.0.0.1:0" }],
    workers: 1,
    io: io as GatewayOptions["io"],
    limits: { connsMax: 64, exchanges: 64 },
  });
  return (await gateway.start()).addresses[0].port;
}

const ports: number[] = [];
for (const app of apps) ports.push(await serve(app));
console.log(`ports ${JSON.stringify(ports)}`);
await Deno.stdin.readable.pipeTo(new WritableStream());
Deno.exit(0);
