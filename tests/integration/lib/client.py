# SPDX-License-Identifier: Apache-2.0
"""An HTTP client that sends each request to a random replica."""
import http.client
import json
import random


class Answer:
    def __init__(self, at, method, path, raw):
        self.at, self.request = at, f"{method} {path} at {at}"
        self.status = raw.status
        self.headers = raw.headers
        self.content = raw.read()

    @property
    def text(self):
        return self.content.decode()

    @property
    def json(self):
        return json.loads(self.content)

    def __repr__(self):
        return f"<{self.request} → {self.status} {self.content[:600]!r}>"


class Client:
    def __init__(self, addresses):
        self.addresses = addresses  # a callable: replicas come and go

    def send(self, method, path, body=None, headers=None, at=None, timeout=70):
        """body: bytes or str as they are, anything else as JSON."""
        at = at or random.choice(self.addresses())
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        link = http.client.HTTPConnection(at, timeout=timeout)
        try:
            link.request(method, path, body=body, headers=headers)
            return Answer(at, method, path, link.getresponse())
        finally:
            link.close()

    def get(self, path, **more):
        return self.send("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.send("POST", path, {} if body is None else body, **more)

    def put(self, path, body, **more):
        return self.send("PUT", path, body, **more)

    # ---- what most tests do ------------------------------------------------------

    def define(self, name, **document):
        answer = self.put(f"/v1/definitions/{name}", document)
        assert answer.status in (200, 201), answer
        return answer

    def begin(self, wait=None, headers=None, **document):
        path = "/v1/transactions" + (f"?wait={wait}" if wait else "")
        return self.post(path, document, headers=headers)

    def run(self, **document):
        """Begins it, waits for its end, and gives it as it is then."""
        answer = self.begin(wait="20s", **document)
        assert answer.status == 201, answer
        return answer.json

    def transaction(self, gid, wait=None):
        answer = self.get(f"/v1/transactions/{gid}" + (f"?wait={wait}" if wait else ""))
        assert answer.status == 200, answer
        return answer.json

    def ended(self, gid, wait="30s"):
        got = self.transaction(gid, wait)
        assert got["phase"] in ("confirmed", "cancelled", "abandoned"), got
        return got


def problem(answer, status, code):
    """Asserts that answer is the problem+json of that code, and gives it."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.headers
    got = answer.json
    assert got["code"] == code, answer
    assert got["status"] == status and got["type"] == f"/problems/{code}", answer
    assert got["title"] and got["request_id"], answer
    return got


def step_of(transaction, name):
    """One step of a transaction as the API shows it."""
    return next(s for s in transaction["steps"] if s["name"] == name)
