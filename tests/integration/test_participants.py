# SPDX-License-Identifier: Apache-2.0
"""Participants by name: base URL, limit of calls under way, signed calls; and the rest of the headers."""
import base64
import concurrent.futures
import datetime
import hashlib
import hmac
import time

from lib.base import until
from lib.client import problem
from lib.stub import Reply

SECRET = b"a secret of 24 bytes or so"


def named(name, path="/a"):
    return {"a": {"action": {"participant": name, "path": path},
                  "compensate": {"participant": name, "path": "/undo"}}}


def test_calls_by_name(client, stub, gid):
    name = f"p-{gid}"[:60].replace("_", "-")
    put = client.put(f"/v1/participants/{name}", {"base_url": stub.url + "/base"})
    assert put.status in (200, 201), put
    got = client.run(gid=gid, mode="saga", steps=named(name, "/x/${gid}"), input={})
    assert got["phase"] == "confirmed", got
    assert [c.path for c in stub.calls] == [f"/base/x/{gid}"]


def test_an_unknown_participant_waits_for_its_registration(client, stub, gid):
    """A missing name is a setting to put right, no reason to move money back."""
    name = f"late-{gid}"[:60].replace("_", "-")
    client.begin(gid=gid, mode="saga", steps=named(name), input={})
    time.sleep(0.5)
    assert client.transaction(gid)["phase"] == "trying"
    client.put(f"/v1/participants/{name}", {"base_url": stub.url})

    def is_told():  # unless its own next attempt has come first
        told = client.post(f"/v1/transactions/{gid}/retry", {"reason": "it is registered now"})
        return told.status == 200 or told.json["code"] == "ended"

    until(is_told)
    assert client.ended(gid)["phase"] == "confirmed"


def test_bad_participants(client):
    for body in ({}, {"base_url": "ftp://x"}, {"base_url": "http://u:p@x"}, {"base_url": 5},
                 {"base_url": "http://x:99999"}, {"base_url": "http://[::1"}, {"base_url": "http://x/%zz"},
                 {"base_url": "http://x", "colour": "red"}, {"base_url": "http://x", "secret": "../../etc/passwd"}):
        answer = client.put("/v1/participants/bad", body)
        assert answer.status in (400, 422), answer
        problem(answer, answer.status, answer.json["code"])


def test_at_most_max_in_flight_calls_at_once(make_cluster, stub):
    cluster = make_cluster(count=1)
    client = cluster.client
    stub.on("/a", Reply(200, delay=0.3))
    client.put("/v1/participants/narrow", {"base_url": stub.url, "max_in_flight": 3})
    client.define("narrow", mode="saga", steps=named("narrow"))
    for i in range(12):
        client.begin(gid=f"n{i}", definition="narrow", input={})
    for i in range(12):
        assert client.ended(f"n{i}")["phase"] == "confirmed"
    began = sorted(c.at for c in stub.seen("/a"))
    for first, fourth in zip(began, began[3:]):
        assert fourth - first > 0.25, "a fourth call only when one of three has ended"


def test_signed_calls(make_cluster, stub, tmp_path):
    (tmp_path / "bank-secret").write_bytes(SECRET + b"\n")
    cluster = make_cluster(count=1, flags=[f"--secrets-dir={tmp_path}"])
    client = cluster.client
    registered = client.put("/v1/participants/bank", {"base_url": stub.url, "secret": "bank-secret"})
    assert registered.status == 200, registered
    got = client.run(mode="saga", steps=named("bank"), input={"n": 1})
    assert got["phase"] == "confirmed", got
    call = stub.calls[0]
    stamp = call.headers["webhook-timestamp"]
    assert abs(int(stamp) - time.time()) < 30
    signed = b".".join([call.headers["webhook-id"].encode(), stamp.encode(), call.body])
    wanted = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert call.headers["webhook-signature"] == f"v1,{wanted}"


def test_a_secret_is_replaced_while_both_are_good(make_cluster, stub, tmp_path):
    """The file's lines: the new one first, the old one until the receiver knows the new."""
    new = b"the next secret, as long"
    (tmp_path / "bank-secret").write_bytes(b"whsec_" + base64.b64encode(new) + b"\n" + SECRET + b"\n")
    client = make_cluster(count=1, flags=[f"--secrets-dir={tmp_path}"]).client
    assert client.put("/v1/participants/bank", {"base_url": stub.url, "secret": "bank-secret"}).status == 200
    assert client.run(mode="saga", steps=named("bank"), input={})["phase"] == "confirmed"
    call = stub.calls[0]
    signed = b".".join([call.headers["webhook-id"].encode(), call.headers["webhook-timestamp"].encode(), call.body])
    wanted = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in (new, SECRET)]
    assert call.headers["webhook-signature"] == f"v1,{wanted[0]} v1,{wanted[1]}"


