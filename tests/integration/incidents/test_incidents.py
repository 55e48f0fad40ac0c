# SPDX-License-Identifier: Apache-2.0
"""Each section of docs/operating.md: broken here on purpose, put right by the commands of the page alone."""
import base64
import hashlib
import hmac
import inspect
import json
import re
import signal
import subprocess
import sys
import threading

import psycopg
import pytest

from lib.base import BIN, until
from lib.client import Client, step_of
from lib.cluster import Cluster
from lib.page import PARTS, Page, sections
from lib.postgres import Pair
from lib.stub import Reply

SLOWLY = {"initial": "1h", "max": "1h", "jitter": "none"}
QUICKLY = {"initial": "20ms", "max": "20ms"}


@pytest.fixture
def open_page(tmp_path, cluster):
    """The section of that title; by default its commands go to the cluster that all share."""
    def make(title, of=None, **env):
        return Page(title, lambda: [r.url for r in (of or cluster).replicas], tmp_path, **env)

    return make


def charge(stub, retry, **more):
    return {"action": {"url": stub.url + "/charge"}, "compensate": {"url": stub.url + "/refund"}, "retry": retry, **more}


def begin(client, gid, **document):
    answer = client.begin(gid=gid, **{"mode": "saga", "input": {}, **document})
    assert answer.status == 201, answer


def fails(client, gid, step="charge"):
    """An attempt of it has failed, and that is durable."""
    until(lambda: step_of(client.transaction(gid), step)["last_error"], 20)


def is_stuck(client, gid, reason):
    until(lambda: (client.transaction(gid)["stuck"] or {}).get("reason") == reason, 20)


def test_every_section_has_all_its_parts_and_a_test():
    found = sections(Page.path)
    assert len(found) >= 10
    text = Page.path.read_text(encoding="utf-8")
    for title, parts in found.items():
        assert tuple(parts) == PARTS, title
        assert parts["Look"] and parts["Do"] and parts["Check"] and not parts["Symptom"], title
        assert all("sagactl" in " ".join(parts[p]) for p in ("Look", "Check")), title
        anchor = re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        assert f"(#{anchor})" in text, f"the table of symptoms leads to {title}"
    others = {title for title, parts in found.items() if not all(line.startswith("sagactl ") for line in parts["Do"])}
    assert (len(found), others) == (16, {"Your token does not work", "The database is read-only", "The synchronous standby is gone"}), \
        "the page says how many are put right by sagactl alone"
    tested = re.findall(r'open_page\(\s*"([^"]+)"', inspect.getsource(sys.modules[__name__]))
    assert sorted(tested) == sorted(found), "page and tests name the same incidents"


# ---- services ------------------------------------------------------------------------------------------


def test_a_service_was_down(open_page, client, stub, gid):
    stub.on("/charge", Reply(503))
    begin(client, gid, steps={"charge": charge(stub, SLOWLY)})
    fails(client, gid)
    page = open_page("A service was down for a long time", GID=gid, SERVICE=stub.host)
    page.look("503", rf"{gid} +trying", r"charge +try +\w+ +in \d+m +1 .*503")
    stub.on("/charge", Reply(200, {"id": 1}))
    page.do()
    assert f"{gid} confirmed" in page.check()


def test_a_cancel_is_answered_404(open_page, client, stub, gid):
    stub.on("/refund", Reply(404))
    stub.on("/hotel", Reply(422))
    begin(client, gid, steps={"charge": charge(stub, QUICKLY),
                              "hotel": {"after": ["charge"], "action": {"url": stub.url + "/hotel"}, "compensate": {"url": stub.url + "/undo"}}})
    is_stuck(client, gid, "misconfigured")
    page = open_page("A service answers 404 to a cancel", GID=gid, STEP="charge")
    page.look("misconfigured", "404", "charge +tried, stuck")
    page.do()
    assert f"{gid} cancelled" in page.check()
    assert step_of(client.transaction(gid), "charge")["resolved"] is True


