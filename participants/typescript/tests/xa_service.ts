// SPDX-License-Identifier: Apache-2.0
// A bank of one table whose tries are held open, for tests/integration/sdk/test_xa_typescript.py.
//
//   node xa_service.js serve HOST:PORT     POST /hold, /confirm, /cancel until killed
//   node xa_service.js sweep URL AGE_S     one sweep: prints what it did
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { Client, Participant, Refused, listener, ongoing, postgresql, sweepXa } from "sagad";

const pool = new pg.Pool({ max: 4 });
pool.on("error", () => undefined);
const database = postgresql<pg.PoolClient>(pool);

async function serve(at: string): Promise<void> {
  const bank = new Participant(database);
  await bank.setup({ prepares: true });
  bank.prepared({ try: "/hold", confirm: "/confirm", cancel: "/cancel" }, async (call, db) => {
    await db.query("INSERT INTO booked VALUES ($1)", [call.gid]); // first, so that a rollback has something to undo
    if (call.text.includes("sleep")) await sleep(30000); // killed meanwhile
    if (call.text.includes("break")) await db.query("SELECT 1 / 0").catch(() => undefined); // an error that nobody looks at
    if (call.text.includes("commit")) await db.query("COMMIT");
    if (call.text.includes("begin")) await db.query("BEGIN");
    if (call.text.includes("refuse")) throw new Refused("sold out");
    if (call.text.includes("fail")) throw new Error("the work fails");
    if (call.text.includes("ongoing")) return ongoing();
    return { nobody: "hears this" };
  });
  const [host, port] = at.split(":");
  createServer(listener(bank)).listen(Number(port), host, () => console.log("ready"));
}

async function sweep(url: string, olderThanS: number): Promise<void> {
  console.log(JSON.stringify(await sweepXa(database, new Client(url, { timeoutMs: 500 }), olderThanS, () => undefined)));
  await pool.end();
}

const [what, where, age] = process.argv.slice(2);
await (what === "sweep" ? sweep(where ?? "", Number(age)) : serve(where ?? ""));
