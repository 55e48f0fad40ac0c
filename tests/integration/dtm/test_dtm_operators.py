# SPDX-License-Identifier: Apache-2.0
"""DTM's transactions in our own API, sagactl and metrics; and what people do to them, as DTM's clients see it afterwards."""
import base64
import concurrent.futures
import dataclasses

import pytest

from lib.base import until
from lib.client import problem, step_of
from lib.ctl import Ctl
from lib.dtm import Dtm, failure, params_of, path_of, success
from lib.stub import Reply

HOURS = 150000  # seconds of the protocol: 50 minutes; what failed stands still until somebody does something
STEP = "branch-02"


@dataclasses.dataclass
class Kind:
    """Where a transaction of this kind is made to stand still: its second branch fails."""
    status: str  # in DTM's words
    phase: str
    op: str = ""  # that fails, in our words and in DTM's
    theirs: str = ""


KINDS = {"saga": Kind("submitted", "trying", "try", "action"), "tcc": Kind("submitted", "confirming", "confirm", "confirm"),
         "msg": Kind("submitted", "confirming", "try", "action"), "xa": Kind("submitted", "confirming", "confirm", "commit"),
         "workflow": Kind("prepared", "prepared", "check", "trip")}
CALLS = [name for name, kind in KINDS.items() if kind.op != "check"]


class Standing:
    """A transaction whose second branch has failed once; of a workflow it is the call that makes its client go on."""

    def __init__(self, client, stub, name, gid):
        self.client, self.stub, self.name, self.gid, self.kind = client, stub, name, gid, KINDS[name]
        self.t = Dtm(client, stub, name, gid, retry_interval=HOURS, timeout_to_fail=HOURS)
        self.path = {"tcc": "/02/confirm", "xa": "/02/xa", "workflow": "/resume"}.get(name, "/b")
        stub.on(self.path, Reply(500, Retry_After=3600))
        getattr(self, "begin_" + {"msg": "saga", "xa": "tcc"}.get(name, name))()
        until(self.failed)

    def begin_saga(self):
        undo = "" if self.name == "msg" else "-undo"
        self.t.add("/a", undo and "/a-undo").add("/b", undo and "/b-undo")
        success(self.t.submit())

    def begin_tcc(self):
        success(self.t.prepare())
        for branch in ("01", "02"):
            success(self.t.branch(branch))
        success(self.t.submit())

    def begin_workflow(self):
        custom = {"name": "trip", "data": base64.b64encode(b"{}").decode()}
        made = self.t.post("prepareWorkflow", query_prepared=self.stub.url + "/resume", custom_data=custom, retry_interval=1)
        assert made.status == 200, made
        for branch in ("01", "02"):
            success(self.t.branch(branch, op="action", status="succeed"))

    def failed(self):
        got = self.client.transaction(self.gid)
        if self.kind.op == "check":
            return got["check"]["last_error"]
        first, second = got["steps"]  # side by side, perhaps
        return first["state"] != "pending" and first["op"] is None and second["last_error"]

    def calls(self, path=None):
        return [c for c in self.stub.calls if path_of(c) == (path or self.path)]

    def end_by(self, reply=Reply(200)):
        """From now on the call that failed is answered so. A workflow's client goes on by it, and ends it."""
        if self.kind.op == "check":
            self.stub.on(self.path, lambda call: success(self.t.submit(req_extra={"status": "succeed"})) or Reply(200))
        else:
            self.stub.on(self.path, reply)

    def branches(self):
        return {f"{b['branch_id']} {b['op']}": b["status"] for b in self.t.query()["branches"]}


class ByApi:
    def __init__(self, client, gid):
        self.client, self.gid = client, gid

    def __call__(self, what, step=None, **more):
        path = f"/v1/transactions/{self.gid}/" + (f"steps/{step}/" if step else "") + what
        said = self.client.post(path, {"reason": f"by api: {what}", "actor": "ada", **more})
        assert said.status in (200, 202), said

    def patch(self, step, **more):
        said = self.client.send("PATCH", f"/v1/transactions/{self.gid}/steps/{step}",
                                {"reason": "by api: patch", "actor": "ada", **more})
        assert said.status == 200, said


