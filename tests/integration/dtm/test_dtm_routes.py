# SPDX-License-Identifier: Apache-2.0
"""What is of no kind: gids, the version, JSON-RPC, and who may ask."""
import datetime
import urllib.parse

import psycopg

from lib.base import until
from lib.dtm import success
from lib.stub import Reply


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
    assert [g[:13] for g in gids] == sorted(g[:13] for g in gids)


def test_gids_that_were_asked_for_are_born_in_the_nursery(dtm_cluster, dtm):
    """Like those that we make, once it is open; a gid of the client's own is in the index of owners from its birth."""
    at = dtm_cluster.replicas[0].at

    def is_young(prefix):
        tcc = dtm("tcc", gid=prefix + dtm_cluster.client.get("/api/dtmsvr/newGid", at=at).json["gid"], timeout_to_fail=30000)
        success(dtm_cluster.client.post("/api/dtmsvr/prepare", tcc.body(), at=at))
        with psycopg.connect(dtm_cluster.dsn) as db:
            [(young,)] = db.execute("SELECT young FROM sagad.transaction WHERE gid = %s", (tcc.gid,)).fetchall()
        success(tcc.abort())
        return young

    until(lambda: is_young(""))
    assert not is_young("own-")


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


def all_of(cluster, **query):
    answer = cluster.client.get("/api/dtmsvr/all?" + urllib.parse.urlencode(query))
    assert answer.status == 200, answer
    return answer.json


def test_all_is_newest_first_in_pages(dtm_cluster, dtm, stub, gid):
    gids = [f"{gid}-{n}" for n in range(5)]
    for name in gids:
        success(dtm("saga", gid=name, wait_result=True).add("/a", "").submit())
    seen, position = [], ""
    while set(gids) - set(seen):
        page = all_of(dtm_cluster, limit=2, position=position, transType="saga", status="succeed")
        assert len(page["transactions"]) == 2 or not page["next_position"], page
        seen += [t["gid"] for t in page["transactions"]]
        position = page["next_position"]
    assert [g for g in seen if g in gids] == gids[::-1]
    assert len(set(seen)) == len(seen)
    page = all_of(dtm_cluster, limit=0, transType="saga", status="succeed")  # is no limit: 100
    assert [t["gid"] for t in page["transactions"]][:5] == gids[::-1]


def test_all_filters(dtm_cluster, dtm, stub, gid):
    tcc = dtm("tcc", gid=gid + "-t", timeout_to_fail=30000)
    success(tcc.prepare())
    saga = dtm("saga", gid=gid + "-s", wait_result=True).add("/a", "")
    success(saga.submit())

    def found(**query):
        return {t["gid"] for t in all_of(dtm_cluster, **{"limit": 1000, **query})["transactions"]}

    assert found(gid=tcc.gid, status="failed", limit=1) == {tcc.gid}  # all else is ignored
    assert found(gid="nobody") == set()
    assert tcc.gid in found(status="prepared", transType="tcc") and saga.gid not in found(status="prepared")
    assert saga.gid in found(transType="saga") and tcc.gid not in found(transType="saga")
    assert found(status="magic") == found(transType="sa") == found(transType="%") == found(position="nonsense") == set()
    at = dtm_cluster.client.transaction(saga.gid)["created_at"]
    ms = int(datetime.datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() * 1000)
    assert saga.gid in found(createTimeStart=ms - 1, createTimeEnd=ms + 1)
    assert saga.gid not in found(createTimeStart=ms + 2) and saga.gid not in found(createTimeEnd=ms - 2)
    last = all_of(dtm_cluster, limit=1000)
    assert last["next_position"] == "" and tcc.gid in {t["gid"] for t in last["transactions"]}
    success(tcc.abort())


def test_all_shows_nothing_of_others(dtm_cluster, stub, gid):
    dtm_cluster.client.run(gid=gid, mode="saga", input={}, labels={"a": "b"}, steps={"a": {"action": {"url": stub.url + "/a"}}})
    assert gid not in {t["gid"] for t in all_of(dtm_cluster, limit=1000)["transactions"]}


def ended_workflow(dtm, stub, gid, operate=None, **end):
    flow = dtm("workflow", gid=gid, query_prepared=stub.url + "/resume", custom_data={"name": "w", "data": ""}, retry_interval=150000)
    assert flow.post("prepareWorkflow").status == 200
    if operate:
        operate(gid)
    success(flow.submit(req_extra=end))
    flow.ended()
    return flow


