# SPDX-License-Identifier: Apache-2.0
"""What a process holds: descriptors and memory, as the kernel counts them."""
import os
import socket
import struct
import time

from lib.base import until

KIB = 1024
MIB = 1024 * 1024
# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
SOCK_DIAG, BY_FAMILY, DUMP, DONE, ERROR = 4, 20, 0x301, 3, 2
TIME_WAIT = 6


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def sockets_to(port):
    """The inodes of the connections over IPv4 to that port, those aside that nobody holds any more: of these a machine under
    such load has tens of thousands, and /proc/net/tcp would be a tenth of a second for each that asks."""
    states = 0xfff & ~(1 << TIME_WAIT)
    wanted = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, states) + struct.pack("!HH44x", 0, port)
    found = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as line:
        line.send(struct.pack("=IHHII", 16 + len(wanted), BY_FAMILY, DUMP, 1, 0) + wanted)
        while True:
            data, at = line.recv(1 << 16), 0
            while at < len(data):
                size, kind = struct.unpack_from("=IH", data, at)
                if kind == DONE:
                    return found
                assert kind != ERROR, os.strerror(-struct.unpack_from("=i", data, at + 16)[0])
                found.add(struct.unpack_from("=I", data, at + 84)[0])
                at += size + 3 & ~3


def descriptors(pid, port):
    """How many descriptors a process has, and how many more that are connections to that port."""
    calls = {f"socket:[{inode}]" for inode in sockets_to(port)}
    links = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:  # closed meanwhile
            pass
    ours = sum(link in calls for link in links)
    return len(links) - ours, ours


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
