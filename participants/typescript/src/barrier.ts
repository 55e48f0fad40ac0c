// SPDX-License-Identifier: Apache-2.0
// Every call once: sagad's SQL barrier, in a transaction of the service's own database.
import { readFile } from "node:fs/promises";
import { ANSWER_MAX, Answer, failed, isJson } from "./answer.js";
import { type Call, type Op, callOf } from "./call.js";
import type { Dialect, Row, Session } from "./database.js";

/** run: do the work. duplicate, empty, late: send status and body instead. */
export interface Verdict {
  readonly answer: "run" | "duplicate" | "empty" | "late";
  readonly status: number | null;
  readonly body: string | null;
}

/** The end of a call that went on cannot be kept any more: its step was cancelled. Roll back. */
export class Cancelled extends Error {
  constructor(gid: string, step: string) {
    super(`step ${step} of ${gid} was cancelled, or ended before`);
    this.name = "Cancelled";
  }
}

/** A message was checked before its transaction came: it must not be done any more. */
export class TooLate extends Error {
  constructor(gid: string) {
    super(`sagad was told that ${gid} never happened, or may have been`);
    this.name = "TooLate";
  }
}

/** The barrier is missing, or another version of it is there, and this role may not make it. */
export class CannotSetUp extends Error {
  constructor(why: unknown, dialect: Dialect) {
    super(
      `cannot set up the barrier: ${why instanceof Error ? why.message : String(why)}; it is missing here, or another version of it is there: run ` +
        `sql/barrier/${dialect}.sql as a role that may make it, and give this one the rights that docs/barrier.md lists`,
      { cause: why },
    );
    this.name = "CannotSetUp";
  }
}

const HAS_VERSION = "SELECT to_regprocedure(quote_ident(current_schema()) || '.sagad_barrier_version()') IS NOT NULL AS there";
// Insufficient privilege, no schema that may be used; the same of MariaDB.
const FORBIDDEN: readonly unknown[] = ["42501", "3F000", 1142, 1370, 1044];

const MESSAGE = "=message"; // no step has such a name; sagad_message() of PostgreSQL uses the same

const OPEN =
  "begin a transaction first: this connection commits each statement on its own, and the barrier would remember the call as done even if its work fails";

type Texts = Record<Dialect, string>;
const ASK: Texts = {
  postgresql: "SELECT answer, status, body FROM sagad_barrier($1::text, $2::text, $3::text, $4::bigint, $5::timestamptz)",
  mariadb: "CALL sagad_barrier(?, ?, ?, ?, ?)",
  sqlite: "INSERT INTO sagad_barrier VALUES (?, ?, ?, ?, ?)",
};
const KEEP: Texts = {
  postgresql: "SELECT sagad_barrier_keep($1::text, $2::text, $3::text, $4::int, $5::text) AS kept",
  mariadb: "CALL sagad_barrier_keep(?, ?, ?, ?, ?)",
  sqlite: "INSERT INTO sagad_barrier_keep VALUES (?, ?, ?, ?, ?)",
};
const SWEEP: Texts = {
  postgresql: "SELECT sagad_barrier_sweep(make_interval(secs => $1::float8)) AS deleted",
  mariadb: "CALL sagad_barrier_sweep(? / 86400, NULL)",
  sqlite: "INSERT INTO sagad_barrier_sweep (retention_days) VALUES (? / 86400.0)",
};

/** What the client of MariaDB would send: DELIMITER is a word of its own, and it sends one statement at a time. */
function* statementsOf(script: string): Generator<string> {
  let end = ";";
  let lines: string[] = [];
  for (const line of script.split("\n")) {
    if (line.startsWith("DELIMITER ")) {
      end = line.split(/\s+/)[1] ?? end;
    } else if (line.trim() !== "" && !(line.startsWith("--") && lines.length === 0)) {
      lines.push(line);
      if (line.trimEnd().endsWith(end)) {
        yield lines.join("\n").trimEnd().slice(0, -end.length);
        lines = [];
      }
    }
  }
}

/** Its statements on one session, in the caller's transaction: but for setup() nothing here commits or rolls back. */
export class Barrier {
  constructor(readonly session: Session) {}

