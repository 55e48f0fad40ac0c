// SPDX-License-Identifier: Apache-2.0
// The sender of a two-phase message: it is prepared, decided by his own commit, and told, or asked for.
import { Refused } from "./answer.js";
import { Barrier, TooLate } from "./barrier.js";
import { callOf } from "./call.js";
import type { Client, Known, StartOptions } from "./client.js";
import type { Database, Session } from "./database.js";
import { Problem, Unreachable } from "./problem.js";
import { ATTEMPTS, ENDED, type Log, isPassing } from "./run.js";

/**
 * done: committed, and sagad knows. asked: committed; sagad could not be told, and asks the check when it is due. refused: not
 * committed, since the work threw Refused; nothing will run. late: not committed, the message was cancelled, or asked for, before.
 * unknown: the commit was not answered; send the same again, or let sagad ask.
 */
export type Sent = "done" | "asked" | "refused" | "late" | "unknown";

export interface Delivery {
  readonly sent: Sent;
  /** As it was last seen. */
  readonly transaction: Known;
}

/** What the message stands for, in the transaction that is open on db; it neither commits nor rolls back. */
export type MessageWork<C> = (db: C, prepared: Known) => unknown;

interface Message {
  readonly gid: string;
  readonly deadline: string;
}

/** One transaction of its own; nothing is left open unless it throws. committing() is called before the commit. */
async function once<C>(session: Session<C>, message: Message, prepared: Known, work: MessageWork<C>, committing: () => void): Promise<void> {
  await session.query(session.dialect === "sqlite" ? "BEGIN IMMEDIATE" : "BEGIN");
  if (!(await new Barrier(session).message(message.gid, message.deadline))) {
    await session.query("ROLLBACK"); // it was done before
    return;
  }
  await session.query("SAVEPOINT sagad_work");
  await work(session.connection, prepared);
  await session.query("RELEASE SAVEPOINT sagad_work").catch((why: unknown) => {
    throw new Error(ENDED, { cause: why });
  });
  committing();
  await session.query("COMMIT");
}

/** Was it committed? Undefined: nobody says. */
async function look<C>(session: Session<C>, { gid, deadline }: Message, broken: () => void): Promise<boolean | undefined> {
  try {
    await session.query(session.dialect === "sqlite" ? "BEGIN IMMEDIATE" : "BEGIN");
    return !(await new Barrier(session).message(gid, deadline));
  } catch {
    return undefined;
  } finally {
    await session.query("ROLLBACK").catch(broken);
  }
}

function decide<C>(database: Database<C>, message: Message, prepared: Known, work: MessageWork<C>): Promise<Sent> {
  return database.use(async (session, broken) => {
    for (let left = ATTEMPTS - 1; ; left--) {
      let isCommitting = false;
      try {
        await once(session, message, prepared, work, () => (isCommitting = true));
        return "done";
      } catch (why) {
        await session.query("ROLLBACK").catch(broken);
        if (why instanceof TooLate) return "late";
        if (why instanceof Refused) return "refused";
        const wasDone = isCommitting ? await look(session, message, broken) : false;
        if (wasDone !== false) return wasDone ? "done" : "unknown";
        if (left === 0 || !isPassing(why)) throw why;
      }
    }
  });
}

/**
 * After this nobody can commit it any more, not even another who sends the same at this moment. True: somebody has; undefined: it is
 * not known, and sagad will hear when it asks.
 */
function forbid<C>(database: Database<C>, { gid, deadline }: Message, log: Log): Promise<boolean | undefined> {
  return database.use(async (session, broken) => {
    try {
      await session.query(session.dialect === "sqlite" ? "BEGIN IMMEDIATE" : "BEGIN");
      const answer = await new Barrier(session).messageCheck(callOf({ gid, step: "check", op: "check", deadline: new Date(deadline) }));
      await session.query("COMMIT");
      return answer.status === 200;
    } catch (why) {
      log(`the message ${gid} is not sent, and will be asked for`, why);
      await session.query("ROLLBACK").catch(broken);
      return undefined;
    }
  });
}

export async function sendMessage<C>(
  client: Client,
  database: Database<C>,
  options: StartOptions,
  work: MessageWork<C>,
  { waitMs = 0, log = console.error }: { waitMs?: number; log?: Log },
): Promise<Delivery> {
  const prepared = await client.start(options);
  const { gid, deadline_at: deadline } = prepared;
  if (prepared["mode"] !== "message" || !deadline) throw new RangeError(`${gid} is no message with a deadline`);
  let sent = await decide(database, { gid, deadline }, prepared, work);
  try {
    if (sent === "refused") {
      const wasDone = await forbid(database, { gid, deadline }, log);
      if (wasDone === false) return { sent, transaction: await client.cancel(gid, "its sender did not commit") };
      if (wasDone) sent = "done";
    }
    if (sent === "done") return { sent, transaction: await client.confirm(gid, { waitMs }) };
  } catch (why) {
    if (!(why instanceof Problem || why instanceof Unreachable)) throw why;
    log(`sagad could not be told what became of ${gid}, and will ask`, why);
    if (sent === "done") sent = "asked";
  }
  return { sent, transaction: prepared };
}
