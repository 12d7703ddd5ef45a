"""Long answers: made while they are sent, few at a time in each process.

A client that reads slowly holds one of the few threads that serve. What is short is made whole
before it is sent, and holds nobody up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from standart.errors import Unavailable

MOST_SENT: Final = 2
"""How many long answers a process sends at a time, of the threads that it serves with."""

SHORT_BYTES: Final = 64 * 1024
"""What is not longer is made whole before it is sent."""

RETRY_SECONDS: Final = 5

_sending: Final = threading.BoundedSemaphore(MOST_SENT)


def sent(pieces: Iterator[bytes]) -> bytes | Iterator[bytes]:
    """Return all of a short answer, or the pieces of a long one.

    A long one is counted until its last piece, or until it is closed because its client is gone.

    Raises:
        Unavailable: enough of them are being sent.
    """
    begun = _beginning(pieces)
    return begun if len(begun) <= SHORT_BYTES else _counted(begun, pieces)


def _beginning(pieces: Iterator[bytes]) -> bytes:
    """Return what comes first: all of a short answer, or more than ``SHORT_BYTES``."""
    begun = b""
    while len(begun) <= SHORT_BYTES and (piece := next(pieces, None)) is not None:
        begun += piece
    return begun


def _counted(begun: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if not _sending.acquire(blocking=False):
        raise Unavailable("Other long answers are being sent.", retry_after=RETRY_SECONDS)

    def send() -> Iterator[bytes]:
        try:
            yield b""
            yield begun
            yield from pieces
        finally:
            _sending.release()

    counted = send()
    # Only a generator that has begun ends by what stands in its finally.
    next(counted)
    return counted
