"""Logins of the panel: rows that can be ended, behind a random token in the cookie."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, delete, func, insert, literal, text
from sqlalchemy.orm import Session

from standart.models import PanelSession, Role, User

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


# The row is touched at most once a minute: a page view is no reason for a write.
_RESUME = text(
    """
    WITH live AS (
        SELECT s.digest, s.last_seen_at, s.made_by, u.id, u.name, u.role
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
    SELECT id, name, role, made_by FROM live
    """
)


def open_session(session: Session, user: User, *, ip: str | None, user_agent: str | None) -> str:
    """Start a login for ``user``; return the token for the cookie."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    session.execute(
        insert(PanelSession).values(
            digest=_digest(token),
            user_id=user.id,
            # Read together with the hash that was compared: a new password is no part of it.
            made_by=user.password_made_by,
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
        },
    ).one_or_none()
    if row is None:
        return None
    return Visitor(row.id, row.name, Role(row.role), token, frozenset(row.made_by))


def close_session(session: Session, token: str) -> None:
    """End one login; the cookie is worthless from now on."""
    session.execute(delete(PanelSession).where(PanelSession.digest == _digest(token)))


def purge_sessions(session: Session, *, lifetime_seconds: int) -> int:
    """Forget logins that are over; return how many."""
    over = PanelSession.created_at < func.clock_timestamp() - literal(
        timedelta(seconds=lifetime_seconds)
    )
    gone = session.execute(delete(PanelSession).where(over).returning(PanelSession.digest))
    return len(gone.all())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
