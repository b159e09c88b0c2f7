"""Ports for servers of the tests."""

import itertools
import os
import socket

# Not what the kernel gives to connections (32768 and above): such a one may be taken again at any moment.
FIRST, COUNT = 20000, 10000
_next = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now, for TCP and UDP, and that is not given twice."""
    for number in itertools.islice(_next, COUNT):
        port = FIRST + number % COUNT
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            try:
                stream.bind(("127.0.0.1", port))
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


def free_pair() -> int:
    """The first of two neighbouring free ports."""
    port, after = free_port(), free_port()
    while after != port + 1:
        port, after = after, free_port()
    return port
