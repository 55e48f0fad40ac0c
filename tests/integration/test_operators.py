# SPDX-License-Identifier: Apache-2.0
"""What people can do, lists, and the numbers on the second port."""
import concurrent.futures

import psycopg

from lib.base import until
from lib.client import problem
from lib.postgres import value
from lib.stub import Reply


def begin_failing(client, stub, gid, **more):
    stub.on("/a", Reply(500))
    steps = {"a": {"action": {"url": stub.url + "/a"}, "retry": {"initial": "50ms", "max": "100ms"},
                   "compensate": {"url": stub.url + "/undo"}}}
    assert client.begin(gid=gid, mode="saga", steps=steps, input={}, **more).status == 201
    until(lambda: stub.seen("/a"))


def act(client, gid, verb, **more):
    return client.post(f"/v1/transactions/{gid}/{verb}", {"reason": "a test", "actor": "pytest", **more})


def test_pause_resume_retry(client, stub, gid):
    begin_failing(client, stub, gid)
    assert act(client, gid, "pause").status in (200, 202)
    assert client.transaction(gid)["paused"] is True
    seen = len(stub.seen("/a"))
    import time
    time.sleep(0.5)
    assert len(stub.seen("/a")) <= seen + 1, "nothing is called while it is paused"
    stub.on("/a", Reply(200))
    assert act(client, gid, "resume").status in (200, 202)
    assert client.ended(gid)["phase"] == "confirmed"
    what = [e["what"] for e in client.get(f"/v1/transactions/{gid}/journal").json["items"]]
    assert "pause" in what and "resume" in what and "attempt" in what, what


def test_writes_of_operators_need_a_reason(client, stub, gid):
    begin_failing(client, stub, gid)
    answer = client.post(f"/v1/transactions/{gid}/pause", {})
    assert answer.status == 400, answer
    assert any("reason" in e["pointer"] or "reason" in e["detail"] for e in answer.json["errors"]), answer


def test_reasons_have_a_limit(client, stub, gid):
    begin_failing(client, stub, gid)
    for body in ({"reason": "x" * 1001}, {"actor": "y" * 129, "reason": "because"}):
        problem(client.post(f"/v1/transactions/{gid}/cancel", body), 400, "invalid_request")
    assert client.post(f"/v1/transactions/{gid}/cancel", {"reason": "x" * 1000}).status in (200, 202)


def test_abandon_needs_the_gid_and_if_match(client, stub, gid):
    begin_failing(client, stub, gid)
    act(client, gid, "pause")
    etag = client.get(f"/v1/transactions/{gid}").headers["ETag"]
    problem(client.post(f"/v1/transactions/{gid}/abandon", {"reason": "x", "gid": gid}), 428, "precondition_required")
    stale = client.post(f"/v1/transactions/{gid}/abandon", {"reason": "x", "gid": gid}, headers={"If-Match": '"0"'})
    problem(stale, 412, "version_conflict")
    wrong = client.post(f"/v1/transactions/{gid}/abandon", {"reason": "x", "gid": "other"}, headers={"If-Match": etag})
    assert wrong.status == 400, wrong
    done = client.post(f"/v1/transactions/{gid}/abandon", {"reason": "x", "gid": gid}, headers={"If-Match": etag})
    assert done.status == 200, done
    got = client.ended(gid)
    assert (got["phase"], got["result"]) == ("abandoned", "mixed"), got
    problem(act(client, gid, "pause"), 409, "ended")


def test_of_two_people_who_saw_the_same_one_acts(client, cluster, gid):
    """If-Match is compared by whoever applies the command, wherever it was sent."""
    begun = client.post("/v1/transactions", {"gid": gid, "mode": "tcc", "deadline": "1m", "input": {}})
    assert begun.status == 201, begun
    for action in ("pause", "resume"):  # the second finds a transaction that was changed by the first
        etag = client.get(f"/v1/transactions/{gid}").headers["ETag"]

        def act_at(replica, action=action, etag=etag):
            return client.post(f"/v1/transactions/{gid}/{action}", {"reason": "x"}, headers={"If-Match": etag}, at=replica.at)

        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            answers = list(pool.map(act_at, cluster.replicas * 3))
        assert sorted(a.status for a in answers) == [200] + 8 * [412], answers
        for a in answers:
            if a.status == 412:
                problem(a, 412, "version_conflict")


