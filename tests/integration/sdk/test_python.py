# SPDX-License-Identifier: Apache-2.0
"""participants/python against PostgreSQL and real replicas."""
import functools
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid

import psycopg
import psycopg2
import psycopg.rows
import pytest

import sagad
from lib import barrier
from lib.base import ROOT, until
from lib.stub import Reply
from sagad import wsgi
from test_barrier import CASES, do_act

SECRET = "whsec_" + "c2VjcmV0IG9mIGEgdGVzdCE="


# ---- the barrier, through the drivers --------------------------------------------------------------


class ThroughPackage:
    """What test_barrier.py asks for, asked through the package."""

    def ask(self, gid, step, op, epoch, deadline):
        return sagad.Barrier(self.db).ask(sagad.Call(gid, step, op, epoch=epoch, deadline=deadline))._asdict()

    def keep(self, gid, step, op, status, body):
        return sagad.Barrier(self.db).keep_of(gid, step, op, sagad.Answer(status, body))

    def sweep(self, seconds, batch=None):
        return sagad.Barrier(self.db).sweep(seconds)


class OnPostgres(ThroughPackage, barrier.OnPostgres):
    WRONG = psycopg.errors.InvalidParameterValue, psycopg2.errors.InvalidParameterValue

    def __init__(self, db):
        self.db = db

    def time(self, from_now_s):
        return self.execute("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' + make_interval(secs => %s),"
                            " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS at", from_now_s)[0][0]

    def execute(self, sql, *arguments):
        cursor = self.db.cursor()
        cursor.execute(sql, arguments or None)
        return [tuple(row.values()) if isinstance(row, dict) else row for row in cursor.fetchall()] if cursor.description else []

    def age(self, seconds):
        self.execute("UPDATE sagad_barrier_step SET seen_at = seen_at - make_interval(secs => %s),"
                     " deadline = deadline - make_interval(secs => %s)", seconds, seconds)

    def fresh(self):
        self.execute("UPDATE sagad_barrier_mark SET swept = '-infinity'")
        self.execute("TRUNCATE sagad_barrier_step")


class OnMariadb(ThroughPackage, barrier.OnMariadb):
    def fresh(self):
        self.execute("UPDATE sagad_barrier_mark SET swept = '1970-01-01'")
        self.execute("DELETE FROM sagad_barrier_step")


@pytest.fixture(scope="module")
def maria(mariadb):
    """The name of a database whose barrier the package made."""
    name = mariadb.new_database("CREATE TABLE effect (gid varchar(128), what varchar(8));")
    with mariadb.connect(name) as db:
        sagad.Barrier(db).setup()
        sagad.Barrier(db).setup()
    return name


@pytest.fixture(params=["psycopg", "psycopg2", "pymysql"])
def connect(request, dsn):
    """Connects through that driver."""
    if request.param == "pymysql":
        server, name = request.getfixturevalue("mariadb"), request.getfixturevalue("maria")
        return lambda: OnMariadb(server.connect(name))
    if request.param == "psycopg2":
        return lambda: OnPostgres(psycopg2.connect(dsn))
    return lambda: OnPostgres(psycopg.connect(dsn, row_factory=psycopg.rows.dict_row))


def test_the_truth_table(connect):
    on = connect()
    if isinstance(on, OnPostgres):
        on.execute("SET synchronous_commit = off")
    for number, case in enumerate(CASES):
        on.fresh()
        for act in case["do"]:
            do_act(on, f"table-{number}", act)
    on.db.close()


