"""The outbox: what happened, and who is told, in the transaction that makes it true.

An event is written whether or not anybody wants it; a delivery only for endpoints that ask for
its type. Transactions do the same in their own statements (``transaction_sql``), of the parts
that stand here.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from standart.clock import new_id
from standart.services.wire import rfc3339

CALLABLE: Final = "w.url IS NOT NULL AND w.disabled_at IS NULL"
"""SQL: whether the endpoint ``w`` is called at all; a deleted one is disabled too."""


def subscribed(kind: str) -> str:
    """SQL: whether the endpoint ``w`` gets events of the type in expression ``kind``."""
    return (
        f"({CALLABLE} AND w.event_types && ARRAY[{kind}, split_part({kind}, '.', 1) || '.*', '*'])"
    )


# From the rows named ``event``: a delivery for each endpoint that asked for it.
DELIVER: Final = f"""
    delivery AS (
        INSERT INTO deliveries (user_id, id, event_id, endpoint_id)
        SELECT v.user_id, gen_random_uuid(), v.id, w.id
        FROM event v JOIN webhook_endpoints w ON w.user_id = v.user_id
        WHERE {subscribed("v.type")}
        RETURNING 1
    )"""

# For this endpoint alone, whatever it asks for.
_DELIVER_TO: Final = """
    delivery AS (
        INSERT INTO deliveries (user_id, id, event_id, endpoint_id)
        SELECT v.user_id, gen_random_uuid(), v.id, :endpoint_id FROM event v
        RETURNING 1
    )"""


def _telling(deliver: str) -> TextClause:
    # The payload holds the object as it stands in the answer, so the two cannot differ.
    return text(
        f"""
    WITH event AS (
        INSERT INTO events (user_id, id, refund_id, payout_id, adjustment_id, endpoint_id, type,
            sequence, payload, created_at)
        SELECT :user_id, :event_id, CAST(:refund_id AS uuid), CAST(:payout_id AS uuid),
            CAST(:adjustment_id AS uuid), CAST(:endpoint_id AS uuid), CAST(:type AS text),
            :sequence, (SELECT row_to_json(e)::text FROM (SELECT
                CAST(:type AS text) AS type, {rfc3339("c.now")} AS "timestamp",
                w.body ->> 'id' AS id, w.body ->> 'status' AS status,
                :sequence AS sequence, w.body AS data
            ) AS e),
            c.now
        FROM (SELECT clock_timestamp() AS now) AS c, (SELECT CAST(:body AS json) AS body) AS w
        RETURNING user_id, id, type
    ),
    {deliver}
    SELECT id FROM event
    """
    )


# Whoever added an endpoint shall hear that another one is not called any more, whatever he asked
# for; a plain webhook URL gets only what it asks for.
_DELIVER_STOP: Final = f"""
    delivery AS (
        INSERT INTO deliveries (user_id, id, event_id, endpoint_id)
        SELECT v.user_id, gen_random_uuid(), v.id, w.id
        FROM event v JOIN webhook_endpoints w ON w.user_id = v.user_id
        WHERE {CALLABLE} AND (w.id <> w.user_id OR {subscribed("v.type")})
        RETURNING 1
    )"""

_TELL: Final = _telling(DELIVER)
_TELL_OF_STOP: Final = _telling(_DELIVER_STOP)
_TELL_ONE: Final = _telling(_DELIVER_TO)

REFUND: Final = "refund"
PAYOUT: Final = "payout"
ADJUSTMENT: Final = "adjustment"
ENDPOINT: Final = "endpoint"

PING: Final = "ping"
"""The type of the event that only tests whether an endpoint hears."""

# Which change of its object each event is, where it is not the first one.
_LATER: Final = {
    "payout.approved": 2,
    "payout.rejected": 2,
    "payout.canceled": 2,
    "payout.paid": 3,
    "payout.failed": 3,
}


def tell(
    connection: Connection, user_id: UUID, object_type: str, object_id: UUID, kind: str, body: str
) -> UUID:
    """Write the event ``kind`` about one object with its wire ``body``; return the event's id.

    Not for transactions: their statements tell by themselves.
    """
    event_id = new_id()
    about = _about(user_id, object_type, object_id, kind, body)
    connection.execute(_TELL, {**about, "event_id": event_id})
    return event_id


def tell_of_stop(connection: Connection, user_id: UUID, endpoint_id: UUID, body: str) -> None:
    """Write that an endpoint, with its wire ``body``, is disabled; the owner's others are told.

    All that the owner added get it, whatever they ask for; the default one only if it asks.
    """
    about = _about(user_id, ENDPOINT, endpoint_id, "webhook_endpoint.disabled", body)
    connection.execute(_TELL_OF_STOP, {**about, "event_id": new_id()})


def ping(
    connection: Connection, user_id: UUID, endpoint_id: UUID, event_id: UUID, body: str
) -> None:
    """Write an event for one endpoint alone, about itself with its wire ``body``."""
    about = _about(user_id, ENDPOINT, endpoint_id, PING, body)
    connection.execute(_TELL_ONE, {**about, "event_id": event_id})


def _about(
    user_id: UUID, object_type: str, object_id: UUID, kind: str, body: str
) -> dict[str, Any]:
    columns = {
        f"{each}_id": object_id if each == object_type else None
        for each in (REFUND, PAYOUT, ADJUSTMENT, ENDPOINT)
    }
    sequence = _LATER.get(kind, 1)
    return {**columns, "user_id": user_id, "type": kind, "sequence": sequence, "body": body}