class ByCtl:
    def __init__(self, client, gid):
        self.ctl, self.gid = Ctl(lambda: [f"http://{a}" for a in client.addresses()]), gid

    def __call__(self, what, step=None, gid=None, **more):
        words = ["txn", what, self.gid, *([step] if step else []), "-m", f"by ctl: {what}", "--actor", "ada"]
        for name, value in {**more, **({"confirm": gid} if gid else {})}.items():
            words += ["--" + name, value]
        self.ctl(*words)

    def patch(self, step, gid=None, op=None, **more):
        words = [f"retry.{k}={v}" for k, v in more.pop("retry", {}).items()] + [f"{k}={v}" for k, v in more.items()]
        self.ctl("txn", "patch", self.gid, step, *words, "-m", "by ctl: patch", *(["--op", op] if op else []),
                 *(["--confirm", gid] if gid else []))


@pytest.fixture(params=[ByApi, ByCtl], ids=["api", "sagactl"])
def act(request, dtm_cluster, gid):
    """As a person does it: by HTTP, or with sagactl."""
    return request.param(dtm_cluster.client, gid)


@pytest.fixture
def standing(dtm_cluster, stub, gid):
    return lambda name: Standing(dtm_cluster.client, stub, name, gid)


# ---- to be seen ---------------------------------------------------------------------------------


def begun(cluster):
    """Of all replicas."""
    return sum(float(line.split()[1]) for r in cluster.replicas for line in r.ops("/metrics").text.splitlines()
               if line.startswith("sagad_transactions_begun_total "))


@pytest.mark.parametrize("name", KINDS)
def test_it_is_seen_as_any_other(standing, dtm_cluster, stub, name):
    before = begun(dtm_cluster)
    it = standing(name)
    client, ctl = dtm_cluster.client, Ctl(lambda: [r.url for r in dtm_cluster.replicas])
    assert begun(dtm_cluster) == before + 1
    shown = client.transaction(it.gid)
    assert (shown["phase"], shown["labels"], shown["definition"]) == (it.kind.phase, {"dtm": name}, None), shown
    suffix = "_action" if name == "workflow" else ""
    assert [s["name"] for s in shown["steps"]] == ["branch-01" + suffix, "branch-02" + suffix]
    listed = client.get(f"/v1/transactions?label.dtm={name}&phase={it.kind.phase}&limit=200").json["items"]
    assert it.gid in [t["gid"] for t in listed]
    others = client.get(f"/v1/transactions?label.dtm={'tcc' if name == 'saga' else 'saga'}&limit=200").json["items"]
    assert it.gid not in [t["gid"] for t in others]
    why = client.get(f"/v1/transactions/{it.gid}/explain").json
    assert why["why"] == "back_off" and stub.host in why["sentence"] and "HTTP 500" in why["sentence"], why
    failed = [e for e in client.get(f"/v1/transactions/{it.gid}/journal").json["items"] if e["what"] == "attempt"]
    assert [(e["op"], e["outcome"]) for e in failed] == [(it.kind.op, "unknown")], failed
    assert client.get("/v1/overview").json["unfinished"]["by_phase"][it.kind.phase] >= 1
    assert client.get(f"/v1/transactions?participant={stub.host}&phase={it.kind.phase}").json["items"][0]["gid"] == it.gid
    assert it.gid in ctl("txn", "list", "--label", f"dtm={name}", "--limit", 200).out
    assert "branch-02" in ctl("txn", "get", it.gid).out
    assert why["sentence"].split(":")[0] in ctl("txn", "explain", it.gid).out
    assert "HTTP 500" in ctl("txn", "journal", it.gid).out
    assert ctl("overview", "--json").json["unfinished"]["count"] >= 1
    assert it.t.status() == it.kind.status
    it.end_by()
    assert client.post(f"/v1/transactions/{it.gid}/retry", {"reason": "seen"}).status in (200, 202)
    assert it.t.ended() == "succeed" and client.transaction(it.gid)["result"] == "succeeded"


