// SPDX-License-Identifier: Apache-2.0
// Hotel, airline, payment and mail room: node build/services.js NAME PORT, with the database in PGDATABASE and so on.
import { createServer } from "node:http";
import pg from "pg";
import { type Call, Participant, Refused, complete, listener, ok, ongoing, postgresql, Barrier, pgSession } from "sagad";

export const TABLES = `
  CREATE TABLE IF NOT EXISTS room (number int PRIMARY KEY, gid text, step text, UNIQUE (gid, step));
  CREATE TABLE IF NOT EXISTS seat (number int PRIMARY KEY, gid text, step text, UNIQUE (gid, step));
  CREATE TABLE IF NOT EXISTS card (customer text PRIMARY KEY, amount int NOT NULL CHECK (amount >= 0));
  CREATE TABLE IF NOT EXISTS ticket (gid text NOT NULL, customer text NOT NULL, text text NOT NULL);
  CREATE TABLE IF NOT EXISTS check_in (gid text, step text, callback text NOT NULL, PRIMARY KEY (gid, step));
  INSERT INTO room SELECT n FROM generate_series(1, 100) n ON CONFLICT DO NOTHING;
  INSERT INTO seat SELECT n FROM generate_series(1, 50) n ON CONFLICT DO NOTHING;
  INSERT INTO card VALUES ('ann', 100000), ('bob', 5) ON CONFLICT DO NOTHING`;

type Db = pg.PoolClient;
type Service = Participant<Db>;

/** The next free one of a table, for this step: a trip may take several. */
async function take(table: "room" | "seat", call: Call, db: Db): Promise<number> {
  const free = await db.query(
    `UPDATE ${table} SET gid = $1, step = $2 WHERE number = (
      SELECT number FROM ${table} WHERE gid IS NULL ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING number`,
    [call.gid, call.step],
  );
  if (free.rowCount === 0) throw new Refused(`no ${table} is free`);
  return free.rows[0].number;
}

async function giveBack(table: "room" | "seat", call: Call, db: Db): Promise<void> {
  await db.query(`UPDATE ${table} SET gid = NULL, step = NULL WHERE gid = $1 AND step = $2`, [call.gid, call.step]);
}

const services: Record<string, (service: Service, pool: pg.Pool) => void> = {
  hotel(service) {
    service.on("/rooms", "try", async (call, db) => {
      const room = await take("room", call, db);
      powerMayFail(call, "before commit");
      return { room };
    });
    service.on("/rooms", "cancel", (call, db) => giveBack("room", call, db));
  },

  airline(service, pool) {
    service.on("/seats", "try", async (call, db) => {
      const seat = await take("seat", call, db);
      powerMayFail(call, "before commit");
      if (!call.json().passport) return { seat };
      // Somebody has to look at the passport: that takes longer than a call may.
      await db.query("INSERT INTO check_in VALUES ($1, $2, $3)", [call.gid, call.step, call.callback]);
      return ongoing();
    });
    service.on("/seats", "cancel", (call, db) => giveBack("seat", call, db));
    process.on("SIGUSR2", () => void lookAtPassports(pool));
  },

  payment(service) {
    // A pivot: whoever is charged will travel. So it has no way back, and is called when all that can be refused has been done.
    service.on("/charges", "try", async (call, db) => {
      const { customer, price } = call.json();
      const paid = await db.query("UPDATE card SET amount = amount - $2 WHERE customer = $1 AND amount >= $2", [customer, price]);
      if (paid.rowCount === 0) throw new Refused("the card is declined");
    });
  },

  mail(service) {
    service.on("/tickets", "try", async (call, db) => {
      const { customer, text } = call.json();
      await db.query("INSERT INTO ticket VALUES ($1, $2, $3)", [call.gid, customer, text]);
    });
  },
};

/** The end of what was answered 202: kept in the transaction that does it, then reported. */
async function lookAtPassports(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query("SELECT gid, step, callback, number FROM check_in JOIN seat USING (gid, step)");
  for (const { gid, step, callback, number: seat } of rows) {
    const db = await pool.connect();
    try {
      await db.query("BEGIN");
      await db.query("DELETE FROM check_in WHERE gid = $1 AND step = $2", [gid, step]);
      await new Barrier(pgSession(db)).finish({ gid, step, op: "try" }, ok({ seat }));
      await db.query("COMMIT");
      await complete(callback, { seat });
    } catch (why) {
      await db.query("ROLLBACK"); // cancelled meanwhile
      console.error(why);
    } finally {
      db.release();
    }
  }
}

/** What no service has: a switch that turns it off at a given moment of its first attempt. */
function powerMayFail(call: Call, moment: string): void {
  if (call.attempt === 1 && call.json()?.power_off === `${call.step} ${moment}`) process.kill(process.pid, "SIGKILL");
}

const [, program, name, port] = process.argv;
const install = services[name ?? ""];
if (program?.endsWith("services.js") && install) {
  const pool = new pg.Pool();
  pool.on("error", console.error); // a session that was lost while nobody used it
  const service: Service = new Participant(postgresql<Db>(pool));
  install(service, pool);
  createServer(listener(service)).listen(Number(port), "127.0.0.1");
}
