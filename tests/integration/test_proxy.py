# SPDX-License-Identifier: Apache-2.0
"""The proxy that the fault tests break connections with does what it says."""
import contextlib
import time

import psycopg
import pytest

from lib.base import until
from lib.postgres import value


def session(proxy, database, kind="log", replica=0):
    dsn = proxy.dsn(database, replica)
    return contextlib.closing(
        psycopg.connect(dsn, application_name=f"sagad {kind}", autocommit=True, connect_timeout=3))


def answer(db):
    return db.execute("SELECT 7").fetchone()[0]


def silent(db, seconds=0.5):
    """Asks without waiting for the answer, and says whether none came."""
    db.pgconn.send_query(b"SELECT 7")
    db.pgconn.flush()
    time.sleep(seconds)
    db.pgconn.consume_input()
    return bool(db.pgconn.is_busy())


def test_it_is_fast_and_knows_its_sessions(proxy, database):
    with session(proxy, database) as log, session(proxy, database, "lease 0123", 1) as lease:
        began = time.monotonic()
        assert len(log.execute("SELECT repeat('x', 1000) FROM generate_series(1, 20000)").fetchall()) == 20000
        assert time.monotonic() - began < 4.0, "less than 5 MB/s"
        assert answer(lease) == 7
        assert [(s["kind"], s["door"]) for s in proxy.sessions("lease")] == [("lease", 1)]
        assert proxy.sessions("log", 0)[0]["down"] > 20e6
    until(lambda: proxy.sessions() == [])
    assert proxy.opened("lease") == 1 and proxy.opened() == 2


def test_cut_and_refuse_hit_one_kind_of_one_replica(proxy, database):
    with session(proxy, database) as hit, session(proxy, database, replica=1) as other, \
            session(proxy, database, "work") as work:
        assert proxy.cut("log", 0) == 1
        with pytest.raises(psycopg.OperationalError):
            answer(hit)
        assert answer(other) == answer(work) == 7
    with session(proxy, database) as back:
        assert answer(back) == 7
    proxy.refuse("log", 0)
    with pytest.raises(psycopg.OperationalError):
        session(proxy, database)
    with session(proxy, database, "work") as work:
        assert answer(work) == 7
    proxy.restore()
    with session(proxy, database) as back:
        assert answer(back) == 7


def test_a_black_hole_tells_nobody_and_delivers_late(proxy, database):
    with session(proxy, database) as db, session(proxy, database, "work") as work:
        proxy.black_hole("log")
        assert silent(db) and answer(work) == 7
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            session(proxy, database)
        value(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sagad log'")
        time.sleep(0.2)
        db.pgconn.consume_input()
        assert db.pgconn.status == psycopg.pq.ConnStatus.OK, "the end of a session passed through the hole"
        proxy.restore()
        with pytest.raises(psycopg.OperationalError):
            until(db.pgconn.consume_input)


@pytest.mark.parametrize("way, written", [("up", 0), ("down", 1), ("both", 0)])
def test_a_black_hole_has_directions(proxy, database, way, written):
    with session(proxy, database) as db, psycopg.connect(database, autocommit=True) as direct:
        direct.execute("CREATE TABLE t (n int)")
        proxy.black_hole("log", 0, way)
        db.pgconn.send_query(b"INSERT INTO t VALUES (1)")
        db.pgconn.flush()
        time.sleep(0.3)
        db.pgconn.consume_input()
        assert db.pgconn.is_busy()
        assert direct.execute("SELECT count(*) FROM t").fetchone()[0] == written
        proxy.restore()
        until(lambda: direct.execute("SELECT count(*) FROM t").fetchone()[0] == 1)
        until(lambda: db.pgconn.consume_input() or not db.pgconn.is_busy())


def test_whoever_lost_something_can_be_forgotten(proxy, database):
    with session(proxy, database) as hurt, session(proxy, database) as idle:
        proxy.black_hole()
        assert silent(hurt, 0.2)
        proxy.restore(forget=True)
        with pytest.raises(psycopg.OperationalError):
            answer(hurt)
        assert answer(idle) == 7


def test_a_lost_session_is_silent_and_the_next_one_lives(proxy, database):
    with session(proxy, database) as lost:
        assert proxy.lose("log", 0) == 1
        assert silent(lost)
        with session(proxy, database) as fresh:
            assert answer(fresh) == 7


def test_slow_is_a_round_trip(proxy, database):
    with session(proxy, database) as db, session(proxy, database, "work") as work:
        proxy.slow("log", ms=200)
        for asked, low, high in ((db, 0.2, 0.35), (work, 0.0, 0.1)):
            began = time.monotonic()
            answer(asked)
            assert low <= time.monotonic() - began < high
        proxy.restore("log")
        began = time.monotonic()
        answer(db)
        assert time.monotonic() - began < 0.1
