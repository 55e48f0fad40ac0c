# SPDX-License-Identifier: Apache-2.0
"""DTM's topics: who subscribes, what is kept of it, and messages that go to all of them."""
import json
import threading
import urllib.parse

from lib.dtm import error, failure, success
from lib.stub import Reply


class Topic:
    def __init__(self, cluster, name):
        self.client, self.name = cluster.client, name

    def ask(self, route, **query):
        return self.client.get(f"/api/dtmsvr/{route}?" + urllib.parse.urlencode({"topic": self.name, **query}))

    def subscribe(self, url, remark=""):
        return self.ask("subscribe", url=url, remark=remark)

    def unsubscribe(self, url):
        return self.ask("unsubscribe", url=url)

    def delete(self):
        return self.client.send("DELETE", "/api/dtmsvr/topic/" + self.name)

    def row(self):
        got = self.client.get("/api/dtmsvr/queryKV?" + urllib.parse.urlencode({"cat": "topics", "key": self.name})).json["kv"]
        return got[0] if got else None


def test_subscribers_come_and_go(dtm_cluster, gid):
    topic = Topic(dtm_cluster, gid)
    error(topic.unsubscribe("http://a/"), "no such a topic")
    success(topic.subscribe("http://a/", "the \"first\""))
    success(topic.subscribe("http://b/"))
    error(topic.subscribe("http://a/"), "this url exists")
    row = topic.row()
    assert json.loads(row["v"]) == [{"url": "http://a/", "remark": "the \"first\""}, {"url": "http://b/", "remark": ""}]
    assert row["version"] == 2 and row["cat"] == "topics" and row["k"] == gid and row["create_time"] <= row["update_time"]
    error(topic.unsubscribe("http://c/"), "no such an url ")
    success(topic.unsubscribe("http://a/"))
    success(topic.unsubscribe("http://b/"))
    error(topic.unsubscribe("http://b/"), "this topic is empty")
    success(topic.delete())
    error(topic.delete(), "storage: NotFound")
    assert topic.row() is None


def test_a_message_is_submitted_again_when_its_topic_has_gone(dtm_cluster, dtm, stub, gid):
    topic = Topic(dtm_cluster, "gone-" + gid)
    success(topic.subscribe(stub.url + "/a"))
    message, late = dtm("msg", wait_result=True).add("topic://gone-" + gid), dtm("msg", gid=gid + "-2").add("topic://gone-" + gid)
    success(message.submit())
    success(topic.delete())
    for _ in range(3):
        success(message.submit())
    failure(dtm("msg").add("topic://gone-" + gid, payload="other").submit(), "other steps")
    error(late.submit(), "topic not found")
    assert message.called() == ["/a action"]


def test_what_is_missing(dtm_cluster, gid):
    error(Topic(dtm_cluster, "").subscribe("http://a/"), "empty topic")
    error(Topic(dtm_cluster, gid).subscribe(""), "empty url")
    error(dtm_cluster.client.get("/api/dtmsvr/queryKV?cat=topics"), "empty key")
    error(dtm_cluster.client.get("/api/dtmsvr/scanKV?limit=x"), "limit must be")


def test_scan_goes_in_pages(dtm_cluster, gid):
    for n in range(3):
        success(Topic(dtm_cluster, f"scan-{gid}-{n}").subscribe("http://a/"))
    position, seen = f"scan-{gid}", []
    while position:
        page = dtm_cluster.client.get("/api/dtmsvr/scanKV?" + urllib.parse.urlencode(
            {"cat": "topics", "position": position, "limit": 2})).json
        seen += [row["k"] for row in page["kv"]]
        position = page["next_position"]
    assert [k for k in seen if gid in k] == [f"scan-{gid}-{n}" for n in range(3)] and seen == sorted(seen)
    assert dtm_cluster.client.get("/api/dtmsvr/scanKV?cat=nothing").json == {"kv": [], "next_position": ""}


def test_nobody_is_lost_when_many_subscribe_at_once(dtm_cluster, gid):
    topic, answers = Topic(dtm_cluster, gid), []
    threads = [threading.Thread(target=lambda n=n: answers.append(topic.subscribe(f"http://host-{n}/"))) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for answer in answers:
        success(answer)
    assert {s["url"] for s in json.loads(topic.row()["v"])} == {f"http://host-{n}/" for n in range(8)}
    assert topic.row()["version"] == 8


def test_a_message_goes_to_all_who_subscribed_when_it_was_made(dtm_cluster, dtm, stub, gid):
    topic = Topic(dtm_cluster, gid)
    msg = dtm("msg", wait_result=True)
    error(msg.add("topic://" + gid).submit(), "topic not found")
    success(topic.subscribe(stub.url + "/one"))
    success(msg.submit())
    assert msg.called() == ["/one action"] and [b["branch_id"] for b in msg.query()["branches"]] == ["01"]
    success(topic.subscribe(stub.url + "/two"))
    other = dtm("msg", gid=gid + "-2", wait_result=True).add("/first").add("topic://" + gid).add("/last")
    success(other.submit())
    assert other.called()[1:] == ["/first action", "/one action", "/two action", "/last action"]
    assert [b["branch_id"] for b in other.query()["branches"]] == ["01", "02-01", "02-02", "03"]
    assert {c.body for c in stub.calls} == {b'{"amount":30}'}


def test_a_message_names_as_many_topics_as_it_may_have_branches(dtm_cluster, dtm, stub, gid):
    names = [f"{gid}-{n:03}" for n in range(40)]
    for name in names:
        success(Topic(dtm_cluster, name).subscribe(stub.url + "/" + name))
    msg = dtm("msg", wait_result=True)
    for name in names:
        msg.add("topic://" + name)
    success(msg.submit())
    assert msg.called() == [f"/{name} action" for name in names]
    for n in range(40, 257):
        msg.add(f"topic://{gid}-{n}")
    error(msg.submit(gid=gid + "-2"), "too many branches: 256 is the limit")
    error(msg.submit(gid=gid + "-2", steps=msg.steps[:41], payloads=msg.payloads[:41]), "topic not found")
    assert msg.query(gid + "-2")["transaction"] is None


def test_a_prepared_message_keeps_its_subscribers(dtm_cluster, dtm, stub, gid):
    topic = Topic(dtm_cluster, gid)
    success(topic.subscribe(stub.url + "/one"))
    msg = dtm("msg", query_prepared=stub.url + "/committed", timeout_to_fail=30000).add("topic://" + gid)
    success(msg.prepare())
    success(topic.delete())
    stub.on("/one", Reply(200))
    success(msg.submit(wait_result=True))
    assert msg.called() == ["/one action"]
