# SPDX-License-Identifier: Apache-2.0
"""Starting: errors that say what to change, settings, workers."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import psycopg
import pytest

from lib.base import BIN, free_port, until
from lib.client import Client
from lib.cluster import Cluster, Replica
from lib.postgres import TOOL, value
from lib.stub import Reply

SAGAD = str(BIN / "sagad")


def run(*arguments, env=None, timeout=20):
    """Its exit status and all it said; it must end by itself."""
    done = subprocess.run([SAGAD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, env={**os.environ, **(env or {})}, check=False)
    return done.returncode, done.stdout


def ports():
    return f"--listen=127.0.0.1:{free_port()}", f"--ops-listen=127.0.0.1:{free_port()}"


def refuses(dsn, *words, flags=()):
    status, said = run(f"--dsn={dsn}", *ports(), *flags)
    assert status != 0, said
    for word in words:
        assert word in said, (word, said)


def test_help_and_version():
    status, said = run("--help")
    assert status == 0 and "--lease.ttl" in said and "migrate" in said
    status, said = run("--version")
    assert status == 0 and said.startswith("sagad ")


@pytest.mark.parametrize("flags,words", [
    (["--colour=red"], ["--colour"]),
    (["--lease.ttl=1s"], ["--lease.ttl", "2s", "1m"]),
    (["--workers=many"], ["--workers"]),
    (["--log.format=xml"], ["--log.format", "json"]),
    (["--config=/nowhere/sagad.conf"], ["/nowhere/sagad.conf"]),
    (["fly"], ["fly"]),
])
def test_bad_flags_name_what_is_allowed(flags, words):
    status, said = run("--dsn=dbname=x", *flags)
    assert status != 0
    for word in words:
        assert word in said, (word, said)


def test_environment_and_file_and_their_order(tmp_path):
    conf = tmp_path / "sagad.conf"
    conf.write_text("# settings\nlease.ttl = 99s\n")
    status, said = run("--dsn=dbname=x", f"--config={conf}")
    assert status != 0 and "sagad.conf:2" in said, said
    status, said = run("--dsn=dbname=x", env={"SAGAD_LEASE_TTL": "99s"})
    assert status != 0 and "SAGAD_LEASE_TTL" in said, said


def test_bad_dsn():
    refuses("nonsense here", "DSN")
    # A replica gives a database 30 s to come up; the commands for people say at once what they see.
    for dsn, word in (("host=/nowhere/at/all dbname=x", "/nowhere/at/all"), ("postgresql://127.0.0.1:1/x", "127.0.0.1")):
        for command in ("check", "migrate"):
            status, said = run(command, f"--dsn={dsn}")
            assert status != 0 and word in said, said


def test_a_replica_gives_up_when_no_database_comes_up():
    status, said = run("--dsn=postgresql://127.0.0.1:1/x", *ports(), timeout=45)
    assert status != 0 and "127.0.0.1" in said, said


def test_unknown_database(postgres):
    refuses(postgres.dsn("no_such_database"), "no_such_database")


def test_migrate_twice_and_check(database):
    for _ in range(2):
        status, said = run("migrate", f"--dsn={database}")
        assert status == 0, said
    status, said = run("check", f"--dsn={database}")
    assert status == 0, said


def test_replicas_starting_at_once_migrate_once(database):
    cluster = [Replica(database, tempfile.mkdtemp(), ["--lease.ttl=2s"]).start() for _ in range(3)]
    for r in cluster:
        r.ready()
    for r in cluster:
        r.stop()


def test_a_newer_schema_is_refused(database):
    assert run("migrate", f"--dsn={database}")[0] == 0
    with psycopg.connect(database, autocommit=True) as db:
        columns = [c.name for c in db.execute("SELECT * FROM sagad.schema_version LIMIT 0").description]
        rest = ", ".join(c for c in columns if c != "version")
        db.execute(f"INSERT INTO sagad.schema_version (version, {rest}) SELECT 9999, {rest} FROM sagad.schema_version LIMIT 1")
        db.execute("UPDATE sagad.schema_version SET oldest = 9999 WHERE version = 9999")
    refuses(database, "9999")


def test_port_in_use(database):
    with socket.socket() as s:
        s.bind(("127.0.0.1", free_port()))
        s.listen()
        port = s.getsockname()[1]
        at = f"127.0.0.1:{port}"
        status, said = run(f"--dsn={database}", f"--listen={at}", f"--ops-listen=127.0.0.1:{free_port()}")
        assert status != 0 and f"port {port} is in use" in said, said
        status, said = run(f"--dsn={database}", f"--listen=127.0.0.1:{free_port()}", f"--ops-listen={at}")
        assert status != 0 and f"port {port} is in use" in said, said


@pytest.mark.needs_server_control
def test_a_standby_is_refused(database, postgres):
    assert run("migrate", f"--dsn={database}")[0] == 0
    server, folder = postgres.standby()
    try:
        name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
        dsn = psycopg.conninfo.make_conninfo(server, dbname=name)
        status, said = run(f"--dsn={dsn}", *ports())
        assert status != 0, said
        assert "standby" in said or "read-write" in said or "recovery" in said or "read-only" in said, said
    finally:
        subprocess.run([TOOL, "remove", folder], check=True)


@pytest.fixture
def pooler(database):
    """pgbouncer in front of the database; gives a function from its pool mode to a DSN."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not os.path.exists(program):
        pytest.skip("pgbouncer is not installed")
    made = []
    info = psycopg.conninfo.conninfo_to_dict(database)

    def start(mode, *settings):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sagad-pooler-"))
        port = free_port()
        (folder / "users").write_text(f'"{info["user"]}" ""\n')
        target = " ".join(f"{k}='{v}'" for k, v in info.items() if k in ("host", "port", "dbname", "password"))
        (folder / "ini").write_text(
            f"[databases]\nx = {target}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
            f"pool_mode = {mode}\nauth_file = {folder}/users\nunix_socket_dir =\n"
            "ignore_startup_parameters = extra_float_digits,options,idle_session_timeout\n".replace("auth_type = any", "auth_type = trust")
            + "".join(f"{line}\n" for line in settings))
        command = [program, str(folder / "ini")]
        if os.getuid() == 0:  # it refuses root, as the server does
            subprocess.run(["chown", "-R", "postgres", folder], check=True)
            command = ["runuser", "-u", "postgres", "--", *command]
        made.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        dsn = f"host=127.0.0.1 port={port} dbname=x user={info['user']}"

        def answers():
            try:
                psycopg.connect(dsn).close()
                return True
            except psycopg.OperationalError:
                return False

        until(answers)
        return dsn

    yield start
    for process in made:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("lease", ["lock", "row"])
