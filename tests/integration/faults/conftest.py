# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the fault suite."""
import functools
import shutil
import subprocess

import pytest

from lib.base import BIN
from .modes import both_modes  # noqa: F401  pylint: disable=unused-import
from .world import World


# Whatever takes long begins early: the last worker has nobody to share with.
LONG_ONES = ["test_failover.py", "test_scale.py", "test_clock.py", "test_database.py", "test_sessions.py", "test_kill.py",
             "test_freeze.py", "test_upgrade.py"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG_ONES.index(item.path.name) if item.path.name in LONG_ONES else len(LONG_ONES))


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
