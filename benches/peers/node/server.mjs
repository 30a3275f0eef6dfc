// A webhook receiver as a user would write it: Node's http, the official standardwebhooks package, better-sqlite3 with
// the same durability as the harness (WAL, synchronous=FULL). It verifies and inserts; it applies nothing.
//
// node server.mjs single|grouped DATABASE
//   single   a transaction for each webhook, which is what the packages' documentation leads to
//   grouped  one transaction, and one sync, for all webhooks that arrive in the same turn of the event loop
import { createServer } from "node:http";
import Database from "better-sqlite3";
import { Webhook } from "standardwebhooks";

const [mode, path] = process.argv.slice(2);
const secret = process.env.WEBHOOK_SECRET;
const db = new Database(path);
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL");
db.exec(`CREATE TABLE IF NOT EXISTS delivery (
  n INTEGER PRIMARY KEY, org TEXT NOT NULL, id TEXT NOT NULL, received_at INTEGER NOT NULL, body BLOB NOT NULL,
  UNIQUE (org, id)
) STRICT`);
const insert = db.prepare(
  "INSERT INTO delivery (org, id, received_at, body) VALUES (?, ?, ?, ?) ON CONFLICT (org, id) DO NOTHING",
);
const webhook = new Webhook(secret);

const insertAll = db.transaction((rows) => {
  for (const row of rows) insert.run(row.org, row.id, row.at, row.body);
});
let waiting = [];
const flush = () => {
  const rows = waiting;
  waiting = [];
  insertAll(rows);
  for (const row of rows) row.done();
};

const store = (row) => {
  if (mode === "single") {
    insert.run(row.org, row.id, row.at, row.body);
    row.done();
    return;
  }
  waiting.push(row);
  if (waiting.length === 1) setImmediate(flush);
};

const server = createServer((request, response) => {
  const org = /^\/webhooks\/incidentio\/([\w-]{1,64})$/.exec(request.url)?.[1];
  const answer = (status) => response.writeHead(status).end();
  if (request.method !== "POST" || !org) return answer(404);
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks);
    try {
      webhook.verify(body, request.headers);
    } catch {
      return answer(401);
    }
    store({ org, id: request.headers["webhook-id"], at: Date.now(), body, done: () => answer(204) });
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => console.error(`Serving on http://127.0.0.1:${server.address().port}: webhooks`));
