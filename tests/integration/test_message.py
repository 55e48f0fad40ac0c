# SPDX-License-Identifier: Apache-2.0
"""Two-phase messages of a service that has a database of its own: the barrier answers for a commit that never happened."""
import contextlib
import threading

import psycopg
import pytest

from lib.base import ROOT, until
from lib.client import problem
from lib.postgres import value
from lib.stub import Reply


class Shop:
    """Its orders are in a database that the coordinator does not know."""

    def __init__(self, dsn, stub):
        self.dsn, self.stub, self.checks = dsn, stub, []
        with psycopg.connect(dsn) as db:
            db.execute((ROOT / "sql/barrier/postgresql.sql").read_text())
            db.execute("CREATE TABLE orders (id text PRIMARY KEY)")
        stub.on("/check", self.answer_check)

    def answer_check(self, call):
        with psycopg.connect(self.dsn) as db:
            status, body = db.execute("SELECT status, body FROM sagad_message_check(%s, %s)",
                                      (call.gid, call.headers["Saga-Deadline"])).fetchone()
        self.checks.append((call.gid, status))
        return Reply(status, body)

    @contextlib.contextmanager
    def order(self, gid, deadline):
        """Takes the order and leaves the transaction open for the test; it commits behind the block."""
        with psycopg.connect(self.dsn) as db:
            if db.execute("SELECT sagad_message(%s, %s)", (gid, deadline)).fetchone()[0]:
                db.execute("INSERT INTO orders VALUES (%s)", (gid,))
            yield db

    def has(self, gid):
        return value(self.dsn, "SELECT count(*) FROM orders WHERE id = %s", gid) == 1



@pytest.fixture
def shop(postgres, stub):
    dsn = postgres.new_database()
    yield Shop(dsn, stub)
    postgres.drop_database(dsn)


def prepare(client, stub, gid, deadline="1m"):
    """Its deadline, as the coordinator says it."""
    answer = client.begin(gid=gid, mode="message", deadline=deadline, input={"order": gid},
                          check={"url": stub.url + "/check", "timeout": "300ms", "retry": {"initial": "50ms", "max": "100ms"}},
                          steps={"mail": {"action": {"url": stub.url + "/mail"}}})
    assert answer.status == 201 and answer.json["phase"] == "prepared", answer
    return answer.json["deadline_at"]


def test_sender_commits_and_confirms(shop, client, stub, gid):
    with shop.order(gid, prepare(client, stub, gid)):
        assert not stub.seen("/mail")
    assert client.post(f"/v1/transactions/{gid}/confirm").status in (200, 202)
    assert client.ended(gid)["phase"] == "confirmed" and len(stub.seen("/mail")) == 1 and shop.checks == []


def test_sender_dies_after_its_commit(shop, client, stub, gid):
    with shop.order(gid, prepare(client, stub, gid, "300ms")):
        pass
    assert client.ended(gid)["phase"] == "confirmed"
    assert shop.checks == [(gid, 200)] and len(stub.seen("/mail")) == 1


def test_sender_dies_before_its_commit(shop, client, stub, gid):
    deadline = prepare(client, stub, gid, "300ms")
    with shop.order(gid, deadline) as db:
        db.rollback()
    assert client.ended(gid)["phase"] == "cancelled"
    assert shop.checks == [(gid, 422)] and not stub.seen("/mail") and not shop.has(gid)


def test_check_that_comes_first_makes_the_commit_fail(shop, client, stub, gid):
    deadline = prepare(client, stub, gid, "300ms")
    assert client.ended(gid)["phase"] == "cancelled"
    with pytest.raises(psycopg.Error) as raised:
        with shop.order(gid, deadline):
            pass
    assert raised.value.sqlstate == "SG410"
    assert not shop.has(gid) and not stub.seen("/mail")
    problem(client.post(f"/v1/transactions/{gid}/confirm"), 409, "decided")


@pytest.mark.parametrize("commits", [True, False])
def test_check_waits_for_a_commit_that_is_under_way(shop, client, stub, gid, commits):
    """Its own time-out is no answer: it asks again until it sees how that ended."""
    with shop.order(gid, prepare(client, stub, gid, "300ms")) as db:
        until(lambda: len(stub.seen("/check")) >= 2)
        assert shop.checks == [] and client.transaction(gid)["phase"] == "prepared"
        if not commits:
            db.rollback()
    assert client.ended(gid)["phase"] == ("confirmed" if commits else "cancelled")
    assert set(shop.checks) == {(gid, 200 if commits else 422)}
    assert shop.has(gid) == commits and len(stub.seen("/mail")) == int(commits)


def test_sender_that_does_it_again_does_it_once(shop, client, stub, gid):
    """Its commit was lost on the way: it runs the whole transaction again."""
    deadline = prepare(client, stub, gid)
    with shop.order(gid, deadline):
        pass
    with psycopg.connect(shop.dsn) as db:
        assert db.execute("SELECT sagad_message(%s, %s)", (gid, deadline)).fetchone() == (False,)
        for _ in range(2):
            assert db.execute("SELECT status FROM sagad_message_check(%s, %s)", (gid, deadline)).fetchone() == (200,)
        assert db.execute("SELECT sagad_message(%s, %s)", (gid, deadline)).fetchone() == (False,), "a check undoes nothing"
    client.post(f"/v1/transactions/{gid}/cancel")


def test_commits_and_checks_that_race(shop, client, stub, gid):
    """Whatever comes first, both tell the same: there is an order exactly if the mail goes out."""
    names = [f"{gid}-{i}" for i in range(20)]
    deadlines = {name: prepare(client, stub, name, "400ms") for name in names}
    timers = []

    def commit(name):
        with contextlib.suppress(psycopg.Error), shop.order(name, deadlines[name]):
            pass

    for i, name in enumerate(names):
        timers.append(threading.Timer(0.25 + 0.02 * i, commit, (name,)))
        timers[-1].start()
    for timer in timers:
        timer.join()
    for name in names:
        ended = client.ended(name)
        assert (ended["phase"] == "confirmed") == shop.has(name) == (len(stub.seen("/mail", gid=name)) == 1), ended


def test_what_is_swept_is_never_denied(shop, gid):
    """Long after, nobody can tell any more: the check stops at a person, and the commit fails."""
    with psycopg.connect(shop.dsn, autocommit=True) as db:
        old = db.execute("SELECT clock_timestamp() - interval '2 hours'").fetchone()[0]
        assert db.execute("SELECT sagad_message(%s, %s)", (gid, old)).fetchone() == (True,)
        db.execute("UPDATE sagad_barrier_step SET seen_at = %s", (old,))
        assert db.execute("SELECT sagad_barrier_sweep('1 hour')").fetchone() == (1,)
        assert db.execute("SELECT status FROM sagad_message_check(%s, %s)", (gid, old)).fetchone() == (400,)
        with pytest.raises(psycopg.Error) as raised:
            db.execute("SELECT sagad_message(%s, %s)", (gid, old))
        assert raised.value.sqlstate == "SG410"
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            db.execute("SELECT sagad_message(%s, NULL)", (gid,))