def test_the_barrier_is_not_asked_outside_of_a_transaction(connect):
    on, call = connect(), sagad.Call("open", "s", "try")
    on.each_alone()
    with pytest.raises(Exception, match="begin a transaction first"):
        sagad.Barrier(on.db).ask(call)
    on.execute("BEGIN")
    assert sagad.Barrier(on.db).ask(call).answer == "run"  # nothing was remembered of what was refused
    on.execute("ROLLBACK")
    on.db.close()


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_transaction(connect, autocommit):
    on = connect()
    if isinstance(on, OnMariadb):
        on.db.autocommit(autocommit)
    else:
        on.db.autocommit = autocommit
    call, other = sagad.Call(f"run-{type(on.db).__module__}-{autocommit}", "s", "try"), connect()

    def insert(db, what):
        db.cursor().execute("INSERT INTO effect VALUES (%s, %s)", (call.gid, what))

    def fail(_, db):
        insert(db, "half")
        return 1 / 0

    def fail_in_sql(_, db):
        insert(db, "half")
        db.cursor().execute("INSERT INTO nowhere VALUES (1)")

    def count():
        other.db.rollback()
        return other.execute("SELECT count(*) AS n FROM effect WHERE gid = %s", call.gid)[0][0]
    assert sagad.run(on.db, call, fail).status == 503 and count() == 0
    assert sagad.run(on.db, call, fail_in_sql).status == 503 and count() == 0
    for _ in range(2):
        assert sagad.run(on.db, call, lambda _, db: insert(db, "all")).status == 204 and count() == 1

    def refuse(_, db):
        insert(db, "half")
        raise sagad.Refused("no")
    call = sagad.Call(call.gid, "t", "try")
    for _ in range(2):
        assert sagad.run(on.db, call, refuse).body == '{"error":"no"}' and count() == 1
    on.db.close()
    other.db.close()


def grants_of_the_guide():
    on_postgres, on_mariadb = (ROOT / "docs/barrier.md").read_text().split("## Rights on PostgreSQL")[1].split("## MariaDB and MySQL")
    return [re.findall(r"^    (GRANT .*);$", part, re.M) for part in (on_postgres, on_mariadb)]


