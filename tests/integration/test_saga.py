# SPDX-License-Identifier: Apache-2.0
"""Sagas on the wire: order, undoing, templates, and what a participant is told."""
import json
import re

from lib.base import until
from lib.client import step_of
from lib.stub import Reply


def two_steps(stub):
    return {
        "a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/a/undo"}},
        "b": {"after": ["a"], "action": {"url": stub.url + "/b"}, "compensate": {"url": stub.url + "/b/undo"}},
    }


def test_saga_succeeds(client, stub, gid):
    stub.on("/a", Reply(201, {"id": 7}))
    client.define("ok-" + gid, mode="saga", steps=two_steps(stub), output={"a": "${steps.a.output.id}"})
    answer = client.begin(gid=gid, definition="ok-" + gid, input={"x": 1}, wait="20s")
    assert answer.status == 201, answer
    got = answer.json
    assert (got["gid"], got["phase"], got["result"], got["output"]) == (gid, "confirmed", "succeeded", {"a": 7})
    assert answer.headers["ETag"] == f'"{got["version"]}"'
    assert answer.headers["Location"] == f"/v1/transactions/{gid}"
    assert [(c.path, c.op, c.step) for c in stub.calls] == [("/a", "try", "a"), ("/b", "try", "b")]
    assert step_of(got, "a")["output"] == {"id": 7} and step_of(got, "a")["state"] == "tried"


def test_refused_step_undoes_in_reverse_order_itself_included(client, stub, gid):
    stub.on("/b", Reply(422, {"why": "sold out"}))
    answer = client.begin(gid=gid, steps=two_steps(stub), mode="saga", input=None, wait="20s")
    got = answer.json
    assert (got["phase"], got["result"]) == ("cancelled", "cancelled"), got
    assert [c.path for c in stub.calls] == ["/a", "/b", "/b/undo", "/a/undo"]
    assert got["cause"]["step"] == "b", got["cause"]
    assert step_of(got, "b")["last_error"], got
    for c in stub.calls[2:]:
        assert c.op == "cancel"


