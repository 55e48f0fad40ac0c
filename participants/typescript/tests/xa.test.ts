// SPDX-License-Identifier: Apache-2.0
// What a server says about prepared transactions when it is not in order: a client that is told what to answer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Participant, type PgPoolClient, callOf, postgresql, runXa, sqlite, xaReady } from "sagad";
import { memory } from "./world.js";

interface Told {
  /** Statements that begin so are answered with this tag, or error. */
  tags?: Record<string, string | Error>;
  rows?: Record<string, Record<string, unknown>>;
}

function scripted({ tags = {}, rows = {} }: Told) {
  const seen: string[] = [];
  const released: unknown[] = [];
  const of = <T>(table: Record<string, T>, sql: string) => Object.entries(table).find(([start]) => sql.startsWith(start))?.[1];
  const client: PgPoolClient = {
    async query(sql) {
      seen.push(sql);
      const tag = of(tags, sql) ?? sql.split(" ", 1)[0] ?? "";
      if (tag instanceof Error) throw tag;
      const row = of(rows, sql);
      return { rows: row ? [row] : [], rowCount: row ? 1 : 0, command: tag };
    },
    release: (broken) => released.push(broken),
  };
  return { seen, released, database: postgresql({ connect: async () => client }) };
}

const RUN = { "SELECT answer": { answer: "run", status: null, body: null }, "SELECT sagad_barrier_keep": { kept: true } };
const quiet = () => undefined;
const step = { gid: "g'1\\", step: "debit" };

async function status(told: Told, op: "try" | "confirm" | "cancel" | "check", work = () => undefined) {
  const fake = scripted({ rows: RUN, ...told });
  return { ...fake, status: (await runXa(fake.database, callOf({ ...step, op }), work, quiet)).status };
}

test("a command is done when its tag says so", async () => {
  const done = await status({}, "try");
  assert.equal(done.status, 204);
  assert.equal(done.seen.at(-1), "PREPARE TRANSACTION  E'saga:g''1\\\\:debit'");
  for (const [op, words] of [["try", "PREPARE"], ["confirm", "COMMIT PREPARED"], ["confirm", "COMMIT"], ["cancel", "ROLLBACK PREPARED"]] as const) {
    const failed = await status({ tags: { [words]: words.startsWith("ROLLBACK") ? "COMMIT" : "ROLLBACK" } }, op);
    assert.equal(failed.status, 503, words);
    assert.deepEqual([failed.seen.at(-1), failed.released], ["ROLLBACK", [false]]);
  }
});

test("what is gone was ended; another error is none of that", async () => {
  const gone = Object.assign(new Error("does not exist"), { code: "42704" });
  const other = Object.assign(new Error("permission denied"), { code: "42501" });
  assert.equal((await status({ tags: { "COMMIT PREPARED": gone } }, "confirm")).status, 204);
  assert.equal((await status({ tags: { "ROLLBACK PREPARED": gone } }, "cancel")).status, 409);
  assert.equal((await status({ tags: { "COMMIT PREPARED": other } }, "confirm")).status, 503);
  assert.equal((await status({ tags: { "ROLLBACK PREPARED": other } }, "cancel")).status, 503);
});

test("to meet another call is no error", async () => {
  const logged = async (code: string, op: "try" | "confirm" | "cancel", at: string) => {
    const lines: string[] = [];
    const { database } = scripted({ rows: RUN, tags: { [at]: Object.assign(new Error("busy"), { code }) } });
    assert.equal((await runXa(database, callOf({ ...step, op }), () => undefined, (line) => lines.push(line))).status, 503);
    return lines.length;
  };
  assert.equal(await logged("55P03", "try", "SELECT answer"), 0, "another try, or what it has prepared, has the row");
  assert.equal(await logged("55000", "confirm", "COMMIT PREPARED"), 0, "another session ends it at this moment");
  assert.equal(await logged("55000", "cancel", "ROLLBACK PREPARED"), 0);
  assert.equal(await logged("55000", "try", "PREPARE"), 1, "nothing can be prepared");
  assert.equal(await logged("53200", "confirm", "COMMIT PREPARED"), 1);
});

test("a connection that is gone is not used again", async () => {
  const lost = new Error("lost");
  const { status: said, released } = await status({ tags: { PREPARE: lost, "ROLLBACK": lost } }, "try");
  assert.deepEqual([said, released], [503, [true]]);
  assert.equal((await status({}, "check")).status, 503);
});

test("a service that cannot prepare does not start", async () => {
  const ready = (most: number, barrier: boolean) => xaReady(scripted({ rows: { "SELECT current_setting": { most, barrier } } }).database);
  await ready(1, true);
  await assert.rejects(ready(0, true), /max_prepared_transactions is 0/);
  await assert.rejects(ready(9, false), /no sagad_barrier_step/);
  const db = await memory();
  await assert.rejects(new Participant(sqlite(db)).setup({ prepares: true }), /only PostgreSQL/);
  assert.equal((await runXa(sqlite(db), callOf({ ...step, op: "confirm" }), null, quiet)).status, 503);
});
