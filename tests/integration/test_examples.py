# SPDX-License-Identifier: Apache-2.0
"""The example services: the barrier holds, and the definitions of examples/ run."""
import json
import subprocess

import pytest

from lib.base import BIN, ROOT, free_port, until
from lib.client import Client
from lib.postgres import rows, value


@pytest.fixture
def services(database):
    made, clients = [], {}
    for name in ("hotel", "payment", "stock"):
        at = f"127.0.0.1:{free_port()}"
        made.append(subprocess.Popen([BIN / "examples" / name, f"--listen={at}", f"--dsn={database}"]))
        clients[name] = Client(lambda at=at: [at])

    def ready(c):
        try:
            return c.get("/livez").status == 200
        except OSError:
            return False

    for c in clients.values():
        until(lambda c=c: ready(c))
    yield clients
    for process in made:
        process.terminate()
        assert process.wait(10) == 0


def op(client, path, gid, body=None, step="s"):
    name = {"confirm": "confirm", "cancel": "cancel", "refund": "cancel"}.get(path.split("/")[-1], "try")
    return client.post(path, body, headers={"Saga-Id": gid, "Saga-Step": step, "Saga-Op": name})


def test_the_same_op_twice_has_one_effect(services, database):
    pay = services["payment"]
    first = op(pay, "/charges", "g", {"amount": 5})
    again = op(pay, "/charges", "g", {"amount": 5})
    assert first.status == again.status == 201 and first.json == again.json
    for _ in range(2):
        assert op(pay, "/charges/refund", "g").status == 200
    assert rows(database, "SELECT op, quantity FROM payment.ledger ORDER BY line") == [("try", -5), ("cancel", 5)]


def test_a_cancel_without_its_try_is_remembered(services, database):
    pay = services["payment"]
    assert op(pay, "/holds/cancel", "g").status == 200
    late = op(pay, "/holds", "g", {"amount": 5})
    assert late.status == 422 and late.headers["Saga-Outcome"] == "refused"
    assert value(database, "SELECT count(*) FROM payment.ledger") == 0


def test_refusals_and_expired_holds(services, database):
    pay = services["payment"]
    assert op(pay, "/charges", "poor", {"account": "bob", "amount": 500}).status == 422
    assert op(pay, "/charges/refund", "poor").status == 200
    assert op(pay, "/holds/confirm", "nothing-held").status == 410
    assert op(services["hotel"], "/reservations", "g", {"hotel": "cabin", "nights": 4}).status == 422
    assert value(database, "SELECT count(*) FROM payment.ledger") == 0


def test_confirm_spends_what_was_held(services, database):
    stock = services["stock"]
    assert op(stock, "/pieces/reserve", "g", {"article": "vase", "pieces": 1}).status == 201
    assert op(stock, "/pieces/reserve", "h", {"article": "vase", "pieces": 1}).status == 422, "it is held"
    for _ in range(2):
        assert op(stock, "/pieces/confirm", "g").status == 200
    assert rows(database, "SELECT quantity, held FROM stock.item WHERE name = 'vase'") == [(0, 0)]


def test_bad_requests(services):
    pay = services["payment"]
    assert pay.post("/charges", {"amount": 5}).status == 400
    for body in (b"{", b"[]", {"amount": -1}, {"amount": 1.5}, {}, {"amount": 1, "account": 7}):
        assert op(pay, "/charges", "g", body).status == 400
    assert pay.get("/nowhere").status == 404
    assert op(pay, "/charges", "g", b"x" * 200_000).status == 413


def test_the_definitions_run(make_cluster, services):
    client = make_cluster(count=1).client
    for name, service in services.items():
        at = service.addresses()[0]
        assert client.put(f"/v1/participants/{name}", {"base_url": f"http://{at}"}).status in (200, 201)
    for path in (ROOT / "examples/definitions").glob("*.json"):
        answer = client.put(f"/v1/definitions/{path.stem}", json.loads(path.read_text()))
        assert answer.status == 201, answer
    trip = {"hotel": "grand", "nights": 2, "account": "ada", "amount": 120}
    got = client.run(definition="book-trip", input=trip)
    assert got["phase"] == "confirmed" and got["output"]["charged"] == 120, got
    got = client.run(definition="book-trip", input={**trip, "account": "bob", "amount": 500})
    assert got["phase"] == "cancelled", got
    order = {"article": "lamp", "pieces": 1, "account": "ada", "amount": 5}
    assert client.run(definition="order", input=order)["phase"] == "confirmed"
    assert client.run(definition="order", input={**order, "article": "vase", "pieces": 9})["phase"] == "cancelled"
