# SPDX-License-Identifier: Apache-2.0
"""Processes that die without a word: one, all but one, all, and at every bad moment."""
import random
import time

from lib.base import until
from .modes import both_modes
from .world import fault

# What is promised is 500 ms in lock mode, and TTL + 1.5 s where a lease must run out; the rest is this machine's.
MACHINE = 1.0
CALLED = "kill -9 → first adopted call, s"


def bound(world):
    return 0.5 if world.mode == "lock" else bound_of_silence(world)


def bound_of_silence(world):
    """A lease has to run out."""
    return world.ttl + 1.5


def pick(world, rng, count):
    return rng.sample(world.living, count)


@fault("kill one", whole=False, promises={CALLED: bound})
def kill_one(world, rng):
    victim, = pick(world, rng, 1)
    world.busy(victim)
    return {CALLED: world.first_adopted(victim.kill(), within=bound(world) + 5)}


ALL_BUT_ONE = "kill all but one → first adopted call, s"


@fault("kill all but one", whole=False, promises={ALL_BUT_ONE: bound_of_silence})
def kill_all_but_one(world, rng):
    victims = pick(world, rng, len(world.living) - 1)
    world.busy(*victims)
    killed = [v.kill() for v in victims]
    return {ALL_BUT_ONE: world.first_adopted(killed[-1], within=bound(world) + 5)}


@fault("kill all", whole=False)
def kill_all(world, rng):
    world.busy()
    for r in pick(world, rng, len(world.living)):
        r.kill()
    time.sleep(rng.choice([0, 0.3]))
    began = time.monotonic()
    world.restore()
    # Each is new: it fences the dead only when it has held its own lease for a TTL.
    return {"all killed, restart → first adopted call, s": world.first_adopted(began, within=2 * world.ttl + 10)}


@fault("kill during start-up", whole=False)
def kill_during_start(world, rng):
    victim, = pick(world, rng, 1)
    victim.kill()
    for moment in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5):
        victim.start()
        time.sleep(moment * (0.5 + rng.random()))
        victim.kill()


@fault("kill during adoption", whole=False)
def kill_during_adoption(world, rng):
    """The first who takes rows over dies in turn, with what it took."""
    first, = pick(world, rng, 1)
    world.busy(first, rows_each=6)
    old = world.incarnation(first)
    theirs = [gid for gid, in world.rows("SELECT gid FROM sagad.transaction WHERE owner = %s::uuid", old)]
    killed = first.kill()
    heir = until(lambda: world.rows(
        "SELECT m.address FROM sagad.transaction t JOIN sagad.replica m ON m.id = t.owner"
        " WHERE t.gid = ANY(%s) AND t.owner <> %s::uuid LIMIT 1", theirs, old), bound(world) + 5, 0.002)
    second = next(r for r in world.living if r.url == heir[0][0])
    second.kill()
    return {CALLED: world.first_adopted(killed, within=bound(world) + 5)}


@fault("kill during drain", whole=False)
def kill_during_drain(world, rng):
    victim, = pick(world, rng, 1)
    world.busy(victim)
    victim.process.terminate()
    time.sleep(0.2 * rng.random())
    victim.kill()


def run(world, hurt, seed=1, clients=10, back=False):
    """One fault under load; then everything that is left goes on, and it balances. back: those who were hurt, too."""
    world.settled()
    with world.load(clients):
        figures = hurt(world, random.Random(seed)) or {}
        world.flowing(within=2 * world.ttl + 10)
        if back:
            world.restore()
            world.flowing()
    report = world.verify()
    print(world.mode, hurt.__name__, {k: round(v, 3) for k, v in figures.items()}, report)
    return figures, report


@both_modes
def test_kill_9_of_one_replica(make_world, mode):
    world = make_world(mode=mode)
    figures, report = run(world, kill_one, back=True)
    assert figures[CALLED] <= bound(world) + MACHINE
    assert report.takeovers > 0
    assert world.value("SELECT count(*) FROM sagad.replica WHERE state = 'fenced'") == 1


@both_modes
def test_kill_9_of_all_but_one(make_world, mode):
    world = make_world(mode=mode, replicas=4)
    figures, report = run(world, kill_all_but_one)
    # Its watcher dies with each but one: the last finds them by asking.
    assert max(figures.values()) <= bound_of_silence(world) + MACHINE
    assert report.takeovers > 0


@both_modes
def test_kill_9_of_all_at_once_and_a_restart(make_world, mode):
    world = make_world(mode=mode)
    figures, report = run(world, kill_all)
    assert max(figures.values()) <= 2 * world.ttl + 3 + MACHINE
    assert report.takeovers > 0


@both_modes
def test_kill_9_during_start_up(make_world, mode):
    run(make_world(mode=mode), kill_during_start, back=True)


@both_modes
def test_kill_9_during_adoption(make_world, mode):
    _, report = run(make_world(mode=mode, replicas=4), kill_during_adoption)
    assert report.takeovers > 0


@both_modes
def test_kill_9_during_drain(make_world, mode):
    run(make_world(mode=mode), kill_during_drain)