  /** May this call be worked on? Waits for others that work on the same step. Throws outside of a transaction, where the driver tells. */
  async ask(call: Call): Promise<Verdict> {
    if (this.session.inTransaction?.() === false) throw new Error(OPEN);
    // Where there is no deadline, the acceptance says how old a call is.
    const until = call.deadline ?? call.accepted;
    const row = await this.#told(
      ASK,
      [call.gid, call.step, call.op, call.epoch === undefined ? null : String(call.epoch), until?.toISOString() ?? null],
      "answer, status, body",
    );
    return {
      answer: row["answer"] as Verdict["answer"],
      status: row["status"] === null ? null : Number(row["status"]),
      body: row["body"] as string | null,
    };
  }

  /** Keeps what duplicates shall be answered. False: cancelled meanwhile, or kept already: roll back. Throws if its body is no JSON. */
  async keep(call: { gid: string; step: string; op: Op }, answer: Answer): Promise<boolean> {
    // Once kept it would be sent for ever, and never be understood.
    const size = Buffer.byteLength(answer.body ?? "");
    if (size > ANSWER_MAX) throw new RangeError(`the answer has ${size} bytes, and sagad reads ${ANSWER_MAX} at most`);
    if (answer.body !== null && answer.body.trim() !== "" && !isJson(answer.body)) {
      throw new TypeError(`the body of the answer ${answer.status} is not JSON`);
    }
    const row = await this.#told(KEEP, [call.gid, call.step, call.op, answer.status, answer.body], "kept");
    return Number(row["kept"]) === 1;
  }

  /** In the transaction that does the rest of what was answered 202. Throws Cancelled: roll back. */
  async finish(call: { gid: string; step: string; op: Op }, answer: Answer): Promise<void> {
    if (!(await this.keep(call, answer))) throw new Cancelled(call.gid, call.step);
  }

  /**
   * In the transaction that a message stands for, before its work; deadline: deadline_at of the prepared message. True: do it. False: it
   * was done before. Throws TooLate: sagad was told that it never happened, so it must not.
   */
  async message(gid: string, deadline: Date | string): Promise<boolean> {
    const verdict = await this.ask(callOf({ gid, step: MESSAGE, op: "try", deadline: new Date(deadline) }));
    if (verdict.answer === "late") throw new TooLate(gid);
    return verdict.answer === "run";
  }

  /**
   * What to answer to the check of a message, once this is committed. Waits for a transaction that has asked and not ended. If there was
   * none, there will be none.
   */
  async messageCheck({ gid, deadline, accepted }: Call): Promise<Answer> {
    await this.session.query("SAVEPOINT sagad_check");
    const verdict = await this.ask(callOf({ gid, step: MESSAGE, op: "cancel", ...(deadline && { deadline }), ...(accepted && { accepted }) }));
    if (verdict.answer === "run") {
      await this.session.query("ROLLBACK TO SAVEPOINT sagad_check"); // it was done, and nothing undoes it
      return new Answer(200, "{}");
    }
    if (verdict.answer === "late") return new Answer(verdict.status ?? 400, verdict.body);
    return failed(422, "it was not committed, and will not be");
  }

  /** Forgets steps whose deadline and last change are longer ago; at most 10,000 at once. How many it were. */
  async sweep(retentionS: number): Promise<number> {
    return Number((await this.#told(SWEEP, [retentionS], "deleted"))["deleted"]);
  }

  /** Puts the barrier into the service's database, if this version of it is not there. Throws CannotSetUp. */
  async setup(): Promise<void> {
    const { dialect } = this.session;
    const script = await readFile(new URL(`../sql/${dialect}.sql`, import.meta.url), "utf8");
    try {
      // Who may use the barrier need not be allowed to make it.
      const version = /sagad_barrier_version\(\).*SELECT '([0-9a-f]+)'/.exec(script)?.[1];
      if (version === undefined || version !== (await this.#version())) await this.#make(script);
    } catch (why) {
      const { code, errno } = (why ?? {}) as { code?: unknown; errno?: unknown };
      throw FORBIDDEN.includes(code) || FORBIDDEN.includes(errno) ? new CannotSetUp(why, dialect) : why;
    }
  }

  async #version(): Promise<unknown> {
    if (this.session.dialect === "mariadb") {
      return (await this.session.query("CALL sagad_barrier_version()").catch(() => undefined))?.["version"];
    }
    const has = (await this.session.query(HAS_VERSION))?.["there"];
    return has === true ? (await this.session.query("SELECT sagad_barrier_version() AS version"))?.["version"] : undefined;
  }

  async #make(script: string): Promise<void> {
    const { dialect } = this.session;
    if (dialect === "mariadb") {
      for (const statement of statementsOf(script)) await this.session.query(statement);
    } else if (dialect === "sqlite") {
      await this.session.query(script);
    } else {
      // Two that replace one function at once disturb each other.
      try {
        await this.session.query(`BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('sagad_barrier', 0)); ${script}; COMMIT`);
      } catch (why) {
        await this.session.query("ROLLBACK").catch(() => undefined);
        throw why;
      }
    }
  }

  async #told(texts: Texts, values: readonly unknown[], columns: string): Promise<Row> {
    const { dialect } = this.session;
    let row = await this.session.query(texts[dialect], values);
    if (dialect === "sqlite") row = await this.session.query(`SELECT ${columns} FROM sagad_barrier_state`);
    if (row === undefined) throw new Error("the barrier gave no row");
    return row;
  }
}
