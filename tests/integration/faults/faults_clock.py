# SPDX-License-Identifier: Apache-2.0
"""Clocks that somebody sets: the database's, and those of replicas."""
import time

from .faults_database import flowing
from .world import fault


def jump(world, seconds):
    world.clock += seconds
    world.postgres.set_clock(world.clock)


@fault("the database's clock is set forward", needs=["clock"])
def clock_forward(world, rng):
    jump(world, rng.choice([0.5 * world.ttl, 2 * world.ttl, 3600]))
    time.sleep(world.ttl * rng.uniform(0.5, 1.5))
    return flowing(world, "clock forward")


@fault("the database's clock is set back", needs=["clock"])
def clock_back(world, rng):
    """Not by much: what is due at a time is so much later due."""
    jump(world, -rng.choice([0.5 * world.ttl, 2 * world.ttl, 8]))
    time.sleep(world.ttl * rng.uniform(0.5, 1.5))
    return flowing(world, "clock back")


@fault("replicas' clocks jump", needs=["clocks"], whole=False)
def replicas_clocks_jump(world, rng):
    """Each by hours, once or twice: that is nothing to anybody."""
    lives = {r.url: world.incarnation(r) for r in world.living}
    for _ in range(2):
        for r in rng.sample(world.living, rng.randrange(1, len(world.living) + 1)):
            world.clocks[r.number].write_text(f"{rng.uniform(-10, 10):+.3f}h\n")
        time.sleep(1.2)  # it is looked at once a second
    assert lives == {r.url: world.incarnation(r) for r in world.living}, "somebody lost his life for it"
