# SPDX-License-Identifier: Apache-2.0
"""Functions inside the barrier: what is committed, what is rolled back, what is answered."""
import asyncio
import contextlib
import io
import json
import sqlite3
import ssl
import time
from decimal import Decimal

import pytest
from conftest import headers

import sagad
from sagad import asgi, wsgi


def effect(db, what):
    db.execute("INSERT INTO effect VALUES (?)", (what,))


def serve(service, path="/rooms", op="try", body=b"", **more):
    status, sent, content = service.serve(path, headers(op, **more), body)
    return status, content.decode(), sent


@pytest.fixture
def hotel(service):
    @service.on("/rooms")
    def book(call, db):
        effect(db, f"book {call.json()}")
        return {"room": 7, "price": "1.10"}

    @service.on("/rooms", "cancel")
    def cancel(call, db):
        effect(db, "cancel")
    return service


def test_the_work_is_done_once_and_its_answer_replayed(hotel, effects):
    first = serve(hotel, body=b"2")
    assert first == (200, '{"room":7,"price":"1.10"}', {"Content-Type": "application/json"})
    assert serve(hotel, body=b"3") == first
    assert serve(hotel, op="cancel")[:2] == (204, "")
    assert serve(hotel, op="cancel")[:2] == (204, "")
    assert effects() == ["book 2", "cancel"]


def test_a_cancel_that_overtakes_its_try(hotel, effects):
    assert serve(hotel, op="cancel")[:2] == (200, "{}")
    status, _, sent = serve(hotel)
    assert status == 422 and sent["Saga-Outcome"] == "refused"
    assert effects() == []


def test_what_fails_is_rolled_back_and_may_come_again(service, effects, db):
    fails = [True]

    @service.on("/rooms")
    def book(call, used):
        effect(used, "book")
        if fails.pop() if fails else False:
            raise KeyError("the work fails")
    assert serve(service)[0] == 503 and effects() == []
    assert serve(service)[0] == 204 and effects() == ["book"]
    assert not db.in_transaction


@pytest.mark.parametrize("raises", [False, True])
def test_a_refusal_is_kept_and_its_work_undone(service, effects, raises):
    asked = []

    @service.on("/rooms")
    def book(call, db):
        asked.append(call.gid)
        effect(db, "half a booking")
        if raises:
            raise sagad.Refused("sold out")
        return sagad.refused("sold out")
    for _ in range(2):
        status, body, sent = serve(service)
        assert (status, json.loads(body), sent["Saga-Outcome"]) == (422, {"error": "sold out"}, "refused")
    assert effects() == [] and asked == ["g-1"]
    service.on("/rooms", "cancel")(lambda call, db: effect(db, "cancel"))
    assert serve(service, op="cancel")[:2] == (200, "{}") and effects() == []


def test_what_settles_nothing_is_not_kept(service, effects):
    @service.on("/rooms")
    def book(call, db):
        effect(db, "book")
        return sagad.Answer(429, "{}", {"Retry-After": "3"})
    for _ in range(2):
        status, _, sent = serve(service)
        assert status == 429 and sent["Retry-After"] == "3"
    assert effects() == []


def test_a_confirm_cannot_be_refused(service, effects):
    service.on("/rooms")(lambda call, db: None)

    @service.on("/rooms", "confirm")
    def confirm(call, db):
        effect(db, "confirm")
        raise sagad.Refused("no")
    serve(service)
    assert serve(service, op="confirm")[0] == 500 and effects() == []


def test_work_that_goes_on_ends_in_a_transaction_of_its_own(service, effects, db):
    service.on("/rooms")(lambda call, used: sagad.ongoing({"at": 1}, retry_after_s=9))
    service.on("/rooms", "cancel")(lambda call, used: None)
    status, body, sent = serve(service)
    assert (status, body, sent["Retry-After"]) == (202, '{"at":1}', "9")
    assert serve(service)[:2] == (202, '{"at":1}')
    effect(db, "the rest")
    sagad.Barrier(db).finish("g-1", "room", "try", sagad.ok({"room": 8}, 201))
    db.commit()
    assert serve(service)[:2] == (201, '{"room":8}') and effects() == ["the rest"]
    assert serve(service, gid="g-2")[0] == 202 and serve(service, op="cancel", gid="g-2")[0] == 204
    with pytest.raises(sagad.Cancelled):
        sagad.Barrier(db).finish("g-2", "room", "try", sagad.ok())


