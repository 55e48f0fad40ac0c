// SPDX-License-Identifier: Apache-2.0
// Functions inside the barrier: what is committed, what is rolled back, what is answered.
import assert from "node:assert/strict";
import { type RequestListener, createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { test } from "node:test";
import express from "express";
import {
  Answer,
  Barrier,
  Cancelled,
  Participant,
  Refused,
  TooLate,
  callOf,
  listener,
  messageId,
  middleware,
  ok,
  ongoing,
  refused,
  run,
  sign,
  sqlite,
  sqliteSession,
} from "sagad";
import { headers, memory, quiet } from "./world.js";

async function hotel() {
  const db = await memory();
  const { service, logged } = quiet(db);
  service.on("/rooms", "try", (call, used) => {
    used.effect(`book ${call.text}`);
    return { room: 7, price: "1.10" };
  });
  service.on("/rooms", "cancel", (_, used) => used.effect("cancel"));
  const serve = (op = "try", body = "", more = {}) => service.serve("/rooms", headers(op, more), body);
  return { db, service, serve, logged };
}

test("the work is done once and its answer replayed", async () => {
  const { db, serve } = await hotel();
  const first = await serve("try", "2");
  assert.deepEqual(first, { status: 200, headers: { "Content-Type": "application/json" }, body: '{"room":7,"price":"1.10"}' });
  assert.deepEqual(await serve("try", "3"), first);
  assert.equal((await serve("cancel")).status, 204);
  assert.equal((await serve("cancel")).status, 204);
  assert.deepEqual(db.effects(), ["book 2", "cancel"]);
});

test("a cancel that overtakes its try", async () => {
  const { db, serve } = await hotel();
  assert.equal((await serve("cancel")).body, "{}");
  const late = await serve("try");
  assert.deepEqual([late.status, late.headers["Saga-Outcome"]], [422, "refused"]);
  assert.deepEqual(db.effects(), []);
});

test("what fails is rolled back and may come again", async () => {
  const db = await memory();
  const { service, logged } = quiet(db);
  let fails = true;
  service.on("/rooms", "try", async (_, used) => {
    used.effect("book");
    await Promise.resolve();
    if (fails) throw new Error("the work fails");
  });
  assert.equal((await service.serve("/rooms", headers(), "")).status, 503);
  assert.deepEqual(db.effects(), []);
  assert.match(logged.join(), /try of step room of g-1 is rolled back.*the work fails/);
  fails = false;
  assert.equal((await service.serve("/rooms", headers(), "")).status, 204);
  assert.deepEqual(db.effects(), ["book"]);
});

for (const throws of [true, false]) {
  test(`a refusal is kept and its work undone, ${throws ? "thrown" : "returned"}`, async () => {
    const db = await memory();
    const { service } = quiet(db);
    let asked = 0;
    service.on("/rooms", "try", (_, used) => {
      asked++;
      used.effect("half a booking");
      if (throws) throw new Refused("sold out");
      return refused("sold out");
    });
    service.on("/rooms", "cancel", (_, used) => used.effect("cancel"));
    for (let i = 0; i < 2; i++) {
      const got = await service.serve("/rooms", headers(), "");
      assert.deepEqual([got.status, got.body, got.headers["Saga-Outcome"]], [422, '{"error":"sold out"}', "refused"]);
    }
    assert.equal((await service.serve("/rooms", headers("cancel"), "")).body, "{}");
    assert.deepEqual([db.effects(), asked], [[], 1]);
  });
}

test("what settles nothing is not kept, and a confirm cannot be refused", async () => {
  const db = await memory();
  const { service, logged } = quiet(db);
  service.on("/busy", "try", (_, used) => {
    used.effect("busy");
    return new Answer(429, "{}", { "Retry-After": "3" });
  });
  const busy = await service.serve("/busy", headers(), "");
  assert.deepEqual([busy.status, busy.headers["Retry-After"]], [429, "3"]);
  service.on("/rooms", "try", () => undefined);
  service.on("/rooms", "confirm", (_, used) => {
    used.effect("confirm");
    throw new Refused("no");
  });
  assert.equal((await service.serve("/rooms", headers(), "")).status, 204);
  assert.equal((await service.serve("/rooms", headers("confirm"), "")).status, 500);
  assert.match(logged.join(), /cannot be refused/);
  assert.deepEqual(db.effects(), []);
});

test("work that goes on ends in a transaction of its own", async () => {
  const db = await memory();
  const { service } = quiet(db);
  service.on("/rooms", "try", () => ongoing({ at: 1 }, 9)).on("/rooms", "cancel", () => undefined);
  const serve = (op: string, gid: string) => service.serve("/rooms", headers(op, { "Saga-Id": gid }), "");
  const first = await serve("try", "g-1");
  assert.deepEqual([first.status, first.body, first.headers["Retry-After"]], [202, '{"at":1}', "9"]);
  const barrier = new Barrier(sqliteSession(db));
  await barrier.finish({ gid: "g-1", step: "room", op: "try" }, ok({ room: 8 }, 201));
  assert.deepEqual((await serve("try", "g-1")).body, '{"room":8}');
  assert.equal((await serve("try", "g-2")).status, 202);
  assert.equal((await serve("cancel", "g-2")).status, 204);
  await assert.rejects(barrier.finish({ gid: "g-2", step: "room", op: "try" }, ok()), Cancelled);
});

test("of two that met one begins again, and a lost connection is not used again", async () => {
  const db = await memory();
  const met = [{ code: "40P01" }, { errno: 1213 }];
  let used = 0;
  const answer = await run(sqlite(db), callOf({ gid: "g", step: "s", op: "try" }), () => {
    used++;
    const why = met.pop();
    if (why) throw Object.assign(new Error("deadlock"), why);
  });
  assert.deepEqual([answer.status, used], [204, 3]);
  let broken = 0;
  const gone = { dialect: "postgresql" as const, connection: undefined, query: () => Promise.reject(new Error("no connection")) };
  const lost = { use: <T>(work: (session: typeof gone, isBroken: () => void) => Promise<T>) => work(gone, () => void broken++) };
  assert.equal((await run(lost, callOf({ gid: "g", step: "s", op: "try" }), () => undefined, () => undefined)).status, 503);
  assert.equal(broken, 1);
});

test("a commit that fails is not answered as a success", async () => {
  const db = await memory();
  const session = sqliteSession(db);
  const failing = {
    ...session,
    query: (sql: string, values?: readonly unknown[]) => (sql === "COMMIT" ? Promise.reject(new Error("disk")) : session.query(sql, values)),
  };
  const call = callOf({ gid: "g", step: "s", op: "try" });
  const database = { use: <T>(work: (used: typeof failing, isBroken: () => void) => Promise<T>) => work(failing, () => undefined) };
  assert.equal((await run(database, call, () => undefined, () => undefined)).status, 503);
  assert.equal((await run(sqlite(db), callOf({ ...call, op: "cancel" }), () => undefined)).body, "{}");
});

test("calls to one connection take turns", async () => {
  const db = await memory();
  const { service } = quiet(db);
  const order: string[] = [];
  service.on("/rooms", "try", async (call, used) => {
    order.push(`in ${call.gid}`);
    used.effect(call.gid);
    await new Promise((wake) => setTimeout(wake, 5));
    order.push(`out ${call.gid}`);
  });
  await Promise.all(["a", "b", "a"].map((gid) => service.serve("/rooms", headers("try", { "Saga-Id": gid }), "")));
  assert.deepEqual(order, ["in a", "out a", "in b", "out b"]);
  assert.deepEqual(db.effects(), ["a", "b"]);
});

test("a back-check has no barrier", async () => {
  const { service } = quiet(await memory());
  let committed = false;
  service.on("/orders/{id}/committed", "check", (call) => {
    if (!committed) throw new Refused(`no order ${call.params["id"]}`);
  });
  const ask = () => service.serve("/orders/7/committed", headers("check"), "");
  assert.deepEqual((await ask()).body, '{"error":"no order 7"}');
  committed = true;
  assert.equal((await ask()).status, 204);
});

test("a message and its check", async () => {
  const db = await memory();
  const { service } = quiet(db);
  service.check("/committed");
  const barrier = new Barrier(sqliteSession(db));
  const later = new Date("2126-11-23T10:40:54.123Z");
  const ask = async (gid: string) => (await service.serve("/committed", headers("check", { "Saga-Id": gid, "Saga-Deadline": later.toISOString() }), "")).status;
  const message = async (gid: string, deadline: Date | string) => {
    db.exec("BEGIN");
    try {
      return await barrier.message(gid, deadline);
    } finally {
      db.exec("COMMIT");
    }
  };
  assert.equal(await message("done", later), true);
  assert.equal(await message("done", later.toISOString()), false);
  assert.deepEqual([await ask("done"), await ask("done")], [200, 200]);
  assert.deepEqual([await ask("never"), await ask("never")], [422, 422]);
  await assert.rejects(message("never", later), TooLate);
  assert.equal(await message("done", later), false);
  assert.throws(() => service.check("/committed"), RangeError);
});

test("a 204 has no body", async () => {
  const { service } = quiet(await memory());
  service.on("/rooms", "try", () => new Answer(204, "{}"));
  for (let i = 0; i < 2; i++) assert.equal((await service.serve("/rooms", headers(), "")).body, "");
});

test("paths", async () => {
  const { service, serve } = await hotel();
  service.on("/a.b/{hotel}/rooms/{id}", "try", (call) => call.params);
  const to = (path: string, gid: string) => service.serve(path, headers("try", { "Saga-Id": gid }), "");
  assert.equal((await to("/a.b/grand/rooms/x%2Fy%C3%AB", "p")).body, '{"hotel":"grand","id":"x/yë"}');
  for (const path of ["/axb/grand/rooms/1", "/a.b/grand/rooms/1/2", "/a.b/grand/rooms/", "/rooms/", "/", "/%"]) {
    assert.equal((await to(path, "q")).status, 400, path);
  }
  assert.equal((await serve("confirm")).status, 400);
  assert.throws(() => service.on("/rooms", "try", () => undefined), RangeError);
  assert.throws(() => service.on("/rooms", "undo" as "try", () => undefined), RangeError);
});

test("a cancel at a path with a slip is not taken for one that has nothing to undo", async () => {
  const { db, service, serve, logged } = await hotel();
  service.on("/bill", "try", () => undefined);
  assert.equal((await serve("try", "2")).status, 200);
  const slip = await service.serve("/roms", headers("cancel"), "");
  assert.deepEqual([slip.status, slip.body], [400, '{"error":"there is nothing at this path"}']);
  const other = await service.serve("/bill", headers("cancel"), "");
  assert.deepEqual([other.status, other.body], [400, '{"error":"there is no cancel here"}']);
  assert.match(logged.join("\n"), /of \/roms is answered 400: there is nothing[^]*of \/bill is answered 400: there is no cancel/);
  assert.deepEqual(db.effects(), ["book 2"]);
});

test("an answer that is not JSON is not kept", async () => {
  const db = await memory();
  const { service, logged } = quiet(db);
  let body = "{oops";
  for (const op of ["try", "cancel"] as const) {
    service.on("/rooms", op, (_, used) => {
      used.effect(op);
      return new Answer(op === "try" && body === "no" ? 422 : 200, body);
    });
  }
  assert.equal((await service.serve("/rooms", headers(), "")).status, 503);
  body = "no";
  assert.equal((await service.serve("/rooms", headers(), "")).status, 503);
  assert.match(logged.join(), /try of step room of g-1 is rolled back.*the body of the answer 200 is not JSON.*422 is not JSON/);
  assert.deepEqual(db.effects(), []);
  body = "";
  assert.equal((await service.serve("/rooms", headers(), "")).status, 200);
  body = "{oops";
  assert.equal((await service.serve("/rooms", headers("cancel"), "")).status, 503);
  assert.deepEqual(db.effects(), ["try"]);
  const unkept = new Barrier(sqliteSession(db)).keep({ gid: "g-1", step: "room", op: "cancel" }, new Answer(200, "1 2"));
  await assert.rejects(unkept, TypeError);
});

test("a body that is not UTF-8 is not worked on", async () => {
  const { db, service } = await hotel();
  const serve = (...bytes: number[]) => service.serve("/rooms", headers(), new Uint8Array(bytes));
  for (const bytes of [[0x22, 0xff, 0x22], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0xaf]]) {
    const got = await serve(...bytes);
    assert.deepEqual([got.status, got.body], [400, '{"error":"the body is not UTF-8"}']);
  }
  assert.deepEqual(db.effects(), []);
  assert.equal((await serve(0xef, 0xbb, 0xbf, 0xc3, 0xab)).status, 200);
  assert.deepEqual(db.effects(), ["book \ufeffë"]);
});

