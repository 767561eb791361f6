// A rate limit that isolates, processes and restarts share: a plugin's store, in SQLite.
//
//   deno task start gateway examples/shared_limit.ts --allow-write=.
//   for i in 1 2 3 4; do curl -i http://127.0.0.1:8080/report; done

import { DatabaseSync } from "node:sqlite";
import { Hono } from "hono";
import { defineGateway, definePlugin, rateLimit, type Store } from "sluice";

const sqlite = definePlugin({
  name: "sqlite",
  version: "1.0.0",
  setup() {
    const db = new DatabaseSync("limits.db");
    db.exec(`PRAGMA busy_timeout = 1000;
      PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS limits (key TEXT PRIMARY KEY, value REAL, until REAL);
      CREATE INDEX IF NOT EXISTS limits_until ON limits (until)`);
    const read = db.prepare(
      "SELECT value FROM limits WHERE key = ? AND until > ?",
    );
    const write = db.prepare("INSERT OR REPLACE INTO limits VALUES (?, ?, ?)");
    const sweep = db.prepare("DELETE FROM limits WHERE until <= ?");
    const store: Store = {
      update(key, change) {
        const now = Date.now();
        db.exec("BEGIN IMMEDIATE"); // nobody else writes until COMMIT
        try {
          const row = read.get(key, now) as { value: number } | undefined;
          const entry = change(row?.value);
          if (entry) write.run(key, entry.value, now + entry.ttlMs);
          sweep.run(now);
        } finally {
          db.exec("COMMIT");
        }
      },
    };
    return { stores: { sqlite: store }, dispose: () => db.close() };
  },
  onError: "open", // a limit that cannot be counted lets requests pass
  timeoutMs: 1000,
});

const app = new Hono();
app.use(
  rateLimit({ key: "client-ip", rate: 1 / 60, burst: 3, store: "sqlite" }),
);
app.get("/report", (c) => c.text("Nothing to report.\n"));

export default defineGateway(app, {
  listeners: [{ address: "127.0.0.1:8080" }],
  isolates: 2,
}).use(sqlite);
