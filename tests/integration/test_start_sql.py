# SPDX-License-Identifier: Apache-2.0
"""sagad.start(): a transaction that begins with the commit of its caller, in SQL."""
import glob
import json
import os
import pathlib
import re
import threading
import time

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families as read_text

from lib.base import ROOT, until
from lib.client import Client, problem
from lib.postgres import rows, value
from lib.stub import Reply

def read_case(path):
    """Its reason, and its document as it stands there: numbers must not go through Python."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    case = json.loads(text)
    rest = text[text.index('"document":') + len('"document":'):].lstrip()
    document = rest[:json.JSONDecoder().raw_decode(rest)[1]]
    return case["as"], case["why"], re.sub(r'^{\s*"name": "[^"]*",', "{", document)


CORPUS = [(why, document) for use, why, document in
          map(read_case, sorted(glob.glob(str(ROOT / "tests/corpus/definitions/valid-*.json")))) if use == "named"]


@pytest.fixture
def db(cluster):
    """A session of a service that keeps its own data in the database of the log."""
    with psycopg.connect(cluster.dsn, autocommit=True) as made:
        yield made


def start(db, definition, **more):
    """sagad.start(); input and labels are given as Python objects, or as JSON text."""
    for name in ("input", "labels"):
        if name in more and not isinstance(more[name], str):
            more[name] = json.dumps(more[name])
    sql = "SELECT sagad.start(%s" + "".join(f", {name} => %s" for name in more) + ")"
    sql = re.sub(r"(input|labels) => %s", r"\1 => %s::jsonb", sql)
    return db.execute(sql, (definition, *more.values())).fetchone()[0]


def one_step(client, stub, path="/a", **more):
    """A definition of one step at the stub; gives its name."""
    name = "sql" + re.sub("[^a-z0-9]", "-", path) + f"-{stub.host.rpartition(':')[2]}"
    client.define(name, steps={"a": {"action": {"url": stub.url + path}, "compensate": {"url": stub.url + "/undo"}}}, **more)
    return name


def refused(db, sqlstate, definition, *words, **more):
    with pytest.raises(psycopg.Error) as raised:
        start(db, definition, **more)
    assert raised.value.sqlstate == sqlstate, raised.value
    if sqlstate.startswith("SG"):
        assert (raised.value.diag.message_hint or "").endswith("."), "each of ours says what to do"
    for word in words:
        assert word in str(raised.value), raised.value
    return raised.value


# ---- it exists exactly if the commit does --------------------------------------------------------


def test_it_begins_with_the_commit_of_its_caller(db, client, stub, gid):
    name = one_step(client, stub)
    db.execute("CREATE TABLE IF NOT EXISTS orders (id text)")
    with db.transaction():
        db.execute("INSERT INTO orders VALUES (%s)", (gid,))
        assert start(db, name, input={"order": gid}, gid=gid, labels={"shop": "x"}) == gid
        assert client.get(f"/v1/transactions/{gid}").status == 404, "nobody sees it before the commit"
        assert stub.seen(gid=gid) == []
    ended = client.ended(gid)
    assert ended["phase"] == "confirmed" and ended["input"] == {"order": gid} and ended["labels"] == {"shop": "x"}
    assert [(c.op, c.json) for c in stub.seen(gid=gid)] == [("try", {"order": gid})]


def test_nothing_begins_when_its_caller_rolls_back(db, client, stub, gid):
    name = one_step(client, stub)
    with db.transaction(force_rollback=True):
        start(db, name, gid=gid)
    assert start(db, name, gid=gid + "-after") == gid + "-after"
    client.ended(gid + "-after")  # who came later has been looked for and found
    assert client.get(f"/v1/transactions/{gid}").status == 404 and stub.seen(gid=gid) == []


def test_part_of_a_transaction_can_be_taken_back(db, client, stub, gid):
    name = one_step(client, stub)
    with db.transaction():
        start(db, name, gid=gid)
        with db.transaction(force_rollback=True):  # a savepoint
            start(db, name, gid=gid + "-not")
    assert client.ended(gid)["phase"] == "confirmed"
    assert client.get(f"/v1/transactions/{gid}-not").status == 404


def test_who_gives_no_gid_is_told_one(db, client, stub):
    name = one_step(client, stub)
    first, second = start(db, name), start(db, name)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first), first
    assert first[:13] <= second[:13] and first != second
    assert abs(int(first.replace("-", "")[:12], 16) / 1000 - time.time()) < 60
    assert client.ended(first)["phase"] == "confirmed"


def test_many_in_one_commit(db, client, stub, gid):
    name = one_step(client, stub)
    with db.transaction():
        db.execute("SELECT sagad.start(%s, gid => %s || '-' || i) FROM generate_series(1, 300) i", (name, gid))
    until(lambda: value(db.info.dsn, "SELECT count(*) FROM sagad.transaction WHERE gid LIKE %s AND phase = 'confirmed'",
                        gid + "-%") == 300, 30)
    assert len(stub.seen("/a")) == 300


# ---- the row is what a POST would have made -------------------------------------------------------

SAME = ("definition, definition_version, document, input, labels, traceparent, hash, retention_ms, format, phase, stuck, "
        "paused, adoptions, ended_at, deadline_at - created_at AS deadline, created_at, progress")


def row_of(db, gid):
    """As a dictionary; times, in ms after created_at, in a list of their own."""
    found = db.execute(f"SELECT {SAME} FROM sagad.transaction WHERE gid = %s", (gid,))
    row = dict(zip([c.name for c in found.description], found.fetchone()))
    born = row.pop("created_at").timestamp() * 1000
    row["times"] = [int(t) - born for t in re.findall(r'_at":(\d+)', row["progress"])]
    row["times"] += [row["deadline"].total_seconds() * 1000] if row["deadline"] else []
    row["deadline"] = bool(row["deadline"])
    row["progress"] = re.sub(r'_at":\d+', '_at":0', row["progress"])
    return row


def assert_same(by_sql, by_post):
    """A POST counts from when it came, and is made a moment later: its times are less by that."""
    times = by_sql.pop("times"), by_post.pop("times")
    assert by_sql == by_post
    assert len(times[0]) == len(times[1]) and all(0 <= a - b < 20000 for a, b in zip(*times)), times


def both_rows(db, client, name, gid, headers=None, **more):
    """What SQL would begin, and rolls back; and what a POST of the same content begins."""
    with db.transaction(force_rollback=True):
        start(db, name, gid=gid, **more, **(headers or {}))
        by_sql = row_of(db, gid)
    answer = client.begin(gid=gid, definition=name, headers=headers, **more)
    assert answer.status == 201, answer
    by_post = row_of(db, gid)
    for row in by_sql, by_post:  # jsonb has its own way to write what Python writes in another
        row.update((member, json.loads(row[member])) for member in ("input", "labels") if row[member])
        assert len(row.pop("hash")) == 16
    return by_sql, by_post


@pytest.mark.parametrize("why,document", CORPUS)
def test_rows_of_every_definition_of_the_corpus(db, client, gid, why, document):
    name = f"corpus-{CORPUS.index((why, document))}"
    answer = client.put(f"/v1/definitions/{name}", document)
    if answer.status == 422:
        problem(answer, 422, "url_refused")
        pytest.skip("calls may not go there")
    assert answer.status == 201, answer
    assert_same(*both_rows(db, client, name, gid, start_at="1h", input={"a": 1}))
    client.post(f"/v1/transactions/{gid}/cancel")


AT_ONCE = {
    "saga": {"steps": {"a": {"action": "/hold", "compensate": "/undo"}}, "deadline": "1h30m", "retention": "0s"},
    "pivot": {"steps": {"a": {"action": "/hold", "kind": "pivot"}, "b": {"action": "/r", "kind": "retriable", "after": ["a"]}}},
    "retriable": {"steps": {"a": {"action": "/hold", "kind": "retriable"}, "b": {"action": "/hold", "kind": "retriable"}},
                  "retention": "90d12h5ms"},
    "tcc": {"mode": "tcc", "steps": {"a": {"try": "/hold", "confirm": "/c", "cancel": "/undo"}}, "deadline": "2d"},
    "message": {"mode": "message", "check": "/check", "steps": {"a": {"action": "/r"}, "b": {"action": "/r"}}, "deadline": "7m30s"},
}


@pytest.mark.parametrize("mode", AT_ONCE)
def test_rows_that_begin_at_once(db, client, stub, gid, mode):
    """Each call hangs, so that the row of the POST is still as it was made."""
    held = threading.Event()
    stub.on("/hold", Reply(200, hold=held))
    document = json.loads(re.sub(r'"(/[a-z]+)"', lambda m: json.dumps({"url": stub.url + m[1]}), json.dumps(AT_ONCE[mode])))
    name = f"at-once-{mode}-{stub.host.rpartition(':')[2]}"
    client.define(name, **document)
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    assert_same(*both_rows(db, client, name, gid, headers=headers, version=1, deadline="10m", labels={"tenant": "a", "b": ""},
                           input={"text": "ü\"\\\n€", "n": [1, 2.5, None, True, {}]}))
    assert_same(*both_rows(db, client, name, gid + "-bare"))
    assert_same(*both_rows(db, client, name, gid + "-later", start_at="1h"))
    client.post(f"/v1/transactions/{gid}-later/cancel")
    held.set()


def test_the_same_content_by_sql_and_by_post_is_the_same_transaction(db, client, stub, gid):
    """The hash is that of the body that a POST would have: members in the order of the function, JSON as jsonb writes it."""
    name = one_step(client, stub)
    body = (f'{{"gid":"{gid}","definition":"{name}","version":1,"input":{{"n": 1.10, "big": 12345678901234567890}},'
            '"labels":{"k": "v"},"deadline":"1h"}')
    start(db, name, gid=gid, version=1, deadline="1h", labels={"k": "v"}, input='{"big":12345678901234567890,"n":1.10}')
    answer = client.post("/v1/transactions", body)
    assert answer.status in (200, 202) and answer.headers["Saga-Replayed"] == "true", answer
    client.ended(gid)
    assert stub.seen("/a", gid=gid)[0].body == b'{"n": 1.10, "big": 12345678901234567890}'
    problem(client.begin(gid=gid, definition=name), 422, "idempotency_key_reused")


def test_the_example_of_the_same_by_post_is_true(db, client, stub):
    page = (ROOT / "docs/start-in-your-commit.md").read_text(encoding="utf-8")
    sql, body = re.search(r"```text\n(SELECT sagad.start.*)\n(\{.*)\n```", page).groups()
    client.define("order", steps={"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}})
    key, = db.execute(sql).fetchone()
    answer = client.post("/v1/transactions", body)
    assert answer.status in (200, 202) and answer.headers["Saga-Replayed"] == "true", answer
    problem(client.post("/v1/transactions", json.dumps(json.loads(body))), 422, "idempotency_key_reused")
    client.ended(key)


@pytest.mark.parametrize("text,ms", [
    ("0s", 0), ("250ms", 250), ("90s", 90000), ("1h30m", 5400000), ("7d", 604800000), ("1d1h1m1s1ms", 90061001),
    ("3m5ms", 180005), ("007s", 7000), ("0" * 40 + "7s", 7000), ("0" * 59 + "1m7s", 67000), ("0" * 63 + "7s", None), ("3650d", 315360000000), ("3660d", 316224000000), ("", None), ("5", None), ("1s1s", None),
    ("1ms1s", None), ("1m1h", None), ("-1s", None), ("1.5s", None), (" 1s", None), ("1S", None), ("3661d", None),
    ("99999999999999999999s", None), ("1s\n", None), ("٣s", None), ("1s" * 40, None),
])
def test_durations_are_those_of_the_daemon(db, client, text, ms):
    assert db.execute("SELECT sagad.duration_ms(%s)", (text,)).fetchone()[0] == ms
    answer = client.post("/v1/definitions/validate", {
        "name": "x", "stuck_after": "1s", "retention": text, "steps": {"a": {"action": {"url": "http://a/"}, "kind": "retriable"}}})
    wrong = [e["detail"] for e in answer.json["errors"] if e["pointer"] == "/retention"]
    assert any("must be a duration" in w for w in wrong) == (ms is None), answer


MOMENTS = ["2099-01-31T12:00:00Z", "2031-01-31t12:00:00.123456z", "2031-01-31T12:00:00+05:30", "2031-06-30T23:59:60Z",
           "2031-01-31", "2031-01-31T24:00:00Z", "2031-13-31T12:00:00Z", "2031-01-31T12:00:00", "2031-01-31T12:00:00.Z",
           "tomorrow", "2031-01-31T12:00:001Z", "2031-02-30T12:00:00Z", "2031-01-31T12:60:00Z", "2031-01-31 12:00:00Z", "2031-01-31T12:00:00+25:00",
           "2031-01-31T12:00:00+23:59", "2031-01-31T12:00:00.25-23:59", "2031-01-31T12:00:00-24:00", "0001-01-01T00:00:00+00:01"]


@pytest.mark.parametrize("text", MOMENTS)
def test_times_are_those_of_the_daemon(db, client, stub, gid, text):
    name = one_step(client, stub)
    answer = client.begin(gid=gid, definition=name, start_at=text)
    if answer.status == 400:
        refused(db, "SG400", name, "start_at", start_at=text)
        return
    assert answer.status == 201, answer
    with db.transaction(force_rollback=True):
        start(db, name, gid=gid + "-sql", start_at=text)
        due = db.execute("SELECT due_at FROM sagad.transaction WHERE gid = %s", (gid + "-sql",)).fetchone()[0]
    asked = db.execute("SELECT (progress::json ->> 'start_at')::bigint FROM sagad.transaction WHERE gid = %s", (gid,))
    assert asked.fetchone()[0] == due.timestamp() * 1000
    client.post(f"/v1/transactions/{gid}/cancel")


# ---- again, and what is wrong ---------------------------------------------------------------------


def test_the_same_again_changes_nothing_and_other_content_is_refused(db, client, stub, gid):
    name = one_step(client, stub)
    start(db, name, gid=gid, input={"n": 1, "m": 2}, deadline="1h")
    client.ended(gid)
    assert start(db, name, gid=gid, input={"m": 2, "n": 1}, deadline="1h") == gid, "the order of members is no content"
    for other in ({"input": {"n": 2, "m": 2}, "deadline": "1h"}, {"input": {"n": 1, "m": 2}}, {"deadline": "1h"},
                  {"input": {"n": 1, "m": 2}, "deadline": "1h", "labels": {"a": "b"}}):
        refused(db, "SG422", name, gid, "other content", gid=gid, **other)
    assert len(stub.seen("/a", gid=gid)) == 1


def test_two_who_start_the_same_at_once(db, cluster, client, stub, gid):
    """The second waits for the first: it begins if that one rolls back, and is told of what began if it commits."""
    name = one_step(client, stub)
    for number, commits in enumerate((True, False)):
        key, told = f"{gid}-{number}", []
        with psycopg.connect(cluster.dsn) as first, psycopg.connect(cluster.dsn) as second:
            start(first, name, gid=key)
            thread = threading.Thread(target=lambda: told.append(start(second, name, gid=key)))  # pylint: disable=cell-var-from-loop
            thread.start()
            until(lambda: value(cluster.dsn, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'",
                                second.info.backend_pid))  # pylint: disable=cell-var-from-loop
            (first.commit if commits else first.rollback)()
            thread.join(30)
            assert told == [key]
            second.commit()
        client.ended(key)
        assert len(stub.seen("/a", gid=key)) == 1


def again(replica):
    """Commits that did not get through, and were made again."""
    return sum(s.value for family in read_text(Client(lambda: [replica.ops_at]).get("/metrics").text) for s in family.samples
               if s.name == "sagad_log_batches_total" and s.labels["result"] == "again")


@pytest.mark.parametrize("commits", [True, False])
def test_a_start_that_stays_open_holds_up_nobody_else(db, cluster, client, stub, gid, commits):
    """Who asks for its gid is told so, again and again, and costs the others a short wait a second."""
    name = one_step(client, stub)
    body = f'{{"gid":"{gid}","definition":"{name}"}}'
    one = Client(lambda: [cluster.replicas[0].at])
    with psycopg.connect(cluster.dsn) as left_open:
        start(left_open, name, gid=gid)
        begun_at, before = time.monotonic(), again(cluster.replicas[0])
        for number in range(60):
            told = one.post("/v1/transactions", body)
            assert "sagad.start" in problem(told, 503, "gid_barred")["detail"] and int(told.headers["Retry-After"]) >= 1
            if number % 20 == 0:
                assert one.run(definition=name)["phase"] == "confirmed"
        # Looked for among others in some halvings, and then one short try a second.
        assert again(cluster.replicas[0]) - before <= 20 + 2 * (time.monotonic() - begun_at)
        (left_open.commit if commits else left_open.rollback)()
    until(lambda: one.post("/v1/transactions", body).status in (200, 201, 202))
    client.ended(gid)
    assert len(stub.seen("/a", gid=gid)) == 1


WRONG = [
    ("SG400", {"start_at": "2026-02-30T00:00:00Z"}, "no such time"), ("SG400", {"start_at": "0000-01-01T00:00:00Z"}, "no such time"),
    ("SG400", {"gid": "a b"}, "no gid"), ("SG400", {"gid": "a" * 129}, "no gid"), ("SG400", {"gid": ""}, "no gid"),
    ("SG400", {"gid": "a'b"}, "no gid"), ("SG400", {"gid": "a\\b"}, "no gid"), ("SG400", {"gid": 'a"b'}, "no gid"),
    ("SG400", {"gid": "ä"}, "no gid"), ("SG400", {"gid": "a\n"}, "no gid"),
    ("SG400", {"labels": ["a"]}, "labels"), ("SG400", {"labels": {"a": 1}}, "labels"),
    ("SG400", {"labels": {"a": "x" * 257}}, "labels"), ("SG400", {"labels": {"": "x"}}, "labels"),
    ("SG400", {"labels": {str(n): "" for n in range(33)}}, "labels"),
    ("SG400", {"labels": {"dtm": "saga"}}, "label dtm"),
    ("SG400", {"deadline": "soon"}, "deadline"), ("SG400", {"deadline": "0s"}, "deadline must be after"),
    ("SG400", {"deadline": "2020-01-01T00:00:00Z"}, "deadline must be after"),
    ("SG400", {"start_at": "2h", "deadline": "2020-01-01T00:00:00Z"}, "deadline must be after"),
    ("SG400", {"start_at": "9999-01-01T00:00:00Z"}, "ten years"),
    ("SG400", {"input": "[" * 64 + "]" * 64}, "nested"),
    ("SG400", {"version": 0}, "from 1"), ("SG400", {"version": -1}, "from 1"),
    ("SG404", {"version": 7}, "version 7"),
    ("SG413", {"input": json.dumps("x" * 1048576)}, "1 MiB"),
]


@pytest.mark.parametrize("sqlstate,more,word", WRONG)
def test_what_does_not_fit_is_refused(db, client, stub, sqlstate, more, word):
    name = one_step(client, stub)
    refused(db, sqlstate, name, word, **more)
    assert stub.calls == []


@pytest.mark.parametrize("text", ["", "garbage", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                  "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                                  "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
                                  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
def test_a_traceparent_of_a_strange_form_fails_no_order(db, client, stub, gid, text):
    """It is passed over, as in a POST."""
    name = one_step(client, stub)
    start(db, name, gid=gid, traceparent=text)
    assert client.begin(gid=gid + "-post", headers={"traceparent": text}, definition=name).status == 201
    kept = db.execute("SELECT traceparent FROM sagad.transaction WHERE gid = ANY(%s) ORDER BY gid", ([gid, gid + "-post"],)).fetchall()
    assert kept == 2 * [(text if text.startswith("00-0af") and text.endswith("-01") else None,)]
    client.ended(gid)
    client.ended(gid + "-post")


def test_what_just_fits_is_not(db, client, stub, gid):
    name = one_step(client, stub)
    start(db, name, gid=gid.ljust(128, "!"), input="[" * 63 + "]" * 63,
          labels={str(n).ljust(256): "ü" * 128 for n in range(32)})
    assert client.ended(gid.ljust(128, "!"))["phase"] == "confirmed"


def test_an_unknown_definition(db):
    refused(db, "SG404", "nobody-registered-this", "nobody-registered-this")
    refused(db, "SG404", None)


def test_a_paused_definition(db, client, stub, gid):
    name = one_step(client, stub)
    start(db, name, gid=gid)
    paused = client.post(f"/v1/definitions/{name}/pause", {"reason": "the stock is counted"})
    assert paused.status == 200, paused
    refused(db, "SG409", name, "the stock is counted", gid=gid + "-new")
    assert start(db, name, gid=gid) == gid, "what runs goes on, and whoever began it may ask again"
    assert client.post(f"/v1/definitions/{name}/resume", {"reason": "done"}).status == 200
    start(db, name, gid=gid + "-new")
    assert client.ended(gid + "-new")["phase"] == "confirmed"


def test_a_deadline_that_has_passed_is_no_error_of_what_began_before(db, client, stub, gid):
    name = one_step(client, stub)
    soon = db.execute("""SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '500 ms', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""")
    text = soon.fetchone()[0]
    start(db, name, gid=gid, deadline=text)
    until(lambda: value(db.info.dsn, "SELECT clock_timestamp() > %s::timestamptz", text))
    assert start(db, name, gid=gid, deadline=text) == gid
    refused(db, "SG400", name, gid=gid + "-new", deadline=text)


# ---- rights --------------------------------------------------------------------------------------------


@pytest.fixture
def service(db, cluster):
    """The session of a role that may start transactions and nothing else."""
    role = "shop_" + str(db.info.backend_pid)
    db.execute(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA sagad TO {role}")
    try:
        with psycopg.connect(cluster.dsn, autocommit=True) as made:
            made.execute(f"SET SESSION AUTHORIZATION {role}")
            made.role = role
            yield made
    finally:
        db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_only_who_is_granted_it_may_start(service, db, client, stub, gid):
    name = one_step(client, stub)
    refused(service, "42501", name, "permission denied", gid=gid)
    db.execute(f"GRANT EXECUTE ON FUNCTION sagad.start TO {service.role}")
    start(service, name, gid=gid, deadline="1h", start_at="0s")
    assert client.ended(gid)["phase"] == "confirmed"
    for table in ("transaction", "definition", "pause", "participant"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute(f"SELECT FROM sagad.{table}")


def test_names_of_the_caller_do_not_reach_into_it(service, db, client, stub, gid):
    """A function of the owner's rights must not call what its caller has made."""
    name = one_step(client, stub)
    db.execute(f"GRANT EXECUTE ON FUNCTION sagad.start TO {service.role}; CREATE SCHEMA own_{service.role} AUTHORIZATION {service.role}")
    service.execute(f"""SET search_path = own_{service.role}, pg_temp, pg_catalog;
        CREATE FUNCTION own_{service.role}.to_json(text) RETURNS json LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''caught''; END';
        CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''caught''; END';
        CREATE TEMP TABLE transaction (gid text); CREATE TEMP TABLE pause (name text)""")
    start(service, name, gid=gid)
    assert client.ended(gid)["phase"] == "confirmed"


