# SPDX-License-Identifier: Apache-2.0
"""A collector for traces: takes OTLP/HTTP in JSON, and refuses what does not keep to the protocol's rules."""
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TRACE, SPAN = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{16}")
SPAN_FIELDS = {"traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes",
               "links", "status"}
VALUES = {"stringValue": str, "intValue": str, "boolValue": bool, "doubleValue": float}


def attributes(found):
    """A list of KeyValue as a dict."""
    given = {}
    for pair in found:
        assert set(pair) == {"key", "value"} and pair["key"] and pair["key"] not in given, pair
        (kind, value), = pair["value"].items()
        assert isinstance(value, VALUES[kind]), pair
        given[pair["key"]] = int(value) if kind == "intValue" else value
    return given


def identity(span):
    assert TRACE.fullmatch(span["traceId"]) and span["traceId"].strip("0"), span
    assert SPAN.fullmatch(span["spanId"]) and span["spanId"].strip("0"), span


class Span:
    def __init__(self, raw, resource):
        assert set(raw) <= SPAN_FIELDS, raw
        identity(raw)
        parent = raw.get("parentSpanId", "0" * 15 + "1")
        assert SPAN.fullmatch(parent) and parent.strip("0"), raw
        assert raw["name"] and raw["kind"] in (1, 2, 3, 4, 5), raw
        for name in ("startTimeUnixNano", "endTimeUnixNano"):
            assert isinstance(raw[name], str) and raw[name].isdigit() and 18 <= len(raw[name]) <= 20, raw
        self.start, self.end = int(raw["startTimeUnixNano"]), int(raw["endTimeUnixNano"])
        assert self.start <= self.end, raw
        assert set(raw["status"]) <= {"code", "message"} and raw["status"].get("code", 0) in (0, 1, 2), raw
        for link in raw.get("links", []):
            identity(link)
            attributes(link["attributes"])
        self.trace, self.id, self.parent = raw["traceId"], raw["spanId"], raw.get("parentSpanId")
        self.name, self.kind, self.failed = raw["name"], raw["kind"], raw["status"].get("code") == 2
        self.links = [(link["traceId"], link["spanId"]) for link in raw.get("links", [])]
        self.attributes, self.resource = attributes(raw["attributes"]), resource

    def __repr__(self):
        return f"<{self.name} {self.trace[:8]}/{self.id} in {self.parent} {self.attributes}>"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, answer = self.server.collector.take(self.path, self.headers, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Collector:
    """answers: (status, headers, body) for the next requests; what follows is 200. Spans of refused ones do not count."""

    def __init__(self):
        self._lock, self.open = threading.Lock(), threading.Event()
        self.open.set()  # cleared: it hangs
        self.spans, self.wrong, self.requests, self.answers, self.headers, self.raw = [], [], 0, [], [], []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.collector = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True, args=(0.05,)).start()

    def close(self):
        self.open.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, path, headers, body):
        with self._lock:
            self.requests += 1
            self.headers.append(dict(headers))
            self.raw.append(body.decode())
            status, extra, answer = self.answers.pop(0) if self.answers else (200, {}, b"{}")
        self.open.wait()
        try:
            spans = list(self._read(path, headers, json.loads(body)))
        except (AssertionError, ValueError, KeyError) as e:
            self.wrong.append(f"{type(e).__name__}: {e}")
            return 400, {}, b"{}"
        if status == 200:
            with self._lock:
                self.spans += spans
        return status, extra, answer

    @staticmethod
    def _read(path, headers, request):
        assert path == "/v1/traces" and headers["Content-Type"] == "application/json", (path, headers)
        assert set(request) == {"resourceSpans"} and request["resourceSpans"], request
        for group in request["resourceSpans"]:
            resource = attributes(group["resource"]["attributes"])
            assert resource["service.name"] == "sagad" and resource["service.instance.id"], resource
            for scope in group["scopeSpans"]:
                assert scope["scope"]["name"] == "sagad" and scope["spans"], scope
                for raw in scope["spans"]:
                    yield Span(raw, resource)

    def of(self, gid):
        with self._lock:
            return [s for s in self.spans if s.attributes.get("sagad.gid") == gid]
