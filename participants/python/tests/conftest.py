# SPDX-License-Identifier: Apache-2.0
"""The package as it stands in the tree; the vectors beside it."""
import json
import pathlib
import sqlite3
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

import sagad  # noqa: E402


def vectors(name):
    return json.loads((HERE.parents[1] / "vectors" / f"{name}.json").read_text(encoding="utf-8"))


def named(case):
    return case["name"].replace(" ", "-")


@pytest.fixture
def db():
    """A service's database, with the barrier and a table for what it does."""
    made = sqlite3.connect(":memory:", check_same_thread=False)
    sagad.Barrier(made).setup()
    made.execute("CREATE TABLE effect (what TEXT)")
    made.commit()
    yield made
    made.close()


@pytest.fixture
def effects(db):
    return lambda: [row[0] for row in db.execute("SELECT what FROM effect ORDER BY rowid")]


@pytest.fixture
def service(db):
    """Each call gets the one connection of the test."""
    return sagad.Participant(lambda: db, release=lambda used: None)


def headers(op="try", gid="g-1", **more):
    return {"Saga-Id": gid, "Saga-Step": "room", "Saga-Op": op, "Saga-Epoch": "1", "Saga-Attempt": "1", **more}
