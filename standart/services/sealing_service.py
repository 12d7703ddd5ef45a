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
from standart.services import (
    audit_service,
    endpoint_service,
    idempotency_service,
    payout_destination,
    second_factor_service,
    signing_key_service,
)
from standart.services.access import Actor

BATCH: Final = 500

# The name of the key in the head of a box; empty where there is no head.
_KID = """
    CASE WHEN length({box}) > 2 THEN encode(substr({box}, 3, get_byte({box}, 1)), 'escape')
        ELSE '' END
"""

# Only while the old box is still there: who changed it meanwhile has sealed something newer.
_REPLACE = """
    WITH moved AS (
        UPDATE {table} AS t SET {assignment}
        FROM unnest({arrays}, CAST(:stale AS bytea[]), CAST(:fresh AS bytea[]))
            AS n ({names}, stale, fresh)
        WHERE {same} AND {box} = n.stale
        RETURNING 1
    )
    SELECT count(*) FROM moved
"""

# The service may not touch a payout's destination; the owner's function does, and says so.
_REPLACE_DESTINATIONS = """
    SELECT standart_reseal_destinations(CAST(:user_id AS uuid[]), CAST(:id AS uuid[]),
        CAST(:stale AS bytea[]), CAST(:fresh AS bytea[]), :actor_name, :channel)
"""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A kind of boxes: how many hang on which key, which are stale, how they are renewed.

    ``key`` has the columns that a row is known by, with their types.
    """

    name: str
    key: Mapping[str, str]
    counts: TextClause
    stale: TextClause
    replace: TextClause
    reseal: Callable[[Keyring, Row[Any]], bytes]


_OF_PERSON: Final = {"user_id": "uuid"}
_OF_USER: Final = {"user_id": "uuid", "id": "uuid"}
_START: Final = {"uuid": UUID(int=0), "text": ""}


def _sealed(
    name: str,
    table: str,
    box: str,
    reseal: Callable[[Keyring, Row[Any]], bytes],
    *,
    key: Mapping[str, str] = _OF_USER,
    assignment: str | None = None,
    replace: str = _REPLACE,
) -> Sealed:
    kid, there = _KID.format(box=box), f"{box} IS NOT NULL"
    columns = ", ".join(key)
    return Sealed(
        name,
        key,
        text(f"SELECT {kid} AS kid, count(*) AS boxes FROM {table} WHERE {there} GROUP BY 1"),
        text(
            f"SELECT {columns}, {box} AS box FROM {table}"
            f" WHERE ({columns}) > ({', '.join(f':{name}' for name in key)})"
            f" AND {there} AND {kid} <> :kid ORDER BY {columns} LIMIT :batch"
        ),
        text(
            replace.format(
                table=table,
                assignment=assignment or f"{box} = n.fresh",
                arrays=", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in key.items()),
                names=columns,
                same=" AND ".join(f"t.{name} = n.{name}" for name in key),
                box=box,
            )
        ),
        reseal,
    )


SEALED: Final = (
    _sealed(
        "second factors",
        "second_factors",
        "secret",
        lambda ring, row: second_factor_service.reseal(ring, row.user_id, row.box),
        key=_OF_PERSON,
    ),
    _sealed(
        "endpoint secrets",
        "webhook_endpoints",
        "secret",
        lambda ring, row: endpoint_service.reseal_secret(ring, row.id, row.box),
    ),
    _sealed(
        "former endpoint secrets",
        "webhook_endpoints",
        "previous_secret",
        lambda ring, row: endpoint_service.reseal_secret(ring, row.id, row.box),
    ),
    _sealed(
        "endpoint headers",
        "webhook_endpoints",
        "headers",
        lambda ring, row: endpoint_service.reseal_headers(ring, row.id, row.box),
    ),
    _sealed(
        "payout destinations",
        "payouts",
        "destination",
        lambda ring, row: payout_destination.reseal(ring, row.user_id, row.id, row.box),
        replace=_REPLACE_DESTINATIONS,
    ),
    _sealed(
        "signing keys",
        "signing_keys",
        "private_key",
        lambda ring, row: signing_key_service.reseal(ring, row.id, row.box),
        key={"id": "text"},
    ),
    _sealed(
        "kept answers",
        "idempotency_keys",
        # Text that is not sealed must not even be decoded, in whatever order conditions are asked.
        f"CASE WHEN starts_with(body, '{idempotency_service.SEALED}')"
        f" THEN decode(substr(body, {len(idempotency_service.SEALED) + 1}), 'base64') END",
        lambda ring, row: ring.reseal(
            row.box, idempotency_service.sealed_context(row.user_id, row.path, row.key)
        ),
        key={"user_id": "uuid", "path": "text", "key": "text"},
        # The function breaks its text into lines.
        assignment=f"body = '{idempotency_service.SEALED}'"
        " || replace(encode(n.fresh, 'base64'), chr(10), '')",
    ),
)
"""Everything that the key ring seals in the database."""


def boxes_by_key(connection: Connection) -> dict[str, int]:
    """Return how many boxes hang on each key, by its name; damaged ones on ``""``."""
    each = " UNION ALL ".join(f"({sealed.counts.text})" for sealed in SEALED)
    found: dict[str, int] = {}
    for row in connection.execute(text(each)):
        found[row.kid] = found.get(row.kid, 0) + int(row.boxes)
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
        renewed = [(row, _renewed(keyring, sealed, row)) for row in rows]
        opened = [(row, fresh) for row, fresh in renewed if fresh is not None]
        if not opened:
            continue
        parameters = {
            **{name: [getattr(row, name) for row, _ in opened] for name in sealed.key},
            "stale": [row.box for row, _ in opened],
            "fresh": [fresh for _, fresh in opened],
        }
        if ":actor_name" in sealed.replace.text:
            parameters |= {"actor_name": who["actor_name"], "channel": who["channel"]}
        with unit(connection):
            moved += int(connection.execute(sealed.replace, parameters).scalar_one())
    return moved


def _stale(
    connection: Connection, keyring: Keyring, sealed: Sealed, batch: int
) -> Iterator[list[Row[Any]]]:
    place: dict[str, Any] = {name: _START[kind] for name, kind in sealed.key.items()}
    asked = {"kid": keyring.kids[0], "batch": batch}
    while True:
        rows = list(connection.execute(sealed.stale, {**place, **asked}))
        if rows:
            yield rows
        if len(rows) < batch:
            return
        place = {name: getattr(rows[-1], name) for name in sealed.key}


def _renewed(keyring: Keyring, sealed: Sealed, row: Row[Any]) -> bytes | None:
    try:
        return sealed.reseal(keyring, row)
    except ConfigurationError:
        return None
