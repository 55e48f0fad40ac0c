# SPDX-License-Identifier: Apache-2.0
"""What can happen to the database itself. Each fault ends with the database as it was before."""
import contextlib
import os
import signal
import subprocess
import time

import psycopg

from lib.base import until
from .faults_participants import put_right
from .faults_sessions import terminate
from .world import fault


def server_up(world, within=30):
    """Waits until the server answers."""
    def answers():
        try:
            with psycopg.connect(world.direct, autocommit=True, connect_timeout=2) as db:
                return not db.execute("SELECT pg_is_in_recovery()").fetchone()[0]
        except psycopg.OperationalError:
            return False
    until(answers, within, 0.05)


def flowing(world, what):
    """The figure: how long until every client is served again."""
    return {f"{what} → flowing, s": world.flowing(within=4 * world.ttl + 10)}


# ---- the server goes --------------------------------------------------------------------------


def kill_backend(world, kind="log"):
    """kill -9 of one backend: the server throws out everybody and recovers."""
    pid = world.value("SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s "
                      "AND datname = current_database() LIMIT 1", f"sagad {kind}%")
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    server_up(world)


@fault("kill -9 of a backend", needs=["postgres"])
def kill_a_backend(world, rng):
    kill_backend(world, rng.choice(["log", "work", "store", "lease"]))
    return flowing(world, "kill -9 of a backend")


@contextlib.contextmanager
def server_away(world, mode="immediate"):
    world.postgres.stop(mode)
    try:
        yield
    finally:
        world.postgres.start()


@fault("database restarts", needs=["postgres"])
def database_restarts(world, _):
    with server_away(world):
        pass
    return flowing(world, "immediate restart of the database")


@fault("database 30 s away", needs=["postgres"])
def database_away(world, rng):
    with server_away(world, rng.choice(["fast", "immediate"])):
        time.sleep(30)
    return flowing(world, "database 30 s away")


# ---- it says no ---------------------------------------------------------------------------------


@contextlib.contextmanager
def tiny_disk(world):
    """Puts the transactions on a small file system of their own. Gives a function that fills it up (True) or makes
    room again (False); None where nobody lets us mount."""
    home = psycopg.conninfo.conninfo_to_dict(world.direct)["host"]  # a private server's socket lives beside its data
    place, owner = os.path.join(home, "tiny"), os.stat(home)
    os.makedirs(place, exist_ok=True)
    there = world.value("SELECT pg_total_relation_size('sagad.transaction')")
    options = f"size={4096 + (there >> 10) * 2}k,mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
    if os.geteuid() != 0 or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False).returncode != 0:
        yield None
        return
    ballast = os.path.join(place, "ballast")

    def fill(full):
        if not full:
            os.unlink(ballast)
            return
        with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
    try:
        world.execute(f"CREATE TABLESPACE tiny LOCATION '{place}'")
        world.execute("ALTER TABLE sagad.transaction SET TABLESPACE tiny")
        yield fill
    finally:
        with contextlib.suppress(OSError):
            os.unlink(ballast)
        world.execute("ALTER TABLE sagad.transaction SET TABLESPACE pg_default")
        world.execute("DROP TABLESPACE tiny")
        subprocess.run(["umount", "-l", place], check=True)


@contextlib.contextmanager
def disk_full(world):
    """Whatever would make the table grow fails with 53100."""
    with tiny_disk(world) as fill:
        if fill:
            fill(True)
            yield
            fill(False)
            return
        with refused(world, "true", "53100", "BEFORE INSERT"):
            yield


@fault("disk full", needs=["postgres"])
def disk_is_full(world, rng):
    with disk_full(world):
        time.sleep(rng.uniform(0.5, 3) * world.ttl)
    return flowing(world, "disk full")


@contextlib.contextmanager
def refused(world, which, sqlstate, when="BEFORE UPDATE"):
    """The database refuses to write the rows for which this holds (NEW is the row)."""
    world.execute(f"""
        CREATE OR REPLACE FUNCTION witness.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF {which} THEN RAISE EXCEPTION 'refused by the test' USING ERRCODE = '{sqlstate}'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse {when} ON sagad.transaction FOR EACH ROW EXECUTE FUNCTION witness.refuse()""")
    try:
        yield
    finally:
        world.execute("DROP TRIGGER refuse ON sagad.transaction")


