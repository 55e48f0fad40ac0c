# SPDX-License-Identifier: Apache-2.0
"""Ports that tests draw."""
import os
import pathlib
import subprocess
import sys

DRAW = "import sys; from lib.base import free_port; print(*(free_port() for _ in range(120)), flush=True); sys.stdin.read()"


def test_two_runs_with_one_range_never_draw_the_same_port():
    """As when ten workers' ranges reach into another run's."""
    runs = [subprocess.Popen([sys.executable, "-c", DRAW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             cwd=pathlib.Path(__file__).parent, env={**os.environ, "SAGAD_TEST_PORTS": "31000", "PYTEST_XDIST_WORKER": "gw0"})
            for _ in range(2)]
    drawn = [set(run.stdout.readline().split()) for run in runs]
    for run in runs:
        run.communicate()
    assert [len(ports) for ports in drawn] == [120, 120] and not drawn[0] & drawn[1]
