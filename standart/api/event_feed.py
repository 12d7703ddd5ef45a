"""Following events over HTTP: an answer may be held until something happens.

A held answer takes one of the few threads that serve, though no connection to the database. So
few are held at a time in each process; whoever comes beyond that is answered at once and asked to
come again soon. A process that is told to end holds nobody any longer.
"""

from __future__ import annotations

import select
import threading
from typing import Final

from flask import Response, current_app
from sqlalchemy import Connection

from standart.api import responses, schemas
from standart.api.checks import uuid_or_none
from standart.api.cursor import Sealer
from standart.api.fields import DEFAULT_LIMIT
from standart.clock import monotonic
from standart.extensions import on_connection, settings
from standart.services import event_feed, key_service
from standart.services.access import Origin
from standart.services.event_feed import START, Stretch
from standart.services.key_service import KeyDigest

MOST_HELD: Final = 2
"""How many answers a process holds at a time, of the threads that it serves with."""

LOOK_SECONDS: Final = 0.5
"""While an answer is held, the database is asked this often."""

POLL_SECONDS: Final = 2
"""The pause that is asked of a client whose empty page was not held."""

ENDING: Final = "standart.ending"
"""The extension that is a file descriptor: readable once the process is told to end."""

NOW: Final = "now"
_BEGINNING: Final = "start"

_held: Final = threading.BoundedSemaphore(MOST_HELD)


def follow(digest: KeyDigest, origin: Origin, asked: schemas.ListEvents, after: str) -> Response:
    """Answer what lies behind ``after``, held for up to ``asked.wait`` seconds if nothing does.

    The key is proven at each look: one that is revoked meanwhile hears nothing more.

    Raises:
        InvalidInput: ``after`` was not made here for this caller and these filters.
    """
    deadline = monotonic() + int(asked.wait or 0)
    look = _Look(digest, origin, asked, after)
    page = look.once()
    if page.events or after == NOW or not asked.wait or not _held.acquire(blocking=False):
        return look.answer(page)
    try:
        while not page.events and (remaining := deadline - monotonic()) > 0:
            if _told_to_end_within(min(LOOK_SECONDS, remaining)):
                break
            page = look.once()
    finally:
        _held.release()
    return look.answer(page, held=True)


def _told_to_end_within(seconds: float) -> bool:
    """Wait for ``seconds``, or shorter if this process is told to end; tell which it was."""
    ending = current_app.extensions.get(ENDING)
    readable, _, _ = select.select([] if ending is None else [ending], [], [], seconds)
    return bool(readable)


class _Look:
    """One call's way to look for events and to answer them."""

    def __init__(
        self, digest: KeyDigest, origin: Origin, asked: schemas.ListEvents, after: str
    ) -> None:
        self._digest, self._origin = digest, origin
        self._asked, self._after = asked, after
        self._limit = int(asked.limit or DEFAULT_LIMIT)
        self._user_id = uuid_or_none(asked.user_id)
        self._secret = settings().secret_key
        self._sealer: Sealer | None = None

    def once(self) -> Stretch:
        """Read what there is now."""
        return on_connection(self._read)

    def _read(self, connection: Connection) -> Stretch:
        actor = key_service.authenticate(connection, self._digest, self._origin)
        self._sealer = Sealer(self._secret, "event_feed", actor, self._asked)
        after = None
        if self._after == _BEGINNING:
            after = START
        elif self._after != NOW:
            after = self._sealer.open_number(self._after, "after")
        return event_feed.read(
            connection,
            actor,
            user_id=self._user_id,
            type=self._asked.type,
            after=after,
            limit=self._limit,
        )

    def answer(self, page: Stretch, *, held: bool = False) -> Response:
        """Return ``page`` with the cursor behind it."""
        assert self._sealer is not None
        pause = 0 if page.events or held else POLL_SECONDS
        body = (
            f'{{"data":[{",".join(page.events)}],'
            f'"next":"{self._sealer.seal_number(*page.next)}","poll_after":{pause}}}'
        )
        return responses.ready(body.encode())
