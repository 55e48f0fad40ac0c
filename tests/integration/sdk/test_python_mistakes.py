# SPDX-License-Identifier: Apache-2.0
"""Services of participants/python whose authors make mistakes, called by real replicas: what comes of it, and what people are told."""
import threading

import psycopg
import pytest

import sagad
from lib.base import until
from sagad import wsgi

RETRY = {"initial": "20ms", "max": "50ms", "jitter": "none"}


@pytest.fixture
def effects(dsn, gid):
    def told(what=None):
        with psycopg.connect(dsn) as db:
            return [row[0] for row in db.execute("SELECT what FROM effect WHERE gid = %s ORDER BY what", (gid,))]
    return told


@pytest.fixture
def service(dsn):
    return sagad.Participant(lambda: psycopg.connect(dsn))


def book(call, db):
    db.execute("INSERT INTO effect VALUES (%s, 'book')", (call.gid,))


@pytest.fixture
def start(service, serve, sdk, gid):
    def begin(**more):
        url = serve(wsgi.application(service))
        action = {"url": url + "/rooms", **more.pop("call", {})}
        steps = {"a": {"action": action, "compensate": {"url": url + "/rooms"}, "retry": RETRY}}
        return sdk.start(gid=gid, steps=steps, input={}, **more)
    return begin


WRONG = {"raises": lambda: 1 / 0, "NaN": lambda: float("nan"), "bytes": lambda: b"bytes", "5 MB": lambda: "x" * (5 << 20), "a name twice": lambda: {1: 1, "1": 2}}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_fails_is_called_again_until_it_is_mended(service, start, sdk, gid, effects, wrong):
    mended = threading.Event()

    @service.on("/rooms")
    def work(call, db):
        book(call, db)
        return {"attempt": call.attempt} if mended.is_set() else wrong()
    start()
    failed = until(lambda: sdk.get(gid).step("a")["last_error"])
    assert failed["status"] == 503 and "it failed here; call again" in failed["detail"] and effects() == []
    mended.set()
    done = sdk.wait(gid, 20)
    assert done.succeeded and done.step("a")["output"]["attempt"] > 1 and effects() == ["book"]


def test_an_answer_that_comes_too_late_is_heard_the_next_time(service, start, sdk, gid, effects):
    calls = []

    @service.on("/rooms")
    def work(call, db):
        calls.append(call.attempt)
        book(call, db)
        until(lambda: sdk.get(gid).step("a")["attempts"] > 1)  # sagad has given up the first call, and made another one
        return {"attempt": call.attempt}
    start(call={"timeout": "200ms"})
    done = sdk.wait(gid, 20)
    assert done.succeeded and done.step("a")["output"] == {"attempt": 1} and calls == [1] and effects() == ["book"]


def test_a_try_that_outlives_its_transaction_is_undone(service, start, sdk, gid, effects):
    @service.on("/rooms")
    def work(call, db):
        book(call, db)
        until(lambda: sdk.get(gid).phase == "cancelling")  # its deadline has passed; the cancel waits for this

    @service.on("/rooms", "cancel")
    def cancel(call, db):
        db.execute("INSERT INTO effect VALUES (%s, 'cancel')", (call.gid,))
    start(deadline="1s", call={"timeout": "200ms"})
    done = sdk.wait(gid, 20)
    assert done.phase == "cancelled" and done.cause["kind"] == "deadline" and effects() == ["book", "cancel"]


@pytest.mark.parametrize("path, more, status, why", [
    ("/roms", {}, 400, "there is nothing at this path"), ("/rooms", {"method": "GET"}, 405, "a try is not called with GET"),
    ("/rooms", {"body_text": "{"}, 400, "the body is no JSON"), ("/rooms", {"body": "x" * 200000}, 413, "the body has more than 100000 bytes"),
])
def test_what_is_wrong_in_the_definition_is_told_in_words(service, serve, sdk, gid, effects, path, more, status, why):
    @service.on("/rooms")
    def work(call, db):
        call.json()
        book(call, db)
    url = serve(wsgi.application(service, body_max=100000))
    sdk.start(gid=gid, steps={"a": {"action": {"url": url + path, **more}, "compensate": {"nothing": True}, "retry": RETRY}}, input={})
    failed = until(lambda: sdk.get(gid).step("a")["last_error"])
    assert failed["status"] == status and why in failed["detail"] and effects() == []
    sdk.cancel(gid)
