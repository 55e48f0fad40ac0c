# SPDX-License-Identifier: Apache-2.0
"""Participants that hang, babble, vanish or come late. Each fault ends with honest ones, and a person who looks after
what they left stuck."""
import signal
import time

from lib.base import until
from .manners import MANNERS, Moody
from .participant import Reply
from .world import fault


def put_right(world, within=20):
    """What a person does when participants keep the contract again: retries what is stuck."""
    def nothing_stuck():
        left = world.rows("SELECT gid FROM sagad.transaction WHERE stuck <> 'none' AND ended_at IS NULL")
        for gid, in left:
            world.client.post(f"/v1/transactions/{gid}/retry", {"reason": "it was put right"})
        return not left
    until(nothing_stuck, within, 0.5)


def behaves(name):
    def rude(world, rng):
        """Some of its calls, or all, for some seconds."""
        world.participant.answer("*", Moody(rng.random(), [name], rng.choice([0.3, 0.7, 1.0])))
        time.sleep(2 + 3 * rng.random())
        world.participant.answer("*")
        put_right(world)
    return rude


for _name in MANNERS:
    if _name not in ("is late", "closes", "says 503"):  # which have faults of their own
        fault(f"participant {_name}")(behaves(_name))


@fault("participant has every bad manner")
def every_bad_manner(world, rng):
    world.participant.answer("*", Moody(rng.random(), share=0.5))
    time.sleep(5 + 5 * rng.random())
    world.participant.answer("*")
    put_right(world)


@fault("participant frozen")
def participant_frozen(world, rng):
    """Longer than the time-out of a call: it does what it was asked when it is thawed."""
    world.busy()
    world.participant.signal(signal.SIGSTOP)
    time.sleep(3.5 + 2 * rng.random())
    world.participant.signal(signal.SIGCONT)


@fault("participant answers 200 after the time-out")
def participant_late(world, rng):
    world.participant.latency(3.2)
    time.sleep(4 + 2 * rng.random())
    world.participant.latency(0)


@fault("participant away")
def participant_away(world, rng):
    """It hangs up, or has no time."""
    world.participant.answer("*", rng.choice([Reply(503), Reply(drop=True)]))
    time.sleep(2 + 3 * rng.random())
    world.participant.answer("*")


@fault("participant flaps")
def participant_flaps(world, rng):
    """Its process dies and comes back, several times a second."""
    end = time.monotonic() + 3 + 3 * rng.random()
    while time.monotonic() < end:
        world.participant.down()
        time.sleep(0.3 * rng.random())
        world.participant.up()
        time.sleep(0.3 * rng.random())


@fault("participant down for minutes")
def participant_down(world, rng):
    """Connections are refused. Deadlines pass meanwhile, and those transactions are cancelled when it is back."""
    world.participant.down()
    try:
        time.sleep(rng.choice([15, 75, 150]))
    finally:
        world.participant.up()
    put_right(world)


@fault("participant's name does not resolve", whole=False)
def participant_without_a_name(world, rng):
    """Nobody knows its address until the deadline: every step of it is cancelled, by way of a name that resolves."""
    gids = [f"nameless-{time.monotonic_ns()}-{i}" for i in range(20)]
    undo = {"url": world.participant.url + "/ok/a"}
    for gid in gids:
        lost = {"url": f"http://shop-{rng.randrange(5)}.invalid:8080/a", "timeout": "3s"}
        begun = world.insist("/v1/transactions", {
            "gid": gid, "mode": "saga", "input": {}, "deadline": "2s",
            "steps": {"a": {"action": lost, "compensate": undo, "retry": {"initial": "100ms", "max": "500ms"}}}})
        assert begun.status < 300, begun

    def cancelled():
        return world.value("SELECT count(*) FROM sagad.transaction WHERE gid = ANY(%s) AND phase = 'cancelled'",
                           gids) == len(gids)
    until(cancelled, 20)
    seen = {(c.gid, c.op) for c in world.participant.calls()}
    assert all((gid, "cancel") in seen and (gid, "try") not in seen for gid in gids)
