"""The audit log: who did what, when, from where, before and after."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert, select
from sqlalchemy.orm import Session

from standart.models import AuditRecord
from standart.services.access import Actor


def record(
    session: Session | Connection,
    actor: Actor,
    action: str,
    object_type: str,
    object_id: UUID | str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Append one record in the caller's unit of work; ``before``/``after`` are plain JSON."""
    session.execute(
        insert(AuditRecord).values(
            action=action,
            object_type=object_type,
            object_id=str(object_id),
            before=before,
            after=after,
            **actor.audit_parameters(),
        )
    )


def history(session: Session, object_type: str, object_id: UUID | str) -> list[AuditRecord]:
    """Return what happened to one object, oldest first."""
    query = (
        select(AuditRecord)
        .where(
            AuditRecord.object_type == object_type,
            AuditRecord.object_id == str(object_id),
        )
        .order_by(AuditRecord.id)
    )
    return list(session.scalars(query))
