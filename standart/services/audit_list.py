"""Reading the audit log: pages by key, every filter along an index, whatever is asked together.

A list is put together of one short list for each action, of which there are a few dozen. So a
page takes as long at the end of the log as at its beginning, and what was done rarely is found
without going through what is done all the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, TextClause, text

from standart.clock import new_id
from standart.db import autocommit
from standart.errors import Forbidden
from standart.services import audit_service
from standart.services.access import Actor

BATCH: Final = 2_000

Place = tuple[datetime, int]
"""Where a record stands in the list: its ``created_at`` and ``id``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records: a span holds its beginning and not its end; moments are UTC.

    ``actor`` is a name in any case, ``object_id`` as it was written, UUIDs in lower case.
    """

    actor: str | None = None
    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that has been done, and to which kind of object it is done."""

    action: str
    object_type: str


# From each action to the next along the index, so it takes one look for each. All records of an
# action are about one kind of object.
_KINDS: Final = text(
    """
    WITH RECURSIVE known (action) AS (
        (SELECT action FROM audit_log ORDER BY action LIMIT 1)
        UNION ALL
        SELECT (SELECT a.action FROM audit_log a WHERE a.action > k.action
            ORDER BY a.action LIMIT 1)
        FROM known k WHERE k.action IS NOT NULL
    )
    SELECT k.action, a.object_type FROM known k
    CROSS JOIN LATERAL (
        SELECT object_type FROM audit_log o WHERE o.action = k.action
        ORDER BY o.created_at, o.id LIMIT 1
    ) AS a
    """
)

_COLUMNS: Final = """a.id, a.created_at, a.actor_id, a.actor_name, a.channel, a.action,
    a.object_type, a.object_id, a.before, a.after, a.request_id, a.ip"""


def kinds(connection: Connection) -> list[Kind]:
    """Return what has ever been done, by its code."""
    return [Kind(row.action, row.object_type) for row in connection.execute(_KINDS)]


def page(
    connection: Connection,
    actor: Actor,
    wanted: Wanted,
    known: Sequence[Kind],
    *,
    after: Place | None = None,
    before: Place | None = None,
    limit: int,
) -> list[Row[Any]]:
    """Return records, newest first: those behind ``after``, or the last ones before ``before``.

    ``known`` is what ``kinds`` has returned.

    Raises:
        Forbidden: the log is not for merchants.
    """
    _require_reader(actor)
    fitting = [
        kind
        for kind in known
        if wanted.action in (None, kind.action) and wanted.object_type in (None, kind.object_type)
    ]
    upwards = before is not None
    place = before or after
    parameters: dict[str, Any] = {
        "actions": [kind.action for kind in fitting],
        "types": sorted({kind.object_type for kind in fitting}),
        "actor": wanted.actor and wanted.actor.lower(),
        "object_id": wanted.object_id,
        "created_from": wanted.created_from,
        "created_to": wanted.created_to,
        "limit": limit,
        "at": place and place[0],
        "id": place and place[1],
    }
    statement = _statement(wanted, placed=place is not None, upwards=upwards)
    rows = list(connection.execute(statement, parameters))
    return rows[::-1] if upwards else rows


def _statement(wanted: Wanted, *, placed: bool, upwards: bool) -> TextClause:
    conditions = []
    if wanted.actor is not None:
        conditions.append("lower(a.actor_name) = :actor")
    if wanted.created_from is not None:
        conditions.append("a.created_at >= :created_from")
    if wanted.created_to is not None:
        conditions.append("a.created_at < :created_to")
    if placed:
        conditions.append(f"(a.created_at, a.id) {'>' if upwards else '<'} (:at, :id)")
    order = "ASC" if upwards else "DESC"
    ordered = f"ORDER BY a.created_at {order}, a.id {order} LIMIT :limit"
    if wanted.object_id is not None:
        # Few are about one object, so these are sorted.
        conditions += [
            "a.object_type = ANY (:types)",
            "a.object_id = :object_id",
            "a.action = ANY (:actions)",
        ]
        return text(
            f"SELECT {_COLUMNS} FROM audit_log a WHERE {' AND '.join(conditions)} {ordered}"
        )
    return text(
        f"""
        SELECT {_COLUMNS} FROM (
            SELECT a.created_at, a.id FROM unnest(CAST(:actions AS text[])) AS k (action)
            CROSS JOIN LATERAL (
                SELECT a.created_at, a.id FROM audit_log a
                WHERE {" AND ".join(["a.action = k.action", *conditions])} {ordered}
            ) AS a
            {ordered}
        ) AS p JOIN audit_log a ON a.id = p.id
        ORDER BY a.created_at {order}, a.id {order}
        """
    )


def rows(engine: Engine, actor: Actor, wanted: Wanted) -> Iterator[Row[Any]]:
    """Yield all records that are wanted, newest first, in batches that are each read by itself.

    What is written meanwhile is newer and left out. No transaction stays open while somebody
    downloads.

    Raises:
        Forbidden: as ``page``.
    """
    _require_reader(actor)
    with autocommit(engine) as connection:
        known = kinds(connection)
    after: Place | None = None
    while True:
        with autocommit(engine) as connection:
            found = page(connection, actor, wanted, known, after=after, limit=BATCH)
        yield from found
        if len(found) < BATCH:
            return
        after = (found[-1].created_at, found[-1].id)


def note_export(connection: Connection, actor: Actor, wanted: Wanted) -> UUID:
    """Keep in the log itself who took which of its records away; return the export's id.

    Raises:
        Forbidden: as ``page``.
    """
    _require_reader(actor)
    export_id = new_id()
    asked = {key: str(value) for key, value in asdict(wanted).items() if value is not None}
    audit_service.record(
        connection, actor, "audit.exported", "export", export_id, after={"form": "csv", **asked}
    )
    return export_id


def _require_reader(actor: Actor) -> None:
    if not actor.sees_all:
        raise Forbidden
