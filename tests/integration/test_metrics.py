# SPDX-License-Identifier: Apache-2.0
"""The numbers of a replica: both formats, read by those who made them, and whether the numbers are true."""
import json
import os
import re
import subprocess
import time

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from lib.base import BIN, ROOT, until
from lib.client import Client
from lib.stub import Reply, Stub

OPENMETRICS = ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
               "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")


def scrape(replica, accept=""):
    answer = Client(lambda: [replica.ops_at]).get("/metrics", headers={"Accept": accept} if accept else None)
    assert answer.status == 200, answer
    return answer


def samples(replica):
    """(name, frozenset of labels) → value."""
    return {(s.name, frozenset(s.labels.items())): s.value
            for family in read_text(scrape(replica).text) for s in family.samples}


def number(replica, name, **labels):
    return samples(replica).get((name, frozenset(labels.items())), 0)


@pytest.fixture(scope="module")
def quiet(postgres):
    """One replica that nobody else talks to, with something of everything behind it."""
    from lib.cluster import Cluster  # pylint: disable=import-outside-toplevel
    dsn = postgres.new_database()
    cluster, stub = Cluster(dsn, count=1), Stub()
    yield cluster, stub
    cluster.stop()
    stub.close()
    postgres.drop_database(dsn)


def saga(stub, path="/ok", **retry):
    step = {"action": {"url": stub.url + path}, "compensate": {"url": stub.url + "/undo"}}
    return {"a": {**step, "retry": retry} if retry else step}


def test_the_numbers_are_true(quiet):
    cluster, stub = quiet
    client, replica = cluster.client, cluster.replicas[0]
    before = samples(replica)
    stub.on("/no", Reply(422))
    client.define("counted", mode="saga", steps=saga(stub))
    for _ in range(3):
        assert client.run(definition="counted", input={})["phase"] == "confirmed"
    assert client.run(mode="saga", steps=saga(stub, "/no"), input={})["phase"] == "cancelled"

    def grown(name, **labels):
        key = (name, frozenset(labels.items()))
        return samples(replica).get(key, 0) - before.get(key, 0)

    assert grown("sagad_transactions_begun_total") == 4
    assert grown("sagad_transactions_ended_total", phase="confirmed") == 3
    assert grown("sagad_transactions_ended_total", phase="cancelled") == 1
    assert grown("sagad_transaction_moves_total", **{"from": "trying", "to": "confirmed"}) == 3
    assert grown("sagad_transaction_moves_total", **{"from": "trying", "to": "cancelling"}) == 1
    assert grown("sagad_transaction_duration_seconds_count", definition="counted", phase="confirmed") == 3
    assert grown("sagad_transaction_duration_seconds_count", definition="_inline", phase="cancelled") == 1
    assert grown("sagad_calls_total", op="try", outcome="ok") == 3
    assert grown("sagad_calls_total", op="try", outcome="refused") == 1
    assert grown("sagad_calls_total", op="cancel", outcome="ok") == 1
    assert grown("sagad_call_duration_seconds_count", participant=stub.host) == 5
    assert grown("sagad_log_batches_total", result="done") == grown("sagad_log_batch_duration_seconds_count") >= 5
    assert grown("sagad_log_batch_rows_sum") >= 4 + 5, "four begins, and what five answers changed"
    assert grown("sagad_http_request_duration_seconds_count", route="transaction_begin") == 4
    assert 0 < number(replica, "sagad_transaction_duration_seconds_sum", definition="counted", phase="confirmed") < 60


def test_stuck_and_commands(quiet):
    cluster, stub = quiet
    client, replica = cluster.client, cluster.replicas[0]
    before = number(replica, "sagad_transactions_stuck_total", reason="misconfigured")
    stub.on("/odd", Reply(404))
    document = saga(stub, "/odd", initial="1ms", max="1ms")
    assert client.begin(gid="odd", mode="saga", steps=document, input={}).status == 201
    until(lambda: number(replica, "sagad_transactions_stuck_total", reason="misconfigured") == before + 1)
    done = client.post("/v1/transactions/odd/cancel", {"reason": "a test"})
    assert done.status in (200, 202), done
    assert number(replica, "sagad_command_duration_seconds_count", command="cancel") == 1
    assert client.ended("odd")["phase"] == "cancelled"