@pytest.mark.parametrize("driver", [psycopg.connect, psycopg2.connect])
def test_a_role_that_may_use_the_barrier_need_not_make_it(postgres, driver):
    made = postgres.new_database()
    with psycopg.connect(made, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS service; CREATE ROLE service LOGIN")
        db = driver(psycopg.conninfo.make_conninfo(made, user="service"))
        with pytest.raises(sagad.CannotSetUp, match="permission denied.*run sql/barrier/postgresql.sql as a role that may make it"):
            sagad.Barrier(db).setup()
        sagad.Barrier(admin).setup()
        for grant in grants_of_the_guide()[0]:
            admin.execute(grant)
        sagad.Barrier(db).setup()
        assert db.info.transaction_status == 0
        assert sagad.run(db, sagad.Call("g", "s", "try"), lambda call, used: None).status == 204
        admin.execute("CREATE OR REPLACE FUNCTION sagad_barrier_version() RETURNS text LANGUAGE sql AS $$ SELECT 'older' $$")
        with pytest.raises(sagad.CannotSetUp, match="another version of it is there"):
            sagad.Barrier(db).setup()
        sagad.Barrier(admin).setup()
        sagad.Barrier(db).setup()
        db.close()
        admin.execute("DROP OWNED BY service; DROP ROLE service")
    postgres.drop_database(made)


def test_a_user_of_mariadb_who_may_use_the_barrier_need_not_make_it(mariadb):
    name = mariadb.new_database("")
    with mariadb.connect(name) as admin:
        admin.cursor().execute("CREATE OR REPLACE USER service@localhost")
        for grant in grants_of_the_guide()[1]:
            if "EXECUTE" in grant:
                admin.cursor().execute(grant.replace("shop.", f"{name}."))
        with mariadb.connect(name, user="service") as db, pytest.raises(sagad.CannotSetUp, match="denied.*sql/barrier/mariadb.sql"):
            sagad.Barrier(db).setup()
        sagad.Barrier(admin).setup()
        for grant in grants_of_the_guide()[1]:
            admin.cursor().execute(grant.replace("shop.", f"{name}."))
        with mariadb.connect(name, user="service") as db:
            sagad.Barrier(db).setup()
            assert sagad.run(db, sagad.Call("g", "s", "try"), lambda call, used: None).status == 204


LATER = "2126-11-23T10:40:54.123Z"


def test_messages(connect):
    on, other = connect(), connect()
    barrier, name = sagad.Barrier(on.db), type(on.db).__module__
    ask = functools.partial(sagad.run, other.db, work=None)
    done, never = (sagad.Call(f"{kind}-{name}", "check", "check", deadline=LATER) for kind in ("done", "never"))
    assert [barrier.message(done.gid, LATER) for _ in range(2)] == [True, False]
    on.db.commit()
    assert [ask(call=done).status, ask(call=never).status, ask(call=never).status, ask(call=done).status] == [200, 422, 422, 200]
    with pytest.raises(sagad.TooLate):
        barrier.message(never.gid, LATER)
    on.db.rollback()
    assert barrier.message(done.gid, LATER) is False
    on.db.commit()
    if isinstance(on, OnPostgres):  # the functions in SQL mean the same
        assert on.execute("SELECT sagad_message(%s, %s)", done.gid, LATER) == [(False,)]
        assert on.execute("SELECT status FROM sagad_message_check(%s, %s)", never.gid, LATER) == [(422,)]
    on.db.close()
    other.db.close()


def test_a_message_from_end_to_end(sdk, dsn, serve, stub, gid):
    shop = sagad.Participant(lambda: psycopg.connect(dsn))
    shop.check("/committed")
    url = serve(wsgi.application(shop))
    document = {"mode": "message", "deadline": "1500ms", "check": {"url": url + "/committed"}, "steps": {"mail": {"action": {"url": stub.url + "/mail"}}}}
    wanted = {gid: "confirmed", gid + "-lost": "cancelled"}
    for own, phase in wanted.items():
        prepared = sdk.start(gid=own, **document)
        assert prepared.phase == "prepared"
        with psycopg.connect(dsn) as db:
            assert sagad.Barrier(db).message(own, prepared.data["deadline_at"])
            if phase == "cancelled":
                db.rollback()
    assert {own: sdk.wait(own).phase for own in wanted} == wanted
    assert [call.gid for call in stub.seen("/mail")] == [gid]


def test_a_failed_statement_may_still_be_refused(dsn):
    """PostgreSQL takes nothing more from a transaction in which a statement failed, but the way back to the savepoint."""
    def work(call, db):
        db.execute("INSERT INTO effect VALUES (%s, 'half')", (call.gid,))
        try:
            db.execute("INSERT INTO nowhere VALUES (1)")
        except psycopg.Error as why:
            raise sagad.Refused("no such table") from why
    with psycopg.connect(dsn) as db:
        call = sagad.Call("fails-and-refuses", "s", "try")
        assert [sagad.run(db, call, work).status for _ in range(2)] == [422, 422]
        assert db.execute("SELECT count(*) FROM effect WHERE gid = %s", (call.gid,)).fetchone() == (0,)


def test_two_at_once_do_it_once(dsn):
    began, go = threading.Event(), threading.Event()

    def work(call, db):
        began.set()
        assert go.wait(30)
        db.execute("INSERT INTO effect VALUES (%s, 'once')", (call.gid,))
        return {"n": 1}
    answers = []

    def call_it():
        with psycopg.connect(dsn) as db:
            answers.append(sagad.run(db, sagad.Call("at-once", "s", "try"), work))
    first, second = (threading.Thread(target=call_it) for _ in range(2))
    first.start()
    assert began.wait(30)
    second.start()
    with psycopg.connect(dsn, autocommit=True) as watcher:
        until(lambda: watcher.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                                      " AND datname = current_database()").fetchone()[0])
    go.set()
    first.join(30)
    second.join(30)
    assert [a.body for a in answers] == ['{"n":1}'] * 2
    with psycopg.connect(dsn) as db:
        assert db.execute("SELECT what FROM effect WHERE gid = 'at-once'").fetchall() == [("once",)]


