# SPDX-License-Identifier: Apache-2.0
"""Two versions side by side: a rolling upgrade, the way back, and a schema that is too new."""
import subprocess
import time

import psycopg

from lib.base import BIN, ROOT, free_port, until
from lib.stub import Reply
from .faults_sessions import terminate
from .modes import both_modes
from .test_kill import MACHINE
from .world import fault

SAGAD = BIN / "sagad"
KNOWN = len(list((ROOT / "sql").glob("0*.sql")))  # migrations of this version
NEXT = BIN / "tests/integration/sagad-next"  # this version and a migration more; `make check` builds it
REFUSED = 78


def run(program, command, world, *flags):
    done = subprocess.run([program, command, f"--dsn={world.direct}", *flags], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
    return done.returncode, done.stdout


def programs(world):
    """Which schema versions those that live know."""
    return {r.command[0] for r in world.living}


def replace(world, program):
    """One by one, as an operator does: SIGTERM, the end, the other program at the same place."""
    slowest = 0.0
    for r in list(world.replicas):
        began = time.monotonic()
        assert r.terminate() == 0, r.log()[-3000:]
        r.command[0] = str(program)
        r.start().ready()
        slowest = max(slowest, time.monotonic() - began)
    assert programs(world) == {str(program)}
    return slowest


@fault("rolling upgrade")
def rolling_upgrade(world, rng):
    """To the next version if this one runs, else back to this one."""
    del rng
    if programs(world) == {str(NEXT)}:
        return {"rolling downgrade, slowest replica, s": replace(world, SAGAD)}
    assert run(NEXT, "migrate", world)[0] == 0
    return {"rolling upgrade, slowest replica, s": replace(world, NEXT)}


BY_ROW = "--lease.mode=row"


@fault("lease mode changes")
def lease_mode_changes(world, rng):
    """Replica by replica, from locks to rows or back; some do not leave but die."""
    to = "row" if world.mode == "lock" else "lock"
    for r in rng.sample(world.replicas, len(world.replicas)):
        if rng.random() < 0.3:
            r.kill()
        else:
            assert r.terminate() == 0, r.log()[-3000:]
        r.command = [c for c in r.command if c != BY_ROW] + [BY_ROW] * (to == "row")
        r.start().ready()
    world.mode = to


@fault("schema too new")
def schema_too_new(world, rng):
    """Who starts then is refused; who runs goes on."""
    victim, version = rng.choice(world.living), 1000
    victim.kill()
    world.execute(f"INSERT INTO sagad.schema_version (version, name, checksum, applied_at, oldest)"
                  f" VALUES ({version}, 'contract', 'x', now(), {version})")
    try:
        assert victim.start().process.wait(30) == REFUSED, victim.log()[-3000:]
        victim.killed = True
        terminate(world, "")
        world.flowing(within=4 * world.ttl + 10)
    finally:
        world.execute(f"DELETE FROM sagad.schema_version WHERE version = {version}")


@both_modes
def test_a_rolling_upgrade_under_load_and_the_way_back(make_world, mode):
    assert NEXT.exists(), f"{NEXT} is not there: make check builds it"
    world = make_world(mode=mode)
    world.settled()
    with world.load(clients=8):
        world.flowing()
        figures = rolling_upgrade(world, None)
        world.flowing()
        figures |= rolling_upgrade(world, None)
        world.flowing()
    report = world.verify()
    print({k: round(v, 2) for k, v in figures.items()}, report)
    # Nobody was taken for dead, and nobody had to wait for a lease to run out.
    assert world.value("SELECT count(*) FROM sagad.replica WHERE state = 'fenced'") == 0
    assert report.accepted > 20
    for r in world.living:  # it says so once each time it starts on the schema of the next version
        said = r.events("schema_newer")
        assert len(said) == 1 and "3" in str(said), said


def test_a_change_of_the_lease_mode_under_load(make_world):
    """Locks become rows, replica by replica; half-way one of each kind is killed, and nobody else is fenced."""
    world = make_world(replicas=4)
    world.settled()
    by_lock, by_row = world.replicas[:2], world.replicas[2:]
    with world.load(clients=8):
        for r in by_row:
            assert r.terminate() == 0, r.log()[-3000:]
            r.command.append("--lease.mode=row")
            r.start().ready()
        world.settled()
        found = {}
        for victim, kind in ((by_lock[0], "a lock"), (by_row[0], "a row")):
            world.busy(victim)
            found[kind] = world.first_adopted(victim.kill(), within=world.ttl + 5)
        world.participant.latency(0)
        world.restore()
        for r in by_lock:
            assert r.terminate() == 0, r.log()[-3000:]
            r.command.append("--lease.mode=row")
            r.start().ready()
        world.flowing()
    report = world.verify()
    print(found, report)
    assert all(seconds <= world.ttl + 1.5 + MACHINE for seconds in found.values()), found
    assert world.value("SELECT count(*) FROM sagad.replica WHERE state = 'fenced'") == 2
    assert {r.events("started")[-1]["Attributes"]["lease_mode"] for r in world.living} == {"row"}


def test_the_first_new_replica_migrates_while_old_ones_run(make_world):
    world = make_world()
    world.settled()
    with world.load(clients=6):
        r = world.replicas[0]
        assert r.terminate() == 0
        r.command[0] = str(NEXT)
        r.start().ready()
        assert world.value("SELECT max(version) FROM sagad.schema_version") == KNOWN + 1
        world.flowing()
    world.verify()


def test_rows_of_a_newer_format_are_left_to_newer_replicas(make_world, stub):
    world = make_world(flags=["--park-after=200ms"])
    stub.on("/wait", Reply(503, Retry_After=1))
    steps = {"a": {"action": {"url": stub.url + "/wait"}, "compensate": {"url": stub.url + "/undo"}}}
    begun = world.client.post("/v1/transactions", {"gid": "newer", "mode": "saga", "steps": steps, "input": {}})
    assert begun.status in (201, 202), begun

    def made_newer():
        return world.rows("UPDATE sagad.transaction SET format = 99 WHERE gid = 'newer' AND owner IS NULL"
                          " AND due_at < now() + interval '1 h' RETURNING version")

    version = until(made_newer, 15, 0.01)[0][0]
    stub.on("/wait", Reply(200))
    calls = len(stub.seen("/wait"))
    time.sleep(2.5)
    assert world.rows("SELECT version, stuck, owner FROM sagad.transaction WHERE gid = 'newer'") == [
        (version, "none", None)]
    assert len(stub.seen("/wait")) == calls
    world.execute("UPDATE sagad.transaction SET format = 1 WHERE gid = 'newer'")
    assert world.client.ended("newer")["phase"] == "confirmed"


def test_a_schema_that_is_too_new_is_refused(make_world):
    world = make_world(replicas=2)
    world.settled()
    with psycopg.connect(world.direct, autocommit=True) as db:
        db.execute("INSERT INTO sagad.schema_version (version, name, checksum, applied_at, oldest)"
                   " VALUES (%s, 'contract', 'x', now(), %s)", (KNOWN + 1, KNOWN + 1))
    for command in ("run", "check", "migrate"):
        status, said = run(SAGAD, command, world, f"--listen=127.0.0.1:{free_port()}",
                           f"--ops-listen=127.0.0.1:{free_port()}")
        assert status == REFUSED and f"version {KNOWN + 1}" in said and "run a newer sagad" in said, said
    # Those that run go on, also over new connections.
    with world.load(clients=4):
        world.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'sagad %'"
                      " AND datname = current_database()")
        world.flowing()
    world.verify()
