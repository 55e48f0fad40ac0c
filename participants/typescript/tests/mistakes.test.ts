// SPDX-License-Identifier: Apache-2.0
// What authors of services do wrong: nothing is half done, nothing is kept that sagad cannot read, and the log says why.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Tcc, Answer, Barrier, Client, Participant, Refused, Unreachable, ongoing, parseCall, pgSession, refused, sign, sqlite, sqliteSession, verify } from "sagad";
import { type Memory, headers, memory, quiet } from "./world.js";

const circle: Record<string, unknown> = {};
circle["it"] = circle;

/** Each call gives back the next one, after an effect. */
function givesBack(service: Participant<Memory>, ...answers: unknown[]): void {
  service.on("/rooms", "try", (_, db) => {
    db.effect("book");
    const answer = answers.shift();
    return (typeof answer === "function" && answer.length === 0 ? answer() : answer) as any;
  });
}

const WRONG: [unknown, RegExp][] = [
  [{ price: NaN }, /JSON has no NaN/],
  [[1, -Infinity], /JSON has no -Infinity/],
  [10n, /BigInt/],
  [(a: unknown) => a, /function has no form in JSON/],
  [Symbol("a"), /symbol has no form in JSON/],
  [circle, /circular/i],
  ["half \ud800", /is not JSON/],
  ["a NUL \0", /is not JSON/],
  [{ "\0": 1 }, /is not JSON/],
  [new Answer(200, '{"a":'), /is not JSON/],
  ["x".repeat(1 << 20), /sagad reads 1048576 at most/],
  [() => new Answer(200, Buffer.from("{}") as any), /text of JSON, not object/],
  [() => new Answer("200" as any), /no status of an answer/],
  [() => refused("no", 400), /400 is no refusal/],
];

test("what cannot be answered is rolled back and told", async () => {
  for (const [wrong, why] of WRONG) {
    const db = await memory();
    const { service, logged } = quiet(db);
    givesBack(service, wrong, { a: 1 });
    assert.equal((await service.serve("/rooms", headers(), "")).status, 503, String(why));
    assert.deepEqual(db.effects(), []);
    assert.match(logged.join(), why);
    assert.match(logged.join(), /try of step room of g-1 is rolled back/);
    assert.equal((await service.serve("/rooms", headers(), "")).body, '{"a":1}');
    assert.deepEqual(db.effects(), ["book"]);
  }
});

test("what is answered as it is", async () => {
  for (const [right, text] of [[0, "0"], [false, "false"], ["", '""'], [null, "null"], ["\\u0000", '"\\\\u0000"'], ["😀", '"😀"']]) {
    const { service } = quiet(await memory());
    givesBack(service, right);
    for (let i = 0; i < 2; i++) assert.equal((await service.serve("/rooms", headers(), "")).body, text);
  }
});

test("a function that ends its transaction is told so", async () => {
  for (const ends of ["COMMIT", "ROLLBACK"]) {
    for (const op of ["try", "cancel"] as const) {
      const db = await memory();
      const { service, logged } = quiet(db);
      service.on("/rooms", "try", (_, used) => (op === "try" ? used.exec(ends) : undefined));
      service.on("/rooms", "cancel", (_, used) => used.exec(ends));
      if (op === "cancel") assert.equal((await service.serve("/rooms", headers(), "")).status, 204);
      assert.equal((await service.serve("/rooms", headers(op), "")).status, 503);
      assert.match(logged.join(), /it may neither commit nor roll back/);
    }
  }
});

test("whatever a reason is, it is a refusal", async () => {
  for (const why of ["sold \ud800 out", "", { code: 7 } as any, new Error("no") as any, "x".repeat(1000)]) {
    const db = await memory();
    const { service } = quiet(db);
    service.on("/rooms", "try", (_, used) => {
      used.effect("half");
      throw new Refused(why);
    });
    for (let i = 0; i < 2; i++) {
      const got = await service.serve("/rooms", headers(), "");
      assert.deepEqual([got.status, got.headers["Saga-Outcome"], db.effects()], [422, "refused", []]);
      assert.equal(typeof JSON.parse(got.body).error, "string");
    }
  }
});

