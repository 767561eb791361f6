import { assertEquals } from "@std/assert";
import { serviceOptions, ServiceStates } from "./systemd.ts";

function environment(given: Record<string, string>) {
  const values = new Map(Object.entries(given));
  const env = {
    get: (name: string) => values.get(name),
    delete: (name: string) => void values.delete(name),
  };
  return { env, values };
}

Deno.test("serviceOptions() takes sockets and a watchdog that are this process's, and nothing stays in the environment", () => {
  const { env, values } = environment({
    LISTEN_PID: "7",
    LISTEN_FDS: "2",
    LISTEN_FDNAMES: "a:b",
    NOTIFY_SOCKET: "@n",
    WATCHDOG_PID: "7",
    WATCHDOG_USEC: "3000000",
    PATH: "/bin",
  });
  assertEquals(serviceOptions(env, 7), {
    sockets: [3, 4],
    notifySocket: "@n",
    watchdogMs: 3000,
  });
  assertEquals([...values.keys()], ["PATH"]);
});

Deno.test("serviceOptions() leaves what is another process's, and what makes no sense", () => {
  const options = (given: Record<string, string>) =>
    serviceOptions(environment(given).env, 7);
  assertEquals(options({}), { sockets: [] });
  assertEquals(options({ LISTEN_PID: "8", LISTEN_FDS: "2" }).sockets, []);
  assertEquals(options({ LISTEN_FDS: "2" }).sockets, []);
  for (const count of ["0", "-1", "x", "1000"]) {
    const { sockets } = options({ LISTEN_PID: "7", LISTEN_FDS: count });
    assertEquals(sockets, [], count);
  }
  const watchdog = (given: Record<string, string>) =>
    options({ NOTIFY_SOCKET: "/n", ...given }).watchdogMs;
  assertEquals(watchdog({ WATCHDOG_USEC: "1000" }), 1);
  assertEquals(
    watchdog({ WATCHDOG_USEC: "1000", WATCHDOG_PID: "8" }),
    undefined,
  );
  assertEquals(watchdog({ WATCHDOG_USEC: "x" }), undefined);
  assertEquals(options({ WATCHDOG_USEC: "1000" }).watchdogMs, undefined);
});

Deno.test("ServiceStates tells one state after the other, on one line each, and goes on if nobody hears", () => {
  const sent: string[] = [], warned: string[] = [];
  const states = new ServiceStates({}, (text) => {
    sent.push(text);
    if (sent.length > 1) throw new Error(`nobody hears ${sent.length}`);
  }, (text) => warned.push(text));
  states.ready("serving\nhttp://a");
  states.reloading();
  states.ready("b");
  states.stopping("c");
  assertEquals(sent, [
    "READY=1\nSTATUS=serving http://a",
    "RELOADING=1\nSTATUS=reloading",
    "READY=1\nSTATUS=b",
    "STOPPING=1\nSTATUS=c",
  ]);
  assertEquals(warned, ["nobody hears 2"]);
});

Deno.test("ServiceStates gives a pulse from the first ready on, until the process ends", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const sent: string[] = [];
  const states = new ServiceStates({ watchdogMs: 2 }, (text) => {
    sent.push(text.split("\n")[0]);
    if (sent.length === 4) resolve();
  }, () => {});
  assertEquals(sent, []);
  states.ready("a");
  states.ready("b");
  states.stopping("c");
  const alive = setInterval(() => {}, 1000); // the pulse keeps nobody alive
  await promise;
  clearInterval(alive);
  assertEquals(sent.slice(0, 4), [
    "READY=1",
    "READY=1",
    "STOPPING=1",
    "WATCHDOG=1",
  ]);
  states.close();
});