def test_an_answer_was_lost(open_page, client, stub, gid):
    """The service would fail on every further call: it has the charge already."""
    stub.on("/charge", Reply(500))
    begin(client, gid, output={"receipt": "${steps.charge.output.id}"}, steps={
        "charge": charge(stub, SLOWLY), "mail": {"after": ["charge"], "kind": "retriable", "action": {"url": stub.url + "/mail"}}})
    fails(client, gid)
    page = open_page("A call had its effect, and its answer was lost", GID=gid, STEP="charge", OUTPUT='{"id": "r-17"}')
    page.look("attempt +charge try +unknown 500", "paused")
    page.do()
    printed = page.check()
    assert f"{gid} confirmed" in printed and re.search(r"oncall +resolve .*it is in their books", printed), printed
    assert client.transaction(gid)["output"] == {"receipt": "r-17"}
    assert len(stub.seen("/charge", gid)) == 1, "it was not called once more"


def test_a_step_can_never_succeed(open_page, client, stub, gid):
    stub.on("/mail", Reply(400, {"error": "no such address"}))
    begin(client, gid, steps={"charge": charge(stub, QUICKLY),
                              "mail": {"after": ["charge"], "kind": "retriable", "retry": QUICKLY, "action": {"url": stub.url + "/mail"}}})
    is_stuck(client, gid, "misconfigured")
    page = open_page("A step can never succeed", GID=gid, STEP="mail")
    page.look("misconfigured", "400", "mail +pending, stuck")
    page.do()
    assert f"{gid} confirmed, result mixed" in page.check()
    assert not stub.seen("/refund", gid)


def test_a_definition_calls_the_wrong_place(open_page, client, stub, gid, tmp_path):
    stub.on("/chrage", Reply(404))
    wrong = charge(stub, QUICKLY, action={"url": stub.url + "/chrage"})
    client.define(f"d-{gid}", mode="saga", steps={"charge": wrong})
    assert client.begin(gid=gid, definition=f"d-{gid}", input={}).status == 201
    is_stuck(client, gid, "misconfigured")
    (tmp_path / "right.json").write_text(json.dumps({"name": f"d-{gid}", "mode": "saga", "steps": {"charge": charge(stub, QUICKLY)}}))
    page = open_page("A definition calls the wrong place", GID=gid, STEP="charge", DEFINITION=f"d-{gid}", FILE=tmp_path / "right.json",
                     URL=stub.url + "/charge")
    page.look("404", "/chrage")
    assert f"d-{gid} version 2 registered" in page.do()
    assert page.check().count("confirmed") == 2


def test_calls_are_signed_with_the_wrong_secret(open_page, make_cluster, stub, gid, tmp_path):
    keys = {name: f"the {name} secret of this service".encode() for name in ("old", "new")}
    for name, key in keys.items():
        (tmp_path / name).write_bytes(key)

    def verify(call):
        """As a service does it, that knows the new secret alone."""
        text = b".".join([call.headers["webhook-id"].encode(), call.headers["webhook-timestamp"].encode(), call.body])
        right = base64.b64encode(hmac.new(keys["new"], text, hashlib.sha256).digest()).decode()
        return Reply(200 if call.headers["webhook-signature"] == f"v1,{right}" else 401)

    stub.on("/charge", verify)
    cluster = make_cluster(count=1, flags=[f"--secrets-dir={tmp_path}"])
    client = cluster.client
    assert client.put("/v1/participants/bank", {"base_url": stub.url, "secret": "old"}).status == 200
    begin(client, gid, steps={"charge": {"retry": QUICKLY, "action": {"participant": "bank", "path": "/charge"},
                                         "compensate": {"participant": "bank", "path": "/refund"}}})
    is_stuck(client, gid, "misconfigured")
    page = open_page("A service says that our calls are not signed", cluster, GID=gid, SERVICE="bank", BASE_URL=stub.url, SECRET="new")
    page.look("401", r"bank +http\S+ .* old")
    page.do()
    assert f"{gid} confirmed" in page.check()