@pytest.mark.parametrize("isolation", [None, "", "IMMEDIATE"])
def test_connections_that_commit_on_their_own(tmp_path, isolation):
    db = sqlite3.connect(tmp_path / "service.db", isolation_level=isolation)
    sagad.Barrier(db).setup()
    db.execute("CREATE TABLE effect (what TEXT)")
    db.commit()
    call = sagad.Call("g", "s", "try")

    def work(_, used):
        effect(used, "done")
        raise ValueError("no")
    assert sagad.run(db, call, work).status == 503
    assert db.execute("SELECT count(*) FROM effect").fetchone() == (0,)
    assert sagad.run(db, call, lambda _, used: effect(used, "done")).status == 204
    with sqlite3.connect(tmp_path / "service.db") as other:
        assert other.execute("SELECT count(*) FROM effect").fetchone() == (1,)
    db.close()


def test_of_two_that_met_one_begins_again(service, effects):
    meets = [type("Deadlock", (Exception,), {"sqlstate": "40P01"}), type("Serialization", (Exception,), {"pgcode": "40001"})]

    @service.on("/rooms")
    def book(call, db):
        effect(db, "book")
        if meets:
            raise meets.pop()()
    assert serve(service)[0] == 204 and effects() == ["book"]


def test_a_commit_that_fails_is_not_answered_as_a_success(db):
    class Broken:
        isolation_level, in_transaction = "", False

        def cursor(self):
            return db.cursor()

        def rollback(self):
            db.rollback()

        def commit(self):
            raise sqlite3.OperationalError("disk I/O error")
    assert sagad.run(Broken(), sagad.Call("g", "s", "try"), lambda call, used: None, "sqlite").status == 503
    assert sagad.run(db, sagad.Call("g", "s", "cancel"), lambda call, used: None).body == "{}"


def test_a_back_check_has_no_barrier(service):
    orders = []

    @service.on("/orders/{id}/committed", "check")
    def committed(call, db):
        if call.params["id"] not in orders:
            raise sagad.Refused("no such order")
    assert serve(service, "/orders/7/committed", "check")[0] == 422
    orders.append("7")
    assert serve(service, "/orders/7/committed", "check")[0] == 204


LATER = "2126-11-23T10:40:54.123Z"


def test_a_message_whose_transaction_was_committed(service, effects, db):
    service.check("/orders/{id}/committed")
    barrier = sagad.Barrier(db)
    for first in (True, False):
        if barrier.message("g-1", LATER):
            effect(db, "order")
        db.commit()
        for _ in range(2):
            assert serve(service, "/orders/1/committed", "check", **{"Saga-Deadline": LATER})[:2] == (200, "{}"), first
    assert effects() == ["order"]


def test_a_message_that_was_checked_before_its_transaction_came(service, effects, db):
    service.check("/committed")
    barrier = sagad.Barrier(db)
    assert barrier.message("g-1", LATER) is True
    db.rollback()
    for _ in range(2):
        assert serve(service, "/committed", "check", **{"Saga-Deadline": LATER})[0] == 422
        with pytest.raises(sagad.TooLate):
            barrier.message("g-1", LATER)
        db.rollback()
    with pytest.raises(ValueError):
        service.check("/committed")
    assert sagad.run(db, sagad.Call("g-9", "s", "try"), None).status == 503


