# SPDX-License-Identifier: Apache-2.0
"""The three barriers behind the same few words, and two calls that race on two connections."""
import itertools
import sqlite3
import threading

import psycopg
import pymysql

from .base import ROOT, until

SCRIPTS = {name: (ROOT / f"sql/barrier/{name}.sql").read_text() for name in ("postgresql", "mariadb", "sqlite")}


class OnPostgres:
    WRONG = psycopg.errors.InvalidParameterValue
    AGAIN = psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected
    LEVELS = {"read committed": psycopg.IsolationLevel.READ_COMMITTED,
              "repeatable read": psycopg.IsolationLevel.REPEATABLE_READ,
              "serializable": psycopg.IsolationLevel.SERIALIZABLE}

    def __init__(self, db, isolation=None):
        self.db = db
        if isolation:
            db.isolation_level = self.LEVELS[isolation]

    def each_alone(self):
        self.db.autocommit = True

    def begin(self):
        pass

    def time(self, from_now_s):
        return self.db.execute("SELECT clock_timestamp() + make_interval(secs => %s)", (from_now_s,)).fetchone()[0]

    def ask(self, *arguments):
        sql = "SELECT answer, status, body FROM sagad_barrier(%s, %s, %s, %s, %s)"
        return dict(zip(("answer", "status", "body"), self.db.execute(sql, arguments).fetchone()))

    def keep(self, *arguments):
        return self.db.execute("SELECT sagad_barrier_keep(%s, %s, %s, %s, %s)", arguments).fetchone()[0]

    def age(self, seconds):
        self.db.execute("UPDATE sagad_barrier_step SET seen_at = seen_at - make_interval(secs => %(s)s),"
                        " deadline = deadline - make_interval(secs => %(s)s)", {"s": seconds})

    def sweep(self, seconds, batch=10000):
        return self.db.execute("SELECT sagad_barrier_sweep(make_interval(secs => %s), %s)", (seconds, batch)).fetchone()[0]

    def execute(self, sql, *arguments):
        done = self.db.execute(sql, arguments)
        return done.fetchall() if done.description else []

    def is_blocked(self, other):
        """Does that one wait for a lock?"""
        return self.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", other.db.info.backend_pid)[0][0]


class OnMariadb:
    WRONG = pymysql.err.OperationalError, pymysql.err.DataError
    AGAIN = pymysql.err.OperationalError
    # Deadlock; waited too long; changed since the snapshot (innodb_snapshot_isolation).
    AGAIN_CODES = {1213, 1205, 1020}

    def __init__(self, db, isolation="repeatable read"):
        self.db = db
        self.snapshot = isolation != "read committed"
        self.execute(f"SET SESSION innodb_snapshot_isolation = {'ON' if isolation == 'snapshot' else 'OFF'}")
        self.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {'repeatable read' if isolation == 'snapshot' else isolation}")

    def each_alone(self):
        self.db.autocommit(True)

    def begin(self):
        """As early a snapshot as can be: what is not seen in it would be a lie."""
        self.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT" if self.snapshot else "START TRANSACTION")

    def time(self, from_now_s):
        sql = "SELECT date_format(utc_timestamp(6) + INTERVAL %s MICROSECOND, '%%Y-%%m-%%dT%%H:%%i:%%s.%%fZ')"
        return self.execute(sql, round(from_now_s * 1e6))[0][0]

    def ask(self, *arguments):
        return dict(zip(("answer", "status", "body"), self.execute("CALL sagad_barrier(%s, %s, %s, %s, %s)", *arguments)[0]))

    def keep(self, *arguments):
        return bool(self.execute("CALL sagad_barrier_keep(%s, %s, %s, %s, %s)", *arguments)[0][0])

    def age(self, seconds):
        self.execute("UPDATE sagad_barrier_step SET seen_at = seen_at - INTERVAL %s SECOND,"
                     " deadline = if(deadline < '9999-01-01', deadline - INTERVAL %s SECOND, deadline)", seconds, seconds)

    def sweep(self, seconds, batch=None):
        return self.execute("CALL sagad_barrier_sweep(%s / 86400, %s)", seconds, batch)[0][0]

    def execute(self, sql, *arguments):
        with self.db.cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return list(cursor.fetchall())

    def is_blocked(self, other):
        """From the status, as the tables about locks are made anew each 100 ms only."""
        status = self.execute("SHOW ENGINE INNODB STATUS")[0][2]
        return any("LOCK WAIT" in part and f"thread id {other.db.thread_id()}," in part for part in status.split("---TRANSACTION"))


class OnSqlite:
    WRONG = sqlite3.IntegrityError

    def __init__(self, db):
        self.db = db

    def time(self, from_now_s):
        sql = "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)"
        return self.db.execute(sql, (f"{from_now_s} seconds",)).fetchone()[0]

    def state(self, columns):
        return self.db.execute(f"SELECT {columns} FROM sagad_barrier_state").fetchone()

    def ask(self, *arguments):
        self.db.execute("INSERT INTO sagad_barrier VALUES (?, ?, ?, ?, ?)", arguments)
        return dict(zip(("answer", "status", "body"), self.state("answer, status, body")))

    def keep(self, *arguments):
        self.db.execute("INSERT INTO sagad_barrier_keep VALUES (?, ?, ?, ?, ?)", arguments)
        return bool(self.state("kept")[0])

    def execute(self, sql, *arguments):
        return self.db.execute(sql, arguments).fetchall()

    def age(self, seconds):
        self.db.execute("UPDATE sagad_barrier_step SET seen_at = seen_at - :s / 86400.0,"
                        " deadline = iif(deadline < 1e9, deadline - :s / 86400.0, 1e9)", {"s": seconds})

    def sweep(self, seconds, batch=None):
        self.db.execute("INSERT INTO sagad_barrier_sweep VALUES (? / 86400.0, ?)", (seconds, batch))
        return self.state("deleted")[0]


