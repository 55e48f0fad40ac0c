# SPDX-License-Identifier: Apache-2.0
"""participants/typescript against PostgreSQL, MariaDB and real replicas. Stage sdk has compiled it."""
import json
import os
import re
import socket
import subprocess
import tarfile
import time
import urllib.request

import psycopg
import pytest

import sagad
from lib.base import ROOT, free_port, until

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


SAMPLE = """
import { Client, Participant, Refused, type SqliteDatabase, listener, sqlite } from "sagad";

const stock = new Participant(sqlite({} as SqliteDatabase), { secrets: ["key"] });
stock.on("/pieces/{id}", "try", async (call, db) => {
  const { n } = call.json<{ n: number }>();
  if (n > 3) throw new Refused("sold out");
  db.exec("SELECT 1");
  return { id: call.params["id"] ?? null, n };
});
// @ts-expect-error What a driver says of its statement is no answer.
stock.on("/wrong", "try", (_, db) => db.prepare(""));
// @ts-expect-error There is no such op.
stock.on("/wrong", "undo", () => undefined);
export const handler: (...all: any[]) => void = listener(stock);
export const { value } = await new Client("http://s").tcc({}, (tcc) => tcc.call<{ a: number }>("a", "http://s", {}, { confirm: "http://s", cancel: "http://s" }));
export const sum: number = value.a + 1;
"""


def test_the_service_of_the_page_runs(postgres, tmp_path):
    """Compiled as it stands there; another database, another port."""
    dsn, port = postgres.new_database(), free_port()
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    text = (PACKAGE / "build/readme/0.js").read_text()
    assert "8080" in text and '"bank"' in text
    program = PACKAGE / "build/readme/running.js"
    program.write_text(text.replace("8080", str(port)).replace('"bank"', json.dumps(given["dbname"])))
    with psycopg.connect(dsn) as db:
        db.execute("CREATE TABLE account AS SELECT 'carl' AS name, 10 AS balance")
    running = subprocess.Popen(["node", program], env={**os.environ, **{f"PG{name.upper()}": str(text) for name, text in given.items() if name != "dbname"}})
    try:
        until(lambda: accepts(port))

        def call(path, op, n):
            body, now = json.dumps({"account": "carl", "amount": n}), int(time.time())
            own = sagad.webhook.message_id("g", "s", op)
            headers = {"Saga-Id": "g", "Saga-Step": "s", "Saga-Op": op, "webhook-id": own, "webhook-timestamp": str(now),
                       "webhook-signature": sagad.sign("whsec_bm90IGEgc2VjcmV0", own, now, body.encode())}
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body.encode(), headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        assert [call("/withdrawals", "try", 7) for _ in range(2)] == [(200, b'{"withdrawn":7}')] * 2
        with psycopg.connect(dsn) as db:
            assert db.execute("SELECT balance FROM account").fetchone() == (3,)
        assert call("/withdrawals/undo", "cancel", 7)[0] == 204
        with psycopg.connect(dsn) as db:
            assert db.execute("SELECT balance FROM account").fetchone() == (10,)
    finally:
        running.kill()
        running.wait()
        postgres.drop_database(dsn)


def test_the_templates_of_the_page_become_what_it_says():
    program, = [path for path in (PACKAGE / "build/readme").glob("?.js") if "fillTemplate" in path.read_text()]
    subprocess.run(["node", program], check=True, timeout=60)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


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
    (tmp_path / "use.mts").write_text(SAMPLE)
    done = subprocess.run([PACKAGE / "node_modules/.bin/tsc", "--target", "ES2022", "--module", "NodeNext", "--strict", "--noEmit",
                           "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--types", "node",
                           "--typeRoots", PACKAGE / "node_modules/@types", "use.mts"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    manifest = json.loads((PACKAGE / "package.json").read_text())
    assert not manifest.get("dependencies")


def test_its_lock_file_names_no_registry():
    lock = json.loads((PACKAGE / "package-lock.json").read_text())
    assert len(lock["packages"]) > 20 and not any("resolved" in package for package in lock["packages"].values())
