# SPDX-License-Identifier: Apache-2.0
"""What is of no kind: gids, the version, JSON-RPC, and who may ask."""
from lib.dtm import success


def test_new_gid_ping_and_version(dtm_cluster):
    client = dtm_cluster.client
    got = [client.get("/api/dtmsvr/newGid").json for _ in range(20)]
    assert all(set(g) == {"gid", "dtm_result"} and g["dtm_result"] == "SUCCESS" and len(g["gid"]) == 22 for g in got), got
    assert len({g["gid"] for g in got}) == 20
    assert client.get("/api/dtmsvr/version").json == {"version": "v1.19.0"}
    assert client.get("/api/ping").json == client.post("/api/ping").json == {"msg": "pong"}


def test_gids_made_one_after_another_are_in_order(dtm_cluster):
    at = dtm_cluster.replicas[0].at
    gids = [dtm_cluster.client.send("GET", "/api/dtmsvr/newGid", at=at).json["gid"] for _ in range(3)]
    assert [g[:4] for g in gids] == sorted(g[:4] for g in gids)


def rpc(cluster, method, params=None, **more):
    body = {"jsonrpc": "2.0", "id": "x", "method": method, "params": params, **more}
    answer = cluster.client.post("/api/json-rpc", {k: v for k, v in body.items() if v is not None})
    assert answer.status == 200 and answer.json["jsonrpc"] == "2.0", answer
    return answer.json


def test_json_rpc(dtm_cluster, dtm, stub, gid):
    made = rpc(dtm_cluster, "newGid")
    assert made["id"] == "x" and made["error"] is None and len(made["result"]["gid"]) == 22
    tcc = dtm("tcc", timeout_to_fail=30000)
    fine = {"jsonrpc": "2.0", "id": "x", "error": None, "result": {"dtm_result": "SUCCESS"}}
    assert rpc(dtm_cluster, "prepare", tcc.body()) == fine
    branch = {"gid": gid, "branch_id": "01", "trans_type": "tcc", "data": "x", "confirm": stub.url + "/yes", "cancel": stub.url + "/no"}
    assert rpc(dtm_cluster, "registerBranch", branch) == fine
    assert rpc(dtm_cluster, "submit", tcc.body(wait_result=True)) == fine
    assert tcc.called() == ["/yes confirm"]
    no = rpc(dtm_cluster, "abort", tcc.body())
    assert no["error"]["code"] == -32901 and no["error"]["message"].endswith("cannot abort. FAILURE") and no["result"] is None


def test_json_rpc_that_is_none(dtm_cluster):
    client = dtm_cluster.client
    assert client.post("/api/json-rpc", b"{").json["error"]["code"] == -32700
    assert rpc(dtm_cluster, "newGid", id="")["error"]["code"] == -32600
    assert rpc(dtm_cluster, "newGid", id=7)["error"]["code"] == -32600
    assert rpc(dtm_cluster, "newGid", jsonrpc="1.0")["error"]["code"] == -32600
    assert rpc(dtm_cluster, "newGid", params=[1])["error"]["code"] == -32600
    assert rpc(dtm_cluster, "query")["error"]["code"] == -32601
    assert rpc(dtm_cluster, "submit", {"trans_type": "saga"})["error"]["code"] == -32603
    late = rpc(dtm_cluster, "submit")["error"]
    assert late["code"] == -32603 and "no gid specified" in late["message"]


def test_without_the_flag_a_second_is_one(cluster, stub, gid):
    client = cluster.client
    success(client.post("/api/dtmsvr/prepare", {"gid": gid, "trans_type": "tcc"}))
    got = client.transaction(gid)
    assert got["deadline_at"] > got["created_at"] and got["phase"] == "prepared"
    assert '"deadline":"35s"' in client.get(f"/v1/transactions/{gid}").text
    success(client.post("/api/dtmsvr/abort", {"gid": gid, "trans_type": "tcc"}))
