# SPDX-License-Identifier: Apache-2.0
"""What a process holds: descriptors and memory, as the kernel counts them."""
import os
import time

from lib.base import until

KIB = 1024
MIB = 1024 * 1024


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def field(path, name):
    with open(path, encoding="ascii") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * KIB
    raise AssertionError(f"no {name} in {path}")


def pss(pid):
    """Its memory, shared pages counted by how many share them."""
    return field(f"/proc/{pid}/smaps_rollup", "Pss")


def rss(pid):
    return field(f"/proc/{pid}/status", "VmRSS")


def peak_rss(pid):
    """The most it ever had since forget_peak."""
    return field(f"/proc/{pid}/status", "VmHWM")


def forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


class Flat:
    """Asserts that what is done inside leaves no descriptor behind and needs no more memory than this."""

    def __init__(self, replicas, memory=8 * MIB, spare_fds=4):
        self.pids = [r.process.pid for r in replicas]
        self.memory, self.spare_fds = memory, spare_fds

    def __enter__(self):
        for pid in self.pids:
            forget_peak(pid)
        self.before = [(fds(pid), rss(pid)) for pid in self.pids]
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        peaks = [peak_rss(pid) for pid in self.pids]
        for pid, (_, memory), peak in zip(self.pids, self.before, peaks):
            grown = peak - memory
            assert grown <= self.memory, f"{pid} needed {grown / MIB:.1f} MiB more"
        for pid, (number, _) in zip(self.pids, self.before):
            # Connections kept for the next call are no leak: they end with their server.
            until(lambda pid=pid, number=number: fds(pid) <= number + self.spare_fds, 15)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def crowd(work=0.1):
    """How many times as long as alone a processor's work takes on this machine just now."""
    began, used = time.monotonic(), time.process_time()
    while time.process_time() < used + work:
        pass
    return max(1.0, (time.monotonic() - began) / work)


class Watch:
    """Seconds since it was made."""

    def __init__(self):
        self.began = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.began
