# SPDX-License-Identifier: Apache-2.0
"""Traces at a collector that checks the protocol's rules: one per transaction, whoever drives it."""
import threading
import time

import pytest

from lib.base import free_port, until
from lib.collector import Collector
from lib.stub import Reply
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from test_metrics import OPENMETRICS, number, scrape

STARTER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNHEARD = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00"


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()
    assert not made.wrong, made.wrong[:3]


@pytest.fixture
def traced(make_cluster, collector):
    def make(count=1, *flags, **more):
        return make_cluster(count=count, flags=[f"--otlp.endpoint={collector.url}", *flags], **more)
    return make


def two_steps(stub, path="/a"):
    undo = {"url": stub.url + "/undo"}
    return {"a": {"action": {"url": stub.url + path + "?token=secret"}, "compensate": undo,
                  "retry": {"initial": "10ms", "max": "10ms"}},
            "b": {"action": {"url": stub.url + "/b"}, "compensate": undo, "after": ["a"]}}


def whole(collector, gid):
    """Its spans, once the one of the transaction is there."""
    until(lambda: any("sagad.phase" in s.attributes for s in collector.of(gid)), 10)
    return collector.of(gid)


def root_of(spans):
    root, = [s for s in spans if "sagad.phase" in s.attributes]
    return root


def test_one_trace_with_a_span_per_attempt(traced, collector, stub):
    client = traced().client
    stub.on("/a", Reply(503), Reply(200))
    client.define("trip", mode="saga", steps=two_steps(stub))
    answer = client.begin(wait="20s", gid="t-1", definition="trip", input={}, headers={"traceparent": STARTER})
    assert answer.json["phase"] == "confirmed", answer
    spans = whole(collector, "t-1")
    root = root_of(spans)
    assert (root.name, root.kind, root.failed, root.parent) == ("saga trip", 1, False, STARTER.split("-")[2])
    calls = sorted((s for s in spans if s is not root), key=lambda s: s.start)
    assert [(s.name, s.kind, s.failed, s.attributes["sagad.attempt"]) for s in calls] == [
        ("try a", 3, True, 1), ("try a", 3, False, 2), ("try b", 3, False, 1)]
    assert {s.trace for s in spans} == {STARTER.split("-")[1]} and {s.parent for s in calls} == {root.id}
    assert [s.attributes["http.response.status_code"] for s in calls] == [503, 200, 200]
    assert calls[0].attributes["url.full"] == stub.url + "/a" and "secret" not in repr(spans)
    # Each participant was given the span of the attempt as its parent.
    seen = [c.headers["traceparent"].split("-") for c in stub.seen(gid="t-1")]
    assert [(s[1], s[2], s[3]) for s in seen] == [(s.trace, s.id, "01") for s in calls]
    for s in calls:
        assert root.start - 1e9 <= s.start <= s.end <= root.end + 1e9, "within its transaction"


def test_a_call_that_could_not_be_made_has_a_span(traced, collector, stub):
    """What counts as an attempt, and left no trace at any service: its template could not be filled."""
    steps = two_steps(stub)
    steps["b"]["action"]["url"] = stub.url + "/${input.room}"
    steps["b"]["retry"] = {"initial": "1ms", "max": "1ms"}
    client = traced().client
    assert client.begin(gid="hole", mode="saga", steps=steps, input={}).status == 201
    until(lambda: (client.transaction("hole")["stuck"] or {}).get("reason") == "misconfigured")
    assert client.post("/v1/transactions/hole/cancel").status in (200, 202)
    spans = whole(collector, "hole")
    unmade = [s for s in spans if s.name == "try b"]
    assert [s.attributes["sagad.attempt"] for s in unmade] == list(range(1, len(unmade) + 1)) and len(unmade) >= 2, spans
    for s in unmade:
        assert s.failed and s.kind == 1 and s.start == s.end and s.parent == root_of(spans).id, s
        assert s.attributes["sagad.outcome"] == s.attributes["error.type"] == "misconfigured", s
        assert not [a for a in s.attributes if a.startswith(("http.", "url.", "server."))], s
    assert not stub.seen("/", "hole")


