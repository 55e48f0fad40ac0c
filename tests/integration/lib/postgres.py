# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL for one test worker: a private one, or databases of its own on SAGAD_TEST_DSN."""
import itertools
import os
import subprocess

import psycopg

from .base import ROOT

TOOL = ROOT / "tools/postgres.sh"
_numbers = itertools.count(1)


class Postgres:
    """A private server that a test may stop and start again."""

    is_ours = True

    def __init__(self, name):
        self.folder = ROOT / ".dev/tests" / name
        self._run("remove")
        self.server = self._run("start")

    def _run(self, verb, *arguments):
        done = subprocess.run(
            [TOOL, verb, self.folder, *arguments], stdout=subprocess.PIPE, check=True, text=True
        )
        return done.stdout.strip()

    def stop(self, mode="fast"):
        self._run("stop", mode)

    def start(self):
        self._run("start")

    def close(self):
        self._run("remove")

    def dsn(self, database):
        return psycopg.conninfo.make_conninfo(self.server, dbname=database)

    def new_database(self):
        name = f"sagad_test_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.server, autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}")
        return self.dsn(name)

    def drop_database(self, dsn):
        name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        with psycopg.connect(self.server, autocommit=True) as db:
            db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def standby(self):
        """The DSN of a hot standby of this server, and the folder to remove."""
        folder = self.folder.with_name(self.folder.name + "-standby")
        done = subprocess.run(
            [TOOL, "standby", folder, self.folder], stdout=subprocess.PIPE, check=True, text=True
        )
        return done.stdout.strip(), folder


class GivenPostgres(Postgres):
    """The server of SAGAD_TEST_DSN: not ours to stop."""

    is_ours = False

    def __init__(self, dsn):  # pylint: disable=super-init-not-called
        self.server = dsn

    def close(self):
        pass


def rows(dsn, sql, *params):
    with psycopg.connect(dsn, autocommit=True) as db:
        return db.execute(sql, params).fetchall()


def value(dsn, sql, *params):
    return rows(dsn, sql, *params)[0][0]
