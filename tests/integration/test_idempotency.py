# SPDX-License-Identifier: Apache-2.0
"""The same start twice is one transaction; another content is an error."""
import concurrent.futures
import json
import uuid

from lib.client import problem
from lib.stub import Reply


def document(stub, **more):
    return {"mode": "saga", "input": {"n": 1},
            "steps": {"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}}, **more}


def test_same_gid_same_content_is_a_replay(client, stub, gid):
    body = json.dumps(document(stub, gid=gid))
    first = client.post("/v1/transactions?wait=20s", body)
    again = client.post("/v1/transactions?wait=20s", body)
    assert first.status == 201 and "Saga-Replayed" not in first.headers, first
    assert again.status == 200 and again.headers["Saga-Replayed"] == "true", again
    assert again.json["version"] == first.json["version"] and again.json["phase"] == "confirmed"
    assert len(stub.seen("/a")) == 1


def test_replay_of_a_running_one(client, stub, gid):
    stub.on("/a", Reply(200, delay=2))
    body = json.dumps(document(stub, gid=gid))
    assert client.post("/v1/transactions", body).status == 201
    again = client.post("/v1/transactions", body)
    assert again.status == 202 and again.headers["Saga-Replayed"] == "true", again
    again = client.post("/v1/transactions?wait=200ms", body)
    assert again.status == 202 and again.headers["Saga-Replayed"] == "true", again
    assert client.ended(gid)["phase"] == "confirmed"


def test_same_gid_other_content_is_refused(client, stub, gid):
    assert client.post("/v1/transactions", document(stub, gid=gid)).status == 201
    other = client.post("/v1/transactions", document(stub, gid=gid, input={"n": 2}))
    assert problem(other, 422, "idempotency_key_reused")["gid"] == gid


def test_idempotency_key_makes_the_gid(client, stub, gid):
    key = f"key {gid}"
    body = json.dumps(document(stub))
    first = client.post("/v1/transactions", body, headers={"Idempotency-Key": f'"{key}"'})
    bare = client.post("/v1/transactions?wait=20s", body, headers={"Idempotency-Key": key})
    assert first.status == 201, first
    assert bare.status == 200 and bare.json["gid"] == first.json["gid"], bare
    assert uuid.UUID(first.json["gid"]).version == 5
    other = client.post("/v1/transactions", document(stub, input=2), headers={"Idempotency-Key": key})
    problem(other, 422, "idempotency_key_reused")


def test_an_empty_idempotency_key_is_refused(client, stub):
    for key in ("", '""', " "):
        answer = client.post("/v1/transactions", document(stub), headers={"Idempotency-Key": key})
        problem(answer, 400, "bad_request")


def test_without_any_key_gids_are_new_and_in_time_order(client, stub):
    gids = [client.post("/v1/transactions", document(stub)).json["gid"] for _ in range(3)]
    assert all(uuid.UUID(g).version == 7 for g in gids) and len(set(gids)) == 3
    assert [g[:13] for g in gids] == sorted(g[:13] for g in gids)


def test_the_same_start_at_all_replicas_at_once_is_one_transaction(client, cluster, stub, gid):
    body = json.dumps(document(stub, gid=gid))
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(
            lambda i: client.post("/v1/transactions?wait=20s", body, at=cluster.replicas[i % 3].at), range(12)))
    assert sorted(a.status for a in answers) == [200] * 11 + [201], answers
    assert len(stub.seen("/a")) == 1
