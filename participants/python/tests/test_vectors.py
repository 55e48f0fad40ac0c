# SPDX-License-Identifier: Apache-2.0
"""participants/vectors: the contract as data."""
import datetime
import json

import pytest
from conftest import named, vectors

import sagad
from sagad import answer, problem, templates, webhook

HEADERS, OUTCOMES, SIGNATURES, PROBLEMS, BARRIER, TEMPLATES = (
    vectors(name) for name in ("headers", "outcomes", "signatures", "problems", "barrier", "templates"))


def sent(case):
    if case.get("alone"):
        return case["headers"]
    return {name: text for name, text in {**HEADERS["headers"], **case["headers"]}.items() if text is not None}


def ms(at):
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return None if at is None else (at - epoch) // datetime.timedelta(milliseconds=1)


@pytest.mark.parametrize("case", HEADERS["cases"], ids=named)
def test_headers(case):
    if "wrong" in case:
        with pytest.raises(sagad.NotACall) as why:
            sagad.Call.parse(sent(case))
        assert why.value.header == case["wrong"]
        return
    got = sagad.Call.parse(sent(case))
    assert {"gid": got.gid, "step": got.step, "op": got.op, "attempt": got.attempt,
            "epoch": None if got.epoch is None else str(got.epoch), "accepted_ms": ms(got.accepted_at),
            "deadline_ms": ms(got.deadline_at), "callback": got.callback, "key": got.idempotency_key,
            "traceparent": got.traceparent} == {**HEADERS["call"], **case["call"]}


@pytest.mark.parametrize("name", ["Saga-Accepted", "Saga-Deadline"])
@pytest.mark.parametrize("case", HEADERS["times"], ids=named)
def test_times(case, name):
    call = {**HEADERS["headers"], name: case["text"]}
    if case["ms"] is None:
        with pytest.raises(sagad.NotACall) as why:
            sagad.Call.parse(call)
        assert why.value.header == name
        return
    got = sagad.Call.parse(call)
    assert ms(got.accepted_at if name == "Saga-Accepted" else got.deadline_at) == case["ms"]


@pytest.mark.parametrize("case", HEADERS["doubled"], ids=named)
def test_what_stands_there_twice(case, service):
    pairs = [*sent(case).items(), *case["again"].items()]
    if "wrong" not in case:
        assert sagad.Call.parse(pairs).gid == HEADERS["call"]["gid"]
        return
    with pytest.raises(sagad.NotACall) as why:
        sagad.Call.parse(pairs)
    assert why.value.header == case["wrong"]
    # Before it is asked who signed it.
    signed = sagad.Participant(lambda: None, secrets=["s"])
    assert signed.serve("/", pairs, b"")[0] == 400


