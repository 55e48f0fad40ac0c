# SPDX-License-Identifier: Apache-2.0
"""What DTM's clients put on the wire, language by language, to the letter: they differ in what they leave out, send as null, or twice."""
import pytest

from lib.dtm import params_of, success
from lib.stub import Reply

STEPS = '[{"action":"URL/a","compensate":"URL/a-undo"},{"action":"URL/b","compensate":"URL/b-undo"}]'
PAYLOADS = r'["{\"amount\":30}","{\"amount\":30}"]'
SAGAS = {
    "go": '{"gid":"GID","trans_type":"saga","wait_result":true,"concurrent":false,"steps":%s,"payloads":%s,"protocol":""}' % (STEPS, PAYLOADS),
    "python": '{"gid": "GID", "trans_type": "saga", "custom_data": null, "steps": %s, "payloads": %s, "query_prepared": null, "protocol": null, '
              '"wait_result": true, "timeout_to_fail": 0, "request_timeout": 8, "retry_interval": 0, "passthrough_headers": [], '
              '"branch_headers": {}, "concurrent": false}' % (STEPS, PAYLOADS),
    # Its serializer writes the type's member beside a field of the same name.
    "java": '{"subType":"saga","gid":"GID","trans_type":"saga","subType":"saga","steps":%s,"payloads":%s,"custom_data":null,"wait_result":true,'
            '"timeout_to_fail":0,"retry_interval":0,"passthrough_headers":[],"branch_headers":{}}' % (STEPS, PAYLOADS),
    "csharp": '{\r\n  "gid": "GID",\r\n  "trans_type": "saga",\r\n  "custom_data": null,\r\n  "wait_result": true,\r\n  "timeout_to_fail": 0,\r\n'
              '  "retry_interval": 0,\r\n  "passthrough_headers": null,\r\n  "branch_headers": null,\r\n  "steps": %s,\r\n  "payloads": %s,\r\n'
              '  "query_prepared": null\r\n}' % (STEPS, PAYLOADS),
    "node": '{"gid":"GID","trans_type":"saga","steps":%s,"payloads":%s,"wait_result":true}' % (STEPS, PAYLOADS),
    "old": '{"gid":"GID","trans_type":"saga","wait_result":true,"steps":['
           r'{"action":"URL/a","compensate":"URL/a-undo","data":"{\"amount\":30}"},'
           r'{"action":"URL/b","compensate":"URL/b-undo","data":"{\"amount\":30}"}]}',
}
GLOBALS = {  # of a tcc: prepare, submit and abort have the same
    "go": '{"gid":"GID","trans_type":"tcc","concurrent":false,"protocol":""}',
    "python": '{"gid": "GID", "trans_type": "tcc"}',
    "java": '{"subType":"OperatorParam","gid":"GID","trans_type":"tcc","subType":null}',
    "csharp": '{\r\n  "gid": "GID",\r\n  "trans_type": "tcc",\r\n  "custom_data": null,\r\n  "steps": null,\r\n  "payloads": null\r\n}',
    "node": '{"gid":"GID","trans_type":"tcc"}',
    "php": '{"gid":"GID","trans_type":"tcc"}',
}
MEMBERS = r'"branch_id":"BRANCH","data":"{\"amount\":30}","confirm":"URL/BRANCH-confirm","cancel":"URL/BRANCH-cancel"}'
BRANCHES = {
    "go": ("registerBranch", '{"gid":"GID","trans_type":"tcc",' + MEMBERS),
    "python": ("registerBranch", '{"gid": "GID", "trans_type": "tcc", "status": "prepared", ' + MEMBERS),
    "java": ("registerBranch", '{"subType":"tcc","gid":"GID","trans_type":"tcc","subType":"tcc","status":"prepared",' + MEMBERS),
    "csharp": ("registerBranch", '{\r\n  "gid": "GID",\r\n  "trans_type": "tcc",\r\n  ' + MEMBERS),
    "node": ("registerTccBranch", '{"gid":"GID","trans_type":"tcc","status":"prepared","try":"URL/BRANCH-try",' + MEMBERS),
    "php": ("registerTccBranch", '{"gid":"GID","trans_type":"tcc","status":"prepared","try":"URL\\/BRANCH-try",' + MEMBERS),
}


@pytest.fixture
def post(dtm_cluster, stub, gid):
    def send(route, body, branch=""):
        body = body.replace("URL", stub.url).replace("GID", gid).replace("BRANCH", branch)
        return dtm_cluster.client.post("/api/dtmsvr/" + route, body)

    return send


@pytest.mark.parametrize("client", SAGAS)
def test_saga(post, dtm, stub, gid, client):
    success(post("submit", SAGAS[client]))
    t = dtm("saga")
    assert t.ended() == "succeed" and t.called() == ["/a action", "/b action"]
    assert [c.body for c in stub.calls] == [b'{"amount":30}'] * 2
    assert params_of(stub.calls[1]) == {"gid": gid, "trans_type": "saga", "branch_id": "02", "op": "action"}


@pytest.mark.parametrize("client", SAGAS)
def test_saga_that_is_refused(post, dtm, stub, client):
    stub.on("/b", Reply(409, "FAILURE"))
    answer = post("submit", SAGAS[client])
    assert answer.status == 409 and "FAILURE" in answer.text
    t = dtm("saga")
    assert t.status() == "failed" and t.called() == ["/a action", "/b action", "/b-undo compensate", "/a-undo compensate"]


@pytest.mark.parametrize("decision", ["submit", "abort"])
@pytest.mark.parametrize("client", GLOBALS)
def test_tcc(post, dtm, stub, client, decision):
    success(post("prepare", GLOBALS[client]))
    route, body = BRANCHES[client]
    for branch in ("01", "02"):
        success(post(route, body, branch))
    success(post(decision, GLOBALS[client]))
    t, op = dtm("tcc"), "confirm" if decision == "submit" else "cancel"
    assert t.ended() == ("succeed" if decision == "submit" else "failed")
    assert sorted(t.called()) == [f"/01-{op} {op}", f"/02-{op} {op}"] and {c.body for c in stub.calls} == {b'{"amount":30}'}


def test_what_stands_twice_counts_as_it_stands_last(post, dtm):
    success(post("submit", '{"gid":"x","trans_type":"tcc","Gid":"GID","trans_type":"saga","wait_result":true}'))
    assert dtm("saga").status() == "succeed"


def test_ids_fit_the_numbers_of_every_client(post, dtm):
    """C#'s reads them into 32 bits, with a sign."""
    success(post("submit", SAGAS["csharp"]))
    got = dtm("saga").query()
    for row in (got["transaction"], *got["branches"]):
        assert 0 < row["id"] < 2 ** 31, row
