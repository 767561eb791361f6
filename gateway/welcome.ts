/**
 * The welcome page of the embedded default: for a browser a page with a counter that lives, for all others a short text.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import { respond } from "./middleware/respond.ts";
import { secureHeaders } from "./middleware/secure_headers.ts";
import { routeSummary, routeText } from "./route_table.ts";
import {
  ICON,
  type NextCommand,
  SCRIPT,
  STYLE,
  type WelcomeCounts,
  type WelcomeFacts,
  welcomePage,
} from "./welcome_page.ts";

/** The gateway that the page tells of. */
export interface Welcomed {
  facts: WelcomeFacts;
  counts(): WelcomeCounts;
  /** It drains, or another generation has taken over: streams end, so that nobody waits for them. */
  isOver(): boolean;
}

const LIVE_EVERY_MS = 1000;
// Each stream holds an exchange: whoever opens many must not take them all.
const LIVE_MAX = 64;

/** Routes of the page. `welcomed` is asked when requests come, and the gateway runs by then. */
export function welcome(welcomed: () => Welcomed): Hono {
  let live = 0;
  return new Hono()
    .use(protection())
    .get("/", (c) => {
      const { facts, counts } = welcomed();
      c.header("cache-control", "no-store");
      c.header("vary", "accept");
      return wantsHtml(c.req.header("accept"))
        ? c.html(welcomePage(facts, counts(), nextCommands(facts)))
        : c.text(welcomeText(facts, counts()));
    })
    .get("/live", (c) => {
      if (live >= LIVE_MAX) {
        return c.text("Too many streams.\n", 503, { "retry-after": "2" });
      }
      live++;
      return streamSSE(c, async (stream) => {
        try {
          const { counts, isOver } = welcomed();
          while (!stream.aborted && !isOver()) {
            const data = JSON.stringify(counts());
            await stream.writeSSE({ data, retry: LIVE_EVERY_MS });
            await stream.sleep(LIVE_EVERY_MS);
          }
        } finally {
          live--;
        }
      });
    })
    .get(
      "/favicon.svg",
      respond(ICON, { headers: { "content-type": "image/svg+xml" } }),
    );
}

// Scripts and styles are those of the page and no others. A browser that once heard Strict-Transport-Security of localhost would refuse the plain
// listener, and every other program there, for months.
function protection() {
  const hashOf = (text: string) =>
    `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  return secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: [hashOf(SCRIPT)],
      styleSrc: [hashOf(STYLE)],
      connectSrc: ["'self'"],
      imgSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
    xFrameOptions: "DENY",
    strictTransportSecurity: false,
  });
}

function wantsHtml(accept = ""): boolean {
  return accept.split(",").some((part) => {
    const [type, ...parameters] = part.split(";").map((word) => word.trim());
    const isRefused = parameters.some((word) => /^q=0(?:\.0*)?$/i.test(word));
    return type.toLowerCase() === "text/html" && !isRefused;
  });
}

function nextCommands({ listeners }: WelcomeFacts): NextCommand[] {
  const plain = listeners.find(({ resumption }) => !resumption);
  const hello = `${(plain ?? listeners[0]).url}/hello/Ada`;
  return [{
    what: "Ask the TypeScript route:",
    command: `curl ${plain ? "" : "-k "}${hello}`,
  }, {
    what: "Put Sluice in front of what you run (stop this one first):",
    command: "deno task start gateway --upstream http://127.0.0.1:3000",
  }, {
    what: "Run your own gateway.ts, and have each save live in a moment:",
    command: "deno task start gateway gateway.ts --watch",
  }];
}

function welcomeText(facts: WelcomeFacts, counts: WelcomeCounts): string {
  const { requests, native, typescript, conns } = counts;
  return [
    `Sluice ${facts.version} is running.`,
    "",
    `backend: ${facts.io}`,
    `workers: ${facts.workers}; isolates: ${facts.isolates}`,
    ...facts.listeners.map(({ url, resumption }) =>
      `listener: ${url}${resumption ? ` (TLS, resumption: ${resumption})` : ""}`
    ),
    `routes: ${routeSummary(facts.routes)}`,
    ...routeText(facts.routes),
    `requests: ${requests}, of which ${native} native and ${typescript} TypeScript; connections: ${conns}`,
    "",
    "Next:",
    ...nextCommands(facts).map(({ command }) => `  ${command}`),
    "",
  ].join("\n");
}
