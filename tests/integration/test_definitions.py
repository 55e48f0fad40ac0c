# SPDX-License-Identifier: Apache-2.0
"""Registering, reading and drawing definitions."""
from lib.client import problem

CALL = {"url": "http://127.0.0.1:9/x"}


def good(name=None):
    doc = {"mode": "saga", "steps": {
        "a": {"action": CALL, "compensate": CALL},
        "b": {"after": ["a"], "action": CALL, "compensate": CALL}}}
    return {"name": name, **doc} if name else doc


def test_versions_are_immutable_and_identical_content_changes_nothing(client, gid):
    first = client.put(f"/v1/definitions/{gid}", good(gid))
    assert first.status == 201 and first.json["version"] == 1, first
    again = client.put(f"/v1/definitions/{gid}", good(gid))
    assert again.status == 200 and again.json["version"] == 1, again
    other = good(gid)
    other["deadline"] = "5m"
    second = client.put(f"/v1/definitions/{gid}", other)
    assert second.status == 201 and second.json["version"] == 2, second
    assert client.get(f"/v1/definitions/{gid}").json["version"] == 2
    old = client.get(f"/v1/definitions/{gid}/versions/1")
    assert old.status == 200 and "deadline" not in old.json["document"], old
    problem(client.get(f"/v1/definitions/{gid}/versions/3"), 404, "definition_unknown")


def test_all_errors_at_once_each_with_its_pointer(client, gid):
    bad = {"mode": "saga", "deadline": "soon", "colour": "red", "steps": {
        "a": {"after": ["b"], "action": {"url": "ftp://x/"}, "compensate": CALL},
        "b": {"after": ["a", "nobody"], "action": CALL},
        "1bad": {"action": CALL}}}
    answer = client.put(f"/v1/definitions/{gid}", bad)
    pointers = {e["pointer"] for e in problem(answer, 422, "definition_invalid")["errors"]}
    assert {"/deadline", "/colour", "/steps/a/action/url", "/steps/b/after/1", "/steps/1bad"} <= pointers, pointers
    problem(client.get(f"/v1/definitions/{gid}"), 404, "definition_unknown")


def test_validate_stores_nothing(client, gid):
    ok = client.post("/v1/definitions/validate", good(gid))
    assert ok.status == 200 and ok.json["valid"] is True and ok.json["errors"] == [], ok
    bad = good(gid)
    bad["steps"]["b"]["after"] = ["b"]
    no = client.post("/v1/definitions/validate", bad)
    assert no.status == 200 and no.json["valid"] is False and no.json["errors"], no
    problem(client.get(f"/v1/definitions/{gid}"), 404, "definition_unknown")


def test_missing_compensation_warns_and_with_strict_fails(client, gid):
    doc = {"mode": "saga", "steps": {"a": {"action": CALL}, "b": {"after": ["a"], "action": CALL}}}
    warned = client.post("/v1/definitions/validate", doc)
    assert warned.json["valid"] and warned.json["warnings"], warned
    strict = client.post("/v1/definitions/validate", {**doc, "strict": True})
    assert not strict.json["valid"], strict


def test_name_in_the_document_must_match(client, gid):
    answer = client.put(f"/v1/definitions/{gid}", good("another"))
    problem(answer, 422, "definition_invalid")


def test_mermaid(client, gid):
    client.put(f"/v1/definitions/{gid}", good(gid))
    answer = client.get(f"/v1/definitions/{gid}", headers={"Accept": "text/vnd.mermaid"})
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/vnd.mermaid"), answer
    assert answer.text.startswith("flowchart") or answer.text.startswith("graph"), answer
    assert "a" in answer.text and "-->" in answer.text


def test_list_pages_through_all(client, gid):
    names = {f"{gid}-{i}" for i in range(5)}
    for n in names:
        client.put(f"/v1/definitions/{n}", good(n))
    found, cursor = set(), ""
    for _ in range(200):
        page = client.get(f"/v1/definitions?limit=2{cursor}").json
        assert len(page["items"]) <= 2
        found |= {d["name"] for d in page["items"]}
        if not page.get("next_cursor"):
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert names <= found