def test_paths(hotel):
    seen = []
    hotel.on("/a.b/{hotel}/rooms/{id}")(lambda call, db: seen.append(dict(call.params)))
    assert serve(hotel, "/a.b/grand/rooms/x%2Fy", gid="p")[0] == 204
    assert seen == [{"hotel": "grand", "id": "x%2Fy"}]
    for path in ("/axb/grand/rooms/1", "/a.b/grand/rooms/1/2", "/rooms/", "/"):
        assert serve(hotel, path, gid="q")[0] == 400  # 404 may be mapped to ok
    assert serve(hotel, op="confirm")[0] == 400
    with pytest.raises(ValueError):
        hotel.on("/rooms")
    with pytest.raises(ValueError):
        hotel.on("/rooms", "undo")
    with pytest.raises(ValueError):
        sagad.Participant(lambda: None, secrets=["whsec_*"])


async def awaited(call, db):
    pass


def test_what_nobody_would_await_is_not_taken(service):
    for register in (service.on("/a"), service.prepared("/b", confirm="/c", cancel="/d")):
        with pytest.raises(TypeError, match="async"):
            register(awaited)


@pytest.mark.parametrize("answer", [{"a": float("nan")}, float("inf"), sagad.Answer(200, "NaN"), sagad.Answer(200, "{")])
def test_what_is_no_json_is_not_kept(service, effects, caplog, answer):
    answers = [answer, {"a": 1}]

    @service.on("/rooms")
    def book(call, db):
        effect(db, "book")
        return answers.pop(0)
    assert serve(service)[0] == 503 and effects() == []
    assert "is no JSON" in caplog.text
    assert serve(service)[:2] == (200, '{"a":1}') and effects() == ["book"]


def test_what_cannot_be_read_is_a_mistake_of_the_caller(hotel, effects):
    for body in (b"{", b"\xff", b"[" * 100000):
        assert serve(hotel, body=body)[0] == 400
    assert serve(hotel, **{"Saga-Deadline": "9999-12-31T23:59:59-10:00"})[0] == 400
    assert effects() == [] and serve(hotel, body=b"2")[0] == 200


def test_whom_to_trust_is_told_to_reports(monkeypatch):
    seen = []
    monkeypatch.setattr(sagad.transport.Transport, "send", lambda self, *_, **__: seen.append(self._context))
    context = ssl.create_default_context()
    sagad.complete("https://sagad/complete?x=1", context=context)
    sagad.fail("https://sagad/complete?x=1", "why", context=context)
    assert seen == [context, context]


def test_a_try_called_from_here_is_called_as_the_client_calls(monkeypatch):
    trusts, own, sent = ssl.create_default_context(), ssl.create_default_context(), []

    def to_sagad(self, method, path, *_, **__):
        phase = b"confirmed" if path.partition("?")[0].endswith("/confirm") else b"prepared"
        return sagad.transport.Reply(200, {}, b'{"gid": "g", "phase": "%s", "output": 1.10}' % phase)

    def to_service(self, method, path, body, headers, timeout_s):
        sent.append((self._context, body, headers))
        assert timeout_s <= 3
        return sagad.transport.Reply(503 if "later" in headers else 200, {}, b"1.10")
    monkeypatch.setattr(sagad.transport.Transport, "send", to_sagad)
    monkeypatch.setattr(sagad.transport.Transport, "send_once", to_service)
    client = sagad.Client("https://sagad", token="for sagad alone", timeout_s=3, context=trusts, decimals=True)
    at = {"confirm": "https://s/c", "cancel": "https://s/u"}
    with pytest.raises(sagad.NotConfirmed, match="within 0.2 s"):
        with client.tcc(traceparent="00-1-2-01") as tcc:
            assert tcc.call("a", "https://s/t", {"price": Decimal("1.10")}, **at) == Decimal("1.10")
            tcc.call("b", "https://s/t", context=own, headers={"X-Shop": "7", "Saga-Op": "cancel"}, **at)
            with pytest.raises(sagad.Unreachable, match="within 0.2 s"):
                tcc.call("c", "https://s/t", timeout_s=0.2, headers={"later": "1"}, **at)
    assert [context for context, _, _ in sent[:2]] == [trusts, own] and sent[0][1] == b'{"price":1.10}'
    assert all(headers["traceparent"] == "00-1-2-01" and headers["Saga-Op"] == "try" for _, _, headers in sent)
    assert sent[1][2]["X-Shop"] == "7" and "for sagad alone" not in str(sent)
    assert client.get("g").output == Decimal("1.10")


