// Which import map, and which lock file, a run of Deno gets.
//
// Product code always runs under the offline map, whose names come from npm and Node's built-ins: what a user starts never depends on JSR.
// Only tests and checks ask whether JSR can be reached, and say so.

import { exists, readOr, ROOT } from "./support.ts";

export const OFFLINE_MAP = `${ROOT}/tools/std/offline.json`;
export const PRODUCT_LOCK = `${ROOT}/tools/std/offline.lock`;
const TEST_LOCK = `${ROOT}/tools/std/offline_test.lock`;

/** Flags for product code. */
export function productFlags(): string[] {
  return [
    "--no-config",
    `--import-map=${OFFLINE_MAP}`,
    `--lock=${PRODUCT_LOCK}`,
    "--frozen",
  ];
}

export interface StdChoice {
  std: "jsr" | "npm";
  why: string;
  flags: string[];
}

/** Flags for tests and checks, and why. */
export async function testFlags(): Promise<StdChoice> {
  const forced = Deno.env.get("SLUICE_STD");
  if (forced && forced !== "jsr" && forced !== "npm") {
    throw new Error(`SLUICE_STD is "${forced}", not "jsr" or "npm"`);
  }
  const { reachable, why } = forced
    ? { reachable: forced === "jsr", why: `SLUICE_STD=${forced}` }
    : await probe();
  // A lock file can be written only where its registry is reached, so the JSR run has one as soon as somebody there commits it.
  const lock = `${ROOT}/tools/std/jsr.lock`;
  const locked = await exists(lock)
    ? [`--lock=${lock}`, "--frozen"]
    : ["--no-lock"];
  return reachable
    ? {
      std: "jsr",
      why: locked.length > 1
        ? why
        : `${why}; not locked: tools/std/jsr.lock does not exist yet`,
      flags: [`--config=${ROOT}/deno.json`, ...locked],
    }
    : {
      std: "npm",
      why,
      flags: [
        "--no-config",
        `--import-map=${OFFLINE_MAP}`,
        `--lock=${TEST_LOCK}`,
        "--frozen",
      ],
    };
}

const PROBE_MS = 2000;
const REMEMBER_MS = 24 * 3600 * 1000;
const MEMORY = `${ROOT}/native/build/jsr.probe`;

async function probe(): Promise<{ reachable: boolean; why: string }> {
  const [at, was] = (await readOr(MEMORY, "0 false")).split(" ");
  const remembered = Date.now() - Number(at) < REMEMBER_MS;
  const reachable = remembered ? was === "true" : await ask();
  if (!remembered) {
    await Deno.mkdir(`${ROOT}/native/build`, { recursive: true });
    await Deno.writeTextFile(MEMORY, `${Date.now()} ${reachable}`);
  }
  const how = remembered ? "as of the last day" : "just now";
  return {
    reachable,
    why: `jsr.io ${reachable ? "answers" : "does not answer"}, ${how}`,
  };
}

async function ask(): Promise<boolean> {
  try {
    const response = await fetch("https://jsr.io/@std/assert/meta.json", {
      signal: AbortSignal.timeout(PROBE_MS),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
