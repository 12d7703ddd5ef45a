"""Logins of the panel: rows that can be ended, behind a random token in the cookie."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from standart.errors import NotFound
from standart.models import PanelSession, PendingLogin, Role, User
from standart.services import audit_service
from standart.services.access import STAFF, Actor

PROOF_SECONDS: Final = 300
"""How long it counts that somebody has shown password and code."""

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a live login, as the database sees the user right now."""

    user_id: UUID
    name: str
    role: Role
    token: str
    made_by: frozenset[UUID] = frozenset()
    """Who made the password that opened the login."""
    session_id: UUID | None = None
    proven: bool = True
    """Whether password and code were shown within the last minutes."""
    second_factor: bool = False

    @property
    def sees_all(self) -> bool:
        """Whether the pages show everybody's rows."""
        return self.role in STAFF


# The row is touched at most once a minute: a page view is no reason for a write.
_RESUME = text(
    """
    WITH live AS (
        SELECT s.digest, s.last_seen_at, s.made_by, u.id, u.name, u.role, s.id AS session_id,
            s.proven_at > clock_timestamp() - make_interval(secs => :proof) AS proven,
            EXISTS (SELECT FROM second_factors f
                WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL) AS second_factor
        FROM panel_sessions s JOIN users u ON u.id = s.user_id
        WHERE s.digest = :digest AND u.active
          AND s.last_seen_at > clock_timestamp() - make_interval(secs => :idle)
          AND s.created_at > clock_timestamp() - make_interval(secs => :lifetime)
    ),
    touched AS (
        UPDATE panel_sessions s SET last_seen_at = clock_timestamp()
        FROM live
        WHERE s.digest = live.digest AND :touch
          AND live.last_seen_at < clock_timestamp() - interval '1 minute'
    )
    SELECT id, name, role, made_by, session_id, proven, second_factor FROM live
    """
)


def open_session(
    session: Session,
    user: User,
    *,
    ip: str | None,
    user_agent: str | None,
    made_by: Sequence[UUID] | None = None,
) -> str:
    """Start a login for ``user``; return the token for the cookie.

    ``made_by`` is who made the password, as it was when it was compared.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    session.execute(
        insert(PanelSession).values(
            digest=_digest(token),
            user_id=user.id,
            # Read together with the hash that was compared: a new password is no part of it.
            made_by=user.password_made_by if made_by is None else made_by,
            ip=ip,
            user_agent=None if user_agent is None else user_agent[:300],
        )
    )
    return token


def resume(
    connection: Connection,
    token: str,
    *,
    idle_seconds: int,
    lifetime_seconds: int,
    touch: bool = True,
) -> Visitor | None:
    """Return who is behind a token, ``None`` when the login has ended for whatever reason.

    Without ``touch`` the request is no sign of life: a page that renews itself must not
    keep somebody logged in who has left.
    """
    row = connection.execute(
        _RESUME,
        {
            "digest": _digest(token),
            "idle": idle_seconds,
            "lifetime": lifetime_seconds,
            "touch": touch,
            "proof": PROOF_SECONDS,
        },
    ).one_or_none()
    if row is None:
        return None
    return Visitor(
        row.id,
        row.name,
        Role(row.role),
        token,
        frozenset(row.made_by),
        row.session_id,
        row.proven,
        row.second_factor,
    )


def close_session(session: Session, token: str) -> None:
    """End one login; the cookie is worthless from now on."""
    session.execute(delete(PanelSession).where(PanelSession.digest == _digest(token)))


def list_sessions(
    session: Session, user_id: UUID, *, idle_seconds: int, lifetime_seconds: int
) -> list[PanelSession]:
    """Return the logins of a user that are not over, the one seen last first."""
    query = (
        select(PanelSession)
        .where(
            PanelSession.user_id == user_id,
            PanelSession.last_seen_at > _ago(idle_seconds),
            PanelSession.created_at > _ago(lifetime_seconds),
        )
        .order_by(PanelSession.last_seen_at.desc(), PanelSession.id)
    )
    return list(session.scalars(query))


def end_one(session: Session, actor: Actor, user_id: UUID, session_id: UUID) -> None:
    """End a login of a user from afar.

    Raises:
        NotFound: it is over already, or somebody else's.
    """
    found = (PanelSession.user_id == user_id) & (PanelSession.id == session_id)
    gone = session.scalar(delete(PanelSession).where(found).returning(PanelSession.id))
    if gone is None:
        raise NotFound
    audit_service.record(session, actor, "session.ended", "user", user_id, after={"logins": 1})


def end_others(session: Session, actor: Actor, user_id: UUID, *, keep: str | None) -> int:
    """End all logins of a user but the one of the token ``keep``; return how many."""
    ended = end_all(session, user_id, keep=keep)
    if ended:
        after = {"logins": ended}
        audit_service.record(session, actor, "session.ended", "user", user_id, after=after)
    return ended


def end_all(session: Session, user_id: UUID, *, keep: str | None = None) -> int:
    """End what a user has opened or begun to open; return how many logins."""
    session.execute(delete(PendingLogin).where(PendingLogin.user_id == user_id))
    theirs = PanelSession.user_id == user_id
    if keep is not None:
        theirs &= PanelSession.digest != _digest(keep)
    gone = session.execute(delete(PanelSession).where(theirs).returning(PanelSession.id))
    return len(gone.all())


def owner_of(session: Session, token: str) -> UUID:
    """Return whose login a token opens, which was just made."""
    return session.scalars(
        select(PanelSession.user_id).where(PanelSession.digest == _digest(token))
    ).one()


def mark_proven(session: Session, token: str) -> None:
    """Let it count that whoever holds this login has just shown who it is."""
    session.execute(
        update(PanelSession)
        .where(PanelSession.digest == _digest(token))
        .values(proven_at=func.clock_timestamp())
    )


def purge_sessions(session: Session, *, lifetime_seconds: int) -> int:
    """Forget logins that are over; return how many."""
    over = PanelSession.created_at < _ago(lifetime_seconds)
    gone = session.execute(delete(PanelSession).where(over).returning(PanelSession.digest))
    return len(gone.all())


def _ago(seconds: int) -> ColumnElement[Any]:
    return func.clock_timestamp() - literal(timedelta(seconds=seconds))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
