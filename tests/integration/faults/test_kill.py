# SPDX-License-Identifier: Apache-2.0
"""Processes that die without a word."""
from .modes import both_modes


@both_modes
def test_kill_9_of_one_replica(make_world, mode):
    w = make_world(mode=mode)
    w.settled()
    with w.load() as load:
        while load.accepted() < 40:
            pass
        killed = w.replicas[0].kill()
        first = w.first_adopted(killed, within=w.ttl + 3)
        w.flowing()
    print(f"kill -9 → first adopted call: {first * 1000:.0f} ms; {w.verify()}")
    assert first < (0.5 if mode == "lock" else w.ttl + 1.5) + 1.0
