/**
 * The welcome page's look and behaviour, and its words. Nothing here asks for anything else: no font, no picture, no script of others.
 *
 * @module
 */
import { html as markup, raw } from "hono/html"; // `deno fmt` would lay out what is called html
import type { RouteRow } from "./route_table.ts";

/** What runs, as the welcome page tells it. */
export interface WelcomeFacts {
  version: string;
  /** The backend, and why it. */
  io: string;
  workers: string;
  isolates: number;
  /** `resumption`: the modes of its certificates, where it speaks TLS. */
  listeners: { url: string; resumption?: string }[];
  routes: RouteRow[];
}

/** What the page counts: since the start, but for the connections. */
export interface WelcomeCounts {
  requests: number;
  native: number;
  typescript: number;
  /** Open now. */
  conns: number;
}

/** A command, and what it is good for. */
export interface NextCommand {
  what: string;
  command: string;
}

export const ICON =
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0b5cad"/><path d="M8 6v20M24 6v20M8 9h16" stroke="#fff" stroke-width="2.5" stroke-linecap="round" fill="none"/><path d="M11 12h10v6H11z" fill="#fff"/><path d="M8 23q4-3 8 0t8 0" stroke="#8fd0ff" stroke-width="2.5" fill="none"/></svg>`;

export const STYLE = `
:root { color-scheme: light dark; --back: #f4f7fa; --card: #fff; --text: #17222e; --quiet: #4d5d6e; --line: #d5dee7; --link: #0b5cad; --c: #0b5cad; --ts: #8a4b08; --live: #1c8a4c; --code: #eaf0f6; }
@media (prefers-color-scheme: dark) { :root { --back: #10161d; --card: #19222c; --text: #e8eef4; --quiet: #a3b3c3; --line: #33414f; --link: #7cc0ff; --c: #7cc0ff; --ts: #f2b366; --live: #4cc38a; --code: #0d1319; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 1rem/1.55 system-ui, sans-serif; }
header, main, footer { max-width: 72rem; margin: 0 auto; padding: 0 clamp(1rem, 4vw, 2.5rem); }
header { display: flex; gap: 1rem; align-items: center; padding-top: clamp(1.5rem, 5vw, 3.5rem); padding-bottom: 1.5rem; }
header svg { width: 3.25rem; flex: none; }
h1 { margin: 0; font-size: clamp(1.6rem, 5vw, 2.25rem); line-height: 1.15; letter-spacing: -.02em; }
h2 { margin: 0 0 .75rem; font-size: 1.1rem; }
p { margin: 0 0 .75rem; }
header p { margin: .25rem 0 0; }
header p, .quiet, dt, footer, caption { color: var(--quiet); }
main, .column { display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr); align-content: start; }
@media (min-width: 60rem) { main { grid-template-columns: repeat(2, minmax(0, 1fr)); } #live { grid-column: 1 / -1; } }
section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1.25rem; }
.top { display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; align-items: baseline; }
.top p { margin: 0 0 .75rem; font-size: .9rem; }
.step { display: flex; gap: 1rem; justify-content: space-between; align-items: center; margin-bottom: .5rem; } .step > * { margin: 0; }
.dot { display: inline-block; width: .6em; height: .6em; margin-right: .4em; border-radius: 50%; background: var(--quiet); }
.live .dot { background: var(--live); animation: beat 2s infinite; }
@keyframes beat { 50% { opacity: .35; } }
@media (prefers-reduced-motion: reduce) { .live .dot { animation: none; } }
.counts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: 1rem; margin: 0; }
.counts div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.counts dd { margin: 0; font-size: clamp(1.6rem, 6vw, 2.5rem); font-weight: 650; line-height: 1.2; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.native { color: var(--c); } .typescript { color: var(--ts); }
.share { display: block; width: 100%; height: .6rem; margin-top: 1rem; border-radius: .3rem; fill: var(--line); }
.share #native-share { fill: var(--c); } .share #typescript-share { fill: var(--ts); }
.facts { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: .6rem 1.5rem; margin: 0; }
.facts dd { grid-column: 2; margin: 0; overflow-wrap: anywhere; }
.facts span, th span { display: block; font-size: .9rem; color: var(--quiet); }
table { width: 100%; border-collapse: collapse; }
caption { text-align: left; padding-bottom: .75rem; }
th, td { padding: .45rem .75rem .45rem 0; border-top: 1px solid var(--line); text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 400; } thead th { border: 0; padding-top: 0; font-size: .9rem; color: var(--quiet); }
td { padding-right: 0; font-weight: 600; white-space: nowrap; }
code, pre { font: .9rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { margin: 0; padding: .7rem .9rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--code); white-space: pre-wrap; overflow-wrap: anywhere; }
pre.program { white-space: pre; overflow-x: auto; }
.whole { white-space: nowrap; }
ol { margin: 0; padding: 0; list-style: none; } li + li { margin-top: 1rem; }
button { flex: none; min-width: 5.5rem; min-height: 2.75rem; padding: 0 .9rem; border: 1px solid var(--link); border-radius: .5rem; background: none; color: var(--link); font: inherit; cursor: pointer; }
@media (pointer: fine) { button { min-height: 2rem; } }
button:hover { background: var(--code); }
a { color: var(--link); text-underline-offset: .2em; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
@media (min-width: 60rem) { th span { display: inline; margin-left: .75rem; } }
[hidden] { display: none; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
footer { padding-top: 1.5rem; padding-bottom: 3rem; font-size: .9rem; }
@media (max-width: 30rem) { .facts { grid-template-columns: minmax(0, 1fr); gap: 0; } .facts dd { grid-column: 1; } .facts dd + dt { margin-top: .75rem; } }
`;

