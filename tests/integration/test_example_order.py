# SPDX-License-Identifier: Apache-2.0
"""examples/order: its story holds."""
import subprocess

from lib.base import ROOT, free_port

FOLDER = ROOT / "examples/order"


def test_story_of_the_order(make_cluster, postgres, story, capsys, tmp_path):
    cluster = make_cluster(count=2)
    shop, services = postgres.new_database(), postgres.new_database()
    world = story.World([r.at for r in cluster.replicas], lambda i: cluster.replicas[i].kill(), [free_port() for _ in range(3)], cluster.dsn, shop, services, tmp_path)
    holds = story.tell(world)
    said = capsys.readouterr().out
    assert holds and world.checks >= 32, said + "".join(p.read_text() for p in tmp_path.glob("*.log"))
    for dsn in shop, services:
        postgres.drop_database(dsn)


def test_story_notices_what_is_wrong(story, capsys, tmp_path):
    """A check that cannot fail would prove nothing."""
    world = story.World(["127.0.0.1:1"], None, [1, 2, 3], "", "", "", tmp_path)
    world.check("lamps in stock", 97, 98)
    assert world.wrong == 1 and "✗ lamps in stock: 97, wanted 98" in capsys.readouterr().out


def test_its_command_is_a_script_that_parses():
    subprocess.run(["bash", "-n", FOLDER / "run"], check=True)
