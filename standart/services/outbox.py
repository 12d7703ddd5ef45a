"""The outbox: what happened, and who is told, in the transaction that makes it true.

An event is written whether or not anybody wants it; a delivery only for endpoints that ask for
its type. Transactions do the same in their own statements (``transaction_sql``), of the parts
that stand here.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

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

# The payload holds the object as it stands in the answer, so the two cannot differ.
_TELL = text(
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
    {DELIVER}
    SELECT id FROM event
    """
)

REFUND: Final = "refund"
PAYOUT: Final = "payout"
ADJUSTMENT: Final = "adjustment"
ENDPOINT: Final = "endpoint"

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
    about = {
        f"{each}_id": object_id if each == object_type else None
        for each in (REFUND, PAYOUT, ADJUSTMENT, ENDPOINT)
    }
    connection.execute(
        _TELL,
        {
            **about,
            "user_id": user_id,
            "event_id": event_id,
            "type": kind,
            "sequence": _LATER.get(kind, 1),
            "body": body,
        },
    )
    return event_id
