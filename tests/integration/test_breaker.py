# SPDX-License-Identifier: Apache-2.0
"""A service that is down is left alone, costs no attempts, and is called again as soon as it is back."""
import time

import pytest

from lib.base import until
from lib.stub import Reply, Stub

FAST = {"initial": "20ms", "max": "20ms", "factor": 1}


@pytest.fixture(scope="module")
def brisk(postgres):
    """One replica that probes five times a second."""
    from lib.cluster import Cluster
    dsn = postgres.new_database()
    made = Cluster(dsn, count=1, flags=["--calls.breaker-probe=200ms"])
    yield made
    made.stop()
    postgres.drop_database(dsn)


def saga(url, **retry):
    return {"mode": "saga", "defaults": {"retry": {**FAST, **retry}},
            "steps": {"a": {"action": {"url": url}, "compensate": {"url": url + "/undo"}}}}


def target(cluster, host):
    answer = cluster.client.get("/v1/participants")
    assert answer.status == 200, answer
    return next((t for t in answer.json["targets"] if t["name"] == host), None)


def is_open(cluster, host):
    found = target(cluster, host)
    return found and found["breaker"] != "closed" and found


def take_down(cluster, stub, path, gid, n=40, **more):
    """n transactions whose service does not answer as it should, until its breaker is open."""
    stub.on(path, Reply(503))
    for i in range(n):
        assert cluster.client.begin(gid=f"{gid}-{i}", **saga(stub.url + path, attempts=40), input={}, **more).status == 201
    return until(lambda: is_open(cluster, stub.host))


def test_it_is_left_alone_and_costs_no_attempts(brisk, stub, gid):
    opened = take_down(brisk, stub, "/down", gid)
    assert opened["breaker_since"] and opened["opened"] == 1, opened
    assert opened["recent_unknown"] / opened["recent_calls"] == pytest.approx(opened["error_rate"], abs=0.001)
    before, began = len(stub.seen("/down")), time.monotonic()
    until(lambda: target(brisk, stub.host)["put_off"] >= 200)
    calls, seconds = len(stub.seen("/down")) - before, time.monotonic() - began
    assert calls <= seconds / 0.2 + 64, "a probe each 200 ms, and what was under way"
    stub.on("/down", Reply(200))
    for i in range(40):
        got = brisk.client.ended(f"{gid}-{i}")
        assert got["phase"] == "confirmed", "40 attempts of 20 ms would have been used up long ago"
    closed = target(brisk, stub.host)
    assert closed["breaker"] == "closed" and closed["breaker_since"] is None, closed
    log = brisk.replicas[0]
    assert log.events("breaker_opened") and log.events("breaker_closed")


def test_others_are_called_meanwhile(brisk, stub, gid):
    take_down(brisk, stub, "/down", gid)
    healthy = Stub()
    try:
        got = brisk.client.run(gid=f"{gid}-other", **saga(healthy.url + "/a"), input={})
        assert got["phase"] == "confirmed" and is_open(brisk, stub.host)
    finally:
        healthy.close()
        stub.on("/down", Reply(200))


def test_the_deadline_decides_all_the_same(brisk, stub, gid):
    take_down(brisk, stub, "/down", gid, deadline="1s")
    stub.on("/down/undo", Reply(503))
    until(lambda: brisk.client.transaction(f"{gid}-7")["phase"] == "cancelling")
    assert is_open(brisk, stub.host), "cancel waits for the service, like everything else"
    stub.on("/down/undo", Reply(200))
    for i in range(40):
        assert brisk.client.ended(f"{gid}-{i}")["cause"]["kind"] == "deadline"


def test_what_waits_for_it_says_so(brisk, stub, gid):
    take_down(brisk, stub, "/down", gid)
    begun = brisk.client.begin(gid=f"{gid}-late", **saga(stub.url + "/down"), input={})
    assert begun.status == 201
    got = until(lambda: (lambda t: t if t["waiting"]["for"] == "retry" else None)(brisk.client.transaction(f"{gid}-late")))
    assert got["waiting"]["until"] and got["steps"][0]["failing_since"], got
    stub.on("/down", Reply(200))
    assert brisk.client.ended(f"{gid}-late")["phase"] == "confirmed"


