# SPDX-License-Identifier: Apache-2.0
"""The benchmark itself, and what its load proves: what was answered is true after the database's power went."""
import json
import os
import subprocess
import time

import pytest

from lib.base import BIN, ROOT, free_port, until
from lib.postgres import rows

BENCH = BIN / "tests/bench/bench"
FIGURES = {"per_s", "p50_ms", "p99_ms", "coordinator_cpu_us", "postgres_cpu_us", "wal_bytes", "commits", "rss_mib",
           "statements", "rows", "rows_a_commit"}


@pytest.fixture
def fast_stub():
    port = free_port()
    with subprocess.Popen([BENCH, "stub", f"--port={port}"]) as process:
        yield port
        process.kill()


def free_ports(count):
    """The first of so many in a row."""
    while True:
        ports = [free_port() for _ in range(count)]
        if ports == list(range(ports[0], ports[0] + count)):
            return ports[0]


def test_a_short_run_prints_figures_of_the_documented_shape(tmp_path):
    done = subprocess.run(
        [ROOT / "tools/bench.sh", "--quick", "--json", "--by-statement", "--seconds", "0.3", "--scenario", "wait-16",
         "--scenario", "nowait-64"],
        stdout=subprocess.PIPE, check=True, text=True, timeout=90,
        env={**os.environ, "SAGAD_BENCH_PORT": str(free_ports(20)), "SAGAD_BENCH_DIR": str(tmp_path),
             "SAGAD_BENCH_BUILD": str(BIN)})
    printed = json.loads(done.stdout)
    assert set(printed) == {"floors", "scenarios"}
    assert printed["floors"]["direct_per_s"] > 0 and printed["floors"]["log_per_s"] > 0
    assert set(printed["scenarios"]) == {"wait-16", "nowait-64"}
    for name, figures in printed["scenarios"].items():
        assert FIGURES <= set(figures), name
        assert all(figures[key] > 0 for key in FIGURES), (name, figures)
        assert figures["p50_ms"] <= figures["p99_ms"] <= figures["p999_ms"]
    # Three durable points a saga, shared by several sagas.
    shared = printed["scenarios"]["wait-16"]
    assert shared["commits"] < 3
    # Begun, one step, the end: three rows, whatever the commits.
    assert 2.9 < shared["rows"] < 3.1
    # By name: each saga is begun once and changed twice.
    named = shared["by_statement"]
    changed = sum(named[name]["rows"] for name in ("STEP", "STEP_TELL", "CHANGE", "CHANGE_TELL") if name in named)
    assert 0.9 < named["INSERT_ALIKE"]["rows"] < 1.1 and 1.9 < changed < 2.1
    assert "STAND" not in named  # of begins whose gid was made here, INSERT_ALIKE does what it does
    assert all(s["us_a_call"] > 0 and 0 < s["share"] <= 1 for s in named.values())
    assert shared["rows_a_commit"] == pytest.approx(shared["rows"] / shared["commits"], rel=0.01)


def start_load(port, folder, name, definition, *more):
    return subprocess.Popen(
        [BENCH, "load", f"--port={port}", f"--definition={definition}", "--clients=24", "--seconds=5",
         f"--accepted={folder / name}", *more], stdout=subprocess.PIPE, text=True)


@pytest.mark.needs_server_control
def test_every_answer_under_load_is_true_after_the_database_was_killed(make_cluster, database, postgres, fast_stub, tmp_path):
    cluster = make_cluster(count=2)
    at = f"http://127.0.0.1:{fast_stub}"
    for name, last in (("two", "ok"), ("refused", "refuse")):
        steps = {"a": {"action": {"url": f"{at}/ok"}, "compensate": {"url": f"{at}/undo"}},
                 "b": {"after": ["a"], "action": {"url": f"{at}/{last}"}, "compensate": {"url": f"{at}/undo"}}}
        assert cluster.client.put(f"/v1/definitions/{name}", {"steps": steps}).status == 201
    ports = [r.port for r in cluster.replicas]
    loads = [start_load(ports[0], tmp_path, "ended", "two"), start_load(ports[1], tmp_path, "refused", "refused"),
             start_load(ports[1], tmp_path, "begun", "two", "--nowait")]
    time.sleep(2)
    postgres.stop("immediate")
    time.sleep(0.5)
    postgres.start()
    results = [json.loads(load.communicate(timeout=100)[0]) for load in loads]
    assert all(load.returncode == 0 for load in loads)
    # It was felt, and there was a life before and after it.
    assert sum(r["failed"] for r in results) > 0, results
    told = [line.split() for name in ("ended", "refused", "begun") for line in open(tmp_path / name, encoding="ascii")]
    assert len(told) > 500, results

    until(lambda: rows(database, "SELECT 1 FROM sagad.transaction WHERE ended_at IS NULL LIMIT 1") == [], timeout=60)
    phases = dict(rows(database, "SELECT gid, phase FROM sagad.transaction"))
    lost = [gid for gid, _ in told if gid not in phases]
    assert lost == []
    decided = {"confirming": "confirmed", "cancelling": "cancelled", "confirmed": "confirmed", "cancelled": "cancelled"}
    revised = [(gid, phase, phases[gid]) for gid, phase in told if phase in decided and phases[gid] != decided[phase]]
    assert revised == []
    assert {phases[gid] for gid, _ in told} == {"confirmed", "cancelled"}