export const SCRIPT = `
"use strict";
const byId = (id) => document.getElementById(id);
const format = new Intl.NumberFormat("en");
let source, timer;

function tell(isLive, text) {
  byId("live").classList.toggle("live", isLive);
  if (byId("state").textContent !== text) byId("state").textContent = text;
}

function show(counts) {
  for (const [name, count] of Object.entries(counts)) byId(name).textContent = format.format(count);
  const all = Math.max(1, counts.native + counts.typescript);
  byId("native-share").setAttribute("width", 100 * counts.native / all);
  byId("typescript-share").setAttribute("x", 100 * counts.native / all);
  byId("typescript-share").setAttribute("width", 100 * counts.typescript / all);
}

function close() {
  clearTimeout(timer);
  if (source) source.close();
}

// A browser tries again by itself after a lost connection, but not after an answer that is no stream.
function open() {
  close();
  if (document.hidden) return tell(false, "Paused");
  source = new EventSource("/live");
  source.onmessage = ({ data }) => {
    tell(true, "Live");
    show(JSON.parse(data));
  };
  source.onerror = () => {
    tell(false, "No answer, trying again");
    if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, 2000);
  };
}

async function copy(button) {
  const text = byId(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
    byId("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(text);
    button.textContent = "Selected";
    byId("copied").textContent = "Selected. Copy it with the keyboard.";
  }
  setTimeout(() => { button.textContent = "Copy"; byId("copied").textContent = ""; }, 2000);
}

for (const button of document.querySelectorAll("button")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
document.addEventListener("visibilitychange", open);
open();
`;

const SLUICE = "sluice"; // else tools/check_layers.ts took the program's import for one of this file

const PROGRAM = `import { Hono } from "hono";
import { defineGateway, proxy } from "${SLUICE}";

const app = new Hono();
app.all("/api/*", proxy("http://127.0.0.1:3000"));
app.get("/hello/:name", (c) =>
  c.text(\`Hello, \${c.req.param("name")}!\\n\`));

export default defineGateway(app);
`;

const copyButton = (id: string, label: string) =>
  markup`<button type="button" hidden data-copies="${id}" aria-label="Copy ${label}">Copy</button>`;

// An option is not broken at its hyphens.
const command = (text: string) =>
  text.split(/( --\S+)/).map((part) =>
    part.startsWith(" --")
      ? markup` <span class="whole">${part.trim()}</span>`
      : part
  );

