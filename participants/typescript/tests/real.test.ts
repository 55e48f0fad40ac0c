// SPDX-License-Identifier: Apache-2.0
// Against real databases and real replicas: tests/integration/sdk/test_typescript.py starts them and says where they are.
import assert from "node:assert/strict";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import mysql from "mysql2/promise";
import pg from "pg";
import {
  Barrier,
  CannotSetUp,
  Client,
  type Database,
  NotConfirmed,
  Participant,
  Problem,
  Refused,
  type Session,
  Unreachable,
  callOf,
  complete,
  fail,
  listener,
  mariadb,
  mariadbSession,
  ok,
  ongoing,
  parseCall,
  pgSession,
  postgresql,
  run,
} from "sagad";
import { truthTable } from "./truth.js";

const { SAGAD_TEST_URLS: URLS, SAGAD_TEST_MARIADB: MARIADB, PGDATABASE } = process.env;
const skip = { skip: URLS && MARIADB && PGDATABASE ? false : "no servers: ./dev test sdk starts them" };

const quiet = () => undefined;
const servers: Server[] = [];
let pool: pg.Pool;
let maria: mysql.Pool;

async function serve(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handle);
  servers.push(server);
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Where nobody listens. */
async function closed(): Promise<string> {
  const url = await serve(quiet);
  const server = servers.pop();
  await new Promise((done) => server?.close(done));
  return url;
}

before(async () => {
  if (skip.skip) return;
  const [socketPath, database] = MARIADB?.split("|") ?? [];
  pool = new pg.Pool();
  maria = mysql.createPool({ socketPath: socketPath ?? "", database: database ?? "", user: "root", connectionLimit: 4 });
  for (let i = 0; i < 2; i++) {
    await postgresql<pg.PoolClient>(pool).use((session) => new Barrier(session).setup());
    await mariadb<mysql.PoolConnection>(maria).use((session) => new Barrier(session).setup());
  }
  await pool.query("CREATE TABLE IF NOT EXISTS effect_ts (gid text, what text)");
  await maria.query("CREATE TABLE IF NOT EXISTS effect_ts (gid varchar(128), what varchar(8))");
});

test("who may use the barrier need not be allowed to make it", skip, async () => {
  await pool.query("DROP ROLE IF EXISTS sdk_service; CREATE ROLE sdk_service LOGIN");
  const other = new pg.Pool({ user: "sdk_service", max: 1 });
  const setup = () => postgresql<pg.PoolClient>(other).use((session) => new Barrier(session).setup());
  await assert.rejects(async () => setup().then(() => pool.query("SELECT 1 FROM sagad_barrier_step")).then(() => other.query("SELECT 1 FROM sagad_barrier_step")), /permission denied/);
  await pool.query("GRANT SELECT, INSERT, UPDATE, DELETE ON sagad_barrier_step, sagad_barrier_mark TO sdk_service");
  await setup(); // it is there
  const call = callOf({ gid: "rights", step: "s", op: "try" });
  assert.equal((await run(postgresql<pg.PoolClient>(other), call, () => undefined)).status, 204);
  await pool.query("CREATE OR REPLACE FUNCTION sagad_barrier_version() RETURNS text LANGUAGE sql AS $$ SELECT 'older' $$");
  await assert.rejects(setup, (why) => why instanceof CannotSetUp && /another version of it is there: run sql\/barrier\/postgresql.sql/.test(why.message));
  await postgresql<pg.PoolClient>(pool).use((session) => new Barrier(session).setup());
  await setup();
  await other.end();
  await pool.query("DROP OWNED BY sdk_service; DROP ROLE sdk_service");

  const [socketPath = "", database = ""] = MARIADB?.split("|") ?? [];
  await maria.query("CREATE OR REPLACE USER sdk_service@localhost");
  await maria.query(`GRANT EXECUTE ON ${database}.* TO sdk_service@localhost`);
  const little = mysql.createPool({ socketPath, database, user: "sdk_service", connectionLimit: 1 });
  const setUp = () => mariadb<mysql.PoolConnection>(little).use((session) => new Barrier(session).setup());
  await setUp(); // it is there
  await maria.query("DROP PROCEDURE sagad_barrier_version");
  await assert.rejects(setUp, (why) => why instanceof CannotSetUp && /denied.*sql\/barrier\/mariadb.sql/.test(why.message));
  await mariadb<mysql.PoolConnection>(maria).use((session) => new Barrier(session).setup());
  await little.end();
  await maria.query("DROP USER sdk_service@localhost");
});

