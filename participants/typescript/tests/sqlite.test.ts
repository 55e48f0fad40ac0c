// SPDX-License-Identifier: Apache-2.0
// node:sqlite, where node has it (22.13 and newer), and better-sqlite3, where somebody has installed it, in the shape that sqlite() asks for.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Barrier, Participant, Refused, type SqliteDatabase, sqlite, sqliteSession } from "sagad";
import { truthOfSqlite } from "./truth.js";
import { headers } from "./world.js";

/** No name that the compiler would look for. */
async function classOf(module: string, name: string): Promise<(new (path: string) => SqliteDatabase) | undefined> {
  return import(module).then((found) => found[name], () => undefined);
}

for (const [module, name] of [["node:sqlite", "DatabaseSync"], ["better-sqlite3", "default"]] as const) {
  const made = await classOf(module, name);
  if (made === undefined) continue;

  test(`the truth table of the barrier, with ${module}`, async () => {
    const db = new made(":memory:");
    const barrier = new Barrier(sqliteSession(db));
    await barrier.setup();
    await barrier.setup();
    await truthOfSqlite(db);
  });

  test(`a service on ${module}`, async () => {
    const service = new Participant(sqlite(new made(":memory:")), { log: () => undefined });
    await service.setup();
    service.on("/rooms", "try", (call, db) => {
      if (call.text === "") db.exec("CREATE TABLE effect (n)");
      db.prepare("INSERT INTO effect VALUES (?)").run(1);
      const { n } = db.prepare("SELECT count(*) AS n FROM effect").get() as { n: number };
      if (call.text === "refuse") throw new Refused("sold out");
      if (call.text === "fail") throw new Error("the work fails");
      return { n };
    });
    const serve = async (step: string, text = "2") => {
      const { status, body } = await service.serve("/rooms", headers("try", { "Saga-Step": step, "Saga-Epoch": String(2n ** 60n) }), text);
      return [status, body];
    };
    assert.deepEqual(await serve("a", ""), [200, '{"n":1}']);
    assert.deepEqual(await serve("a", ""), [200, '{"n":1}']);
    assert.deepEqual(await serve("b", "refuse"), [422, '{"error":"sold out"}']);
    assert.deepEqual(await serve("b", "refuse"), [422, '{"error":"sold out"}']);
    assert.equal((await serve("c", "fail"))[0], 503);
    assert.deepEqual(await serve("c"), [200, '{"n":2}']);
  });
}
