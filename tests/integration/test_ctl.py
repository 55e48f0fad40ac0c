# SPDX-License-Identifier: Apache-2.0
"""sagactl against real replicas: what it sends, what it prints, how it ends."""
import fcntl
import json
import os
import pty
import re
import select
import shlex
import socket
import struct
import subprocess
import termios
import threading

import psycopg
import pytest

from lib.base import ROOT, free_port, until
from lib.client import step_of
from lib.ctl import PROGRAM, Ctl
from lib.stub import Reply

YAML = """\
# A trip, for people.
name: {name}
mode: saga
steps:
  hotel:
    action:
      url: {url}/hotel
      body: {{ nights: "${{input.nights}}", price: 1.10 }}
    compensate: {{ url: {url}/undo, outcomes: {{ 404: ok }} }}
    retry: {{ initial: 1h, max: 1h }} # what failed stands still until somebody does something
output: {{ booking: "${{steps.hotel.output.id ?? gid}}" }}
"""


@pytest.fixture
def ctl(cluster):
    return Ctl(lambda: [r.url for r in cluster.replicas])


@pytest.fixture
def trip(ctl, stub, gid, tmp_path):
    """A definition of this test, registered from YAML; its name."""
    path = tmp_path / "trip.yaml"
    path.write_text(YAML.format(name=f"d-{gid}", url=stub.url))
    stub.on("/hotel", Reply(200, {"id": "r-7"}))
    done = ctl("definition", "apply", path)
    assert f"d-{gid} version 1 registered" in done.out, done
    return f"d-{gid}"


@pytest.fixture
def failing(ctl, client, stub, trip, gid):
    """A transaction whose only step fails; its gid."""
    stub.on("/hotel", Reply(500))
    ctl("txn", "start", trip, "--gid", gid, "--input", '{"nights": 2}')
    until(lambda: client.transaction(gid)["steps"][0]["last_error"])
    return gid


# ---- definitions ---------------------------------------------------------------------------


def test_definitions_from_yaml(ctl, client, stub, trip, tmp_path):
    assert "is there already" in ctl("definition", "apply", tmp_path / "trip.yaml").out
    document = client.get(f"/v1/definitions/{trip}").text
    assert '"price":1.10' in document and '"404":"ok"' in document, document
    assert trip in ctl("definition", "list", "--limit", "10000").out
    assert json.loads(ctl("definition", "show", trip).out)["mode"] == "saga"
    assert ctl("definition", "show", f"{trip}@1", "--json").json["version"] == 1
    assert ctl("definition", "graph", trip).out.startswith("flowchart")
    ctl("definition", "show", f"{trip}@9", status=4)
    ctl("definition", "show", f"{trip}-x", status=4)


def test_json_goes_untouched(ctl, client, stub, gid):
    text = '{ "mode":"saga","steps":{"a":{"action":{"url":"http://h/a","body":{"n":12345678901234567890.10}},' \
           '"compensate":{"url":"http://h/b"}}} }'
    assert "version 1 registered" in ctl("definition", "apply", "-", "--name", gid, stdin=text).out
    assert text.strip() in client.get(f"/v1/definitions/{gid}").text
    assert "give --name" in ctl("definition", "apply", "-", stdin=text, status=2).err