after(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await Promise.all([pool?.end(), maria?.end()]);
});

// ---- databases ---------------------------------------------------------------------------------

test("the truth table of the barrier, on PostgreSQL", skip, async () => {
  const client = await pool.connect();
  await client.query("SET synchronous_commit = off");
  await truthTable(pgSession(client), {
    begin: "BEGIN",
    age: (s) =>
      client.query(`UPDATE sagad_barrier_step SET seen_at = seen_at - interval '${s} s', deadline = deadline - interval '${s} s'`),
    fresh: () => client.query("TRUNCATE sagad_barrier_step; UPDATE sagad_barrier_mark SET swept = '-infinity'"),
  });
  const alone = () => new Barrier(pgSession(client)).ask(callOf({ gid: "open", step: "s", op: "try" }));
  await assert.rejects(alone, /begin a transaction first/);
  await client.query("BEGIN");
  assert.equal((await alone()).answer, "run"); // nothing was remembered of what was refused
  await client.query("ROLLBACK");
  client.release();
});

test("the truth table of the barrier, on MariaDB", skip, async () => {
  const connection = await maria.getConnection();
  await truthTable(mariadbSession(connection), {
    begin: "BEGIN",
    age: (s) =>
      connection.query(`UPDATE sagad_barrier_step SET seen_at = seen_at - INTERVAL ${s} SECOND,
        deadline = if(deadline < '9999-01-01', deadline - INTERVAL ${s} SECOND, deadline)`),
    fresh: async () => {
      await connection.query("DELETE FROM sagad_barrier_step");
      await connection.query("UPDATE sagad_barrier_mark SET swept = '1970-01-01'");
    },
  });
  connection.release();
});

async function transactions<C>(database: Database<C>, insert: (db: C, gid: string) => Promise<unknown>, breakOne: (db: C) => Promise<unknown>, count: (gid: string) => Promise<number>) {
  const call = callOf({ gid: "transactions", step: "s", op: "try", epoch: 3n, deadline: new Date(Date.now() + 60000) });
  const fails = async (_: unknown, db: C) => {
    await insert(db, call.gid);
    await breakOne(db);
  };
  assert.equal((await run(database, call, fails, quiet)).status, 503);
  assert.equal(await count(call.gid), 0);
  const work = async (_: unknown, db: C) => {
    await insert(db, call.gid);
    return { n: 1 };
  };
  const both = await Promise.all([run(database, call, work, quiet), run(database, call, work, quiet)]);
  assert.deepEqual(both.map((answer) => answer.body), ['{"n":1}', '{"n":1}']);
  assert.equal(await count(call.gid), 1);
  const other = callOf({ ...call, step: "refused" });
  const refuses = async (_: unknown, db: C) => {
    await insert(db, call.gid);
    await breakOne(db).catch(() => {
      throw new Refused("no such table");
    });
  };
  for (let i = 0; i < 2; i++) assert.equal((await run(database, other, refuses, quiet)).status, 422);
  assert.equal(await count(call.gid), 1);
}

test("transactions on PostgreSQL", skip, () =>
  transactions(
    postgresql<pg.PoolClient>(pool),
    (db, gid) => db.query("INSERT INTO effect_ts VALUES ($1, 'x')", [gid]),
    (db) => db.query("INSERT INTO nowhere VALUES (1)"),
    async (gid) => Number((await pool.query("SELECT count(*) AS n FROM effect_ts WHERE gid = $1", [gid])).rows[0].n),
  ));

test("transactions on MariaDB", skip, () =>
  transactions(
    mariadb<mysql.PoolConnection>(maria),
    (db, gid) => db.query("INSERT INTO effect_ts VALUES (?, 'x')", [gid]),
    (db) => db.query("INSERT INTO nowhere VALUES (1)"),
    async (gid) => Number(((await maria.query("SELECT count(*) AS n FROM effect_ts WHERE gid = ?", [gid])) as any)[0][0].n),
  ));