@fault("a statement that fails")
def statement_fails(world, rng):
    """One row of so many, for reasons that pass: no fault of the row's own."""
    passing = rng.choice(["40001", "40P01", "57014", "53200", "58030"])
    with refused(world, f"random() < {rng.choice([0.02, 0.2])}", passing, rng.choice(["BEFORE INSERT", "BEFORE UPDATE"])):
        time.sleep(rng.uniform(0.5, 2) * world.ttl)
    put_right(world)
    return flowing(world, "failing statements")


@fault("a row that cannot be stored")
def row_cannot_be_stored(world, rng):
    """A few are refused for good, until a person has put them right. Not open ones: their clients would be told so."""
    bad = f"hashtext(NEW.gid) % {rng.choice([10, 50])} = 0 AND NEW.gid NOT LIKE '%open%'"
    with refused(world, bad, rng.choice(["23514", "54000", "P0001", "XX001"])):
        time.sleep(rng.uniform(0.5, 2) * world.ttl)
        left = world.rows(f"SELECT gid FROM sagad.transaction \"NEW\" WHERE ended_at IS NULL AND {bad}".replace("NEW.", '"NEW".').replace("%", "%%"))
    # Not even that they are stuck could be stored: they are read again after a break, or in half a minute.
    terminate(world, "log")

    def all_ended():
        put_right(world)
        return world.value("SELECT count(*) FROM sagad.transaction WHERE gid = ANY(%s) AND ended_at IS NULL",
                           [gid for gid, in left]) == 0
    until(all_ended, 60, 0.5)
    return flowing(world, "rows that could not be stored")


@contextlib.contextmanager
def no_connections(world):
    """All sessions of the replicas are ended, and others take every place that the server has."""
    taken = []

    def take_all():
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                taken.append(psycopg.connect(world.direct, autocommit=True, application_name="crowd"))

    def replicas_are_out():
        """Whoever was quicker than the crowd is thrown out again."""
        take_all()
        return not taken[0].execute("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                                    "WHERE application_name LIKE 'sagad %'").fetchone()[0]
    try:
        take_all()
        until(replicas_are_out, 20, 0.005)
        take_all()
        yield
    finally:
        for db in taken:
            db.close()


@fault("too many connections", needs=["postgres"])
def no_connections_left(world, rng):
    with no_connections(world):
        time.sleep(rng.uniform(0.5, 3) * world.ttl)
    return flowing(world, "too many connections")


@contextlib.contextmanager
def read_only(world):
    def turn(on):
        with psycopg.connect(world.direct, autocommit=True, options="-c default_transaction_read_only=off") as db:
            db.execute(f"ALTER SYSTEM SET default_transaction_read_only = {on}")
            db.execute("SELECT pg_reload_conf()")
    turn("on")
    try:
        yield
    finally:
        turn("off")


@fault("database read-only", needs=["postgres"])
def database_read_only(world, rng):
    with read_only(world):
        time.sleep(rng.uniform(0.5, 3) * world.ttl)
    return flowing(world, "read-only")


# ---- others are in the way ------------------------------------------------------------------------


@contextlib.contextmanager
def held(world, statement, isolation="READ COMMITTED"):
    """A transaction of somebody else that did this and goes on; gives what it found."""
    with psycopg.connect(world.direct, autocommit=True) as db:
        db.execute(f"BEGIN ISOLATION LEVEL {isolation}")
        got = db.execute(statement)
        yield got.fetchall() if got.description else None
        db.execute("ROLLBACK")


LOCK_TABLE = "LOCK TABLE sagad.transaction IN ACCESS EXCLUSIVE MODE"
LOCK_ROWS = "SELECT gid FROM sagad.transaction WHERE owner IS NOT NULL AND phase <> 'prepared' LIMIT 5 FOR UPDATE"


@fault("table locked")
def table_locked(world, rng):
    with held(world, LOCK_TABLE):
        time.sleep(rng.uniform(0.5, 10))
    return flowing(world, "table locked")


@fault("rows locked")
def rows_locked(world, rng):
    with held(world, LOCK_ROWS):
        time.sleep(rng.uniform(0.5, 12))
    return flowing(world, "rows locked")


@fault("vacuum full")
def vacuum_full(world, _):
    world.execute("VACUUM FULL sagad.transaction")
    world.execute("CHECKPOINT")


@fault("old snapshot")
def old_snapshot(world, rng):
    with held(world, "SELECT count(*) FROM sagad.transaction", "REPEATABLE READ"):
        time.sleep(rng.uniform(5, 20))
    return flowing(world, "old snapshot")