def test_it_was_settled_elsewhere(open_page, client, stub, gid):
    stub.on("/charge", Reply(500))
    begin(client, gid, steps={"charge": charge(stub, SLOWLY)})
    fails(client, gid)
    page = open_page("It was settled by hand, elsewhere", GID=gid)
    page.look(gid, "trying")
    page.do()
    printed = page.check()
    assert "result mixed" in printed and re.search("oncall +abandon .*ticket 4711", printed), printed
    assert not stub.seen("/refund", gid), "nothing was undone"


def test_a_service_needs_rest(open_page, cluster, client, stub, gid):
    """The transaction begins between the pause and its end: it waits without a call."""
    page = open_page("A service must not be called for a while", SERVICE=stub.host, GID=gid)
    begin(client, f"{gid}-before", steps={"charge": charge(stub, QUICKLY)})
    client.ended(f"{gid}-before")
    page.look("CALLED FROM THIS REPLICA|no participant|NAME")
    at = cluster.replicas[0].at  # the others hear of it within a second
    assert client.post(f"/v1/participants/{stub.host}/pause", {"reason": "before we begin"}, at=at).status == 200
    began = client.post("/v1/transactions", {"gid": gid, "mode": "saga", "input": {}, "steps": {"charge": charge(stub, QUICKLY)}}, at=at)
    assert began.status == 201, began
    page.do()
    assert f"{gid} confirmed" in page.check()
    assert step_of(client.transaction(gid), "charge").get("failed_attempts", 0) == 0


# ---- floods -------------------------------------------------------------------------------------------


def test_a_definition_floods(open_page, client, stub, gid):
    client.define(f"d-{gid}", mode="saga", steps={"charge": charge(stub, QUICKLY)})
    for i in range(5):
        assert client.begin(gid=f"{gid}-{i}", definition=f"d-{gid}", input={}).status == 201
    page = open_page("One definition floods everything", DEFINITION=f"d-{gid}")
    page.look(rf"{gid}-4 ")
    assert "definition_paused" in page.do()
    assert re.search(r"^\S+ confirmed$", page.check(), re.M)


def test_very_many_are_stuck(open_page, client, stub, gid):
    stub.on("/charge", Reply(400))
    client.define(f"d-{gid}", mode="saga", steps={"charge": charge(stub, QUICKLY)})
    items = [{"gid": f"{gid}-{i}", "definition": f"d-{gid}", "input": {}} for i in range(100)]
    for item in items:
        assert client.post("/v1/transactions", item).status == 201
    until(lambda: len(client.get(f"/v1/transactions?definition=d-{gid}&stuck=true&limit=200").json["items"]) == 100, 60)
    page = open_page("Very many are stuck for one reason", DEFINITION=f"d-{gid}", GID=f"{gid}-99")
    page.look(rf"100 +misconfigured +d-{gid} +charge try", "matched: 100")
    stub.on("/charge", Reply(200))
    assert "100 matched, 100 done" in page.do()
    page.check()
    for item in items:
        assert client.ended(item["gid"])["phase"] == "confirmed"


def test_nobody_decides(open_page, client, stub, gid):
    begin(client, gid, mode="tcc", deadline="1h")
    joined = client.post(f"/v1/transactions/{gid}/steps", {
        "name": "stock", "confirm": {"url": stub.url + "/confirm"}, "cancel": {"url": stub.url + "/cancel"}})
    assert joined.status == 201, joined
    page = open_page("Nobody decides an open transaction", GID=gid)
    page.look("prepared", r"deadline .*\(in \d+m\)", "waits for +decision")
    page.do()
    assert "cancelled, because of operator" in page.check()
    assert len(stub.seen("/cancel", gid)) == 1


# ---- replicas -------------------------------------------------------------------------------------------


def begin_at(cluster, stub, gid, at):
    """A transaction that this replica drives, and goes on driving: its call is not answered for a while."""
    stub.on("/charge", Reply(200, delay=0.5), Reply(200))
    answer = cluster.client.post("/v1/transactions", {"gid": gid, "mode": "saga", "input": {}, "steps": {"charge": charge(stub, QUICKLY)}}, at=at.at)
    assert answer.status == 201, answer
    return answer.json["owner"]


