/**
 * The bench of handshakes runs, tiny: every cell has every peer that is here, and every handshake was of its kind. Never a time.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  buildClient,
  connect,
  GROUPS,
  KEYS,
  type Kind,
  KINDS,
  makeCertificates,
  measureHandshakes,
  PEERS,
  renderHandshakes,
} from "./handshake.ts";
import { prepare } from "./measure.ts";
import { findProgram } from "./peers.ts";

const REQUESTS = 64;

describe("deno task bench handshake", () => {
  it("measures every kind, key and group of every peer", async () => {
    const setting = await prepare({
      rounds: 1,
      seconds: 0,
      requests: REQUESTS,
    });
    try {
      const result = await measureHandshakes(setting);
      const lacking: string[] = [];
      for (const peer of PEERS) {
        if (!await findProgram(peer.program)) lacking.push(peer.name);
      }
      assertEquals(result.left.length, lacking.length);
      const { cells } = result;
      assertEquals(cells.length, KINDS.length * KEYS.length * GROUPS.length);
      for (const { kind, group, rounds } of cells) {
        const here = PEERS.filter(({ name, kinds, groups }) =>
          kinds.includes(kind) && groups.includes(group) &&
          !lacking.includes(name)
        );
        assertEquals(Object.keys(rounds), here.map(({ name }) => name));
        for (const [round] of Object.values(rounds)) {
          assertEquals([round.requests, round.errors], [REQUESTS, 0]);
        }
      }
      const text = renderHandshakes(result);
      assert(text.includes("\nSluice uring "), text);
    } finally {
      await Deno.remove(setting.folder, { recursive: true });
    }
  });

  it("fails where a handshake is not of the kind asked for", async () => {
    const folder = await Deno.makeTempDir({ prefix: "sluice-bench-" });
    await makeCertificates(folder);
    // It resumes, and takes no early data.
    const server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      cert: await Deno.readTextFile(`${folder}/ecdsa.crt`),
      key: await Deno.readTextFile(`${folder}/ecdsa.key`),
      onListen: () => {},
    }, () => new Response("Hello, World!"));
    try {
      const program = await buildClient(folder);
      const ask = async (kind: Kind) => {
        const effort = { rounds: 1, seconds: 0, requests: 8 };
        const { port } = server.addr;
        return (await connect(program, port, kind, "x25519", effort))();
      };
      assertEquals((await ask("resumed")).requests, 8);
      const error = await assertRejects(() => ask("early"), Error);
      assert(error.message.includes("takes no early data"), error.message);
    } finally {
      await server.shutdown();
      await Deno.remove(folder, { recursive: true });
    }
  });
});
