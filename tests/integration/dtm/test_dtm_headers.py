# SPDX-License-Identifier: Apache-2.0
"""branch_headers of any size: as many and as long as the request that brings them, to a participant that reads them all."""
import json
import shutil

import pytest

from faults.rude import Rude, answer, certificate
from lib.cluster import Cluster
from lib.dtm import Dtm, error, failure, success

MANY = {f"X-Header-{n}": f"value {n}" for n in range(2000)}
LONG = {"X-Long": "v" * 900_000}
NAMES = {"n" * 20_000: "v"}


@pytest.fixture(scope="module", params=["auto", "curl"])
def world(request, postgres, tmp_path_factory):
    """A replica that calls by this client, and participants in the clear and behind TLS. /no is a FAILURE."""
    dsn, folder = postgres.new_database(), tmp_path_factory.mktemp("tls")
    behave = lambda link, r: answer(link, 409 if r.path.startswith("/no") else 200)  # noqa: E731
    made = {"http": Rude(behave), "https": Rude(behave, tls=certificate(folder, "shop.test"))}
    cluster = Cluster(dsn, count=1, flags=[f"--calls.client={request.param}", f"--calls.ca-file={folder / 'shop.test.pem'}"])
    yield cluster, made
    cluster.stop()
    for participant in made.values():
        participant.close()
    shutil.rmtree(cluster.folder)
    postgres.drop_database(dsn)


BOTH = pytest.mark.parametrize("scheme", ["http", "https"])


@BOTH
@pytest.mark.parametrize("headers", [MANY, LONG, NAMES], ids=["many", "long", "a long name"])
def test_they_arrive_at_every_call(world, gid, scheme, headers):
    cluster, participants = world
    participant = participants[scheme]
    saga = Dtm(cluster.client, participant, "saga", gid, wait_result=True, branch_headers=headers)
    saga.add("/a", "/a-undo").add("/no", "/b-undo", "")  # with a body, and without
    failure(saga.submit(), "HTTP 409")
    calls = participant.seen(gid)
    assert [c.path.split("?")[0] for c in calls] == ["/a", "/no", "/b-undo", "/a-undo"]
    for call in calls:
        assert {name: call.headers.get(name.lower()) for name in headers} == headers
        assert call.headers["content-type"] == "application/json" and call.headers["saga-id"] == gid
    assert json.loads(saga.query()["transaction"]["options"])["branch_headers"] == headers


@BOTH
def test_a_post_without_a_body(world, gid, scheme):
    """As rollbacks and commits of an xa are; then an ordinary call on the same connections."""
    cluster, participants = world
    participant = participants[scheme]
    for n, headers in enumerate((LONG, {"X-A": "b"}, LONG)):
        xa = Dtm(cluster.client, participant, "xa", f"{gid}-{n}", branch_headers=headers)
        success(xa.prepare())
        success(xa.branch("01"))
        success(xa.submit(wait_result=True))
        [call] = participant.seen(xa.gid)
        assert (call.method, call.body, call.headers["content-length"]) == ("POST", b"", "0")
        assert headers.items() <= {k: call.headers.get(k.lower()) for k in headers}.items()


def test_what_joins_is_called_with_them(world, gid):
    cluster, participants = world
    tcc = Dtm(cluster.client, participants["http"], "tcc", gid, branch_headers=MANY)
    success(tcc.prepare())
    for n in range(1, 4):
        success(tcc.branch(f"{n:02}"))
    success(tcc.submit(wait_result=True))
    calls = participants["http"].seen(gid)
    assert len(calls) == 3 and all(MANY.items() <= {k: c.headers.get(k.lower()) for k in MANY}.items() for c in calls)


def test_the_request_alone_is_their_bound(world, gid):
    """Its body has 1 MiB, and the document that is made of it may be longer, with 256 branches."""
    cluster, participants = world
    saga = Dtm(cluster.client, participants["http"], "saga", gid, wait_result=True)
    for _ in range(256):
        saga.add("", "", "")
    room = 2 ** 20 - len(json.dumps(saga.body(branch_headers={"X-Long": ""})))
    success(saga.submit(branch_headers={"X-Long": "v" * room}))
    assert len(json.loads(saga.query()["transaction"]["options"])["branch_headers"]["X-Long"]) == room
    assert saga.submit(gid=gid + "-2", branch_headers={"X-Long": "v" * (room + 1)}).status == 413


def test_so_many_that_differ_in_case_alone(world, gid):
    """The last one counts. Found in one pass: 2 ** 15 names compared with each other would take the test's time."""
    cluster, participants = world
    name = "abcdefghijklmno"
    cases = ["".join(c.upper() if n >> i & 1 else c for i, c in enumerate(name)) for n in range(2 ** len(name))]
    saga = Dtm(cluster.client, participants["http"], "saga", gid, wait_result=True, branch_headers={n: str(i) for i, n in enumerate(cases)})
    success(saga.add("/a", "", "").submit())
    [call] = participants["http"].seen(gid)
    assert call.headers[name] == str(2 ** len(name) - 1)


def test_our_own_api_has_its_own_bounds(world, gid):
    """What this protocol brings is not let in elsewhere."""
    client = world[0].client
    steps = {"a": {"action": {"url": "http://127.0.0.1:9/a"}, "compensate": {"nothing": True}}}
    for headers, text in ((MANY, "at most 64 headers"), (LONG, "262144 bytes"), (NAMES, "no header name")):
        answer_ = client.begin(gid=gid, mode="saga", steps=steps, defaults={"headers": headers}, input={})
        assert answer_.status == 422 and text in answer_.text, answer_
    for send in (lambda: client.begin(gid=gid, mode="saga", steps=steps, literal_headers={"X-A": "b"}, input={}),
                 lambda: client.put("/v1/definitions/literal", {"mode": "saga", "steps": steps, "literal_headers": {"X-A": "b"}})):
        answer_ = send()
        assert answer_.status in (400, 422) and "literal_headers" in answer_.text, answer_
    answer_ = client.begin(gid=gid, mode="tcc", deadline="1m", joined=[{"name": "a", "confirm": {"nothing": True}, "cancel": {"nothing": True}}])
    assert answer_.status == 400 and "/joined" in answer_.text, answer_
    error(Dtm(client, world[1]["http"], "saga", gid, branch_headers={"X-A": "\n"}).add("/a").submit(), "X-A")