def test_every_attempt_is_told_the_same(client, stub, gid):
    stub.on("/a", Reply(500), Reply(503, Retry_After=0), Reply(200))
    steps = {"a": {"action": {"url": stub.url + "/a", "headers": {"X-Order": "${input.order}"},
                              "body": {"at": "${now}", "gid": "${gid}"}},
                   "compensate": {"url": stub.url + "/undo"}}}
    client.define("same-" + gid, mode="saga", steps=steps,
                  defaults={"retry": {"initial": "10ms", "max": "20ms"}})
    got = client.run(gid=gid, definition="same-" + gid, input={"order": "o-1"},
                       headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    assert got["phase"] == "confirmed", got
    calls = stub.seen("/a")
    assert len(calls) == 3
    assert len({c.body for c in calls}) == 1, "identical bytes in every attempt"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", calls[0].json["at"])
    assert [c.headers["Saga-Attempt"] for c in calls] == ["1", "2", "3"]
    assert {c.headers["Idempotency-Key"] for c in calls} == {f'"{gid}:a:try"'}
    assert {c.headers["X-Order"] for c in calls} == {"o-1"}
    for c in calls:
        assert c.headers["Saga-Epoch"] == "1"
        assert c.headers["Content-Type"] == "application/json"
        version, trace, span, _ = c.headers["traceparent"].split("-")
        assert (version, trace) == ("00", "0af7651916cd43dd8448eb211c80319c") and span != "b7ad6b7169203331"
    assert len({c.headers["traceparent"] for c in calls}) == 3, "each attempt is a span of its own"


def test_independent_steps_run_at_the_same_time(client, stub, gid):
    stub.on("/p", Reply(200, delay=0.5))
    steps = {n: {"action": {"url": stub.url + "/p"}, "compensate": {"url": stub.url + "/undo"}} for n in "abcd"}
    steps["last"] = {"after": list("abcd"), "action": {"url": stub.url + "/last"},
                     "compensate": {"url": stub.url + "/undo"}}
    got = client.run(gid=gid, mode="saga", steps=steps, input={})
    assert got["phase"] == "confirmed", got
    began = [c.at for c in stub.seen("/p")]
    assert max(began) - min(began) < 0.4
    assert stub.seen("/last")[0].at - max(began) > 0.45, "it waits for all of them"


def test_input_travels_verbatim(client, stub, gid):
    """No rounding through a double, no 64-bit limit, no re-encoding."""
    raw = '{"n": 1.10, "big": 123456789012345678901234567890, "e": 1E400, "s": "\\u00e9\\n", "z": -0.0, "o": {"b":1,  "a":2}}'
    steps = {
        "whole": {"action": {"url": stub.url + "/whole"}, "compensate": {"url": stub.url + "/undo"}},
        "parts": {"action": {"url": stub.url + "/parts/${input.n}",
                             "body": {"n": "${input.n}", "big": "${input.big}", "e": "${input.e}",
                                      "text": "<${input.n}|${input.big}>", "o": "${input.o}", "none": "${input.q ?? null}",
                                      "dollar": "$${input.n}"}},
                  "compensate": {"url": stub.url + "/undo"}},
    }
    body = '{"gid": "%s", "mode": "saga", "steps": %s, "input": %s}' % (gid, json.dumps(steps), raw)
    answer = client.post("/v1/transactions?wait=20s", body)
    assert answer.status == 201 and answer.json["phase"] == "confirmed", answer
    assert stub.seen("/whole")[0].body.decode() == raw
    sent = stub.seen("/parts/1.10")[0].body.decode()
    for piece in ('"n":1.10', '"big":123456789012345678901234567890', '"e":1E400', '"o":{"b":1,  "a":2}',
                  '"none":null', '"text":"<1.10|123456789012345678901234567890>"', '"dollar":"${input.n}"'):
        assert piece in sent.replace('": ', '":'), (piece, sent)


def test_url_values_are_percent_encoded(client, stub, gid):
    steps = {"a": {"action": {"url": stub.url + "/x/${input.id}?q=${input.q}"}, "compensate": {"url": stub.url + "/undo"}}}
    got = client.run(gid=gid, mode="saga", steps=steps, input={"id": "../a b/ü?#", "q": "1&2=3 %"})
    assert got["phase"] == "confirmed", got
    assert stub.calls[0].path == "/x/..%2Fa%20b%2F%C3%BC%3F%23?q=1%262%3D3%20%25"


def test_output_of_a_step_feeds_the_next(client, stub, gid):
    stub.on("/a", Reply(200, '{"deep": [1, {"id": 10.50}]}'))
    steps = two_steps(stub)
    steps["b"]["action"]["body"] = {"id": "${steps.a.output.deep[1].id}", "no": "${steps.a.output.deep[9] ?? \"none\"}"}
    got = client.run(gid=gid, mode="saga", steps=steps, input={})
    assert got["phase"] == "confirmed", got
    assert '10.50' in stub.seen("/b")[0].body.decode()
    assert stub.seen("/b")[0].json["no"] == "none"


def test_attempts_used_up_decide_cancel(client, stub, gid):
    stub.on("/a", Reply(500))
    steps = {"a": {"action": {"url": stub.url + "/a"}, "retry": {"initial": "10ms", "max": "10ms", "attempts": 3},
                   "compensate": {"url": stub.url + "/undo"}}}
    got = client.run(gid=gid, mode="saga", steps=steps, input={})
    assert got["phase"] == "cancelled", got
    assert got["cause"]["kind"] == "attempts", got["cause"]
    assert len(stub.seen("/a")) == 3 and len(stub.seen("/undo")) == 1


def test_misconfigured_answers_make_it_stuck_and_a_person_cancels(client, stub, gid):
    stub.on("/a", Reply(404))
    steps = {"a": {"action": {"url": stub.url + "/a"}, "retry": {"initial": "10ms", "max": "10ms"},
                   "compensate": {"url": stub.url + "/undo"}}}
    client.begin(gid=gid, mode="saga", steps=steps, input={})
    from lib.base import until
    got = until(lambda: (lambda t: t if t.get("stuck") else None)(client.transaction(gid)))
    assert got["stuck"]["reason"] == "misconfigured" and got["phase"] == "trying", got
    assert client.post(f"/v1/transactions/{gid}/cancel").status in (200, 202)
    assert client.ended(gid)["phase"] == "cancelled"


def test_ongoing_is_asked_again_and_uses_up_no_attempt(client, stub, gid):
    stub.on("/a", Reply(202, Retry_After=0), Reply(202, Retry_After=0), Reply(202, Retry_After=0), Reply(200, {"done": True}))
    steps = {"a": {"action": {"url": stub.url + "/a"}, "poll": "50ms", "retry": {"attempts": 2},
                   "compensate": {"url": stub.url + "/undo"}}}
    got = client.run(gid=gid, mode="saga", steps=steps, input={})
    assert got["phase"] == "confirmed", got
    assert len(stub.seen("/a")) == 4


def test_outcomes_map_speaks_for_services_that_cannot(client, stub, gid):
    stub.on("/a", Reply(404))
    steps = {"a": {"action": {"url": stub.url + "/a", "outcomes": {"404": "refused"}},
                   "compensate": {"url": stub.url + "/undo"}}}
    got = client.run(gid=gid, mode="saga", steps=steps, input={})
    assert got["phase"] == "cancelled" and got["cause"]["kind"] == "refused", got


def test_no_answer_is_not_a_no(client, stub, gid):
    """A timed-out try is tried again, never taken as a refusal."""
    stub.on("/a", Reply(200, delay=1.0), Reply(200))
    steps = {"a": {"action": {"url": stub.url + "/a", "timeout": "200ms"}, "retry": {"initial": "10ms", "max": "10ms"},
                   "compensate": {"url": stub.url + "/undo"}}}
    got = client.run(gid=gid, mode="saga", steps=steps, input={})
    assert got["phase"] == "confirmed", got
    assert not stub.seen("/undo") and len(stub.seen("/a")) == 2


def test_huge_and_broken_answers_do_not_hurt(client, stub, gid):
    stub.on("/a", Reply(200, b"x" * 3_000_000), Reply(200, b"{not json"), Reply(200, b'{"bad": "\xff"}'), Reply(200, {"id": 1}))
    steps = {"a": {"action": {"url": stub.url + "/a"}, "retry": {"initial": "10ms", "max": "10ms"},
                   "compensate": {"url": stub.url + "/undo"}}}
    answer = client.begin(gid=gid, mode="saga", steps=steps, input={}, wait="2s")
    got = answer.json
    assert got["phase"] in ("confirmed", "trying"), got
    assert not stub.seen("/undo")


def test_one_hung_participant_does_not_slow_the_others(client, stub, gid):
    stub.on("/hung", Reply(200, delay=3))
    steps = lambda path: {"a": {"action": {"url": stub.url + path, "timeout": "10s"}, "compensate": {"url": stub.url + "/undo"}}}
    for i in range(20):
        client.begin(gid=f"{gid}-hung-{i}", mode="saga", steps=steps("/hung"), input={})
    got = client.begin(gid=gid, mode="saga", steps=steps("/quick"), input={}, wait="2s").json
    assert got["phase"] == "confirmed", got


def test_start_at_waits(client, stub, gid, cluster):
    import datetime
    at = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)).isoformat()
    answer = client.begin(gid=gid, mode="saga", steps=two_steps(stub), input={}, start_at=at)
    assert answer.status == 201, answer
    assert not stub.calls
    got = client.ended(gid)
    assert got["phase"] == "confirmed", got


