# SPDX-License-Identifier: Apache-2.0
"""skip, patch, release; what is possible now; dry runs; and the audit of all that people do to a transaction."""
import re
import threading

import pytest

from lib.base import ROOT, until
from lib.client import problem, step_of
from lib.stub import Reply


def begin(client, stub, gid, **steps):
    """room, then pay; both can be undone. Words of steps replace what is usual."""
    document = {"room": {"action": {"url": stub.url + "/room"}, "compensate": {"url": stub.url + "/undo-room"}},
                "pay": {"after": ["room"], "action": {"url": stub.url + "/pay"}, "compensate": {"url": stub.url + "/undo-pay"}}}
    for name, more in steps.items():
        document[name].update(more)
    answer = client.begin(gid=gid, mode="saga", steps=document, input={})
    assert answer.status == 201, answer
    return answer


FAST = {"retry": {"initial": "50ms", "max": "100ms"}}
SLOW = {"retry": {"initial": "1h", "max": "1h"}}


def failing(client, stub, gid, step="pay", retry=SLOW):
    """Until that step has failed once."""
    stub.on("/" + step, Reply(500))
    begin(client, stub, gid, **{step: retry})
    until(lambda: step_of(client.transaction(gid), step).get("last_error"))


def act(client, of, what, /, **more):
    query = more.pop("query", "")
    headers = more.pop("headers", None)
    return client.post(f"/v1/transactions/{of}/{what}{query}", {"reason": "a test", "actor": "ada", **more},
                       headers=headers)


def change(client, of, step, query="", headers=None, /, **more):
    return client.send("PATCH", f"/v1/transactions/{of}/steps/{step}{query}", {"reason": "a test", "actor": "ada", **more},
                       headers)


def audit(client, gid):
    return client.get(f"/v1/audit?gid={gid}").json["items"]


# ---- skip ---------------------------------------------------------------------------


def test_a_skipped_step_counts_as_done(client, stub, gid):
    failing(client, stub, gid)
    assert act(client, gid, "steps/pay/skip", gid=gid, op="try").status == 200
    got = client.ended(gid)
    assert (got["phase"], got["result"]) == ("confirmed", "mixed"), got
    assert step_of(got, "pay")["skipped"] is True and step_of(got, "pay")["state"] == "tried"


def test_skip_then_refusal_cancels_the_skipped_step(client, stub, gid):
    stub.on("/pay", Reply(422))
    failing(client, stub, gid, step="room")
    assert act(client, gid, "steps/room/skip", gid=gid, op="try").status == 200
    got = client.ended(gid)
    assert (got["phase"], got["result"]) == ("cancelled", "cancelled"), got
    assert [c.path for c in stub.seen(gid=gid, op="cancel")] == ["/undo-pay", "/undo-room"]


def test_a_skip_names_its_call_and_repeats_to_no_effect(client, stub, gid):
    stub.on("/undo-pay", Reply(500))
    stub.on("/pay", Reply(422))
    begin(client, stub, gid, pay=SLOW)
    until(lambda: stub.seen("/undo-pay", gid))
    until(lambda: step_of(client.transaction(gid), "pay").get("last_error", {}).get("status") == 500)
    problem(act(client, gid, "steps/pay/skip", gid=gid), 400, "invalid_request")
    problem(act(client, gid, "steps/pay/skip", op="cancel"), 400, "invalid_request")
    problem(act(client, gid, "steps/pay/skip", gid=gid, op="confirm"), 409, "no_step")
    problem(act(client, gid, "steps/none/skip", gid=gid, op="cancel"), 409, "no_step")
    assert act(client, gid, "steps/pay/skip", gid=gid, op="cancel").status == 200
    got = client.ended(gid)
    assert (got["phase"], got["result"]) == ("cancelled", "mixed"), got
    assert stub.seen("/undo-room", gid), "the rest is cancelled"
    again = act(client, gid, "steps/pay/skip", gid=gid, op="cancel")
    assert again.status == 200, again
    assert [e["action"] for e in audit(client, gid)] == ["skip"]