# ---- a service, called by sagad ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bank(dsn, serve):
    """A service on the package; its accounts."""
    with psycopg.connect(dsn) as db:
        db.execute("CREATE TABLE account (name text PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0), held int NOT NULL DEFAULT 0)")
        db.execute("INSERT INTO account VALUES ('ada', 1000), ('bob', 0)")
    service = sagad.Participant(lambda: psycopg.connect(dsn))

    def move(db, sql, **values):
        if db.execute(sql, values).rowcount == 0:
            raise sagad.Refused(f"{values['account']} has not enough")

    @service.on("/{account}/withdraw")
    def withdraw(call, db):
        move(db, "UPDATE account SET balance = balance - %(n)s WHERE name = %(account)s AND balance >= %(n)s", n=call.json()["n"], **call.params)
        return {"left": db.execute("SELECT balance FROM account WHERE name = %s", (call.params["account"],)).fetchone()[0]}

    @service.on("/{account}/withdraw", "cancel")
    def undo(call, db):
        move(db, "UPDATE account SET balance = balance + %(n)s WHERE name = %(account)s", n=call.json()["n"], **call.params)

    @service.on("/{account}/hold")
    def hold(call, db):
        move(db, "UPDATE account SET balance = balance - %(n)s, held = held + %(n)s WHERE name = %(account)s AND balance >= %(n)s",
             n=call.json()["n"], **call.params)
        return {"held": call.json()["n"], "step": call.step}

    @service.on("/{account}/hold", "confirm")
    def take(call, db):
        move(db, "UPDATE account SET held = held - %(n)s WHERE name = %(account)s", n=call.json()["n"], **call.params)

    @service.on("/{account}/hold", "cancel")
    def let_go(call, db):
        move(db, "UPDATE account SET balance = balance + %(n)s, held = held - %(n)s WHERE name = %(account)s", n=call.json()["n"], **call.params)

    service.on("/undo", "cancel")(lambda call, db: None)

    @service.on("/slow")
    def slow(call, db):
        db.execute("INSERT INTO effect VALUES (%s, %s)", (call.gid, call.callback))
        return sagad.ongoing(retry_after_s=3600)
    service.url = serve(wsgi.application(service))
    service.balance = lambda name: psycopg.connect(dsn).execute("SELECT balance, held FROM account WHERE name = %s", (name,)).fetchone()
    return service


def call_of(bank, account, what, n):
    return {"url": f"{bank.url}/{account}/{what}", "body": {"n": n}}


def both(bank, n, m):
    return {"ada": {"action": call_of(bank, "ada", "withdraw", n), "compensate": call_of(bank, "ada", "withdraw", n)},
            "bob": {"after": ["ada"], "action": call_of(bank, "bob", "withdraw", m), "compensate": call_of(bank, "bob", "withdraw", m)}}


def test_a_saga_succeeds_and_another_is_undone(sdk, bank, gid):
    before = bank.balance("ada")[0]
    done = sdk.start(gid=gid, steps=both(bank, 30, 0), input={}, labels={"test": gid}, wait_s=20)
    assert done.succeeded and done.ended and not done.replayed, done
    assert done.step("ada")["output"] == {"left": before - 30}
    again = sdk.start(gid=gid, steps=both(bank, 30, 0), input={}, labels={"test": gid}, wait_s=20)
    assert again.replayed and again.data["version"] == done.data["version"]
    failed = sdk.start(gid=gid + "-poor", steps=both(bank, 30, 5), wait_s=20)
    assert failed.phase == "cancelled" and not failed.succeeded and failed.cause["step"] == "bob", failed
    assert "bob has not enough" in failed.step("bob")["last_error"]["detail"]
    assert bank.balance("ada") == (before - 30, 0)


def test_problems_come_as_exceptions(sdk, bank, gid):
    sdk.start(gid=gid, steps=both(bank, 1, 0), wait_s=20)
    with pytest.raises(sagad.Problem) as why:
        sdk.start(gid=gid, steps=both(bank, 2, 0))
    assert (why.value.status, why.value.code, why.value.gid, why.value.retryable) == (422, "idempotency_key_reused", gid, False)
    with pytest.raises(sagad.Problem) as why:
        sdk.define("broken", {"steps": {"a": {"after": ["b"], "action": {"url": "http://x"}}}})
    assert why.value.code == "definition_invalid" and why.value.errors[0].pointer == "/steps/a/after/0"
    with pytest.raises(sagad.Problem) as why:
        sdk.get("nobody:knows/this")
    assert why.value.code == "transaction_unknown"


