// SPDX-License-Identifier: Apache-2.0
// participants/vectors: the contract as data.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Answer,
  BadSignature,
  BadTemplate,
  Barrier,
  NoValue,
  NotACall,
  type Op,
  Participant,
  Problem,
  Refused,
  type Work,
  callOf,
  fillTemplate,
  gone,
  keyOf,
  messageId,
  ongoing,
  outcomeOf,
  parseCall,
  retryAfterMs,
  sign,
  sqlite,
  sqliteSession,
  verify,
} from "sagad";
import { truthOfSqlite } from "./truth.js";
import { type Memory, headers, memory, quiet, vectors } from "./world.js";

const HEADERS = vectors("headers");
const SIGNATURES = vectors("signatures");
const OUTCOMES = vectors("outcomes");
// Of the output's text sagad asks more than a client of a participant can: JSON.parse() does not see these.
const OF_THE_COORDINATOR = ["a name twice is not JSON here"];

test("headers", () => {
  assert.ok(HEADERS.cases.length > 40);
  for (const row of HEADERS.cases) {
    const all = row.alone ? row.headers : { ...HEADERS.headers, ...row.headers };
    const sent = Object.fromEntries(Object.entries<string | null>(all).filter(([, text]) => text !== null)) as Record<string, string>;
    if (row.wrong) {
      assert.throws(() => parseCall(sent), (why) => why instanceof NotACall && why.header === row.wrong, row.name);
      continue;
    }
    const got = parseCall(sent);
    const told = {
      gid: got.gid,
      step: got.step,
      op: got.op,
      attempt: got.attempt ?? null,
      epoch: got.epoch?.toString() ?? null,
      accepted_ms: got.accepted?.getTime() ?? null,
      deadline_ms: got.deadline?.getTime() ?? null,
      callback: got.callback ?? null,
      key: got.idempotencyKey ?? null,
      traceparent: got.traceparent ?? null,
    };
    assert.deepEqual(told, { ...HEADERS.call, ...row.call }, row.name);
    if (!/[^\x20-\x7e\t]/.test(Object.values(sent).join(""))) assert.equal(parseCall(new Headers(sent)).gid, got.gid);
  }
});

test("times", () => {
  assert.ok(HEADERS.times.length > 40);
  for (const { name, text, ms } of HEADERS.times) {
    for (const [header, field] of [["Saga-Accepted", "accepted"], ["Saga-Deadline", "deadline"]] as const) {
      const sent = { ...HEADERS.headers, [header]: text };
      if (ms === null) assert.throws(() => parseCall(sent), (why) => why instanceof NotACall && why.header === header, name);
      else assert.equal(parseCall(sent)[field]?.getTime(), ms, name);
    }
  }
});

test("what stands there twice", async () => {
  assert.ok(HEADERS.doubled.length > 10);
  const service = new Participant(sqlite(await memory()), { secrets: ["s"], log: () => undefined });
  for (const row of HEADERS.doubled) {
    const pairs = [...Object.entries<string>({ ...HEADERS.headers, ...row.headers }), ...Object.entries<string>(row.again)];
    if (row.wrong === undefined) {
      assert.equal(parseCall(pairs).gid, HEADERS.call.gid);
      continue;
    }
    assert.throws(() => parseCall(pairs), (why) => why instanceof NotACall && why.header === row.wrong, row.name);
    assert.equal((await service.serve("/", pairs, "")).status, 400, row.name); // before it is asked who signed it
  }
});

test("methods", async () => {
  for (const [op, wants] of Object.entries<string[]>(HEADERS.methods)) {
    const { service } = quiet(await memory());
    service.on("/", op as Op, () => undefined);
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS", "post", ""]) {
      const got = await service.serve("/", { ...HEADERS.headers, "Saga-Op": op }, "", method);
      if (wants.includes(method)) assert.ok([200, 204, 410].includes(got.status), `${op} ${method}`);
      else assert.deepEqual([got.status, got.headers["Allow"]], [405, wants.join(", ")], `${op} ${method}`);
    }
  }
});

test("secrets, ids and signatures", () => {
  for (const secret of SIGNATURES.secrets) {
    if (secret.bytes === null) assert.throws(() => keyOf(secret.text), RangeError, secret.text);
    else assert.equal(keyOf(secret.text).toString("hex"), secret.bytes);
  }
  for (const row of SIGNATURES.ids) assert.equal(messageId(row.gid, row.step, row.op), row.id);
  for (const row of SIGNATURES.sign) assert.equal(sign(row.secret, row.id, row.timestamp_s, row.body), row.signature);
});

test("what arrives is let in or not", () => {
  assert.ok(SIGNATURES.verify.length > 20);
  for (const row of SIGNATURES.verify) {
    let result = "ok";
    try {
      verify(row.headers, row.body, row.secrets, { nowS: row.now_s });
    } catch (why) {
      assert.ok(why instanceof BadSignature, row.name);
      result = why.reason;
    }
    assert.equal(result, row.result, row.name);
  }
});