# ---- patch -----------------------------------------------------------------------------


def test_patch_sends_a_live_step_elsewhere(client, stub, gid):
    failing(client, stub, gid)
    problem(change(client, gid, "pay", op="try", url=stub.url + "/pay-b"), 400, "invalid_request")
    done = change(client, gid, "pay", gid=gid, op="try", url=stub.url + "/pay-${gid}")
    assert done.status == 200, done
    got = client.ended(gid)
    assert got["phase"] == "confirmed" and got["result"] == "succeeded", got
    assert stub.seen(f"/pay-{gid}", gid), stub.calls
    line = audit(client, gid)[0]
    assert (line["action"], line["step"], line["actor"]) == ("patch", "pay", "ada"), line
    assert line["detail"] == {"op": "try", "url": stub.url + "/pay-${gid}"} and line["after"] == line["before"] + 1


def test_patch_while_the_call_is_under_way(client, stub, gid):
    """The old URL's failure uses up no attempt, and nothing waits for its back-off."""
    hold = threading.Event()
    stub.on("/room", Reply(500, hold=hold))
    begin(client, stub, gid, room={"retry": {**SLOW["retry"], "attempts": 1}})
    until(lambda: stub.seen("/room", gid))
    assert change(client, gid, "room", gid=gid, op="try", url=stub.url + "/other").status == 200
    hold.set()
    assert client.ended(gid)["phase"] == "confirmed"
    assert [c.path for c in stub.seen(gid=gid)] == ["/room", "/other", "/pay"], stub.calls
    journal = client.get(f"/v1/transactions/{gid}/journal").json["items"]
    assert [e["what"] for e in journal] == ["patch", "attempt"], "that it failed is told"


def test_patch_of_a_registered_definition_changes_this_transaction_alone(client, stub, gid):
    name = "patched-def"
    client.define(name, mode="saga", steps={
        "pay": {"action": {"url": stub.url + "/pay", "body": {"of": "${definition}"}}, **SLOW,
                "compensate": {"url": stub.url + "/undo"}}})
    stub.on("/pay", Reply(500))
    for one in (gid, gid + "-other"):
        client.begin(gid=one, definition=name, input={})
        until(lambda g=one: step_of(client.transaction(g), "pay").get("last_error"))
    assert change(client, gid, "pay", gid=gid, op="try", url=stub.url + "/new").status == 200
    assert client.ended(gid)["definition"] == name
    bodies = {c.path: c.json for c in stub.seen(gid=gid)}
    assert bodies["/new"] == bodies["/pay"] == {"of": name}, "every attempt sends the same"
    assert not stub.seen("/new", gid + "-other")
    act(client, gid + "-other", "cancel")


def test_patch_of_timeout_and_retry_needs_no_typing(client, stub, gid):
    failing(client, stub, gid)
    stub.on("/pay", Reply(500), Reply(200))
    assert change(client, gid, "pay", retry=FAST["retry"]).status == 200  # and it is called now
    assert client.ended(gid)["phase"] == "confirmed"
    failing(client, stub, gid + "-b")
    stub.on("/pay", Reply(200))
    assert change(client, gid + "-b", "pay", op="try", timeout="9s").status == 200
    assert client.ended(gid + "-b")["phase"] == "confirmed"


@pytest.mark.parametrize("body", [
    {"op": "try", "url": "ftp://hotel/"}, {"op": "try", "timeout": "soon"}, {"retry": {"initial": "2h", "max": "1s"}},
    {"op": "confirm", "timeout": "1s"}])
