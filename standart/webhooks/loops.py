"""The event loop that the sender runs on best: uvloop, which makes each attempt cheaper.

The sender itself works on any event loop; see docs/adr/0006-webhook-http-client.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end on a new event loop of its own, in whatever thread this is.

    Raises what ``work`` raises, and RuntimeError when an event loop runs in this thread already.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
