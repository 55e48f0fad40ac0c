# SPDX-License-Identifier: Apache-2.0
"""What authors of services do wrong: nothing is half done, nothing is kept that sagad cannot read, and the log says why."""
import decimal
import json
import sqlite3
import time
from decimal import Decimal

import pytest
from conftest import headers

import sagad
import sagad.aio
import sagad.webhook
from sagad.run import remedy


def serve(service, op="try", body=b"", method="POST", path="/rooms", **more):
    status, sent, content = service.serve(path, headers(op, **more), body, method)
    return status, content.decode(), sent


def gives_back(service, *answers):
    """Each call gets the next one, after an effect."""
    left = list(answers)

    @service.on("/rooms")
    def book(call, db):
        db.execute("INSERT INTO effect VALUES ('book')")
        answer = left.pop(0)
        return answer() if callable(answer) else answer


def circle():
    made = {}
    made["it"] = made
    return made


@pytest.mark.parametrize("wrong, why", [
    (b"bytes", "bytes has no form in JSON"), ({1, 2}, "set has no form in JSON"), (object(), "object has no form"),
    (Decimal("NaN"), "is no JSON"), ({"a": Decimal("-Infinity")}, "is no JSON"), ("half \ud800", "no half characters"), (circle(), "Circular"),
    (lambda: sagad.Answer(200, b"{}"), "text of JSON, not bytes"), (lambda: sagad.Answer("200"), "no status"), (lambda: sagad.Answer(42), "no status"),
    (sagad.Answer(200, '{"a":1,"a":2}'), "is no JSON"), (sagad.Answer(200, '{"a":{"\\u0000":1}}'), "is no JSON"), (sagad.Answer(200, '["\\ud800"]'), "is no JSON"), ({1: "a", "1": "b"}, "is no JSON"),
    ("x" * (1 << 20), "sagad reads 1048576 at most"), (lambda: sagad.refused("no", 400), "400 is no refusal"), (lambda: 1 / 0, "ZeroDivisionError"),
], ids=lambda text: text.replace(" ", "-") if isinstance(text, str) and len(text) < 50 else "")
def test_what_cannot_be_answered_is_rolled_back_and_told(service, effects, caplog, wrong, why):
    gives_back(service, wrong, {"a": 1})
    assert serve(service)[0] == 503 and effects() == []
    assert why in caplog.text and "try of step room of g-1 is rolled back" in caplog.text
    assert serve(service)[:2] == (200, '{"a":1}') and effects() == ["book"]


@pytest.mark.parametrize("right, text", [
    ({"price": Decimal("1.10")}, '{"price":1.10}'), ([Decimal("100000000000000000.10"), Decimal("-0"), Decimal("1E+3")], "[100000000000000000.10,-0,1E+3]"),
    (Decimal("0E-7"), "0E-7"), ("1.10", '"1.10"'), ("\\u0000", '"\\\\u0000"'), (0, "0"), (False, "false"), ("", '""'), ([], "[]"),
])
def test_what_is_answered_as_it_is(service, right, text):
    gives_back(service, right)
    assert serve(service)[:2] == serve(service)[:2] == (200, text)


def test_decimals_come_and_go_with_all_their_digits(db):
    service, seen = sagad.Participant(lambda: db, release=lambda used: None, decimals=True), []

    @service.on("/rooms")
    def book(call, used):
        seen.append(call.json()["price"])
        return {"price": call.json()["price"] * 3, "n": call.json()["n"]}
    body = b'{"price": 33333333333333333.10, "n": 7}'
    assert serve(service, body=body)[:2] == (200, '{"price":99999999999999999.30,"n":7}')
    assert seen == [Decimal("33333333333333333.10")] and isinstance(seen[0], decimal.Decimal)
    assert isinstance(sagad.Call("g", "s", "try", body=body).json()["price"], float)
    assert isinstance(sagad.Call("g", "s", "try", body=body).json(parse_float=str)["price"], str)
    for text in (b"NaN", b'{"a": -Infinity}'):
        with pytest.raises(sagad.NotACall):
            sagad.Call("g", "s", "try", body=text).json()


@pytest.mark.parametrize("op", ["try", "cancel"])
@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_function_that_ends_its_transaction_is_told_so(service, caplog, op, ends):
    service.on("/rooms")(lambda call, db: {"room": 7})
    if op == "cancel":
        assert serve(service)[0] == 200
        service.on("/rooms", "cancel")(lambda call, db: getattr(db, ends)())
    else:
        service.on("/other")(lambda call, db: getattr(db, ends)())
    assert serve(service, op, path="/other" if op == "try" else "/rooms")[0] == 503
    assert "it may neither commit nor roll back" in caplog.text