const count = (id: string, name: string, value: number) =>
  markup`<div><dt>${name}</dt><dd id="${id}" class="${id}">${value}</dd></div>
`;

const fact = (name: string, value: string | number) =>
  markup`<dt>${name}</dt><dd>${value}</dd>
`;

const listener = ({ url, resumption }: WelcomeFacts["listeners"][number]) =>
  markup`<dd><a href="${url}/">${url}</a>${
    resumption && markup`<span>TLS, resumption: ${resumption}</span>`
  }</dd>
`;

const route = ({ method, path, runs, name, reason }: RouteRow) =>
  markup`<tr><th scope="row"><code>${method} ${path}</code><span>${
    name || "a handler"
  }${
    reason && `, because ${reason}`
  }</span></th><td class="${runs.toLowerCase()}">${runs}</td></tr>
`;

const step = (next: NextCommand, i: number) =>
  markup`<li><div class="step"><p>${next.what}</p>${
    copyButton(`command-${i + 1}`, `command ${i + 1}`)
  }</div><pre><code id="command-${i + 1}">${
    command(next.command)
  }</code></pre></li>
`;

/** The page. */
export function welcomePage(
  facts: WelcomeFacts,
  counts: WelcomeCounts,
  next: readonly NextCommand[],
) {
  const { native, typescript } = counts;
  const share = 100 / Math.max(1, native + typescript);
  return markup`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice is running</title>
<link rel="icon" type="image/svg+xml" href="/favicon.svg">
<style>${raw(STYLE)}</style>
</head>
<body>
<header>
${raw(ICON.replace(/<svg xmlns="[^"]*"/, '<svg aria-hidden="true"'))}
<div><h1>Sluice is running</h1><p>Version ${facts.version}. You see this because it was started without a module.</p></div>
</header>
<main>
<section id="live" aria-labelledby="served">
<div class="top"><h2 id="served">Served since the start</h2><p class="quiet"><span class="dot" aria-hidden="true"></span><span id="state" role="status">As of this page's load</span></p></div>
<dl class="counts">
${count("requests", "Requests", counts.requests)}${
    count("native", "Answered natively, in C", native)
  }${count("typescript", "Answered by TypeScript", typescript)}${
    count("conns", "Connections open now", counts.conns)
  }</dl>
<svg class="share" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="100" height="1"/><rect id="native-share" width="${
    native * share
  }" height="1"/><rect id="typescript-share" x="${native * share}" width="${
    typescript * share
  }" height="1"/></svg>
</section>
<div class="column">
<section aria-labelledby="runs">
<h2 id="runs">What is running</h2>
<dl class="facts">
${fact("Backend", facts.io)}${fact("Workers", facts.workers)}${
    fact("Isolates", facts.isolates)
  }<dt>Listeners</dt>
${facts.listeners.map(listener)}</dl>
</section>
<section aria-labelledby="next">
<h2 id="next">Next, in a terminal</h2>
<ol>
${next.map(step)}</ol>
</section>
</div>
<div class="column">
<section aria-labelledby="routes">
<h2 id="routes">Routes</h2>
<table>
<caption>Native routes run in C, and V8 never hears of them. This page needs TypeScript, because it counts.</caption>
<thead><tr><th scope="col">Route</th><th scope="col">Runs</th></tr></thead>
<tbody>
${facts.routes.map(route)}</tbody>
</table>
</section>
<section aria-labelledby="program">
<div class="step"><h2 id="program">Your own gateway.ts</h2>${
    copyButton("program-text", "the program")
  }</div>
<p>A gateway is a Hono app. Here <code>/api/*</code> is native, and <code>/hello/:name</code> is TypeScript.</p>
<pre class="program" tabindex="0" role="region" aria-label="The program"><code id="program-text">${PROGRAM}</code></pre>
</section>
</div>
</main>
<footer><p>Try <a href="/hello/Ada">/hello/Ada</a>, a TypeScript route, and <a href="/whoami">/whoami</a>, which shows your request as an upstream would see it.</p></footer>
<p id="copied" class="unseen" role="status"></p>
<script>${raw(SCRIPT)}</script>
</body>
</html>
`;
}
