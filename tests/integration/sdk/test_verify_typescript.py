# SPDX-License-Identifier: Apache-2.0
"""sagactl verify finds nothing wrong with a service on participants/typescript. Stage sdk has compiled it."""
import json
import os
import select
import subprocess

import psycopg

from lib.base import BIN, ROOT, free_port

SECRET = "whsec_bm90IGEgc2VjcmV0IG9mIGFueWJvZHk="


def test_service_on_the_package_is_a_correct_participant(postgres, tmp_path):
    dsn, at = postgres.new_database(), f"127.0.0.1:{free_port()}"
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    env = {**os.environ, **{f"PG{name.upper().replace('DBNAME', 'DATABASE')}": str(text) for name, text in given.items()}}
    (tmp_path / "secret").write_text(SECRET + "\n")
    service = subprocess.Popen(["node", ROOT / "participants/typescript/build/verify_service.js", at, SECRET],
                               env=env, stdout=subprocess.PIPE, text=True)
    try:
        said, _, _ = select.select([service.stdout], [], [], 30)
        assert said and service.stdout.readline() == "ready\n"
        url = f"http://{at}/pieces"
        done = subprocess.run([BIN / "sagactl/sagactl", "verify", url, "--confirm-url", url, "--cancel-url", url, "--input", '{"pieces": 1}',
                               "--refused", '{"pieces": 5000}', "--state-url", f"http://{at}/state", "--secret-file", tmp_path / "secret", "--json"],
                              capture_output=True, text=True, timeout=120)
        probes = json.loads(done.stdout)["probes"]
        assert done.returncode == 0 and len(probes) >= 16 and {probe["state"] for probe in probes} == {"ok"}, probes
    finally:
        service.kill()
        service.wait()
        service.stdout.close()
    postgres.drop_database(dsn)
