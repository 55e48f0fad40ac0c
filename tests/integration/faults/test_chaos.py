# SPDX-License-Identifier: Apache-2.0
"""The long run itself: it tells its seed and its figures, fails when something is wrong, and cleans up when interrupted."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from lib.base import BIN, ROOT, until
from . import chaos as chaos_module
from .world import FAULTS, Report

FOLDER = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.needs_server_control


@pytest.fixture
def chaos(tmp_path, worker):
    """Starts it with ports of its own; ends it if the test did not."""
    started = []

    def start(*arguments):
        base = int(os.environ.get("SAGAD_TEST_PORTS", "20000")) + 500 * int(worker.removeprefix("gw")) + 400
        log = open(tmp_path / "log", "w+", encoding="utf-8")  # pylint: disable=consider-using-with
        started.append((log, subprocess.Popen(
            [sys.executable, "-m", "faults.chaos", *arguments], cwd=FOLDER, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "SAGAD_BIN": str(BIN), "SAGAD_TEST_PORTS": str(base), "PYTEST_XDIST_WORKER": "gw0"})))
        return started[-1][1], tmp_path / "log"

    yield start
    for log, process in started:
        log.close()
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("numbers, failures", [([0.1] * 6 + [9] * 4, 0), ([0.1] * 4 + [0.6] * 6, 1), ([9] * 9, 0)])
def test_a_median_beyond_what_is_promised_is_a_failure(numbers, failures):
    tally, report = chaos_module.Tally(1), Report(*[0] * 9, commands=[], excused={})
    for n in numbers:
        tally.add("lock", "kill one", {"to the call, s": n}, report, {"to the call, s": 0.5})
    tally.judge()
    assert len(tally.failures) == failures, tally.failures


def test_every_fault_of_the_mixture_is_documented():
    chaos_module.load_faults()
    page = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([^`]+)`", page.partition("## The long run")[2].partition("\n## ")[0]))
    assert sorted(set(FAULTS) - named) == [] and len(FAULTS) > 50


def session_of(process):
    """What still runs of it, orphans included; PostgreSQL makes a session of its own."""
    found = subprocess.run(["ps", "-o", "args=", "-s", str(process.pid)], stdout=subprocess.PIPE, text=True, check=False)
    return found.stdout.splitlines()


def test_a_short_run(chaos, tmp_path):
    process, log = chaos("0.02", "7", "--only", "drain", "--replicas", "3", "--json", str(tmp_path / "figures"))
    assert process.wait(90) == 0, log.read_text()
    said = log.read_text()
    assert said.startswith("seed 7: again with ./dev chaos 0.02 7\n"), said
    got = json.loads((tmp_path / "figures").read_text())
    assert got["seed"] == 7 and got["faults"] == {"drain": 1} and got["failures"] == [], got
    assert got["accepted"] > 0 and got["ended"] == got["accepted"], got
    figure, = got["figures"].values()
    assert figure["n"] == 1 and 0 < figure["median"] == figure["max"], got


@pytest.mark.parametrize("moment, seed", [("while it starts", "8"), ("under load", "9")])  # its PostgreSQL's name, too
def test_interrupted_it_leaves_nothing_behind(chaos, moment, seed):
    process, log = chaos("5", seed, "--only", "drain", "--replicas", "3")
    until(lambda: sum("/sagad --dsn" in line for line in session_of(process)) >= 3, 60, 0.01)
    if moment == "under load":
        time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()
    assert "interrupted" in log.read_text() and not (FOLDER.parents[1] / ".dev/tests" / f"chaos-{seed}-one").exists()
    assert session_of(process) == []
