# SPDX-License-Identifier: Apache-2.0
"""participants/typescript against PostgreSQL, MariaDB and real replicas. Stage sdk has compiled it."""
import json
import os
import re
import subprocess
import tarfile

import psycopg
import pytest

from lib.base import ROOT

PACKAGE = ROOT / "participants/typescript"


@pytest.fixture(scope="module", autouse=True)
def compiled():
    assert (PACKAGE / "build/real.test.js").exists(), "run ./dev test sdk, or npm ci && npm run build in participants/typescript"


def test_all_of_its_tests(cluster, postgres, mariadb):
    dsn = postgres.new_database()
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    env = {**os.environ, "SAGAD_TEST_URLS": " ".join(replica.url for replica in cluster.replicas),
           "SAGAD_TEST_MARIADB": f"{mariadb.socket}|{mariadb.new_database('')}",
           **{f"PG{name.upper().replace('DBNAME', 'DATABASE')}": str(text) for name, text in given.items()}}
    files = sorted(str(path) for path in (PACKAGE / "build").glob("*.test.js"))
    assert len(files) == len(list((PACKAGE / "tests").glob("*.test.ts")))
    done = subprocess.run(["node", "--test", *files], cwd=PACKAGE, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:]
    assert int(re.search(r"^# pass (\d+)", done.stdout, re.M).group(1)) >= 30 and "# skipped 0" in done.stdout, done.stdout
    postgres.drop_database(dsn)


def test_what_is_packed_works_elsewhere(tmp_path):
    done = subprocess.run(["npm", "pack", "--ignore-scripts", "--json", "--pack-destination", tmp_path], cwd=PACKAGE,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (packed,) = json.loads(done.stdout)
    names = {file["path"] for file in packed["files"]}
    assert {"package.json", "README.md", "dist/index.js", "dist/index.d.ts"} <= names and not any("test" in name for name in names), names
    assert {f"sql/{path.name}" for path in (ROOT / "sql/barrier").glob("*.sql")} <= names
    place = tmp_path / "node_modules/sagad"
    place.mkdir(parents=True)
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as tar:
        for member in tar.getmembers():
            member.name = member.name.removeprefix("package/")
            tar.extract(member, place)
    (tmp_path / "use.mjs").write_text("import { Barrier, sqliteSession, sign } from 'sagad';\n"
                                      "const ran = []; const db = { exec: (sql) => ran.push(sql), prepare() {} };\n"
                                      "await new Barrier(sqliteSession(db)).setup();\n"
                                      "console.log(ran[0].includes('sagad_barrier_step'), sign('key', 'msg_1', 1, '{}').length);\n")
    done = subprocess.run(["node", tmp_path / "use.mjs"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "true 47\n", done
    manifest = json.loads((PACKAGE / "package.json").read_text())
    assert not manifest.get("dependencies")


def test_its_lock_file_names_no_registry():
    lock = json.loads((PACKAGE / "package-lock.json").read_text())
    assert len(lock["packages"]) > 20 and not any("resolved" in package for package in lock["packages"].values())
