// SPDX-License-Identifier: Apache-2.0
// A stock of one item, for tests/integration/sdk/test_verify_typescript.py: node verify_service.js HOST:PORT SECRET
import { createServer } from "node:http";
import pg from "pg";
import { Participant, Refused, listener, postgresql } from "sagad";

const [at = "", secret = ""] = process.argv.slice(2);
const [host, port] = at.split(":");
const pool = new pg.Pool({ max: 8 });
const stock = new Participant(postgresql<pg.PoolClient>(pool), { secrets: [secret], log: () => undefined });

stock.on("/pieces", "try", async (call, db) => {
  const { pieces } = call.json();
  const done = await db.query("UPDATE stock SET free = free - $1 WHERE free >= $1", [pieces]);
  if (done.rowCount === 0) throw new Refused("sold out");
  await db.query("INSERT INTO held VALUES ($1, $2, $3)", [call.gid, call.step, pieces]);
  return { pieces };
});
stock.on("/pieces", "confirm", async (call, db) => {
  await db.query("DELETE FROM held WHERE gid = $1 AND step = $2", [call.gid, call.step]);
});
stock.on("/pieces", "cancel", async (call, db) => {
  await db.query("UPDATE stock SET free = free + pieces FROM held WHERE gid = $1 AND step = $2", [call.gid, call.step]);
  await db.query("DELETE FROM held WHERE gid = $1 AND step = $2", [call.gid, call.step]);
});

await stock.setup();
await pool.query("CREATE TABLE stock AS SELECT 1000 AS free");
await pool.query("CREATE TABLE held (gid text, step text, pieces integer)");
const serve = listener(stock);
createServer((request, response) => {
  if (request.method === "GET") pool.query("SELECT free FROM stock").then(({ rows }) => response.end(JSON.stringify(rows[0])));
  else serve(request, response);
}).listen(Number(port), host, () => console.log("ready"));