test("what is not JSON is a mistake of the caller, when to ask again is in whole seconds", async () => {
  const db = await memory();
  const { service } = quiet(db);
  service.on("/rooms", "try", (call, used) => used.effect(String(call.json())));
  for (const body of ["{", "NaN", "[".repeat(100000)]) {
    const got = await service.serve("/rooms", headers(), body);
    assert.deepEqual([got.status, JSON.parse(got.body)], [400, { error: "the body is no JSON" }]);
  }
  assert.deepEqual(db.effects(), []);
  for (const [told, sent] of [[1.2, "2"], [-3, "0"], [0, "0"], [7, "7"]] as const) {
    assert.equal(ongoing({}, told).headers()["Retry-After"], sent);
  }
});

test("what is registered wrongly is said at once", async () => {
  const service = new Participant(sqlite(await memory()));
  for (const path of ["rooms", ""]) assert.throws(() => service.on(path, "try", () => undefined), /begins with a slash/);
  assert.throws(() => service.on("/rooms", "undo" as any, () => undefined), /no such op/);
});

test("a try called from here is called as the client calls", async () => {
  const sent: [string, Record<string, string>][] = [];
  const to = async (url: any, { headers: all }: any) => {
    sent.push([String(url), all]);
    if (String(url).includes("/t/later")) return new Response("", { status: 503 });
    return new Response(JSON.stringify({ gid: "g", phase: "prepared" }), { status: String(url).includes("/cancel") ? 500 : 200 });
  };
  const client = new Client("http://sagad", { token: "for sagad alone", timeoutMs: 300, fetch: to as typeof fetch });
  const at = { confirm: "http://s/c", cancel: "http://s/u" };
  const goesOn = client.tcc({ traceparent: "00-1-2-01" }, async (tcc) => {
    await tcc.call("a", "http://s/t/a", {}, { ...at, headers: { "X-Shop": "7", "Saga-Op": "cancel" } });
    await assert.rejects(tcc.call("b", "http://s/t/later", {}, at), (why) => why instanceof Unreachable && /within 0.3 s/.test(why.message));
  });
  // Nobody has heard the cancel either: its deadline does it.
  await assert.rejects(goesOn, { name: "NotConfirmed", message: /^g is prepared: a step of it has failed: .* within 0.3 s$/ });
  assert.ok(!sent.some(([url]) => url.includes("/confirm")));
  const tries = sent.filter(([url]) => url.startsWith("http://s/"));
  assert.ok(tries.length >= 2);
  for (const [, all] of tries) {
    assert.deepEqual([all["Saga-Op"], all["traceparent"], all["Authorization"]], ["try", "00-1-2-01", undefined]);
  }
  assert.equal(tries[0]?.[1]["X-Shop"], "7");
  assert.equal(sent[0]?.[1]["Authorization"], "Bearer for sagad alone");
});

