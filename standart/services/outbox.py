"""Events of refunds, payouts and adjustments, in the transaction that makes them true.

The same outbox as for transactions (``transaction_sql``). The merchant's webhook URL gets
the endings of transactions only, so no delivery is made here; whoever reads events sees all.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart.clock import new_id
from standart.services.wire import rfc3339

# The payload holds the object as it stands in the answer, so the two cannot differ.
_TELL = text(
    f"""
    INSERT INTO events (user_id, id, refund_id, payout_id, adjustment_id, type, payload,
        created_at)
    SELECT :user_id, :event_id, CAST(:refund_id AS uuid), CAST(:payout_id AS uuid),
        CAST(:adjustment_id AS uuid), CAST(:type AS text),
        (SELECT row_to_json(e)::text FROM (SELECT
            CAST(:type AS text) AS type, {rfc3339("c.now")} AS "timestamp",
            w.body ->> 'id' AS id, w.body ->> 'status' AS status, w.body AS data
        ) AS e),
        c.now
    FROM (SELECT clock_timestamp() AS now) AS c, (SELECT CAST(:body AS json) AS body) AS w
    """
)

REFUND: Final = "refund"
PAYOUT: Final = "payout"
ADJUSTMENT: Final = "adjustment"


def tell(
    connection: Connection, user_id: UUID, object_type: str, object_id: UUID, kind: str, body: str
) -> None:
    """Write the event ``kind`` about one refund, payout or adjustment with its wire ``body``."""
    connection.execute(
        _TELL,
        {
            "user_id": user_id,
            "event_id": new_id(),
            "refund_id": object_id if object_type == REFUND else None,
            "payout_id": object_id if object_type == PAYOUT else None,
            "adjustment_id": object_id if object_type == ADJUSTMENT else None,
            "type": kind,
            "body": body,
        },
    )
