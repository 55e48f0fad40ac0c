# SPDX-License-Identifier: Apache-2.0
"""A client of DTM's HTTP protocol, written from its description, and what its participants see."""
import itertools
import json
import shutil
import urllib.parse

from .cluster import Cluster

SECOND = 0.02  # of the protocol, in the clusters of these tests
_gids = itertools.count(1)


class Dtm:
    """Sends as DTM's clients do: the base URL ends in /api/dtmsvr, nulls and all."""

    def __init__(self, client, stub, kind, gid, **options):
        self.client, self.stub, self.kind, self.gid = client, stub, kind, gid
        self.options = options
        self.steps, self.payloads = [], []

    def url(self, path):
        return self.stub.url + path if path.startswith("/") else path

    def add(self, action, compensate=None, payload='{"amount":30}'):
        step = {"action": self.url(action) if action else ""}
        if compensate is not None:
            step["compensate"] = self.url(compensate) if compensate else ""
        self.steps.append(step)
        self.payloads.append(payload)
        return self

    def body(self, **more):
        made = {"gid": self.gid, "trans_type": self.kind, "query_prepared": None, "protocol": None, "custom_data": None,
                "passthrough_headers": None, "steps": self.steps or None, "payloads": self.payloads or None,
                **self.options, **more}
        if isinstance(made["custom_data"], dict):
            made["custom_data"] = json.dumps(made["custom_data"])
        return made

    def post(self, route, body=None, **more):
        # Whatever the media type says, as some clients do.
        return self.client.post("/api/dtmsvr/" + route, self.body(**more) if body is None else body,
                                headers={"Content-Type": "text/plain"})

    def prepare(self, **more):
        return self.post("prepare", **more)

    def submit(self, **more):
        return self.post("submit", **more)

    def abort(self, **more):
        return self.post("abort", **more)

    def branch(self, branch_id, route="registerBranch", **more):
        body = {"gid": self.gid, "branch_id": branch_id, "trans_type": self.kind, "data": '{"amount":30}'}
        if self.kind == "tcc":
            body.update(confirm=self.url(f"/{branch_id}/confirm"), cancel=self.url(f"/{branch_id}/cancel"))
        elif self.kind == "xa":
            body.update(url=self.url(f"/{branch_id}/xa"))
        body.update(more)
        return self.post(route, {k: v for k, v in body.items() if v is not None})

    def query(self, gid=None):
        answer = self.client.get("/api/dtmsvr/query?gid=" + urllib.parse.quote(gid or self.gid))
        assert answer.status == 200, answer
        return answer.json

    def status(self):
        return self.query()["transaction"]["status"]

    def ended(self):
        """As our own API waits for it; then DTM's word for it, from any replica."""
        self.client.ended(self.gid)
        return self.status()

    def called(self):
        """Who was called, in order: path and op, without the questions that came before."""
        return [f"{path_of(c)} {params_of(c)['op']}" for c in self.stub.calls]


def path_of(call):
    return call.path.split("?")[0]


def params_of(call):
    return {k: v[0] for k, v in urllib.parse.parse_qs(call.path.split("?", 1)[1]).items()}


def success(answer):
    assert answer.status == 200 and answer.json == {"dtm_result": "SUCCESS"}, answer
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def failure(answer, text):
    assert answer.status == 409 and answer.json["dtm_result"] == "FAILURE", answer
    assert text in answer.json["message"] and answer.json["message"].endswith("FAILURE"), answer


def error(answer, text):
    assert answer.status == 500 and set(answer.json) == {"message"} and text in answer.json["message"], answer
    assert "FAILURE" not in answer.text


def make_cluster(postgres, **more):
    """And a function that does away with it."""
    dsn = postgres.new_database()
    cluster = Cluster(dsn, flags=[f"--dtm.second={int(SECOND * 1000)}ms", *more.pop("flags", ())], **more)

    def remove():
        cluster.stop()
        shutil.rmtree(cluster.folder)
        postgres.drop_database(dsn)

    return cluster, remove