def test_definitions_waits_and_cancels(sdk, bank, stub, gid):
    stub.on("/hold", Reply(202, Retry_After=3600))
    name = "sdk-" + re.sub("[^a-z]", "-", gid.lower())
    document = {"steps": {"a": {"action": {"url": stub.url + "/hold"}, "compensate": {"url": stub.url + "/undo"}}}}
    assert sdk.define(name, document) == sdk.define(name, document) == 1
    begun = sdk.start(name, {"n": 1}, gid=gid, wait_s=0.05)
    assert not begun.ended and begun.phase == "trying" and begun.result is None
    assert sdk.wait(gid, 0.05).ended is False
    with pytest.raises(sagad.Problem) as why:
        sdk.confirm(gid)
    assert why.value.code == "not_open"
    assert sdk.cancel(gid, "the customer changed her mind", wait_s=20).phase == "cancelled"
    assert sdk.get(gid).cause["kind"] == "client"


def test_work_that_goes_on_is_reported(sdk, bank, dsn, gid):
    steps = {"slow": {"action": {"url": bank.url + "/slow"}, "compensate": {"url": bank.url + "/undo"}}}

    def callback_of(own):
        with psycopg.connect(dsn) as db:
            row = db.execute("SELECT what FROM effect WHERE gid = %s", (own,)).fetchone()
        return row and row[0]
    sdk.start(gid=gid, steps=steps)
    callback = until(lambda: callback_of(gid))
    with psycopg.connect(dsn) as db:
        sagad.Barrier(db).finish(gid, "slow", "try", sagad.ok({"n": 1}))
    sagad.complete(callback, {"n": 1})
    sagad.complete(callback, {"n": 1})
    assert sdk.wait(gid).step("slow")["output"] == {"n": 1}
    sdk.start(gid=gid + "-fails", steps=steps)
    sagad.fail(until(lambda: callback_of(gid + "-fails")), "the passport has expired")
    assert sdk.wait(gid + "-fails").phase == "cancelled"
    with pytest.raises(sagad.Problem) as why:
        sagad.complete(callback.replace("sig=", "sig=0"), {})
    assert why.value.code == "callback_forbidden"


def test_signed_calls(make_cluster, dsn, serve, tmp_path, gid):
    (tmp_path / "bank").write_text(SECRET)
    service = sagad.Participant(lambda: psycopg.connect(dsn), secrets=["the next one", SECRET])
    service.on("/act")(lambda call, db: {"gid": call.gid})
    url = serve(wsgi.application(service))
    client = sagad.Client(make_cluster(count=1, flags=[f"--secrets-dir={tmp_path}"]).replicas[0].url)
    steps = {"a": {"action": {"participant": "bank", "path": "/act"}, "compensate": {"url": url + "/act"}}}
    assert client._ask("PUT", "/v1/participants/bank", {"base_url": url, "secret": "bank"}).status in (200, 201)
    assert client.start(gid=gid, steps=steps, wait_s=20).step("a")["output"] == {"gid": gid}
    steps["a"]["action"] = {"url": url + "/act"}
    stuck = client.start(gid=gid + "-unsigned", steps=steps)
    until(lambda: "401" in str(client.get(stuck.gid).step("a")["last_error"]))


# ---- TCC as a block ---------------------------------------------------------------------------------------


def test_a_block_that_ends_well_confirms(sdk, bank, gid):
    before, held = bank.balance("ada")
    with sdk.tcc("1m", gid=gid, secrets=[SECRET], input={"why": "a test"}) as tcc:
        url = f"{bank.url}/ada/hold"
        assert tcc.call("own", url, {"n": 7}, confirm=url, cancel=url) == {"held": 7, "step": "own"}
        target = {"url": url}
        tcc.join("theirs", data={"n": 3}, try_=target, confirm=target, cancel=target)
        assert bank.balance("ada")[1] >= held + 7
    assert tcc.transaction.succeeded and tcc.transaction.phase == "confirmed"
    assert bank.balance("ada") == (before - 10, held)