# ---- two connections ----------------------------------------------------------------------------


class Caller:
    """A service's handler of one call: the barrier, the effect, the end. Each of them when told to, on a thread of its
    own, since it may have to wait for the other one."""

    STATEMENTS = 3

    def __init__(self, on, watcher, op):
        self.on, self.watcher, self.op = on, watcher, op
        self.deadline = None
        self.thread = None

    def begin(self, gid, end):
        self.gid, self.end = gid, end
        self.answer, self.failed, self.left = None, None, self.STATEMENTS

    def next(self):
        """Its next statement, until it is done or waits for the other."""
        at, self.left = self.STATEMENTS - self.left, self.left - 1
        if self.failed:
            return
        statement = (self.enter, self.work, self.finish)[at]
        self.thread = threading.Thread(target=self.run, args=(statement,))
        self.thread.start()
        self.rest()

    def rest(self):
        """Until what it is at is done, or waits for the other. Locks are given on before a COMMIT is answered."""
        until(lambda: not self.is_waiting() or self.watcher.is_blocked(self.on), every=0.0005)

    def is_waiting(self):
        return self.thread is not None and self.thread.is_alive()

    def settle(self):
        self.thread.join()

    def run(self, statement):
        try:
            statement()
        except self.on.AGAIN as error:
            assert error.args[0] in getattr(self.on, "AGAIN_CODES", {error.args[0]}), error
            self.failed = error
            self.on.db.rollback()

    def enter(self):
        self.on.begin()
        self.answer = self.on.ask(self.gid, "a", self.op, 1, self.deadline)

    def work(self):
        if self.answer["answer"] == "run":
            self.on.execute("INSERT INTO effect VALUES (%s, %s)", self.gid, self.op)
            assert self.on.keep(self.gid, "a", self.op, 201, f'{{"{self.op}": 1}}')

    def finish(self):
        self.on.db.commit() if self.end == "commit" else self.on.db.rollback()

    def close(self):
        self.on.db.close()


def play(first, second, order):
    """Steps both in that order; whose turn comes while he waits is stepped when he goes on. True: somebody waited."""
    waited, queue = False, list(order)
    while queue:
        at = next((i for i, who in enumerate(queue) if not who.is_waiting()), None)
        assert at is not None, "both wait: a deadlock"
        queue.pop(at).next()
        waited = waited or first.is_waiting() or second.is_waiting()
        first.rest()
        second.rest()
    first.settle()
    second.settle()
    return waited


def orders(first, second):
    """All there are; of two equal calls those that the first one begins."""
    for places in itertools.combinations(range(6), 3):
        if first.op != second.op or 0 in places:
            yield [first if i in places else second for i in range(6)]


def repeat(on, gid, op):
    """As a coordinator does with what was rolled back: the same call again, with effect."""
    on.begin()
    got = on.ask(gid, "a", op, 1, None)
    if got["answer"] == "run":
        on.execute("INSERT INTO effect VALUES (%s, %s)", gid, op)
        assert on.keep(gid, "a", op, 201, f'{{"{op}": 1}}')
    on.db.commit()
    return got


def effects(on, gid):
    on.db.rollback()  # what an earlier snapshot shows does not count
    return sorted(op for op, in on.execute("SELECT op FROM effect WHERE gid = %s", gid))


def race(connect, isolation, ops, fails, before=()):
    """All interleavings of two calls, each committed or rolled back; what failed or was rolled back is called again, as
    a coordinator does. Yields what each was answered in the end. fails: some have to start again, or none."""
    seen = set()
    watcher, on = connect(None), connect(None)
    watcher.each_alone()
    pair = [Caller(connect(isolation), watcher, op) for op in ops]
    try:
        endings = itertools.product(("commit", "rollback"), repeat=2)
        for number, (order, ends) in enumerate(itertools.product(orders(*pair), endings)):
            gid = f"{isolation}-{'-'.join(ops)}-{number}".replace(" ", "-")
            for op in before:
                repeat(on, gid, op)
            for caller, end in zip(pair, ends):
                caller.begin(gid, end)
            if play(*pair, order):
                seen.add("waited")
            done = []
            for caller in pair:
                committed = caller.end == "commit" and not caller.failed
                seen.add("failed" if caller.failed else caller.answer["answer"])
                done.append(caller.answer if committed else repeat(on, gid, caller.op))
            yield on, gid, done
    finally:
        for caller in pair:
            caller.close()
        watcher.db.close()
        on.db.close()
    assert "waited" in seen, "nobody ever waited: these were no races"
    assert ("failed" in seen) == fails, seen
