# SPDX-License-Identifier: Apache-2.0
"""Client.send() of participants/python: the sender of a message, in whose own transaction everything may go wrong."""
import psycopg
import pytest

import sagad
from lib.base import until
from sagad import Sent, wsgi


@pytest.fixture(scope="module")
def check(dsn, serve):
    shop = sagad.Participant(lambda: psycopg.connect(dsn))
    shop.check("/committed")
    return serve(wsgi.application(shop)) + "/committed"


@pytest.fixture
def send(sdk, stub, dsn, check, gid):
    def once(work=None, connect=psycopg.connect, own=gid, **more):
        def insert(db, prepared):
            db.execute("INSERT INTO effect VALUES (%s, 'order')", (prepared.gid,))
        message = {"mode": "message", "deadline": "1s", "check": {"url": check}, "steps": {"mail": {"action": {"url": stub.url + "/mail"}}}, **more}
        with connect(dsn) as db:
            try:
                return sdk.send(db, work or insert, gid=own, **message)
            finally:
                assert db.closed or db.info.transaction_status == 0
    return once


@pytest.fixture
def orders(dsn, gid):
    def count():
        with psycopg.connect(dsn) as db:
            return db.execute("SELECT count(*) FROM effect WHERE gid = %s", (gid,)).fetchone()[0]
    return count


def half(then):
    def work(db, prepared):
        db.execute("INSERT INTO effect VALUES (%s, 'half')", (prepared.gid,))
        then(db)
    return work


def raises(why):
    def then(db):
        raise why
    return half(then)


def test_a_message_is_sent_once(send, sdk, stub, orders, gid):
    first = send(wait_s=20)
    assert (first.sent, first.transaction.phase) == (Sent.DONE, "confirmed")
    assert send().sent is Sent.DONE and orders() == 1 and [call.gid for call in stub.seen("/mail")] == [gid]


def test_what_the_work_refuses_is_cancelled(send, sdk, stub, orders, gid):
    for _ in range(2):
        refused = send(raises(sagad.Refused("no such article")))
        assert refused.sent in (Sent.REFUSED, Sent.LATE) and sdk.wait(gid).phase == "cancelled"
    assert send().sent is Sent.LATE and orders() == 0 and not stub.seen("/mail")


@pytest.mark.parametrize("wrong, raised", [
    (raises(KeyError("article")), KeyError), (half(lambda db: db.rollback()), RuntimeError), (half(lambda db: db.execute("SELECT 1 / 0")), psycopg.Error),
])
def test_what_goes_wrong_is_raised_and_may_be_sent_again(send, sdk, stub, orders, gid, wrong, raised):
    with pytest.raises(raised):
        send(wrong)
    assert orders() == 0 and sdk.get(gid).phase == "prepared"
    assert send(wait_s=20).sent is Sent.DONE and orders() == 1 and sdk.get(gid).phase == "confirmed"


def test_a_deadlock_begins_again(send, orders):
    left = [type("Deadlock", (Exception,), {"sqlstate": "40P01"})] * 2

    def work(db, prepared):
        db.execute("INSERT INTO effect VALUES (%s, 'order')", (prepared.gid,))
        if left:
            raise left.pop()()
    assert send(work).sent is Sent.DONE and orders() == 1


def test_sagad_was_told_before_that_it_never_happened(send, sdk, check, orders, gid):
    with pytest.raises(KeyError):
        send(raises(KeyError()))
    assert until(lambda: sdk.get(gid).ended) and sdk.get(gid).phase == "cancelled"  # its deadline: it asked, and heard no
    assert send().sent is Sent.LATE and orders() == 0


def test_what_sagad_cannot_be_told_it_asks(send, sdk, stub, orders, gid, monkeypatch):
    def away(*_, **__):
        raise sagad.Unreachable("no answer")
    with monkeypatch.context() as patch:
        patch.setattr(sagad.Client, "confirm", away)
        assert send().sent is Sent.ASKED
    assert sdk.wait(gid).phase == "confirmed" and orders() == 1 and len(stub.seen("/mail")) == 1


@pytest.mark.parametrize("commits, breaks, wants", [
    (True, False, Sent.DONE), (True, True, Sent.UNKNOWN), (False, True, Sent.UNKNOWN),
])
def test_a_commit_that_is_not_answered(send, sdk, orders, gid, commits, breaks, wants):
    class Connection(psycopg.Connection):
        def commit(self):
            if commits:
                super().commit()
            if breaks:
                self.close()
            raise psycopg.OperationalError("lost")

        def __exit__(self, *_):
            self.close()
    assert send(connect=Connection.connect).sent is wants
    assert sdk.wait(gid).phase == ("confirmed" if commits else "cancelled") and orders() == int(commits)
    assert send().sent is (Sent.DONE if commits else Sent.LATE) and orders() == int(commits)


def test_what_is_no_message_is_not_sent(send, orders):
    with pytest.raises(ValueError, match="is no message"):
        send(mode="saga", check=None, steps={"a": {"kind": "retriable", "action": {"url": "http://127.0.0.1:1"}}})
    assert orders() == 0
