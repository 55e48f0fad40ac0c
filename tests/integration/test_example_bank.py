# SPDX-License-Identifier: Apache-2.0
"""examples/bank: its story holds."""
import subprocess

import psycopg

from lib.base import ROOT, free_port

FOLDER = ROOT / "examples/bank"


def test_story_of_the_banks(make_cluster, postgres, mariadb, story, capsys, tmp_path):
    cluster = make_cluster(count=2)
    dsn, name = postgres.new_database(), mariadb.new_database("")
    north = story.Bank("north", free_port(), ["--postgresql", dsn], lambda: psycopg.connect(dsn), story.NORTH, tmp_path)
    south = story.Bank("south", free_port(), ["--mariadb", mariadb.socket, name], lambda: mariadb.connect(name), story.SOUTH, tmp_path)
    world = story.World([r.url for r in cluster.replicas], cluster.replicas[0].kill, north, south)
    holds = story.tell(world, transfers=30)
    said = capsys.readouterr().out
    assert holds and world.checks >= 20, said + "".join(p.read_text()[-3000:] for p in tmp_path.glob("*.log"))
    postgres.drop_database(dsn)


def test_story_of_the_banks_notices_what_is_wrong(story, capsys):
    """A check that cannot fail would prove nothing."""
    world = story.World(["http://127.0.0.1:1"], None, None, None)
    world.check("the money", 97, 98)
    assert world.wrong == 1 and "✗ the money: 97, wanted 98" in capsys.readouterr().out


def test_command_of_the_banks_is_a_script_that_parses():
    subprocess.run(["bash", "-n", FOLDER / "run"], check=True)