def test_all_tells_results_and_reasons(dtm_cluster, dtm, stub, gid):
    """What only the journal knows too, of each its own, and the same as query."""
    stub.on("/no", Reply(409, "no seats"))
    ended_workflow(dtm, stub, gid + "-0", status="succeed", result="YWxsIGlzIHdlbGw=")
    ended_workflow(dtm, stub, gid + "-1", status="failed", rollback_reason='it "rained"')
    ended_workflow(dtm, stub, gid + "-2", status="succeed")
    tcc = dtm("tcc", gid=gid + "-3", timeout_to_fail=30000)
    success(tcc.prepare())
    success(tcc.abort(rollback_reason="user does not want it"))
    tcc.ended()
    saga = dtm("saga", gid=gid + "-4").add("/no", "/undo")
    success(saga.submit())
    saga.ended()
    late = dtm("tcc", gid=gid + "-5", timeout_to_fail=1)
    success(late.prepare())
    late.ended()

    def told(t):
        return t.get("result"), t.get("rollback_reason")

    want = [("YWxsIGlzIHdlbGw=", None), (None, 'it "rained"'), (None, None), (None, "user does not want it"),
            (None, "HTTP 409: no seats"), (None, "Timeout after 1 seconds")]
    gids = [f"{gid}-{n}" for n in range(6)]
    listed = {t["gid"]: t for t in all_of(dtm_cluster, limit=1000)["transactions"]}
    assert [told(listed[g]) for g in gids] == want
    assert [told(saga.query(g)["transaction"]) for g in gids] == want
    assert [told(all_of(dtm_cluster, gid=g)["transactions"][0]) for g in gids] == want


def test_what_a_long_journal_tells_is_found(dtm_cluster, dtm, stub, gid):
    """Behind more lines than one page has."""
    def operate(gid):
        for _ in range(102):
            for what in ("pause", "resume"):
                said = dtm_cluster.client.post(f"/v1/transactions/{gid}/{what}", {"reason": "to and fro", "actor": "ada"})
                assert said.status in (200, 202), said

    flow = ended_workflow(dtm, stub, gid, operate, status="succeed", result="YWxsIGlzIHdlbGw=")
    assert flow.query()["transaction"]["result"] == "YWxsIGlzIHdlbGw="
    assert flow.post("prepareWorkflow").json["transaction"]["result"] == "YWxsIGlzIHdlbGw="
    assert all_of(dtm_cluster, gid=gid)["transactions"][0]["result"] == "YWxsIGlzIHdlbGw="


def test_reset_cron_time_wakes_sleepers(dtm_cluster, dtm, stub, gid):
    stub.on("/a", *[Reply(500)] * 3, Reply(200))
    sagas = [dtm("saga", gid=f"{gid}-{n}", retry_interval=170000).add("/a", "") for n in range(3)]
    for saga in sagas:
        success(saga.submit())
    for saga in sagas:  # parked
        until(lambda: dtm_cluster.client.transaction(saga.gid)["owner"] is None)
    assert dtm_cluster.client.get("/api/dtmsvr/resetCronTime?timeout=100000000").json == {"has_remaining": False, "succeed_count": 0}
    first = dtm_cluster.client.get("/api/dtmsvr/resetCronTime?limit=1").json
    assert first == {"has_remaining": True, "succeed_count": 1}
    rest = dtm_cluster.client.get("/api/dtmsvr/resetCronTime").json
    assert rest["has_remaining"] is False and rest["succeed_count"] >= 2  # other tests may have left some
    for saga in sagas:
        assert saga.ended() == "succeed"


def test_numbers_where_dtm_has_them(dtm_cluster):
    answer = dtm_cluster.client.get("/api/metrics")
    assert answer.status == 200 and "sagad_" in answer.text and answer.headers["Content-Type"].startswith("text/plain")


def test_a_base_url_that_ends_in_a_slash(dtm, dtm_cluster, stub):
    """Clients join it and /submit."""
    saga = dtm("saga", wait_result=True).add("/a", "")
    success(saga.post("/submit"))
    assert dtm_cluster.client.get("/api/dtmsvr//query?gid=" + saga.gid).json == saga.query() and saga.called() == ["/a action"]
