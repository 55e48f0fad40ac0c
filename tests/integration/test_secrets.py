# SPDX-License-Identifier: Apache-2.0
"""Secrets are planted in every place that takes one, and looked for in every place that shows something."""
import base64
import json
import os
import secrets
import subprocess

import psycopg
import pytest

from lib.base import BIN, free_port, until
from lib.client import Client
from lib.collector import Collector
from lib.stub import Reply


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()
    assert not made.wrong, made.wrong[:3]


def shown_by_the_database(dsn):
    with psycopg.connect(dsn) as link:
        tables = [row[0] for row in link.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'sagad'")]
        assert len(tables) >= 5, tables
        yield from (str(row[0]) for table in tables for row in link.execute(f"SELECT t::text FROM {table} t"))
        yield from (str(row[0]) for row in link.execute("SELECT concat_ws(' ', application_name, query) FROM pg_stat_activity"))


@pytest.mark.parametrize("client", ["auto", "curl"])
def test_no_secret_is_shown_anywhere(make_cluster, database, stub, collector, tmp_path, gid, client):
    planted = {name: f"planted{secrets.token_hex(12)}" for name in ("password", "callback", "replica", "participant", "collector")}
    raw = base64.b64encode(planted["participant"].encode()).decode()
    files = {"dsn": f"{database} password={planted['password']}", "callback": planted["callback"],
             "replica": planted["replica"], "bank": f"whsec_{raw}\n", "headers": f"Authorization: Bearer {planted['collector']}\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    tokens = tmp_path / "tokens"
    for role in ("service", "admin"):
        done = subprocess.run([BIN / "sagad", "token", role, f"--role={role}", f"--append={tokens}"], capture_output=True, text=True)
        planted[role] = done.stdout.strip()
    wrong = planted["wrong"] = "sagad_" + secrets.token_hex(32)
    cluster = make_cluster(count=2, dsn_of=lambda number: "", env_of=lambda number: {"SAGAD_DSN_FILE": str(tmp_path / "dsn")}, flags=[
        f"--callback-key-file={tmp_path}/callback", f"--replica-key-file={tmp_path}/replica", f"--secrets-dir={tmp_path}",
        f"--tokens-file={tokens}", f"--calls.client={client}", "--log.level=debug", f"--otlp.endpoint={collector.url}",
        f"--otlp.headers-file={tmp_path}/headers"])
    answers = []

    def send(method, path, body=None, token="service"):
        answers.append(cluster.client.send(method, path, body, {"Authorization": f"Bearer {planted[token]}"}))
        return answers[-1]

    stub.on("/held", Reply(202, Retry_After=3600))
    stub.on("/broken", Reply(500, "no"))
    assert send("PUT", "/v1/participants/bank", {"base_url": stub.url, "secret": "bank"}, "admin").status == 200
    for n, path in enumerate(("/ok", "/held", "/broken", "/gone", "/ok")):
        stub.on("/gone", Reply(404))
        steps = {"a": {"action": {"participant": "bank", "path": path}, "compensate": {"participant": "bank", "path": "/undo"}}}
        assert send("POST", "/v1/transactions", {"gid": f"{gid}-{n}", "mode": "saga", "steps": steps, "input": {}}).status == 201
    until(lambda: stub.seen("/broken") and stub.seen("/held") and stub.seen("/gone"))
    assert stub.calls[0].headers["webhook-signature"] and stub.calls[0].headers["Saga-Callback"]
    for n in range(4):
        send("POST", f"/v1/transactions/{gid}-{n}/cancel", {})
        send("GET", f"/v1/transactions/{gid}-{n}")
        send("GET", f"/v1/transactions/{gid}-{n}/journal", token="admin")
    until(lambda: all(any("sagad.phase" in s.attributes for s in collector.of(f"{gid}-{n}")) for n in range(5)), 20)
    assert {h["Authorization"] for h in collector.headers} == {f"Bearer {planted['collector']}"} and f"{gid}-0" in "".join(collector.raw)
    for path in ("/v1/transactions", "/v1/participants", "/v1/replicas", "/v1/audit", "/problems", "/v1/overview"):
        send("GET", path, token="admin")
        assert send("GET", path, token="wrong").status in (401, 404)
    send("POST", f"/v1/transactions/{wrong}", {}, "wrong")
    send("POST", f"/v1/transactions/{gid}-1/abandon", {"reason": "x"}, "service")
    shown = [a.text + str(a.headers) for a in answers]
    for replica in cluster.replicas:
        shown += [replica.ops(path).text for path in ("/metrics", "/readyz", "/livez")]
        shown.append(replica.log())
        with open(f"/proc/{replica.process.pid}/cmdline", encoding="utf-8", errors="replace") as file:
            shown.append(file.read())
    shown += shown_by_the_database(database)
    shown += collector.raw
    assert len(shown) > 40 and sum(len(text) for text in shown) > 20_000
    known = set(planted.values()) | {raw} | {token.removeprefix("sagad_") for token in planted.values()}
    own = f"/v1/transactions/{wrong}"  # what a client writes into a path comes back to him
    for text in shown:
        for secret in known:
            assert secret not in text.replace(own, ""), (secret, text[-2000:])


@pytest.mark.parametrize("command", [[], ["migrate"], ["check"]])
@pytest.mark.parametrize("shown", [lambda dsn: ([f"--dsn={dsn} password=planted"], {}), lambda dsn: (["--dsn", "postgresql://me:planted@h/d"], {}),
                                   lambda dsn: ([], {"SAGAD_DSN": f"{dsn} password='planted'"})])
def test_a_password_that_others_see_is_refused(database, command, shown):
    flags, env = shown(database)
    done = subprocess.run([BIN / "sagad", *command, *flags, f"--listen=127.0.0.1:{free_port()}", f"--ops-listen=127.0.0.1:{free_port()}"],
                          capture_output=True, text=True, timeout=60, env={**os.environ, **env})
    assert done.returncode == 78 and "SAGAD_DSN_FILE" in done.stderr and "planted" not in done.stderr, done


def test_a_settings_file_may_hold_it(tmp_path):
    (tmp_path / "conf").write_text("dsn = host=127.0.0.1 port=1 password=planted\n", encoding="ascii")  # a file may hold it
    flags = [f"--config={tmp_path}/conf", f"--listen=127.0.0.1:{free_port()}", f"--ops-listen=127.0.0.1:{free_port()}"]
    done = subprocess.run([BIN / "sagad", "check", *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "SAGAD_DSN_FILE" not in done.stderr and "planted" not in done.stderr, done


@pytest.mark.parametrize("dsn", ["host=x password=planted one two", "postgresql://me:planted@[::1", "password='planted",
                                 "postgresql://me:planted@h?nonsense=1"])
def test_a_dsn_that_cannot_be_read_is_not_quoted(dsn):
    done = subprocess.run([BIN / "sagad", f"--dsn={dsn}", f"--listen=127.0.0.1:{free_port()}", f"--ops-listen=127.0.0.1:{free_port()}"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and "the DSN cannot be read" in done.stderr, done
    assert "planted" not in done.stderr and "two" not in done.stderr, done.stderr
