# SPDX-License-Identifier: Apache-2.0
"""GET …/explain: why a transaction does not move, from whichever replica is asked. Each way has a row in tests/unit/explain.c
as well; here they happen."""
import concurrent.futures
import os
import signal
import time

import psycopg
import pytest

from lib.base import until
from lib.client import problem
from lib.cluster import Cluster
from lib.stub import Reply

SLOW = {"initial": "30s", "max": "30s", "factor": 1, "jitter": "none"}


@pytest.fixture(scope="module")
def three(postgres):
    """Three replicas that keep in memory what sleeps for less than a minute."""
    dsn = postgres.new_database()
    made = Cluster(dsn, flags=["--park-after=60s", "--calls.breaker-min=5", "--calls.breaker-probe=2s"])
    yield made
    made.stop()
    postgres.drop_database(dsn)


def explain(cluster, gid, why=None, at=None):
    """What each replica says, once all of them say that (or anything at all)."""
    def ask():
        answers = [cluster.client.get(f"/v1/transactions/{gid}/explain", at=a) for a in ([at] if at else cluster.client.addresses())]
        assert all(a.status == 200 for a in answers), answers
        return answers[-1].json if why is None or all(a.json["why"] == why for a in answers) else None
    return until(ask)


def one(stub, path="/a", **more):
    return {"mode": "saga", "input": {}, "defaults": {"retry": SLOW},
            "steps": {"a": {"action": {"url": stub.url + path}, "compensate": {"url": stub.url + "/undo"}, **more},
                      "b": {"after": ["a"], "action": {"url": stub.url + "/b"}, "compensate": {"url": stub.url + "/undo"}}}}


def test_back_off(three, stub, gid):
    stub.on("/a", Reply(503, {"error": "no paper"}))
    three.client.begin(gid=gid, **one(stub))
    got = explain(three, gid, "back_off")
    assert "Step a: attempt 1 of try failed" in got["sentence"] and f"at {stub.host} (HTTP 503: no paper)" in got["sentence"]
    assert "the next attempt comes in" in got["sentence"] and "Behind it wait: b." in got["sentence"], got
    step = got["steps"][0]
    assert (step["name"], step["op"], step["failed_attempts"], step["last_error"]["status"]) == ("a", "try", 1, 503), got
    assert got["behind"] == ["b"] and got["owner"]["lease_age_ms"] < 5000 and got["until"] == step["until"]


def test_a_call_under_way(three, stub, gid):
    stub.on("/a", Reply(200, delay=3))
    three.client.begin(gid=gid, **one(stub))
    got = explain(three, gid, "calling")
    assert f"try is under way to {stub.host}, for" in got["sentence"] and got["steps"][0]["called_at"], got


def test_max_parallel(three, stub, gid):
    stub.on("/a", Reply(200, delay=3))
    call = {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}
    three.client.begin(gid=gid, mode="saga", input={}, max_parallel=1, steps={"a": call, "b": call})
    got = explain(three, gid, "calling")
    assert {s["why"] for s in got["steps"]} == {"calling", "max_parallel"}, got
    waits = next(s["name"] for s in got["steps"] if s["why"] == "max_parallel")
    assert f"For a call to end (max_parallel) wait: {waits}." in got["sentence"], got


def test_ongoing(three, stub, gid):
    stub.on("/a", Reply(202, Retry_After=30))
    three.client.begin(gid=gid, **one(stub))
    got = explain(three, gid, "ongoing")
    assert f"{stub.host} works on its try" in got["sentence"] and "it is asked again in" in got["sentence"], got


def test_breaker(three, stub, gid):
    stub.on("/a", Reply(503))
    document = {**one(stub), "defaults": {"retry": {**SLOW, "initial": "20ms", "max": "20ms"}}}
    at = three.client.addresses()[0]
    for i in range(8):
        three.client.send("POST", "/v1/transactions", {"gid": f"{gid}-{i}", **document}, at=at)
    got = until(lambda: next((e for e in (explain(three, f"{gid}-{i}") for i in range(8)) if e["why"] == "breaker_open"), None))
    assert f"the breaker of {stub.host} is open since" in got["sentence"] and "it asks again in" in got["sentence"], got
    assert got["steps"][0]["participant"]["breaker"] in ("open", "half_open"), got
    stub.on("/a", Reply(200))


