"""Users: merchants and those who work for them all; who comes in is ``login_service``'s."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from standart import money
from standart.clock import new_id, now
from standart.db import constraint_name
from standart.encryption import Keyring
from standart.errors import (
    InvalidInput,
    NameTaken,
    NotFound,
    UserChanged,
    UserHasHistory,
)
from standart.models import (
    Account,
    ApiKey,
    IdempotencyKey,
    Limit,
    LimitSum,
    PanelPreference,
    PanelSession,
    PendingLogin,
    RecoveryCode,
    Role,
    SecondFactor,
    Transaction,
    User,
    WebhookEndpoint,
)
from standart.services import (
    audit_service,
    endpoint_service,
    login_failures,
    passwords,
    session_service,
    standing,
)
from standart.services.access import SCOPES_OF, Actor


class _Unset:
    """Marks a field that an update leaves as it is; ``None`` is a value of its own."""


UNSET: Final = _Unset()


def create_user(
    session: Session,
    actor: Actor,
    keyring: Keyring,
    *,
    name: str,
    currency: str,
    role: Role = Role.REGULAR,
    commission_rate: Decimal = Decimal(0),
    webhook_url: str | None = None,
    password: str | None = None,
    timezone: str = "UTC",
) -> tuple[User, str]:
    """Add a user; return it with its webhook secret in plain text.

    ``webhook_url`` must have passed ``webhooks.addresses.parse_url``. Without a password
    the user cannot log in to the panel.

    Raises:
        NameTaken: the name is in use, in whatever case.
        InvalidInput: name, currency, time zone or password is not acceptable.
        Unauthenticated: the actor has lost its rights meanwhile.
    """
    standing.require(session, actor)
    money.digits_of(currency)
    user_id = new_id()
    user = User(
        id=user_id,
        name=_valid_name(name),
        role=role,
        active=True,
        commission_rate=commission_rate,
        currency=currency,
        timezone=_valid_timezone(timezone),
        unique_reference=False,
    )
    if password is not None:
        _set_password(user, actor, password)
    session.add(user)
    _flush_name(session)
    secret = endpoint_service.add_default(session, keyring, user, webhook_url)
    audit_service.record(session, actor, "user.created", "user", user.id, after=describe(user))
    return user, secret


def update_user(
    session: Session,
    actor: Actor,
    user: User,
    *,
    name: str | _Unset = UNSET,
    role: Role | _Unset = UNSET,
    active: bool | _Unset = UNSET,
    commission_rate: Decimal | _Unset = UNSET,
    currency: str | _Unset = UNSET,
    webhook_url: str | _Unset | None = UNSET,
    password: str | _Unset = UNSET,
    unique_reference: bool | _Unset = UNSET,
    timezone: str | _Unset = UNSET,
    keep: str | None = None,
    seen: str | None = None,
) -> None:
    """Change the given fields; rate and ``unique_reference`` count for later transactions only.

    A change of role, password or activity ends the user's panel sessions; the one of the
    token ``keep`` goes on where only the password changes. A saved webhook
    URL is called again after a receiver's 410. Keys lose the scopes that a new role does
    not have at once. ``seen`` is the ``fingerprint`` of what the changes were made from.

    Raises:
        NameTaken, InvalidInput, Unauthenticated: as in ``create_user``.
        InvalidInput: the last active admin would lose its rights.
        UserChanged: somebody else has changed the user since it was ``seen``.
        NotFound: the user was deleted meanwhile.
    """
    rights = not isinstance(role, _Unset) or not isinstance(active, _Unset)
    standing.require_alone(session, actor, user, admins=rights)
    if seen is not None and seen != fingerprint(user):
        raise UserChanged
    before = describe(user)
    other_rights = _change_rights(session, user, role, active)
    if not isinstance(name, _Unset):
        user.name = _valid_name(name)
    if not isinstance(currency, _Unset):
        money.digits_of(currency)
        user.currency = currency
    if not isinstance(commission_rate, _Unset):
        user.commission_rate = commission_rate
    if not isinstance(webhook_url, _Unset):
        endpoint_service.set_default_url(user, webhook_url)
    if not isinstance(unique_reference, _Unset):
        user.unique_reference = unique_reference
    if not isinstance(timezone, _Unset):
        user.timezone = _valid_timezone(timezone)
    other_password = not isinstance(password, _Unset)
    if not isinstance(password, _Unset):
        _set_password(user, actor, password)
    _flush_name(session)
    if other_password:
        login_failures.forget_codes(session, user.name)
    if other_rights or other_password:
        session_service.end_all(session, user.id, keep=None if other_rights else keep)
    after = describe(user) | ({"password_changed": True} if other_password else {})
    about = {"before": before, "after": after}
    audit_service.record(session, actor, "user.updated", "user", user.id, **about)


def _change_rights(
    session: Session, user: User, role: Role | _Unset, active: bool | _Unset
) -> bool:
    """Give a user another role or activity; return whether that was a change at all.

    Raises:
        InvalidInput: the last active admin would lose its rights.
    """
    to_role = user.role if isinstance(role, _Unset) else role
    to_active = user.active if isinstance(active, _Unset) else active
    if to_role is user.role and to_active == user.active:
        return False
    if to_role is not user.role or not to_active:
        _keep_an_admin(session, user)
    if to_role is not user.role:
        user.role = to_role
        _drop_scopes(session, user)
    user.active = to_active
    return True


def delete_user(session: Session, actor: Actor, user: User) -> None:
    """Delete a user that never had a transaction, or anything else that is kept for ever.

    Raises:
        UserHasHistory: there is such a thing; deactivate the user instead.
        InvalidInput: it is the last active admin.
        Unauthenticated, NotFound: as in ``update_user``.
    """
    standing.require_alone(session, actor, user, admins=True)
    # A transaction that is just being created holds the row: it is history once we have it.
    session.execute(select(User.id).where(User.id == user.id).with_for_update())
    if session.scalar(select(select(Transaction.id).filter_by(user_id=user.id).exists())):
        raise UserHasHistory
    _keep_an_admin(session, user)
    before = describe(user)
    try:
        for table in (
            ApiKey,
            PanelSession,
            PendingLogin,
            RecoveryCode,
            SecondFactor,
            PanelPreference,
            IdempotencyKey,
            Account,
            Limit,
            LimitSum,
            WebhookEndpoint,
        ):
            session.execute(delete(table).where(table.user_id == user.id))
        session.delete(user)
        session.flush()
    except IntegrityError as error:
        # Fees, notes, approvals, payouts, events: what is kept for ever names the user, or one
        # of its endpoints.
        if constraint_name(error).endswith(("_users", "_approvers", "_webhook_endpoints")):
            raise UserHasHistory from None
        raise
    audit_service.record(session, actor, "user.deleted", "user", user.id, before=before)


def get_user(session: Session, user_id: UUID) -> User:
    """Return the user of this id.

    Raises:
        NotFound: there is none.
    """
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def find_user(session: Session, name: str) -> User | None:
    """Return the user of this name, in whatever case, or ``None``."""
    return session.scalar(select(User).where(func.lower(User.name) == func.lower(name)))


def list_users(session: Session) -> list[User]:
    """Return all users by name."""
    return list(session.scalars(select(User).order_by(func.lower(User.name))))


def describe(user: User) -> dict[str, Any]:
    """What the audit log keeps of a user: no secret, no hash."""
    return {
        "name": user.name,
        "role": user.role.value,
        "active": user.active,
        "commission_rate": money.format_rate(Decimal(user.commission_rate)),
        "currency": user.currency,
        "webhook_url": user.webhook_url,
        "timezone": user.timezone,
        "unique_reference": user.unique_reference,
    }


def fingerprint(user: User) -> str:
    """Return by what one sees whether a user was changed."""
    content = json.dumps(describe(user), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _valid_name(name: str) -> str:
    stripped = name.strip()
    if not 1 <= len(stripped) <= 128 or not stripped.isprintable():
        raise InvalidInput.of("name", "must have 1 to 128 printable characters")
    return stripped


def _set_password(user: User, actor: Actor, password: str) -> None:
    """Also one's own is made by all one's hands: it may be whoever made the one before."""
    passwords.require_uncommon(password, user.name)
    user.password_hash = passwords.hashed(password)
    user.password_made_by = sorted(actor.hands)


def _valid_timezone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise InvalidInput.of("timezone", "must be a time zone such as Europe/Moscow") from None


def _flush_name(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        if constraint_name(error) == "uq_users_name":
            raise NameTaken from None
        raise


def _keep_an_admin(session: Session, user: User) -> None:
    """Refuse to take the rights of the last active admin: nobody could give them back."""
    if user.role is not Role.ADMIN or not user.active:
        return
    # Locked, so that two admins cannot remove each other at the same time.
    admins = select(User.id).where(User.role == Role.ADMIN, User.active).order_by(User.id)
    if set(session.scalars(admins.with_for_update())) <= {user.id}:
        raise InvalidInput.of("role", "The last active admin must stay one.")


def _drop_scopes(session: Session, user: User) -> None:
    """Take from the user's keys what its new role may not do."""
    for key in session.scalars(select(ApiKey).where(ApiKey.user_id == user.id)):
        remaining = [scope for scope in key.scopes if scope in SCOPES_OF[user.role]]
        if remaining == key.scopes:
            continue
        if remaining:
            key.scopes = remaining
        else:
            key.revoked_at = key.revoked_at or now()
