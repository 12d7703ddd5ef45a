"""The statement behind a receipt: transaction, settlement, seals and signing key at one moment.

The seal that covers a journal is the first one that ends behind the journal's moment
(``seal_service``). An overdue transaction that no sweep has reached is read as expired, and
told apart as ``unswept``: a confirm may just be committing.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import text

from standart.db import HotStatement
from standart.services.transaction_sql import BY_KEY as CALLER
from standart.services.wire import CLOCK, VISIBLE, rfc3339, transaction_json


class Row(NamedTuple):
    """What the statements return; without a signing key yet the last two are ``None``."""

    transaction: Any
    unswept: bool
    settlement: Any
    seal: Any
    chain_head: Any
    key_id: str | None
    private_key: bytes | None


_ANCHOR = "json_build_object('number', s.number, 'hash', encode(s.hash, 'hex'))"

_SETTLEMENT = f"""json_build_object(
        'id', j.id, 'kind', j.kind, 'created_at', {rfc3339("j.created_at")},
        'entries', (
            SELECT json_agg(json_build_object('account', e.kind, 'currency', e.currency,
                'amount', (e.amount * v.unit)::text) ORDER BY e.line)
            FROM entries e WHERE e.user_id = j.user_id AND e.journal_id = j.id))"""

_ONE = f"""
    SELECT v.user_id, {transaction_json("v")} AS transaction,
        v.status = 'expired' AND v.kept_status = 'pending' AS unswept,
        CASE WHEN j.id IS NOT NULL THEN {_SETTLEMENT} END AS settlement,
        (SELECT {_ANCHOR} FROM seals s WHERE s.before > j.created_at
            ORDER BY s.before LIMIT 1) AS seal,
        (SELECT {_ANCHOR} FROM seals s ORDER BY s.number DESC LIMIT 1) AS chain_head,
        k.id AS key_id, k.private_key
    FROM (
        SELECT {VISIBLE}, t.status AS kept_status
        FROM transactions t CROSS JOIN {CLOCK} AS clock
        WHERE t.id = CAST(:id AS uuid)
    ) AS v
    LEFT JOIN journals j ON j.user_id = v.user_id AND j.transaction_id = v.id
        AND j.kind = 'settlement'
    LEFT JOIN signing_keys k ON k.retired_at IS NULL"""

_SHOWN: Final = "transaction, unswept, settlement, seal, chain_head, key_id, private_key"

READ_BY_KEY: Final = HotStatement(
    f"""
    WITH {CALLER}
    SELECT {_SHOWN} FROM ({_ONE}) AS one, caller c
    WHERE c.role IN ('admin', 'operator', 'viewer') OR one.user_id = c.id
    """
)

READ: Final = text(f"SELECT {_SHOWN}, user_id FROM ({_ONE}) AS one")
