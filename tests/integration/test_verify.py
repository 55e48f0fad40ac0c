# SPDX-License-Identifier: Apache-2.0
"""sagactl verify: services that are right, and services that are wrong in each way that it can find."""
import json
import re
import subprocess

import psycopg
import pytest

from lib.base import BIN, free_port, until
from lib.client import Client
from lib.fickle import SECRET, Fickle
from lib.stub import Reply

SAGACTL = BIN / "sagactl/sagactl"
ALL = {fault for fault, _ in Fickle.FAULTS.values()}
SOON = ("--remember", "0ms")


def verify(url, *flags, status=0):
    done = subprocess.run([SAGACTL, "verify", url, *flags], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


def probes(*arguments, status=0):
    answer = json.loads(verify(*arguments, "--json", status=status).stdout)
    assert answer["well"] == (status == 0)
    return {p["name"]: p for p in answer["probes"]}


@pytest.fixture(scope="module")
def fickle():
    made = Fickle()
    yield made
    made.close()


@pytest.fixture
def whole(fickle, tmp_path):
    """All that can be asked of it."""
    fickle.faults, fickle.signed = set(), True
    (tmp_path / "secret").write_text(SECRET + "\n")
    yield [fickle.url, "--confirm-url", fickle.url, "--state-url", f"{fickle.url}/state", "--input", '{"n": 1.10}',
           "--refused", '{"refuse": true}', "--secret-file", str(tmp_path / "secret"), "--remember", "100ms"]
    fickle.signed = False


def test_service_that_is_right_passes(whole):
    assert {p["state"] for p in probes(*whole).values()} == {"ok"}


@pytest.mark.parametrize("fault", Fickle.FAULTS)
def test_fault_is_found_and_said(fickle, whole, fault):
    fickle.faults = {fault}
    name, says = Fickle.FAULTS[fault]
    found = probes(*whole, status=9)
    assert found[name]["state"] == "wrong", found
    assert re.search(says, found[name]["finding"]), found[name]
    assert found[name]["advice"]


def test_each_probe_can_fail(whole):
    assert set(probes(*whole)) == ALL


def test_what_is_not_given_is_skipped(fickle):
    fickle.faults = set()
    found = probes(fickle.url, *SOON)
    skipped = {name: p["finding"] for name, p in found.items() if p["state"] == "skipped"}
    assert skipped == {"state": "--state-url is not given: only answers are judged", "refusal": "--refused is not given", "signature": "--secret-file is not given",
                       **{name: "--confirm-url is not given" for name in found if "confirm" in name}}


def test_a_try_by_get_is_found_without_a_state(fickle):
    fickle.faults = {"any_method"}
    assert probes(fickle.url, *SOON, status=9)["method"]["finding"] == "a try by GET was answered 201, as the try is"


def test_a_second_step_that_is_not_told_from_the_first_is_found_without_a_state(fickle):
    fickle.faults = {"step_ignored"}
    found = probes(fickle.url, *SOON, status=9)["two_steps"]
    assert found["finding"] == "after the cancel of one step a duplicate of the other one's try was answered 422 (422: cancelled)"


def test_two_steps_are_two_calls_under_one_gid(fickle, whole):
    fickle.faults, fickle.calls = set(), []
    probes(*whole)
    steps = [(step, op) for gid, step, op, _, _ in fickle.calls if gid.endswith("-two_steps")]
    assert steps == [("verify", "try"), ("verify-second", "try"), ("verify", "cancel"), ("verify-second", "try"), ("verify-second", "cancel")]


def test_a_state_that_stands_still_is_said_to_show_nothing(fickle, whole):
    """What books every duplicate would pass by it."""
    fickle.faults = {"done_twice_answered_once"}
    whole[whole.index("--state-url") + 1] = f"{fickle.url}/#/taken"
    found = probes(*whole)
    assert found["state"]["state"] == "skipped" and found["duplicate_try"]["state"] == "ok"
    assert re.fullmatch(r"a try did not change the state, \d+: only answers are judged, and what is done twice is not seen",
                        found["state"]["finding"]), found
    said = verify(*whole).stdout
    assert "         -> point --state-url at a number that each try moves and its cancel moves back (docs/verify.md)\n" in said, said


def test_people_are_told_in_words(fickle, whole):
    fickle.faults = {"empty_cancel_404"}
    said = verify(*whole, status=9).stdout
    assert re.search(r"^wrong    a cancel that comes before its try is fine, and forbids it\n"
                     r"         a cancel that came before its try was answered 404\n"
                     r"         -> answer 2xx and refuse the try that comes later; ", said, re.M), said
    assert re.search(r"^21 ok, 1 wrong, 0 hints, 0 skipped; \d+ calls$", said, re.M), said


def test_input_that_is_refused_ends_it(fickle):
    fickle.faults = set()
    found = probes(fickle.url, "--input", '{"refuse": 1}', status=9)
    assert found.pop("first_try")["finding"] == "a try was answered 422 (422: sold out)"
    assert {p["state"] for p in found.values()} == {"skipped"}


def test_the_skips_are_one_line(fickle):
    fickle.faults = set()
    said = verify(fickle.url, "--input", '{"refuse": 1}', status=9).stdout.splitlines()
    assert len(said) == 6 and said[2].startswith("         -> give an input that the service accepts"), said
    assert said[3] == "skipped  all others: the first try and its cancel have to work", said


def test_a_cancel_that_went_to_the_try_is_told_of_its_url(fickle):
    fickle.faults = {"cancel_refused"}
    assert "give --cancel-url" in probes(fickle.url, status=9)["first_try"]["advice"]
    given = probes(fickle.url, "--cancel-url", fickle.url, status=9)["first_try"]["advice"]
    assert given == "a cancel cannot be refused: answer 2xx, or 503 to be called again"


def test_state_that_cannot_be_read_is_said(fickle):
    fickle.faults = set()
    for url in (f"{fickle.url}/#/held/x", f"{fickle.url}/#/nothing", f"http://127.0.0.1:{free_port()}/"):
        found = probes(fickle.url, *SOON, "--state-url", url, status=9)
        assert found["state"]["finding"] == "the state cannot be read", url
    assert probes(fickle.url, *SOON, "--state-url", f"{fickle.url}/#/held")["cancel"]["state"] == "ok"


def test_nobody_there():
    assert "connect" in verify(f"http://127.0.0.1:{free_port()}/x", status=3).stderr


@pytest.mark.parametrize("flags", [["ftp://x/"], ["http://x/", "--input", "{"], ["http://x/", "--secret-file", "/nowhere"],
                                   ["http://${input.host}/"], ["http://x/", "--remember", "long"]])
def test_wrong_use(flags):
    assert verify(*flags, status=2).stderr.startswith("sagactl: ")


@pytest.mark.parametrize("name,paths,order", [
    ("hotel", ("/reservations", None, "/reservations/${gid}/cancel"), {"nights": 1}),
    ("stock", ("/pieces/reserve", "/pieces/confirm", "/pieces/cancel"), {"pieces": 1})])
def test_services_of_libsaga_pass(database, name, paths, order):
    """The barrier in SQL, behind libsaga."""
    at = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen([BIN / f"examples/{name}", f"--listen={at}", f"--dsn={database}"], stderr=subprocess.DEVNULL)
    try:
        def is_up():
            try:
                return Client(lambda: [at]).get("/livez").status == 200
            except OSError:
                return False
        until(is_up)
        url = f"http://{at}"
        flags = [*SOON, "--cancel-url", url + paths[2], "--state-url", f"{url}/#/items", "--input", json.dumps(order),
                 "--refused", json.dumps({name: 10 ** 9 for name in order}), *(["--confirm-url", url + paths[1]] if paths[1] else [])]
        states = {n: p["state"] for n, p in probes(url + paths[0], *flags).items()}
        assert set(states.values()) == {"ok", "skipped"}, states
    finally:
        process.terminate()
        process.wait()


def test_smallest_service_of_the_docs_passes(database, stub):
    """docs/participants.md shows it, so it is what people copy."""
    with psycopg.connect(database) as db:
        db.execute("CREATE TABLE seat (number int PRIMARY KEY, holder text, sold boolean NOT NULL DEFAULT false)")
        db.execute("INSERT INTO seat SELECT n FROM generate_series(1, 100) n")
    at = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen([BIN / "examples/smallest", at, database], stderr=subprocess.DEVNULL)
    try:
        def is_up():
            try:
                return Client(lambda: [at]).get("/livez").status
            except OSError:
                return False
        until(is_up)

        def count_of_seats(_):
            with psycopg.connect(database) as db:
                return Reply(200, db.execute("SELECT count(holder), count(*) FILTER (WHERE sold) FROM seat").fetchone())
        url, state = f"http://{at}/seats", stub.on("/seats", count_of_seats)
        found = probes(url, *SOON, "--cancel-url", f"{url}/cancel", "--confirm-url", f"{url}/confirm", "--state-url", state)
        assert {n for n, p in found.items() if p["state"] != "ok"} == {"refusal", "signature"}, found
    finally:
        process.terminate()
        process.wait()
