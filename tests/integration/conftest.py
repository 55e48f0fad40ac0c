# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests. Each worker has a PostgreSQL, or databases, of its own."""
import importlib.util
import itertools
import os
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lib.base import ASAN_BIN, BIN  # noqa: E402
from lib.cluster import Cluster  # noqa: E402
from lib.mariadb import Mariadb  # noqa: E402
from lib.postgres import GivenPostgres, Postgres  # noqa: E402
from lib.proxy import Proxy  # noqa: E402
from lib.stub import Stub  # noqa: E402

_gids = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "needs_server_control: stops or starts the database server (skipped with SAGAD_TEST_DSN)")


def pytest_collection_modifyitems(items):
    if os.environ.get("SAGAD_TEST_DSN"):
        skip = pytest.mark.skip(reason="SAGAD_TEST_DSN: that server is not ours to stop")
        for item in items:
            if "needs_server_control" in item.keywords:
                item.add_marker(skip)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    done = yield
    if call.when == "call":
        item.has_passed = done.get_result().passed


def tidy_up(request, clusters):
    """After a test: logs are kept for those that failed."""
    for cluster in clusters:
        cluster.stop()
    if getattr(request.node, "has_passed", False):
        for cluster in clusters:
            shutil.rmtree(cluster.folder)


def pytest_sessionstart(session):
    if not (BIN / "sagad").exists():
        pytest.exit(f"{BIN}/sagad is not there: run ./dev build, or ./dev test e2e", 1)
    if not (ASAN_BIN / "sagad").exists():
        pytest.exit(f"{ASAN_BIN}/sagad is not there: run ./dev test asan e2e, or set SAGAD_ASAN_BIN=build/plain", 1)


@pytest.fixture(scope="session")
def worker(request):
    return getattr(request.config, "workerinput", {}).get("workerid", "gw0")


@pytest.fixture(scope="session")
def postgres(worker):
    given = os.environ.get("SAGAD_TEST_DSN")
    server = GivenPostgres(given) if given else Postgres(worker)
    yield server
    server.close()


@pytest.fixture(scope="session")
def mariadb(worker):
    """Made for those that ask for it; most workers never do."""
    server = Mariadb(worker)
    yield server
    server.close()


@pytest.fixture
def story(request):
    """story.py of the example that is the FOLDER of the test's module."""
    folder = request.module.FOLDER
    spec = importlib.util.spec_from_file_location(f"{folder.name}_story", folder / "story.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def database(postgres):
    """The DSN of an empty database."""
    dsn = postgres.new_database()
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture
def proxy(database):
    """Before that database. Ask for it before make_cluster, so that replicas can leave in order."""
    made = Proxy(database)
    yield made
    made.close()


@pytest.fixture
def make_cluster(request, database):
    """A cluster that this test alone uses and may hurt."""
    made = []

    def make(**more):
        made.append(Cluster(more.pop("dsn", database), **more))
        return made[-1]

    yield make
    tidy_up(request, made)


@pytest.fixture(scope="session")
def cluster(postgres):
    """Three healthy replicas that the tests of one worker share; nobody hurts them."""
    dsn = postgres.new_database()
    made = Cluster(dsn)
    yield made
    made.stop()
    shutil.rmtree(made.folder)
    postgres.drop_database(dsn)


@pytest.fixture
def client(cluster):
    return cluster.client


@pytest.fixture
def stub():
    made = Stub()
    yield made
    made.close()


@pytest.fixture
def gid(request):
    """A global id that says which test made it."""
    return f"{request.node.name[:60].replace('[', '-').replace(']', '').replace(' ', '-')}-{next(_gids)}"
