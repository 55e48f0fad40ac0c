# SPDX-License-Identifier: Apache-2.0
"""Processes that stand still and then go on as if nothing had been."""
import signal
import time

from lib.base import until
from .modes import both_modes
from .test_kill import MACHINE, bound_of_silence, pick, run
from .world import fault

CALLED = "SIGSTOP → first adopted call, s"
ALL_BUT_ONE = "all but one frozen → first adopted call, s"


def thaw(world, victims, olds):
    """SIGCONT; then they must do nothing in the name of who they were, and come back as others."""
    journals = [world.value("SELECT count(*) FROM sagad.journal WHERE replica = %s::uuid", old) for old in olds]
    before = world.value("SELECT extract(epoch FROM clock_timestamp())::float8")
    thawed = time.monotonic()
    for v in victims:
        v.signal(signal.SIGCONT)
    for v, old in zip(victims, olds):
        assert until(lambda v=v: world.incarnation(v), world.ttl + 10) != old
        v.ready(15)
    time.sleep(0.3)  # what they may have left to say in their old names
    for v, old, seen in zip(victims, olds, journals):
        nothing_of(world, v, old, before, thawed, seen)


def nothing_of(world, replica, old, before, thawed, seen):
    """Rows, journal and participants heard nothing of that incarnation since."""
    late = world.rows("SELECT gid, version, epoch FROM witness.history WHERE owner = %s::uuid"
                      " AND extract(epoch FROM at) > %s", old, before)
    assert late == [], f"the thawed replica wrote {late[:5]}"
    assert world.value("SELECT count(*) FROM sagad.journal WHERE replica = %s::uuid", old) == seen
    held = {(g, e) for g, e in world.rows("SELECT gid, epoch FROM witness.history WHERE owner = %s::uuid", old)}
    late = [c for c in world.participant.calls(since=thawed) if c.replica == replica.url and (c.gid, c.epoch) in held]
    assert late == [], f"the thawed replica called {late[:5]}"


@fault("freeze one", whole=False, promises={CALLED: bound_of_silence})
def freeze_one(world, rng):
    victim, = pick(world, rng, 1)
    world.busy(victim)
    old = world.incarnation(victim)
    frozen = world.freeze(victim)
    first = world.first_adopted(frozen, within=world.ttl + 6)
    until(lambda: world.owned_by(old) == 0, 15)
    time.sleep(0.3 * world.ttl * rng.random())
    thaw(world, [victim], [old])
    return {CALLED: first}


@fault("freeze all but one", whole=False, promises={ALL_BUT_ONE: bound_of_silence})
def freeze_all_but_one(world, rng):
    victims = pick(world, rng, len(world.living) - 1)
    world.busy(*victims)
    olds = [world.incarnation(v) for v in victims]
    frozen = [world.freeze(v) for v in victims]
    first = world.first_adopted(frozen[-1], within=world.ttl + 6)
    until(lambda: all(world.owned_by(old) == 0 for old in olds), 20)
    thaw(world, victims, olds)
    return {ALL_BUT_ONE: first}


@fault("freeze all")
def freeze_all(world, rng):
    """A laptop that slept: nobody is there to take over, and all wake at once."""
    world.busy()
    every = world.living
    for r in every:
        world.freeze(r)
    time.sleep(world.ttl * (1.1 + rng.random()))
    for r in every:
        r.signal(signal.SIGCONT)
    for r in every:
        r.ready(30)


@fault("flicker", whole=False)
def flicker(world, rng):
    """Frozen again and again in the middle of calls, for less than a TTL, about one, and more."""
    for share in (0.4, 0.85, 1.1):
        victims = pick(world, rng, max(1, len(world.living) // 2))
        for v in victims:
            world.freeze(v)
        time.sleep(world.ttl * (share + 0.15 * rng.random()))
        for v in victims:
            v.signal(signal.SIGCONT)
        time.sleep(0.5 * rng.random())
    for r in world.living:
        r.ready(30)


@both_modes
def test_frozen_beyond_its_lease_it_writes_nothing_calls_nobody_and_is_another(make_world, mode):
    world = make_world(mode=mode)
    figures, report = run(world, freeze_one)
    assert figures[CALLED] <= bound_of_silence(world) + MACHINE
    assert report.takeovers > 0


@both_modes
def test_all_but_one_frozen(make_world, mode):
    world = make_world(mode=mode)
    figures, _ = run(world, freeze_all_but_one)
    assert max(figures.values()) <= bound_of_silence(world) + MACHINE


@both_modes
def test_all_frozen(make_world, mode):
    run(make_world(mode=mode), freeze_all)


@both_modes
def test_frozen_again_and_again_in_the_middle_of_calls(make_world, mode):
    run(make_world(mode=mode, replicas=4), flicker)


@both_modes
def test_a_short_freeze_costs_nobody_his_life(make_world, mode):
    """Much less than a TTL: the same incarnation goes on."""
    world = make_world(mode=mode)

    def blink(_world, rng):
        before = {r.url: world.incarnation(r) for r in world.living}
        for r in world.living:
            world.freeze(r)
            time.sleep(world.ttl * (0.1 + 0.1 * rng.random()))
            r.signal(signal.SIGCONT)
        time.sleep(world.ttl)
        assert {r.url: world.incarnation(r) for r in world.living} == before

    run(world, blink)
    assert world.value("SELECT count(*) FROM sagad.replica WHERE state = 'fenced'") == 0