# ---- when it is taken up ----------------------------------------------------------------------------------


def test_it_is_parked_until_its_start(db, client, stub, gid):
    name = one_step(client, stub)
    start(db, name, gid=gid, start_at="700ms")
    began = time.monotonic()
    assert client.ended(gid)["phase"] == "confirmed"
    assert time.monotonic() - began > 0.5


def test_it_is_taken_up_at_once(db, client, stub, gid, capsys):
    """Run with -s to see how soon. The turns themselves, without a busy machine, are tests/unit/crowd.c."""
    name, seen = one_step(client, stub), []

    def is_soon():
        """A window of 50. A busy machine spoils some of them; of ten one has to do."""
        committed, window = {}, f"{gid}-{len(seen)}-"
        for i in range(50):
            start(db, name, gid=window + str(i))
            committed[window + str(i)] = time.monotonic()
            time.sleep(0.003 + 0.00028 * i)  # against the rhythm of those who look
        until(lambda: committed.keys() <= {c.gid for c in stub.seen("/a")}, 30)
        first = {}
        for call in stub.seen("/a"):
            first.setdefault(call.gid, call.at)
        took = sorted(1000 * (first[key] - at) for key, at in committed.items())
        seen.append(f"commit to first call: p50 {took[25]:.0f} ms, max {took[49]:.0f} ms")
        return took[25] < 100

    assert any(is_soon() for _ in range(10)), seen
    with capsys.disabled():
        print("\n" + seen[-1])