def test_what_people_do(quiet):
    """Each line of the audit is counted where it was written, by what it is about; refusals and dry runs leave none."""
    cluster, stub = quiet
    client, replica, why = cluster.client, cluster.replicas[0], {"reason": "a test", "actor": "ada"}
    stub.on("/later", Reply(503))
    client.define("asked", mode="saga", steps=saga(stub, "/later", initial="1h", max="1h"))
    begun = [client.begin(gid=f"asked-{n}", definition="asked", input={}).json["gid"] for n in range(3)]
    until(lambda: all(client.transaction(gid)["steps"][0]["last_error"] for gid in begun))
    before = samples(replica)
    entries = len(client.get("/v1/audit?limit=200").json["items"])
    assert client.post("/v1/definitions/asked/pause", why).status == 200
    assert client.post("/v1/definitions/asked/pause", why).status == 200, "once more changes nothing"
    assert client.post("/v1/definitions/asked/resume?dry_run=true", why).status == 200
    assert client.put("/v1/participants/asked?reason=x", {"base_url": stub.url}).status == 200
    assert client.post("/v1/participants/asked/pause", why).status == 200
    assert client.post("/v1/participants/asked/resume", why).status == 200
    assert client.post(f"/v1/transactions/{begun[2]}/cancel", why).status in (200, 202)
    client.ended(begun[2])
    assert client.post(f"/v1/transactions/{begun[2]}/pause", why).status == 409
    bulk = client.post("/v1/bulk", {**why, "action": "pause", "filter": {"definition": "asked"}}).json["id"]
    until(lambda: client.get(f"/v1/bulk/{bulk}").json["state"] == "done")
    grown = {dict(labels)["kind"] + " " + dict(labels)["action"]: int(value - before.get((name, labels), 0))
             for (name, labels), value in samples(replica).items() if name == "sagad_audit_entries_total"}
    assert {what: n for what, n in grown.items() if n} == {
        "definition pause": 1, "participant register": 1, "participant pause": 1, "participant resume": 1,
        "transaction cancel": 1, "transaction pause": 2, "bulk start": 1}, grown
    assert sum(grown.values()) == len(client.get("/v1/audit?limit=200").json["items"]) - entries, "as many as the audit has"
    items = {result: number(replica, "sagad_bulk_items_total", result=result) for result in ("done", "refused", "failed")}
    assert items == {"done": 2, "refused": 0, "failed": 0}
    until(lambda: number(replica, "sagad_bulk_running") == 0)
    began = time.monotonic()
    slow = client.post("/v1/bulk", {**why, "action": "resume", "filter": {"definition": "asked"}, "rate": 1}).json["id"]
    until(lambda: number(replica, "sagad_bulk_running") == 1)
    until(lambda: client.get(f"/v1/bulk/{slow}").json["state"] == "done")
    assert time.monotonic() - began >= 0.9, "two of them at one a second"
    slow = client.post("/v1/bulk", {**why, "action": "pause", "filter": {"definition": "asked"}, "rate": 1}).json["id"]
    assert client.post(f"/v1/bulk/{slow}/cancel", why).status == 200
    assert number(replica, "sagad_audit_entries_total", kind="bulk", action="cancel") == 1
    assert client.post(f"/v1/bulk/{slow}/cancel", why).status in (200, 409)
    assert number(replica, "sagad_audit_entries_total", kind="bulk", action="cancel") == 1, "once more changes nothing"


def test_what_the_database_counts(make_cluster, stub):
    """Asked for beside the scrape; a scrape shows what came last."""
    cluster = make_cluster(count=1)
    stub.on("/slow", Reply(503))
    document = saga(stub, "/slow", initial="1h", max="1h")
    assert cluster.client.begin(mode="saga", steps=document, input={}).status == 201
    until(lambda: stub.seen("/slow"))
    replica = cluster.replicas[0]
    until(lambda: number(replica, "sagad_unfinished_transactions", phase="trying") == 1)
    assert number(replica, "sagad_stuck_transactions", reason="attempts") == 0
    assert ("sagad_parked_overdue_seconds", frozenset()) in samples(replica)


def test_both_formats_say_the_same(quiet):
    replica = quiet[0].replicas[0]
    until(lambda: ("sagad_parked_transactions", frozenset()) in samples(replica))  # nothing is new from here on
    text, openmetrics = scrape(replica), scrape(replica, OPENMETRICS)
    assert text.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert openmetrics.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert text.headers["Vary"] == openmetrics.headers["Vary"] == "Accept"
    for accept in ("text/plain", "*/*", "application/openmetrics-text;q=0.1, text/plain"):
        assert scrape(replica, accept).headers["Content-Type"].startswith("text/plain"), accept
    assert openmetrics.text.endswith("# EOF\n")
    families = list(read_openmetrics(openmetrics.text))
    assert len(families) > 60 and all(f.documentation for f in families)
    units = {f.name: f.unit for f in families}
    assert units["sagad_lease_age_seconds"] == "seconds" and units["process_resident_memory_bytes"] == "bytes"
    assert {f.name: f.type for f in families}["sagad_build"] == "info"

    def keys(found):  # their `le` are floats in both
        return {(s.name, tuple(sorted(s.labels.items()))) for f in found for s in f.samples}

    assert keys(read_text(text.text)) == keys(families)


