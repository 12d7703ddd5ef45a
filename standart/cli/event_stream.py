"""Follows the events of a Standart server by long polls of ``GET /events``.

It needs an API key and nothing else. The server's cursor passes over no event, one that commits
late included; here it moves on only after a whole page was handed on, so that nothing is lost or
doubled however often the server goes away.
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit
from uuid import UUID

import msgspec

from standart import __version__
from standart.clock import monotonic

WAIT_SECONDS: Final = 25
"""How long the server may hold a poll when there is nothing to tell."""

GRACE_SECONDS: Final = 15
"""How much longer than that an answer is waited for."""

NOW: Final = "now"
"""The cursor of what will happen from now on."""

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_SHORTEST_POLL: Final = 1.0
_ANSWER_LIMIT: Final = 64 * 1024 * 1024


class StreamRefused(Exception):
    """The server does not let us follow, and asking again would not help; the text says why."""


class _Trouble(Exception):
    """The server cannot answer right now; ``pause`` is how long it asks for, in seconds."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class StreamedEvent(msgspec.Struct):
    """What is read of an event; ``payload`` is what webhooks carry, byte for byte."""

    id: str
    type: str
    created_at: str
    payload: msgspec.Raw
    line: bytes = b""
    """The whole event as the server tells it, on one line."""


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    next: str
    poll_after: float = 0.0


def _quiet(message: str) -> None:
    """Say nothing."""


@dataclass(slots=True)
class EventStream:
    """One server's events behind ``cursor``; ``tell`` hears of troubles and of their end."""

    base: str
    key: str
    cursor: str = NOW
    tell: Callable[[str], None] = _quiet
    pause: Callable[[float], None] = time.sleep
    wait: int = WAIT_SECONDS
    user_id: UUID | None = None
    """Whose events; an admin's key must say it."""
    _troubles: int = field(default=0, init=False)

    def start(self) -> None:
        """Find out where ``now`` is, so that from here on nothing is missed.

        Raises:
            StreamRefused: the key, the cursor or the address is not right.
        """
        if self.cursor == NOW:
            self.cursor = self._page(wait=0).next

    def pages(self) -> Iterator[list[StreamedEvent]]:
        """Yield what happens, oldest first, for ever; each page is read whole or not at all.

        Raises:
            StreamRefused: as ``start``.
        """
        while True:
            asked = monotonic()
            page = self._page(wait=self.wait)
            if page.data:
                yield [_event(raw) for raw in page.data]
            else:
                # A server that cannot hold a poll now must not be asked without a break.
                shortest = max(page.poll_after, _SHORTEST_POLL)
                self.pause(max(0.0, shortest - (monotonic() - asked)))
            self.cursor = page.next

    def _page(self, wait: int) -> _Page:
        while True:
            try:
                page = self._ask(wait)
            except _Trouble as trouble:
                self._bear(trouble)
            else:
                if self._troubles:
                    self.tell("the server answers again")
                self._troubles = 0
                return page

    def _bear(self, trouble: _Trouble) -> None:
        """Wait longer with each failure; tell of the first one only."""
        if self._troubles == 0:
            self.tell(f"{trouble}; trying again")
        pause = min(_FIRST_PAUSE * 2**self._troubles, _LONGEST_PAUSE)
        self._troubles = min(self._troubles + 1, 16)
        self.pause(max(trouble.pause, pause * random.uniform(0.8, 1.2)))

    def _ask(self, wait: int) -> _Page:
        query = {"after": self.cursor, "wait": str(wait)}
        if self.user_id is not None:
            query["user_id"] = str(self.user_id)
        status, retry_after, body = _get(urlsplit(self.base), self.key, query)
        if status == http.client.OK:
            try:
                return msgspec.json.decode(body, type=_Page)
            except msgspec.DecodeError:
                raise _Trouble("the answer is not that of a Standart server") from None
        if status == http.client.TOO_MANY_REQUESTS or status >= 500:
            raise _Trouble(f"the server answers {status}", retry_after)
        raise StreamRefused(f"the server answers {status}: {_detail(body)}")


def _event(raw: msgspec.Raw) -> StreamedEvent:
    event = msgspec.json.decode(raw, type=StreamedEvent)
    event.line = msgspec.json.format(bytes(raw), indent=-1)
    return event


def _get(base: SplitResult, key: str, query: dict[str, str]) -> tuple[int, float, bytes]:
    """Return status, ``Retry-After`` in seconds and body; the key goes nowhere but to ``base``.

    Raises:
        _Trouble: there was no whole answer.
        StreamRefused: the server's certificate is not right.
    """
    make = http.client.HTTPSConnection if base.scheme == "https" else http.client.HTTPConnection
    connection = make(base.hostname or "", base.port, timeout=int(query["wait"]) + GRACE_SECONDS)
    try:
        connection.request(
            "GET",
            f"{base.path.rstrip('/')}/events?{urlencode(query)}",
            headers={
                "Authorization": f"Bearer {key}",
                "User-Agent": f"Standart/{__version__} listen",
            },
        )
        answer = connection.getresponse()
        body = answer.read(_ANSWER_LIMIT)
        return answer.status, _seconds(answer.headers.get("Retry-After")), body
    except ssl.SSLCertVerificationError as error:
        raise StreamRefused(
            f"the server's certificate is not accepted: {error.verify_message}"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Trouble(f"the server cannot be reached ({error})") from None
    finally:
        connection.close()


def _seconds(header: str | None) -> float:
    return float(header) if header is not None and header.isdecimal() else 0.0


def _detail(body: bytes) -> str:
    """Return what a problem document says, or that there is none."""
    try:
        problem = json.loads(body)
        wrong = [f"{each['field']} {each['message']}" for each in problem.get("errors", ())]
        return "; ".join(wrong) or str(problem["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "no reason given"
