# SPDX-License-Identifier: Apache-2.0
"""api/openapi.yaml is the public truth: every example in it is replayed, and every answer fits its schema."""
import hashlib
import hmac
import json
import pathlib
import time
import urllib.parse

import jsonschema
import pytest
import yaml

from lib.base import ROOT
from lib.client import Client
from lib.cluster import Cluster
from lib.stub import Reply, Stub

DOCUMENT = yaml.safe_load((ROOT / "api/openapi.yaml").read_text(encoding="utf-8"))
HOTEL = "http://hotel:8080"  # the participant of the examples
METHODS = ("get", "put", "post", "delete", "patch")


def resolved(node):
    while "$ref" in node:
        target = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


class Operation:
    def __init__(self, path, method, item):
        self.path, self.method = path, method.upper()
        self.what = item[method]
        self.id = self.what["operationId"]
        self.parameters = [resolved(p) for p in item.get("parameters", []) + self.what.get("parameters", [])]
        self.answers = {}  # name of an example: status, media type, what the answer must hold
        for status, response in self.what["responses"].items():
            response = resolved(response)
            for name in response.get("x-sagad-examples", []):
                self.answers[name] = (status, None, None)
            for media, content in response.get("content", {}).items():
                for name, example in content.get("examples", {}).items():
                    assert name not in self.answers, f"{self.id}: the example {name} has two answers"
                    self.answers[name] = (status, media, example["value"])

    def request(self, name):
        """Path with query, headers and body of one example."""
        path, query, headers = self.path, {}, {}
        for p in self.parameters:
            examples = p.get("examples", {})
            if name in examples:
                value = examples[name]["value"]
                value = json.dumps(value) if isinstance(value, bool) else str(value)
                if p["in"] == "path":
                    path = path.replace("{%s}" % p["name"], urllib.parse.quote(value, safe=""))
                elif p["in"] == "query":
                    query[p["name"]] = value
                else:
                    headers[p["name"]] = value
        assert "{" not in path, f"{self.id} {name}: a parameter has no example"
        content = self.what.get("requestBody", {}).get("content", {}).get("application/json", {})
        body = content.get("examples", {}).get(name, {}).get("value")
        return path, query, headers, body

    def schema(self, status, media):
        response = resolved(self.what["responses"].get(str(status)) or self.what["responses"]["default"])
        return response.get("content", {})[media]["schema"]


OPERATIONS = {o.id: o for path, item in DOCUMENT["paths"].items() for o in
              (Operation(path, method, item) for method in METHODS if method in item)}
REPLAY = [tuple(line.split()) for line in DOCUMENT["x-sagad-replay"]]


def missing(example, got, at=""):
    """Where got does not hold what example says, or None."""
    if isinstance(example, dict):
        if not isinstance(got, dict):
            return f"{at}: {got!r} is no object"
        return next(filter(None, (
            f"{at}/{k} is not there" if k not in got else missing(v, got[k], f"{at}/{k}") for k, v in example.items())), None)
    if isinstance(example, list):
        if not example and got:
            return f"{at} is not empty: {got!r}"
        return next((f"{at}: nothing like {e!r} in {got!r}" for e in example
                     if all(missing(e, g) for g in got)), None)
    if isinstance(example, str) and at == "":
        return None if got.startswith(example) else f"does not begin with {example!r}"
    return None if example == got and type(example) is type(got) else f"{at} is {got!r}, not {example!r}"


# ---- the document ----------------------------------------------------------------------


def test_every_example_is_replayed_once():
    pairs = [(o.id, name) for o in OPERATIONS.values() for name in o.answers]
    assert sorted(pairs) == sorted(REPLAY)
    assert len(set(REPLAY)) == len(REPLAY)


def test_every_operation_has_an_example():
    assert [o.id for o in OPERATIONS.values() if not o.answers] == []


def test_every_request_example_has_an_answer():
    for o in OPERATIONS.values():
        body = o.what.get("requestBody", {}).get("content", {}).get("application/json", {})
        assert set(body.get("examples", {})) <= set(o.answers), o.id


def test_schemas_are_schemas():
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema), name


def test_request_examples_of_good_requests_fit():
    """What is answered with success must be what the document allows."""
    for o in OPERATIONS.values():
        content = o.what.get("requestBody", {}).get("content", {}).get("application/json", {})
        for name, example in content.get("examples", {}).items():
            if o.answers[name][0].startswith("2"):
                check(content["schema"], example["value"])


def check(schema, value):
    resolver = jsonschema.RefResolver.from_schema(DOCUMENT)
    jsonschema.Draft202012Validator(schema, resolver=resolver).validate(value)


# ---- the story ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def story(postgres):
    dsn = postgres.new_database()
    hotel = Stub()
    hotel.on("/reservations", Reply(200, {"id": "r-7"}))
    hotel.on("/visa", Reply(202, Retry_After=3600))
    hotel.on("/broken", Reply(500))
    cluster = Cluster(dsn, count=1)
    yield Story(cluster, hotel)
    cluster.stop()
    hotel.close()
    postgres.drop_database(dsn)


class Story:
    def __init__(self, cluster, hotel):
        self.replica, self.hotel = cluster.replicas[0], hotel
        self.key = (pathlib.Path(cluster.folder) / "callback.key").read_bytes().strip()

    def signature(self, path, query):
        """As the participant got it with its call."""
        parts = path.split("/")
        text = f"{parts[3]}:{parts[5]}:{query['op']}"
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()

    def send(self, operation, name):
        path, query, headers, body = operation.request(name)
        if operation.id in ("step_complete", "step_fail"):
            query.setdefault("sig", self.signature(path, query))
        if body is not None:
            body = body if isinstance(body, str) else json.dumps(body)
            body = body.replace(HOTEL, self.hotel.url)
        where = self.replica.ops_at if operation.path in ("/livez", "/readyz", "/metrics") else self.replica.at
        return Client(lambda: [where]).send(
            operation.method, path + ("?" + urllib.parse.urlencode(query) if query else ""), body, headers)

    def fits(self, operation, name, answer):
        """What is wrong with an answer, or None."""
        status, media, example = operation.answers[name]
        if answer.status != int(status):
            return f"the status is {answer.status}, not {status}"
        if media is None:
            return "a body nobody wants" if answer.content else None
        if answer.headers["Content-Type"].split(";")[0] != media:
            return f"it is {answer.headers['Content-Type']}, not {media}"
        text = answer.text.replace(self.hotel.url, HOTEL)
        return missing(example, json.loads(text) if "json" in media else text)


def test_the_examples_in_their_order(story):
    wrong = []
    for op, name in REPLAY:
        operation = OPERATIONS[op]
        answer = story.send(operation, name)
        end = time.monotonic() + 5
        while operation.method == "GET" and story.fits(operation, name, answer) and time.monotonic() < end:
            time.sleep(0.05)  # a look may come before what it looks for
            answer = story.send(operation, name)
        found = story.fits(operation, name, answer)
        if found:
            wrong.append(f"{op} {name}: {found}: {answer}")
            continue
        assert answer.headers["X-Request-Id"], answer
        if answer.content and "json" in answer.headers["Content-Type"]:
            try:
                check(operation.schema(answer.status, answer.headers["Content-Type"].split(";")[0]), answer.json)
            except jsonschema.ValidationError as e:
                wrong.append(f"{op} {name}: {e.json_path}: {e.message}: {answer}")
    assert not wrong, "\n\n".join(wrong)


def test_what_is_served_is_the_document(story):
    served = Client(lambda: [story.replica.at]).get("/v1/openapi.yaml")
    assert served.content == (ROOT / "api/openapi.yaml").read_bytes()