def test_a_pooler_in_transaction_mode_is_refused(database, pooler, lease):
    assert run("migrate", f"--dsn={database}")[0] == 0
    refuses(pooler("transaction"), "pool", *(["pool_mode = session"] if lease == "row" else ["lease.mode=row"]),
            flags=[f"--lease.mode={lease}"])


def test_a_pooler_with_many_sessions_in_transaction_mode_is_refused(database, pooler):
    """Whichever backend it hands out next."""
    dsn = pooler("transaction", "server_round_robin = 1")
    held = [psycopg.connect(dsn) for _ in range(3)]
    for db in held:
        db.execute("SELECT 1")
    for db in held:
        db.rollback()
    refuses(dsn, "pool_mode = session", flags=["--lease.mode=row"])
    for db in held:
        db.close()


def test_a_pooler_in_session_mode_needs_leases_of_rows(database, pooler, stub):
    dsn = pooler("session")
    refuses(dsn, "lease.mode=row")
    replicas = [Replica(dsn, tempfile.mkdtemp(), ["--lease.ttl=2s", "--lease.mode=row"]).start() for _ in range(2)]
    for r in replicas:
        r.ready()
    client = Client(lambda: [r.at for r in replicas])
    hold = threading.Event()
    stub.on("/slow", lambda call: Reply(200, hold=None if hold.is_set() else hold))
    quick = {"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/u"}}}
    slow = {"a": {"action": {"url": stub.url + "/slow"}, "compensate": {"url": stub.url + "/u"}}}
    for _ in range(10):
        assert client.run(mode="saga", steps=quick, input={})["phase"] == "confirmed"
    begun = client.post("/v1/transactions", {"gid": "left", "mode": "saga", "steps": slow, "input": {}}, at=replicas[0].at)
    assert begun.status in (201, 202), begun
    until(lambda: stub.seen("/slow"))
    replicas[0].kill()
    hold.set()
    at = time.monotonic()
    until(lambda: len(stub.seen("/slow")) == 2)
    assert time.monotonic() - at < 3.5, "TTL + 1.5 s"
    assert client.send("GET", "/v1/transactions/left?wait=10s", at=replicas[1].at).json["phase"] == "confirmed"
    replicas[1].stop()


