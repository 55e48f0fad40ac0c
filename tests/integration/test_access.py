# SPDX-License-Identifier: Apache-2.0
"""Who may do what: tokens, roles, and what an open port refuses."""
import hashlib
import hmac
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import time

import pytest
import yaml

from lib.base import BIN, ROOT, free_port, until
from lib.client import Client, problem
from lib.cluster import Cluster
from lib.stub import Reply, Stub

DOCUMENT = yaml.safe_load((ROOT / "api/openapi.yaml").read_text(encoding="utf-8"))
ROUTES = [(item[method]["operationId"], method.upper(), path, item[method]["x-sagad-role"])
          for path, item in DOCUMENT["paths"].items() for method in item
          if method in ("get", "put", "post", "delete", "patch")]
INCLUDES = {"service": {"service"}, "reader": {"reader"}, "operator": {"operator", "reader"},
            "admin": {"admin", "operator", "reader"}}
OPS = ("/livez", "/readyz", "/metrics")


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class Guarded:
    """A replica that asks for tokens, one of each role."""

    def __init__(self, dsn):
        self.tokens = {role: "sagad_" + secrets.token_hex(32) for role in INCLUDES}
        self.tokens["old"] = "sagad_" + secrets.token_hex(32)
        self.stub = Stub()
        self.cluster = Cluster(dsn, count=0)
        self.file = os.path.join(self.cluster.folder, "tokens")
        self.write()
        self.replica = self.cluster.add(flags=[f"--tokens-file={self.file}", "--ops-listen=0.0.0.0:" + str(free_port())],
                                        ready=False)
        self.replica.ops_at = "127.0.0.1:" + self.replica.command[-1].rpartition(":")[2]
        self.replica.ready()

    def line(self, name, role, token, rest=""):
        return f"{name} {role} sha256:{hashlib.sha256(token.encode()).hexdigest()}{rest}\n"

    def write(self, more=""):
        with open(self.file + ".new", "w", encoding="ascii") as file:
            file.write("".join(self.line(role, role, token) for role, token in self.tokens.items() if role != "old"))
            file.write(self.line("old", "admin", self.tokens["old"], " until:2020-01-01T00:00:00Z"))
            file.write(more)
        os.replace(self.file + ".new", self.file)

    def send(self, method, path, body=None, token=None, headers=None):
        at = self.replica.ops_at if path in OPS else self.replica.at
        return Client(lambda: [at]).send(method, path, body, {**(bearer(token) if token else {}), **(headers or {})})

    def close(self):
        self.cluster.stop()
        self.stub.close()
        shutil.rmtree(self.cluster.folder)


@pytest.fixture(scope="module")
def guarded(postgres):
    dsn = postgres.new_database()
    made = Guarded(dsn)
    yield made
    made.close()
    postgres.drop_database(dsn)


def path_of(pattern):
    return re.sub(r"\{[a-z]+\}", lambda m: "1" if m[0] == "{version}" else "nothing-here", pattern)


def send_to(guarded, method, pattern, token):
    body = {} if method in ("POST", "PUT", "PATCH") else None
    return guarded.send(method, path_of(pattern), body, token)


# ---- every route ----------------------------------------------------------------------------


@pytest.mark.parametrize("name,method,pattern,role", ROUTES, ids=[r[0] for r in ROUTES])
def test_each_route_asks_for_its_role(guarded, name, method, pattern, role):
    wanted = set(role.split("/"))
    nobody = send_to(guarded, method, pattern, None)
    if role == "public":
        assert nobody.status != 401, nobody
        assert nobody.status != 403 or nobody.json["code"] == "callback_forbidden", nobody
    elif role == "replica":
        problem(nobody, 403, "forbidden")
    else:
        got = problem(nobody, 401, "unauthenticated")
        assert nobody.headers["WWW-Authenticate"] == 'Bearer realm="sagad"'
        assert "sagad token" in got["detail"], got
    wrong = send_to(guarded, method, pattern, "sagad_" + "0" * 64)
    problem(wrong, 401, "unauthenticated")
    assert 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]
    expired = send_to(guarded, method, pattern, guarded.tokens["old"])
    assert "expired" in problem(expired, 401, "unauthenticated")["detail"]
    for held, includes in INCLUDES.items():
        answer = send_to(guarded, method, pattern, guarded.tokens[held])
        if role == "public" or wanted & includes:
            assert answer.status != 401, (held, answer)
            assert answer.status != 403 or answer.json["code"] == "callback_forbidden", (held, answer)
        else:
            got = problem(answer, 403, "forbidden")
            if role != "replica":
                assert f"the role {role}; {held} has: {held}." in got["detail"], got
                assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_the_table_was_not_empty():
    assert len(ROUTES) >= 30 and {r[3] for r in ROUTES} >= {"public", "service", "reader", "operator", "admin", "replica"}


