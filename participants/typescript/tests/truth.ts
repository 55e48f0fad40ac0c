// SPDX-License-Identifier: Apache-2.0
// The truth table of the barrier, asked through the package on whatever database.
import assert from "node:assert/strict";
import { Answer, Barrier, type Session, callOf, sqliteSession } from "sagad";
import { vectors } from "./world.js";

interface Dialect {
  age(seconds: number): Promise<unknown>;
  fresh(): Promise<unknown>;
  begin: string;
}

async function attempt<T>(session: Session, what: () => Promise<T>): Promise<T | "error"> {
  try {
    return await what();
  } catch {
    await session.query("ROLLBACK").catch(() => undefined);
    return "error";
  }
}

async function doAct(session: Session, on: Dialect, gid: string, act: any): Promise<void> {
  const barrier = new Barrier(session);
  const call = { gid, step: "a", op: act.op ?? act.keep?.op };
  const kept = (keep: any) => barrier.keep(call, new Answer(keep.status, keep.body));
  await session.query(on.begin);
  if (act.op !== undefined) {
    const deadline = act.deadline_s === undefined ? {} : { deadline: new Date(Date.now() + act.deadline_s * 1000) };
    const epoch = act.epoch === undefined ? {} : { epoch: BigInt(act.epoch) };
    const got = await attempt(session, () => barrier.ask(callOf({ ...call, ...deadline, ...epoch })));
    if (got === "error") return assert.equal(act.answer, "error");
    assert.equal(got.answer, act.answer, JSON.stringify(act));
    if ("status" in act) assert.equal(got.status, act.status);
    if ("body" in act) assert.equal(got.body, act.body);
    if (act.keep) assert.equal(await kept(act.keep), true);
  } else if (act.keep) {
    const got = await attempt(session, () => kept(act.keep));
    assert.equal(got, act.kept, JSON.stringify(act));
    if (got === "error") return;
  } else if (act.age_s !== undefined) {
    await on.age(act.age_s);
  } else {
    const got = await attempt(session, () => barrier.sweep(act.sweep_s));
    assert.equal(got, act.deleted, JSON.stringify(act));
    if (got === "error") return;
  }
  await session.query(act.rollback ? "ROLLBACK" : "COMMIT");
}

export async function truthTable(session: Session, on: Dialect): Promise<number> {
  const { cases } = vectors("barrier");
  for (const [number, row] of cases.entries()) {
    await on.fresh();
    for (const act of row.do) {
      await doAct(session, on, `table-${number}`, act).catch((why) => {
        throw new Error(`${row.name}: ${why}`, { cause: why });
      });
    }
  }
  return cases.length;
}

/** The same on SQLite, whatever its driver; the barrier is set up. */
export async function truthOfSqlite(db: Parameters<typeof sqliteSession>[0]): Promise<void> {
  const told = await truthTable(sqliteSession(db), {
    begin: "BEGIN IMMEDIATE",
    age: async (s) =>
      db.exec(`UPDATE sagad_barrier_step SET seen_at = seen_at - ${s} / 86400.0,
        deadline = iif(deadline < 1e9, deadline - ${s} / 86400.0, 1e9)`),
    fresh: async () => db.exec("DELETE FROM sagad_barrier_step; UPDATE sagad_barrier_state SET swept = -1e9"),
  });
  assert.ok(told > 30);
}