def test_who_stops_the_thread_leaves_no_transaction_behind(service, effects, db):
    class Stop(BaseException):
        pass

    @service.on("/rooms")
    def book(call, used):
        used.execute("INSERT INTO effect VALUES ('half')")
        raise Stop
    with pytest.raises(Stop):
        serve(service)
    assert not db.in_transaction and effects() == []


@pytest.mark.parametrize("why", ["sold \ud800 out", "", KeyError("room"), {"code": 7}, "x" * 1000])
def test_whatever_a_reason_is_it_is_a_refusal(service, effects, why):
    @service.on("/rooms")
    def book(call, db):
        db.execute("INSERT INTO effect VALUES ('half')")
        raise sagad.Refused(why)
    for _ in range(2):
        status, body, sent = serve(service)
        assert (status, sent["Saga-Outcome"], effects()) == (422, "refused", [])
        assert isinstance(json.loads(body)["error"], str)


@pytest.mark.parametrize("told, sent", [(1.2, "2"), (-3, "0"), (0, "0"), (7, "7")])
def test_when_to_ask_again_is_in_whole_seconds(told, sent):
    assert sagad.ongoing(retry_after_s=told).headers()["Retry-After"] == sent


def test_what_is_registered_wrongly_is_said_at_once(service):
    def yields(call, db):
        yield 1
    with pytest.raises(TypeError, match="yield"):
        service.on("/a")(yields)
    for path in ("rooms", "", None, yields):
        with pytest.raises(ValueError, match="begins with a slash"):
            service.on(path)
    service.on("/a")(lambda call, db: None)  # what was refused has taken no place


def test_a_service_without_its_barrier_says_so(caplog):
    bare = sqlite3.connect(":memory:")
    service = sagad.Participant(lambda: bare, release=lambda used: None)
    service.on("/rooms")(lambda call, db: None)
    assert serve(service)[0] == 503 and "the barrier is not in this database; call setup()" in caplog.text
    bare.close()


@pytest.mark.parametrize("text, said", [
    ("permission denied for table sagad_barrier_step", "docs/barrier.md lists what to grant"),
    ("function sagad_barrier(text, text) does not exist", "call setup()"), ("PROCEDURE shop.sagad_barrier does not exist", "call setup()"),
    ("INSERT command denied to user 'a'@'b' for table `shop`.`sagad_barrier_step`", "what to grant"),
    ("permission denied for table effect", ""), ("sagad_barrier: the epoch is no number", ""),
])
def test_what_to_do_about_a_barrier_that_cannot_be_used(text, said):
    told = remedy(RuntimeError(text))
    assert said in told and bool(said) == bool(told)


def test_the_body_need_not_be_json(service):
    service.on("/rooms")(lambda call, db: len(call.body))
    assert serve(service, body=b"\xff\x00\xfe")[:2] == (200, "3")


# ---- what it is made with ---------------------------------------------------------------------


@pytest.mark.parametrize("secrets, why", [
    ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secrets is a list of texts.* not one str"), (b"key", "not one bytes"), ("", "not one str"),
    ([b"key"], "a secret is text, not bytes"), ([None], "a secret is text, not NoneType"),
])
def test_one_secret_is_not_taken_for_a_list_of_letters(secrets, why):
    body, now = b"{}", int(time.time())
    signed = {"webhook-id": "m", "webhook-timestamp": str(now), "webhook-signature": sagad.webhook.sign("e", "m", now, body)}
    for taken in (lambda: sagad.Participant(lambda: None, secrets=secrets), lambda: sagad.aio.Participant(lambda: None, secrets=secrets),
                  lambda: sagad.webhook.verify(signed, body, secrets), lambda: sagad.Client("http://127.0.0.1:1").tcc(secrets=secrets)):
        with pytest.raises(TypeError, match=why):
            taken()


def test_an_empty_secret_is_said_at_once():
    for secrets in ([""], ["whsec_"], ["good", "whsec_!"]):
        with pytest.raises(ValueError, match="a secret is empty|no base64"):
            sagad.Participant(lambda: None, secrets=secrets)


def test_a_path_is_no_connection():
    for kind in (sagad.Participant, sagad.aio.Participant):
        for wrong in ("bank.db", None):
            with pytest.raises(TypeError, match="connect is a function that gives a connection"):
                kind(wrong)


@pytest.mark.parametrize("isolation", [None, ""])
def test_the_barrier_is_not_asked_outside_of_a_transaction(db, isolation):
    db.isolation_level = isolation
    barrier, call = sagad.Barrier(db), sagad.Call("g-open", "s", "try")
    if isolation is None:
        for ask in (lambda: barrier.ask(call), lambda: barrier.message("g-open", "2030-01-01T00:00:00Z")):
            with pytest.raises(RuntimeError, match="begin a transaction first"):
                ask()
        db.execute("BEGIN")
    assert barrier.ask(call).answer == "run"  # nothing was remembered of what was refused
    db.rollback()
    assert db.execute("SELECT count(*) FROM sagad_barrier_step").fetchone() == (0,)
