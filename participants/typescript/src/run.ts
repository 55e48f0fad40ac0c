// SPDX-License-Identifier: Apache-2.0
// One call in one local transaction: barrier, work, what is kept, commit.
import { Answer, Refused, answerOf, failed, outcomeOf, unavailable } from "./answer.js";
import { Barrier } from "./barrier.js";
import { type Call, NotACall } from "./call.js";
import type { Database, Session } from "./database.js";

/**
 * The work of a call, in the transaction that is open on db; it neither commits nor rolls back. Gives back a JSON value or an
 * Answer, or throws Refused. It may be run again from its start, so it does nothing that a rollback does not undo.
 */
export type Work<C> = (call: Call, db: C) => Output | Promise<Output>;
/** JSON, and not what a driver says of its statement: a function that has nothing to say gives back nothing. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json | undefined };
export type Output = Answer | Json | void;
/** Hears of what failed here. */
export type Log = (message: string, why: unknown) => void;

export const ENDED =
  "the function has ended the transaction it was given, or left it failed: it may neither commit nor roll back, nor go on after an error of the database";
export const ATTEMPTS = 3;
// Serialization failure, deadlock; of MariaDB: deadlock, changed since the snapshot.
const PASSING: readonly unknown[] = ["40001", "40P01", 1213, 1020];

async function worked<C>(barrier: Barrier, session: Session<C>, call: Call, work: Work<C>, log: Log): Promise<[Answer, boolean]> {
  await session.query("SAVEPOINT sagad_work");
  let answer: Answer;
  try {
    answer = answerOf(await work(call, session.connection));
  } catch (why) {
    if (!(why instanceof Refused)) throw why;
    answer = why.answer;
  }
  const isRefusal = outcomeOf(call.op, answer.status) === "refused";
  if (isRefusal && call.op !== "try" && answer.status !== 410) {
    log(`${call.op} of step ${call.step} of ${call.gid} cannot be refused`, answer.body);
    return [failed(500, `a ${call.op} cannot be refused`), false];
  }
  if (!answer.settles(call.op)) return [answer, false];
  try {
    // A refusal that were rolled back as a whole could be overtaken by the same try, held up in the network.
    await session.query(`${isRefusal ? "ROLLBACK TO" : "RELEASE"} SAVEPOINT sagad_work`);
  } catch (why) {
    throw new Error(ENDED, { cause: why });
  }
  if (!(await barrier.keep(call, answer))) throw new Error("the work kept an answer of its own");
  return [answer, true];
}

async function asked<C>(session: Session<C>, call: Call, work: Work<C>): Promise<Answer> {
  try {
    return answerOf(await work(call, session.connection));
  } catch (why) {
    if (why instanceof Refused) return why.answer;
    throw why;
  }
}

async function once<C>(session: Session<C>, call: Call, work: Work<C> | null, log: Log): Promise<Answer> {
  const barrier = new Barrier(session);
  await session.query(session.dialect === "sqlite" ? "BEGIN IMMEDIATE" : "BEGIN");
  let [answer, commits]: [Answer, boolean] = [unavailable(), true];
  if (call.op === "check") {
    answer = work ? await asked(session, call, work) : await barrier.messageCheck(call);
  } else {
    const verdict = await barrier.ask(call);
    if (work === null) throw new TypeError(`a ${call.op} needs a function`);
    if (verdict.answer === "run") [answer, commits] = await worked(barrier, session, call, work, log);
    else answer = new Answer(verdict.status ?? 204, verdict.body);
  }
  await session.query(commits ? "COMMIT" : "ROLLBACK");
  return answer;
}

/** What to do about a barrier that is missing, or may not be used; else nothing. */
function remedy(why: unknown): string {
  const text = why instanceof Error ? why.message : "";
  if (!text.includes("sagad_barrier")) return "";
  if (text.includes("denied")) return ": this role may not use the barrier; docs/barrier.md lists what to grant";
  if (/no such table|does not exist|doesn't exist/.test(text)) return ": the barrier is not in this database; call setup() when the service starts";
  return "";
}

/** Of two that met in the database this one was told to begin again. */
export function isPassing(why: unknown): boolean {
  const { code, errno } = (why ?? {}) as { code?: unknown; errno?: unknown };
  return PASSING.includes(code) || PASSING.includes(errno);
}

/**
 * The answer to send; it is given after the commit was answered. Whatever fails is rolled back and answered 503, which makes sagad
 * call again. A check has no barrier: work alone is run, or, if it is null, what message() has left in the database answers.
 */
export function run<C>(database: Database<C>, call: Call, work: Work<C> | null, log: Log = console.error): Promise<Answer> {
  return database.use(async (session, broken) => {
    for (let left = ATTEMPTS - 1; ; left--) {
      try {
        return await once(session, call, work, log);
      } catch (why) {
        try {
          await session.query("ROLLBACK");
        } catch {
          broken(); // the connection is gone, and with it the transaction
          left = 0;
        }
        if (why instanceof NotACall) return failed(400, why.message); // its body could not be read
        if (left > 0 && isPassing(why)) continue;
        log(`${call.op} of step ${call.step} of ${call.gid} is rolled back and answered 503${remedy(why)}`, why);
        return unavailable();
      }
    }
  });
}
