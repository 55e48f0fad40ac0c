// SPDX-License-Identifier: Apache-2.0
// A step whose try is held open by PostgreSQL itself: prepared, then committed or rolled back.
//
// The try's row of the barrier is a part of what it prepares. So it is there exactly if the effect is, and as long as the transaction is
// prepared nobody can have a row of that step: who wants one waits, and is made to give up soon.
import { Answer, Refused, answerOf, failed, ok, outcomeOf, unavailable } from "./answer.js";
import { Barrier, type Verdict } from "./barrier.js";
import { type Call, NotACall, callOf } from "./call.js";
import type { Known } from "./client.js";
import type { Database, Session } from "./database.js";
import { Problem } from "./problem.js";
import type { Log, Work } from "./run.js";

const LIMIT = "SELECT current_setting('max_prepared_transactions')::int AS most, to_regclass('sagad_barrier_step') IS NOT NULL AS barrier";
const FIND = "SELECT 1 AS found FROM pg_prepared_xacts WHERE gid = $1::text AND database = current_database()";
const OLD = `SELECT coalesce(json_agg(json_build_object('id', gid, 'age',
  extract(epoch FROM clock_timestamp() - prepared)::bigint) ORDER BY prepared), '[]')::text AS old
  FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE 'saga:%:%'
  AND prepared < clock_timestamp() - make_interval(secs => $1::float8)`;

type Second = "PREPARE TRANSACTION" | "COMMIT PREPARED" | "ROLLBACK PREPARED";
type Step = Pick<Call, "gid" | "step">;

function idOf({ gid, step }: Step): string {
  return `saga:${gid}:${step}`;
}

/** "saga:GID:STEP": a step has no colon, a gid may have some. */
function stepOf(id: string): Step | undefined {
  const [, gid, step] = /^saga:(.{1,128}):([^:]{1,64})$/s.exec(id) ?? [];
  return gid !== undefined && step !== undefined ? { gid, step } : undefined;
}

/** These statements take no parameters. */
function literal(text: string): string {
  return `${text.includes("\\") ? " E" : ""}'${text.replace(/['\\]/g, "$&$&")}'`;
}

/**
 * Did the server do that, or something else? PREPARE TRANSACTION and COMMIT of a transaction that has failed roll it back, without an
 * error; only the command tag says so.
 */
async function command(session: Session, sql: string): Promise<void> {
  if (session.command === undefined) throw new TypeError("only PostgreSQL can hold a try open");
  const tag = await session.command(sql);
  if (tag !== sql.split(" ", 1)[0]) throw new Error(`the transaction had failed: ${sql} was answered ${tag ?? "without a command tag"}`);
}

/** False: there is no such prepared transaction. */
async function ended(session: Session, words: Second, step: Step): Promise<boolean> {
  try {
    await command(session, `${words} ${literal(idOf(step))}`);
    return true;
  } catch (why) {
    if ((why as { code?: unknown } | null)?.code === "42704") return false;
    throw why;
  }
}

/**
 * A try at work or prepared holds the barrier's row (55P03, lock_not_available), or another session prepares or ends the same transaction
 * at this moment (55000, "is busy"): nothing to worry about. The 55000 of a try says that nothing can be prepared.
 */
function hasMetAnother({ op }: Call, why: unknown): boolean {
  const code = (why as { code?: unknown } | null)?.code;
  return code === "55P03" || (op !== "try" && code === "55000");
}

/** In a transaction that it begins. */
async function enter(session: Session, call: Call): Promise<Verdict> {
  await command(session, "BEGIN");
  // Who waits for a row of the barrier may wait for one that is prepared, which no COMMIT of a session ends.
  await session.query("SET LOCAL lock_timeout = '1s'");
  const verdict = await new Barrier(session).ask(call);
  await session.query("SET LOCAL lock_timeout TO DEFAULT");
  return verdict;
}

async function keep(session: Session, call: Call, answer: Answer): Promise<void> {
  if (!(await new Barrier(session).keep(call, answer))) throw new Error("the work kept an answer of its own");
}

/** In the transaction that is open: what was decided before, or what is decided now and kept. */
async function settle(session: Session, call: Call, { answer, status, body }: Verdict, now: Answer): Promise<Answer> {
  if (answer === "run") await keep(session, call, now);
  await command(session, "COMMIT");
  return answer === "run" ? now : new Answer(status ?? 204, body);
}

async function worked<C>(session: Session<C>, call: Call, work: Work<C>): Promise<Answer> {
  await session.query("SAVEPOINT sagad_work");
  let answer: Answer;
  try {
    answer = answerOf(await work(call, session.connection));
  } catch (why) {
    if (!(why instanceof Refused)) throw why;
    // It fails if the work has ended the transaction: what it has committed must not be taken for a try that is done.
    await session.query("ROLLBACK TO SAVEPOINT sagad_work");
    return why.answer;
  }
  // Fails if the work has ended the transaction, or left it failed.
  await session.query("RELEASE SAVEPOINT sagad_work");
  return answer;
}

