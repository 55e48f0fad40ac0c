# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the fault suite."""
import collections
import functools
import pathlib
import shutil
import subprocess

import pytest

from lib.base import BIN
from .modes import both_modes  # noqa: F401  pylint: disable=unused-import
from .world import World


SHORT_ONES = ("test_chaos.py", "test_clients.py", "test_drain.py", "test_ledger.py", "test_participant.py",
              "test_participants.py")


def pytest_collection_modifyitems(items):
    """Short ones last, so that no worker is alone at the end; and each file evenly spread, as some only sleep and
    others make whole database servers."""
    ours = [i for i in items if i.path.parent == pathlib.Path(__file__).parent]
    size, seen, place = collections.Counter(i.path for i in ours), collections.Counter(), {}
    for i in ours:
        place[i] = (i.path.name in SHORT_ONES, seen[i.path] / size[i.path])
        seen[i.path] += 1
    items[:] = sorted(ours, key=place.get) + [i for i in items if i not in place]


@functools.lru_cache
def knows_modes():
    got = subprocess.run([BIN / "sagad", "--help"], stdout=subprocess.PIPE, text=True, check=True)
    return "lease.mode" in got.stdout


@pytest.fixture
def make_world(request, database, postgres):
    """A world that this test alone uses and may hurt."""
    made = []

    def make(**more):
        if more.get("mode", "lock") != "lock" and not knows_modes():
            pytest.skip("this sagad has one lease mode")
        more.setdefault("postgres", postgres)
        made.append(World(more.pop("dsn", database), **more))
        return made[-1]

    yield make
    for world in made:
        world.close()
    if getattr(request.node, "has_passed", False):  # else its logs may tell why
        for world in made:
            shutil.rmtree(world.cluster.folder)
