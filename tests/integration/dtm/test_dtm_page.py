# SPDX-License-Identifier: Apache-2.0
"""What docs/dtm.md tells a newcomer to type, typed as it stands there; but for the ports, which are those of the tests."""
import json
import os
import re
import subprocess

import pytest

from lib.base import BIN, ROOT, free_port


@pytest.fixture(scope="module")
def typed(dtm_cluster, tmp_path_factory):
    """What each of the page's blocks printed."""
    page = (ROOT / "docs/dtm.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
    folder = tmp_path_factory.mktemp("page")
    (folder / ".dev").mkdir()
    (folder / "build").mkdir()
    (folder / "build/plain").symlink_to(BIN)
    script = "\necho '====='\n".join(blocks)
    for port, ours in ((7070, dtm_cluster.replicas[0].port), (7099, free_port())):
        assert f"127.0.0.1:{port}" in script
        script = script.replace(str(port), str(ours))
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL, env={k: v for k, v in os.environ.items() if not k.startswith("SAGAD_")})
    assert done.returncode == 0, done
    return [block.splitlines() for block in done.stdout.split("=====\n")]


def test_what_clients_send(typed):
    new, first, second, status, *rest = typed[1]
    assert len(json.loads(new)["gid"]) == 22 and json.loads(first) == {"dtm_result": "SUCCESS"}
    assert json.loads(second) == {"dtm_result": "FAILURE", "message": "HTTP 200: no money: FAILURE"} and status == '"failed"'
    branches = [json.loads(line) for line in rest[:4]]
    assert [b[:3] for b in branches] == [["01", "compensate", "succeed"], ["01", "action", "succeed"],
                                         ["02", "compensate", "succeed"], ["02", "action", "failed"]]
    asked = [re.search(r'"GET /(\w+)\?branch_id=(\d+)&gid=([\w-]+)&op=(\w+)&trans_type=saga', line) for line in rest[4:]]
    assert [m.groups() for m in asked if m] == [
        ("book", "01", "a-trip", "action"), ("pay", "02", "a-trip", "action"), ("book", "01", "a-trip-too-far", "action"),
        ("no", "02", "a-trip-too-far", "action"), ("undo", "02", "a-trip-too-far", "compensate"),
        ("undo", "01", "a-trip-too-far", "compensate")]


def test_what_operators_do(typed):
    printed = "\n".join(typed[2])
    assert re.search(r"^a-trip +confirmed", printed, re.M) and re.search(r"^a-trip-too-far +cancelled", printed, re.M)
    assert '"dtm_result":"ONGOING"' in printed and re.search(r"^branch-02 +try .*404", printed, re.M)
    assert re.search(r"^a-trip-that-waits is trying", printed, re.M) and '{"dtm_result":"SUCCESS"}' in printed
    assert re.search(r'^\["confirmed",\{"dtm":"saga"\},1,\d+\]$', printed, re.M), printed
    assert "it moved" in printed and '{"items":[' in printed
