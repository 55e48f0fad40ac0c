# SPDX-License-Identifier: Apache-2.0
"""Three replicas that take a second of DTM's protocol for 20 ms, shared by the tests of a worker."""
import pytest

from lib.dtm import Dtm, make_cluster


@pytest.fixture(scope="session")
def dtm_cluster(postgres):
    cluster, remove = make_cluster(postgres)
    yield cluster
    remove()


@pytest.fixture
def dtm(dtm_cluster, stub, gid):
    """dtm("saga", **options) is one global transaction of this test."""
    def make(kind, gid=gid, **options):
        return Dtm(dtm_cluster.client, stub, kind, gid, **options)

    return make