test("what an answer teaches", () => {
  assert.ok(OUTCOMES.cases.length > 100);
  for (const row of OUTCOMES.cases) {
    if (OF_THE_COORDINATOR.includes(row.name)) continue;
    const got = outcomeOf(row.op, row.status, row.saga_outcome, row.body ?? "");
    assert.equal(got, row.outcome, row.name);
    if (got === "unknown" || got === "ongoing") {
      assert.equal(retryAfterMs(row.retry_after, OUTCOMES.now_ms), row.retry_after_ms ?? 0, row.name);
    }
  }
});

function workOf(row: any): Work<Memory> {
  return () => {
    if (row.result === "refused") throw row.reason === undefined ? new Refused() : new Refused(row.reason);
    if (row.result === "failed") throw new Error("the work fails");
    if (row.result === "ongoing") return ongoing({}, row.retry_after_s);
    if (row.result === "gone") return gone();
    return row.output === undefined ? undefined : new Answer(200, row.output);
  };
}

test("what is answered", async () => {
  const secret = "a secret of this test";
  for (const row of OUTCOMES.answers) {
    const db = await memory();
    const { service } = quiet(db, { secrets: [secret] });
    service.on("/", row.op, workOf(row));
    if (row.op !== "try") service.on("/", "try", () => undefined);
    const serve = (op: string, more: Record<string, string> = {}, signer = secret) => {
      const [id, now] = [messageId("g-1", "room", op), Math.floor(Date.now() / 1000)];
      const signed = { "webhook-id": id, "webhook-timestamp": String(now), "webhook-signature": sign(signer, id, now, "") };
      return service.serve("/", headers(op, { "Saga-Epoch": "5", ...more, ...signed }), "");
    };
    if (row.op !== "try" || row.result === "stale") await serve("try");
    // A duplicate is never stale: make it one that was cancelled before it came.
    if (row.op === "try" && row.result === "stale") db.exec("UPDATE sagad_barrier_step SET tried = 0, cancelled = 1");
    const more: Record<string, string> = row.result === "stale" ? { "Saga-Epoch": "4" } : row.result === "bad_call" ? { "Saga-Attempt": "x" } : {};
    const got = await serve(row.op, more, row.result === "bad_signature" ? "another" : secret);
    assert.equal(got.status, row.status, row.name);
    for (const [name, text] of Object.entries(row.headers ?? {})) assert.equal(got.headers[name], text, row.name);
    if (typeof row.body === "string") assert.equal(got.body, row.body, row.name);
    else if (row.body !== undefined) assert.deepEqual(JSON.parse(got.body), row.body, row.name);
    assert.equal(outcomeOf(row.op, got.status, got.headers["Saga-Outcome"], got.body), row.outcome, row.name);
  }
});

test("problems", () => {
  const { cases } = vectors("problems");
  assert.ok(cases.length > 15);
  for (const row of cases) {
    const got = new Problem(row.status, row.headers, row.body);
    const told = {
      status: got.status,
      code: got.code ?? null,
      title: got.title ?? null,
      detail: got.detail ?? null,
      retryable: got.retryable,
      retry_after_s: got.retryAfterS ?? null,
      gid: got.gid ?? null,
      request_id: got.requestId ?? null,
      errors: got.errors,
    };
    assert.deepEqual(told, row.problem, row.name);
    assert.ok(got.message);
  }
});

test("what the barrier refuses", async () => {
  const db = await memory();
  const { wrong } = vectors("barrier");
  assert.ok(wrong.length > 15);
  for (const row of wrong) {
    const call = callOf({ gid: "g-1", step: "a", op: "try", epoch: "1", ...row });
    await assert.rejects(new Barrier(sqliteSession(db)).ask(call), row.name);
    assert.equal(Number(db.prepare("SELECT count(*) AS n FROM sagad_barrier_step").get()?.["n"]), 0);
  }
});

test("templates", () => {
  const { cases, wrong, input, outputs, gid, definition, now_ms: nowMs } = vectors("templates");
  const sources = { input, outputs, gid, definition, nowMs };
  assert.ok(cases.length > 50 && wrong.length > 25);
  for (const { name, place, template, becomes, fails } of cases) {
    if (fails) assert.throws(() => fillTemplate(template, place, sources), NoValue, name);
    else assert.equal(fillTemplate(template, place, sources), becomes, name);
  }
  for (const { name, place, template, says } of wrong) {
    assert.throws(() => fillTemplate(template, place, sources), (why) => why instanceof BadTemplate && why.message.includes(says), name);
  }
  const big = { input: JSON.stringify("x".repeat(8001)) };
  assert.throws(() => fillTemplate(`\${input${".a".repeat(33)}}`, "text", big), /32 levels/);
  assert.throws(() => fillTemplate("/${input}", "path", big), /larger than 8000 bytes/);
  assert.equal(fillTemplate("${input}", "text", big), "x".repeat(8001));
  assert.equal(fillTemplate("${input.a ?? null} ${input}", "text", { input: "[1.10]" }), "null [1.10]");
  assert.equal(fillTemplate("/${input}", "path", { input: '"!\'()*~"' }), "/%21%27%28%29%2A~");
});

test("the truth table of the barrier, on SQLite", async () => {
  const db = await memory();
  await truthOfSqlite(db);
});
