# SPDX-License-Identifier: Apache-2.0
"""Every line of a run, in each format, by a schema; and nothing secret in any of them."""
import json
import re

import jsonschema
import pytest

from lib.base import until
from lib.stub import Reply

STARTER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
WORD = "^[a-z][a-z_]*$"
TRACE, SPAN = "^[0-9a-f]{32}$", "^[0-9a-f]{16}$"
NUMBERS = {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17}
INSTANCE = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


def text(pattern=None):
    return {"type": "string", "minLength": 1, **({"pattern": pattern} if pattern else {})}


SCHEMAS = {
    "json": {  # OpenTelemetry, "Logs Data Model"
        "type": "object", "additionalProperties": False,
        "required": ["Timestamp", "SeverityText", "SeverityNumber", "EventName", "Body", "Resource", "Attributes"],
        "properties": {
            "Timestamp": text(TIME), "SeverityText": {"enum": list(NUMBERS)}, "SeverityNumber": {"enum": list(NUMBERS.values())},
            "EventName": text(WORD), "Body": text(), "TraceId": text(TRACE), "SpanId": text(SPAN),
            "Resource": {"type": "object", "additionalProperties": False,
                         "required": ["service.name", "service.version", "process.pid"],
                         "properties": {"service.name": {"const": "sagad"}, "service.version": text(),
                                        "service.instance.id": text(INSTANCE), "process.pid": {"type": "integer"}}},
            "Attributes": {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}},
        "dependentRequired": {"TraceId": ["SpanId"], "SpanId": ["TraceId"]}},
    "ecs": {  # Elastic Common Schema 8.11
        "type": "object", "additionalProperties": False,
        "required": ["@timestamp", "log.level", "message", "ecs.version", "event.dataset", "event.action", "service.name",
                     "service.version", "process.pid", "labels"],
        "properties": {
            "@timestamp": text(TIME), "log.level": {"enum": ["debug", "info", "warn", "error"]}, "message": text(),
            "ecs.version": {"const": "8.11.0"}, "event.dataset": {"const": "sagad.log"}, "event.action": text(WORD),
            "service.name": {"const": "sagad"}, "service.version": text(), "service.node.name": text(INSTANCE),
            "process.pid": {"type": "integer"}, "trace.id": text(TRACE), "span.id": text(SPAN),
            "labels": {"type": "object", "additionalProperties": {"type": "string"}}}},
}


def no_name_twice(pairs):
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), pairs
    return dict(pairs)


def a_run(make_cluster, stub, form):
    """Starts, retries, gets stuck, is cancelled, leaves; its log."""
    cluster = make_cluster(count=1, flags=[f"--log.format={form}"])
    client = cluster.client
    stub.on("/odd", Reply(404))
    steps = {"a": {"action": {"url": stub.url + "/odd?token=hidden", "headers": {"Authorization": "Bearer hidden"}},
                   "compensate": {"url": stub.url + "/undo"}, "retry": {"initial": "1ms", "max": "1ms"}}}
    begun = client.begin(gid="log-1", mode="saga", steps=steps, input={"card": "hidden"}, headers={"traceparent": STARTER})
    assert begun.status == 201, begun
    replica = cluster.replicas[0]
    until(lambda: "stuck" in replica.log())
    assert client.post("/v1/transactions/log-1/cancel", {"reason": "a test"}).status in (200, 202)
    assert client.ended("log-1")["phase"] == "cancelled"
    assert replica.terminate() == 0
    lines = replica.log().splitlines()
    assert len(lines) > 5 and "hidden" not in replica.log()
    return lines


@pytest.mark.parametrize("form", SCHEMAS)
def test_each_line_keeps_to_the_schema(make_cluster, stub, form):
    event, trace = {"json": ("EventName", "TraceId"), "ecs": ("event.action", "trace.id")}[form]
    check = jsonschema.Draft202012Validator(SCHEMAS[form])
    entries = [json.loads(line, object_pairs_hook=no_name_twice) for line in a_run(make_cluster, stub, form)]
    for entry in entries:
        check.validate(entry)
        if form == "json":
            assert NUMBERS[entry["SeverityText"]] == entry["SeverityNumber"]
    assert {"started", "live", "stuck", "drained", "stopped"} <= {e[event] for e in entries}
    stuck, = [e for e in entries if e[event] == "stuck"]
    assert stuck[trace] == STARTER.split("-")[1], "a line about a transaction leads to its trace"
    assert stuck.get("Attributes", stuck.get("labels"))["gid"] == "log-1"
    started, = [e for e in entries if e[event] == "started"]
    assert trace not in started


def test_lines_for_people(make_cluster, stub):
    lines = a_run(make_cluster, stub, "text")
    shape = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO |WARN |ERROR) [a-z_]+( .*)?$")
    for line in lines:
        assert shape.match(line), line
    stuck, = [line for line in lines if " stuck " in line]
    assert " gid=log-1 " in stuck and stuck.endswith(f" trace={STARTER.split('-')[1]}")
