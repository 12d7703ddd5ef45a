"""Which key each sealed value hangs on, and sealing it anew when the ring has a new key.

The service may go on meanwhile: every process must know the new key before the first value
is sealed with it, and a value that somebody changes at the same moment is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text

from standart.db import unit
from standart.encryption import Keyring
from standart.errors import ConfigurationError
from standart.services import audit_service, endpoint_service, payout_destination
from standart.services.access import Actor

BATCH: Final = 500

_START: Final = UUID(int=0)

# The name of the key in the head of a box; empty where there is no head.
_KID = """
    CASE WHEN length({box}) > 2 THEN encode(substr({box}, 3, get_byte({box}, 1)), 'escape')
        ELSE '' END
"""

_NEW_BOXES = """
    unnest(CAST(:owners AS uuid[]), CAST(:ids AS uuid[]), CAST(:stale AS bytea[]),
        CAST(:fresh AS bytea[])) AS n (user_id, id, stale, fresh)
"""

# Only while the old box is still there: who changed it meanwhile has sealed something newer.
_ENDPOINTS = """
    WITH moved AS (
        UPDATE webhook_endpoints w SET {column} = n.fresh FROM {boxes}
        WHERE w.user_id = n.user_id AND w.id = n.id AND w.{column} = n.stale
        RETURNING 1
    )
    SELECT count(*) FROM moved
"""

# The service may not touch a payout's destination; the owner's function does, and says so.
_PAYOUTS = """
    SELECT standart_reseal_destinations(CAST(:owners AS uuid[]), CAST(:ids AS uuid[]),
        CAST(:stale AS bytea[]), CAST(:fresh AS bytea[]), :actor_name, :channel)
"""

Reseal = Callable[[Keyring, UUID, UUID, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column of boxes: how many hang on which key, which are stale, how they are renewed."""

    name: str
    counts: TextClause
    stale: TextClause
    replace: TextClause
    reseal: Reseal


def _sealed(name: str, table: str, column: str, replace: str, reseal: Reseal) -> Sealed:
    kid = _KID.format(box=column)
    return Sealed(
        name,
        text(
            f"SELECT {kid} AS kid, count(*) AS boxes FROM {table}"
            f" WHERE {column} IS NOT NULL GROUP BY 1"
        ),
        text(
            f"SELECT user_id, id, {column} AS box FROM {table}"
            f" WHERE (user_id, id) > (:user_id, :id) AND {column} IS NOT NULL AND {kid} <> :kid"
            " ORDER BY user_id, id LIMIT :batch"
        ),
        text(replace.format(column=column, boxes=_NEW_BOXES)),
        reseal,
    )


SEALED: Final = (
    _sealed(
        "endpoint secrets",
        "webhook_endpoints",
        "secret",
        _ENDPOINTS,
        lambda ring, _, id_, box: endpoint_service.reseal_secret(ring, id_, box),
    ),
    _sealed(
        "former endpoint secrets",
        "webhook_endpoints",
        "previous_secret",
        _ENDPOINTS,
        lambda ring, _, id_, box: endpoint_service.reseal_secret(ring, id_, box),
    ),
    _sealed(
        "endpoint headers",
        "webhook_endpoints",
        "headers",
        _ENDPOINTS,
        lambda ring, _, id_, box: endpoint_service.reseal_headers(ring, id_, box),
    ),
    _sealed(
        "payout destinations",
        "payouts",
        "destination",
        _PAYOUTS,
        payout_destination.reseal,
    ),
)
"""Everything that the key ring seals in the database."""


def boxes_by_key(connection: Connection) -> dict[str, int]:
    """Return how many boxes hang on each key, by its name; damaged ones on ``""``."""
    found: dict[str, int] = {}
    for sealed in SEALED:
        for row in connection.execute(sealed.counts):
            found[row.kid] = found.get(row.kid, 0) + row.boxes
    return found


def count_stale(connection: Connection, keyring: Keyring) -> dict[str, int]:
    """Return by the name of its kind how many boxes hang on another key than the first."""
    newest = keyring.kids[0]
    return {
        sealed.name: sum(
            row.boxes for row in connection.execute(sealed.counts) if row.kid != newest
        )
        for sealed in SEALED
    }


def reseal(
    connection: Connection, actor: Actor, keyring: Keyring, *, batch: int = BATCH
) -> Mapping[str, int]:
    """Seal with the first key what hangs on others; return how many of each kind.

    Each batch is a transaction of ``connection``, which is in autocommit mode: ended in the
    middle, the next run does the rest. What the ring does not open stays as it is.
    """
    total = dict.fromkeys((sealed.name for sealed in SEALED), 0)
    # A secret that is rotated meanwhile may carry its old box over to the former ones.
    while True:
        moved = {
            sealed.name: _reseal(connection, actor, keyring, sealed, batch) for sealed in SEALED
        }
        if not any(moved.values()):
            break
        total = {name: total[name] + count for name, count in moved.items()}
    if any(total.values()):
        audit_service.record(
            connection,
            actor,
            "encryption_key.rotated",
            "encryption_key",
            keyring.kids[0],
            after=dict(total),
        )
    return total


def _reseal(
    connection: Connection, actor: Actor, keyring: Keyring, sealed: Sealed, batch: int
) -> int:
    who = actor.audit_parameters()
    moved = 0
    for rows in _stale(connection, keyring, sealed, batch):
        opened = [(row, _renewed(keyring, sealed, row)) for row in rows]
        pairs = [(row, fresh) for row, fresh in opened if fresh is not None]
        if pairs:
            parameters = {
                "owners": [row.user_id for row, _ in pairs],
                "ids": [row.id for row, _ in pairs],
                "stale": [row.box for row, _ in pairs],
                "fresh": [fresh for _, fresh in pairs],
                "actor_name": who["actor_name"],
                "channel": who["channel"],
            }
            used = {
                name: value
                for name, value in parameters.items()
                if f":{name}" in sealed.replace.text
            }
            with unit(connection):
                moved += int(connection.execute(sealed.replace, used).scalar_one())
    return moved


def _stale(
    connection: Connection, keyring: Keyring, sealed: Sealed, batch: int
) -> Iterator[list[Row[Any]]]:
    place = {"user_id": _START, "id": _START}
    while True:
        rows = list(
            connection.execute(sealed.stale, {**place, "kid": keyring.kids[0], "batch": batch})
        )
        if rows:
            yield rows
        if len(rows) < batch:
            return
        place = {"user_id": rows[-1].user_id, "id": rows[-1].id}


def _renewed(keyring: Keyring, sealed: Sealed, row: Row[Any]) -> bytes | None:
    try:
        return sealed.reseal(keyring, row.user_id, row.id, row.box)
    except ConfigurationError:
        return None