test("a connection that is lost in the midst of it is not used again", skip, async () => {
  const call = callOf({ gid: "lost", step: "s", op: "try" });
  const kill = async (_: unknown, db: pg.PoolClient) => {
    db.on("error", quiet);
    const { pid } = (await db.query("SELECT pg_backend_pid() AS pid")).rows[0];
    await pool.query("SELECT pg_terminate_backend($1)", [pid]);
    await db.query("SELECT 1");
  };
  assert.equal((await run(postgresql<pg.PoolClient>(pool), call, kill, quiet)).status, 503);
  assert.equal((await run(postgresql<pg.PoolClient>(pool), call, () => undefined, quiet)).status, 204);
});

// ---- a service, called by sagad --------------------------------------------------------------------

const SECRET = "whsec_c2VjcmV0IG9mIGEgdGVzdCE=";

async function bank() {
  await pool.query("DROP TABLE IF EXISTS account_ts");
  await pool.query("CREATE TABLE account_ts (name text PRIMARY KEY, balance int NOT NULL, held int NOT NULL DEFAULT 0)");
  await pool.query("INSERT INTO account_ts VALUES ('ada', 1000), ('bob', 0)");
  const callbacks = new Map<string, string>();
  const move = async (db: pg.PoolClient, sql: string, name: string, n: number) => {
    if ((await db.query(sql, [name, n])).rowCount === 0) throw new Refused(`${name} has not enough`);
  };
  const ofAccount = (sql: string) => (call: any, db: pg.PoolClient) => move(db, sql, call.params.name, call.json().n);
  const service = new Participant(postgresql<pg.PoolClient>(pool), { log: quiet })
    .on("/{name}/withdraw", "try", async (call, db) => {
      await ofAccount("UPDATE account_ts SET balance = balance - $2 WHERE name = $1 AND balance >= $2")(call, db);
      return { step: call.step };
    })
    .on("/{name}/withdraw", "cancel", ofAccount("UPDATE account_ts SET balance = balance + $2 WHERE name = $1"))
    .on("/{name}/hold", "try", async (call, db) => {
      await ofAccount("UPDATE account_ts SET balance = balance - $2, held = held + $2 WHERE name = $1 AND balance >= $2")(call, db);
      return { held: call.json().n };
    })
    .on("/{name}/hold", "confirm", ofAccount("UPDATE account_ts SET held = held - $2 WHERE name = $1"))
    .on("/{name}/hold", "cancel", ofAccount("UPDATE account_ts SET balance = balance + $2, held = held - $2 WHERE name = $1"))
    .on("/slow", "try", (call) => {
      callbacks.set(call.gid, call.callback ?? "");
      return ongoing({}, 3600);
    })
    .on("/slow", "cancel", () => undefined);
  // @ts-expect-error: what a driver says of its statement is no output.
  service.on("/wrong", "try", (_, db) => db.query("SELECT 1"));
  const url = await serve(listener(service));
  const balance = async (name: string) => (await pool.query("SELECT balance, held FROM account_ts WHERE name = $1", [name])).rows[0];
  return { url, balance, callbacks, client: new Client(URLS?.split(" ") ?? []) };
}

async function until<T>(what: () => Promise<T> | T): Promise<NonNullable<T>> {
  for (const end = Date.now() + 30000; Date.now() < end; ) {
    const got = await what();
    if (got) return got;
    await new Promise((wake) => setTimeout(wake, 20));
  }
  throw new Error("not within 30 s");
}