def test_if_match(client, gid):
    first = client.put(f"/v1/definitions/{gid}", good(gid))
    assert first.headers["ETag"], first.headers
    other = good(gid)
    other["deadline"] = "1m"
    stale = client.put(f"/v1/definitions/{gid}", other, headers={"If-Match": '"99"'})
    problem(stale, 412, "version_conflict")
    right = client.put(f"/v1/definitions/{gid}", other, headers={"If-Match": first.headers["ETag"]})
    assert right.status == 201, right


def test_a_dry_registration_stores_nothing(client, gid):
    path = f"/v1/definitions/{gid}?dry_run=true"

    def would(document, **more):
        answer = client.put(path, document, **more)
        assert answer.status == 200 and answer.json["dry_run"] is True and answer.json["calls"] == [], answer
        got = answer.json["would"]
        assert (got["action"], got["kind"], got["name"]) == ("register", "definition", gid), got
        assert got["warnings"] == client.post("/v1/definitions/validate", document).json["warnings"] != [], got
        return got["before"], got["after"]

    assert would(good(gid)) == (None, 1)
    problem(client.put(path, good(gid), headers={"If-Match": "*"}), 412, "version_conflict")
    problem(client.get(f"/v1/definitions/{gid}"), 404, "definition_unknown")
    first = client.put(f"/v1/definitions/{gid}", good(gid))
    assert would(good(gid)) == (1, 1)
    assert would({**good(gid), "deadline": "5m"}, headers={"If-Match": first.headers["ETag"]}) == (1, 2)
    problem(client.put(path, good(gid), headers={"If-Match": '"2"'}), 412, "version_conflict")
    problem(client.put(path, good("another")), 422, "definition_invalid")
    problem(client.put(f"/v1/definitions/{gid}?dry_run=", good(gid)), 400, "bad_request")
    assert client.get(f"/v1/definitions/{gid}").json["version"] == 1
    assert len(client.get(f"/v1/audit?definition={gid}").json["items"]) == 1


def test_begin_of_an_unknown_definition_or_version(client, gid):
    problem(client.begin(gid=gid, definition="nobody-registered-this", input={}), 404, "definition_unknown")
    client.put(f"/v1/definitions/{gid}", good(gid))
    problem(client.begin(gid=gid, definition=gid, version=9, input={}), 404, "definition_unknown")


def test_published_schema_and_openapi_are_served(client):
    schema = client.get("/v1/definition.schema.json")
    assert schema.status == 200 and schema.json["$schema"].endswith("2020-12/schema"), schema
    openapi = client.get("/v1/openapi.yaml")
    assert openapi.status == 200 and openapi.text.startswith("openapi: 3.1"), openapi


def test_too_many_steps_have_a_code_of_their_own(client, gid):
    steps = {f"s{i}": {"action": CALL, "compensate": CALL} for i in range(257)}
    got = problem(client.put(f"/v1/definitions/{gid}", {"mode": "saga", "steps": steps}), 422, "too_many_steps")
    assert got["errors"][0]["pointer"] == "/steps/s256", got
    problem(client.begin(gid=gid, mode="saga", steps=steps, input={}), 422, "too_many_steps")
    assert client.begin(gid=gid, mode="tcc", deadline="1m", input={}).status == 201
    for i in range(256):
        assert client.post(f"/v1/transactions/{gid}/steps", {"name": f"s{i}", "confirm": CALL}).status == 201
    for _ in range(3):  # at the owner, and through its inbox
        answer = client.post(f"/v1/transactions/{gid}/steps", {"name": "s256", "confirm": CALL})
        problem(answer, 422, "too_many_steps")
    assert client.post(f"/v1/transactions/{gid}/pause", {"reason": "tested"}).status == 200