def test_one_that_is_stuck_is_found_and_goes_on(dtm, dtm_cluster, stub):
    """An answer that is too long to be read: whether FAILURE stands in the rest nobody knows."""
    client, ctl = dtm_cluster.client, Ctl(lambda: [r.url for r in dtm_cluster.replicas])
    stub.on("/a", Reply(200, "x" * (2 << 20)))
    t = dtm("saga", retry_interval=0.5).add("/a", "/a-undo")
    success(t.submit())
    groups = until(lambda: [g for g in client.get("/v1/stuck").json["items"] if g["participant"] == stub.host])
    assert [(g["step"], g["op"], g["reason"], g["sample"]) for g in groups] == [("branch-01", "try", "misconfigured", t.gid)]
    assert "too big" in groups[0]["error"] and t.status() == "submitted"
    assert t.gid in ctl("stuck").out and t.gid in ctl("txn", "list", "--stuck", "--label", "dtm=saga").out
    stub.on("/a", Reply(200))
    ctl("txn", "retry", t.gid, "-m", "it says less now")
    assert t.ended() == "succeed" and not [g for g in client.get("/v1/stuck").json["items"] if g["participant"] == stub.host]


# ---- to be moved ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_pause_resume_and_retry(standing, act, name):
    it = standing(name)
    it.end_by()
    act("pause")
    assert it.t.status() == it.kind.status and it.client.transaction(it.gid)["paused"] is True
    calls = len(it.calls())
    success(it.t.post("resetNextCronTime", {"gid": it.gid}))  # it is due now, and paused
    why = it.client.get(f"/v1/transactions/{it.gid}/explain").json
    assert why["why"] == "paused" and "ada" in why["sentence"], why
    assert len(it.calls()) == calls
    act("resume")
    assert it.t.ended() == "succeed" and len(it.calls()) == calls + 1
    assert [e["action"] for e in it.client.get(f"/v1/audit?gid={it.gid}").json["items"]] == ["resume", "retry", "pause"]


@pytest.mark.parametrize("name", KINDS)
def test_retry(standing, act, name):
    it = standing(name)
    it.end_by()
    act("retry")
    assert it.t.ended() == "succeed" and len(it.calls()) == 2


@pytest.mark.parametrize("name", KINDS)
def test_release(standing, act, name):
    it = standing(name)
    before = it.client.transaction(it.gid)["epoch"]
    act("release")
    until(lambda: it.client.transaction(it.gid)["epoch"] > before)
    assert it.t.status() == it.kind.status
    it.end_by()
    success(it.t.post("resetNextCronTime", {"gid": it.gid}))
    assert it.t.ended() == "succeed"


@pytest.mark.parametrize("name", KINDS)
def test_abandon(standing, act, name):
    """It counts as failed there, whatever its branches have done, as after forceStop."""
    it = standing(name)
    calls = len(it.stub.calls)
    if isinstance(act, ByApi):  # sagactl looks for the version itself
        path = f"/v1/transactions/{it.gid}"
        said = it.client.post(path + "/abandon", {"reason": "by api: abandon", "actor": "ada", "gid": it.gid},
                              headers={"If-Match": f'"{it.client.transaction(it.gid)["version"]}"'})
        assert said.status == 200, said
    else:
        act("abandon", gid=it.gid)
    assert it.t.status() == "failed" and it.t.query()["transaction"]["rollback_time"]
    assert it.client.transaction(it.gid)["result"] == "mixed" and len(it.stub.calls) == calls
    failure(it.t.post("forceStop", {"gid": it.gid}), "global transaction force stop error. status: failed.")
    if name == "workflow":
        assert it.t.submit(req_extra={"status": "succeed"}).status == 500
    else:
        failure(it.t.submit(), "current status 'failed', cannot sumbmit.")


# ---- steps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_skip(standing, act, name):
    it = standing(name)
    act("skip", STEP, gid=it.gid, op=it.kind.op)
    assert it.t.ended() == "succeed" and len(it.calls()) == 1
    assert it.branches()[f"02 {it.kind.theirs}"] == "succeed"
    shown = it.client.transaction(it.gid)
    assert shown["result"] == "mixed" and step_of(shown, STEP)["skipped"] is True


@pytest.mark.parametrize("name", CALLS)
def test_resolve(standing, act, name):
    it = standing(name)
    act("resolve", STEP, gid=it.gid, op=it.kind.op, outcome="ok")
    assert it.t.ended() == "succeed" and len(it.calls()) == 1
    assert it.branches()[f"02 {it.kind.theirs}"] == "succeed"


