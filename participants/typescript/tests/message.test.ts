// SPDX-License-Identifier: Apache-2.0
// The sender of a message, in whose own transaction everything may go wrong: a replica that is told what to answer, and SQLite.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Barrier, Client, type Database, Refused, callOf, sqlite, sqliteSession } from "sagad";
import { type Memory, memory } from "./world.js";

const DEADLINE = "2126-11-23T10:40:54.123Z";

/** What was asked of sagad, and in the end its phase. */
function replica(mode = "message", away: string[] = []) {
  const asked: string[] = [];
  const to = async (url: any, { method }: any) => {
    const what = new URL(String(url)).pathname.split("/").at(-1) ?? "";
    if (method === "POST") asked.push(what);
    if (away.includes(what)) throw new TypeError("fetch failed");
    const phase = asked.includes("confirm") ? "confirmed" : asked.includes("cancel") ? "cancelled" : "prepared";
    return new Response(JSON.stringify({ gid: "m-1", mode, phase, deadline_at: DEADLINE }), { status: 200 });
  };
  return { asked, client: new Client("http://sagad", { fetch: to as typeof fetch, timeoutMs: 50 }) };
}

const MESSAGE = { definition: "order-placed", gid: "m-1" };
const order = (db: Memory) => db.effect("order");
const quiet = { log: () => undefined };

/** COMMIT fails, after it was done or before; and then the session may be gone. */
function lost(db: Memory, { commits, breaks }: { commits: boolean; breaks: boolean }): Database<Memory> {
  const session = sqliteSession(db);
  let isGone = false;
  return {
    use: async (work) =>
      work(
        {
          ...session,
          query: async (sql, values) => {
            if (isGone) throw new Error("lost");
            if (sql !== "COMMIT") return session.query(sql, values);
            await session.query(commits ? "COMMIT" : "ROLLBACK");
            isGone = breaks;
            throw new Error("lost");
          },
        },
        () => undefined,
      ),
  };
}

test("a message is sent once", async () => {
  const db = await memory();
  for (let i = 0; i < 2; i++) {
    const { asked, client } = replica();
    const { sent, transaction } = await client.send(sqlite(db), MESSAGE, order);
    assert.deepEqual([sent, transaction.phase, asked], ["done", "confirmed", ["transactions", "confirm"]]);
  }
  assert.deepEqual(db.effects(), ["order"]);
});

test("what the work refuses is cancelled, and can never be sent", async () => {
  const db = await memory();
  const { asked, client } = replica();
  const refuse = (used: Memory) => {
    used.effect("half");
    throw new Refused("no such article");
  };
  assert.equal((await client.send(sqlite(db), MESSAGE, refuse)).sent, "refused");
  assert.deepEqual(asked, ["transactions", "cancel"]);
  assert.equal((await client.send(sqlite(db), MESSAGE, order)).sent, "late");
  assert.deepEqual(db.effects(), []);
});

test("what goes wrong is thrown, and may be sent again", async () => {
  const wrong: [(db: Memory) => void, RegExp][] = [
    [() => assert.fail("the work fails"), /the work fails/],
    [(db) => db.exec("ROLLBACK"), /may neither commit nor roll back/],
    [(db) => db.exec("INSERT INTO nowhere VALUES (1)"), /no such table/],
  ];
  for (const [fails, why] of wrong) {
    const db = await memory();
    const { asked, client } = replica();
    const work = (used: Memory) => {
      used.effect("half");
      fails(used);
    };
    await assert.rejects(client.send(sqlite(db), MESSAGE, work), why);
    assert.deepEqual([asked, db.effects()], [["transactions"], []]);
    assert.equal((await client.send(sqlite(db), MESSAGE, order)).sent, "done");
    assert.deepEqual(db.effects(), ["order"]);
  }
  await assert.rejects(replica("saga").client.send(sqlite(await memory()), MESSAGE, order), /is no message/);
});

test("of two that met one begins again", async () => {
  const db = await memory();
  const met = [{ code: "40P01" }, { errno: 1213 }];
  const { sent } = await replica().client.send(sqlite(db), MESSAGE, (used) => {
    used.effect("order");
    const why = met.pop();
    if (why) throw Object.assign(new Error("deadlock"), why);
  });
  assert.deepEqual([sent, db.effects()], ["done", ["order"]]);
});

test("what sagad cannot be told it asks", async () => {
  const db = await memory();
  const { sent } = await replica("message", ["confirm"]).client.send(sqlite(db), MESSAGE, order, quiet);
  assert.deepEqual([sent, db.effects()], ["asked", ["order"]]);
  const check = await new Barrier(sqliteSession(db)).messageCheck(callOf({ gid: "m-1", step: "check", op: "check", deadline: new Date(DEADLINE) }));
  assert.equal(check.status, 200);
});

test("a commit that is not answered", async () => {
  for (const [commits, breaks, wants] of [[true, false, "done"], [true, true, "unknown"], [false, true, "unknown"]] as const) {
    const db = await memory();
    const { asked, client } = replica();
    assert.equal((await client.send(lost(db, { commits, breaks }), MESSAGE, order)).sent, wants);
    assert.deepEqual(asked, wants === "done" ? ["transactions", "confirm"] : ["transactions"]);
    assert.deepEqual(db.effects(), commits ? ["order"] : []);
  }
  const db = await memory();
  await assert.rejects(replica().client.send(lost(db, { commits: false, breaks: false }), MESSAGE, order), /lost/);
  assert.deepEqual(db.effects(), []);
});
