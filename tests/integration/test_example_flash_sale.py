# SPDX-License-Identifier: Apache-2.0
"""examples/flash-sale: its story holds."""
import subprocess

import psycopg

from lib.base import BIN, ROOT, free_port

FOLDER = ROOT / "examples/flash-sale"
PROGRAMS = BIN / "examples/flash-sale"


def test_story_of_the_sale(make_cluster, postgres, story, capsys, tmp_path):
    cluster = make_cluster(count=2)
    dsn = postgres.new_database()
    with psycopg.connect(dsn, autocommit=True) as db:
        def sql(text, *values):
            cursor = db.execute(text, values)
            return cursor.fetchall() if cursor.description else None

        services = [story.Service(PROGRAMS / "holds", name, free_port(), dsn, tmp_path) for name in ("warehouse", "cashier")]
        world = story.World(PROGRAMS, [r.url for r in cluster.replicas], cluster.replicas[0].kill, *services, sql)
        holds = story.tell(world)
    said = capsys.readouterr().out
    assert holds and world.checks >= 15, said + "".join(p.read_text()[-3000:] for p in tmp_path.glob("*.log"))
    postgres.drop_database(dsn)


def test_story_of_the_sale_notices_what_is_wrong(story, capsys):
    """A check that cannot fail would prove nothing."""
    world = story.World("", [], None, None, None, None)
    world.check("phones", 41, 40)
    assert world.wrong == 1 and "✗ phones: 41, wanted 40" in capsys.readouterr().out


def test_command_of_the_sale_is_a_script_that_parses():
    subprocess.run(["bash", "-n", FOLDER / "run"], check=True)
