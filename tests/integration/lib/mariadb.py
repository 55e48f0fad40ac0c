# SPDX-License-Identifier: Apache-2.0
"""A private MariaDB for one test worker."""
import itertools
import os
import subprocess

import pymysql

from .base import ROOT

TOOL = ROOT / "tools/mariadb.sh"
_numbers = itertools.count(1)


class Mariadb:
    def __init__(self, name):
        self.folder = ROOT / ".dev/tests" / f"mariadb-{name}"
        self._run("remove")
        self.socket = self._run("start")

    def _run(self, verb):
        return subprocess.run([TOOL, verb, self.folder], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()

    def kill(self):
        self._run("kill")

    def start(self):
        self._run("start")

    def close(self):
        self._run("remove")

    def connect(self, database=None, **more):
        return pymysql.connect(unix_socket=self.socket, user=more.pop("user", "root"), database=database, charset="utf8mb4", **more)

    def new_database(self, script):
        """Its name. The script is run by the client, which knows DELIMITER."""
        name = f"sagad_test_{os.getpid()}_{next(_numbers)}"
        with self.connect() as db:
            db.cursor().execute(f"CREATE DATABASE {name}")
        self.run_script(name, script)
        return name

    def run_script(self, database, script):
        subprocess.run(["mariadb", "--no-defaults", "-u", "root", "-S", self.socket, database], input=script.encode(), check=True)