async function sendsMessages<C extends { query(sql: string, values?: any[]): Promise<unknown> }>(name: string, database: Database<C>, sql: string): Promise<void> {
  const shop = new Participant(database, { log: quiet });
  shop.check("/committed");
  shop.on("/mail", "try", () => undefined);
  const url = await serve(listener(shop));
  const client = new Client(URLS?.split(" ") ?? []);
  const steps = { mail: { action: { url: `${url}/mail` } } };
  const message = (gid: string) => ({ gid: `ts-${name}-${gid}`, mode: "message" as const, deadline: "1s", check: { url: `${url}/committed` }, steps });
  const order = (gid: string) => (db: C) => db.query(sql, [`ts-${name}-${gid}`, "order"]);
  for (let i = 0; i < 2; i++) {
    const { sent, transaction } = await client.send(database, message("sent"), order("sent"), { waitMs: 20000 });
    assert.deepEqual([sent, transaction.phase], ["done", "confirmed"]);
  }
  const refused = await client.send(database, message("refused"), async (db) => {
    await order("refused")(db);
    throw new Refused("no such article");
  });
  assert.deepEqual([refused.sent, (await client.wait(refused.transaction.gid)).phase], ["refused", "cancelled"]);
  // Nobody says what became of it: at its deadline sagad asks, and hears that it never happened.
  await assert.rejects(client.send(database, message("fails"), () => Promise.reject(new Error("the work fails"))), /the work fails/);
  assert.equal((await client.wait(`ts-${name}-fails`)).phase, "cancelled");
  assert.equal((await client.send(database, message("fails"), order("fails"))).sent, "late");
}

test("the sender of a message, on PostgreSQL and MariaDB", skip, async () => {
  await Promise.all([
    sendsMessages("pg", postgresql<pg.PoolClient>(pool), "INSERT INTO effect_ts VALUES ($1, $2)"),
    sendsMessages("maria", mariadb<mysql.PoolConnection>(maria), "INSERT INTO effect_ts VALUES (?, ?)"),
  ]);
  const { rows } = await pool.query("SELECT gid FROM effect_ts WHERE what = 'order'");
  assert.deepEqual(rows, [{ gid: "ts-pg-sent" }]);
  const [found] = await maria.query("SELECT gid FROM effect_ts WHERE what = 'order'");
  assert.deepEqual((found as { gid: string }[]).map(({ gid }) => gid), ["ts-maria-sent"]);
});