test("times that are on no calendar", async () => {
  const { db, serve } = await hotel();
  const wrong = ["2126-02-30T00:00:00Z", "2126-02-29T00:00:00Z", "2126-04-31T00:00:00+02:00", "2126-01-01T24:00:00Z", "2126-01-01T23:60:00Z"];
  for (const at of [...wrong, "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "2126-00-01T00:00:00Z"]) {
    for (const name of ["Saga-Deadline", "Saga-Accepted"]) {
      const got = await serve("try", "", { [name]: at });
      assert.deepEqual([got.status, got.body], [400, `{"error":"${name} is no time"}`], at);
    }
  }
  assert.deepEqual(db.effects(), []);
  assert.equal((await serve("try", "2", { "Saga-Deadline": "2128-02-29T23:59:59.999999999-11:30" })).status, 200);
});

test("a signed call of another op is not let in", async () => {
  const db = await memory();
  const { service } = quiet(db, { secrets: ["old", "new"] });
  service.on("/rooms", "try", () => undefined).on("/rooms", "cancel", () => undefined);
  const [id, now] = [messageId("g-1", "room", "try"), Math.floor(Date.now() / 1000)];
  const signed = { "webhook-id": id, "webhook-timestamp": String(now), "webhook-signature": sign("new", id, now, "{}") };
  const serve = async (op: string, more: object) => (await service.serve("/rooms", { ...headers(op), ...more }, Buffer.from("{}"))).status;
  assert.equal(await serve("try", signed), 204);
  assert.equal(await serve("cancel", signed), 401);
  assert.equal(await serve("try", { ...signed, "Saga-Id": "g-2" }), 401);
  assert.equal(await serve("try", {}), 401);
  assert.throws(() => new Participant(sqlite(db), { secrets: ["whsec_*"] }), RangeError);
});

test("no connection is no answer", async () => {
  const none = { use: () => Promise.reject(new Error("no connection")) };
  const service = new Participant(none, { log: () => undefined }).on("/rooms", "try", () => undefined);
  assert.equal((await service.serve("/rooms", headers(), "")).status, 503);
});

test("without a deadline the acceptance says how old a call is", async () => {
  const { db, serve } = await hotel();
  await new Barrier(sqliteSession(db)).sweep(86400);
  const old = { "Saga-Accepted": "2021-11-23T08:40:54.123Z" };
  assert.equal((await serve("try", "", old)).status, 400);
  assert.equal((await serve("try", "", { ...old, "Saga-Deadline": "2126-11-23T10:40:54.123+02:00" })).status, 200);
});

// ---- adapters -----------------------------------------------------------------------------------

async function served<T>(app: RequestListener, work: (url: string) => Promise<T>): Promise<T> {
  const server = createServer(app);
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  try {
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const post = (url: string, op: string, body: string, more = {}) => fetch(url, { method: "POST", body, headers: headers(op, more) });

/** A request with these lines as well, and all that is answered. */
async function raw(url: string, all: Record<string, string>, more: string[]): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const lines = [...Object.entries(all).map(([name, text]) => `${name}: ${text}`), ...more, "Connection: close", "Content-Length: 0"];
  socket.write(`POST /rooms HTTP/1.1\r\nHost: a\r\n${lines.join("\r\n")}\r\n\r\n`);
  let got = "";
  for await (const part of socket) got += String(part);
  return got;
}

test("behind node:http", async () => {
  const { db, service } = await hotel();
  service.on("/zoë", "try", () => "zoë");
  await served(listener(service, { bodyMax: 100 }), async (url) => {
    const booked = await post(`${url}/rooms?a=1`, "try", "2");
    assert.deepEqual([booked.status, await booked.text()], [200, '{"room":7,"price":"1.10"}']);
    assert.equal(booked.headers.get("content-type"), "application/json");
    const undone = await post(`${url}/rooms`, "cancel", "");
    assert.deepEqual([undone.status, undone.headers.get("content-length")], [204, null]);
    assert.equal((await post(`${url}/rooms`, "try", "x".repeat(101))).status, 413);
    assert.equal((await fetch(`${url}/rooms`)).status, 400);
    assert.equal((await post(`${url}/nowhere`, "try", "")).status, 400);
    assert.equal(await (await post(`${url}/zoë`, "try", "", { "Saga-Id": "z" })).json(), "zoë");
    const asked = await fetch(`${url}/rooms`, { headers: headers("try") });
    assert.deepEqual([asked.status, asked.headers.get("allow")], [405, "POST, PUT, PATCH, DELETE"]);
    // fetch() would join them.
    assert.match(await raw(url, headers("try"), ["saga-callback: http://a", "Saga-Callback: http://b"]), /400.*Saga-Callback stands there twice/s);
    assert.match(await raw(url, headers("try"), ["Via: a", "via: b"]), /200 OK/);
  });
  assert.deepEqual(db.effects(), ["book 2", "cancel"]);
});

test("in Express", async () => {
  const { db, service } = await hotel();
  const app = express();
  app.use("/saga", middleware(service));
  app.use("/raw", express.raw({ type: "*/*" }), middleware(service));
  app.use("/late", express.json({ type: "*/*" }), middleware(service));
  app.use((_: unknown, response: any) => response.status(418).end());
  await served(app, async (url) => {
    assert.equal((await post(`${url}/saga/rooms`, "try", "2")).status, 200);
    assert.equal((await post(`${url}/saga/else`, "try", "2")).status, 400);
    for (const name of ["Saga-Id", "saga-step", "Saga-Op"]) {
      assert.equal((await fetch(`${url}/saga/else`, { method: "POST", headers: { [name]: "x" } })).status, 400, name);
    }
    assert.equal((await fetch(`${url}/saga/else`, { method: "POST", body: "2" })).status, 418);
    // What is no call may be the app's own, at the same path.
    assert.deepEqual([(await fetch(`${url}/saga/rooms`)).status, (await fetch(`${url}/saga/rooms`, { headers: headers("try") })).status], [418, 405]);
    assert.equal((await fetch(`${url}/saga/rooms`, { method: "POST" })).status, 400);
    assert.equal((await post(`${url}/raw/rooms`, "try", "3", { "Saga-Id": "g-3" })).status, 200);
    assert.equal((await post(`${url}/late/rooms`, "try", "{}", { "Saga-Id": "g-4" })).status, 400);
  });
  assert.deepEqual(db.effects(), ["book 2", "book 3"]);
});