def cpu_of_sessions(dsn):
    """Nanoseconds that the sessions of this database have had of a processor, by process."""
    found = {}
    for (pid,) in rows(dsn, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"):
        try:
            found[pid] = int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        except OSError:
            pass  # it has ended
    return found


def statements_of(cluster):
    """That all replicas have sent so far, but for those of their leases."""
    return sum(int(re.search(r"^sagad_database_statements_total (\d+)", r.ops("/metrics").text, re.M)[1]) for r in cluster.replicas)


@pytest.mark.needs_server_control  # its processes must be ours to look at
def test_idle_cluster_costs_the_database_little(make_cluster, capsys):
    """31 statements a second, more while plans are made in the first seconds: one more of each replica, three times a second,
    is too much. SAGAD_IDLE_SECONDS=20 and -s for figures, on a machine that does nothing else. A busy one makes each
    statement dearer and their number no larger: of some windows one has to do, and it has three times the processor."""
    seconds, cluster = float(os.environ.get("SAGAD_IDLE_SECONDS", "3")), make_cluster(ttl=os.environ.get("SAGAD_IDLE_TTL", "10s"))
    seen = []

    def is_cheap():
        before, sent, began = cpu_of_sessions(cluster.dsn), statements_of(cluster), time.monotonic()
        time.sleep(seconds)
        took, sent, after = time.monotonic() - began, statements_of(cluster) - sent, cpu_of_sessions(cluster.dsn)
        used = sum(ns - before.get(pid, ns) for pid, ns in after.items()) / 1e9 / took
        seen.append(f"{sent / took:.1f} statements a second, {100 * used:.2f} % of a core in PostgreSQL")
        return len(before) >= 9 and sent / took < 38 and used < 0.025

    assert any(is_cheap() for _ in range(5)), seen
    with capsys.disabled():
        print(f"\nan idle cluster of three: {seen[-1]}")


def test_replicas_die_while_rows_are_started(make_cluster, stub, gid):
    """Not one is lost, and none that was rolled back is called."""
    cluster = make_cluster()
    name = one_step(cluster.client, stub)
    going, done = threading.Event(), []

    def shop(number):
        with psycopg.connect(cluster.dsn) as db:
            for i in range(2000):
                if going.is_set() and i % 2 == 0:
                    return
                key = f"{gid}-{number}-{i}"
                start(db, name, gid=key)
                if i % 2:
                    db.rollback()
                else:
                    db.commit()
                    done.append(key)
                time.sleep(0.01)

    shops = [threading.Thread(target=shop, args=(n,)) for n in range(2)]
    for thread in shops:
        thread.start()
    until(lambda: len(done) >= 30)
    cluster.replicas[0].kill()
    until(lambda: len(done) >= 60)
    cluster.replicas[1].kill()
    until(lambda: len(done) >= 90)
    cluster.replicas[0].start()
    going.set()
    for thread in shops:
        thread.join(30)
    until(lambda: value(cluster.dsn, "SELECT count(*) FROM sagad.transaction WHERE phase = 'confirmed'") == len(done), 30)
    assert {c.gid for c in stub.seen("/a")} == set(done)
    cluster.replicas[0].ready()


def test_a_long_transaction_elsewhere_hides_nothing(cluster, client, stub, gid):
    """Its row is older than the last look when it is seen for the first time."""
    name = one_step(client, stub)
    with psycopg.connect(cluster.dsn) as slow, psycopg.connect(cluster.dsn, autocommit=True) as quick:
        start(slow, name, gid=gid)
        for i in range(3):
            start(quick, name, gid=f"{gid}-{i}")
            client.ended(f"{gid}-{i}")
        slow.commit()
    assert client.ended(gid)["phase"] == "confirmed"


def test_its_first_call_is_the_first(db, client, stub, gid):
    """A bare 409 after a call that was never answered is no refusal; but nobody has called for this one before."""
    name = one_step(client, stub, "/busy")
    stub.on("/busy", Reply(409))
    start(db, name, gid=gid)
    ended = client.ended(gid)
    assert ended["phase"] == "cancelled" and len(stub.seen("/busy")) == 1, ended
    assert stub.seen("/busy")[0].headers["Saga-Attempt"] == "1"