test("a service on the package, called by sagad", skip, async (t) => {
  const { url, balance, callbacks, client } = await bank();
  const call = (name: string, n: number) => ({ url: `${url}/${name}/withdraw`, body: { n } });
  const steps = (n: number, m: number) => ({
    ada: { action: call("ada", n), compensate: call("ada", n) },
    bob: { after: ["ada"], action: call("bob", m), compensate: call("bob", m) },
  });

  await t.test("a saga succeeds and another is undone", async () => {
    const done = await client.start({ gid: "ts-saga", steps: steps(30, 0), input: {}, labels: { test: "ts" } }, { waitMs: 20000 });
    assert.deepEqual([done.succeeded, done.ended, done.replayed, done.phase], [true, true, false, "confirmed"]);
    assert.deepEqual(done.steps?.find((step) => step.name === "ada")?.output, { step: "ada" });
    const again = await client.start({ gid: "ts-saga", steps: steps(30, 0), input: {}, labels: { test: "ts" } }, { waitMs: 20000 });
    assert.deepEqual([again.replayed, again.version], [true, done.version]);
    const poor = await client.start({ steps: steps(30, 5) }, { waitMs: 20000 });
    assert.deepEqual([poor.phase, poor.cause?.step, poor.gid.length], ["cancelled", "bob", 36]);
    assert.deepEqual(await balance("ada"), { balance: 970, held: 0 });
  });

  await t.test("problems come as exceptions", async () => {
    await assert.rejects(client.start({ gid: "ts-saga", steps: steps(1, 0) }), (why) => why instanceof Problem && why.code === "idempotency_key_reused");
    const broken = client.define("ts-broken", { steps: { a: { after: ["b"], action: { url: "http://x" } } } });
    await assert.rejects(broken, (why) => why instanceof Problem && why.errors[0]?.pointer === "/steps/a/after/0");
    await assert.rejects(client.get("nobody:knows/this"), (why) => why instanceof Problem && why.code === "transaction_unknown");
  });

  await t.test("work that goes on is reported", async () => {
    const slow = { slow: { action: { url: `${url}/slow` }, compensate: { url: `${url}/slow` } } };
    assert.equal((await client.start({ gid: "ts-slow", steps: slow }, { waitMs: 50 })).ended, false);
    const callback = await until(() => callbacks.get("ts-slow"));
    await assert.rejects(client.confirm("ts-slow"), (why) => why instanceof Problem && why.code === "not_open");
    const finish = (session: Session) => new Barrier(session).finish({ gid: "ts-slow", step: "slow", op: "try" }, ok({ n: 1 }));
    await postgresql<pg.PoolClient>(pool).use(finish);
    await complete(callback, { n: 1 });
    await complete(callback, { n: 1 });
    assert.deepEqual((await client.wait("ts-slow")).steps?.[0]?.output, { n: 1 });
    await client.start({ gid: "ts-fails", steps: slow });
    await fail(await until(() => callbacks.get("ts-fails")), "the passport has expired");
    assert.equal((await client.wait("ts-fails")).phase, "cancelled");
    await assert.rejects(complete(callback.replace("sig=", "sig=0")), (why) => why instanceof Problem && why.code === "callback_forbidden");
  });

  await t.test("definitions and cancels", async () => {
    const hold = { steps: { slow: { action: { url: `${url}/slow` }, compensate: { url: `${url}/slow` } } } };
    assert.deepEqual([await client.define("ts-hold", hold), await client.define("ts-hold", hold)], [1, 1]);
    const begun = await client.start({ definition: "ts-hold", input: { n: 1 } }, { traceparent: "00-01a2084d9d507c2bb3a1b1bc5139b70b-00000000000000ab-01" });
    assert.equal((await client.cancel(begun.gid, "changed her mind", { waitMs: 20000 })).cause?.kind, "client");
  });

  await t.test("a TCC that ends well is confirmed", async () => {
    const hold = `${url}/ada/hold`;
    const was = await balance("ada");
    const { value, transaction } = await client.tcc({ secrets: [SECRET], input: { why: "a test" } }, async (tcc) => {
      await tcc.join("theirs", { data: { n: 3 }, try: hold, confirm: hold, cancel: hold });
      return tcc.call("own", hold, { n: 7 }, { confirm: hold, cancel: hold });
    });
    assert.deepEqual([value, transaction.phase], [{ held: 7 }, "confirmed"]);
    assert.deepEqual(await balance("ada"), { balance: was.balance - 10, held: 0 });
  });

  await t.test("a TCC that throws is cancelled", async () => {
    const [hold, poor] = [`${url}/ada/hold`, `${url}/bob/hold`];
    const was = await balance("ada");
    const throws = client.tcc({ gid: "ts-tcc" }, async (tcc) => {
      await tcc.call("ada", hold, { n: 7 }, { confirm: hold, cancel: hold });
      await tcc.call("bob", poor, { n: 7 }, { confirm: poor, cancel: poor });
    });
    await assert.rejects(throws, (why) => why instanceof Refused && why.message === "bob has not enough");
    assert.equal((await client.get("ts-tcc")).phase, "cancelled");
    assert.deepEqual(await balance("ada"), was);
    const refused = client.tcc({ gid: "ts-tcc-2" }, async (tcc) => {
      await tcc.join("bob", { data: { n: 7 }, try: poor, confirm: poor, cancel: poor });
      await until(async () => (await client.get(tcc.gid)).phase !== "prepared");
    });
    await assert.rejects(refused, (why) => why instanceof NotConfirmed && why.transaction.cause?.kind === "refused");
  });

  await t.test("a TCC that goes on after a failure is cancelled", async () => {
    const [hold, poor] = [`${url}/ada/hold`, `${url}/bob/hold`];
    const was = await balance("ada");
    const goesOn = client.tcc({ gid: "ts-tcc-3" }, async (tcc) => {
      await assert.rejects(tcc.call("bob", poor, { n: 7 }, { confirm: poor, cancel: poor }), Refused);
      await tcc.call("ada", hold, { n: 7 }, { confirm: hold, cancel: hold });
      await assert.rejects(tcc.join("no name", { confirm: hold, cancel: hold }), Problem);
    });
    await assert.rejects(goesOn, (why: any) => {
      assert.ok(why instanceof NotConfirmed && why.cause instanceof Refused, "the first failure");
      assert.equal(why.message, "ts-tcc-3 is cancelled: a step of it has failed: Refused: bob has not enough");
      return why.transaction.cause?.kind === "client";
    });
    assert.deepEqual(await balance("ada"), was);
    const unheard = client.tcc({ gid: "ts-tcc-4" }, (tcc) => Promise.allSettled([tcc.join("no name", { confirm: hold, cancel: hold })]));
    await assert.rejects(unheard, (why: any) => why instanceof NotConfirmed && why.cause instanceof Problem);
    assert.equal((await client.get("ts-tcc-4")).phase, "cancelled");
  });

  await t.test("a try is called until it is clear", async () => {
    const seen: IncomingMessage[] = [];
    const answers = [503, 202, 409, 200];
    const stub = await serve((request, response) => {
      request.resume();
      if (request.headers["saga-op"] === "try") seen.push(request);
      response.writeHead(request.url === "/try" ? (answers.shift() ?? 500) : request.url === "/wrong" ? 404 : request.url === "/silent" ? 503 : 200);
      response.end(request.url === "/try" ? '{"ok":1}' : "{}");
    });
    const ends = { confirm: `${stub}/c`, cancel: `${stub}/u` };
    const done = await client.tcc({ gid: "ts-clear" }, (tcc) => tcc.call("a", `${stub}/try`, { x: "${input}" }, ends));
    assert.deepEqual(done.value, { ok: 1 });
    assert.deepEqual(seen.map((request) => request.headers["saga-attempt"]), ["1", "2", "3", "4"]);
    const parsed = parseCall(seen[0]?.headers ?? {});
    assert.ok(parsed.deadline && parsed.accepted && parsed.idempotencyKey === "ts-clear:a:try");
    await assert.rejects(client.tcc({}, (tcc) => tcc.call("a", `${stub}/wrong`, undefined, ends)), Problem);
    await assert.rejects(client.tcc({}, (tcc) => tcc.call("a", `${stub}/silent`, 1, { ...ends, timeoutMs: 300 })), Unreachable);
  });

  await t.test("another replica is asked", async () => {
    const one = new Client([await closed(), URLS?.split(" ")[0] ?? ""]);
    for (let i = 0; i < 6; i++) assert.equal((await one.start({ gid: `ts-other-${i}`, mode: "tcc", deadline: "1m" })).phase, "prepared");
  });
});

