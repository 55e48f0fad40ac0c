# SPDX-License-Identifier: Apache-2.0
"""What needs a person, grouped by what keeps it; and how it goes, on one page."""
import signal
import time

import pytest

from lib.base import until
from lib.cluster import Cluster
from lib.stub import Reply

FAST = {"initial": "10ms", "max": "10ms", "factor": 1}


@pytest.fixture(scope="module")
def own(postgres):
    dsn = postgres.new_database()
    made = Cluster(dsn, count=2, flags=["--park-after=100ms", "--calls.breaker-min=1000"])
    yield made
    made.stop()
    postgres.drop_database(dsn)


def get(cluster, path):
    answer = cluster.client.get(path)
    assert answer.status == 200, answer
    return answer.json


def test_one_cause_is_one_line(own, stub):
    client = own.client
    for name, path in (("book", "/a"), ("pay", "/b")):
        client.define(name, mode="saga", defaults={"retry": {**FAST, "attempts": 2}},
                      steps={"s": {"kind": "retriable", "action": {"url": stub.url + path}}})
    stub.on("/a", lambda call: Reply(404, {"error": f"order {call.gid} is not for sale"}))
    stub.on("/b", Reply(503))
    assert get(own, "/v1/stuck") == {"items": [], "examined": 0, "others": 0, "complete": True}
    for i in range(6):
        client.begin(gid=f"b{i}", definition="book", input={})
    for i in range(2):
        client.begin(gid=f"p{i}", definition="pay", input={})
    client.begin(gid="inline", mode="saga", input={}, defaults={"retry": FAST},
                 steps={"t": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/u"}}})
    got = until(lambda: (lambda s: s if s["examined"] == 9 else None)(get(own, "/v1/stuck")))
    assert got["complete"] and got["others"] == 0, got
    book, pay, inline = got["items"]
    assert (book["count"], book["reason"], book["definition"], book["step"], book["op"], book["participant"], book["status"]) == (
        6, "misconfigured", "book", "s", "try", stub.host, 404), book
    assert book["error"].startswith("HTTP 404: order b") and book["sample"] in {f"b{i}" for i in range(6)} and book["oldest_at"], book
    assert (pay["count"], pay["reason"], pay["definition"], pay["status"]) == (2, "attempts", "pay", 503), pay
    assert (inline["count"], inline["definition"], inline["step"], inline["sample"]) == (1, None, "t", "inline"), inline
    overview = get(own, "/v1/overview")
    assert overview["stuck"]["count"] == 9 and overview["stuck"]["groups"] == got["items"], overview
    assert overview["unfinished"]["count"] == 9 and not overview["unfinished"]["at_least"], overview
    stub.on("/a", Reply(200))
    stub.on("/b", Reply(200))
    for gid in [f"b{i}" for i in range(6)] + ["p0", "p1", "inline"]:
        assert client.post(f"/v1/transactions/{gid}/retry", {"reason": "put right"}).status == 200
        assert client.ended(gid)["phase"] == "confirmed"
    assert get(own, "/v1/stuck")["examined"] == 0, "nothing is stuck any more"


def test_more_than_it_looks_at(own, stub):
    stub.on("/many", Reply(404))
    item = {"mode": "saga", "input": {}, "defaults": {"retry": FAST},
            "steps": {"t": {"action": {"url": stub.url + "/many"}, "compensate": {"url": stub.url + "/u"}}}}
    for i in range(260):
        assert own.client.begin(gid=f"many-{i}", **item).status == 201
    got = until(lambda: (lambda s: s if s["examined"] == 260 else None)(get(own, "/v1/stuck")))
    assert got["complete"] and [g["count"] for g in got["items"]] == [260], "the second page goes on where the first ended"
    overview = get(own, "/v1/overview")["stuck"]
    assert overview["at_least"] and overview["count"] == 250 and overview["groups"][0]["count"] == 250, overview


def test_the_overview(own, stub):
    for i in range(20):
        own.client.run(mode="saga", input={}, steps={"t": {"action": {"url": stub.url + "/t"}, "compensate": {"url": stub.url + "/u"}}})
    got = get(own, "/v1/overview")
    assert [r["state"] for r in got["replicas"]] == ["live", "live"] and got["here"]["replica"] in {r["id"] for r in got["replicas"]}
    assert got["here"]["rates"]["window_ms"] >= 0 and set(got["unfinished"]["by_phase"]) == {
        "prepared", "trying", "confirming", "cancelling"}, got


def test_the_overview_hears_all_replicas(make_cluster, stub):
    cluster = make_cluster(count=3, ttl="10s", flags=["--calls.breaker-min=3", "--park-after=60s", "--calls.breaker-probe=30s"])
    client, (one, two, three) = cluster.client, cluster.replicas
    stub.on("/a", Reply(503))
    item = {"mode": "saga", "input": {}, "defaults": {"retry": {"initial": "10ms", "max": "50ms"}},
            "steps": {"t": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/u"}}}}
    for i in range(5):  # all driven by one, whose breaker opens
        assert client.send("POST", "/v1/transactions", {"gid": f"x{i}", **item}, at=one.at).status == 201

    def seen(asked):
        return client.get("/v1/overview", at=asked.at).json

    got = until(lambda: (lambda o: o if o["everywhere"]["participants"] else None)(seen(two)))
    everywhere = got["everywhere"]
    assert (everywhere["answered"], everywhere["silent"], everywhere["owned"]) == (3, [], 5), got
    shown = everywhere["participants"][0]
    assert (shown["name"], shown["replicas"]) == (stub.host, 1) and shown["breaker"] in ("open", "half_open") and shown["since"], got
    assert got["here"]["participants"] == [] and got["here"]["owned"] == 0, got
    assert sorted(r["owned"] for r in got["replicas"]) == [0, 0, 5], got
    assert everywhere["rates"]["calls"] > 0 and everywhere["rates"]["begun"] > 0 == got["here"]["rates"]["begun"], got
    three.signal(signal.SIGSTOP)  # who is frozen costs a second, and is named
    began = time.monotonic()
    got = seen(two)
    assert time.monotonic() - began < 8, got
    three.signal(signal.SIGCONT)
    silent, = got["everywhere"]["silent"]
    assert got["everywhere"]["answered"] == 2 and got["everywhere"]["owned"] == 5, got
    assert next(r for r in got["replicas"] if r["id"] == silent)["rates"] is None and silent != got["here"]["replica"], got


def test_its_index_costs_a_step_nothing(own, stub):
    """PostgreSQL compares the values of the columns in an index's WHERE: only what makes a row stuck, or not, touches it."""
    import psycopg
    own.client.run(gid="hot", mode="saga", input={}, steps={"t": {"action": {"url": stub.url + "/t"}, "compensate": {"url": stub.url + "/u"}}})
    hot = "SELECT pg_stat_get_xact_tuples_hot_updated('sagad.transaction'::regclass)"
    with psycopg.connect(own.dsn) as db:
        for change, is_hot in (("version = version + 1, progress = progress", 1), ("stuck = 'gone'", 0)):
            before = db.execute(hot).fetchone()[0]
            db.execute(f"UPDATE sagad.transaction SET {change} WHERE gid = 'hot'")
            assert db.execute(hot).fetchone()[0] - before == is_hot, change
        db.rollback()
