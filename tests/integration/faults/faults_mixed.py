# SPDX-License-Identifier: Apache-2.0
"""Everything at once."""
import random
import signal
import threading
import time

from lib.proxy import KINDS
from .faults_database import server_away
from .faults_clients import contradiction, the_same_gid
from .faults_participants import put_right
from .faults_sessions import terminate_sessions
from .manners import Moody
from .world import fault


class Gremlin(threading.Thread):
    """Does one kind of harm again and again until it is told to stop, and mends the last of it."""

    def __init__(self, harm, seed, until):
        super().__init__()
        self.harm, self.rng, self.until, self.failed = harm, random.Random(seed), until, None

    def run(self):
        try:
            while time.monotonic() < self.until:
                time.sleep(1.5 * self.rng.random())
                self.harm(self.rng)
        except Exception as e:  # told by whoever joins
            self.failed = e


def harms(world):
    """Processes die, processes stand still, sessions break or are ended, participants are rude and clients contradict each
    other: functions of a random source."""
    def die(rng):
        victim = rng.choice(world.replicas)
        if rng.random() < 0.5 and len(world.living) > 1 and victim in world.living:
            victim.kill()
        elif victim not in world.living:
            victim.start()

    def stand_still(rng):
        victim = rng.choice(world.replicas)
        victim.signal(signal.SIGSTOP)
        time.sleep(world.ttl * 1.6 * rng.random())
        victim.signal(signal.SIGCONT)

    def break_sessions(rng):
        door, kind = rng.randrange(len(world.replicas)), rng.choice([*KINDS, None])
        way = rng.choice(["cut", "both", "up", "down", "slow"])
        if way == "cut":
            world.proxy.cut(kind, door)
        elif way == "slow":
            world.proxy.slow(kind, rng.choice([50, 300]), door)
        else:
            world.proxy.black_hole(kind, door, way)
        time.sleep(world.ttl * 1.6 * rng.random())
        world.proxy.restore(forget=rng.random() < 0.3)

    def be_rude(rng):
        world.participant.answer("*", Moody(rng.random(), share=rng.choice([0.2, 0.6])))
        time.sleep(3 * rng.random())
        world.participant.answer("*")

    def end_sessions(rng):
        terminate_sessions(world, rng)

    def contradict(rng):
        rng.choice([contradiction, the_same_gid])(world, rng, alone=False)

    return [die, stand_still, break_sessions, be_rude, end_sessions, contradict]


def all_at_once(world, rng, of, seconds=10, meanwhile=lambda: None):
    """Each harm whenever it likes; then everybody is back."""
    until = time.monotonic() + seconds
    gremlins = [Gremlin(harm, rng.random(), until) for harm in of]
    for g in gremlins:
        g.start()
    try:
        meanwhile()
    finally:
        for g in gremlins:
            g.join()
        world.proxy.restore()
    for g in gremlins:
        if g.failed:
            raise g.failed
    world.restore()
    put_right(world)


@fault("everything at once", needs=["proxy", "postgres"])
def everything(world, rng):
    """Most of it, each whenever it likes, and the database restarts."""
    def restart(rng):
        time.sleep(2 * rng.random())
        with server_away(world):
            time.sleep(rng.choice([0, 0, 1, 3]) * rng.random())

    all_at_once(world, rng, rng.sample([*harms(world), restart], rng.randrange(3, 8)))