def test_429_slows_down_all_calls_to_it(brisk, stub, gid):
    stub.on("/busy", Reply(429, Retry_After=1), Reply(200))
    brisk.client.begin(gid=f"{gid}-first", **saga(stub.url + "/busy"), input={})
    until(lambda: stub.seen("/busy"))
    quiet = until(lambda: (target(brisk, stub.host) or {}).get("throttled_until"))
    assert quiet
    got = brisk.client.run(gid=f"{gid}-second", **saga(stub.url + "/other"), input={})
    assert got["phase"] == "confirmed"
    assert stub.seen("/other")[0].at - stub.seen("/busy")[0].at > 0.9
    assert target(brisk, stub.host)["breaker"] == "closed", "it is there, it only has had enough"


def test_failing_retries_are_a_part_of_the_first_calls(make_cluster, stub, gid):
    cluster = make_cluster(count=1, flags=["--calls.breaker=0", "--calls.retries=0", "--calls.per-participant=8"])
    stub.on("/half", lambda call: Reply(503))
    began = time.monotonic()
    for i in range(40):
        cluster.client.begin(gid=f"{gid}-{i}", **saga(stub.url + "/half"), input={})
    until(lambda: target(cluster, stub.host)["put_off"] > 20)
    calls, seconds = len(stub.seen("/half")), time.monotonic() - began
    assert 100 < calls <= 40 + 108 + 10 * seconds + 8, "40 first ones, what may be saved up, and ten a second"
    stub.on("/half", Reply(200))
    for i in range(40):
        assert cluster.client.ended(f"{gid}-{i}")["phase"] == "confirmed"


def test_a_paused_participant_is_not_called_and_costs_no_attempts(brisk, stub, gid):
    client, until_ended = brisk.client, gid + "-p"
    assert client.post(f"/v1/participants/{stub.host}/pause", {"actor": "test", "reason": "to see it wait"}).status == 200
    assert client.begin(gid=until_ended, **saga(stub.url + "/a", attempts=1), input={}).status == 201
    got = until(lambda: (lambda t: t if t["waiting"]["for"] == "retry" else None)(client.transaction(until_ended)))
    assert got["waiting"]["until"] and "failing_since" not in got["steps"][0], got
    assert not stub.calls and is_open(brisk, stub.host) is False
    assert client.post(f"/v1/participants/{stub.host}/resume", {"actor": "test", "reason": "seen"}).status == 200
    assert client.ended(until_ended)["phase"] == "confirmed"
    assert len(stub.calls) == 1


def test_a_participant_may_have_rules_of_its_own(brisk, stub, gid):
    client = brisk.client
    put = client.put(f"/v1/participants/never-{gid}"[:80].replace("_", "-"),
                     {"base_url": stub.url, "breaker_percent": 0, "retry_percent": 100})
    assert put.status == 200 and (put.json["breaker_percent"], put.json["retry_percent"]) == (0, 100), put
    name = put.json["name"]
    listed = next(p for p in client.get("/v1/participants").json["items"] if p["name"] == name)
    assert (listed["breaker_percent"], listed["retry_percent"]) == (0, 100), listed
    stub.on("/down", Reply(503))
    document = saga("http://unused")
    document["steps"] = {"a": {"kind": "retriable", "action": {"participant": name, "path": "/down"}}}
    for i in range(10):
        client.begin(gid=f"{gid}-{i}", **document, input={})
    until(lambda: len(stub.seen("/down")) > 300)  # more than a budget allows
    assert not is_open(brisk, f"participant:{name}")
    stub.on("/down", Reply(200))
    for i in range(10):
        assert client.ended(f"{gid}-{i}")["phase"] == "confirmed"
    for wrong in (101, -1, 1.5, "80"):
        answer = client.put(f"/v1/participants/{name}", {"base_url": stub.url, "breaker_percent": wrong})
        assert answer.status == 422 or answer.status == 400, answer