def test_patches_that_do_not_compile_are_refused(client, stub, gid, body):
    failing(client, stub, gid)
    version = client.transaction(gid)["version"]
    for _ in range(3):  # on whichever replica
        problem(change(client, gid, "pay", gid=gid, **body) if "url" in body else change(client, gid, "pay", **body),
                422, "definition_invalid")
    assert client.transaction(gid)["version"] == version and audit(client, gid) == []
    act(client, gid, "cancel")


def test_patch_without_a_change_or_with_others(client, stub, gid):
    failing(client, stub, gid)
    for body in ({}, {"op": "try"}, {"timeout": "1s"}, {"headers": {}}, {"op": "check", "timeout": "1s"}):
        problem(change(client, gid, "pay", **body), 400, "invalid_request")
    act(client, gid, "cancel")


def test_patch_never_moves_the_cancel_of_what_may_have_been_tried(client, stub, gid):
    failing(client, stub, gid, step="room")
    for step in ("room", "pay"):  # pay stands behind room: nobody can have tried it
        answer = change(client, gid, step, gid=gid, op="cancel", url=stub.url + "/elsewhere")
        if step == "room":
            problem(answer, 409, "unsafe")
        else:
            assert answer.status == 200, answer
    stub.on("/room", Reply(200))
    stub.on("/pay", Reply(422))
    act(client, gid, "retry")
    assert client.ended(gid)["phase"] == "cancelled"
    assert [c.path for c in stub.seen(gid=gid, op="cancel")] == ["/elsewhere", "/undo-room"]


def test_patch_of_a_step_that_joined(client, stub, gid):
    begun = client.post("/v1/transactions", {"gid": gid, "mode": "tcc", "deadline": "1m", "input": {}})
    assert begun.status == 201
    stub.on("/confirm", Reply(500))
    join = {"name": "a", "confirm": {"url": stub.url + "/confirm"}, "cancel": {"url": stub.url + "/undo"}, **SLOW}
    assert client.post(f"/v1/transactions/{gid}/steps", join).status == 201
    problem(change(client, gid, "a", gid=gid, op="cancel", url=stub.url + "/elsewhere"), 409, "unsafe")
    client.post(f"/v1/transactions/{gid}/confirm")
    until(lambda: stub.seen("/confirm", gid))
    until(lambda: step_of(client.transaction(gid), "a").get("last_error"))
    assert change(client, gid, "a", gid=gid, op="confirm", url=stub.url + "/confirm-b").status == 200
    assert client.ended(gid)["phase"] == "confirmed" and stub.seen("/confirm-b", gid)


# ---- release --------------------------------------------------------------------------------


def test_release_hands_it_to_another_replica(client, cluster, stub, gid):
    stub.on("/room", Reply(202, Retry_After=1))
    begin(client, stub, gid)
    until(lambda: step_of(client.transaction(gid), "room").get("ongoing"))
    before = client.transaction(gid)
    assert act(client, gid, "release").status == 200
    moved = until(lambda: (lambda t: t["owner"] and t["epoch"] > before["epoch"] and t)(client.transaction(gid)), 15)
    assert moved["owner"] != before["owner"], moved
    assert moved["version"] > before["version"]
    stub.on("/room", Reply(200))
    assert client.ended(gid)["phase"] == "confirmed"
    assert [e["action"] for e in audit(client, gid)] == ["release"]
    assert "release" in [e["what"] for e in client.get(f"/v1/transactions/{gid}/journal").json["items"]]
    problem(act(client, gid, "release"), 409, "ended")


def test_release_cuts_off_calls_under_way(client, stub, gid):
    import threading
    hold = threading.Event()
    stub.on("/room", Reply(200, hold=hold), Reply(200))
    begin(client, stub, gid, room={"action": {"url": stub.url + "/room", "timeout": "30s"}})
    until(lambda: stub.seen("/room", gid))
    assert act(client, gid, "release").status == 200
    assert client.ended(gid)["phase"] == "confirmed"
    hold.set()
    assert [c.headers["Idempotency-Key"] for c in stub.seen("/room", gid)] == [f'"{gid}:room:try"'] * 2


