"""One search for everything: an id of whatever kind, the beginning of a reference or a name.

Each look-up goes by an index; nobody finds what is not theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text

from standart.models import Scope
from standart.services.access import Actor
from standart.services.transaction_list import first_beyond

MOST: Final = 10
"""Of each kind at most so many are shown."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found.

    ``kind`` is transaction, user, payout, refund, adjustment, event, endpoint or note. ``about``
    is the transaction that a refund or a note belongs to; ``title`` is a reference, a name or a
    type.
    """

    kind: str
    id: UUID
    user_id: UUID
    title: str | None
    about: UUID | None = None


def _things(which: str) -> TextClause:
    """SQL: the rows of all kinds of which ``which`` says that they are meant."""
    return text(
        f"""
        SELECT 'transaction' AS kind, id, user_id, reference AS title, CAST(NULL AS uuid) AS about
        FROM transactions WHERE {which}
        UNION ALL SELECT 'user', id, id, name, NULL FROM users WHERE {which}
        UNION ALL SELECT 'payout', id, user_id, reference, NULL FROM payouts WHERE {which}
        UNION ALL SELECT 'refund', id, user_id, NULL, transaction_id FROM refunds WHERE {which}
        UNION ALL SELECT 'adjustment', id, user_id, reason, NULL FROM adjustments WHERE {which}
        UNION ALL SELECT 'event', id, user_id, type, transaction_id FROM events WHERE {which}
        UNION ALL SELECT 'note', id, user_id, NULL, transaction_id FROM notes
            WHERE {which} AND (:staff OR NOT internal)
        UNION ALL SELECT 'endpoint', id, user_id, url, NULL FROM webhook_endpoints
            WHERE {which} AND id <> user_id AND deleted_at IS NULL
        """
    )


_BY_ID = _things("id = :id")

# As pages shorten an id, and as somebody copies it from there. Ids begin with their moment, so
# those of one beginning lie together: they are those of some minute.
_BY_ENDS = _things("id BETWEEN :lowest AND :highest AND right(CAST(id AS text), 6) = :last")
_SHORTENED = re.compile(r"([0-9a-f]{8})(?:…|\.\.\.)([0-9a-f]{6})")

_NAMES = text(
    f"""
    SELECT 'user' AS kind, id, id AS user_id, name AS title, CAST(NULL AS uuid) AS about
    FROM users WHERE starts_with(lower(name), lower(:text))
        AND (CAST(:owner_id AS uuid) IS NULL OR id = :owner_id)
    ORDER BY lower(name) LIMIT {MOST}
    """
)

# From merchant to merchant along the index of references: it begins with the merchant.
_REFERENCES = text(
    f"""
    SELECT 'transaction' AS kind, x.id, x.user_id, x.reference AS title,
        CAST(NULL AS uuid) AS about
    FROM users u CROSS JOIN LATERAL (
        SELECT t.id, t.user_id, t.reference, t.created_at FROM transactions t
        WHERE t.user_id = u.id AND t.reference ~>=~ :text AND t.reference ~<~ :beyond
        ORDER BY t.reference USING ~<~ LIMIT {MOST}
    ) AS x
    WHERE CAST(:owner_id AS uuid) IS NULL OR u.id = :owner_id
    ORDER BY x.reference, x.created_at DESC LIMIT {MOST}
    """
)


def find(connection: Connection, actor: Actor, wanted: str) -> list[Hit]:
    """Return what ``wanted`` names: by kind, at most ``MOST`` of each."""
    actor.require(Scope.READ)
    if not wanted:
        return []
    owner = {"owner_id": None if actor.sees_all else actor.user_id}
    found = [row for row in _by_id(connection, actor, wanted) if actor.owns(row.user_id)]
    # What is somebody else's is as unknown: it must not keep one's own from being found.
    if not found:
        named = {**owner, "text": wanted, "beyond": first_beyond(wanted)}
        found = [
            *connection.execute(_NAMES, {**owner, "text": wanted}),
            *connection.execute(_REFERENCES, named),
        ]
    return [
        Hit(row.kind, row.id, row.user_id, row.title, row.about)
        for row in found
        if actor.owns(row.user_id)
    ]


def _by_id(connection: Connection, actor: Actor, wanted: str) -> list[Row[Any]]:
    if shortened := _SHORTENED.fullmatch(wanted.lower()):
        first, last = shortened.groups()
        ends = {
            "lowest": UUID(first + "0" * 24),
            "highest": UUID(first + "f" * 24),
            "last": last,
        }
        return list(connection.execute(_BY_ENDS, {**ends, "staff": actor.sees_all}))
    try:
        by_id = {"id": UUID(wanted), "staff": actor.sees_all}
    except ValueError:
        return []
    return list(connection.execute(_BY_ID, by_id))
