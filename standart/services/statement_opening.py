"""What a merchant had at a moment, by whichever end of its history is nearer.

A statement of today must not read the history of years, nor that of the first month all that
came since. Sums are read in pages, so that no statement runs for long.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from standart.services import ledger_service
from standart.services.statement_sql import AROUND, NO_ID, SUMS

PAGE: Final = 20_000

FIRST_LOOK: Final = 1000
_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)

Held = tuple[int, int]
"""What is available and what is reserved, in minor units."""


def held_before(
    connection: Connection, user_id: UUID, currency: str, start: datetime, present: datetime
) -> Held:
    """Return the sums of all entries of journals before ``start``.

    Everything up to ``present`` has been posted, and ``start`` is before it.
    """
    if _beginning_is_nearer(connection, user_id, start):
        return _moved(connection, user_id, currency, _BEGINNING, start)
    # The other reckons up to and including a moment.
    last = present - timedelta(microseconds=1)
    held = ledger_service.held_at(connection, user_id, last)
    now = next((each for each in held if each.currency == currency), None)
    available, reserved = _moved(connection, user_id, currency, start, present)
    if now is None:
        return 0, 0
    return now.available - available, now.pending_payout - reserved


def _beginning_is_nearer(connection: Connection, user_id: UUID, start: datetime) -> bool:
    """Tell whether fewer journals lie before ``start`` than after it."""
    most = FIRST_LOOK
    while True:
        found = connection.execute(AROUND, {"user_id": user_id, "at": start, "most": most}).one()
        if found.before < most or found.after < most:
            return bool(found.before <= found.after)
        most *= 8


def _moved(
    connection: Connection, user_id: UUID, currency: str, start: datetime, end: datetime
) -> Held:
    """Return what journals from ``start`` on and before ``end`` came to."""
    available = reserved = 0
    place: dict[str, object] = {"at": start, "id": NO_ID}
    asked = {"user_id": user_id, "currency": currency, "end": end, "batch": PAGE}
    while True:
        page = connection.execute(SUMS, {**asked, **place}).one_or_none()
        if page is None:
            return available, reserved
        available, reserved = available + page.available, reserved + page.reserved
        if page.journals < PAGE:
            return available, reserved
        place = {"at": page.at, "id": page.id}