test("a TCC waits for tries of sagad", async () => {
  const answers: [number, object][] = [
    [201, { gid: "g", phase: "prepared" }],
    [409, { code: "not_ready" }],
    [200, { gid: "g", phase: "confirmed" }],
  ];
  const url = await serve((request, response) => {
    request.resume();
    const [status, body] = answers.shift() ?? [500, {}];
    response.writeHead(status).end(JSON.stringify(body));
  });
  assert.deepEqual((await new Client(url).tcc({ gid: "g" }, async () => 7)).value, 7);
  assert.equal(answers.length, 0);
});

test("what may pass is asked again, with one gid", async () => {
  const gids: string[] = [];
  const answers: [number, string][] = [
    [503, '{"code":"not_live","retryable":true}'],
    [429, "busy"],
    [502, "<html>"],
  ];
  const url = await serve(async (request, response) => {
    let text = "";
    for await (const part of request) text += part;
    const gid = text ? JSON.parse(text).gid : "g";
    gids.push(gid);
    const [status, body] = request.url === "/v1/transactions/h" ? [503, '{"code":"unavailable","retryable":true}'] as const : (answers.shift() ?? [201, JSON.stringify({ gid, phase: "trying" })]);
    response.writeHead(status).end(body);
  });
  const begun = await new Client(url).start({ definition: "trip" });
  assert.deepEqual(gids, Array(4).fill(begun.gid));
  assert.match(begun.gid, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(Math.abs(parseInt(begun.gid.replace("-", "").slice(0, 12), 16) - Date.now()) < 60000);
  await assert.rejects(new Client(url, { timeoutMs: 300 }).get("h"), (why) => why instanceof Problem && why.code === "unavailable");
  const nobody = new Client(await closed(), { timeoutMs: 200 }).start({ definition: "trip", gid: "mine" });
  await assert.rejects(nobody, (why) => why instanceof Unreachable && why.gid === "mine");
  assert.throws(() => new Client("ftp://localhost"), RangeError);
  assert.throws(() => new Client([]), RangeError);
});
