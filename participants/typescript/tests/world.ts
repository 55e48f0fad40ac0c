// SPDX-License-Identifier: Apache-2.0
// What the tests share: the vectors, a database in memory, a service.
import { readFileSync } from "node:fs";
import sqliteWasm from "node-sqlite3-wasm";
import { Barrier, Participant, type SqliteDatabase, sqlite, sqliteSession } from "sagad";

export function vectors(name: string): any {
  return JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8"));
}

/** SQLite itself, in the shape that sqlite() asks for, without a compiler. */
export class Memory implements SqliteDatabase {
  readonly #db = new sqliteWasm.Database(":memory:");

  get inTransaction(): boolean {
    return this.#db.inTransaction;
  }

  exec(sql: string): void {
    this.#db.exec(sql);
  }

  prepare(sql: string) {
    return {
      run: (...values: any[]) => this.#db.run(sql, values),
      get: (...values: any[]) => this.#db.get(sql, values) ?? undefined,
    };
  }

  effects(): unknown[] {
    return this.#db.all("SELECT what FROM effect ORDER BY rowid").map((row) => row["what"]);
  }

  effect(what: string): void {
    this.#db.run("INSERT INTO effect VALUES (?)", [what]);
  }
}

export async function memory(): Promise<Memory> {
  const db = new Memory();
  const barrier = new Barrier(sqliteSession(db));
  await barrier.setup();
  await barrier.setup(); // again is harmless
  db.exec("CREATE TABLE effect (what TEXT)");
  return db;
}

export function headers(op = "try", more: Record<string, string> = {}): Record<string, string> {
  return { "Saga-Id": "g-1", "Saga-Step": "room", "Saga-Op": op, "Saga-Epoch": "1", "Saga-Attempt": "1", ...more };
}

/** What a participant logs, to look at. */
export function quiet(db: Memory, more: { secrets?: string[] } = {}) {
  const logged: string[] = [];
  const service = new Participant(sqlite(db), { ...more, log: (message, why) => logged.push(`${message}: ${why}`) });
  return { service, logged };
}
