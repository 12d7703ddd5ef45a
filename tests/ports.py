"""Ports for servers that a test starts, each for one test alone."""

from __future__ import annotations

import itertools
import os
import socket

# Below those that systems give to whoever connects: between the choice of a port and the start
# of its server nobody gets it by chance, neither a client nor a listener that asks for any.
_LOWEST, _NUMBER = 20_000, 12_000

# Where a process begins differs, so that the workers of a run seldom meet; what keeps them
# apart is the claim below.
_offers = itertools.count(os.getpid() * 101)


def free_port() -> int:
    """Return a port of the loopback interface that is nobody's, and that no other test gets."""
    for number in itertools.islice(_offers, _NUMBER):
        port = _LOWEST + number % _NUMBER
        if _claimed(port) and _is_free(port):
            return port
    raise AssertionError("all ports are taken")


def _claimed(port: int) -> bool:
    """Hold the UDP port of that number until this process ends: only one process can."""
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        claim.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    claim.detach()
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
