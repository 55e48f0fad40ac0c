# SPDX-License-Identifier: Apache-2.0
"""TCC: defined and open transactions, steps that join, confirm and cancel."""
import time

from lib.base import until
from lib.client import problem, step_of
from lib.stub import Reply


def tcc_steps(stub, names="ab"):
    return {n: {op: {"url": f"{stub.url}/{n}/{op}"} for op in ("try", "confirm", "cancel")} for n in names}


def test_defined_tcc_confirms(client, stub, gid):
    got = client.run(gid=gid, mode="tcc", steps=tcc_steps(stub), input={})
    assert got["phase"] == "confirmed", got
    order = [c.path for c in stub.calls]
    assert sorted(order[:2]) == ["/a/try", "/b/try"] and sorted(order[2:]) == ["/a/confirm", "/b/confirm"]


def test_defined_tcc_cancels_when_one_refuses(client, stub, gid):
    stub.on("/b/try", Reply(409, {"why": "no"}, Saga_Outcome="refused"))
    got = client.run(gid=gid, mode="tcc", steps=tcc_steps(stub), input={})
    assert got["phase"] == "cancelled", got
    assert {c.path for c in stub.calls if c.op == "cancel"} == {"/a/cancel", "/b/cancel"}
    assert not stub.seen(op="confirm")


def open_tcc(client, gid, **more):
    answer = client.begin(gid=gid, mode="tcc", deadline=more.pop("deadline", "1m"), input={}, **more)
    assert answer.status == 201 and answer.json["phase"] == "prepared", answer
    return answer


def join(client, stub, gid, name, **more):
    return client.post(f"/v1/transactions/{gid}/steps", {
        "name": name, "confirm": {"url": f"{stub.url}/{name}/confirm", "body": {"for": name}},
        "cancel": {"url": f"{stub.url}/{name}/cancel"}, **more})


def test_open_tcc_confirmed_by_its_caller(client, stub, gid):
    open_tcc(client, gid)
    assert join(client, stub, gid, "one").status == 201
    assert join(client, stub, gid, "two").status == 201
    answer = client.post(f"/v1/transactions/{gid}/confirm")
    assert answer.status in (200, 202), answer
    got = client.ended(gid)
    assert got["phase"] == "confirmed"
    assert got["created_at"] <= got["steps"][0]["joined_at"] <= got["steps"][1]["joined_at"] <= got["ended_at"]
    assert {c.path for c in stub.calls} == {"/one/confirm", "/two/confirm"}
    assert stub.seen("/one/confirm")[0].json == {"for": "one"}
    again = client.post(f"/v1/transactions/{gid}/confirm")
    assert again.status == 200, again
    problem(client.post(f"/v1/transactions/{gid}/cancel"), 409, "decided")


def test_open_tcc_cancelled_in_reverse_order_of_joining(client, stub, gid):
    open_tcc(client, gid)
    for name in ("one", "two", "three"):
        assert join(client, stub, gid, name).status == 201
    assert client.post(f"/v1/transactions/{gid}/cancel").status in (200, 202)
    got = client.ended(gid)
    assert got["phase"] == "cancelled" and got["cause"]["kind"] == "client", got
    assert [c.path for c in stub.calls] == ["/three/cancel", "/two/cancel", "/one/cancel"]
    problem(client.post(f"/v1/transactions/{gid}/confirm"), 409, "decided")


def test_joining_twice(client, stub, gid):
    open_tcc(client, gid)
    assert join(client, stub, gid, "one").status == 201
    assert join(client, stub, gid, "one").status == 200
    other = client.post(f"/v1/transactions/{gid}/steps",
                        {"name": "one", "confirm": {"url": stub.url + "/other"}, "cancel": {"url": stub.url + "/c"}})
    problem(other, 422, "idempotency_key_reused")
    client.post(f"/v1/transactions/{gid}/cancel")
    problem(join(client, stub, gid, "late"), 409, "decided")


def test_a_step_that_does_not_compile_says_where(client, gid):
    open_tcc(client, gid)
    answer = client.post(f"/v1/transactions/{gid}/steps", {"name": "x", "confirm": {"url": "gopher://x"}})
    problem(answer, 422, "definition_invalid")


def test_call_try_is_called_and_confirm_waits_for_it(client, stub, gid):
    stub.on("/one/try", Reply(200, {"n": 1}, delay=1.0))
    open_tcc(client, gid)
    answer = join(client, stub, gid, "one", call_try=True, **{"try": {"url": stub.url + "/one/try"}})
    assert answer.status == 201, answer
    problem(client.post(f"/v1/transactions/{gid}/confirm"), 409, "not_ready")
    until(lambda: step_of(client.transaction(gid), "one")["state"] == "tried")
    assert client.post(f"/v1/transactions/{gid}/confirm").status in (200, 202)
    assert client.ended(gid)["phase"] == "confirmed"
    assert [c.path for c in stub.calls] == ["/one/try", "/one/confirm"]