def test_what_is_public_is_known():
    """A route that is public by a slip would pass every test of roles: so each of them stands here."""
    public = {name for name, _, _, role in ROUTES if role == "public"}
    assert {name for name in public if name.startswith(("ops_", "public_"))} == {
        "ops_livez", "ops_readyz", "public_openapi", "public_problem", "public_problems", "public_schema"}
    assert {name for name in public if not name.startswith(("ops_", "public_", "dtm_"))} == {"step_complete", "step_fail"}
    assert {name for name in public if name.startswith("dtm_")} <= {"dtm_version", "dtm_ping", "dtm_ping_post"}


# ---- tokens ------------------------------------------------------------------------------------


def test_a_service_works_with_its_token(guarded, gid):
    guarded.stub.on("/a", Reply(200))
    steps = {"a": {"action": {"url": guarded.stub.url + "/a"}}}
    token = guarded.tokens["service"]
    answer = guarded.send("POST", "/v1/transactions?wait=20s", {"gid": gid, "mode": "saga", "steps": steps, "input": {}}, token)
    assert answer.status == 201 and answer.json["phase"] == "confirmed", answer
    assert guarded.send("GET", f"/v1/transactions/{gid}", token=token).status == 200
    assert guarded.send("GET", f"/v1/transactions/{gid}", token=guarded.tokens["reader"]).status == 200


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic YTpi", "sagad_" + "0" * 64, "Bearer " + "x" * 5000,
                                    "bearer  two spaces"])
def test_other_authorizations_are_refused(guarded, header):
    answer = guarded.send("GET", "/v1/transactions", headers={"Authorization": header})
    problem(answer, 401, "unauthenticated")


def test_no_token_has_a_control_character(guarded):
    problem(guarded.send("GET", "/v1/transactions", headers={"Authorization": "Bearer \x7f"}), 400, "bad_request")


def test_the_scheme_is_spelled_as_you_like(guarded):
    for scheme in ("bearer", "BEARER"):
        answer = guarded.send("GET", "/v1/transactions", headers={"Authorization": f"{scheme} {guarded.tokens['reader']}"})
        assert answer.status == 200, answer


def test_one_connection_may_change_its_token(guarded):
    link = http.client.HTTPConnection(guarded.replica.at, timeout=20)
    for role, status in [("reader", 200), ("service", 403), ("reader", 200), ("old", 401), ("reader", 200)] * 3:
        link.request("GET", "/v1/transactions", headers=bearer(guarded.tokens[role]))
        answer = link.getresponse()
        answer.read()
        assert answer.status == status, role
    link.close()


def test_the_file_is_read_again_when_it_changes(guarded):
    new = "sagad_" + secrets.token_hex(32)
    link = http.client.HTTPConnection(guarded.replica.at, timeout=20)

    def status(token):
        link.request("GET", "/v1/transactions", headers=bearer(token))
        answer = link.getresponse()
        answer.read()
        return answer.status

    assert status(new) == 401
    guarded.write(guarded.line("ada", "reader", new))
    until(lambda: status(new) == 200)
    guarded.write("what is this\n")
    until(lambda: guarded.replica.events("tokens_kept"))
    assert status(new) == 200, "a broken file changes nothing"
    assert "line 6" in json.dumps(guarded.replica.events("tokens_kept")[-1])
    os.unlink(guarded.file)
    until(lambda: len(guarded.replica.events("tokens_kept")) >= 2)
    assert status(new) == 200, "nor does one that is gone"
    guarded.write()
    until(lambda: status(new) == 401)
    link.close()