def test_promtool_finds_nothing_to_say(quiet):
    tool = subprocess.run([ROOT / "tools/promtool.sh"], check=True, capture_output=True, text=True).stdout.strip()
    done = subprocess.run([tool, "check", "metrics"], input=scrape(quiet[0].replicas[0]).text, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr


def test_the_table_and_the_scrape(quiet):
    """Every metric of the table is there, with its labels and no others; none has too many series."""
    tool = BIN / "tests/unit/metrics.t"
    if not tool.exists():
        pytest.skip("make check has not built tests/unit/metrics.t")
    listed = subprocess.run([tool, "--list"], check=True, capture_output=True, text=True).stdout
    table = {name: (kind, set(filter(None, labels.split(","))))
             for name, kind, labels in (line.split("\t") for line in listed.splitlines())}
    shown = {}
    for family in read_text(scrape(quiet[0].replicas[0]).text):
        name = family.name + "_total" if family.type == "counter" else family.name
        shown[name] = family
    assert set(shown) == set(table)
    for name, family in shown.items():
        for s in family.samples:
            assert set(s.labels) - {"le"} == table[name][1], (name, s)
    assert sum(len(f.samples) for f in shown.values()) < 2000


def test_process_numbers(quiet):
    replica = quiet[0].replicas[0]
    pid = replica.process.pid
    assert number(replica, "process_open_fds") == pytest.approx(len(os.listdir(f"/proc/{pid}/fd")), abs=3)
    started = number(replica, "process_start_time_seconds")
    assert abs(started - os.stat(f"/proc/{pid}").st_ctime) < 30
    assert started == number(replica, "process_start_time_seconds"), "it does not wander"
    assert number(replica, "process_max_fds") > number(replica, "process_open_fds") > 10
    assert number(replica, "process_virtual_memory_bytes") > number(replica, "process_resident_memory_bytes") > 1e6
    assert number(replica, "process_cpu_seconds_total") > 0


# ---- what is made of them --------------------------------------------------------------------

def promtool(*arguments, cwd=None):
    tool = subprocess.run([ROOT / "tools/promtool.sh"], check=True, capture_output=True, text=True).stdout.strip()
    done = subprocess.run([tool, *arguments], text=True, capture_output=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_alerts_are_raised_by_what_they_are_about():
    folder = ROOT / "deploy/prometheus"
    said = promtool("check", "rules", "sagad.rules.yml", cwd=folder)
    alerts = {r["alert"] for g in yaml.safe_load((folder / "sagad.rules.yml").read_text())["groups"] for r in g["rules"]}
    assert f"SUCCESS: {len(alerts)} rules" in said
    tested = yaml.safe_load((folder / "sagad.rules.test.yml").read_text())["tests"]
    raised = {t["alertname"] for test in tested for t in test["alert_rule_test"] if t.get("exp_alerts")}
    silent = {t["alertname"] for test in tested for t in test["alert_rule_test"] if not t.get("exp_alerts")}
    assert raised == silent == alerts
    promtool("test", "rules", "sagad.rules.test.yml", cwd=folder)


def test_queries_of_the_dashboard_and_labels(tmp_path):
    """They parse, and group by labels that their metrics have."""
    listed = subprocess.run([BIN / "tests/unit/metrics.t", "--list"], check=True, capture_output=True, text=True).stdout
    labels = {name: {"instance", "job", "le", *filter(None, of.split(","))}
              for name, _, of in (line.split("\t") for line in listed.splitlines())}
    board = json.loads((ROOT / "deploy/grafana/sagad.json").read_text())
    queries = [t["expr"] for p in board["panels"] for t in p.get("targets", [])]
    assert len(queries) > 50
    rules = yaml.safe_load((ROOT / "deploy/prometheus/sagad.rules.yml").read_text())
    for query in queries + [r["expr"] for g in rules["groups"] for r in g["rules"]]:
        for by, metric in re.findall(r"by \(([a-z, ]*)\) \(*(?:[a-z]+\()?((?:sagad|process)_[a-z_]+)", query):
            name = next(n for n in (metric, re.sub("_(bucket|sum|count)$", "", metric)) if n in labels)
            assert set(by.split(", ")) <= labels[name], query
    path = tmp_path / "board.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": [
        {"record": f"query:{i}", "expr": q.replace("$__rate_interval", "5m").replace("$job", "sagad")}
        for i, q in enumerate(queries)]}]}))
    promtool("check", "rules", path)