# ---- what is possible ---------------------------------------------------------------------------


def possible(client, gid):
    return {(a["action"], a.get("step"), a.get("op"), a["typed"]) for a in client.transaction(gid)["actions"]}


def test_what_is_possible_now(client, stub, gid):
    failing(client, stub, gid)
    assert possible(client, gid) == {
        ("cancel", None, None, False), ("pause", None, None, False), ("retry", None, None, False),
        ("release", None, None, False), ("abandon", None, None, True), ("resolve", "pay", "try", True),
        ("skip", "pay", "try", True), ("patch", "room", None, False), ("patch", "pay", None, False),
        ("patch", "pay", "try", True)}
    act(client, gid, "pause")
    now = possible(client, gid)
    assert ("resume", None, None, False) in now and ("pause", None, None, False) not in now
    act(client, gid, "cancel")
    act(client, gid, "resume")
    client.ended(gid)
    assert possible(client, gid) == set()


TABLE = re.findall(r"^\| `(\w+)` \| (the whole|a step) \| ([\w ]+) \|", (ROOT / "docs/actions.md").read_text(encoding="utf-8"), re.M)


def test_the_gid_is_typed_where_the_table_says_so(client, stub, gid):
    """The table of docs/actions.md is the program's; here the API is held to it."""
    assert len(TABLE) == 10, TABLE
    failing(client, stub, gid)
    more = {"resolve": {"op": "try", "outcome": "ok"}, "skip": {"op": "try"}}
    for name, of, typed in TABLE:
        if name == "patch":
            path, bodies = f"/v1/transactions/{gid}/steps/pay", {
                "yes": {"op": "try", "url": stub.url + "/x"}, "no": {"op": "try", "timeout": "3s"}}
        else:
            path = f"/v1/transactions/{gid}" + ("/steps/pay" if of == "a step" else "") + f"/{name}"
            bodies = {typed: more.get(name, {})}
        for wanted, body in bodies.items():
            body = {"reason": "x", "actor": "ada", **body}

            def say(body, path=path, method="PATCH" if name == "patch" else "POST"):
                return client.send(method, path + "?dry_run=true", body, {"If-Match": "*"})

            without, other, right = say(body), say({**body, "gid": gid + "x"}), say({**body, "gid": gid})
            if wanted == "yes":
                for answer in (without, other):
                    assert "/gid" in [e["pointer"] for e in problem(answer, 400, "invalid_request")["errors"]], (name, answer)
                assert right.status == 200, (name, right)
            else:  # confirm of a defined saga is 409
                assert without.status == (409 if name == "confirm" else 200), (name, without)
    act(client, gid, "cancel")


# ---- dry runs ---------------------------------------------------------------------------------------


