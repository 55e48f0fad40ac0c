# SPDX-License-Identifier: Apache-2.0
"""DTM's messages: prepared with a back-check, submitted, delayed, side by side."""
import time

import pytest

from lib.dtm import SECOND, error, failure, params_of, path_of, success
from lib.stub import Reply

LONG = 30000


def message(dtm, stub, **options):
    return dtm("msg", query_prepared=stub.url + "/committed", timeout_to_fail=LONG, **options).add("/a").add("/b")


def test_submitted_without_prepare(dtm, stub, gid):
    msg = dtm("msg", wait_result=True).add("/a").add("/b", payload="")
    success(msg.submit())
    assert msg.called() == ["/a action", "/b action"] and msg.status() == "succeed"
    assert params_of(stub.calls[0]) == {"gid": gid, "trans_type": "msg", "branch_id": "01", "op": "action"}
    assert [(b["branch_id"], b["op"], b["status"]) for b in msg.query()["branches"]] == [
        ("01", "action", "succeed"), ("02", "action", "succeed")]


def test_prepared_and_submitted(dtm, stub):
    msg = message(dtm, stub)
    success(msg.prepare())
    assert msg.status() == "prepared" and not stub.calls
    success(msg.prepare())
    success(msg.submit(wait_result=True))
    assert msg.called() == ["/a action", "/b action"]
    success(msg.submit())
    failure(msg.prepare(), "current status 'succeed', cannot prepare.")
    assert msg.query()["transaction"]["query_prepared"] == stub.url + "/committed"


def test_submitted_with_a_back_check_but_not_prepared(dtm, stub):
    msg = message(dtm, stub)
    success(msg.submit(wait_result=True))
    assert msg.called() == ["/a action", "/b action"]


def test_submitted_without_one_but_prepared(dtm, stub):
    """As clients do that name the back-check only when they prepare."""
    msg = message(dtm, stub)
    success(msg.prepare())
    success(msg.submit(wait_result=True, query_prepared=None))
    assert msg.called() == ["/a action", "/b action"]


def test_what_was_prepared_goes_out_whatever_submit_says(dtm, stub):
    msg = message(dtm, stub)
    success(msg.prepare())
    success(msg.submit(wait_result=True, steps=[{"action": stub.url + "/other"}], payloads=["x"]))
    assert msg.called() == ["/a action", "/b action"] and stub.calls[0].body == b'{"amount":30}'


def test_aborted_before_it_was_submitted(dtm, stub):
    msg = message(dtm, stub)
    success(msg.prepare())
    success(msg.abort())
    assert msg.ended() == "failed" and not stub.calls
    failure(msg.submit(), "current status 'failed', cannot sumbmit.")


@pytest.mark.parametrize("reply, status", [(Reply(200), "succeed"), (Reply(409), "failed"), (Reply(200, "FAILURE"), "failed")])
def test_the_back_check_decides(dtm, stub, reply, status, gid):
    stub.on("/committed", Reply(425), Reply(500), Reply(200, "ONGOING"), reply)
    msg = message(dtm, stub, retry_interval=1)
    msg.options["timeout_to_fail"] = 5
    success(msg.prepare())
    assert msg.ended() == status
    checks = [c for c in stub.calls if path_of(c) == "/committed"]
    assert len(checks) == 4 and {c.method for c in checks} == {"GET"}
    assert params_of(checks[0]) == {"gid": gid, "trans_type": "msg", "branch_id": "00", "op": "msg"}
    assert msg.called()[4:] == (["/a action", "/b action"] if status == "succeed" else [])


@pytest.mark.parametrize("options", [{}, {"retry_interval": 1}, {"retry_interval": 200}], ids=list("abc"))
def test_by_default_it_comes_after_35_seconds(dtm, stub, options):
    """Not sooner: whoever is asked too soon says no, and then his own commit fails."""
    msg = dtm("msg", query_prepared=stub.url + "/committed", **options).add("/a")
    began = time.monotonic()
    success(msg.prepare())
    assert msg.ended() == "succeed" and stub.calls[0].at - began >= 34 * SECOND


def test_a_message_has_no_failure(dtm, stub):
    stub.on("/a", Reply(409), Reply(200, "FAILURE"), Reply(500), Reply(200))
    msg = dtm("msg", wait_result=True, retry_interval=1).add("/a").add("/b")
    success(msg.submit())
    assert msg.called() == ["/a action"] * 4 + ["/b action"]


def test_concurrent_branches(dtm, stub):
    stub.on("/a", Reply(500), Reply(500), Reply(200))
    msg = dtm("msg", wait_result=True, concurrent=True, retry_interval=10).add("/a").add("/b")
    success(msg.submit())
    assert msg.called().index("/b action") < 3 and msg.called()[-1] == "/a action"


def test_delay(dtm, stub):
    msg = dtm("msg", custom_data={"delay": 25}).add("/a")
    began = time.monotonic()
    success(msg.submit())
    assert msg.query()["transaction"]["next_cron_time"]
    assert msg.ended() == "succeed" and stub.calls[0].at - began >= 24 * SECOND
    error(dtm("msg", gid=msg.gid + "-2", custom_data={"delay": -1}).add("/a").submit(), "delay is a whole number")


def test_a_message_without_branches(dtm):
    msg = dtm("msg", wait_result=True)
    success(msg.submit())
    assert msg.query()["branches"] == []


def test_a_message_without_a_question_goes_out(dtm, stub):
    """An empty URL is a success wherever it stands."""
    msg = dtm("msg", timeout_to_fail=5).add("/a")
    success(msg.prepare())
    assert msg.ended() == "succeed" and msg.called() == ["/a action"]


def test_a_prepared_message_is_delayed_from_its_submit_on(dtm, stub):
    msg = message(dtm, stub)
    success(msg.prepare())
    began = time.monotonic()
    success(msg.submit(custom_data={"delay": 25}))
    assert msg.status() == "submitted" and msg.query()["transaction"]["next_cron_time"]
    assert msg.ended() == "succeed" and stub.calls[0].at - began >= 24 * SECOND


def test_retries_of_a_message_are_not_counted(dtm, stub):
    """retry_limit is of sagas alone: a message has no way back."""
    stub.on("/committed", *[Reply(500)] * 4, Reply(200))
    stub.on("/a", *[Reply(500)] * 4, Reply(200))
    msg = dtm("msg", query_prepared=stub.url + "/committed", timeout_to_fail=5, retry_interval=0.5, retry_limit=1).add("/a")
    success(msg.prepare())
    assert msg.ended() == "succeed" and msg.called() == ["/committed msg"] * 5 + ["/a action"] * 5