def test_no_connection_is_no_answer(hotel, db):
    def connect():
        raise sqlite3.OperationalError("no")
    service = sagad.Participant(connect)
    service.on("/rooms")(lambda call, used: None)
    assert serve(service)[0] == 503

    def broken(used):
        raise sqlite3.OperationalError("it cannot be closed")
    service = sagad.Participant(lambda: db, release=broken)
    service.on("/rooms")(lambda call, used: None)
    assert serve(service)[0] == 204


def test_without_a_deadline_the_acceptance_says_how_old_a_call_is(hotel, db):
    sagad.Barrier(db).sweep(86400)
    db.commit()
    old = {"Saga-Accepted": "2021-11-23T08:40:54.123Z"}
    assert serve(hotel, gid="old", **old)[0] == 400
    assert serve(hotel, gid="old", **old, **{"Saga-Deadline": "2126-11-23T10:40:54.123+02:00"}, body=b"1")[0] == 200


def test_a_connection_of_a_module_that_nobody_knows():
    with pytest.raises(ValueError, match="dialect"):
        sagad.Barrier(object())


# ---- adapters ------------------------------------------------------------------------------------


def over_wsgi(app, path, sent, body, method="POST"):
    got = {}
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path.encode().decode("latin-1"), "CONTENT_LENGTH": str(len(body)),
               "CONTENT_TYPE": "application/json", "wsgi.input": io.BytesIO(body + b"the next request"),
               **{f"HTTP_{name.upper().replace('-', '_')}": text for name, text in sent.items()}}
    content = b"".join(app(environ, lambda status, had: got.update(status=status, headers=dict(had))))
    return int(got["status"].split()[0]), got["headers"], content


def over_asgi(app, path, sent, body, root="", method="POST"):
    parts = [body[:3], body[3:]]
    got = {"body": b""}

    async def receive():
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message):
        if message["type"] == "http.response.start":
            got.update(status=message["status"], headers={n.decode().title(): t.decode() for n, t in message["headers"]})
        else:
            got["body"] += message["body"]
    pairs = sent.items() if isinstance(sent, dict) else sent
    scope = {"type": "http", "method": method, "path": path, "root_path": root, "headers": [(n.lower().encode(), t.encode()) for n, t in pairs]}
    asyncio.run(app(scope, receive, send))
    return got["status"], got["headers"], got["body"]


@pytest.mark.parametrize("adapter, over", [(wsgi, over_wsgi), (asgi, over_asgi)])
def test_adapters(hotel, effects, adapter, over):
    app = adapter.application(hotel, body_max=100)
    status, sent, body = over(app, "/rooms", headers(), b'{"nights": 2}')
    assert (status, body) == (200, b'{"room":7,"price":"1.10"}')
    assert sent == {"Content-Type": "application/json", "Content-Length": str(len(body))}
    status, sent, body = over(app, "/rooms", headers("cancel"), b"")
    assert (status, sent, body) == (204, {}, b"")
    assert over(app, "/rooms", headers(gid="big"), b"x" * 101)[0] == 413
    assert over(app, "/rooms", {}, b"")[0] == 400
    assert effects() == ["book {'nights': 2}", "cancel"]
    hotel.on("/zoë/{name}")(lambda call, db: call.params["name"])
    assert over(app, "/zoë/ärger", headers(gid="z"), b"")[2] == '"ärger"'.encode()


@pytest.mark.parametrize("op, method, status", [
    ("try", "PUT", 200), ("try", "GET", 405), ("try", "HEAD", 405), ("try", "post", 405), ("cancel", "GET", 405), ("cancel", "DELETE", 200),
])
def test_methods(hotel, effects, op, method, status):
    for adapter, over in ((wsgi, over_wsgi), (asgi, over_asgi)):
        got, sent, body = over(adapter.application(hotel), "/rooms", headers(op, gid=adapter.__name__), b"1", method=method)
        assert got == status and (got == 200) == ("Allow" not in sent)
        assert got == 200 or (sent["Allow"], json.loads(body)) == ("POST, PUT, PATCH, DELETE", {"error": f"a {op} is not called with {method}"})
    assert status == 200 or effects() == []