def test_errors_have_lines(ctl, client, stub, gid, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("mode: saga\nsteps:\n  hotel:\n    after: [visa]\n    action:\n      url: ftp://hotel/\n")
    for verb in ("validate", "apply"):
        done = ctl("definition", verb, bad, status=9)
        assert f"{bad}:4:13: " in done.err and f"{bad}:6:12: " in done.err and "/steps/hotel/action/url" in done.err, done
    assert client.get("/v1/definitions/bad").status == 404, "nothing was stored"
    bad.write_text("a: &x 1\n")
    assert f"{bad}:1:4: anchors" in ctl("definition", "apply", bad, status=2).err
    bad.with_suffix(".json").write_text('{"a":\n 1,}')
    assert f"{bad.with_suffix('.json')}:2:4: " in ctl("definition", "apply", bad.with_suffix(".json"), status=2).err
    assert "No such file" in ctl("definition", "validate", tmp_path / "none.yaml", status=2).err
    good = tmp_path / f"{gid}.yaml"
    good.write_text(YAML.format(name=gid, url=stub.url))
    done = ctl("definition", "apply", bad, good, status=2)
    assert f"{gid} version 1 registered" in done.out, "one bad file does not stop the next"
    assert "is valid; nothing was stored" in ctl("definition", "validate", good).out


def test_a_dry_run_says_what_would_change(ctl, client, trip, tmp_path):
    path = tmp_path / "trip.yaml"
    assert ctl("definition", "apply", "-n", path).out == f"{trip} is there already as version 1; nothing was stored\n"
    text = path.read_text()
    path.write_text(text.replace("1.10", "1.20").replace("initial: 1h, ", "") + "deadline: 1h\n")
    done = ctl("definition", "apply", "--dry-run", path)
    assert done.out == (f"{trip} would become version 2; nothing was stored\n  ~ /steps/hotel/action/body/price 1.20\n"
                        "  + /deadline \"1h\"\n  - /steps/hotel/retry/initial \"1h\"\n"), done
    assert client.get(f"/v1/definitions/{trip}").json["version"] == 1
    assert ctl("definition", "apply", "-n", path, "--json").json["would"]["after"] == 2
    ctl("definition", "apply", "-n", path, "--if-version", "7", status=5)
    path.write_text(text.replace(trip, f"{trip}-new"))
    assert ctl("definition", "apply", "-n", path).out == f"{trip}-new would become version 1; nothing was stored\n"
    path.write_text(text.replace("mode: saga", "mode: sago"))
    assert f"{path}:3:7: " in ctl("definition", "apply", "-n", path, status=9).err


def test_numbers_are_shown_as_they_were_written(ctl, trip, gid):
    """A library would make doubles of them, or refuse them."""
    odd = '{"nights": 1.10, "n": [1e999, 12345678901234567890, -0.0]}'
    ctl("txn", "start", trip, "--gid", gid, "--input", odd, "--wait", "20s")
    assert f"input       {odd}" in ctl("txn", "get", gid).out
    assert odd in ctl("txn", "get", gid, "--json").out
    assert '"price":1.10' in ctl("definition", "show", trip).out


def test_if_version_of_a_definition(ctl, trip, tmp_path):
    text = (tmp_path / "trip.yaml").read_text()
    (tmp_path / "trip.yaml").write_text(text + "deadline: 1h\n")
    ctl("definition", "apply", tmp_path / "trip.yaml", "--if-version", "7", status=5)
    assert "version 2 registered" in ctl("definition", "apply", tmp_path / "trip.yaml", "--if-version", "1").out


# ---- begin and look ----------------------------------------------------------------------------


def test_start_wait_get(ctl, trip, gid, tmp_path):
    (tmp_path / "input.yaml").write_text("nights: 2.50\nwho: {name: ada}\n")
    done = ctl("txn", "start", f"{trip}@1", "--gid", gid, "-i", f"@{tmp_path}/input.yaml", "-l", "customer=ada", "-w", "20s")
    assert done.out == f"{gid} confirmed\n"
    again = ctl("txn", "start", f"{trip}@1", "--gid", gid, "-i", f"@{tmp_path}/input.yaml", "-l", "customer=ada")
    assert again.out == f"{gid} confirmed (begun before)\n"
    shown = ctl("txn", "get", gid).out
    for line in (rf"gid +{gid}", "phase +confirmed", "labels +customer=ada", rf"definition +{trip}@1",
                 r'output +\{"booking":"r-7"\}', r"hotel +tried +- +1 +- +-", r'input +\{"nights":2.50,"who":\{"name":"ada"\}\}'):
        assert re.search(f"^{line}$", shown, re.M), (line, shown)
    assert '"nights":2.50' in ctl("txn", "get", gid, "--json").out
    assert ctl("txn", "wait", gid).out == f"{gid} confirmed\n"
    assert gid in ctl("txn", "watch", gid, "--json").out
    assert "tried" in ctl("txn", "watch", gid).out
    assert "nobody did anything" in ctl("txn", "journal", gid).out
    assert ctl("txn", "start", trip, "--idempotency-key", gid, "--json").json["gid"] == \
        ctl("txn", "start", trip, "--idempotency-key", gid, "--json").json["gid"]


def test_exit_statuses(ctl, stub, trip, failing):
    assert "never begun" in ctl("txn", "get", "nobody-knows-it", status=4).err
    ctl("txn", "get", failing, "nobody-knows-it", status=4)
    started = ctl("txn", "start", trip, "--gid", failing, "--input", "{}", status=1)
    assert "idempotency_key_reused" in started.err
    assert ctl("txn", "wait", failing, "--wait", "50ms", status=6).out.startswith(f"{failing} trying")
    ctl("txn", "retry", failing, "-m", "x", "--if-version", "99999", status=5)
    ctl("txn", "start", trip, "--label", "customer", status=2)
    ctl("txn", "start", trip, "--input", "{", status=2)
    ctl("txn", "start", f"{trip}@x", status=2)
    ctl("txn", "list", "--limit", "0", status=2)
    ctl("txn", "wait", failing, "--wait", "soon", status=2)
    refused = ctl("txn", "list", "--phase", "flying", status=1)
    assert "bad_request" in refused.err
    ctl("txn", "cancel", failing, "-m", "enough", "--wait", "20s")
    assert ctl("txn", "wait", failing, status=9).out.startswith(f"{failing} cancelled, because of operator")


def test_lists_follow_cursors(ctl, client, stub, trip, gid):
    for i in range(5):
        client.begin(gid=f"{gid}-{i}", definition=trip, input={"nights": 1}, labels={"run": gid})
    done = ctl("txn", "list", "-l", f"run={gid}", "--json", "--limit", "3")
    assert [t["gid"] for t in done.json["items"]] == [f"{gid}-{i}" for i in range(3)]
    assert done.json["next_cursor"]
    done = ctl("txn", "list", "-l", f"run={gid}", "-d", trip)
    assert re.findall(rf"^{gid}-\d", done.out, re.M) == [f"{gid}-{i}" for i in range(5)] and not done.err
    assert ctl("txn", "list", "-l", f"run={gid}", "--json").json["next_cursor"] is None
    assert ctl("txn", "list", "-l", f"run={gid}", "--stuck", "--json").json["items"] == []


# ---- put right -----------------------------------------------------------------------------------


def test_actions(ctl, client, stub, failing):
    assert "--reason" in ctl("txn", "pause", failing, status=2).err
    assert re.match(rf"{failing} is trying, paused \(version \d+\)", ctl("txn", "pause", failing, "-m", "look").out)
    assert "paused" in ctl("txn", "get", failing).out
    ctl("txn", "resume", failing, "-m", "looked", "--actor", "ada")
    journal = ctl("txn", "journal", failing).out
    assert re.search(r"resume .*ada .*looked", journal) and re.search(r"pause .*pytest .*look", journal), journal
    assert re.search(r"attempt +hotel try +unknown 500", journal), journal
    stub.on("/hotel", Reply(200, {"id": 1}))
    ctl("txn", "retry", failing, "-m", "mended")
    assert ctl("txn", "wait", failing, "--wait", "20s").out == f"{failing} confirmed\n"
    assert "ended" in ctl("txn", "pause", failing, "-m", "late", status=5).err


def test_overview_and_stuck(ctl, client, stub, gid):
    trip = f"q-{gid}"
    client.define(trip, mode="saga", steps={"hotel": {
        "action": {"url": stub.on("/hotel", Reply(400))}, "compensate": {"url": stub.url + "/undo"}, "retry": {"initial": "20ms", "max": "20ms"}}})
    ctl("txn", "start", trip, "--gid", gid, "--input", '{"nights": 2}')
    until(lambda: client.transaction(gid)["stuck"], 20)
    group = next(g for g in ctl("stuck", "--json").json["items"] if g["definition"] == trip)
    assert (group["count"], group["sample"]) == (1, gid), group
    assert re.search(rf"^1 +misconfigured +{trip} +hotel try +\S+ .* {gid} ", ctl("stuck").out, re.M)
    shown, raw = ctl("overview").out, ctl("overview", "--json").json
    assert re.search(r"^unfinished +(at least )?\d+.*trying \d+", shown, re.M) and re.search(r"^stuck +\d+$", shown, re.M), shown
    assert re.search(rf"^driven +\d+ by {len(raw['replicas'])} replicas; a second [\d.]+ begun, [\d.]+ ended, [\d.]+ calls$", shown, re.M), shown
    for r in raw["replicas"]:
        assert re.search(rf"^{r['id']} +{r['state']} ", shown, re.M), shown
    client.post(f"/v1/transactions/{gid}/cancel")


def test_explain(ctl, client, stub, failing):
    raw = client.get(f"/v1/transactions/{failing}/explain").json
    assert ctl("txn", "explain", failing, "--json").json.keys() == raw.keys()
    client.post(f"/v1/transactions/{failing}/pause", {"reason": "that it says the same twice"})
    shown, raw = ctl("txn", "explain", failing).out, client.get(f"/v1/transactions/{failing}/explain").json
    lines, ageless = shown.splitlines(), lambda text: re.sub(r"\d+ \w+ ago", "ago", text.split(". ")[0])
    assert ageless(lines[0]) == ageless(raw["sentence"]) and lines[1] == raw["hint"] != "", (raw, shown)
    assert re.search("^hotel +try ", shown, re.M), shown


def test_dry_runs_do_nothing(ctl, client, failing):
    foreseen = ctl("txn", "cancel", failing, "--dry-run").out
    assert re.search(r"^  ends: cancelled\n  calls:\n    - step: hotel\n      op: cancel$", foreseen, re.M), foreseen
    assert not re.search(r" $", foreseen, re.M), foreseen
    client.post(f"/v1/transactions/{failing}/pause", {"reason": "that it stands still"})
    assert re.search(r"^nothing was done; it would be:\n.*action: retry", ctl("txn", "retry", failing, "--dry-run").out, re.S)
    assert ctl("txn", "cancel", failing, "--dry-run", "--json").json["dry_run"] is True
    assert ctl("txn", "abandon", failing, "--dry-run", "--json").json["would"]["action"] == "abandon"
    ctl("txn", "skip", failing, "hotel", "--op", "confirm", "--dry-run", status=5)
    assert [d["action"] for d in ctl("audit", "--gid", failing, "--json").json["items"]] == ["pause"]
    assert client.transaction(failing)["phase"] == "trying"


def test_skip_patch_release(ctl, client, stub, failing):
    possible = re.search(r"^possible +(.*)$", ctl("txn", "get", failing).out, re.M)[1]
    assert {"retry", "release", "skip hotel try", "patch hotel try"} & set(possible.split(", ")), possible
    ctl("txn", "release", failing, "-m", "its replica is slow")
    moved = stub.on("/elsewhere", Reply(500))
    # What it looks at may be taken up or parked before it acts: then it is refused (412), and looks again.
    sure = lambda *words: until(lambda: ctl(*words, status=None).status == 0)
    sure("txn", "patch", failing, "hotel", "--op", "try", f"url={moved}", "-m", "it moved", "--confirm", failing)
    settled = lambda n: until(lambda: [e["what"] for e in client.get(f"/v1/transactions/{failing}/journal").json["items"]].count("attempt") == n)
    settled(2)
    assert len(stub.seen("/elsewhere", failing)) == 1
    ctl("txn", "patch", failing, "hotel", "--op", "try", "timeout=7s", "retry.max=2h", "-m", "slower")
    settled(3)
    ctl("txn", "patch", failing, "hotel", "--op", "try", "url=ftp://x/", "-m", "a slip", "--confirm", failing, status=1)
    sure("txn", "skip", failing, "hotel", "--op", "try", "-m", "not needed", "--confirm", failing)
    assert ctl("txn", "wait", failing, "--wait", "20s", status=9).out == f"{failing} confirmed, result mixed\n"
    deeds = ctl("audit", "--gid", failing).out
    for action, reason in (("skip", "not needed"), ("patch", "slower"), ("patch", "it moved"), ("release", "its replica is slow")):
        assert re.search(rf"pytest +{action} +{failing}.* {reason}", deeds), deeds


def test_resolve_wants_the_gid(ctl, client, failing):
    words = ("txn", "resolve", failing, "hotel", "--op", "try", "--outcome", "ok", "--output", '{"id": 1.50}', "-m", "phoned")
    assert f"--confirm {failing}" in ctl(*words, status=2).err
    assert "not its gid" in ctl(*words, "--confirm", "other", status=2).err
    assert "--op try|confirm|cancel" in ctl("txn", "resolve", failing, "hotel", "-m", "x", status=2).err
    assert client.transaction(failing)["phase"] == "trying", "nothing was done"
    ctl(*words, "--confirm", failing)
    assert ctl("txn", "wait", failing, "--wait", "20s").out == f"{failing} confirmed\n"
    assert '"id": 1.50' in client.get(f"/v1/transactions/{failing}").text
    assert step_of(client.transaction(failing), "hotel")["resolved"] is True


def test_abandon_goes_by_the_version_that_was_seen(ctl, client, failing):
    ctl("txn", "pause", failing, "-m", "look")
    ctl("txn", "abandon", failing, "-m", "x", "--confirm", failing, "--if-version", "1", status=5)
    assert "abandoned" in ctl("txn", "abandon", failing, "-m", "settled", "--confirm", failing).out
    assert ctl("txn", "wait", failing, status=9).out == f"{failing} abandoned, result mixed\n"


def test_names_and_replicas(ctl, cluster, stub, gid):
    ctl("participant", "put", gid[:40], stub.url, "--max-in-flight", "7", "-m", "new")
    assert re.search(rf"{gid[:40]} +{stub.url} +7", ctl("participant", "list").out)
    ctl("participant", "put", gid[:40], "--secret", "s1", "-m", "signed from now on")
    assert re.search(rf"{gid[:40]} +{stub.url} +7 +s1", ctl("participant", "list").out), "what is not given stays"
    ctl("participant", "put", gid[:40], stub.url + "/v2", "--max-in-flight", "9")
    assert re.search(rf"{gid[:40]} +{stub.url}/v2 +9 +s1", ctl("participant", "list").out)
    ctl("participant", "put", gid[:40], "--breaker-percent", "0", "--retry-percent", "100")
    known = next(p for p in ctl("participant", "list", "--json").json["items"] if p["name"] == gid[:40])
    assert (known["breaker_percent"], known["retry_percent"], known["max_in_flight"], known["secret"]) == (0, 100, 9, "s1"), known
    foreseen = ctl("participant", "put", gid[:40], "--max-in-flight", "5", "--dry-run").out
    assert re.match(r"nothing was done; it would be:\n", foreseen) and "max_in_flight" in foreseen, foreseen
    assert re.search(rf"{gid[:40]} +{stub.url}/v2 +9 +s1", ctl("participant", "list").out), "a dry run does nothing"
    ctl("participant", "put", gid[:40], "--max-in-flight", "5", "--if-version", "1", status=5)
    assert "give its base URL" in ctl("participant", "put", "never-named", "-m", "x", status=2).err
    assert "invalid_request" in ctl("participant", "put", gid[:40], "hotel:80", "-m", "new", status=1).err
    shown = ctl("replica", "list").out
    for r in cluster.replicas:
        assert re.search(rf"live +{r.url} ", shown), shown
    assert ctl("replica", "list", "--json").json["items"]


def test_pauses_drains_and_the_audit(ctl, client, stub, trip, gid):
    assert '"calls": []' in json.dumps(ctl("definition", "pause", trip, "-m", "it floods", "--dry-run", "--json").json)
    assert "nothing was done" in ctl("definition", "pause", trip, "-m", "it floods", "--dry-run").out
    ctl("definition", "pause", trip, "-m", "it floods")
    assert "definition_paused" in ctl("txn", "start", trip, "--gid", gid, status=5).err
    assert re.search(rf"^{trip} .* paused$", ctl("definition", "list", "--limit", "10000").out, re.M)
    ctl("definition", "resume", trip, "-m", "it is over", "--actor", "ada")
    ctl("participant", "pause", stub.host, "-m", "backup")
    ctl("participant", "resume", stub.host, "-m", "done")
    ctl("participant", "pause", "participant-that-nobody-knows", "-m", "x", status=4)
    ctl("replica", "drain", "019ab000-0000-7000-8000-000000000000", "--yes", "-m", "x", status=4)
    assert "--yes" in ctl("replica", "drain", "019ab000-0000-7000-8000-000000000000", "-m", "x", status=2).err
    deeds = ctl("audit", "--definition", trip, "--since", "1h").out
    assert re.search(rf"ada +resume +definition {trip} +it is over\n.*pytest +pause +definition {trip} +it floods", deeds), deeds
    assert re.search(rf"pytest +\w+ +definition {trip}$", deeds, re.M), "the registration, too"
    assert "nobody did anything" in ctl("audit", "--gid", "nobody-knows-it").out
    assert [d["action"] for d in ctl("audit", "--participant", stub.host, "--action", "pause", "--json").json["items"]] == ["pause"]


def test_bulk(ctl, client, stub, failing, trip):
    assert "matched: 1" in ctl("bulk", "start", "pause", "-d", trip, "--dry-run").out
    assert not client.transaction(failing)["paused"]
    started = ctl("bulk", "start", "pause", "-d", trip, "--yes", "-m", "all of them", "--wait", "20s", "--json").json
    assert (started["state"], started["matched"], started["done"]) == ("done", 1, 1), started
    assert client.transaction(failing)["paused"]
    assert re.search(rf"^{started['id']} pause done: 1 matched, 1 done", ctl("bulk", "get", started["id"]).out)
    assert ctl("bulk", "watch", started["id"]).out == ctl("bulk", "get", started["id"]).out
    assert re.search(rf"^{started['id']} .* pytest +all of them$", ctl("bulk", "list").out, re.M)
    assert re.search(rf"pytest +pause +bulk {started['id']} +all of them", ctl("audit", "--bulk", started["id"]).out)
    ctl("bulk", "cancel", started["id"], "-m", "late", "--if-version", "1", status=5)
    ctl("bulk", "get", "019ab000-0000-7000-8000-000000000000", status=4)
    ctl("bulk", "start", "abandon", "-d", trip, "--yes", "-m", "x", status=1)


# ---- replicas that are away ---------------------------------------------------------------------


def test_the_next_replica_is_asked(cluster):
    closed = f"http://127.0.0.1:{free_port()}"
    alone = Ctl(lambda: [closed])("replica", "list", status=3).err
    assert "no answer from" in alone and "SAGAD_URL names another place" in alone
    Ctl(lambda: [closed, cluster.replicas[0].url + "/"])("replica", "list")
    assert "http://host:port" in Ctl(lambda: ["ftp://x"])("replica", "list", status=2).err


@pytest.fixture
def silent():
    """The URL of a server that takes requests and answers none; and how many it took."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                if link.recv(1):
                    taken.append(link)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", taken
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        for link in taken:
            link.close()


def test_a_write_is_not_sent_twice(cluster, silent, failing):
    """A replica that is frozen: reads go to the next, but a write may have been done."""
    url, taken = silent
    both = Ctl(lambda: [url, cluster.replicas[0].url])
    both("txn", "get", failing, "--timeout", "200ms")
    assert len(taken) == 1
    done = both("txn", "retry", failing, "-m", "x", "--timeout", "200ms", status=3)
    assert "may have been done" in done.err and len(taken) == 2, done


@pytest.fixture
def answering():
    """A server with one answer for everything, and what it was asked."""
    import http.server
    asked, answer = [], {"status": 200, "type": "application/json", "body": b"{}", "headers": {}}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.command, self.path, dict(self.headers), self.rfile.read(int(self.headers.get("Content-Length", 0)))))
            self.send_response(answer["status"])
            self.send_header("Content-Type", answer["type"])
            self.send_header("Content-Length", str(len(answer["body"])))
            for name, value in answer["headers"].items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer["body"])

        do_POST = do_PUT = do_PATCH = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Ctl(lambda: [f"http://127.0.0.1:{server.server_port}"]), asked, answer
        server.shutdown()


def test_what_is_sent(answering, tmp_path):
    ctl, asked, _ = answering
    (tmp_path / "token").write_text("sagad_0123\n")
    ctl("txn", "get", "a/b c?", "--token-file", tmp_path / "token")
    method, path, headers, _ = asked[-1]
    assert (method, path) == ("GET", "/v1/transactions/a%2Fb%20c%3F") and headers["Authorization"] == "Bearer sagad_0123"
    ctl("txn", "retry", "..", "-m", 'say "why"', "--if-version", "7", "--dry-run")
    method, path, headers, body = asked[-1]
    assert (method, path) == ("POST", "/v1/transactions/%2E%2E/retry?dry_run=true") and headers["If-Match"] == '"7"'
    assert json.loads(body) == {"reason": 'say "why"', "actor": "pytest"}
    ctl("txn", "patch", "g", "s", "timeout=30s", "retry.max=5s", "retry.attempts=3", "url=http://x/", "--op", "try", "-m", "r", "--confirm", "g")
    method, path, headers, body = asked[-1]
    assert (method, path) == ("PATCH", "/v1/transactions/g/steps/s")
    assert json.loads(body) == {"reason": "r", "actor": "pytest", "gid": "g", "op": "try", "timeout": "30s", "url": "http://x/",
                                "retry": {"max": "5s", "attempts": 3}}
    ctl("txn", "patch", "g", "s", "retry.max=5s", "-m", "r")
    assert json.loads(asked[-1][3]) == {"reason": "r", "actor": "pytest", "retry": {"max": "5s"}}
    assert "--confirm g" in ctl("txn", "patch", "g", "s", "url=x", "-m", "r", status=2).err
    assert "--op" in ctl("txn", "skip", "g", "s", "-m", "r", status=2).err
    ctl("bulk", "start", "retry", "--stuck", "-d", "x", "-l", "a=b", "--rate", "9", "-m", "r", "--dry-run")
    assert asked[-1][1] == "/v1/bulk?dry_run=true"
    assert json.loads(asked[-1][3]) == {"reason": "r", "actor": "pytest", "action": "retry", "rate": 9,
                                        "filter": {"definition": "x", "stuck": True, "labels": {"a": "b"}}}
    assert "--yes" in ctl("bulk", "start", "retry", "--stuck", "-m", "r", status=2).err
    assert "Give a filter" in ctl("bulk", "start", "retry", "--yes", "-m", "r", status=2).err
    (tmp_path / "token").write_text("two words\n")
    ctl("txn", "get", "g", "--token-file", tmp_path / "token", status=2)
    ctl("txn", "get", "g", "--token-file", tmp_path / "none", status=2)


@pytest.mark.parametrize("code, status", [(400, 1), (401, 7), (403, 7), (404, 4), (409, 5), (412, 5), (428, 5), (429, 8), (500, 1), (503, 8)])
def test_every_refusal_has_its_exit_status(answering, code, status):
    ctl, _, answer = answering
    answer.update(status=code, type="application/problem+json", headers={"Retry-After": "3"}, body=json.dumps(
        {"title": "T", "status": code, "detail": "Do this.", "code": "the_code", "errors": [{"pointer": "/a", "detail": "not b"},
                                                                                      {"pointer": "", "detail": "nothing is to be changed"}]}).encode())
    done = ctl("txn", "get", "g", status=status)
    assert done.err == f"sagactl: Do this. ({code} the_code)\nsagactl:   /a: not b\n" \
                       "sagactl:   nothing is to be changed\nsagactl:   the same again may work in 3 s\n"


def test_bad_answers(answering):
    ctl, _, answer = answering
    answer.update(body=b'{"gid":')
    assert "is not" in ctl("txn", "get", "g", status=1).err
    answer.update(status=502, type="text/html", body=b"<html>")
    assert "not sagad's" in ctl("txn", "get", "g", status=1).err
    answer.update(status=200, type="application/json",
                  body=b'{"gid":7,"phase":["x"],"steps":{"a":1},"labels":"l","stuck":true,"waiting":3,"actions":{},"cause":[]}')
    ctl("txn", "get", "g")
    evil = {"items": [{"gid": "a\x1b[2Jb\nc", "phase": "x\u009b1m"}], "next_cursor": None}
    answer.update(body=json.dumps(evil, ensure_ascii=False).replace("\x1b", "\\u001b").replace("\nc", "\\nc").encode())
    out = ctl("txn", "list").out
    assert "\x1b" not in out and "\u009b" not in out and "a?[2Jb c" in out, out


def test_problems_of_lists_are_told(answering):
    ctl, asked, answer = answering
    answer.update(body=b'{"items":[{"gid":"g","phase":"trying"}],"next_cursor":"more"}')
    done = ctl("txn", "list")
    assert "first 50; --limit shows more" in done.err and len(asked) == 50 and "cursor=more" in asked[-1][1], done
    assert ctl("txn", "list", "--limit", "3").err == "", "as long as was asked for"
    done = ctl("txn", "list", "--json")
    assert done.err == "" and done.json["next_cursor"] == "more", done


def test_json_is_one_value(answering, tmp_path):
    ctl, _, answer = answering
    answer.update(body=b'{"gid":"g","phase":"trying"}\n')
    assert ctl("txn", "get", "a", "--json").out == '{"gid":"g","phase":"trying"}\n'
    one = {"gid": "g", "phase": "trying"}
    assert ctl("txn", "get", "a", "b", "c", "--json").json == [one, one, one]
    assert ctl("txn", "retry", "a", "b", "-m", "r", "--json").json == [one, one]
    assert ctl("txn", "patch", "g", "s", "retry.max=5s", "timeout=1s", "-m", "r", "--json").json == one
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text('{"mode": "saga"}')
    assert ctl("definition", "apply", tmp_path / "a.json", tmp_path / "b.json", "-m", "r", "--json").json == [one, one]
    answer.update(status=404, type="application/problem+json", body=b'{"detail":"None.","code":"not_found"}')
    assert ctl("txn", "get", "a", "b", "--json", status=4).out == ""
    assert ctl("version", "--json").json == {"version": ctl("version").out.split()[1]}
    refused = ctl("completion", "bash", "--json", status=2)
    assert refused.out == "" and "--json" in refused.err


# ---- a terminal ------------------------------------------------------------------------------------


class Terminal:
    """sagactl as its user sees it."""

    def __init__(self, ctl, *words, program=PROGRAM, rows=20, columns=60):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen([program, *words], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env={**os.environ, "SAGAD_URL": ctl.urls()[0], "SAGAD_ACTOR": "pytest"})
        os.close(slave)
        self.seen = ""

    def read(self):
        """What there is; False: it is over."""
        if not select.select([self.master], [], [], 0.05)[0]:
            return self.process.poll() is None
        try:
            got = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += got.decode(errors="replace")
        return bool(got)

    def expect(self, text):
        until(lambda: text in self.seen or not self.read() and text in self.seen, 20, 0)

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        until(lambda: not self.read(), 60, 0)
        os.close(self.master)
        return self.process.wait(20)


def test_on_a_terminal_it_asks(ctl, client, failing):
    t = Terminal(ctl, "txn", "abandon", failing)
    t.expect("reason: ")
    assert f"\x1b[1m{failing}\x1b[0m" in t.seen, "what is to be abandoned is shown"
    t.type("settled\n")
    t.expect("Type its gid to go on: ")
    t.type("something\n")
    assert t.end() == 2 and "nothing was done" in t.seen
    assert client.transaction(failing)["phase"] == "trying"
    client.post(f"/v1/transactions/{failing}/pause", {"reason": "it must not change while we type"})
    t = Terminal(ctl, "txn", "abandon", failing, "-m", "settled")
    t.expect("Type its gid to go on: ")
    t.type(failing + "\n")
    assert t.end() == 0 and client.transaction(failing)["phase"] == "abandoned"


def test_top(ctl, cluster):
    t = Terminal(ctl, "top", "--interval", "100ms", rows=10, columns=40)
    t.expect("\x1b[?1049h")
    t.expect("unfinished")
    t.expect("REPLICA")
    first = len(t.seen)
    until(lambda: t.read() and len(t.seen) > first + 200, 20, 0)
    fcntl.ioctl(t.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    t.expect("answers this")
    t.type("q")
    assert t.end() == 0 and t.seen.endswith("\x1b[?25h\x1b[?1049l"), t.seen[-200:]
    frames = t.seen[:first].split("\x1b[H")[1:]
    for line in frames[0].split("\n"):
        assert len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line)) <= 40, line
    assert ctl("top").out.startswith("unfinished"), "without a terminal it is printed once"


def test_progress_is_for_terminals(ctl, client, stub, trip, gid):
    for i in range(3):
        client.begin(gid=f"{gid}-{i}", definition=trip, input={"nights": 1}, start_at="1h")
    words = ("bulk", "start", "pause", "-d", trip, "-m", "look", "--rate", "3", "--wait", "20s")
    t = Terminal(ctl, *words, columns=200)
    t.expect("It will be done to all that match: 3 now. Is that meant? [y/N] ")
    t.type("y\n")
    assert t.end() == 0
    assert re.search(r"\r\x1b\[K\[#*\.+\] [0-2] of 3  pause (open|running)", t.seen), t.seen
    assert re.search(r"\r\x1b\[K[0-9a-f-]{36} pause done: 3 matched, 3 done", t.seen), "the bar is gone at the end"
    piped = ctl(*words, "--yes")
    assert "\r" not in piped.out + piped.err and "of 3" not in piped.out + piped.err, piped
    t = Terminal(ctl, "txn", "wait", f"{gid}-0", "--wait", "200ms", columns=200)
    assert t.end() == 6 and re.match(r"\r\x1b\[K\d+\w+  trying, paused\r\x1b\[K", t.seen), t.seen
    piped = ctl("txn", "wait", f"{gid}-0", "--wait", "200ms", status=6)
    assert piped.out.startswith(f"{gid}-0 trying, paused") and not piped.err, piped


def test_no_colours_where_they_are_not_wanted(ctl, failing):
    t = Terminal(ctl, "txn", "get", failing, "--no-color")
    assert t.end() == 0 and "\x1b" not in t.seen and failing in t.seen


# ---- doctor ------------------------------------------------------------------------------------------


def checks_of(done):
    return {c["name"]: c for c in done.json["checks"]}


def test_doctor(ctl, cluster):
    well = ctl("doctor", "--json")
    checks = checks_of(well)
    assert well.json["healthy"] is True and len(checks) >= 20, well
    assert re.fullmatch(r"3 run \d+\.\d+\.\d+", checks["replica versions"]["finding"]), well
    assert {n: c for n, c in checks.items() if c["state"] != "ok"} == {}, well
    people = ctl("doctor").out
    assert re.search(r"^ok +indexes +all there, all valid$", people, re.M) and "client clock" in people, people


def test_doctor_finds_what_is_broken(make_cluster):
    """In a database of its own: an index that is gone, one that is invalid, a page without room."""
    cluster = make_cluster(count=1)
    ctl = Ctl(lambda: [r.url for r in cluster.replicas])
    with psycopg.connect(cluster.dsn, autocommit=True) as db:
        db.execute("DROP INDEX sagad.transaction_due")
        db.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sagad.inbox_open'::regclass")
        db.execute("ALTER TABLE sagad.transaction RESET (fillfactor)")
    ill = ctl("doctor", "--json", status=9)
    checks = checks_of(ill)
    assert checks["indexes"]["state"] == "bad" and checks["fillfactor"]["state"] == "warn", ill
    assert checks["indexes"]["finding"] == "missing: transaction_due; invalid: inbox_open", ill
    assert re.search(r"^bad +indexes +missing: transaction_due.* -> make", ctl("doctor", status=9).out, re.M)
    assert len([c for c in checks.values() if c["state"] != "ok"]) == 2, ill


def test_doctor_while_the_database_is_away(make_cluster, postgres):
    """That is when it is asked; what the replica was told last is what one wants to know."""
    cluster = make_cluster(count=1)
    ctl = Ctl(lambda: [r.url for r in cluster.replicas])
    name = psycopg.conninfo.conninfo_to_dict(cluster.dsn)["dbname"]
    with psycopg.connect(postgres.server, autocommit=True) as db:
        db.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        until(lambda: "not currently accepting" in ctl("doctor", status=9).out, 20)
        ill = ctl("doctor", "--json", status=9).json
        assert [c["name"] for c in ill["checks"]] == ["database"] and "DSN" in ill["checks"][0]["advice"], ill
        db.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    until(lambda: ctl("doctor", status=None).status == 0, 20, 0.2)


# ---- what the documents say -------------------------------------------------------------------------------


def test_commands_in_the_documents_are_commands():
    """In blocks whole, in the text at least noun and verb; to a place where nobody listens, so that nothing is done."""
    nobody = Ctl(lambda: ["http://127.0.0.1:1"])
    blocks, inline = set(), set()
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks |= {line.strip() for line in re.findall(r"^ *(sagactl .*)$", text, re.M)}
        inline |= set(re.findall(r"`(sagactl [^`]+)`", text))
    assert len(blocks) > 40 and len(inline) > 10
    for line in sorted(blocks):
        words = shlex.split(line.replace("$OUTPUT", "{}").replace("$FILE", str(ROOT / "examples/definitions/order.json")).split("|")[0].split(" >")[0], comments=True)[1:]
        done = nobody(*words, status=None)
        assert done.status == 3 or words[0] in ("completion", "version"), (line, done)
    for line in sorted(inline):
        words = [w for w in shlex.split(line)[1:] if not w.startswith("-")][:2]
        if words:
            done = nobody(*words, "--help", status=None) if len(words) > 1 else nobody(words[0], "--help")
            assert done.status == 0 or nobody(words[0], "--help").status == 0 and words[0] in ("stuck", "top", "overview"), (line, done)


SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], "PS1='> '; unset PROMPT_COMMAND; source {script}"),
    "zsh": (["-f", "-i"], "PS1='> '; unsetopt PROMPT_SP; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_in_a_shell(ctl, shell, tmp_path):
    """Typed at its prompt; a function in place of the program says what it was called with."""
    script = tmp_path / "_sagactl"
    script.write_text(ctl("completion", shell).out)
    flags, prepare = SHELLS[shell]
    t = Terminal(ctl, *flags, program=shell, rows=40, columns=200)
    t.type(prepare.format(script=script, folder=tmp_path) + "; sagactl() { echo \"r\"\"an:$*:\"; }; echo rea\"\"dy\n")
    t.expect("ready")
    rows = {"tx\tret\tgid-1 --rea\twhy": "txn retry gid-1 --reason why", "definition sh\tx": "definition show x",
            "txn list --ph\tconfirmi\t": "txn list --phase confirming", "completion z\t": "completion zsh",
            "bulk st\tretry --st\t": "bulk start retry --stuck",
            "txn resolve g s --outc\tref\t": "txn resolve g s --outcome refused",
            f"definition apply {tmp_path}/_sag\t": f"definition apply {script}",
            "--url http://127.0.0.1:7970 txn ret\tgid-2": "--url http://127.0.0.1:7970 txn retry gid-2",
            "--url=http://x:7970 txn ret\tgid-3": "--url=http://x:7970 txn retry gid-3",
            "txn list --label a=b:c --ph\tconfirmi\t": "txn list --label a=b:c --phase confirming",
            "--timeout 3s --json tx\tabandon --conf\t": "--timeout 3s --json txn abandon --confirm"}
    rows |= {"txn list --phase=confirmi\t": "txn list --phase=confirming", f"--token-file={tmp_path}/_sag\ttxn ret\tg": f"--token-file={script} txn retry g"}
    if shell == "bash":
        rows |= {"txn list --phase=\tconfirmi\t": "txn list --phase=confirming", "audit --action=x --by y:z --si\t1d": "audit --action=x --by y:z --since 1d"}
    if shell == "zsh":
        del rows["completion z\t"], rows["bulk st\tretry --st\t"]
        rows["bulk st\tretry --stu\t"] = "bulk start retry --stuck"
    for typed, ran in rows.items():
        t.type(f"sagactl {typed}\n")
        t.expect(f"ran:{ran}")
        assert re.search(rf"ran:{re.escape(ran)} ?:", t.seen), (typed, t.seen[-500:])
    t.type("sagactl participant \t\t")
    for verb in ("list", "put", "pause", "resume"):
        t.expect(verb)
    if shell == "zsh":
        t.expect("Make no calls to it")
    t.process.kill()
    t.end()


def test_completion_and_version(ctl):
    assert re.match(r"sagactl \d+\.\d+\.\d+\n$", ctl("version").out)
    script = ctl("completion", "bash").out
    def complete(*words):
        line = " ".join(f"'{w}'" for w in words)
        got = subprocess.run(["bash", "-c", f"{script}\nCOMP_WORDS=(sagactl {line}); COMP_CWORD={len(words)}; _sagactl; echo ${{COMPREPLY[@]}}"],
                             capture_output=True, check=True)
        assert not got.stderr, got.stderr
        return got.stdout.decode().split()
    assert complete("tx") == ["txn"]
    assert complete("txn", "re") == ["retry", "resume", "resolve", "release"]
    assert complete("txn", "retry", "--rea") == ["--reason"]
    assert complete("txn", "get", "--rea") == []
    assert complete("txn", "list", "--phase", "conf") == ["confirming", "confirmed"]
    assert complete("completion", "z") == ["zsh"]
    assert ctl("completion", "zsh").out.startswith("#compdef sagactl\n")
    assert "bash and zsh" in ctl("completion", "fish", status=2).err