def test_a_saga_whose_branch_was_refused_says_a_person(standing, act):
    it = standing("saga")
    act("resolve", STEP, gid=it.gid, op="try", outcome="refused")
    assert it.t.ended() == "failed"
    assert [path_of(c) for c in it.stub.calls] == ["/a", "/b", "/b-undo", "/a-undo"]
    assert it.branches() == {"01 compensate": "succeed", "01 action": "succeed", "02 compensate": "succeed", "02 action": "failed"}
    assert it.t.query()["transaction"]["rollback_reason"].startswith("by ")


def test_what_failed_to_be_undone_is_skipped(standing, act):
    it = standing("saga")
    it.stub.on("/b", Reply(409, "no seats"))
    it.stub.on("/b-undo", Reply(500))
    act("retry")
    until(lambda: it.t.status() == "aborting" and step_of(it.client.transaction(it.gid), STEP)["last_error"]["status"] == 500)
    act("skip", STEP, gid=it.gid, op="cancel")
    assert it.t.ended() == "failed" and [path_of(c) for c in it.stub.calls][-1] == "/a-undo"
    assert "no seats" in it.t.query()["transaction"]["rollback_reason"]


@pytest.mark.parametrize("name", CALLS)
def test_patched_elsewhere(standing, act, name):
    """The parameters that DTM's participants read are part of the URL, and are typed with it."""
    it = standing(name)
    query = "?branch_id=02&gid=${gid}&op=%s&trans_type=%s" % (it.kind.theirs, name)
    act.patch(STEP, gid=it.gid, op=it.kind.op, url=it.stub.url + "/moved" + query)
    assert it.t.ended() == "succeed" and len(it.calls()) == 1
    call, = it.calls("/moved")
    assert params_of(call) == {"gid": it.gid, "trans_type": name, "branch_id": "02", "op": it.kind.theirs}
    assert call.body == it.calls()[0].body
    urls = [b["url"] for b in it.t.query()["branches"] if b["branch_id"] == "02" and b["op"] == it.kind.theirs]
    assert urls == [it.stub.url + "/moved"]


@pytest.mark.parametrize("name", CALLS)
def test_patched_to_try_sooner(standing, act, name):
    it = standing(name)
    it.stub.on(it.path, Reply(500), Reply(500), Reply(200))
    act.patch(STEP, retry={"initial": "10ms", "max": "20ms"})
    assert it.t.ended() == "succeed" and len(it.calls()) == 4


# ---- decided by a person ------------------------------------------------------------------------------


@pytest.mark.parametrize("name, undone", [("saga", ["/b-undo compensate", "/a-undo compensate"]), ("workflow", [])])
def test_cancelled(standing, act, name, undone):
    """DTM's clients cannot abort these; people can."""
    it = standing(name)
    act("cancel")
    assert it.t.ended() == "failed" and it.t.called()[len(it.t.called()) - len(undone):] == undone
    assert it.t.query()["transaction"]["rollback_reason"].endswith(": cancel")


@pytest.mark.parametrize("name", ["tcc", "xa", "msg"])
def test_what_was_submitted_is_not_cancelled(standing, name):
    it = standing(name)
    problem(it.client.post(f"/v1/transactions/{it.gid}/cancel", {"reason": "too late"}), 409, "decided")
    assert it.t.status() == "submitted"


@pytest.mark.parametrize("name, undo", [("tcc", "cancel"), ("xa", "rollback")])
def test_what_is_prepared_is_cancelled(dtm, act, name, undo):
    t = dtm(name, timeout_to_fail=HOURS)
    success(t.prepare())
    success(t.branch("01"))
    act("cancel")
    assert t.ended() == "failed" and [c.split()[1] for c in t.called()] == [undo]
    assert t.query()["transaction"]["rollback_reason"].endswith(": cancel")
    failure(t.submit(), "current status 'failed', cannot sumbmit.")


