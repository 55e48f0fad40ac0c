# SPDX-License-Identifier: Apache-2.0
"""What people stop for a while: definitions, participants, replicas; and the audit of it."""
import pytest

from lib.base import until
from lib.client import problem
from lib.stub import Reply

NAME = "paused-def"


def definition(stub):
    return {"mode": "saga", "steps": {"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}}}


def everywhere(cluster, what):
    """Until it is so on every replica."""
    for replica in cluster.replicas:
        until(lambda r=replica: what(r.at), 5)


def test_a_paused_definition_takes_no_new_starts(client, cluster, stub, gid):
    client.define(NAME, **definition(stub))
    stub.on("/a", Reply(202, Retry_After=1))
    assert client.begin(gid=gid, definition=NAME, input={}).status == 201
    first, *others = cluster.replicas
    said = client.post(f"/v1/definitions/{NAME}/pause", {"reason": "broken", "actor": "ada"}, at=first.at)
    assert said.status == 200 and said.json["changed"] is True, said
    again = client.post(f"/v1/definitions/{NAME}/pause", {"reason": "broken", "actor": "ada"}, at=others[0].at)
    assert again.status == 200 and again.json["changed"] is False, again
    # At once on the replica that answered, within a second or so on the others.
    problem(client.post("/v1/transactions", {"definition": NAME, "input": {}}, at=first.at), 409, "definition_paused")
    everywhere(cluster, lambda at: client.get(f"/v1/definitions/{NAME}", at=at).json["paused"])
    for replica in cluster.replicas:
        got = problem(client.post("/v1/transactions", {"definition": NAME, "input": {}, "gid": gid + "-x"}, at=replica.at),
                      409, "definition_paused")
        assert got["retryable"] is True
        replay = client.post("/v1/transactions", {"gid": gid, "definition": NAME, "input": {}}, at=replica.at)
        assert replay.status == 202 and replay.headers["Saga-Replayed"] == "true", replay
    shown = client.get(f"/v1/definitions/{NAME}").json["paused"]
    assert (shown["by"], shown["reason"]) == ("ada", "broken") and shown["since"], shown
    stub.on("/a", Reply(200))
    assert client.ended(gid)["phase"] == "confirmed", "what runs goes on"
    assert client.post(f"/v1/definitions/{NAME}/resume", {"reason": "repaired"}, at=others[1].at).json["changed"] is True
    everywhere(cluster, lambda at: client.get(f"/v1/definitions/{NAME}", at=at).json["paused"] is None)
    assert client.begin(definition=NAME, input={}).status == 201


def test_pauses_are_audited_once_and_dry_runs_never(client, cluster, gid):
    host = f"{gid.lower()[:40].replace('_', '-')}.example:8080"

    def said(verb, query=""):
        return client.post(f"/v1/participants/{host}/{verb}{query}", {"reason": "why not", "actor": "bo"})

    assert said("pause", "?dry_run=true").json == {
        "dry_run": True, "calls": [],
        "would": {"action": "pause", "kind": "participant", "name": host, "paused": True, "changed": True}}
    assert client.get(f"/v1/audit?participant={host}").json["items"] == []
    assert [said(v).json["changed"] for v in ("pause", "pause")] == [True, False]
    for replica in cluster.replicas:  # those too that never called it show it, at once
        shown = [p for p in client.get("/v1/overview", at=replica.at).json["paused"] if p["name"] == host]
        assert [(p["kind"], p["by"], p["reason"]) for p in shown] == [("participant", "bo", "why not")] and shown[0]["since"], shown
    assert [said(v).json["changed"] for v in ("resume", "resume")] == [True, False]
    assert host not in [p["name"] for p in client.get("/v1/overview").json["paused"]]
    lines = client.get(f"/v1/audit?participant={host}").json["items"]
    assert [(e["action"], e["actor"], e["reason"], e["kind"]) for e in lines] == [
        ("resume", "bo", "why not", "participant"), ("pause", "bo", "why not", "participant")], lines
    assert all(e["request_id"] and e["replica"] and e["at"] for e in lines)


@pytest.mark.parametrize("path,code", [
    ("definitions/nobody/pause", "definition_unknown"), ("participants/nobody/pause", "participant_unknown"),
    ("participants/UPPER:80/pause", "participant_unknown"), ("participants/host:0/pause", "participant_unknown"),
    ("replicas/nobody/drain", "replica_unknown"),
    ("replicas/019ab000-0000-7000-8000-000000000000/drain", "replica_unknown")])
def test_what_is_not_there_cannot_be_paused(client, path, code):
    problem(client.post(f"/v1/{path}", {"reason": "x"}), 404, code)
    problem(client.post(f"/v1/{path}?dry_run=true", {"reason": "x"}), 404, code)


def test_a_pause_needs_a_reason_and_the_version_that_was_seen(client, stub):
    client.define(NAME, **definition(stub))
    problem(client.post(f"/v1/definitions/{NAME}/pause", {}), 400, "invalid_request")
    problem(client.post(f"/v1/definitions/{NAME}/pause", {"reason": "x"}, headers={"If-Match": '"99"'}), 412,
            "version_conflict")
    problem(client.post(f"/v1/definitions/{NAME}/pause?dry_run=maybe", {"reason": "x"}), 400, "bad_request")


def test_registrations_are_audited(client, stub, gid):
    name = gid[:60]
    for version in (1, 1, 2):
        client.put(f"/v1/definitions/{name}?actor=ada&reason=release-{version}",
                   {**definition(stub), "retention": f"{version}d"})
    lines = client.get(f"/v1/audit?definition={name}").json["items"]
    assert [(e["action"], e.get("before"), e["after"], e["reason"]) for e in lines] == [
        ("register", 1, 2, "release-2"), ("register", None, 1, "release-1")], lines
    client.put(f"/v1/participants/{name}", {"base_url": "http://h:1"})
    client.put(f"/v1/participants/{name}?actor=bo", {"base_url": "http://h:2"})
    lines = client.get(f"/v1/audit?participant={name}").json["items"]
    assert [(e["actor"], e.get("before"), e["after"], e["detail"]) for e in lines] == [
        ("bo", 1, 2, {"base_url": "http://h:2"}), ("operator", None, 1, {"base_url": "http://h:1"})], lines


def test_the_audit_pages_and_filters(client, gid):
    host = f"{gid.lower()[:40].replace('_', '-')}.example:81"
    for i in range(6):
        verb = "resume" if i % 2 else "pause"
        assert client.post(f"/v1/participants/{host}/{verb}", {"reason": f"r{i}", "actor": f"a{i % 3}"}).status == 200

    def listed(filters):
        found, cursor = [], ""
        for _ in range(20):
            page = client.get(f"/v1/audit?limit=2&participant={host}{filters}{cursor}").json
            found += [e["reason"] for e in page["items"]]
            if not page["next_cursor"]:
                return found
            cursor = f"&cursor={page['next_cursor']}"
        raise AssertionError("the audit has no end")

    assert listed("") == ["r5", "r4", "r3", "r2", "r1", "r0"]
    assert listed("&action=pause") == ["r4", "r2", "r0"]
    assert listed("&actor=a1") == ["r4", "r1"]
    assert listed("&since=1h") == ["r5", "r4", "r3", "r2", "r1", "r0"] and listed("&until=1h") == []
    problem(client.get(f"/v1/audit?participant={host}&gid=x"), 400, "bad_request")
    for action in ("zz", "", "start", "Pause"):
        problem(client.get(f"/v1/audit?action={action}"), 400, "bad_request")
    for action in ("abandon", "register", "drain", "resume"):
        assert client.get(f"/v1/audit?action={action}").status == 200
    first = client.get(f"/v1/audit?limit=2&participant={host}").json
    problem(client.get(f"/v1/audit?limit=2&cursor={first['next_cursor']}"), 400, "bad_request")


def test_a_replica_that_is_told_leaves_and_stays_up(make_cluster, stub):
    cluster = make_cluster()
    client = cluster.client
    stub.on("/a", Reply(202, Retry_After=1))
    leaver, *others = cluster.replicas
    begun = client.post("/v1/transactions", {"gid": "moves", "input": {}, **definition(stub)}, at=leaver.at)
    assert begun.status == 201
    ids = {r["address"]: r["id"] for r in client.get("/v1/replicas").json["items"]}
    path = f"/v1/replicas/{ids[leaver.url]}/drain"
    assert client.post(path + "?dry_run=true", {"reason": "x"}, at=others[0].at).json["would"]["changed"] is True
    told = client.post(path, {"reason": "new kernel"}, at=others[0].at)  # whoever is asked
    assert told.status == 200 and told.json["action"] == "drain", told
    until(lambda: leaver.ops("/readyz").status == 503 and leaver.ops("/readyz").json["state"] == "gone", 15)
    assert leaver.process.poll() is None, "it stays up"
    problem(client.post("/v1/transactions", {"input": {}, **definition(stub)}, at=leaver.at), 503, "not_live")
    stub.on("/a", Reply(200))
    assert client.get("/v1/transactions/moves?wait=20s", at=others[0].at).json["phase"] == "confirmed"
    problem(client.post(path, {"reason": "again"}, at=others[0].at), 404, "replica_unknown")
    assert [e["reason"] for e in client.get(f"/v1/audit?replica={ids[leaver.url]}", at=others[0].at).json["items"]] == [
        "new kernel"]
    assert leaver.terminate() == 0
