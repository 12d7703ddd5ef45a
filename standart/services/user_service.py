"""Users: merchants and operators, their passwords and logins.

Passwords are hashed with argon2id (19 MiB, 2 passes, 1 lane: the OWASP minimum of 2023).
Failed logins are counted in the database, by name and by address, so that every process
throttles alike.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import delete, func, insert, literal, select
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
    TooManyRequests,
    Unauthenticated,
    UserHasHistory,
)
from standart.models import (
    Account,
    ApiKey,
    IdempotencyKey,
    Limit,
    LimitSum,
    LoginFailure,
    PanelSession,
    Role,
    Transaction,
    User,
    WebhookEndpoint,
)
from standart.services import audit_service, endpoint_service
from standart.services.access import Actor

MINIMUM_PASSWORD: Final = 12
MAXIMUM_PASSWORD: Final = 1024

# PCI DSS 8.3.4: at most ten tries, then at least half an hour.
FAILURES_PER_NAME: Final = 10
FAILURES_PER_ADDRESS: Final = 50
FAILURE_WINDOW: Final = timedelta(minutes=30)

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@cache
def _hash_of_nobody() -> str:
    """Checked when the name is unknown, so that it takes as long as a wrong password."""
    return _HASHER.hash("nobody has this password")


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
    """
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
) -> None:
    """Change the given fields; rate and ``unique_reference`` count for later transactions only.

    A change of role, password or activity ends the user's panel sessions; a saved webhook
    URL is called again after a receiver's 410. Keys of a user that is no admin any more
    lose the scope ``confirm`` at once.

    Raises:
        NameTaken, InvalidInput: as in ``create_user``.
        InvalidInput: the last active admin would lose its rights.
    """
    before = describe(user)
    if (role is Role.REGULAR and user.role is Role.ADMIN) or active is False:
        _keep_an_admin(session, user)
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
    ends_sessions = False
    if not isinstance(role, _Unset) and role is not user.role:
        user.role = role
        _drop_confirm_scope(session, user)
        ends_sessions = True
    if not isinstance(active, _Unset) and active is not user.active:
        user.active = active
        ends_sessions = True
    if not isinstance(password, _Unset):
        _set_password(user, actor, password)
        ends_sessions = True
    _flush_name(session)
    if ends_sessions:
        session.execute(delete(PanelSession).where(PanelSession.user_id == user.id))
    told = {} if isinstance(password, _Unset) else {"password_changed": True}
    after = describe(user) | told
    audit_service.record(
        session, actor, "user.updated", "user", user.id, before=before, after=after
    )


def delete_user(session: Session, actor: Actor, user: User) -> None:
    """Delete a user that never had a transaction, or anything else that is kept for ever.

    Raises:
        UserHasHistory: there is such a thing; deactivate the user instead.
        InvalidInput: it is the last active admin.
    """
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


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password.

    Raises:
        InvalidInput: shorter than 12 or longer than 1024 characters, or not valid text.
    """
    if not MINIMUM_PASSWORD <= len(password) <= MAXIMUM_PASSWORD:
        raise InvalidInput.of(
            "password",
            f"must have {MINIMUM_PASSWORD} to {MAXIMUM_PASSWORD} characters",
        )
    try:
        return _HASHER.hash(password)
    except UnicodeEncodeError:
        raise InvalidInput.of("password", "must be valid text") from None


def log_in(session: Session, *, name: str, password: str, ip: str) -> User:
    """Return the user of a right name and password.

    A wrong one is counted and must be committed by the caller too: open the unit of work
    so that ``Unauthenticated`` does not roll the count back.

    Raises:
        TooManyRequests: too many failures lately for this name or from this address.
        Unauthenticated: unknown name, wrong password, no password or deactivated, all in
            the same words and time.
    """
    # Tries from one address go one by one: counted at the same time, each would be the first.
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"login {ip}", 0))))
    if _failures(session, name, ip):
        raise TooManyRequests(
            "Too many failed logins; try again later.",
            retry_after=int(FAILURE_WINDOW.total_seconds()),
        )
    user = find_user(session, name) if len(name) <= 128 and "\0" not in name else None
    known_hash = user.password_hash if user else None
    matches = _matches(known_hash or _hash_of_nobody(), password)
    if user is None or not user.active or known_hash is None or not matches:
        session.execute(insert(LoginFailure).values(name=_failure_name(name), ip=ip))
        raise Unauthenticated("Wrong name or password.")
    if _HASHER.check_needs_rehash(known_hash):
        user.password_hash = _HASHER.hash(password)
    session.execute(delete(LoginFailure).where(LoginFailure.name == _failure_name(name)))
    return user


def purge_login_failures(session: Session) -> int:
    """Forget failures that count no more; return how many."""
    aged = LoginFailure.created_at < func.clock_timestamp() - literal(FAILURE_WINDOW)
    return len(session.execute(delete(LoginFailure).where(aged).returning(LoginFailure.id)).all())


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


def _valid_name(name: str) -> str:
    stripped = name.strip()
    if not 1 <= len(stripped) <= 128 or not stripped.isprintable():
        raise InvalidInput.of("name", "must have 1 to 128 printable characters")
    return stripped


def _set_password(user: User, actor: Actor, password: str) -> None:
    """Also one's own is made by all one's hands: it may be whoever made the one before."""
    user.password_hash = hash_password(password)
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


def _drop_confirm_scope(session: Session, user: User) -> None:
    if user.role is Role.ADMIN:
        return
    for key in session.scalars(select(ApiKey).where(ApiKey.user_id == user.id)):
        remaining = [scope for scope in key.scopes if scope != "confirm"]
        if remaining:
            key.scopes = remaining
        else:
            key.revoked_at = key.revoked_at or now()


def _matches(password_hash: str, password: str) -> bool:
    if len(password) > MAXIMUM_PASSWORD:
        return False
    try:
        return bool(_HASHER.verify(password_hash, password))
    except (VerifyMismatchError, InvalidHashError, UnicodeEncodeError):
        return False


def _failure_name(name: str) -> str:
    return name[:128].replace("\0", "").lower()


def _failures(session: Session, name: str, ip: str) -> bool:
    """Whether this name from this address, or this address alone, has used up its tries.

    A name is throttled for one address only: others cannot lock its owner out.
    """
    recent = LoginFailure.created_at > func.clock_timestamp() - literal(FAILURE_WINDOW)
    from_here = LoginFailure.ip == ip
    counts = session.execute(
        select(
            func.count().filter(LoginFailure.name == _failure_name(name)),
            func.count(),
        ).where(recent, from_here)
    ).one()
    return bool(counts[0] >= FAILURES_PER_NAME or counts[1] >= FAILURES_PER_ADDRESS)