def test_a_slow_bucket_leads_to_a_trace(traced, collector, stub):
    """OpenMetrics has, for each bucket of the time that calls take, the trace of the last one in it; the older format has none."""
    cluster = traced()
    replica = cluster.replicas[0]
    stub.on("/a", Reply(200, delay=0.15))
    cluster.client.run(gid="slow", mode="saga", steps=two_steps(stub), input={})
    cluster.client.begin(wait="20s", gid="unheard", mode="saga", steps=two_steps(stub), input={}, headers={"traceparent": UNHEARD})
    trace = root_of(whole(collector, "slow")).trace
    found = [s for f in read_openmetrics(scrape(replica, OPENMETRICS).text) for s in f.samples if s.exemplar]
    assert {s.name for s in found} == {"sagad_call_duration_seconds_bucket"} and {s.labels["participant"] for s in found} == {stub.host}
    assert {s.exemplar.labels["trace_id"] for s in found} == {trace}, "who is not recorded is no example"
    for s in found:
        assert 0 < s.exemplar.value <= float(s.labels["le"]) and abs(float(s.exemplar.timestamp) - time.time()) < 60, s
    assert any(s.exemplar.value >= 0.15 for s in found) and len(found) == 2, found
    assert "trace_id" not in scrape(replica).text


def test_who_is_recorded(traced, collector, stub):
    """A starter who does not record is followed, and so is who is told by us."""
    client = traced().client
    client.run(gid="no", mode="saga", steps=two_steps(stub), input={})
    assert root_of(whole(collector, "no")).parent is None
    client.begin(wait="20s", gid="quiet", mode="saga", steps=two_steps(stub), input={}, headers={"traceparent": UNHEARD})
    client.run(gid="yes", mode="saga", steps=two_steps(stub), input={})
    whole(collector, "yes")
    assert not collector.of("quiet")
    assert {c.headers["traceparent"][-2:] for c in stub.seen(gid="quiet")} == {"00"}


def test_ratio_and_headers(traced, collector, stub, tmp_path):
    secret = tmp_path / "headers"
    secret.write_text("# of the collector\nAuthorization: Bearer abc\n")
    client = traced(1, "--otlp.ratio=0", "--otlp.sampler=parent", f"--otlp.headers-file={secret}").client
    client.run(gid="none", mode="saga", steps=two_steps(stub), input={})
    client.begin(wait="20s", gid="his", mode="saga", steps=two_steps(stub), input={}, headers={"traceparent": STARTER})
    whole(collector, "his")
    assert not collector.of("none") and {c.headers["traceparent"][-2:] for c in stub.seen(gid="none")} == {"00"}
    assert {h["Authorization"] for h in collector.headers} == {"Bearer abc"}


def test_a_takeover_goes_on_with_the_trace(traced, collector, stub):
    """kill -9 in the middle of a call: the survivor's spans fit to those of the dead, and lead to the call that nobody
    heard the end of."""
    cluster = traced(2, ttl="2s")
    first, second = cluster.replicas
    gone = threading.Event()
    stub.on("/b", Reply(200, hold=gone), Reply(200))
    answer = cluster.client.send("POST", "/v1/transactions", {
        "gid": "t-2", "mode": "saga", "steps": two_steps(stub), "input": {}}, headers={"traceparent": STARTER}, at=first.at)
    assert answer.status == 201, answer
    until(lambda: len(stub.seen("/b", gid="t-2")) == 1)
    until(lambda: any(s.name == "try a" for s in collector.of("t-2")))
    first.kill()
    gone.set()
    cluster.remove(first)
    assert cluster.client.ended("t-2")["phase"] == "confirmed"
    spans = whole(collector, "t-2")
    root = root_of(spans)
    taken, = [s for s in spans if s.name == "take over"]
    assert {s.trace for s in spans} == {STARTER.split("-")[1]}
    assert {s.parent for s in spans if s is not root} == {root.id}, "what the dead one sent fits"
    unheard, repeated = [c.headers["traceparent"].split("-") for c in stub.seen("/b", gid="t-2")]
    assert taken.links == [(unheard[1], unheard[2])], "the lost call is known by the span that its participant has"
    assert repeated[2] != unheard[2] and repeated[2] in {s.id for s in spans if s.name == "try b"}
    by = {s.name: s.resource["service.instance.id"] for s in spans}
    assert by["try a"] != by["try b"] == by["take over"] == by["saga"]
    assert taken.attributes["sagad.from"] == by["try a"] and taken.attributes["sagad.epoch"] == 2
    assert second.process.poll() is None


