# SPDX-License-Identifier: Apache-2.0
"""Clocks that lie: hours apart, jumping, and every zone another. The database's clock is the only one that counts."""
import datetime
import glob
import json
import time

import pytest

from lib.base import until
from lib.postgres import Postgres
from .modes import both_modes
from .test_freeze import CALLED as FROZEN, freeze_one
from .test_kill import CALLED, MACHINE, bound, kill_one, run
from .participant import Reply

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), None)
OFFSETS = ("+3h", "-5h", "+0")
ZONES = ("Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati")
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian: faketime)")


def lying(number):
    """The environment of replica number n. Intervals stay true, as they do on a machine whose clock is set wrong."""
    return {"LD_PRELOAD": LIBRARY, "FAKETIME": OFFSETS[number % 3], "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": ZONES[number % 3], "PGTZ": ZONES[(number + 1) % 3]}


@pytest.fixture
def lying_world(make_world):
    def make(**more):
        world = make_world(env_of=lying, **more)
        # Each session starts in a zone that is nobody else's.
        name = world.value("SELECT current_database()")
        world.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
        return world
    return make


def near(text, at, slack=3.0):
    return abs(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() - at) < slack


def own_times(replica):
    """What the replica's own clock said, as its log lines tell."""
    return [json.loads(line)["Timestamp"] for line in replica.log().splitlines() if line.startswith("{")]


@both_modes
def test_kill_9_and_freeze_with_clocks_hours_apart(lying_world, mode):
    world = lying_world(mode=mode)
    for r in world.replicas:  # else nothing would be proved
        wrong = {"+3h": 10800, "-5h": -18000, "+0": 0}[lying(r.number)["FAKETIME"]]
        assert near(own_times(r)[0], time.time() + wrong, 60)
    killed, report = run(world, kill_one, back=True)
    assert killed[CALLED] <= bound(world) + MACHINE and report.takeovers > 0
    frozen, _ = run(world, freeze_one)
    assert frozen[FROZEN] <= world.ttl + 1.5 + MACHINE


def test_times_mean_the_same_on_every_replica(lying_world):
    """Deadlines, delays, back-off and parking come when they are due, whoever drives; and shown times are the database's."""
    world = lying_world(flags=["--park-after=300ms"])
    p, client, began = world.participant, world.client, time.time()
    p.answer("/ok/never", Reply(503))
    for r in world.replicas:
        p.answer(f"/ok/busy{r.number}", Reply(503, headers={"Retry-After": "2"}), Reply(200))
        for gid, path, more in ((f"retry-{r.number}", f"busy{r.number}", {}), (f"late-{r.number}", "never", {"deadline": "3s"})):
            answer = client.post("/v1/transactions", {
                "gid": gid, "mode": "saga", "input": {}, **more, "steps": {
                    "a": {"action": {"url": f"{p.url}/ok/{path}"}, "compensate": {"url": p.url + "/ok/undo"}}}}, at=r.at)
            assert answer.status == 201, answer
            assert near(answer.json["created_at"], began), answer
    for r in world.replicas:
        retried = client.transaction(f"retry-{r.number}", wait="10s")
        assert retried["phase"] == "confirmed" and 1.8 < time.time() - began < 6, retried
    for r in world.replicas:
        late = client.transaction(f"late-{r.number}", wait="10s")
        assert late["phase"] == "cancelled" and late["cause"]["kind"] == "deadline", late
        assert 2.8 < time.time() - began < 8
        for other in world.replicas:
            shown = client.get(f"/v1/transactions/late-{r.number}", at=other.at).json
            assert near(shown["created_at"], began) and near(shown["ended_at"], began + 3, 4), shown


@both_modes
def test_a_clock_that_jumps(make_world, tmp_path, mode):
    """An administrator sets a clock, twice, under load: nobody is fenced for it, and nothing runs early or late."""
    offsets = {n: tmp_path / f"clock-{n}" for n in range(3)}
    for path in offsets.values():
        path.write_text("+0\n")
    world = make_world(mode=mode, env_of=lambda number: {
        "LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(offsets[number]), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1"})

    def jump(_world, rng):
        before = {r.url: world.incarnation(r) for r in world.living}
        for offset in ("+2h", "-3h"):
            offsets[rng.randrange(3)].write_text(offset + "\n")
            time.sleep(1.3)
        assert {r.url: world.incarnation(r) for r in world.living} == before

    run(world, jump)
    assert world.value("SELECT count(*) FROM sagad.replica WHERE state = 'fenced'") == 0
    assert any(not near(t, time.time(), 3600) for r in world.replicas for t in own_times(r)), "no clock jumped"


# ---- the database's own clock ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def clocked(worker):
    server = Postgres(f"{worker}-clock", clock=True)
    yield server
    server.close()


@pytest.fixture
def clocked_world(make_world, clocked):
    """Three replicas whose leases are of these modes, on a database whose clock is right."""
    def make(modes):
        clocked.set_clock(0)
        # Its own clock says when a row was written: nothing can be compared with when it was called.
        world = make_world(dsn=clocked.new_database(), postgres=clocked, mode=modes[0], replicas=1, history=False)
        for mode in modes[1:]:
            world.cluster.add(flags=[f"--lease.mode={mode}"])
        return world
    return make


MODES = {"lock": ("lock",) * 3, "row": ("row",) * 3, "both": ("lock", "row", "row")}
modes = pytest.mark.parametrize("modes", MODES.values(), ids=MODES)


@modes
def test_the_databases_clock_jumps(clocked_world, clocked, modes):
    """Forward and back, by more than a lease lasts and by a little less: nobody dies of it, and who dies is found no
    later for it, as when another server takes over whose clock is wrong."""
    world = clocked_world(modes)
    world.settled()
    before = {r.url: world.incarnation(r) for r in world.living}
    with world.load(clients=8, only=["sequence", "tcc", "pivot"]):
        for seconds in (3600, 3600 + 0.9 * world.ttl, 3500):
            clocked.set_clock(seconds)
            until(lambda at=seconds: near(world.value("SELECT clock_timestamp()::text"), time.time() + at), 5)
            time.sleep(0.8)  # judges look every quarter of a second, and twice
        assert world.value("SELECT count(*) FROM sagad.replica WHERE state = 'fenced'") == 0
        assert {r.url: world.incarnation(r) for r in world.living} == before
        victim = world.replicas[-1]
        world.busy(victim)
        killed = victim.kill()
        clocked.set_clock(3400)
        found = world.first_adopted(killed, within=world.ttl + 10)
        until(lambda: world.owned_by(before[victim.url]) == 0, 10)
        fenced = world.rows("SELECT id::text FROM sagad.replica WHERE state = 'fenced'")
        assert fenced == [(before[victim.url],)]
    clocked.set_clock(3605)  # what waits for a time waits by that clock
    report = world.verify()
    print(modes, "kill -9 and a clock set back: first adopted call after", round(found, 3), report)
    assert found <= (0.5 if modes[-1] == "lock" else world.ttl + 1.5) + MACHINE