def test_workers_share_the_port(database, stub):
    folder = tempfile.mkdtemp()
    first = free_port()
    r = Replica(database, folder, ["--workers=2", "--lease.ttl=2s"])
    while True:  # two ports in a row for health
        second = free_port()
        if second == first + 1:
            break
        first = second
    r.ops_at = f"127.0.0.1:{first}"
    r.command = [f"--ops-listen={r.ops_at}" if c.startswith("--ops-listen") else c for c in r.command]
    r.start().ready()
    other = Client(lambda: [f"127.0.0.1:{first + 1}"])
    until(lambda: other.get("/readyz").status == 200)
    until(lambda: value(database, "SELECT count(*) FROM sagad.replica WHERE state = 'live'") == 2)
    client = Client(lambda: [r.at])
    stub.on("/a", Reply(200))
    steps = {"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/u"}}}
    for i in range(20):
        answer = client.begin(gid=f"w{i}", mode="saga", steps=steps, input={}, wait="10s")
        assert answer.status == 201 and answer.json["phase"] == "confirmed", answer
    r.stop()
    assert value(database, "SELECT count(*) FROM sagad.replica WHERE state = 'drained'") == 2


def test_a_worker_that_dies_is_started_again(database, stub):
    folder = tempfile.mkdtemp()
    r = Replica(database, folder, ["--workers=2", "--lease.ttl=2s"]).start().ready()
    children = pathlib.Path(f"/proc/{r.process.pid}/task/{r.process.pid}/children").read_text().split()
    assert len(children) == 2, children
    os.kill(int(children[0]), 9)
    until(lambda: len(pathlib.Path(f"/proc/{r.process.pid}/task/{r.process.pid}/children").read_text().split()) == 2, 10)
    time.sleep(0.2)
    until(lambda: value(database, "SELECT count(*) FROM sagad.replica WHERE state = 'live'") == 2, 15)
    r.stop()


def test_valgrind_smoke(database, stub):
    """One life under valgrind: start, a saga, an error, the end. No leak, no bad access."""
    folder = tempfile.mkdtemp()
    r = Replica(database, folder, ["--lease.ttl=10s"], wrapper=[
        "valgrind", "-q", "--error-exitcode=77", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect", "--show-leak-kinds=definite,indirect"])
    assert run("migrate", f"--dsn={database}")[0] == 0
    r.start().ready(60)
    client = Client(lambda: [r.at])
    steps = {"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}},
             "b": {"after": ["a"], "action": {"url": stub.url + "/b"}, "compensate": {"url": stub.url + "/undo"}}}
    stub.on("/b", Reply(422))
    assert client.run(mode="saga", steps=steps, input={"a": 1})["phase"] == "cancelled"
    assert client.post("/v1/transactions", b"{").status == 400
    assert client.define("v", mode="saga", steps=steps).status == 201
    assert r.terminate(60) == 0, r.log()[-4000:]