def test_a_step_tells_its_calls_and_when_the_last_was_answered(client, stub, gid):
    stub.on("/a", Reply(500), Reply(202), Reply(200))
    steps = two_steps(stub)
    steps["a"].update(poll="20ms", retry={"initial": "10ms", "max": "20ms"})
    got = client.begin(gid=gid, mode="saga", steps=steps, input={}, wait="20s").json
    a, b = step_of(got, "a"), step_of(got, "b")
    assert (a["attempts"], b["attempts"]) == (3, 1), got
    assert (a["last_answer"]["op"], b["last_answer"]["op"]) == ("try", "try")
    assert got["created_at"] <= a["last_answer"]["at"] <= b["last_answer"]["at"]
    assert a["last_error"]["status"] == 500 and b["last_error"] is None, "202 is no error"
    # Read from the row: what it tells is in the log.
    again = client.transaction(gid)
    assert [(s["attempts"], s["last_answer"]) for s in again["steps"]] == [(s["attempts"], s["last_answer"]) for s in got["steps"]]


def test_attempts_are_those_of_the_op_it_waits_for(client, stub, gid):
    stub.on("/b", Reply(422))
    stub.on("/a/undo", Reply(400), Reply(400), Reply(400), Reply(200))
    client.begin(gid=gid, mode="saga", steps=two_steps(stub), input={},
                 defaults={"retry": {"initial": "10ms", "max": "20ms"}})
    a = until(lambda: (s := step_of(client.transaction(gid), "a")).get("stuck") == "misconfigured" and s)
    assert (a["op"], a["attempts"], a["last_answer"]["op"]) == ("cancel", 3, "cancel"), a
    assert "failed_attempts" not in a, a
    b = step_of(client.transaction(gid), "b")
    assert (b["state"], b["attempts"], b["last_answer"]["op"]) == ("cancelled", 1, "cancel"), b
    # What became of the tries stays, though their cancels were answered.
    assert (a["try_answer"]["outcome"], b["try_answer"]["outcome"]) == ("ok", "refused")
    assert a["try_answer"]["at"] <= b["try_answer"]["at"] <= b["last_answer"]["at"]
    assert client.post(f"/v1/transactions/{gid}/retry", {"reason": "mended"}).status == 200
    got = client.ended(gid)
    assert (got["phase"], step_of(got, "a")["attempts"]) == ("cancelled", 4), got
    assert [step_of(got, name)["try_answer"] for name in "ab"] == [a["try_answer"], b["try_answer"]]