def test_headers_that_stand_there_twice(hotel, effects):
    app = asgi.application(hotel)
    for name in ("saga-id", "Saga-Callback", "idempotency-key"):
        got, _, body = over_asgi(app, "/rooms", [*headers().items(), ("Saga-Callback", "http://a"), ("Idempotency-Key", "1"), (name, "x")], b"1")
        assert got == 400 and json.loads(body) == {"error": f"{name.title()} stands there twice"}
    assert over_asgi(app, "/rooms", [*headers().items(), ("Via", "a"), ("via", "b"), ("Saga-Weather", "a"), ("Saga-Weather", "b")], b"1")[0] == 200
    # What stands in front of a WSGI application has joined them.
    over = {"g-1,g-1": ("Saga-Id", 400), "try,try": ("Saga-Op", 400), "http://a,http://b": ("Saga-Callback", 400), "2,2": ("Saga-Epoch", 400)}
    for text, (name, status) in over.items():
        sent = {**headers(), "Idempotency-Key": '"g-1:room:try"', name: text}
        assert over_wsgi(wsgi.application(hotel), "/rooms", sent, b"1")[0] == status, name
    assert effects() == ["book 1"]
    sent = headers(gid="a,b", **{"Idempotency-Key": '"a,b:room:try"'})
    assert over_wsgi(wsgi.application(hotel), "/rooms", sent, b"1")[0] == 200


def test_a_body_that_breaks_off_is_no_call(hotel, effects):
    sent = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers().items()}
    environ = {"PATH_INFO": "/rooms", "CONTENT_LENGTH": "3", "wsgi.input": io.BytesIO(b"12"), **sent}
    with pytest.raises(ConnectionError):
        wsgi.application(hotel)(environ, lambda *_: None)
    assert effects() == []


def test_a_204_has_no_body(service):
    service.on("/rooms")(lambda call, db: sagad.Answer(204, "{}"))
    assert serve(service)[:2] == serve(service)[:2] == (204, "")


def test_asgi_below_a_prefix_and_with_a_lifespan(hotel):
    app = asgi.application(hotel)
    assert over_asgi(app, "/saga/rooms", headers(), b"1", root="/saga")[0] == 200
    told = []

    async def send(message):
        told.append(message["type"])
    came = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive():
        return came.pop(0)
    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    @contextlib.asynccontextmanager
    async def running():
        told.append("open")
        yield
        raise OSError("it cannot be closed")
    came, told = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}], []
    with pytest.raises(OSError):
        asyncio.run(asgi.application(hotel, lifespan=running)({"type": "lifespan"}, receive, send))
    assert told == ["open", "lifespan.startup.complete", "lifespan.shutdown.failed"]
    came, told = [{"type": "lifespan.startup"}], []
    with pytest.raises(ZeroDivisionError):
        asyncio.run(asgi.application(hotel, lifespan=lambda: 1 / 0)({"type": "lifespan"}, receive, send))
    assert told == ["lifespan.startup.failed"]


def test_a_signed_call_of_another_op_is_not_let_in(db):
    service = sagad.Participant(lambda: db, release=lambda used: None, secrets=["old", "new"])
    service.on("/rooms")(lambda call, used: None)
    service.on("/rooms", "cancel")(lambda call, used: None)
    now = int(time.time())
    own = sagad.webhook.message_id("g-1", "room", "try")
    signed = {"webhook-id": own, "webhook-timestamp": str(now), "webhook-signature": sagad.sign("new", own, now, b"{}")}
    assert service.serve("/rooms", {**headers(), **signed}, b"{}")[0] == 204
    assert service.serve("/rooms", {**headers("cancel"), **signed}, b"{}")[0] == 401
    assert service.serve("/rooms", {**headers(gid="g-2"), **signed}, b"{}")[0] == 401
    assert service.serve("/rooms", headers(), b"{}")[0] == 401