def test_dry_runs_say_what_would_be_called(client, cluster, stub, gid):
    failing(client, stub, gid)
    version = client.transaction(gid)["version"]
    calls = len(stub.calls)

    def would(what, **more):
        """The same from every replica, whoever owns it."""
        said = [client.post(f"/v1/transactions/{gid}/{what}?dry_run=true", {"reason": "x", **more}, at=r.at)
                for r in cluster.replicas]
        assert all(s.status == 200 and s.json["dry_run"] is True for s in said), said
        assert len({s.content for s in said}) == 1, said
        got = said[0].json
        return got["would"], [(c["step"], c["op"], c["at_once"]) for c in got["calls"]]

    assert would("cancel") == (
        {"action": "cancel", "verdict": "accepted", "phase": "cancelling", "paused": False, "stuck": False,
         "ends": "cancelled"}, [("pay", "cancel", True), ("room", "cancel", False)])
    assert would("retry") == (
        {"action": "retry", "verdict": "accepted", "phase": "trying", "paused": False, "stuck": False,
         "ends": "confirmed"}, [("pay", "try", True)])
    assert would("pause")[0]["paused"] is True and would("pause")[1] == []
    assert would("resume")[0]["verdict"] == "already"
    assert would("steps/pay/skip", gid=gid, op="try")[0]["phase"] == "confirmed"
    assert would("steps/pay/resolve", gid=gid, op="try", outcome="refused")[1] == [
        ("pay", "cancel", True), ("room", "cancel", False)]
    assert would("release")[0]["verdict"] == "accepted"
    moved = change(client, gid, "pay", "?dry_run=true", gid=gid, op="try", url="http://elsewhere:81/pay")
    assert moved.json["calls"][0]["target"] == "elsewhere:81", moved
    problem(change(client, gid, "room", "?dry_run=true", gid=gid, op="cancel", url=stub.url), 409, "unsafe")
    problem(change(client, gid, "room", "?dry_run=true", op="try", timeout="never"), 422, "definition_invalid")
    etag = client.get(f"/v1/transactions/{gid}").headers["ETag"]
    dry_end = act(client, gid, "abandon", query="?dry_run=true", gid=gid, headers={"If-Match": etag})
    assert dry_end.json["would"]["phase"] == "abandoned", dry_end
    problem(act(client, gid, "pause", query="?dry_run=true", headers={"If-Match": '"99"'}), 412, "version_conflict")
    problem(act(client, "nobody", "pause", query="?dry_run=true"), 404, "transaction_unknown")
    assert client.transaction(gid)["version"] == version and len(stub.calls) == calls and audit(client, gid) == []
    act(client, gid, "cancel")
    assert client.ended(gid)["phase"] == "cancelled"
    problem(act(client, gid, "pause", query="?dry_run=true"), 409, "ended")


# ---- audit --------------------------------------------------------------------------------------------


def test_what_people_do_is_audited_and_what_changes_nothing_is_not(client, stub, gid):
    failing(client, stub, gid)
    stub.on("/pay", Reply(202, Retry_After=3600))
    etag = client.get(f"/v1/transactions/{gid}").headers["ETag"]
    assert act(client, gid, "pause").status == 200
    assert act(client, gid, "pause").status == 200  # already
    problem(act(client, gid, "resume", headers={"If-Match": etag}), 412, "version_conflict")
    assert act(client, gid, "resume").status == 200
    assert act(client, gid, "retry").status == 200
    until(lambda: step_of(client.transaction(gid), "pay").get("ongoing"))
    assert act(client, gid, "retry").status == 200  # asks again now: the log learns nothing but that
    assert act(client, gid, "steps/pay/resolve", gid=gid, op="try", outcome="ok").status == 200
    client.ended(gid)
    problem(act(client, gid, "pause"), 409, "ended")
    lines = audit(client, gid)
    assert [e["action"] for e in lines] == ["resolve", "retry", "retry", "resume", "pause"], lines
    assert all(e["actor"] == "ada" and e["reason"] == "a test" and e["after"] == e["before"] + 1 for e in lines), lines
    assert lines[0]["detail"] == {"outcome": "ok"} and lines[0]["op"] == "try" and lines[0]["step"] == "pay"
    journal = [e["what"] for e in client.get(f"/v1/transactions/{gid}/journal").json["items"] if e.get("actor")]
    assert journal == ["pause", "resume", "retry", "retry", "resolve"]


def test_a_service_is_not_audited_but_a_person_is(client, stub, gid):
    for name, body in (("-s", {}), ("-p", {"actor": "bo", "reason": "wrong customer"})):
        failing(client, stub, gid + name)
        assert client.post(f"/v1/transactions/{gid}{name}/cancel", body).status in (200, 202)
    problem(client.post(f"/v1/transactions/{gid}-s/cancel", {"actor": "bo"}), 400, "invalid_request")
    assert audit(client, gid + "-s") == []
    assert [(e["actor"], e["reason"]) for e in audit(client, gid + "-p")] == [("bo", "wrong customer")]