test("what nobody awaits is over before the decision", async () => {
  const sent: string[] = [];
  const to = async (url: any) => {
    const path = String(url).replace(/^http:\/\/[^/]+/, "");
    sent.push(path);
    if (path.startsWith("/t/slow")) await new Promise((done) => setTimeout(done, 100));
    if (path.startsWith("/t/no")) return new Response('{"detail":"sold out"}', { status: 422 });
    if (path.startsWith("/t/later")) return new Response("", { status: 503 });
    sent.push(`${path} answered`);
    const phase = path.includes("/confirm") ? "confirmed" : path.includes("/cancel") ? "cancelled" : "prepared";
    return new Response(JSON.stringify({ gid: "g", phase }), { status: 200 });
  };
  const client = new Client("http://sagad", { fetch: to as typeof fetch });
  const at = { confirm: "http://s/c", cancel: "http://s/u" };
  const until = (what: string) => sent.findIndex((path) => path.includes(what));

  const done = await client.tcc({ gid: "g" }, async (tcc) => {
    void tcc.call("slow", "http://s/t/slow/1", {}, at).then(() => tcc.call("then", "http://s/t/then", {}, at));
    return 7;
  });
  assert.deepEqual([done.value, done.transaction.phase], [7, "confirmed"]);
  assert.ok(until("/t/slow/1 answered") < until("/t/then answered") && until("/t/then answered") < until("/confirm"), sent.join());

  sent.length = 0;
  const failed = client.tcc({ gid: "g" }, async (tcc) => void tcc.call("no", "http://s/t/no", {}, at));
  await assert.rejects(failed, { name: "NotConfirmed", message: "g is cancelled: a step of it has failed: Refused: sold out" });
  assert.equal(until("/confirm"), -1);

  sent.length = 0;
  let kept: Tcc | undefined;
  const began = Date.now();
  const thrown = client.tcc({ gid: "g" }, async (tcc) => {
    kept = tcc;
    void tcc.call("slow", "http://s/t/slow/2", {}, at);
    void tcc.call("later", "http://s/t/later", {}, at);
    await new Promise((done) => setTimeout(done, 20));
    throw new Error("no more");
  });
  await assert.rejects(thrown, { message: "no more" });
  assert.ok(until("/t/slow/2 answered") >= 0 && until("/t/slow/2 answered") < until("/cancel"), sent.join());
  assert.ok(until("/t/later") >= 0 && until("/t/later") < until("/cancel"));
  assert.ok(Date.now() - began < 10000, "what is unclear is not called again until its time is over");
  const calls = sent.length;
  await assert.rejects(kept!.call("late", "http://s/t/late", {}, at), /^Error: g: the function of this tcc has ended$/);
  await assert.rejects(kept!.join("late", at), /has ended/);
  assert.equal(sent.length, calls, "nothing is sent behind the decision");
});

test("one secret is not taken for a list of letters", async () => {
  const database = sqlite(await memory());
  const body = "{}";
  const now = Math.floor(Date.now() / 1000);
  const signed = { "webhook-id": "m", "webhook-timestamp": String(now), "webhook-signature": sign("e", "m", now, body) };
  for (const secrets of ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "", Buffer.from("key"), [7]] as any[]) {
    const why = { name: "TypeError", message: /secrets is a list of texts|a secret is text/ };
    assert.throws(() => new Participant(database, { secrets }), why);
    assert.throws(() => verify(signed, body, secrets), why);
    await assert.rejects(new Client("http://127.0.0.1:1").tcc({ secrets }, async () => 1), why);
  }
  for (const secret of ["", "whsec_", "whsec_!"]) assert.throws(() => new Participant(database, { secrets: [secret] }), RangeError);
});

test("the barrier is not asked outside of a transaction, where the driver tells", async () => {
  const db = await memory();
  const barrier = new Barrier(sqliteSession(db));
  const call = parseCall(headers());
  await assert.rejects(barrier.ask(call), /begin a transaction first/);
  await assert.rejects(barrier.message("g-1", new Date()), /begin a transaction first/);
  db.exec("BEGIN");
  assert.equal((await barrier.ask(call)).answer, "run");
  for (const [status, told] of [["I", false], ["T", true], ["E", true], [null, undefined], [undefined, undefined]] as const) {
    const pg = { query: async () => ({ rows: [{ answer: "run", status: null, body: null }], rowCount: 1 }), ...(status !== undefined && { getTransactionStatus: () => status }) };
    assert.equal(pgSession(pg).inTransaction?.(), told);
    const asked = new Barrier(pgSession(pg)).ask(call);
    if (told === false) await assert.rejects(asked, /begin a transaction first/);
    else assert.equal((await asked).answer, "run");
  }
});

test("what to do about a barrier that cannot be used is said", async () => {
  const told = async (message: string) => {
    const logged: string[] = [];
    const bare = { use: (work: any) => work({ dialect: "postgresql", connection: null, query: async (sql: string) => { if (sql.includes("FROM sagad_barrier")) throw new Error(message); } }, () => undefined) };
    const service = new Participant(bare as any, { log: (text) => logged.push(text) });
    service.on("/rooms", "try", () => undefined);
    assert.equal((await service.serve("/rooms", headers(), "")).status, 503);
    return logged.join();
  };
  assert.match(await told("permission denied for table sagad_barrier_step"), /lists what to grant/);
  assert.match(await told("function sagad_barrier(text) does not exist"), /call setup\(\)/);
  assert.match(await told("permission denied for table effect"), /answered 503$/);
});