def test_a_collector_that_is_away_costs_nothing(make_cluster, stub):
    """Refused connections: everything goes on, what has no room is dropped and counted."""
    flags = [f"--otlp.endpoint=http://127.0.0.1:{free_port()}"]
    cluster = make_cluster(count=1, flags=flags)
    replica = cluster.replicas[0]
    for i in range(5):
        assert cluster.client.run(gid=f"w-{i}", mode="saga", steps=two_steps(stub), input={})["phase"] == "confirmed"
    until(lambda: number(replica, "sagad_trace_export_failures_total") > 0)
    assert number(replica, "sagad_trace_spans_queued") == 15
    assert len(until(lambda: replica.events("traces_away"))) == 1
    began = time.monotonic()
    assert replica.terminate() == 0 and time.monotonic() - began < 8, "nor does it hold back who leaves"


def test_a_collector_that_hangs(traced, collector, stub):
    """Requests in flight and waiting are bounded; starts are as fast as ever."""
    cluster = traced()
    collector.open.clear()
    replica = cluster.replicas[0]
    steps = {"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}}
    for i in range(10):
        assert cluster.client.run(gid=f"h-{i}", mode="saga", steps=steps, input={})["phase"] == "confirmed"
    until(lambda: collector.requests == 1)
    assert number(replica, "sagad_trace_spans_queued") == 20 and number(replica, "sagad_live") == 1
    collector.open.set()
    until(lambda: number(replica, "sagad_trace_spans_total", result="sent") == 20)
    assert len(collector.spans) == 20 and number(replica, "sagad_trace_spans_total", result="dropped") == 0


def test_told_to_wait_and_told_no(traced, collector, stub):
    """429 and 503 are asked again, and Retry-After is heard; 400 is not, and what is refused in part is counted."""
    cluster = traced()
    replica = cluster.replicas[0]
    collector.answers = [(429, {"Retry-After": "1"}, b""), (503, {}, b"")]
    cluster.client.run(gid="r-1", mode="saga", steps=two_steps(stub), input={})
    assert len(whole(collector, "r-1")) == 3
    assert collector.requests == 3 and number(replica, "sagad_trace_export_failures_total") == 2
    until(lambda: replica.events("traces_back"))
    collector.answers = [(400, {}, b""), (200, {}, b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"no"}}')]
    cluster.client.run(gid="r-2", mode="saga", steps=two_steps(stub), input={})
    until(lambda: number(replica, "sagad_trace_spans_total", result="refused") == 3)
    cluster.client.run(gid="r-3", mode="saga", steps=two_steps(stub), input={})
    until(lambda: number(replica, "sagad_trace_spans_total", result="refused") == 5)
    assert not collector.of("r-2") and number(replica, "sagad_trace_spans_total", result="sent") == 4
    assert replica.events("traces_refused")


def test_who_leaves_sends_what_it_has(traced, collector, stub):
    cluster = traced()
    cluster.client.run(gid="last", mode="saga", steps=two_steps(stub), input={})
    assert cluster.replicas[0].terminate() == 0
    assert len(collector.of("last")) == 3


@pytest.mark.parametrize("flags, said", [
    (["--otlp.endpoint=collector:4318"], "--otlp.endpoint"), (["--otlp.ratio=2"], "--otlp.ratio"),
    (["--otlp.endpoint=http://x:1", "--otlp.headers-file=/dev/null/none"], "headers-file"),
])
def test_wrong_settings_are_said(database, tmp_path, flags, said):
    from lib.cluster import Replica  # pylint: disable=import-outside-toplevel
    replica = Replica(database, str(tmp_path), flags)
    replica.start()
    assert replica.process.wait(20) != 0
    assert said in replica.log() or "none" in replica.log(), replica.log()