def test_a_replica_is_frozen(open_page, make_cluster, stub, gid):
    cluster = make_cluster(count=2)
    frozen = cluster.replicas[0]
    owner = begin_at(cluster, stub, gid, frozen)
    frozen.signal(signal.SIGSTOP)
    cluster.client.addresses = lambda: [cluster.replicas[1].at]
    page = open_page("A replica is frozen", cluster, GID=gid, REPLICA=owner)
    page.look(frozen.url, cluster.replicas[1].url)
    assert f"{gid} confirmed" in page.do()
    page.check()


def test_a_replica_is_sick(open_page, make_cluster, stub, gid):
    cluster = make_cluster(count=2)
    sick, well = cluster.replicas
    owner = begin_at(cluster, stub, gid, sick)
    page = open_page("A replica is sick", cluster, GID=gid, REPLICA=owner)
    page.urls = lambda: [well.url]
    page.look(rf"{owner} +live +{sick.url}")
    page.do()
    assert f"{gid} confirmed" in page.check()
    assert sick.process.poll() is None, "it stays up"


# ---- keys, databases --------------------------------------------------------------------------------------


def test_a_token_is_over(open_page, make_cluster, tmp_path):
    tokens, mine = tmp_path / "tokens", tmp_path / "mine"
    made = subprocess.run([BIN / "sagad", "token", "ada", "--role=operator", "--for=1s", f"--append={tokens}"],
                          capture_output=True, text=True, check=True)
    mine.write_text(made.stdout)
    cluster = make_cluster(count=1, flags=[f"--tokens-file={tokens}"])
    (tmp_path / "sagad").symlink_to(BIN / "sagad")
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    until(lambda: cluster.client.get("/v1/transactions", headers=headers).status == 401)
    page = open_page("Your token does not work", cluster, TOKENS=tokens, SAGAD_TOKEN_FILE=mine)
    page.look("401 unauthenticated")
    page.do()
    page.check()


def test_the_database_is_read_only(open_page, make_cluster, database, stub, gid):
    cluster = make_cluster(count=1)
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    stub.on("/charge", Reply(503))
    begin(cluster.client, gid, steps={"charge": charge(stub, QUICKLY)})
    fails(cluster.client, gid)
    with psycopg.connect(database, autocommit=True) as db:
        db.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    until(lambda: "read-only" in cluster.client.get("/v1/doctor").text, 20)
    page = open_page("The database is read-only", cluster, GID=gid, DSN=database, DATABASE=name)
    page.look("bad +database +.*read-only")
    stub.on("/charge", Reply(200))
    page.do()
    assert f"{gid} confirmed" in page.check()


@pytest.mark.needs_server_control
def test_the_synchronous_standby_is_gone(open_page, worker, stub, gid):
    pair = Pair(worker)
    name = pair.new_database()
    try:
        cluster = Cluster(pair.direct(database=name), count=1)
        try:
            stub.on("/charge", Reply(503))
            begin(cluster.client, gid, steps={"charge": charge(stub, SLOWLY)})
            fails(cluster.client, gid)
            pair.stop(pair.standby)
            stub.on("/charge", Reply(200))
            waits = threading.Thread(target=lambda: Client(lambda: [cluster.replicas[0].at]).post(
                f"/v1/transactions/{gid}/retry", {"reason": "its commit waits"}))
            waits.start()
            until(lambda: stub.seen("/charge", gid) and cluster.client.get("/v1/doctor").json["healthy"] is False, 20)
            page = open_page("The synchronous standby is gone", cluster, GID=gid, DSN=pair.direct(database=name))
            page.look(r"bad +standbys +commits wait for a synchronous standby \(\*\), and none is connected")
            page.do()
            assert f"{gid} confirmed" in page.check()
            waits.join(60)
        finally:
            cluster.stop()
    finally:
        pair.close()
