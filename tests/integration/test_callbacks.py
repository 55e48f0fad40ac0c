# SPDX-License-Identifier: Apache-2.0
"""A participant answers 202 and reports back; messages with a back-check; the pivot in doubt."""
import time
import urllib.parse

from lib.base import until
from lib.client import problem, step_of
from lib.stub import Reply


def one_step(stub, timeout="3s", **more):
    return {"a": {"action": {"url": stub.url + "/a", "timeout": timeout}, "compensate": {"url": stub.url + "/undo"}, **more}}


def callback_of(stub, path="/a"):
    """Path and query of the URL the participant was given."""
    url = until(lambda: stub.seen(path))[0].headers["Saga-Callback"]
    parts = urllib.parse.urlsplit(url)
    return parts.path, parts.query


def begin_ongoing(client, stub, gid):
    stub.on("/a", Reply(202, Retry_After=60))
    assert client.begin(gid=gid, mode="saga", steps=one_step(stub, poll="60s"), input={}).status == 201
    return callback_of(stub)


def test_complete_on_any_replica(client, cluster, stub, gid):
    path, query = begin_ongoing(client, stub, gid)
    for r in cluster.replicas:  # the first applies, the others find it done
        answer = client.post(f"{path}?{query}", {"id": 5}, at=r.at)
        assert answer.status == 200, answer
    got = client.ended(gid)
    assert got["phase"] == "confirmed" and step_of(got, "a")["output"] == {"id": 5}, got


def test_fail_decides_cancel(client, stub, gid):
    path, query = begin_ongoing(client, stub, gid)
    answer = client.post(f"{path.removesuffix('complete')}fail?{query}", {"error": "no rooms"})
    assert answer.status == 200, answer
    got = client.ended(gid)
    assert got["phase"] == "cancelled", got
    problem(client.post(f"{path}?{query}", {}), 409, "decided")


def test_a_forged_callback_is_forbidden(client, stub, gid):
    path, query = begin_ongoing(client, stub, gid)
    q = dict(urllib.parse.parse_qsl(query))
    forged = {**q, "sig": "0" * len(q["sig"])}
    for bad in (urllib.parse.urlencode(forged), "op=try", f"op=cancel&sig={q['sig']}"):
        problem(client.post(f"{path}?{bad}", {}), 403, "callback_forbidden")
    assert client.transaction(gid)["phase"] == "trying"
    client.post(f"{path}?{query}", {})
    assert client.ended(gid)["phase"] == "confirmed"


def test_callback_before_the_answer_counts(client, stub, gid):
    """Valid from the moment of sending: the answer to the call itself comes later."""
    stub.on("/a", Reply(202, delay=1.5))
    client.begin(gid=gid, mode="saga", steps=one_step(stub, timeout="10s"), input={})
    path, query = callback_of(stub)
    assert client.post(f"{path}?{query}", {"early": True}).status == 200
    got = client.ended(gid)
    assert got["phase"] == "confirmed" and step_of(got, "a")["output"] == {"early": True}, got


# ---- messages -------------------------------------------------------------------------


def message(stub, **more):
    return {"mode": "message", "check": {"url": stub.url + "/check"}, "input": {}, "deadline": "1s",
            "steps": {"mail": {"kind": "retriable", "action": {"url": stub.url + "/mail"}}}, **more}


def test_message_is_sent_when_its_sender_confirms(client, stub, gid):
    answer = client.begin(gid=gid, **message(stub, deadline="1m"))
    assert answer.status == 201 and answer.json["phase"] == "prepared", answer
    assert not stub.calls
    assert client.post(f"/v1/transactions/{gid}/confirm").status in (200, 202)
    assert client.ended(gid)["phase"] == "confirmed"
    assert [c.path for c in stub.calls] == ["/mail"]


def test_back_check_says_yes(client, stub, gid):
    stub.on("/check", Reply(500), Reply(202, Retry_After=0), Reply(200))
    client.begin(gid=gid, **message(stub))
    got = client.ended(gid)
    assert got["phase"] == "confirmed", got
    assert [c.op for c in stub.calls] == ["check"] * 3 + ["try"]


def test_back_check_says_no(client, stub, gid):
    stub.on("/check", Reply(422))
    client.begin(gid=gid, **message(stub))
    got = client.ended(gid)
    assert got["phase"] == "cancelled" and got["cause"]["kind"] == "check", got
    assert not stub.seen("/mail")


# ---- pivot, retriable, deadline -----------------------------------------------------------


def pivot_steps(stub):
    return {
        "hold": {"action": {"url": stub.url + "/hold"}, "compensate": {"url": stub.url + "/unhold"}},
        "pay": {"kind": "pivot", "after": ["hold"],
                "action": {"url": stub.url + "/pay", "timeout": "300ms"}, "retry": {"initial": "300ms", "max": "300ms"}},
        "mail": {"kind": "retriable", "after": ["pay"],
                 "action": {"url": stub.url + "/mail"}, "retry": {"initial": "10ms", "max": "50ms"}},
    }


def test_pivot_in_doubt_is_never_cancelled(client, stub, gid):
    stub.on("/pay", Reply(200, delay=0.6), Reply(500), Reply(500), Reply(500), Reply(500), Reply(500), Reply(200))
    client.begin(gid=gid, mode="saga", steps=pivot_steps(stub), deadline="1s", input={})
    until(lambda: len(stub.seen("/pay")) >= 2)
    problem(client.post(f"/v1/transactions/{gid}/cancel"), 409, "in_doubt")
    time.sleep(1.0)  # past the deadline
    got = client.ended(gid)
    assert got["phase"] == "confirmed", got
    assert not stub.seen("/unhold")
    assert [c.path for c in stub.calls][-1] == "/mail"


def test_refused_pivot_cancels(client, stub, gid):
    stub.on("/pay", Reply(422))
    got = client.run(gid=gid, mode="saga", steps=pivot_steps(stub), input={})
    assert got["phase"] == "cancelled" and stub.seen("/unhold") and not stub.seen("/mail"), got


def test_retriable_is_tried_until_it_succeeds(client, stub, gid):
    stub.on("/mail", *[Reply(500)] * 6, Reply(200))
    got = client.run(gid=gid, mode="saga", steps=pivot_steps(stub), input={})
    assert got["phase"] == "confirmed" and len(stub.seen("/mail")) == 7, got


def test_deadline_in_trying_decides_cancel(client, stub, gid):
    stub.on("/a", Reply(500))
    got = client.run(gid=gid, mode="saga", deadline="1s", input={},
                       steps=one_step(stub, retry={"initial": "50ms", "max": "50ms"}))
    assert got["phase"] == "cancelled" and got["cause"]["kind"] == "deadline", got
    assert stub.seen("/undo")


def test_cancel_waits_for_the_open_try_of_its_step(client, stub, gid):
    stub.on("/a", Reply(200, delay=1.0))
    client.begin(gid=gid, mode="saga", steps=one_step(stub, timeout="10s"), input={})
    began = until(lambda: stub.seen("/a"))[0].at
    assert client.post(f"/v1/transactions/{gid}/cancel").status == 202
    got = client.ended(gid)
    assert got["phase"] == "cancelled" and got["cause"]["kind"] == "client", got
    assert stub.seen("/undo")[0].at - began >= 0.95