def test_paused(three, stub, gid):
    stub.on("/a", Reply(503))
    three.client.begin(gid=gid, **one(stub))
    assert three.client.post(f"/v1/transactions/{gid}/pause", {"actor": "ada", "reason": "to look"}).status == 200
    got = explain(three, gid, "paused")  # in the same words from the owner and from who asks him
    assert got["sentence"].startswith("It was paused ") and " ago by ada (to look) while it was trying." in got["sentence"], got
    assert (got["paused"], got["paused_by"]["by"], got["paused_by"]["reason"]) == (True, "ada", "to look"), got
    assert three.client.post(f"/v1/transactions/{gid}/resume", {"actor": "ada", "reason": "seen"}).status == 200
    assert explain(three, gid, "back_off")["paused_by"] is None
    for actor in ("bo", "cy"):  # who comes second changes nothing
        assert three.client.post(f"/v1/transactions/{gid}/pause", {"actor": actor, "reason": "again"}).status == 200
    assert explain(three, gid, "paused")["paused_by"]["by"] == "bo"


def test_paused_and_parked(make_cluster, stub):
    cluster = make_cluster(count=1, flags=["--park-after=100ms"])
    stub.on("/a", Reply(503))
    cluster.client.begin(gid="p", **one(stub))
    assert cluster.client.post("/v1/transactions/p/pause", {"actor": "ada", "reason": "to look"}).status == 200
    got = until(lambda: (lambda e: e if e["owner"] is None else None)(explain(cluster, "p")))
    assert [step["why"] for step in got["steps"]] == ["paused"], got
    assert got["why"] == "paused" and " by ada (to look) while it was trying. No replica drives it until" in got["sentence"], got


def test_paused_participant_and_definition(three, stub, gid):
    name = f"d-{gid}"[:60].replace("_", "-")
    three.client.define(name, **{k: v for k, v in one(stub).items() if k != "input"})
    why = {"actor": "ada", "reason": "new disks"}
    assert three.client.post(f"/v1/participants/{stub.host}/pause", why).status == 200
    for replica in three.replicas:
        until(lambda: next((t for t in three.client.get("/v1/participants", at=replica.at).json["targets"] if t["name"] == stub.host),
                           {"paused": True})["paused"])
    time.sleep(1.1)  # the copies of the others are a second old at most
    assert three.client.begin(gid=gid, definition=name, input={}).status == 201
    assert three.client.post(f"/v1/definitions/{name}/pause", why).status == 200
    got = explain(three, gid, "participant_paused")
    assert f"calls to {stub.host} were paused" in got["sentence"] and "by ada (new disks)" in got["sentence"], got
    assert got["steps"][0]["participant"]["paused"]["by"] == "ada" and not stub.calls
    got = until(lambda: (lambda e: e if e["definition_paused"] else None)(explain(three, gid)))
    assert "New starts of its definition were paused" in got["sentence"], got
    three.client.post(f"/v1/participants/{stub.host}/resume", why)
    assert three.client.ended(gid)["phase"] == "confirmed"


@pytest.mark.parametrize("parked", [False, True])
def test_a_participant_paused_after_an_attempt_failed(make_cluster, stub, parked):
    cluster = make_cluster(count=2, flags=["--park-after=100ms" if parked else "--park-after=60s"])
    stub.on("/b", Reply(503, {"error": "no paper"}))
    cluster.client.begin(gid="late", **one(stub))
    got = until(lambda: (lambda e: e if e["why"] == "back_off" and (e["owner"] is None) == parked else None)(explain(cluster, "late")))
    assert got["steps"][0]["failed_attempts"] == 1, got
    why = {"actor": "ada", "reason": "new disks"}
    assert cluster.client.post(f"/v1/participants/{stub.host}/pause", why).status == 200
    got = explain(cluster, "late", "participant_paused")  # whichever replica is asked, the hint and the step say so, too
    assert got["sentence"].startswith(f"Step b waits with its try: calls to {stub.host} were paused ") and got["until"] is None, got
    assert "by ada (new disks)" in got["sentence"] and "next attempt" not in got["sentence"] and "until then" not in got["sentence"], got
    assert got["hint"].startswith("Resume the participant"), got
    assert got["steps"][0]["why"] == "participant_paused" and got["steps"][0]["last_error"]["status"] == 503, got
    assert ("No replica drives it until it is due in" in got["sentence"]) == parked, got
    assert cluster.client.post(f"/v1/participants/{stub.host}/resume", why).status == 200
    assert explain(cluster, "late", "back_off")["steps"][0]["why"] == "back_off"


def test_no_owner(make_cluster, stub):
    cluster = make_cluster(count=2, flags=["--park-after=100ms"])
    stub.on("/a", Reply(503))
    cluster.client.begin(gid="sleeper", **one(stub))
    got = until(lambda: (lambda e: e if e["owner"] is None else None)(explain(cluster, "sleeper")))
    assert got["why"] == "back_off" and got["due_at"] and not got["told_by"]["is_owner"], got
    assert "No replica drives it until then; any of them takes it up when it is due." in got["sentence"], got


