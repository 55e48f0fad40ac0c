# SPDX-License-Identifier: Apache-2.0
"""examples/trip: its story holds. Stage sdk has compiled it."""
import os
import re
import subprocess

import psycopg

from lib.base import ROOT, free_port

FOLDER = ROOT / "examples/trip"


def ports_in_a_row(count):
    while True:
        first = free_port()
        if [free_port() for _ in range(count - 1)] == list(range(first + 1, first + count)):
            return first


def test_story_of_the_trips(make_cluster, postgres, tmp_path):
    cluster, dsn = make_cluster(count=2), postgres.new_database()
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    env = {**os.environ, **{f"PG{name.upper().replace('DBNAME', 'DATABASE')}": str(text) for name, text in given.items()}}
    victim = cluster.replicas[0]
    victim.killed = True
    done = subprocess.run(["node", FOLDER / "build/story.js", str(ports_in_a_row(4)), tmp_path, str(victim.process.pid),
                           *(replica.url for replica in cluster.replicas)], env=env, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said + "".join(path.read_text()[-3000:] for path in tmp_path.glob("*.log"))
    checks = re.search(r"(\d+) of (\d+) checks hold", said).groups()
    assert checks[0] == checks[1] and int(checks[0]) >= 20, said
    victim.process.wait(10)
    postgres.drop_database(dsn)


def test_story_of_the_trips_notices_what_is_wrong(tmp_path):
    """With no sagad to talk to it says so."""
    done = subprocess.run(["node", FOLDER / "build/story.js", "1", tmp_path, "0", "http://127.0.0.1:1"], timeout=60,
                          env={**os.environ, "PGHOST": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1, done


def test_command_of_the_trips_is_a_script_that_parses():
    subprocess.run(["bash", "-n", FOLDER / "run"], check=True)