def test_an_output_that_cannot_be_made_says_why(client, stub, gid):
    stub.on("/a", Reply(200, {"id": 7}))
    client.define("out-" + gid, mode="saga", steps=two_steps(stub), output={"a": "${steps.a.output.name}"})
    got = client.run(gid=gid, definition="out-" + gid, input={})
    assert got["phase"] == "confirmed" and got["output"] is None, got
    assert "steps.a.output.name" in got["output_error"], got


def test_a_refused_start_names_no_gid_but_the_callers(client, gid):
    assert "gid" not in client.begin(definition="nobody-" + gid, input={}).json
    assert "gid" not in client.begin(mode="tcc", input={}).json, "no deadline"
    assert client.begin(gid=gid, definition="nobody-" + gid, input={}).json["gid"] == gid


def test_services_that_say_no_in_json(client, stub, gid):
    """Whatever their status is: members of the answer tell what it means."""
    stub.on("/a", Reply(200, {"state": "busy"}), Reply(200, '{"state": "done", "state": "done"}'), Reply(500, {"state": "done"}))
    stub.on("/b", Reply(200, {"error": {"code": 7, "text": "busy"}}))
    members = {"/state": {"done": "ok", "*": "ongoing"}, "/error/code": {"7": "refused"}}
    got = client.run(
        gid=gid, mode="saga", input={},
        defaults={"poll": "10ms", "retry": {"initial": "10ms"}, "outcomes": {"200": "ok"}, "members": members},
        steps={"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo-a"}},
               "b": {"after": ["a"], "action": {"url": stub.url + "/b"}, "compensate": {"url": stub.url + "/undo-b"}}})
    assert got["phase"] == "cancelled" and got["cause"]["kind"] == "refused", got
    assert [c.path for c in stub.calls] == ["/a", "/a", "/a", "/b", "/undo-b", "/undo-a"]


def test_habits_of_a_service(client, stub, gid):
    """Words in bodies, texts that are no JSON, headers of all calls, and a call that is not made."""
    stub.on("/a", Reply(200, "ONGOING"), Reply(500, "no FAILURE here"))
    got = client.run(
        gid=gid, mode="saga", input={"text": "<order/>", "who": "m\u00e9"},
        defaults={"headers": {"Content-Type": "text/xml", "X-Who": "${input.who}"}, "poll": "10ms",
                  "outcomes": {"200": "ok", "*": "unknown"}, "words": {"ONGOING": "ongoing", "FAILURE": "refused"}},
        steps={"done": {"action": {"nothing": True}, "compensate": {"url": stub.url + "/undo-done"}},
               "a": {"after": ["done"], "action": {"url": stub.url + "/a", "body_text": "${input.text}"},
                     "compensate": {"url": stub.url + "/undo-a", "body_text": ""}}})
    assert got["phase"] == "cancelled" and got["cause"]["kind"] == "refused", got
    assert [c.path for c in stub.calls] == ["/a", "/a", "/undo-a", "/undo-done"]
    first, undo = stub.calls[0], stub.calls[2]
    assert first.body == b"<order/>" and first.headers["Content-Type"] == "text/xml" and first.headers["X-Who"] == "m\u00e9".encode().decode("latin-1")
    assert undo.body == b"" and undo.method == "POST"