def test_deadline(three, stub, gid):
    stub.on("/a", Reply(202, Retry_After=60))
    three.client.begin(gid=gid, deadline="90s", **one(stub))
    got = explain(three, gid, "ongoing")
    assert "Its deadline in 8" in got["sentence"] and "decides cancel." in got["sentence"], got


def test_waiting_for_steps_and_for_its_caller(three, gid):
    three.client.begin(gid=gid, mode="tcc", deadline="5m", input={})
    got = explain(three, gid, "decision")
    assert got["sentence"].startswith("It waits for its caller to confirm or cancel (0 steps have joined)"), got
    assert got["until"] == got["deadline_at"] and got["steps"] == []


def test_a_message_before_its_check(three, stub, gid):
    three.client.begin(gid=gid, mode="message", deadline="5m", input={}, check={"url": stub.url + "/check"},
                       steps={"m": {"kind": "retriable", "action": {"url": stub.url + "/m"}}})
    got = explain(three, gid, "decision")
    assert "The check of its sender is made when its deadline has passed" in got["sentence"] and got["behind"] == ["m"], got


def test_a_start_in_the_future(three, stub, gid):
    assert three.client.begin(gid=gid, start_at="1h", **one(stub)).status == 201
    got = explain(three, gid, "not_started")
    assert got["sentence"].startswith("It begins in 59 min") and got["until"], got


def test_stuck_by_time(three, stub, gid):
    stub.on("/a", Reply(503))
    three.client.begin(gid=gid, stuck_after="1s", **one(stub, retry={"initial": "100ms", "max": "100ms", "jitter": "none"}))
    got = until(lambda: (lambda e: e if e["stuck"] else None)(explain(three, gid)))
    assert got["stuck"] == "overdue" and "is marked stuck (overdue): a person should look." in got["sentence"], got


def test_stuck_by_attempts(three, stub, gid):
    stub.on("/a", Reply(503))
    document = one(stub, kind="retriable", retry={**SLOW, "attempts": 1})
    document["steps"] = {"a": {k: v for k, v in document["steps"]["a"].items() if k != "compensate"}}
    three.client.begin(gid=gid, **document)
    got = explain(three, gid, "attempts")
    assert "its attempts are used up" in got["sentence"] and got["stuck"] == "attempts" and "resolve" in got["hint"], got


def test_stuck_by_a_wrong_address(three, stub, gid):
    stub.on("/a", Reply(404))
    document = one(stub)
    document["defaults"] = {"retry": {**SLOW, "initial": "10ms", "max": "10ms"}}
    three.client.begin(gid=gid, **document)
    got = explain(three, gid, "misconfigured")
    assert "attempt 3 of try failed" in got["sentence"] and f"{stub.host} (HTTP 404)" in got["sentence"], got


def test_stuck_by_a_hold_that_is_gone(three, stub, gid):
    stub.on("/confirm", Reply(410))
    three.client.begin(gid=gid, mode="tcc", input={}, steps={
        "a": {"try": {"url": stub.url + "/a"}, "confirm": {"url": stub.url + "/confirm"}, "cancel": {"url": stub.url + "/x"}}})
    got = explain(three, gid, "gone")
    assert "no longer has what must be confirmed" in got["sentence"], got


@pytest.mark.parametrize("stuck", ["poison", "bad_row"])
def test_stuck_as_a_whole(make_cluster, stub, stuck):
    cluster = make_cluster(count=1, flags=["--park-after=100ms"])
    stub.on("/a", Reply(503))
    cluster.client.begin(gid="w", **one(stub))
    with psycopg.connect(cluster.dsn, autocommit=True) as db:
        until(lambda: db.execute("UPDATE sagad.transaction SET stuck = %s, due_at = 'infinity', version = version + 1 "
                                 "WHERE gid = 'w' AND owner IS NULL", (stuck,)).rowcount)
    got = explain(cluster, "w")
    assert got["why"] == stuck and got["owner"] is None and got["due_at"] is None, got
    assert "No replica drives it until a person does something." in got["sentence"]


def test_ended(three, stub, gid):
    three.client.run(gid=gid, **one(stub))
    got = explain(three, gid)
    assert got["why"] == "ended" and got["sentence"].startswith("It has ended: confirmed,") and got["steps"] == [], got
    problem(three.client.get(f"/v1/transactions/{gid}-not/explain"), 404, "transaction_unknown")