def test_a_body_nobody_wants_is_not_kept(guarded):
    """It is read to its end, so that the client sees the answer, and a large one is not asked for."""
    answer = guarded.send("POST", "/v1/transactions", "x" * (900 << 10))
    problem(answer, 401, "unauthenticated")
    link = socket.create_connection(guarded.replica.at.split(":"), timeout=20)
    link.sendall(b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
    assert link.recv(100).startswith(b"HTTP/1.1 401"), "before 100 Continue"
    link.close()


def test_metrics_are_open_where_only_this_machine_listens(cluster):
    assert Client(lambda: [cluster.replicas[0].ops_at]).get("/metrics").status == 200


# ---- replicas -------------------------------------------------------------------------------------


def test_a_poke_needs_the_key_of_the_cluster(guarded):
    with open(os.path.join(guarded.cluster.folder, "callback.key"), "rb") as file:
        key = file.read().strip()

    def poke(key, gid, at=0):
        now = int(time.time() * 1000) + at
        mac = hmac.new(key, f"replica {now} {gid}".encode(), hashlib.sha256).hexdigest()
        return guarded.send("POST", "/internal/poke/one", headers={"Saga-Replica": f"{now} {mac}"}).status

    assert poke(key, "one") == 204
    assert poke(key, "two") == 403 and poke(b"another", "one") == 403
    assert poke(key, "one", -3600_000) == 403 and poke(key, "one", 3600_000) == 403


def test_commands_cross_replicas_that_ask_for_tokens(guarded, gid):
    """The owner of a transaction is told at once, by a replica without a token."""
    def pokes():
        counted = guarded.send("GET", "/metrics", token=guarded.tokens["reader"]).text
        return {kind: int((re.search(rf'route="replica_poke",status="{kind}"}} (\d+)', counted) or [0, 0])[1])
                for kind in ("2xx", "4xx")}

    before = pokes()
    other = guarded.cluster.add(flags=[f"--tokens-file={guarded.file}"])
    guarded.stub.on("/held", Reply(202, Retry_After=3600))
    steps = {"a": {"action": {"url": guarded.stub.url + "/held"}, "compensate": {"url": guarded.stub.url + "/undo"}}}
    token = guarded.tokens["service"]
    started = guarded.send("POST", "/v1/transactions", {"gid": gid, "mode": "saga", "steps": steps, "input": {}}, token)
    assert started.status == 201, started
    answer = Client(lambda: [other.at]).post(f"/v1/transactions/{gid}/cancel?wait=20s", {}, headers=bearer(token))
    assert answer.status == 200 and answer.json["phase"] == "cancelled", answer
    after = pokes()
    assert after["2xx"] > before["2xx"] and after["4xx"] == before["4xx"], (before, after)
    other.stop()
    guarded.cluster.remove(other)


# ---- the command ------------------------------------------------------------------------------------


def sagad(*words):
    return subprocess.run([BIN / "sagad", *words], capture_output=True, text=True, timeout=60)


def test_sagad_token_makes_one(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("# no end of line", encoding="ascii")
    done = sagad("token", "ada", "--role=operator,service", "--for", "30d", f"--append={file}")
    token = done.stdout.strip()
    assert done.returncode == 0 and re.fullmatch(r"sagad_[0-9a-f]{64}", token), done
    line = file.read_text(encoding="ascii").splitlines()[1]
    assert re.fullmatch(rf"ada operator,service sha256:{hashlib.sha256(token.encode()).hexdigest()} until:20\S+Z", line)
    assert token not in file.read_text(encoding="ascii")
    shown = sagad("token", "ada", "--role", "reader").stdout.splitlines()
    assert shown[1].startswith("sagad_") and shown[3] == f"ada reader sha256:{hashlib.sha256(shown[1].encode()).hexdigest()}"
    new = tmp_path / "new"
    assert sagad("token", "bob", "--role=admin", f"--append={new}").returncode == 0
    assert new.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("words,says", [
    (["ada"], "--role"), (["--role=reader"], "name"), (["ada", "--role=root"], "reader"), (["a b", "--role=reader"], "name"),
    (["ada", "--role=reader", "--for=soon"], "90d"), (["ada", "bob", "--role=reader"], "bob"),
    (["ada", "--role=reader", "--append=/nowhere/tokens"], "No such file"), (["ada", "--role"], "--role")])
def test_sagad_token_says_what_is_wrong(words, says):
    done = sagad("token", *words)
    assert done.returncode == 78 and says in done.stderr and done.stdout == "", done


# ---- listening -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--listen=0.0.0.0:{}", "--listen=:{}", "--listen=[::]:{}", "--ops-listen=0.0.0.0:{}"])
def test_it_does_not_listen_wider_without_tokens(database, flag):
    words = [f"--dsn={database}", f"--listen=127.0.0.1:{free_port()}", f"--ops-listen=127.0.0.1:{free_port()}",
             flag.format(free_port())]
    done = sagad(*words)
    assert done.returncode == 78 and "--tokens-file" in done.stderr and "--insecure-listen=yes" in done.stderr, done


def test_it_does_when_told_to(make_cluster):
    cluster = make_cluster(count=0)
    port = free_port()
    replica = cluster.add(flags=[f"--listen=0.0.0.0:{port}", "--insecure-listen=yes"])
    assert Client(lambda: [f"127.0.0.1:{port}"]).get("/v1/transactions").status == 200
    replica.stop()


def test_a_broken_tokens_file_is_told_at_the_start(database, tmp_path):
    file = tmp_path / "tokens"
    file.write_text("ada operator sha256:12\n", encoding="ascii")
    done = sagad(f"--dsn={database}", f"--tokens-file={file}", f"--listen=127.0.0.1:{free_port()}",
                 f"--ops-listen=127.0.0.1:{free_port()}")
    assert done.returncode == 78 and "line 1" in done.stderr, done
    done = sagad("check", f"--dsn={database}", f"--tokens-file={tmp_path}/nowhere")
    assert done.returncode == 78 and "nowhere" in done.stderr, done


# ---- rates --------------------------------------------------------------------------------------------


def test_each_caller_has_a_rate(make_cluster, tmp_path):
    file = tmp_path / "tokens"
    tokens = [sagad("token", name, "--role=reader", f"--append={file}").stdout.strip() for name in ("ada", "bob")]
    cluster = make_cluster(count=1, flags=[f"--tokens-file={file}", "--limit.rate=1", "--limit.burst=5"])
    client = Client(lambda: [cluster.replicas[0].at])
    answers = [client.get("/v1/transactions", headers=bearer(tokens[0])) for _ in range(12)]
    refused = [a for a in answers if a.status == 429]
    assert answers[0].status == 200 and len(refused) >= 2, answers
    got = problem(refused[-1], 429, "too_many_requests")
    assert got["retryable"] and int(refused[-1].headers["Retry-After"]) >= 1
    assert client.get("/v1/transactions", headers=bearer(tokens[1])).status == 200, "bob has his own"
    nobody = [client.get("/problems").status for _ in range(12)]
    assert nobody[0] == 200 and 429 in nobody, "whoever sends no token, by his address"
    assert client.get("/livez", at=cluster.replicas[0].ops_at).status == 200
    assert all(client.get("/livez", at=cluster.replicas[0].ops_at).status == 200 for _ in range(12)), "health has no rate"


def test_each_caller_may_wait_so_often(make_cluster, stub):
    cluster = make_cluster(count=1, flags=["--limit.waiters=1"])
    client = cluster.client
    stub.on("/slow", Reply(202, Retry_After=3600))
    steps = {"a": {"action": {"url": stub.url + "/slow"}, "compensate": {"url": stub.url + "/undo"}}}
    assert client.begin(gid="one", mode="saga", steps=steps, input={}).status == 201
    link = http.client.HTTPConnection(cluster.replicas[0].at, timeout=60)
    link.request("GET", "/v1/transactions/one?wait=50s")
    until(lambda: " 1" in next(line for line in cluster.replicas[0].ops("/metrics").text.splitlines()
                               if line.startswith("sagad_waiters ")))
    answer = client.get("/v1/transactions/one?wait=5s")
    assert "limit.waiters" in problem(answer, 429, "too_many_waiters")["detail"]
    link.close()  # whoever leaves makes room
    until(lambda: client.get("/v1/transactions/one?wait=1s").status == 200)


# ---- where calls may go ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fenced(postgres):
    """A replica that may call one stub and nothing else."""
    dsn = postgres.new_database()
    stub = Stub()
    made = Cluster(dsn, count=1, flags=[f"--calls.allow=127.0.0.1:{stub.url.rpartition(':')[2]}, *.good.test"])
    made.stub = stub
    yield made
    made.stop()
    stub.close()
    shutil.rmtree(made.folder)
    postgres.drop_database(dsn)


REFUSED = ["http://127.0.0.1:1/x", "http://127.0.0.2/x", "http://169.254.169.254/latest/meta-data/", "http://0x7f000001/x",
           "http://[::1]/x", "https://127.0.0.1/x", "http://0.0.0.0/x", "http://[::ffff:169.254.169.254]/x", "http://2852039166/"]


@pytest.mark.parametrize("url", REFUSED)
def test_urls_against_the_policy_are_not_registered(fenced, url):
    document = {"mode": "saga", "steps": {"a": {"action": {"url": url}, "compensate": {"url": fenced.stub.url + "/undo"}}}}
    for answer in (fenced.client.put("/v1/definitions/d", document),
                   fenced.client.post("/v1/transactions", {**document, "input": {}})):
        got = problem(answer, 422, "definition_invalid")
        assert [e["pointer"] for e in got["errors"]] == ["/steps/a"] and "calls.allow" in got["errors"][0]["detail"], got
    checked = fenced.client.post("/v1/definitions/validate", document)
    assert checked.json["valid"] is False and checked.json["errors"][0]["pointer"] == "/steps/a", checked
    base = url.rpartition("/")[0]
    answer = fenced.client.put("/v1/participants/p?reason=a%20test", {"base_url": base.removesuffix("/latest/meta-data")})
    got = problem(answer, 422, "url_refused")
    assert [e["pointer"] for e in got["errors"]] == ["/base_url"] and "calls.allow" in got["errors"][0]["detail"], got


@pytest.mark.parametrize("url", REFUSED)
def test_steps_that_join_and_new_urls_are_held_against_the_policy(fenced, url):
    client, gid = fenced.client, f"joined-{REFUSED.index(url)}"
    fine = {"url": fenced.stub.url + "/ok"}
    assert client.begin(gid=gid, mode="tcc", deadline="10m", input={}).status == 201
    for step, pointers in (({"confirm": {"url": url}, "cancel": fine}, ["/confirm/url"]),
                           ({"confirm": fine, "cancel": {"url": url}, "try": {"url": url}, "call_try": True}, ["/try/url", "/cancel/url"]),
                           ({"compensate": {"url": url}}, ["/compensate/url"]),
                           ({"action": {"url": url}, "compensate": fine, "call_try": True}, ["/action/url"])):
        got = problem(client.post(f"/v1/transactions/{gid}/steps", {"name": "a", **step}), 422, "definition_invalid")
        assert [e["pointer"] for e in got["errors"]] == pointers and "calls.allow" in got["errors"][0]["detail"], got
    assert client.transaction(gid)["steps"] == []
    assert client.post(f"/v1/transactions/{gid}/steps", {"name": "a", "confirm": fine, "cancel": fine}).status == 201
    moved = {"gid": gid, "op": "confirm", "url": url, "reason": "a test"}
    for query in ("", "?dry_run=true"):
        got = problem(client.send("PATCH", f"/v1/transactions/{gid}/steps/a{query}", moved), 422, "definition_invalid")
        assert [e["pointer"] for e in got["errors"]] == ["/url"], got
    assert client.post(f"/v1/transactions/{gid}/cancel").status in (200, 202)


def test_what_is_allowed_is_called_and_a_name_is_looked_at_when_it_is(fenced, gid):
    fenced.stub.on("/ok", Reply(200))
    steps = {"a": {"action": {"url": fenced.stub.url + "/ok"}, "compensate": {"url": fenced.stub.url + "/undo"}}}
    assert fenced.client.run(gid=gid, mode="saga", steps=steps, input={})["phase"] == "confirmed"
    steps["a"]["action"]["url"] = "http://localhost:1/ok"  # only its address tells
    answer = fenced.client.begin(gid=gid + "-name", mode="saga", steps=steps, input={})
    assert answer.status == 201, answer
    shown = until(lambda: next((s for s in fenced.client.transaction(gid + "-name")["steps"] if s.get("last_error")), None))
    assert "calls.deny" in json.dumps(shown), shown
