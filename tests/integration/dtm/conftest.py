# SPDX-License-Identifier: Apache-2.0
"""Three replicas that take a second of DTM's protocol for 20 ms, shared by the tests of a worker. They are the sanitized ones: what
clients may send is read by them, and these tests wait more than they work. Those that are killed are not."""
import psycopg
import pytest

from lib.base import ASAN_BIN, BIN
from lib.dtm import Dtm, make_cluster
from lib.dtm_xa import XaBank
from lib.postgres import Postgres


@pytest.fixture(scope="session")
def dtm_cluster(postgres):
    # Who compiled the plain one alone since then wants to see what he has just written.
    built = [(folder / "sagad").stat().st_mtime for folder in (BIN, ASAN_BIN)]
    cluster, remove = make_cluster(postgres, sanitized=built[1] >= built[0])
    yield cluster
    remove()


@pytest.fixture
def dtm(dtm_cluster, stub, gid):
    """dtm("saga", **options) is one global transaction of this test."""
    def make(kind, gid=gid, **options):
        return Dtm(dtm_cluster.client, stub, kind, gid, **options)

    return make


@pytest.fixture(scope="session")
def xa_server(worker):
    """A PostgreSQL that can prepare; made for those who ask for it."""
    made = Postgres(f"dtm-xa-{worker}")
    with psycopg.connect(made.server, autocommit=True) as db:
        db.execute("ALTER SYSTEM SET max_prepared_transactions = 50")
    made.stop()
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="session")
def xa_banks(xa_server, tmp_path_factory):
    """Two services, each with a database there."""
    folder = tmp_path_factory.mktemp("banks")
    made = [XaBank(xa_server.new_database(), account, folder) for account in ("out", "in")]
    yield made
    for bank in made:
        bank.close()