@pytest.mark.parametrize("op", HEADERS["methods"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS", "post", ""])
def test_methods(op, method, service):
    service.on("/", op)(lambda call, db: None)
    wants = HEADERS["methods"][op]
    status, told, body = service.serve("/", {**HEADERS["headers"], "Saga-Op": op}, b"", method)
    if method in wants:
        assert status in (200, 204, 410)  # a confirm without its try
    else:
        assert (status, told["Allow"]) == (405, ", ".join(wants)) and json.loads(body)["error"]


def test_secrets():
    for secret in SIGNATURES["secrets"]:
        if secret["bytes"] is None:
            with pytest.raises(ValueError):
                webhook.key_of(secret["text"])
        else:
            assert webhook.key_of(secret["text"]).hex() == secret["bytes"], secret


def test_signing():
    for case in SIGNATURES["ids"]:
        assert webhook.message_id(case["gid"], case["step"], case["op"]) == case["id"]
    for case in SIGNATURES["sign"]:
        assert sagad.sign(case["secret"], case["id"], case["timestamp_s"], case["body"].encode()) == case["signature"]


@pytest.mark.parametrize("case", SIGNATURES["verify"], ids=named)
def test_verifying(case):
    try:
        sagad.verify(case["headers"], case["body"].encode(), case["secrets"], now=case["now_s"])
        result = "ok"
    except sagad.BadSignature as why:
        result = why.reason
    assert result == case["result"]


@pytest.mark.parametrize("case", OUTCOMES["cases"], ids=named)
def test_what_an_answer_teaches(case):
    body = case.get("body", "")
    got = sagad.outcome_of(case["op"], case["status"], case.get("saga_outcome"), body.encode())
    assert got.value == case["outcome"]
    if got in (sagad.Outcome.UNKNOWN, sagad.Outcome.ONGOING):
        assert answer.retry_after_ms(case.get("retry_after"), OUTCOMES["now_ms"] / 1000) == case.get("retry_after_ms", 0)


def work_of(case):
    """A function that ends as the case wants."""
    def work(call, db):
        result = case["result"]
        if result == "refused":
            raise sagad.Refused(*([case["reason"]] if "reason" in case else []))
        if result == "failed":
            raise RuntimeError("the work fails")
        if result == "ongoing":
            return sagad.ongoing(retry_after_s=case.get("retry_after_s"))
        if result == "gone":
            return sagad.gone()
        return sagad.Answer(200, case["output"]) if "output" in case else None
    return work


@pytest.mark.parametrize("case", OUTCOMES["answers"], ids=named)
def test_what_is_answered(case, db):
    secret = "a secret of this test"
    service = sagad.Participant(lambda: db, release=lambda used: None, secrets=[secret])
    service.on("/", case["op"])(work_of(case))
    if case["op"] != "try":
        service.on("/", "try")(lambda call, used: None)
    headers = {"Saga-Id": "g", "Saga-Step": "s", "Saga-Op": "try", "Saga-Epoch": "5"}

    def serve(**more):
        now = {**headers, **more}
        sign_with, stamp = now.pop("secret", secret), int(datetime.datetime.now().timestamp())
        own = webhook.message_id("g", "s", now["Saga-Op"])
        return service.serve("/", {**now, "webhook-id": own, "webhook-timestamp": str(stamp),
                                   "webhook-signature": sagad.sign(sign_with, own, stamp, b"")}, b"")
    more = {"Saga-Op": case["op"]}
    if case["op"] != "try" or case["result"] == "stale":
        assert serve()[0] in (200, 204)
    if case["result"] == "stale":
        more["Saga-Epoch"] = "4"
        if case["op"] == "try":  # a duplicate is never stale: one that was cancelled before it came
            db.execute("UPDATE sagad_barrier_step SET tried = 0, cancelled = 1")
            db.commit()
    if case["result"] == "bad_call":
        more["Saga-Attempt"] = "none"
    if case["result"] == "bad_signature":
        more["secret"] = "another"
    status, sent_headers, body = serve(**more)
    assert status == case["status"], body
    for name, text in case.get("headers", {}).items():
        assert sent_headers[name] == text
    if isinstance(case.get("body"), str):
        assert body.decode() == case["body"]
    elif "body" in case:
        assert json.loads(body) == case["body"]
    learnt = sagad.outcome_of(case["op"], status, sent_headers.get("Saga-Outcome"), body)
    assert learnt.value == case["outcome"]


@pytest.mark.parametrize("case", PROBLEMS["cases"], ids=named)
def test_problems(case):
    got = sagad.Problem.decode(case["status"], case["headers"], case["body"].encode())
    told = {name: getattr(got, name) for name in case["problem"] if name != "errors"}
    told["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in got.errors]
    assert told == case["problem"]
    assert isinstance(got, problem.Problem) and str(got)


# ---- the barrier, on SQLite (tests/integration/sdk has the other databases) ------------------------


def call_of(gid, act):
    deadline = None
    if "deadline_s" in act:
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=act["deadline_s"])
        deadline = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return sagad.Call(gid, "a", act["op"], epoch=act.get("epoch"), deadline=deadline)


def tried(db, what, *arguments):
    try:
        return what(*arguments)
    except (db.IntegrityError, ValueError):
        db.rollback()
        return "error"


@pytest.mark.parametrize("case", BARRIER["cases"], ids=named)
def test_barrier(case, db):
    barrier = sagad.Barrier(db)
    for act in case["do"]:
        if "age_s" in act:
            db.execute("UPDATE sagad_barrier_step SET seen_at = seen_at - :s / 86400.0,"
                       " deadline = iif(deadline < 1e9, deadline - :s / 86400.0, 1e9)", {"s": act["age_s"]})
        elif "sweep_s" in act:
            assert tried(db, barrier.sweep, act["sweep_s"]) == act["deleted"]
        elif "op" not in act:
            keep = act["keep"]
            kept = tried(db, barrier.keep_of, "g", "a", keep["op"], sagad.Answer(keep["status"], keep["body"]))
            assert kept == act["kept"], act
        else:
            got = tried(db, barrier.ask, call_of("g", act))
            if got == "error":
                assert act["answer"] == "error"
                continue
            assert {name: text for name, text in got._asdict().items() if name in act} == {
                name: act[name] for name in ("answer", "status", "body") if name in act}, act
            if "keep" in act:
                assert barrier.keep(call_of("g", act), sagad.Answer(act["keep"]["status"], act["keep"]["body"])) is True
        db.rollback() if act.get("rollback") else db.commit()


@pytest.mark.parametrize("case", BARRIER["wrong"], ids=named)
def test_what_the_barrier_refuses(case, db):
    call = {"gid": "g-1", "step": "a", "op": "try", "epoch": "1", **{name: text for name, text in case.items() if name != "name"}}
    with pytest.raises((db.IntegrityError, ValueError)):
        sagad.Barrier(db).ask(sagad.Call(**call))
    db.rollback()
    assert db.execute("SELECT count(*) FROM sagad_barrier_step").fetchone() == (0,)


# ---- templates ---------------------------------------------------------------------------------------


def sources():
    told = TEMPLATES
    return templates.Sources(told["input"], told["outputs"], told["gid"], told["definition"], told["now_ms"])


@pytest.mark.parametrize("case", TEMPLATES["cases"], ids=named)
def test_what_a_template_becomes(case):
    if case.get("fails"):
        with pytest.raises(templates.NoValue):
            templates.fill(case["template"], case["place"], sources())
    else:
        assert templates.fill(case["template"], case["place"], sources()) == case["becomes"]


@pytest.mark.parametrize("case", TEMPLATES["wrong"], ids=named)
def test_what_no_definition_may_hold(case):
    with pytest.raises(templates.BadTemplate) as why:
        templates.fill(case["template"], case["place"], sources())
    assert case["says"] in str(why.value)


def test_limits_of_templates():
    deep = "${input" + 33 * ".a" + "}"
    with pytest.raises(templates.BadTemplate, match="32 levels"):
        templates.fill(deep, "text", sources())
    big = templates.Sources(input=json.dumps("x" * 8001))
    with pytest.raises(templates.NoValue, match="larger than 8000 bytes"):
        templates.fill("/${input}", "path", big)
    assert templates.fill("${input}", "text", big) == "x" * 8001
    assert templates.fill("${input.a ?? null} ${input}", "text", templates.Sources(input="[1.10]")) == "null [1.10]"
    with pytest.raises(templates.NoValue, match="larger than 1048576 bytes"):
        templates.fill('["${input}"]', "json", templates.Sources(input=json.dumps("x" * (1 << 20))))
    with pytest.raises(ValueError, match="place="):
        templates.fill("", "body", big)
