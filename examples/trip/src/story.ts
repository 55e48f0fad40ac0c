// SPDX-License-Identifier: Apache-2.0
// Books trips while services and replicas die, and looks in the tables what came of them.
//   node build/story.js FIRST-PORT FOLDER PID-OF-A-REPLICA URL…    with the database in PGDATABASE and so on
import { type ChildProcess, spawn } from "node:child_process";
import { openSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { Barrier, Client, type Known, pgSession } from "sagad";
import { TABLES } from "./services.js";

const [firstPort, folder, victim, ...urls] = process.argv.slice(2);
const client = new Client(urls, { timeoutMs: 60000 });
const pool = new pg.Pool();
let checks = 0;
let wrong = 0;

function check(what: string, got: unknown, wanted: unknown): void {
  const [g, w] = [JSON.stringify(got), JSON.stringify(wanted)];
  checks++;
  if (g !== w) wrong++;
  console.log(`  ${g === w ? "✓" : "✗"} ${what}: ${g}${g === w ? "" : `, wanted ${w}`}`);
}

async function until<T>(what: () => Promise<T>, name: string): Promise<NonNullable<T>> {
  for (const end = Date.now() + 60000; Date.now() < end; await new Promise((wake) => setTimeout(wake, 20))) {
    const got = await what().catch(() => undefined);
    if (got) return got;
  }
  throw new Error(`waited a minute for ${name}`);
}

/** A process, and somebody who starts it again whenever it dies. */
class Service {
  readonly url: string;
  deaths = 0;
  #process!: ChildProcess;
  #isOn = true;

  constructor(
    readonly name: string,
    readonly port: number,
  ) {
    this.url = `http://127.0.0.1:${port}`;
    this.#start();
  }

  #start(): void {
    const log = openSync(`${folder}/${this.name}.log`, "a");
    const script = fileURLToPath(new URL("services.js", import.meta.url));
    this.#process = spawn(process.execPath, [script, this.name, String(this.port)], { stdio: ["ignore", log, log] });
    this.#process.once("exit", () => {
      this.deaths++;
      if (this.#isOn) this.#start();
    });
  }

  signal(which: NodeJS.Signals): void {
    this.#process.kill(which);
  }

  off(): void {
    this.#isOn = false;
    this.signal("SIGKILL");
  }

  async on(): Promise<void> {
    this.#isOn = true;
    this.#start();
    await this.isUp();
  }

  isUp(): Promise<boolean> {
    return until(() => fetch(this.url).then(() => true), `${this.name} to listen`);
  }
}

const services = Object.fromEntries(
  ["hotel", "airline", "payment", "mail"].map((name, at) => [name, new Service(name, Number(firstPort) + at)]),
) as Record<"hotel" | "airline" | "payment" | "mail", Service>;