def test_what_a_call_carries(client, stub, gid):
    client.begin(gid=gid, mode="saga", deadline="5m", input={},
                 steps={"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}}, wait="20s")
    headers = stub.calls[0].headers
    assert (headers["Saga-Id"], headers["Saga-Step"], headers["Saga-Op"]) == (gid, "a", "try")
    left = datetime.datetime.fromisoformat(headers["Saga-Deadline"].replace("Z", "+00:00")) - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(minutes=4) < left < datetime.timedelta(minutes=6)
    assert headers["traceparent"].startswith("00-") and len(headers["traceparent"]) == 55
    assert headers["Saga-Callback"].startswith("http://127.0.0.1:")
    assert "webhook-signature" not in headers and "Expect" not in headers


def test_redirects_are_not_followed(client, stub, gid):
    stub.on("/a", Reply(307, Location=stub.url + "/elsewhere"))
    client.begin(gid=gid, mode="saga", deadline="1500ms", input={}, wait="20s",
                 steps={"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}})
    assert stub.seen("/a") and not stub.seen("/elsewhere")
    assert client.ended(gid)["phase"] == "cancelled"


def test_denied_networks_are_never_called(client, gid):
    answer = client.begin(gid=gid, mode="saga", deadline="1500ms", input={},
                          steps={"a": {"action": {"url": "http://169.254.169.254/latest/meta-data"}, "compensate": {"url": "http://169.254.169.254/x", "outcomes": {"404": "ok"}}}})
    got = problem(answer, 422, "definition_invalid")
    assert len(got["errors"]) == 2 and all("169.254.169.254:80" in e["detail"] for e in got["errors"]), got


def test_a_name_registered_anew_counts_at_once_where_it_was_registered(client, stub, gid):
    at = client.addresses()[0]
    for n in range(5):
        assert client.put(f"/v1/participants/moving-{gid}", {"base_url": f"{stub.url}/{n}"}, at=at).status == 200
        steps = {"a": {"kind": "retriable", "action": {"participant": f"moving-{gid}", "path": "/x"}}}
        answer = client.send("POST", "/v1/transactions?wait=20s", {"mode": "saga", "input": {}, "steps": steps}, at=at)
        assert answer.json["phase"] == "confirmed", answer
        until(lambda: stub.calls)
    assert [c.path for c in stub.calls] == [f"/{n}/x" for n in range(5)]


def test_each_replica_tells_what_it_has_seen(client, stub, gid):
    """Whoever is asked asks the one that is meant."""
    at = client.addresses()
    client.send("POST", "/v1/transactions?wait=20s", {"mode": "saga", "input": {}, "steps": {"a": {
        "kind": "retriable", "action": {"url": stub.url + "/seen"}}}}, at=at[0])
    views = {a: client.get("/v1/participants", at=a).json for a in at}
    assert len({v["replica"] for v in views.values()}) == len(at)
    for asked in at:
        for view in views.values():
            answer = client.get(f"/v1/participants?replica={view['replica']}", at=asked)
            assert answer.status == 200 and answer.json["replica"] == view["replica"], answer
            assert any(t["name"] == stub.host for t in answer.json["targets"]) == (view is views[at[0]]), answer
    problem(client.get("/v1/participants?replica=00000000-0000-4000-8000-000000000000"), 404, "replica_unknown")


def test_of_two_who_saw_the_same_version_one_registers(client, stub, gid):
    path = f"/v1/participants/{gid[:60]}"

    def put(version, **more):
        return client.put(path, {"base_url": stub.url, **more}, headers={"If-Match": version})

    for version in ("*", '"1"', '"0"'):  # none is there yet
        problem(put(version), 412, "version_conflict")
    made = client.put(path, {"base_url": stub.url})
    assert (made.status, made.json["version"], made.headers["ETag"]) == (200, 1, '"1"'), made
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: put('"1"', max_in_flight=n), range(1, 9)))
    won = [a for a in answers if a.status == 200]
    assert len(won) == 1 and won[0].json["version"] == 2, answers
    for a in answers:
        assert a is won[0] or problem(a, 412, "version_conflict"), a
    known = next(p for p in client.get("/v1/participants").json["items"] if p["name"] == gid[:60])
    assert (known["version"], known["max_in_flight"]) == (2, won[0].json["max_in_flight"]), known
    for version in ('"1"', '"3"', '"0"', '"18446744073709551615"'):
        problem(put(version), 412, "version_conflict")
    assert put("*").json["version"] == 3
    lines = client.get(f"/v1/audit?participant={gid[:60]}").json["items"]
    assert [(e.get("before"), e["after"]) for e in lines] == [(2, 3), (1, 2), (None, 1)], lines


def test_a_dry_registration_says_what_would_change(client, stub, gid):
    name = gid[:60]

    def would(expect, body, **more):
        answer = client.put(f"/v1/participants/{name}?dry_run=true", body, **more)
        assert answer.status == 200, answer
        assert answer.json == {"dry_run": True, "calls": [], "would": {
            "action": "register", "kind": "participant", "name": name, **expect}}, answer

    known = {"base_url": stub.url, "max_in_flight": 7, "breaker_percent": 0, "secret": "s"}
    would({"before": None, "after": 1, "changes": ["base_url", "max_in_flight", "breaker_percent", "secret"]}, known)
    assert name not in [p["name"] for p in client.get("/v1/participants").json["items"]]
    assert client.put(f"/v1/participants/{name}", known).status == 200
    would({"before": 1, "after": 2, "changes": []}, known)
    would({"before": 1, "after": 2, "changes": ["max_in_flight", "retry_percent"]},
          {**known, "max_in_flight": 8, "retry_percent": 9}, headers={"If-Match": '"1"'})
    path = f"/v1/participants/{name}?dry_run=true"
    problem(client.put(path, known, headers={"If-Match": '"2"'}), 412, "version_conflict")
    problem(client.put(path, {"base_url": "http://169.254.169.254"}), 422, "url_refused")
    problem(client.put(path, {"base_url": "ftp://x"}), 400, "invalid_request")
    problem(client.put(f"/v1/participants/{name}?dry_run=maybe", known), 400, "bad_request")
    assert next(p for p in client.get("/v1/participants").json["items"] if p["name"] == name)["version"] == 1
    assert len(client.get(f"/v1/audit?participant={name}").json["items"]) == 1