def test_a_block_that_an_exception_leaves_cancels(sdk, bank, gid):
    before = bank.balance("ada")
    url, poor = f"{bank.url}/ada/hold", f"{bank.url}/bob/hold"
    with pytest.raises(sagad.Refused, match="bob has not enough"):
        with sdk.tcc(gid=gid) as tcc:
            tcc.call("ada", url, {"n": 7}, confirm=url, cancel=url)
            tcc.call("bob", poor, {"n": 7}, confirm=poor, cancel=poor)
    assert tcc.transaction.phase == "cancelled" and bank.balance("ada") == before
    with pytest.raises(KeyError):
        with sdk.tcc(gid=gid + "-2") as tcc:
            tcc.call("ada", url, {"n": 7}, confirm=url, cancel=url)
            raise KeyError("something else")
    assert sdk.get(gid + "-2").phase == "cancelled" and bank.balance("ada") == before


def test_a_block_that_goes_on_after_a_failure_cancels(sdk, bank, gid):
    """Its step is registered, and nothing was tried that a confirm could make true."""
    before, url, poor = bank.balance("ada"), f"{bank.url}/ada/hold", f"{bank.url}/bob/hold"
    with pytest.raises(sagad.NotConfirmed, match=f"^{gid} is cancelled: a step of it has failed: Refused: bob has not enough$") as why:
        with sdk.tcc(gid=gid) as tcc:
            with pytest.raises(sagad.Refused):
                tcc.call("bob", poor, {"n": 7}, confirm=poor, cancel=poor)
            tcc.call("ada", url, {"n": 7}, confirm=url, cancel=url)
            with pytest.raises(sagad.Problem):
                tcc.join("no name", data={}, confirm=url, cancel=url)
    assert isinstance(why.value.__cause__, sagad.Refused), "the first failure"
    assert why.value.transaction.cause["kind"] == "client" and bank.balance("ada") == before
    with pytest.raises(sagad.NotConfirmed, match="gave no outcome"):
        with sdk.tcc(gid=gid + "-2") as tcc:
            with pytest.raises(sagad.Unreachable):
                tcc.call("gone", f"http://127.0.0.1:{closed_port()}/", confirm=url, cancel=url, timeout_s=0)
    assert tcc.transaction.phase in ("cancelling", "cancelled")
    with pytest.raises(sagad.NotConfirmed, match="a step of it has failed: Problem: "):
        with sdk.tcc(gid=gid + "-3") as tcc:
            with pytest.raises(sagad.Problem):
                tcc.join("no name", data={}, confirm=url, cancel=url)
    assert sdk.get(gid + "-3").phase == "cancelled"


def test_a_block_that_goes_on_is_left_to_its_deadline_if_nobody_hears_the_cancel(stub):
    stub.on("/v1/transactions", Reply(201, {"gid": "g", "phase": "prepared"}))
    stub.on("/v1/transactions/g/steps", Reply(422, {"code": "invalid_definition"}))
    stub.on("/v1/transactions/g/cancel", Reply(500))
    with pytest.raises(sagad.NotConfirmed, match="^g is prepared: a step of it has failed: Problem: invalid_definition"):
        with sagad.Client(stub.url).tcc(gid="g") as tcc:
            with pytest.raises(sagad.Problem):
                tcc.join("a")
    assert not stub.seen("/v1/transactions/g/confirm")
    assert stub.seen("/v1/transactions/g/cancel")[0].json["reason"].startswith("a step of it has failed: Problem: ")


def test_a_block_whose_transaction_was_cancelled_is_not_confirmed(sdk, bank, gid):
    before, poor = bank.balance("ada"), {"url": f"{bank.url}/bob/hold"}
    with pytest.raises(sagad.NotConfirmed) as why:
        with sdk.tcc(gid=gid) as tcc:
            tcc.join("bob", data={"n": 7}, try_=poor, confirm=poor, cancel=poor)
            until(lambda: sdk.get(gid).phase != "prepared")
    assert why.value.transaction.cause["kind"] == "refused" and bank.balance("ada") == before