async function put(path: string, body: unknown): Promise<void> {
  const answer = await fetch(urls[urls.length - 1] + path, { method: "PUT", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  if (!answer.ok) throw new Error(await answer.text());
}

function book(gid: string, more: Record<string, unknown> = {}, waitMs = 60000, deadline?: string): Promise<Known> {
  return client.start({ definition: "trip", gid, input: { customer: "ann", price: 100, ...more }, ...(deadline && { deadline }) }, { waitMs });
}

async function one(sql: string): Promise<number> {
  return Number((await pool.query(`SELECT (${sql}) AS n`)).rows[0].n);
}

const saga = JSON.parse(readFileSync(new URL("../trip.json", import.meta.url), "utf8"));

/** Rooms, seats, what ann has paid in trips, and her tickets. */
async function booked(): Promise<number[]> {
  const row = await pool.query(`SELECT (SELECT count(gid) FROM room)::int AS rooms, (SELECT count(gid) FROM seat)::int AS seats,
    (SELECT (100000 - amount) / 100 FROM card WHERE customer = 'ann')::int AS paid, (SELECT count(*) FROM ticket)::int AS tickets`);
  return Object.values(row.rows[0]);
}

const head = (text: string) => console.log(`\n${text}`);

async function customers(): Promise<void> {
  head("1. Ann books a trip: hotel and flight side by side, then she pays, then the ticket is sent");
  const trip = await book("trip-1");
  check("the trip is", [trip.phase, trip.output], ["confirmed", { room: 1, seat: 1 }]);
  check("rooms, seats, paid, tickets", await booked(), [1, 1, 1, 1]);
  check("her ticket says", (await pool.query("SELECT text FROM ticket WHERE gid = 'trip-1'")).rows[0]?.text, "room 1, seat 1");

  head("2. Her phone lost the answer, and sends it again");
  check("it is the same trip", (await book("trip-1")).replayed, true);
  check("rooms, seats, paid, tickets", await booked(), [1, 1, 1, 1]);

  head("3. Bob's card is declined: room and seat are free again");
  const bob = await book("trip-3", { customer: "bob" });
  check("the trip is", [bob.phase, bob.cause?.step], ["cancelled", "charge"]);
  check("rooms, seats, paid, tickets", await booked(), [1, 1, 1, 1]);

  const { hotel, flight, charge } = saga.steps;
  const thereAndBack = { hotel, there: flight, back: flight, charge: { ...charge, after: ["hotel", "there", "back"] } };
  const two = await client.start({ gid: "trip-3-back", mode: "saga", steps: thereAndBack, input: { customer: "bob", price: 100 } }, { waitMs: 60000 });
  const seats = two.steps?.filter((step) => step.name === "there" || step.name === "back").map((step) => step.output?.seat);
  check("there and back he had two seats of one airline", [two.phase, seats?.sort()], ["cancelled", [2, 3]]);
  check("rooms, seats, paid, tickets", await booked(), [1, 1, 1, 1]);

  head("4. The airline has to look at a passport first: it says 202, and reports back");
  const slow = await book("trip-4", { passport: "C01X" }, 1);
  check("the trip is", slow.phase, "trying");
  await until(async () => (await one("SELECT count(*) FROM check_in")) === 1, "the passport to be there");
  services.airline.signal("SIGUSR2");
  check("the trip is", (await client.wait("trip-4")).phase, "confirmed");
  check("rooms, seats, paid, tickets", await booked(), [2, 2, 2, 2]);
}

async function darkness(): Promise<void> {
  head("5. The mail room is off when the ticket is to be sent: ann has paid, so there is no way back, only forward");
  services.mail.off();
  await book("trip-5", {}, 1);
  await until(async () => (await client.get("trip-5")).phase === "confirming", "ann to have paid");
  await client.cancel("trip-5").then(
    () => check("her cancel is", "accepted", "decided"),
    (why) => check("her cancel is", why.code, "decided"),
  );
  check("rooms, seats, paid, tickets", await booked(), [3, 3, 3, 2]);
  await services.mail.on();
  check("the mail room is back, and the trip", (await client.wait("trip-5")).phase, "confirmed");
  check("rooms, seats, paid, tickets", await booked(), [3, 3, 3, 3]);

  head("6. The airline hangs until the deadline has passed, and then works on the calls that wait for it");
  services.airline.signal("SIGSTOP");
  await book("trip-6", {}, 1, "500ms");
  await until(async () => (await client.get("trip-6")).phase === "cancelling", "the deadline");
  services.airline.signal("SIGCONT");
  check("the trip is", (await client.wait("trip-6")).phase, "cancelled");
  const late = { "Saga-Id": "trip-6", "Saga-Step": "flight", "Saga-Op": "try", "Saga-Epoch": "1" };
  await fetch(`${services.airline.url}/seats`, { method: "POST", body: "{}", headers: late });
  check("rooms, seats, paid, tickets", await booked(), [3, 3, 3, 3]);

  for (const [number, moment] of ["hotel before commit", "flight before commit"].entries()) {
    head(`${7 + number}. The power fails: ${moment}, and so before the answer`);
    check("the trip is", (await book(`trip-${7 + number}`, { power_off: moment })).phase, "confirmed");
    check("rooms, seats, paid, tickets", await booked(), Array(4).fill(4 + number));
  }
  check("deaths of hotel and airline", [services.hotel.deaths, services.airline.deaths], [1, 1]);
}

async function badDay(trips = 60): Promise<void> {
  head(`9. ${trips} trips for 45 seats, and meanwhile a replica, the hotel, the airline and the payment lose power`);
  const kills = [
    () => services.airline.signal("SIGKILL"),
    () => services.hotel.signal("SIGKILL"),
    () => process.kill(Number(victim), "SIGKILL"),
    () => services.payment.signal("SIGKILL"),
  ];
  let ended = 0;
  const phases: string[] = [];
  const queue = Array.from({ length: trips }, (_, number) => `many-${number}`);
  const customer = async () => {
    for (let gid = queue.shift(); gid !== undefined; gid = queue.shift()) {
      phases.push((await book(gid)).phase);
      if (++ended % 10 === 0) kills.shift()?.();
    }
  };
  await Promise.all(Array.from({ length: 8 }, customer));
  check("trips that were booked or cancelled", phases.filter((phase) => phase === "confirmed" || phase === "cancelled").length, trips);
  const confirmed = 5 + phases.filter((phase) => phase === "confirmed").length;
  check("the airplane is full", confirmed, 50);
  check("rooms, seats, paid, tickets", await booked(), Array(4).fill(confirmed));
}

try {
  const db = await pool.connect();
  await new Barrier(pgSession(db)).setup();
  await db.query(TABLES);
  db.release();
  for (const service of Object.values(services)) {
    await service.isUp();
    await put(`/v1/participants/${service.name}`, { base_url: service.url });
  }
  await client.define("trip", saga);
  await customers();
  await darkness();
  await badDay();
} catch (why) {
  wrong++;
  console.log(why);
} finally {
  Object.values(services).forEach((service) => service.off());
  await pool.end();
}
console.log(`\n${checks - wrong} of ${checks} checks hold`);
process.exitCode = wrong === 0 ? 0 : 1;
