"""Closing a day or a month: from then on nothing in it changes, and its digest is kept.

Sealing already sees to it that no journal is dated before what is sealed, so a close only
waits for the end of the period, for whoever was posting then, and for the seals; it locks
nothing that a posting needs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, text

from standart.errors import NotOver
from standart.models import Scope
from standart.services import (
    acts,
    audit_service,
    canonical,
    chain,
    key_service,
    periods,
    seal_service,
)
from standart.services.access import Actor, Origin
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.key_service import KeyDigest
from standart.services.wire import rfc3339

_FETCH: Final = 2000

_IS_OVER = text("SELECT CAST(:ends_at AS timestamptz) <= clock_timestamp()")

_ONE_CLOSE = text("SELECT pg_advisory_xact_lock(hashtextextended('close', 0))")

# What a user was called when it was closed must not change later: who is just changing it
# commits first, or sees the close. Nothing hot writes to users.
_USERS_STAND_STILL = text("LOCK TABLE users IN SHARE MODE")


def _json(closed_by: str) -> str:
    return f"""(SELECT row_to_json(w)::text FROM (SELECT
        c.period, c.zone, {rfc3339("c.starts_at")} AS "from", {rfc3339("c.ends_at")} AS "to",
        c.journals, encode(c.digest, 'hex') AS digest,
        CASE WHEN c.seal_number IS NOT NULL THEN json_build_object('number', c.seal_number,
            'hash', encode(c.seal_hash, 'hex')) END AS chain_head,
        {closed_by} AS closed_by, {rfc3339("c.closed_at")} AS closed_at
    ) AS w)"""


JSON: Final = _json("c.closed_by")
"""SQL: close ``c`` as the API and the audit log have it."""

_READ = text(f"SELECT {JSON} FROM closes c WHERE c.period = :period")

# Who works for all is not for merchants to know.
_SHOWN: Final = "CASE WHEN :for_staff THEN c.closed_by END"

_LIST = text(
    f"""
    SELECT {_json(_SHOWN)} AS body, c.number FROM closes c
    WHERE c.number < coalesce(CAST(:before AS bigint), c.number + 1)
    ORDER BY c.number DESC LIMIT :limit
    """
)

_LINES = text(
    f"""
    SELECT {canonical.LINE} AS line FROM journals j
    WHERE j.created_at >= :starts_at AND j.created_at < :ends_at
    ORDER BY {canonical.ORDER}
    """
)

_ADD = text(
    """
    INSERT INTO closes (number, period, zone, starts_at, ends_at, journals, digest,
        seal_number, seal_hash, closed_by)
    SELECT coalesce(max(c.number), 0) + 1, :period, :zone, :starts_at, :ends_at, :journals,
        :digest, :seal_number, :seal_hash, :closed_by
    FROM closes c
    """
)


def close(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    *,
    period: str,
    zone: ZoneInfo,
    claim: IdempotencyClaim | None = None,
) -> Answer:
    """Close a day (``2026-11-28``) or a month (``2026-11``) as the calendar of ``zone`` has it.

    Answers 201 with the close, 200 where it was closed before. ``connection`` is in autocommit
    mode.

    Raises:
        Unauthenticated, InsufficientScope, Forbidden: only admins close.
        InvalidInput: ``period`` is no day or month.
        NotOver: it has not ended yet.
        Unavailable: somebody has been posting since before it ended.
        IdempotencyKeyReused, IdempotencyKeyInFlight: see ``idempotency_service``.
    """
    _require_allowed(connection, caller, origin)
    starts_at, ends_at = periods.bounds(period, zone)
    if not connection.scalar(_IS_OVER, {"ends_at": ends_at}):
        raise NotOver(period=period, ends_at=chain.moment(ends_at))
    if connection.scalar(_READ, {"period": period}) is None:
        seal_service.seal(connection)

    def work(actor: Actor) -> Answer:
        acts.require_admin(actor)
        connection.execute(_ONE_CLOSE)
        before = connection.scalar(_READ, {"period": period})
        if before is not None:
            return Answer(200, before)
        span = {"starts_at": starts_at, "ends_at": ends_at}
        _add(connection, actor, {"period": period, "zone": zone.key, **span})
        body: str = connection.execute(_READ, {"period": period}).scalar_one()
        audit_service.record(
            connection, actor, "period.closed", "period", period, after=msgspec.json.decode(body)
        )
        return Answer(201, body)

    return acts.perform(connection, caller, origin, Scope.CONFIRM, work, claim=claim)


def list_closes(
    connection: Connection, actor: Actor, *, before: int | None = None, limit: int = 20
) -> list[tuple[str, int]]:
    """Return wire JSON and number of the closes, the last one first.

    Everybody who may read sees them: a digest over all merchants tells nothing of any.
    """
    actor.require(Scope.READ)
    rows = connection.execute(
        _LIST, {"before": before, "limit": limit, "for_staff": actor.sees_all}
    )
    return [(row.body, row.number) for row in rows]


def _require_allowed(connection: Connection, caller: KeyDigest | Actor, origin: Origin) -> None:
    actor = (
        key_service.authenticate(connection, caller, origin)
        if isinstance(caller, KeyDigest)
        else caller.at(origin)
    )
    actor.require(Scope.CONFIRM)
    acts.require_admin(actor)


def _add(connection: Connection, actor: Actor, row: dict[str, Any]) -> None:
    digest = canonical.Digest()
    span: dict[str, datetime] = {name: row[name] for name in ("starts_at", "ends_at")}
    lines = connection.execute(_LINES, span, execution_options={"yield_per": _FETCH})
    for line in lines.scalars():
        digest.add(line)
    seal_service.hold(connection)
    connection.execute(_USERS_STAND_STILL)
    head = chain.last(connection)
    connection.execute(
        _ADD,
        {
            **row,
            "journals": digest.lines,
            "digest": digest.value(),
            "seal_number": head.number if head else None,
            "seal_hash": head.hash if head else None,
            "closed_by": actor.name,
        },
    )