def test_if_match_means_what_a_person_has_seen(make_cluster, stub):
    """Who drives it is no business of his: it may be parked, taken up and taken over between his look and his word."""
    cluster = make_cluster(count=2, flags=["--park-after=100ms"])
    client = cluster.client
    stub.on("/a", Reply(503))
    steps = {"a": {"action": {"url": stub.url + "/a"}, "retry": {"initial": "1h", "max": "1h", "jitter": "none"},
                   "compensate": {"url": stub.url + "/undo"}}}
    row = "SELECT version, owner IS NULL, adoptions FROM sagad.transaction WHERE gid = 'm'"
    with psycopg.connect(cluster.dsn, autocommit=True) as db:
        def now(fits):
            return until(lambda: (lambda r: r if fits(*r) else None)(db.execute(row).fetchone()), 20)

        def say(action, version):
            return client.post(f"/v1/transactions/m/{action}", {"reason": "x"}, headers={"If-Match": f'"{version}"'})

        client.begin(gid="m", mode="saga", input={}, steps=steps)
        seen = until(lambda: (lambda t: t["steps"][0].get("last_error") and t)(client.transaction("m")))["version"]
        parked = now(lambda version, is_parked, _: is_parked)[0]
        problem(say("pause", seen - 1), 412, "version_conflict")
        assert db.execute(row).fetchone()[:2] == (parked, True), "what is refused takes nobody up"
        db.execute("UPDATE sagad.transaction SET due_at = now() WHERE gid = 'm'")  # taken up, and parked again
        now(lambda version, is_parked, _: is_parked and version > parked)
        for replica in cluster.replicas:
            assert client.post("/v1/transactions/m/pause?dry_run=true", {"reason": "x"}, headers={"If-Match": f'"{seen}"'},
                               at=replica.at).status == 200
        done = say("pause", seen)
        assert done.status == 200, done
        problem(say("resume", seen), 412, "version_conflict")
        # An open one, whose owner dies.
        begun = client.post("/v1/transactions", {"gid": "n", "mode": "tcc", "deadline": "10m", "input": {}}, at=cluster.replicas[0].at)
        assert begun.status == 201
    with psycopg.connect(cluster.dsn) as db:
        db.execute("SELECT 1 FROM sagad.transaction WHERE gid = 'n' AND owner IS NOT NULL FOR UPDATE")  # nor is it parked so
        seen = client.transaction("n")["version"]
        cluster.replicas[0].kill()
        cluster.remove(cluster.replicas[0])
    until(lambda: value(cluster.dsn, "SELECT version FROM sagad.transaction WHERE gid = 'n'") > seen, 20)
    assert client.post("/v1/transactions/n/pause", {"reason": "x"}, headers={"If-Match": f'"{seen}"'}).status == 200


def test_resolve_says_what_really_happened(client, stub, gid):
    begin_failing(client, stub, gid)
    answer = client.post(f"/v1/transactions/{gid}/steps/a/resolve",
                         {"reason": "phoned them", "gid": gid, "op": "try", "outcome": "ok", "output": {"id": 9}})
    assert answer.status in (200, 202), answer
    assert client.ended(gid)["phase"] == "confirmed"


def test_lists_filter_and_page(client, stub, gid):
    for i in range(7):
        client.begin(gid=f"{gid}-{i}", mode="saga", input={}, wait="20s", labels={"run": gid, "odd": str(i % 2)},
                     steps={"a": {"action": {"url": stub.url + "/ok"}, "compensate": {"url": stub.url + "/undo"}}})
    begin_failing(client, stub, f"{gid}-running", labels={"run": gid})

    def listed(filters, limit=3):
        found, cursor = [], ""
        for _ in range(100):
            page = client.get(f"/v1/transactions?limit={limit}&{filters}{cursor}").json
            found += [t["gid"] for t in page["items"]]
            if not page.get("next_cursor"):
                return found
            cursor = f"&cursor={page['next_cursor']}"
        raise AssertionError("the list has no end")

    assert sorted(listed(f"label.run={gid}")) == sorted([f"{gid}-{i}" for i in range(7)] + [f"{gid}-running"])
    assert len(listed(f"label.run={gid}&phase=confirmed")) == 7
    assert listed(f"label.run={gid}&phase=trying") == [f"{gid}-running"]
    assert len(listed(f"label.run={gid}&participant={stub.host}")) == 8
    assert listed(f"label.run={gid}&participant=nobody:1") == []
    first = client.get(f"/v1/transactions?limit=1&label.run={gid}").json
    problem(client.get(f"/v1/transactions?limit=1&phase=trying&cursor={first['next_cursor']}"), 400, "bad_request")
    problem(client.get("/v1/transactions?phase=flying"), 400, "bad_request")
    problem(client.get("/v1/transactions?colour=red"), 400, "bad_request")
    problem(client.get("/v1/transactions?definition="), 400, "bad_request")
    problem(client.get("/v1/transactions?participant="), 400, "bad_request")
    act(client, f"{gid}-running", "pause")


def test_replicas_and_participants(client, cluster):
    shown = client.get("/v1/replicas").json["items"]
    live = [r for r in shown if r["state"] == "live"]
    assert {r["address"] for r in live} >= {r.url for r in cluster.replicas}
    assert {r["lease"] for r in live} == {"lock"} and not any("lease" in r for r in shown if r["state"] != "live")
    assert client.put("/v1/participants/somebody", {"base_url": "http://127.0.0.1:9"}).status in (200, 201)
    assert "somebody" in {p["name"] for p in client.get("/v1/participants").json["items"]}


def test_health_and_metrics(cluster):
    for r in cluster.replicas:
        assert r.ops("/livez").status == 200
        ready = r.ops("/readyz")
        assert ready.status == 200 and ready.json, ready
        metrics = r.ops("/metrics")
        assert metrics.status == 200 and metrics.headers["Content-Type"].startswith("text/plain"), metrics
        names = set()
        for line in metrics.text.splitlines():
            if line.startswith("# TYPE"):
                names.add(line.split()[2])
            elif line and not line.startswith("#"):
                float(line.rsplit(" ", 1)[1])
                assert line.split("{")[0].split(" ")[0].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") in names \
                    or line.split("{")[0].split(" ")[0] in names, line
        assert any(n.startswith("sagad_") for n in names)


def test_commands_reach_the_owner_from_any_replica(client, cluster, stub, gid):
    """The inbox: pause and resume sent to each replica in turn, one of which owns it."""
    begin_failing(client, stub, gid)
    for r in cluster.replicas * 2:
        assert client.post(f"/v1/transactions/{gid}/pause", {"reason": "x"}, at=r.at).status in (200, 202)
        assert client.transaction(gid)["paused"] is True
        assert client.post(f"/v1/transactions/{gid}/resume", {"reason": "x"}, at=r.at).status in (200, 202)
        assert client.transaction(gid)["paused"] is False
    assert client.post(f"/v1/transactions/{gid}/cancel").status in (200, 202)
    assert client.ended(gid)["phase"] == "cancelled"