def test_a_try_is_called_until_it_is_clear(sdk, stub, gid):
    stub.on("/try", Reply(503), Reply(202), Reply(409), Reply(200, {"ok": 1}))
    with sdk.tcc(gid=gid) as tcc:
        assert tcc.call("a", stub.url + "/try", {"x": "${input}"}, confirm=stub.url + "/c", cancel=stub.url + "/u") == {"ok": 1}
    calls = stub.seen("/try")
    assert [c.headers["Saga-Attempt"] for c in calls] == ["1", "2", "3", "4"]
    assert {c.headers["Idempotency-Key"] for c in calls} == {f'"{gid}:a:try"'}
    assert sagad.Call.parse(dict(calls[0].headers)).deadline_at is not None
    assert stub.seen("/c")[0].json == {"x": "${input}"}
    stub.on("/wrong", Reply(404))
    with pytest.raises(sagad.Problem):
        with sdk.tcc(gid=gid + "-2") as tcc:
            tcc.call("a", stub.url + "/wrong", confirm=stub.url + "/c", cancel=stub.url + "/u")
    stub.on("/silent", Reply(503))
    with pytest.raises(sagad.Unreachable):
        with sdk.tcc(gid=gid + "-3") as tcc:
            tcc.call("a", stub.url + "/silent", confirm=stub.url + "/c", cancel=stub.url + "/u", timeout_s=0.3)
    assert tcc.transaction.phase == "cancelled" and stub.seen("/u", gid=gid + "-3")


# ---- a client and replicas that do not answer ---------------------------------------------------------------


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_another_replica_is_asked(cluster, gid):
    client = sagad.Client([f"http://127.0.0.1:{closed_port()}", cluster.replicas[0].url])
    for number in range(6):
        assert client.start(gid=f"{gid}-{number}", mode="tcc", deadline="1m").phase == "prepared"


def test_what_may_pass_is_asked_again(stub):
    client = sagad.Client(stub.url, timeout_s=20)
    stub.on("/v1/transactions/g", Reply(503, {"code": "not_live", "retryable": True}), Reply(429, "busy"), Reply(502, b"<html>"),
            Reply(200, {"gid": "g", "phase": "trying"}))
    assert client.get("g").phase == "trying" and len(stub.calls) == 4
    stub.on("/v1/transactions/h", Reply(503, {"code": "unavailable", "retryable": True}))
    with pytest.raises(sagad.Problem) as why:
        sagad.Client(stub.url, timeout_s=1).get("h")
    assert why.value.code == "unavailable" and len(stub.seen("/v1/transactions/h")) > 1
    with pytest.raises(sagad.Unreachable):
        sagad.Client(f"http://127.0.0.1:{closed_port()}", timeout_s=0.2).get("h")
    with pytest.raises(ValueError):
        sagad.Client("localhost:7070")


def test_a_block_waits_for_tries_of_sagad(stub):
    stub.on("/v1/transactions", Reply(201, {"gid": "g", "phase": "prepared"}))
    stub.on("/v1/transactions/g/confirm", Reply(409, {"code": "not_ready"}), Reply(200, {"gid": "g", "phase": "confirmed"}))
    with sagad.Client(stub.url).tcc(gid="g") as tcc:
        pass
    assert tcc.transaction.phase == "confirmed" and len(stub.seen("/v1/transactions/g/confirm")) == 2


def test_who_hangs_is_not_waited_for(stub, monkeypatch):
    monkeypatch.setattr("sagad.transport.ATTEMPT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        stub.on("/v1/transactions/g", Reply(200, {"gid": "g", "phase": "trying"}))
        client = sagad.Client([f"http://127.0.0.1:{silent.getsockname()[1]}", stub.url])
        assert [client.get("g").phase for _ in range(4)] == ["trying"] * 4
        with pytest.raises(sagad.Unreachable) as why:
            sagad.Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.3).start("trip", gid="mine")
        assert why.value.gid == "mine"
    stub.on("/v1/transactions", Reply(302, b"", Location="/login"))
    with pytest.raises(sagad.Problem) as why:
        sagad.Client(stub.url).start("trip", gid="mine")
    assert (why.value.status, why.value.gid) == (302, "mine")


