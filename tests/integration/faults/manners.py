# SPDX-License-Identifier: Apache-2.0
"""Bad manners of the participant of the fault suite, by name: what it says in place of an answer."""
import random

from .participant import FLOOD, Reply

OK, CHUNKED = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chance(rng, **more):
    """Whoever says nothing that means yes may have done it all the same."""
    return Reply(do=rng.random() < 0.5, **more)


# Each gives a Reply. One that begins with a 2xx has been done: that much the caller may believe.
MANNERS = {
    "hangs": lambda rng: chance(rng, raw=b"", hang=True),
    "hangs in the headers": lambda rng: Reply(do=True, raw=OK + b"Content-Ty", hang=True),
    "gives half an answer": lambda rng: Reply(do=True, raw=OK + b'Content-Length: 100\r\n\r\n{"id":'),
    "gives half a chunk": lambda rng: Reply(do=True, raw=CHUNKED + b'40\r\n{"id":'),
    "gives half an answer and hangs": lambda rng: Reply(do=True, raw=OK + b'Content-Length: 100\r\n\r\n{"id":', hang=True),
    "answers garbage": lambda rng: chance(rng, raw=rng.randbytes(2000).replace(b"HTTP", b"PTTH")),
    "is no HTTP server": lambda rng: chance(rng, raw=b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "closes": lambda rng: chance(rng, drop=True),
    "says 503": lambda rng: chance(rng, status=503),
    "is late": lambda rng: Reply(delay=3.2),
    "redirects": lambda rng: Reply(rng.choice([301, 302, 303, 307, 308]), do=False,
                                   headers={"Location": "http://127.0.0.1:9/elsewhere"}),
    "is not there": lambda rng: Reply(404, do=False),
    "sends 100 MB": lambda rng: Reply(do=True, more=b"x" * 65536,
                                      raw=OK + b'Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"' % (FLOOD + 1)),
}


class Moody:
    """For Participant.answer(): that share of the calls is met with one of these manners, the rest as ever."""

    def __init__(self, seed, names=None, share=1.0):
        self.rng, self.names, self.share = random.Random(seed), list(names or MANNERS), share

    def __call__(self, call):
        return MANNERS[self.rng.choice(self.names)](self.rng) if self.rng.random() < self.share else None
