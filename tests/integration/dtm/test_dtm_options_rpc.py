# SPDX-License-Identifier: Apache-2.0
"""JSON-RPC to the server: ids of every type, what is no request, and every kind of answer in its codes."""
import json

import pytest

from lib.base import until
from lib.client import problem
from lib.dtm import Dtm, make_cluster
from lib.stub import Reply

PARSE, REQUEST, METHOD, INTERNAL, FAILURE, ONGOING = -32700, -32600, -32601, -32603, -32901, -32902


def ask(cluster, body, **options):
    answer = cluster.client.post("/api/json-rpc", body, **options)
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json; charset=utf-8", answer
    assert list(answer.json) == ["jsonrpc", "id", "error", "result"] and answer.json["jsonrpc"] == "2.0"
    return answer.json


def call(cluster, method, params=None, **options):
    return ask(cluster, {"jsonrpc": "2.0", "id": "7", "method": method, "params": params}, **options)


def code_of(got):
    assert got["result"] is None and set(got["error"]) == {"code", "message"} and got["error"]["message"], got
    return got["error"]["code"]


@pytest.mark.parametrize("body", [b"", b"{", b"nothing", b'{"id":"1","id":"2"}', b"\xff", b"[" * 100])
def test_what_is_no_json(dtm_cluster, body):
    got = ask(dtm_cluster, body)
    assert code_of(got) == PARSE and got["id"] is None


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"{}", b'[{"jsonrpc":"2.0","id":"1","method":"newGid"}]',
                                  b'{"id":"1","method":"newGid"}', b'{"jsonrpc":2.0,"id":"1","method":"newGid"}',
                                  b'{"jsonrpc":"2.0","method":"newGid"}'])  # the last is a notification
def test_what_is_no_request(dtm_cluster, body):
    assert code_of(ask(dtm_cluster, body)) == REQUEST


@pytest.mark.parametrize("given", [None, 1, 1.5, True, [], {}, ["x"], ""])
def test_an_id_is_a_text_that_is_not_empty(dtm_cluster, given):
    got = ask(dtm_cluster, {"jsonrpc": "2.0", "id": given, "method": "newGid"})
    assert code_of(got) == REQUEST and got["id"] in (None, "")


@pytest.mark.parametrize("given", ["1", "\u00e4", "a\"b\\c", "x" * 500, "\U0001f600", "${x}"])
def test_the_answer_has_the_id_of_the_question(dtm_cluster, given):
    got = ask(dtm_cluster, {"jsonrpc": "2.0", "id": given, "method": "newGid"})
    assert got["id"] == given and got["error"] is None and len(got["result"]["gid"]) == 22


@pytest.mark.parametrize("method", [None, 1, [], "", "NewGid", "query", "forceStop", "x" * 2000])
def test_a_method_that_is_none(dtm_cluster, method):
    got = ask(dtm_cluster, {"jsonrpc": "2.0", "id": "1", "method": method})
    assert code_of(got) == METHOD and got["id"] == "1"


@pytest.mark.parametrize("params", [[], [1], 1, "x", True])
def test_params_that_are_no_object(dtm_cluster, params):
    assert code_of(call(dtm_cluster, "submit", params)) == REQUEST


@pytest.mark.parametrize("method", ["prepare", "submit", "abort", "registerBranch"])
def test_what_the_method_refuses_is_internal(dtm_cluster, method):
    for params in (None, {}, {"gid": 1}, {"gid": "a b"}, {"gid": "nobody-" + method, "trans_type": []}):
        assert code_of(call(dtm_cluster, method, params)) == INTERNAL


def test_failures_and_what_goes_on_have_codes_of_their_own(dtm_cluster, dtm, stub, gid):
    stub.on("/slow", Reply(425), Reply(425), Reply(200))
    saga = dtm("saga", wait_result=True, retry_interval=100000).add("/slow", "/undo")
    late = call(dtm_cluster, "submit", saga.body(), headers={"Prefer": "wait=0"})
    assert code_of(late) == ONGOING and "query tells how" in late["error"]["message"]
    no = call(dtm_cluster, "abort", saga.body())
    assert code_of(no) == FAILURE and no["error"]["message"] == "trans type: 'saga' current status 'submitted', cannot abort. FAILURE"
    assert code_of(call(dtm_cluster, "registerBranch", {"gid": gid, "branch_id": "01", "trans_type": "tcc"})) == FAILURE
    saga.post("forceStop", {"gid": gid})


def test_a_whole_saga(dtm_cluster, dtm, stub):
    stub.on("/b", Reply(409))
    fine, bad = dtm("saga").add("/a"), dtm("saga", gid=dtm("saga").gid + "-2").add("/b", "/b-undo")
    assert call(dtm_cluster, "submit", fine.body(wait_result=True))["result"] == {"dtm_result": "SUCCESS"}
    assert code_of(call(dtm_cluster, "submit", bad.body(wait_result=True))) == FAILURE
    assert call(dtm_cluster, "submit", fine.body())["result"] == {"dtm_result": "SUCCESS"}
    assert json.dumps(call(dtm_cluster, "submit", bad.body())).count("cannot sumbmit. FAILURE") == 1


def test_who_finds_no_place_to_wait_has_begun_nothing(postgres, stub, gid):
    cluster, remove = make_cluster(postgres, count=1, flags=["--max-waiters=0"])
    tcc = Dtm(cluster.client, stub, "tcc", gid, wait_result=True)
    try:
        for kind in ("saga", "msg"):
            t = Dtm(cluster.client, stub, kind, f"{gid}-{kind}", wait_result=True).add("/a", "")
            problem(t.submit(), 429, "too_many_waiters")
            assert code_of(call(cluster, "submit", t.body())) == INTERNAL
            assert t.query()["transaction"] is None
        assert tcc.prepare().status == 200
        problem(tcc.submit(), 429, "too_many_waiters")
        assert tcc.status() == "prepared" and not stub.calls
        assert t.submit(wait_result=False).status == 200  # has no need of one
        until(lambda: t.status() == "succeed")
    finally:
        remove()
