"""The canonical line of a journal: what seals, closes and statements are digests of.

One line of ASCII for each journal, its fields parted by ``|``, none of which can hold one::

    user_id|journal_id|kind|source_id|created_at|line:currency:account:amount,…

``source_id`` is that of the transaction, refund, payout or adjustment; ``created_at`` is UTC
with microseconds, as ``2026-11-23T09:00:00.123456Z``; amounts are minor units, credit positive;
lines stand in their order. Digests are SHA-256 over the lines in the order of (created_at,
user_id, journal_id), each with a line feed behind it. ``docs/proof.md`` shows how to make them
without this program.
"""

from __future__ import annotations

import hashlib
from typing import Final

from standart.models import MARK_BYTES

LINE: Final = """concat_ws('|', j.user_id, j.id, j.kind,
        coalesce(j.transaction_id, j.refund_id, j.payout_id, j.adjustment_id),
        to_char(j.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        (SELECT string_agg(concat_ws(':', e.line, e.currency, e.kind, e.amount), ','
            ORDER BY e.line)
         FROM entries e WHERE e.user_id = j.user_id AND e.journal_id = j.id))"""
"""SQL: the line of journal ``j``."""

ORDER: Final = "j.created_at, j.user_id, j.id"
"""SQL: the order of journals in the chain."""

EMPTY: Final = hashlib.sha256(b"").digest()
"""The digest of no journal at all."""


class Digest:
    """A digest that grows line by line."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.lines = 0

    def add(self, line: str) -> None:
        """Take in the next line."""
        self._hash.update(line.encode() + b"\n")
        self.lines += 1

    def value(self) -> bytes:
        """Return the SHA-256 of all lines so far."""
        return self._hash.digest()


def mark(line: str) -> bytes:
    """Return the few bytes by which a seal knows this line again."""
    return hashlib.sha256(line.encode()).digest()[:MARK_BYTES]
