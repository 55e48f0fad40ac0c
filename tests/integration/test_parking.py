# SPDX-License-Identifier: Apache-2.0
"""Transactions that sleep leave memory, and come back."""
from lib.base import until
from lib.postgres import value
from lib.stub import Reply


def test_sleeping_transactions_are_parked_and_taken_up_again(make_cluster, stub):
    cluster = make_cluster(flags=["--park-after=500ms"])
    stub.on("/a", Reply(202, Retry_After=3), Reply(200))
    client = cluster.client
    client.begin(gid="sleeper", mode="saga", input={},
                 steps={"a": {"action": {"url": stub.url + "/a"}, "compensate": {"url": stub.url + "/undo"}}})
    until(lambda: value(cluster.dsn, "SELECT owner IS NULL AND due_at IS NOT NULL FROM sagad.transaction WHERE gid = 'sleeper'"), 3)
    assert client.transaction("sleeper")["phase"] == "trying"
    assert client.ended("sleeper")["phase"] == "confirmed"


def test_commands_on_a_parked_transaction(make_cluster, stub):
    cluster = make_cluster(flags=["--park-after=200ms"])
    client = cluster.client
    client.begin(gid="open", mode="tcc", deadline="10m", input={})
    until(lambda: value(cluster.dsn, "SELECT owner IS NULL FROM sagad.transaction WHERE gid = 'open'"), 5)
    joined = client.post("/v1/transactions/open/steps",
                         {"name": "s", "confirm": {"url": stub.url + "/c"}, "cancel": {"url": stub.url + "/u"}})
    assert joined.status == 201, joined
    until(lambda: value(cluster.dsn, "SELECT owner IS NULL FROM sagad.transaction WHERE gid = 'open'"), 5)
    assert client.post("/v1/transactions/open/confirm").status in (200, 202)
    assert client.ended("open")["phase"] == "confirmed"
    assert [c.path for c in stub.calls] == ["/c"]
