# SPDX-License-Identifier: Apache-2.0
"""A bank whose branches go through the barrier of DTM's own clients: the table dtm_barrier.barrier, in the business transaction."""
import itertools
import threading

import psycopg

from .dtm import params_of
from .stub import Reply

SCHEMA = """
CREATE SCHEMA dtm_barrier;
CREATE TABLE dtm_barrier.barrier (
    id bigserial PRIMARY KEY, trans_type varchar(45), gid varchar(128), branch_id varchar(128), op varchar(45),
    barrier_id varchar(45), reason varchar(45), create_time timestamptz DEFAULT now(), update_time timestamptz DEFAULT now(),
    CONSTRAINT uniq_barrier UNIQUE (gid, branch_id, op, barrier_id));
CREATE TABLE account (name text PRIMARY KEY, balance bigint NOT NULL, held bigint NOT NULL DEFAULT 0);
CREATE TABLE done (number bigserial PRIMARY KEY, gid text, branch_id text, op text);
INSERT INTO account (name, balance) VALUES ('out', 0), ('in', 0);
"""
INSERT = ("INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason) VALUES (%s, %s, %s, %s, %s, %s) "
          "ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING")
ORIGIN = {"cancel": "try", "compensate": "action", "rollback": "action"}


class Bank:
    def __init__(self, dsn, stub):
        self.dsn, self.stub = dsn, stub
        self._connections = threading.local()
        self._all = []
        self.execute(SCHEMA)

    def close(self):
        for db in self._all:
            db.close()

    def _db(self):
        if not hasattr(self._connections, "db"):
            self._connections.db = psycopg.connect(self.dsn, autocommit=True)
            self._all.append(self._connections.db)
        return self._connections.db

    def execute(self, sql, *values):
        found = self._db().execute(sql, values or None)
        return found.fetchall() if found.description else []

    def value(self, sql, *values):
        return self.execute(sql, *values)[0][0]

    # ---- the barrier, as its description has it ------------------------------------------

    def call(self, of, business, barrier_id="01"):
        """of: trans_type, gid, branch_id, op. True: the business was done; False: it was skipped, or had been done."""
        key = (of["gid"], of["branch_id"])
        with self._db().transaction():
            db, origin = self._db(), ORIGIN.get(of["op"])
            first = origin and db.execute(INSERT, (of["trans_type"], *key, origin, barrier_id, of["op"])).rowcount
            mine = db.execute(INSERT, (of["trans_type"], *key, of["op"], barrier_id, of["op"])).rowcount
            if first or not mine:
                return False  # an empty compensation; a repetition, or one that comes too late
            business(db)
            db.execute("INSERT INTO done (gid, branch_id, op) VALUES (%s, %s, %s)", (*key, of["op"]))
            return True

    def query_prepared(self, gid):
        """Did the local commit of this message happen? If not it never will."""
        with self._db().transaction():
            db = self._db()
            db.execute(INSERT, ("msg", gid, "00", "msg", "01", "rollback"))
            reason = db.execute("SELECT reason FROM dtm_barrier.barrier WHERE gid = %s AND branch_id = '00' AND op = 'msg' "
                                "AND barrier_id = '01'", (gid,)).fetchone()[0]
        return reason != "rollback"

    # ---- branches ---------------------------------------------------------------------------

    def branch(self, path, account, amount, answers=None):
        """A path that moves so much, guarded by the barrier. answers: what to say, by turns, in place of 200."""
        turns = itertools.cycle(answers or [200])

        def reply(call):
            self.call(params_of(call), lambda db: db.execute(
                "UPDATE account SET balance = balance + %s WHERE name = %s", (amount, account)))
            return Reply(next(turns))

        self.stub.on(path, reply)
        return path

    def balance(self, account):
        return self.value("SELECT balance FROM account WHERE name = %s", account)

    def done(self, gid):
        return [f"{b} {op}" for b, op in self.execute("SELECT branch_id, op FROM done WHERE gid = %s ORDER BY number", gid)]