def owner_of(cluster, gid):
    """The replica that drives it."""
    told = explain(cluster, gid)["told_by"]
    assert told["is_owner"], told
    return next(r for r in cluster.replicas if cluster.client.get(f"/v1/transactions/{gid}/explain", at=r.at).status == 200
                and cluster.client.get("/readyz", at=r.ops_at).json["replica"] == told["replica"])


def test_a_silent_owner_and_then_a_new_one(make_cluster, stub):
    cluster = make_cluster(count=2, ttl="4s", flags=["--park-after=60s"])
    stub.on("/a", Reply(503))
    cluster.client.begin(gid="s", **one(stub))
    explain(cluster, "s", "back_off")
    owner = owner_of(cluster, "s")
    other = next(r for r in cluster.replicas if r is not owner)
    os.kill(owner.process.pid, signal.SIGSTOP)
    got = explain(cluster, "s", at=other.at)
    assert got["why"] == "owner_silent" and not got["told_by"]["is_owner"], got
    assert "does not answer" in got["sentence"] and "As last known: Step a: attempt 1 of try failed" in got["sentence"], got
    until(lambda: cluster.client.get("/v1/transactions/s/explain", at=other.at).json["told_by"]["is_owner"], 15)
    os.kill(owner.process.pid, signal.SIGCONT)


def test_an_owner_who_was_fenced_and_whose_rows_nobody_has_taken_so_far(make_cluster, stub):
    cluster = make_cluster(count=2, flags=["--park-after=60s"])
    stub.on("/a", Reply(503))
    cluster.client.begin(gid="f", **one(stub))
    explain(cluster, "f", "back_off")
    owner = owner_of(cluster, "f")
    with psycopg.connect(cluster.dsn) as db:  # who adopts passes by what somebody has locked
        db.execute("SELECT 1 FROM sagad.transaction WHERE gid = 'f' FOR UPDATE")
        owner.kill()
        cluster.remove(owner)
        got = explain(cluster, "f", "owner_gone")
        assert "is dead and fenced (last heard of" in got["sentence"], got
        assert "no other replica has taken the transaction over yet. As last known: Step a: attempt 1 of try" in got["sentence"], got
        assert got["owner"]["state"] == "fenced" and not got["told_by"]["is_owner"], got
        db.rollback()
    until(lambda: explain(cluster, "f")["told_by"]["is_owner"])


def test_a_commit_in_doubt(proxy, database, make_cluster, stub):
    cluster = make_cluster(count=1, ttl="10s", flags=["--park-after=60s"], dsn_of=lambda number: proxy.dsn(database, number))
    stub.on("/a", Reply(503))
    cluster.client.begin(gid="c", **one(stub))
    explain(cluster, "c", "back_off")
    waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'sagad log' AND wait_event_type = 'Lock'"
    with psycopg.connect(database) as lock, psycopg.connect(database, autocommit=True) as db, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        lock.execute("SELECT 1 FROM sagad.transaction WHERE gid = 'c' FOR UPDATE")
        asked = pool.submit(cluster.client.post, "/v1/transactions/c/pause", {"reason": "to see"})

        def cut():
            """Its commit was sent, and nobody is told what became of it. (It may be given up first, and sent again.)"""
            if db.execute(waits).fetchone():
                proxy.cut("log")
            got = cluster.client.get("/v1/transactions/c/explain")  # 503: until the session is back
            return got.status == 200 and got.json["why"] == "doubt" and got.json

        got = until(cut)
        assert got["sentence"].startswith("The database connection broke in a commit of it"), got
        assert "As last known: Step a: attempt 1 of try failed" in got["sentence"], got
        lock.rollback()
        asked.result(30)
    until(lambda: cluster.client.get("/v1/transactions/c/explain").json.get("why") in ("back_off", "paused"))


def test_the_database_is_away(proxy, database, make_cluster, stub):
    cluster = make_cluster(count=1, ttl="10s", flags=["--park-after=60s"], dsn_of=lambda number: proxy.dsn(database, number))
    stub.on("/a", Reply(503))
    cluster.client.begin(gid="d", **one(stub))
    explain(cluster, "d", "back_off")
    proxy.refuse()
    got = until(lambda: (lambda a: a if a.status == 503 else None)(cluster.client.get("/v1/transactions/d/explain")))
    said = problem(got, 503, "unavailable")["detail"]
    assert said.startswith("The database cannot be reached") and "As last known: Step a: attempt 1 of try failed" in said, said
    problem(cluster.client.get("/v1/transactions/other/explain"), 503, "unavailable")
    proxy.restore()
    until(lambda: cluster.client.get("/v1/transactions/d/explain").status == 200)
    explain(cluster, "d", "back_off")