@pytest.mark.parametrize("name", ["tcc", "msg"])
def test_a_prepared_one_that_is_paused_decides_nothing(dtm, stub, dtm_cluster, act, name):
    """Neither its deadline nor the question to its sender."""
    t = dtm(name, timeout_to_fail=25, retry_interval=5, query_prepared=stub.url + "/committed")
    if name == "msg":
        t.add("/a")
    success(t.prepare())
    act("pause")
    time_is_over = dtm("tcc", gid=t.gid + "-clock", timeout_to_fail=30)
    success(time_is_over.prepare())
    assert time_is_over.ended() == "failed"
    assert t.status() == "prepared" and not stub.calls
    act("resume")
    assert t.ended() == ("failed" if name == "tcc" else "succeed")


def test_a_prepared_one_is_confirmed_by_a_person(dtm, dtm_cluster):
    t = dtm("tcc", timeout_to_fail=HOURS)
    success(t.prepare())
    success(t.branch("01"))
    said = dtm_cluster.client.post(f"/v1/transactions/{t.gid}/confirm", {"reason": "they all agreed"})
    assert said.status in (200, 202), said
    assert t.ended() == "succeed" and t.called() == ["/01/confirm confirm"]


# ---- the services ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_a_paused_participant_is_not_called(standing, dtm_cluster, stub, name):
    it = standing(name)
    client, why = dtm_cluster.client, {"reason": "they restore a backup", "actor": "ada"}
    assert client.post(f"/v1/participants/{stub.host}/pause", why).status == 200
    # Its owner has heard of it.
    got = until(lambda: (lambda e: e if e["why"] == "participant_paused" else None)(
        client.get(f"/v1/transactions/{it.gid}/explain").json))
    it.end_by()
    calls = len(stub.calls)
    success(it.t.post("resetNextCronTime", {"gid": it.gid}))
    assert stub.host in got["sentence"] and it.t.status() == it.kind.status and len(stub.calls) == calls
    assert client.post(f"/v1/participants/{stub.host}/resume", why).status == 200
    assert it.t.ended() == "succeed"


def test_a_bulk_finds_them_by_their_label(dtm, stub, dtm_cluster, gid):
    client = dtm_cluster.client
    stub.on("/b", Reply(500))
    sagas = [dtm("saga", gid=f"{gid}-{n}", retry_interval=HOURS).add("/b", "/b-undo") for n in range(3)]
    for t in sagas:
        success(t.submit())
    until(lambda: all(step_of(client.transaction(t.gid), "branch-01").get("last_error") for t in sagas))
    said = client.post("/v1/bulk", {"action": "cancel", "reason": "the fair is off", "actor": "ada",
                                    "filter": {"labels": {"dtm": "saga"}, "participant": stub.host}})
    assert said.status == 202, said
    assert [t.ended() for t in sagas] == ["failed"] * 3
    assert {t.query()["transaction"]["rollback_reason"] for t in sagas} == {"the fair is off"}


def test_who_waits_for_its_end_hears_why_a_person_cancelled_it(dtm, stub, dtm_cluster):
    """The whole reason, in the letters in which it was written."""
    stub.on("/a", Reply(500))
    why = "x" + "ä" * 499  # 999 bytes
    t = dtm("saga", retry_interval=HOURS, wait_result=True).add("/a", "/a-undo")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(t.submit)
        until(lambda: stub.calls)
        said = dtm_cluster.client.post(f"/v1/transactions/{t.gid}/cancel", {"reason": why, "actor": "ada"})
        assert said.status in (200, 202), said
        failure(waiting.result(30), why)


def test_what_clients_of_dtm_do_as_operators_is_audited(standing, dtm_cluster):
    it = standing("saga")
    success(it.t.post("resetNextCronTime", {"gid": it.gid}))
    success(it.t.post("forceStop", {"gid": it.gid}))
    lines = dtm_cluster.client.get(f"/v1/audit?gid={it.gid}").json["items"]
    assert [(e["action"], e["role"], e["reason"]) for e in lines] == [
        ("abandon", "admin", "forceStop of DTM's protocol"), ("retry", "operator", "resetNextCronTime of DTM's protocol")], lines
    assert all(e["actor"] and e["request_id"] for e in lines), lines
    journal = [e["what"] for e in dtm_cluster.client.get(f"/v1/transactions/{it.gid}/journal").json["items"]]
    assert journal.count("abandon") == journal.count("retry") == 1