async function serveTry<C>(session: Session<C>, call: Call, work: Work<C>): Promise<Answer> {
  if (await session.query(FIND, [idOf(call)])) return ok();
  const verdict = await enter(session, call);
  if (verdict.answer !== "run") return settle(session, call, verdict, ok());
  const answer = await worked(session, call, work);
  switch (outcomeOf("try", answer.status)) {
    case "ok":
      await keep(session, call, ok());
      if (!(await ended(session, "PREPARE TRANSACTION", call))) throw new Error("it could not be prepared");
      return ok(); // without a body: a duplicate could not be told it
    case "refused":
      await session.query("ROLLBACK"); // what it wrote; that it was refused stays
      return settle(session, call, await enter(session, call), answer);
    case "ongoing":
    case "unknown":
    case "misconfigured":
      throw new Error(`the work of a try that is prepared is done or refused, not ${answer.status}`);
  }
}

async function serveConfirm(session: Session, call: Call): Promise<Answer> {
  await ended(session, "COMMIT PREPARED", call); // or it was, by an earlier confirm, or never was there: the barrier tells which
  return settle(session, call, await enter(session, call), ok());
}

async function serveCancel(session: Session, call: Call): Promise<Answer> {
  await ended(session, "ROLLBACK PREPARED", call);
  // Forbids the try that may still come. One that is at work now is waited for a moment.
  const verdict = await enter(session, call);
  if (verdict.answer !== "run") return settle(session, call, verdict, ok());
  await session.query("ROLLBACK"); // the row was committed with the effect
  return failed(409, "it was confirmed");
}

function serve<C>(session: Session<C>, call: Call, work: Work<C> | null): Promise<Answer> {
  if (call.op === "confirm") return serveConfirm(session, call);
  if (call.op === "cancel") return serveCancel(session, call);
  if (call.op === "check" || work === null) throw new TypeError(`nothing can be prepared for a ${call.op}`);
  return serveTry(session, call, work);
}

/**
 * As run(), for a step with try, confirm and cancel; work is that of the try and is not run for the others. Done: it is prepared, and
 * answered 204. Refused: rolled back, the refusal is kept. Whatever else comes of it: rolled back, and 503, which makes sagad call again.
 */
export function runXa<C>(database: Database<C>, call: Call, work: Work<C> | null, log: Log = console.error): Promise<Answer> {
  return database.use(async (session, broken) => {
    try {
      return await serve(session, call, work);
    } catch (why) {
      await session.query("ROLLBACK").catch(broken); // without a connection there is no open transaction either
      if (why instanceof NotACall) return failed(400, why.message); // its body could not be read
      if (!hasMetAnother(call, why)) log(`${call.op} of step ${call.step} of ${call.gid} is answered 503`, why);
      return unavailable();
    }
  });
}

/** To be asked before a service starts: can the server prepare transactions, is the barrier there? Throws what to change. */
export function xaReady<C>(database: Database<C>): Promise<void> {
  return database.use(async (session) => {
    if (session.command === undefined) throw new TypeError("only PostgreSQL can hold a try open");
    const found = await session.query(LIMIT);
    if (!(Number(found?.["most"]) > 0)) {
      throw new Error(
        "max_prepared_transactions is 0, so that nothing can be prepared: set it to at least max_connections and restart the server",
      );
    }
    if (found?.["barrier"] !== true) throw new Error("there is no sagad_barrier_step in the search_path: call setup() first");
  });
}

// ---- the sweep -----------------------------------------------------------------------------------

export interface XaSwept {
  /** Prepared transactions of ours that were older than asked for. */
  seen: number;
  /** sagad knows nothing of them, or has cancelled them. */
  rolledBack: number;
  /** sagad has confirmed them, and ended. */
  committed: number;
  /** Still under way, abandoned by a person, or sagad could not be asked. */
  left: number;
  /** Age of the oldest that is left. */
  oldestS: number;
}

/** What will become of it, if sagad is the one to say. What a person has abandoned a person has to end. */
async function fateOf(client: { get(gid: string): Promise<Known> }, gid: string, log: Log): Promise<"confirm" | "cancel" | undefined> {
  try {
    const { phase } = await client.get(gid);
    return phase === "confirmed" ? "confirm" : phase === "cancelled" ? "cancel" : undefined;
  } catch (why) {
    // Presumed: what was decided otherwise would still be confirming.
    if (why instanceof Problem && why.status === 404 && why.code === "transaction_unknown") return "cancel";
    log(`sagad gave no word on ${gid}, which stays prepared`, why);
    return undefined;
  }
}

/**
 * Presumed abort: asks sagad about each transaction prepared in this database that is older than olderThanS, and ends those of which it
 * will not speak again. To be called now and then by one process.
 */
export async function sweepXa<C>(
  database: Database<C>,
  client: { get(gid: string): Promise<Known> },
  olderThanS: number,
  log: Log = console.error,
): Promise<XaSwept> {
  const swept: XaSwept = { seen: 0, rolledBack: 0, committed: 0, left: 0, oldestS: 0 };
  const { old } = (await database.use((session) => session.query(OLD, [olderThanS]))) as { old: string };
  for (const { id, age } of JSON.parse(old) as { id: string; age: number }[]) {
    const step = stepOf(id);
    const op = step && (await fateOf(client, step.gid, log));
    // As if sagad had called: the barrier's row says it as well.
    const status = step && op ? (await runXa(database, callOf({ ...step, op }), null, log)).status : 0;
    swept.seen++;
    if (status >= 200 && status < 300) {
      if (op === "confirm") swept.committed++;
      else swept.rolledBack++;
    } else {
      swept.left++;
      swept.oldestS = Math.max(swept.oldestS, age);
    }
  }
  return swept;
}
