# SPDX-License-Identifier: Apache-2.0
"""Calls of one step that race on two connections, in all interleavings, on PostgreSQL and MariaDB."""
import psycopg
import pytest

from lib.barrier import SCRIPTS, OnMariadb, OnPostgres, effects, race, repeat


@pytest.fixture(scope="module")
def services(request, postgres):
    """A database of each kind, made when it is first asked for: how to connect to it."""
    made, dropped = {}, []

    def postgresql():
        dsn = postgres.new_database()
        dropped.append(dsn)
        # Thousands of commits, none of which has to survive a crash.
        quick = psycopg.conninfo.make_conninfo(dsn, options="-c synchronous_commit=off -c lock_timeout=30s")
        with psycopg.connect(quick) as db:
            db.execute(SCRIPTS["postgresql"])
            db.execute("CREATE TABLE effect (gid text, op text)")
        return lambda isolation: OnPostgres(psycopg.connect(quick), isolation)

    def maria():
        server = request.getfixturevalue("mariadb")
        name = server.new_database(SCRIPTS["mariadb"] + "CREATE TABLE effect (gid varchar(128), op varchar(8));")
        return lambda isolation: OnMariadb(server.connect(name), isolation or "repeatable read")

    def get(kind):
        if kind not in made:
            made[kind] = {"postgresql": postgresql, "mariadb": maria}[kind]()
        return made[kind]

    yield get
    for dsn in dropped:
        postgres.drop_database(dsn)


# On PostgreSQL who waited in vain above read committed starts again; at it nobody has to. MariaDB's reads that lock see what
# was committed last at every level, unless its snapshots are made to be snapshots.
LEVELS = [("postgresql", "read committed", False), ("postgresql", "repeatable read", True), ("postgresql", "serializable", True),
          ("mariadb", "read committed", False), ("mariadb", "repeatable read", False), ("mariadb", "serializable", False),
          ("mariadb", "snapshot", True)]


@pytest.mark.parametrize("kind,isolation,fails", LEVELS)
def test_try_and_cancel_race(services, kind, isolation, fails):
    words = set()
    for on, gid, (tried, cancelled) in race(services(kind), isolation, ("try", "cancel"), fails):
        words.add((tried["answer"], cancelled["answer"]))
        assert effects(on, gid) in ([], ["cancel", "try"]), (gid, tried, cancelled)
        assert repeat(on, gid, "try")["answer"] == ("duplicate" if tried["answer"] == "run" else "late")
        assert repeat(on, gid, "cancel")["answer"] == "duplicate"
    assert words == {("run", "run"), ("late", "empty")}


@pytest.mark.parametrize("kind,isolation,fails", LEVELS[:2] + LEVELS[3:5])
def test_confirm_and_cancel_race(services, kind, isolation, fails):
    words = set()
    for on, gid, (confirmed, cancelled) in race(services(kind), isolation, ("confirm", "cancel"), fails, before=["try"]):
        words.add((confirmed["answer"], cancelled["answer"]))
        assert effects(on, gid) in (["confirm", "try"], ["cancel", "try"]), (gid, confirmed, cancelled)
    assert words == {("run", "late"), ("late", "run")}


@pytest.mark.parametrize("op,before", [("try", ()), ("cancel", ("try",)), ("confirm", ("try",))])
@pytest.mark.parametrize("kind,isolation,fails", LEVELS[:2] + LEVELS[3:5])
def test_duplicates_race(services, kind, isolation, fails, op, before):
    for on, gid, answers in race(services(kind), isolation, (op, op), fails, before):
        assert sorted(a["answer"] for a in answers) == ["duplicate", "run"], gid
        replayed = next(a for a in answers if a["answer"] == "duplicate")
        assert (replayed["status"], replayed["body"]) == (201, f'{{"{op}": 1}}')
        assert effects(on, gid) == sorted((op, *before))