def test_refused_call_try_cancels(client, stub, gid):
    stub.on("/one/try", Reply(422))
    open_tcc(client, gid)
    join(client, stub, gid, "zero")
    join(client, stub, gid, "one", call_try=True, **{"try": {"url": stub.url + "/one/try"}})
    assert client.ended(gid)["phase"] == "cancelled"
    assert [c.path for c in stub.calls] == ["/one/try", "/one/cancel", "/zero/cancel"]


def test_deadline_of_an_open_tcc_cancels_it(client, stub, gid):
    open_tcc(client, gid, deadline="1s")
    join(client, stub, gid, "one")
    got = client.ended(gid, "10s")
    assert got["phase"] == "cancelled" and got["cause"]["kind"] == "deadline", got
    assert stub.seen("/one/cancel")


def test_open_tcc_needs_a_deadline(client, gid):
    answer = client.begin(gid=gid, mode="tcc", input={})
    assert answer.status in (400, 422), answer
    assert any("deadline" in e["pointer"] or "deadline" in e["detail"] for e in answer.json["errors"]), answer


def test_confirm_of_a_defined_saga_is_not_open(client, stub, gid):
    stub.on("/s", Reply(200, delay=1.5))
    client.begin(gid=gid, mode="saga", input={},
                 steps={"a": {"action": {"url": stub.url + "/s"}, "compensate": {"url": stub.url + "/u"}}})
    problem(client.post(f"/v1/transactions/{gid}/confirm"), 409, "not_open")
    problem(join(client, stub, gid, "x"), 409, "not_open")


def test_expired_hold_at_confirm_is_stuck_gone(client, stub, gid):
    stub.on("/a/confirm", Reply(410))
    client.begin(gid=gid, mode="tcc", steps=tcc_steps(stub, "a"), input={})
    got = until(lambda: (lambda t: t if t.get("stuck") else None)(client.transaction(gid)))
    assert got["stuck"]["reason"] == "gone" and got["phase"] == "confirming", got


def test_commands_on_unknown_transactions(client, gid):
    for verb in ("confirm", "cancel"):
        problem(client.post(f"/v1/transactions/{gid}/{verb}"), 404, "transaction_unknown")
    problem(client.get(f"/v1/transactions/{gid}"), 404, "transaction_unknown")


def test_confirm_whose_calls_are_made_later(client, stub, gid):
    open_tcc(client, gid)
    join(client, stub, gid, "one")
    problem(client.post(f"/v1/transactions/{gid}/confirm", {"start_at": "soon"}), 400, "invalid_request")
    began = time.monotonic()
    answer = client.post(f"/v1/transactions/{gid}/confirm", {"start_at": "700ms"})
    assert answer.status == 202 and answer.json["phase"] == "confirming" and answer.json["waiting"]["for"] == "start", answer
    problem(client.post(f"/v1/transactions/{gid}/cancel"), 409, "decided")
    assert client.ended(gid)["phase"] == "confirmed" and stub.calls[0].at - began >= 0.65


def test_a_caller_who_can_be_asked_is_asked(client, stub, gid):
    stub.on("/check", Reply(202), Reply(404))
    check = {"url": stub.url + "/check", "poll": "10ms", "outcomes": {"404": "refused"}}
    open_tcc(client, gid, deadline="200ms", check=check)
    join(client, stub, gid, "one")
    assert client.post(f"/v1/transactions/{gid}/steps", {"name": "note", "data": {"n": 1}}).status == 201
    got = client.ended(gid)
    assert got["phase"] == "cancelled" and got["cause"]["kind"] == "check", got
    assert [c.path for c in stub.calls] == ["/check", "/check", "/one/cancel"]


def test_an_ok_of_the_check_waits_for_steps_that_are_called(client, stub, gid):
    stub.on("/one/try", Reply(200, delay=0.5))
    open_tcc(client, gid, deadline="100ms", check={"url": stub.url + "/check", "poll": "50ms"})
    join(client, stub, gid, "one", call_try=True, **{"try": {"url": stub.url + "/one/try"}})
    assert client.ended(gid)["phase"] == "confirmed"
    order = [c.path for c in stub.calls]
    assert order[-1] == "/one/confirm" and order.count("/check") >= 2
