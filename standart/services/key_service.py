"""API keys: made once, shown once, kept as SHA-256.

A key is ``sk_live_``, 32 random bytes and a CRC-32 of both in base 62. With 256 bits of
entropy a plain hash is enough at rest; the checksum tells a typing error from a revoked
key without asking the database.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from standart.clock import new_id, now
from standart.errors import InvalidInput, NotFound, Unauthenticated
from standart.models import ApiKey, Role, Scope, User
from standart.services import audit_service, standing
from standart.services.access import SCOPES_OF, SETTLERS, Actor, Origin

PREFIX = "sk_live_"
DEFAULT_SCOPES = frozenset({Scope.READ, Scope.WRITE})

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43  # base 62 digits of 256 bits
_CHECKSUM_LENGTH = 6  # base 62 digits of 32 bits
_SHOWN_LENGTH = len(PREFIX) + 8
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyDigest:
    """The SHA-256 of a well-formed key: what the database knows keys by."""

    value: bytes


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, remainder = divmod(number, 62)
        digits.append(_ALPHABET[remainder])
    return "".join(reversed(digits))


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")), _CHECKSUM_LENGTH)


def generate() -> str:
    """Return a new key in plain text."""
    body = PREFIX + _base62(int.from_bytes(os.urandom(32), "big"), _SECRET_LENGTH)
    return body + _checksum(body)


def digest_of(key: str) -> KeyDigest:
    """Return the digest of a key in plain text, without asking the database.

    Raises:
        Unauthenticated: the text is not a key, or its checksum is wrong.
    """
    if not _FORM.fullmatch(key) or _checksum(key[:-_CHECKSUM_LENGTH]) != key[-_CHECKSUM_LENGTH:]:
        raise Unauthenticated("The API key is not valid.")
    return KeyDigest(hashlib.sha256(key.encode("ascii")).digest())


_AUTHENTICATE = text(
    """
    SELECT u.id, u.name, u.role, k.scopes, k.made_by
    FROM api_keys k JOIN users u ON u.id = k.user_id
    WHERE k.digest = :digest AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()) AND u.active
    """
)


def authenticate(connection: Connection, digest: KeyDigest, origin: Origin) -> Actor:
    """Return the actor behind a key that is neither revoked nor expired.

    Raises:
        Unauthenticated: unknown, revoked and expired keys and those of deactivated users
            are refused in the same words.
    """
    row = connection.execute(_AUTHENTICATE, {"digest": digest.value}).one_or_none()
    if row is None:
        raise Unauthenticated("The API key is not valid.")
    role = Role(row.role)
    scopes = frozenset(Scope(scope) for scope in row.scopes)
    return Actor(row.id, row.name, role, scopes & SCOPES_OF[role], origin, frozenset(row.made_by))


def create_key(
    session: Session,
    actor: Actor,
    user: User,
    *,
    scopes: Iterable[Scope] = DEFAULT_SCOPES,
    lifetime: timedelta | None = None,
) -> tuple[ApiKey, str]:
    """Add a key for ``user``; return its row and the plain text, which is shown this once.

    Raises:
        InvalidInput: a scope that the user's role does not have, no scope at all, or a
            lifetime that is not positive or ends after the year 9999.
        NotFound: the user was deleted meanwhile.
        Unauthenticated: the actor has lost its rights meanwhile.
    """
    wanted = frozenset(scopes)
    if not wanted:
        raise InvalidInput.of("scopes", "Name at least one scope.")
    expires_at = None if lifetime is None else _end_of(lifetime)
    # Held, so that whoever takes the user's role away at this moment finds this key, or we
    # find the role gone.
    standing.require(session, actor, user.id)
    role = session.scalar(select(User.role).where(User.id == user.id))
    if role is None:
        raise NotFound("There is no such user.")
    if Scope.CONFIRM in wanted and role not in SETTLERS:
        raise InvalidInput.of(
            "scopes", "The scope confirm is for keys of admins and operators only."
        )
    if not wanted <= SCOPES_OF[role]:
        raise InvalidInput.of("scopes", "This role may not have all of these scopes.")
    plain = generate()
    key = ApiKey(
        user_id=user.id,
        id=new_id(),
        prefix=plain[:_SHOWN_LENGTH],
        last4=plain[-4:],
        digest=digest_of(plain).value,
        scopes=sorted(wanted),
        made_by=sorted(actor.hands),
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    audit_service.record(session, actor, "api_key.created", "user", user.id, after=_describe(key))
    return key, plain


def _end_of(lifetime: timedelta) -> datetime:
    if lifetime <= timedelta(0):
        raise InvalidInput.of("expires_in", "The lifetime must be positive.")
    try:
        return now() + lifetime
    except OverflowError:
        raise InvalidInput.of("expires_in", "The lifetime is too long.") from None


def list_keys(session: Session, user_id: UUID) -> list[ApiKey]:
    """Return the keys of a user, newest first."""
    query = select(ApiKey).where(ApiKey.user_id == user_id).order_by(ApiKey.created_at.desc())
    return list(session.scalars(query))


def revoke_key(session: Session, actor: Actor, prefix: str) -> ApiKey:
    """Revoke the key that is shown as ``prefix``; it counts with the next request.

    Repeating it changes nothing.

    Raises:
        NotFound: no key starts like this, or it is somebody else's.
    """
    key = session.scalar(select(ApiKey).where(ApiKey.prefix == prefix).with_for_update())
    if key is None:
        raise NotFound("There is no API key with this prefix.")
    actor.require_owner(key.user_id)
    if key.revoked_at is None:
        key.revoked_at = now()
        session.flush()
        audit_service.record(
            session, actor, "api_key.revoked", "user", key.user_id, after=_describe(key)
        )
    return key


def _describe(key: ApiKey) -> dict[str, Any]:
    return {"prefix": key.prefix, "scopes": list(key.scopes)}
