# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL for one test worker: a private one, or databases of its own on SAGAD_TEST_DSN."""
import itertools
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

import psycopg

from .base import ROOT, until

TOOL = ROOT / "tools/postgres.sh"
_numbers = itertools.count(1)
CONNECTIONS = "80"  # five replicas need 25; and some tests take all there are


def _clock_folder():
    """Where whoever runs the server can read it: the library that sets a process's clock, and what it is set to."""
    folder = tempfile.mkdtemp(prefix="sagad-clock-", dir="/tmp")
    os.chmod(folder, 0o755)
    pathlib.Path(folder, "ahead").write_bytes(bytes(8))
    subprocess.run([os.environ.get("CC", "gcc"), "-shared", "-fPIC", "-O2", "-o", f"{folder}/clock.so",
                    pathlib.Path(__file__).with_name("clock.c")], check=True)
    return folder


class Postgres:
    """A private server that a test may stop and start again. clock: set_clock() sets its clock."""

    is_ours = True

    def __init__(self, name, clock=False):
        self.folder = ROOT / ".dev/tests" / name
        self._clock = _clock_folder() if clock else None
        self._run("remove")
        self.set_clock(0)
        self.server = self._run("start")

    def _run(self, verb, *arguments):
        done = subprocess.run(
            [TOOL, verb, self.folder, *arguments], stdout=subprocess.PIPE, check=True, text=True,
            env={**os.environ, "POSTGRES_CONNECTIONS": CONNECTIONS, **self._faked()}
        )
        return done.stdout.strip()

    def _faked(self):
        return {"LD_PRELOAD": f"{self._clock}/clock.so", "TEST_CLOCK": f"{self._clock}/ahead"} if self._clock else {}

    def set_clock(self, seconds):
        """So much ahead of the truth from now on, for every session; intervals stay true."""
        if self._clock:
            with open(f"{self._clock}/ahead", "r+b", buffering=0) as file:
                file.write(struct.pack("q", round(seconds * 1e6)))

    def stop(self, mode="fast"):
        self._run("stop", mode)

    def start(self):
        self._run("start")

    def close(self):
        self._run("remove")
        if self._clock:
            shutil.rmtree(self._clock)

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


class Pair:
    """A primary and its streaming standby, in folders of their own. Each has a role, which changes."""

    def __init__(self, name, synchronous=True):
        base = ROOT / ".dev/tests" / f"pair-{name}"
        self.folders = [base.with_name(base.name + suffix) for suffix in ("-one", "-two")]
        self.close()
        self.primary, self.standby = self.folders
        self.synchronous = synchronous  # as it is when nothing is wrong
        try:
            servers = self._run("pair", self.primary, self.standby)
            self._servers = dict(zip(self.folders, servers.splitlines()))
            self.set_synchronous(synchronous)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _run(verb, folder, *arguments):
        done = subprocess.run(
            [TOOL, verb, folder, *arguments], stdout=subprocess.PIPE, check=True, text=True
        )
        return done.stdout.strip()

    def close(self):
        for folder in self.folders:
            self._run("remove", folder)

    def _place(self, folder):
        return psycopg.conninfo.conninfo_to_dict(self._servers[folder])["host"]

    def log(self, folder):
        """The file into which that one writes."""
        return f"{self._place(folder)}/log"

    def direct(self, folder=None, database="postgres"):
        """The DSN of one of them; without a folder, of the primary."""
        return psycopg.conninfo.make_conninfo(self._servers[folder or self.primary], dbname=database)

    def dsn(self, database):
        """Both, always in the same order: the one that was the first primary comes first."""
        hosts = ",".join(self._place(f) for f in self.folders)
        return psycopg.conninfo.make_conninfo("user=sagad", host=hosts, dbname=database)

    def new_database(self):
        name = f"sagad_test_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def execute(self, sql, folder=None):
        with psycopg.connect(self.direct(folder), autocommit=True) as db:
            db.execute(sql)

    def set(self, name, value, folder=None):
        self.execute(f"ALTER SYSTEM SET {name} = '{value}'", folder)
        self.execute("SELECT pg_reload_conf()", folder)

    def set_synchronous(self, on):
        """Must the standby have a commit before anybody hears of it?"""
        self.set("synchronous_standby_names", "*" if on else "")
        sql = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = %s"
        until(lambda: value(self.direct(), sql, "sync" if on else "async") == 1, 20)

    def cut(self):
        """The standby receives nothing more: what is committed from now on dies with the primary."""
        self.set("primary_conninfo", "", self.standby)
        until(lambda: value(self.direct(), "SELECT count(*) FROM pg_stat_replication") == 0, 20)

    def heal(self):
        self.set("primary_conninfo", f"host={self._place(self.primary)} user=sagad", self.standby)
        until(lambda: value(self.direct(), "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == 1, 20)

    def stop(self, folder=None, mode="immediate"):
        self._run("stop", folder or self.primary, mode)

    def kill(self, folder=None):
        self._run("kill", folder or self.primary)

    def start(self, folder):
        self._run("start", folder)

    def promote(self):
        """The standby is the primary from now on; what the old one is, the test decides."""
        self._run("promote", self.standby)
        self.primary, self.standby = self.standby, self.primary

    def rejoin(self):
        """The old primary, stopped, follows the new one."""
        self._run("rejoin", self.standby, self.primary)
        # Where there was nothing to rewind it has its own settings still: promoted, it would wait for a standby.
        self.set("synchronous_standby_names", "", self.standby)

    def mend(self):
        """After a promotion: a pair again, as it was made."""
        self.stop(self.standby)
        self.rejoin()
        self.set_synchronous(self.synchronous)


class GivenPostgres(Postgres):
    """The server of SAGAD_TEST_DSN: not ours to stop."""

    is_ours = False

    def __init__(self, dsn):  # pylint: disable=super-init-not-called
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
        if "password" in parts:  # sagad takes none on its command line
            os.environ["PGPASSWORD"] = parts.pop("password")
        self.server = psycopg.conninfo.make_conninfo(**parts)

    def close(self):
        pass


def rows(dsn, sql, *params):
    with psycopg.connect(dsn, autocommit=True) as db:
        return db.execute(sql, params).fetchall()


def value(dsn, sql, *params):
    return rows(dsn, sql, *params)[0][0]
