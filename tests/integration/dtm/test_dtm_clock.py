# SPDX-License-Identifier: Apache-2.0
"""The clock for tests: off unless a flag says so, told when it is on, refused where it could hurt."""
import os
import subprocess

import pytest

from lib.base import BIN, free_port
from lib.dtm import SECOND


def start(*words, **environment):
    return subprocess.run([BIN / "sagad", *words], capture_output=True, text=True, timeout=20, check=False,
                          env={**os.environ, **environment})


def listening(at="127.0.0.1"):
    return [f"--listen={at}:{free_port()}", f"--ops-listen=127.0.0.1:{free_port()}"]


@pytest.mark.parametrize("second", ["0s", "2s", "999us", "x", "-1s", ""])
def test_it_is_a_millisecond_to_a_second(second):
    done = start("--dsn=postgresql:///none", *listening(), f"--dtm.second={second}")
    assert done.returncode != 0 and "dtm.second" in done.stderr, done


def test_it_is_refused_where_other_machines_ask(tmp_path):
    tokens = subprocess.run([BIN / "sagad", "token", "ada", "--role=service"], capture_output=True, text=True, check=True).stdout
    file = tmp_path / "tokens"
    file.write_text("\n".join(line for line in tokens.splitlines() if "sha256:" in line) + "\n", encoding="utf-8")
    done = start("--dsn=postgresql:///none", *listening("0.0.0.0"), f"--tokens-file={file}", "--dtm.second=20ms")
    assert done.returncode == 78 and "dtm.second is for tests" in done.stderr and "--insecure-listen=yes" in done.stderr, done


def test_it_says_so_in_the_log(dtm_cluster):
    for replica in dtm_cluster.replicas:
        assert replica.events("dtm_second")[0]["Attributes"]["ms"] == int(SECOND * 1000)


def test_without_it_nothing_is_said(cluster):
    assert not cluster.replicas[0].events("dtm_second")
