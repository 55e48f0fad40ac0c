# SPDX-License-Identifier: Apache-2.0
"""A page for people whose commands are run as they stand there, so that page and program cannot drift apart."""
import os
import re
import subprocess
import time

from .base import BIN, ROOT

PARTS = ("Symptom", "Look", "Do", "Check")
_OURS = {name: value for name, value in os.environ.items() if not name.startswith("SAGAD_") and name != "NO_COLOR"}


def sections(path):
    """Of each "## " of a page that has the parts of an incident: title → part → its lines of sh."""
    found = {}
    for text in re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
        title, _, body = text.partition("\n")
        if not re.search(r"^\*\*Symptom\.\*\*", body, re.M):
            continue
        parts, bodies = {}, re.split(r"^\*\*([A-Z][a-z]+)\.\*\*", body, flags=re.M)
        for name, part in zip(bodies[1::2], bodies[2::2]):
            blocks = "".join(re.findall(r"^```sh\n(.*?)^```", part, re.M | re.S))
            parts[name] = [line for line in blocks.replace("\\\n", " ").splitlines() if line.strip()]
        found[title] = parts
    return found


class Page:
    """Plays one section of docs/operating.md."""

    path = ROOT / "docs/operating.md"

    def __init__(self, title, urls, bin_folder, **env):
        self.parts = sections(self.path)[title]
        self.urls, self.played = urls, []
        (bin_folder / "sagactl").symlink_to(BIN / "sagactl/sagactl")
        self.env = {**_OURS, "PATH": f"{bin_folder}:{os.environ['PATH']}", "SAGAD_ACTOR": "oncall",
                    **{name: str(value) for name, value in env.items()}}

    def run(self, line):
        return subprocess.run(["bash", "-uo", "pipefail", "-c", line], capture_output=True, text=True, timeout=120, check=False,
                              stdin=subprocess.DEVNULL, env={"SAGAD_URL": ",".join(self.urls()), **self.env})

    def play(self, part, patience=0):
        """Runs its lines, one by one, and gives what they printed; "# exit 9" says how one ends if not well.
        A line is tried again for so many seconds, as a person would."""
        self.played.append(part)
        printed = ""
        for line in self.parts[part]:
            wanted = re.search(r"# exit (\d+)$", line)
            until = time.monotonic() + patience
            while (done := self.run(line)).returncode != int(wanted[1] if wanted else 0):
                assert time.monotonic() < until, f"{line}\nexit {done.returncode}\n{printed}{done.stdout}{done.stderr}"
                time.sleep(0.5)
            printed += done.stdout + done.stderr
        return printed

    def look(self, *says):
        """Plays it; each of the texts has to be seen."""
        printed = self.play("Look")
        for text in says:
            assert re.search(text, printed), (text, printed)
        return printed

    def do(self):
        return self.play("Do")

    def check(self):
        printed = self.play("Check", patience=20)
        assert self.played == ["Look", "Do", "Check"], "nobody skips a part at three in the morning"
        return printed
