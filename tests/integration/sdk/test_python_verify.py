# SPDX-License-Identifier: Apache-2.0
"""sagactl verify against services of participants/python: what the package makes right, and what it cannot."""
import json
import subprocess

import psycopg
import pytest

import sagad
from lib.base import BIN
from sagad import wsgi

SECRET = "whsec_" + "c2VjcmV0IG9mIGEgdGVzdCE="
HOLD = "UPDATE seats SET held = held + %(n)s, free = free - %(n)s WHERE free >= %(n)s"


@pytest.fixture
def seats(dsn):
    with psycopg.connect(dsn) as db:
        db.execute("DROP TABLE IF EXISTS seats")
        db.execute("CREATE TABLE seats (free int, held int, sold int)")
        db.execute("INSERT INTO seats VALUES (1000, 0, 0)")
    return lambda: psycopg.connect(dsn)


def service_of(seats, fault=None):
    made = sagad.Participant(seats, secrets=[] if fault == "lets everybody in" else [SECRET])

    @made.on("/hold")
    def hold(call, db):
        if db.execute(HOLD, call.json()).rowcount == 0 and fault != "never refuses":
            raise sagad.Refused("sold out")

    @made.on("/confirm", "confirm")
    def confirm(call, db):
        db.execute("UPDATE seats SET held = held - 1, sold = sold + 1")

    @made.on("/cancel", "cancel")
    def cancel(call, db):
        if fault != "undoes nothing":
            db.execute("UPDATE seats SET held = held - 1, free = free + 1")
    return made


def application_of(service, seats):
    calls = wsgi.application(service)

    def application(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            return calls(environ, start_response)
        with seats() as db:
            free, held, sold = db.execute("SELECT * FROM seats").fetchone()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"free": free, "held": held, "sold": sold}).encode()]
    return application


def verify(url, tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    done = subprocess.run([BIN / "sagactl/sagactl", "verify", f"{url}/hold", "--confirm-url", f"{url}/confirm", "--cancel-url", f"{url}/cancel",
                           "--state-url", f"{url}/state", "--remember", "50ms", "--input", '{"n": 1}', "--refused", '{"n": 100000}',
                           "--secret-file", tmp_path / "secret", "--json"], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, {probe["name"]: probe for probe in json.loads(done.stdout)["probes"]}


def test_service_of_the_package_passes_all_probes(seats, serve, tmp_path):
    status, probes = verify(serve(application_of(service_of(seats), seats)), tmp_path)
    assert {name: probe for name, probe in probes.items() if probe["state"] != "ok"} == {} and status == 0 and probes


@pytest.mark.parametrize("fault, wrong", [("lets everybody in", "signature"), ("never refuses", "refusal"), ("undoes nothing", "cancel")])
def test_what_the_package_cannot_make_right_is_found(seats, serve, tmp_path, fault, wrong):
    status, probes = verify(serve(application_of(service_of(seats, fault), seats)), tmp_path)
    assert status == 9 and probes[wrong]["state"] == "wrong"