def test_a_start_that_is_sent_twice_has_one_gid(stub):
    stub.on("/v1/transactions", Reply(503), lambda call: Reply(201, {"gid": call.json["gid"], "phase": "trying"}))
    begun = sagad.Client(stub.url).start("trip")
    assert [call.json["gid"] for call in stub.calls] == [begun.gid] * 2
    made = uuid.UUID(begun.gid)
    assert made.version == 7 and made.variant == uuid.RFC_4122 and abs((made.int >> 80) / 1000 - time.time()) < 60


# ---- packed -----------------------------------------------------------------------------------------------------


def test_it_installs_with_its_types_and_its_barrier(tmp_path):
    """As `pip install ./participants/python`, and nothing is fetched for it."""
    shutil.rmtree(ROOT / "participants/python/build", ignore_errors=True)  # pip leaves it, and would take old files from it
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps",
                           "--target", tmp_path, ROOT / "participants/python"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sagad/py.typed").exists()
    for script in (ROOT / "sql/barrier").glob("*.sql"):
        assert (tmp_path / "sagad/sql" / script.name).read_text() == script.read_text()
    script = "import sagad, sqlite3; db = sqlite3.connect(':memory:'); sagad.Barrier(db).setup(); print(sagad.__file__)"
    done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(tmp_path)}, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().startswith(str(tmp_path)), done
    the_few_lines_of_the_page_run(tmp_path)


def the_few_lines_of_the_page_run(installed):
    block = re.search(r"^```python\n(.*?)^```$", (ROOT / "participants/python/README.md").read_text(), re.M | re.S).group(1)
    port = closed_port()
    assert "8080" in block
    (installed / "stock.py").write_text(block.replace("8080", str(port)))
    running = subprocess.Popen([sys.executable, "stock.py"], cwd=installed, stderr=subprocess.DEVNULL)

    def call(gid):
        headers = {"Saga-Id": gid, "Saga-Step": "take", "Saga-Op": "try"}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/pieces", b"{}", headers), timeout=10) as answer:
                return answer.read()
        except urllib.error.URLError:
            return None
    try:
        assert until(lambda: call("g-1")) == call("g-1") == b'{"taken":1}' and call("g-2") == b'{"taken":2}'
    finally:
        running.kill()
        running.wait()


def test_the_pages_of_the_package_are_python():
    for block in re.findall(r"^```python\n(.*?)^```$", (ROOT / "participants/python/README.md").read_text(), re.M | re.S):
        compile(block, "README.md", "exec")


def test_the_templates_of_the_page_become_what_it_says():
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "participants/python/README.md").read_text(), re.M | re.S)
    block, = [text for text in blocks if "templates.fill" in text]
    exec(block, {})  # pylint: disable=exec-used


def test_the_service_of_the_page_works(dsn, cluster, sdk, serve, gid, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "participants/python/README.md").read_text(), re.M | re.S)
    block = next(text for text in blocks if 'sagad.Participant(lambda: psycopg' in text)
    made = psycopg.connect
    monkeypatch.setattr(psycopg, "connect", lambda text, **more: made(dsn))
    world = {}
    with made(dsn) as db:
        db.execute("CREATE TABLE IF NOT EXISTS account (name text PRIMARY KEY, balance int, held int)")
        db.execute("INSERT INTO account VALUES ('carl', 10, 0)")
    exec(block, world)  # pylint: disable=exec-used
    assert json.loads(json.dumps(world["bank"].secrets))  # it asks for signatures; sagad here knows no secret
    world["bank"].secrets = ()
    url = serve(world["application"])
    order = {"account": "carl", "amount": 7}
    steps = {"out": {"action": {"url": url + "/withdrawals"}, "compensate": {"url": url + "/withdrawals/undo"}}}
    assert sdk.start(gid=gid, steps=steps, input=order, wait_s=20).step("out")["output"] == {"withdrawn": 7}
    poor = sdk.start(gid=gid + "-2", steps=steps, input=order, wait_s=20)
    assert poor.phase == "cancelled" and "not enough money" in str(poor.data)
    with made(dsn) as db:
        assert db.execute("SELECT balance FROM account WHERE name = 'carl'").fetchone() == (3,)
