"""Who may come in: a password, then a code where there is a second factor; throttled.

A name is throttled for one address only: others cannot lock its owner out. Codes of six digits
are fewer than passwords, so for those the tries from everywhere count together, for a day; who
can try them has the password, and the owner still comes in by a recovery code. Another password
opens the six digits again.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, insert, literal, select
from sqlalchemy.orm import Session

from standart.encryption import Keyring
from standart.errors import TooManyRequests, Unauthenticated
from standart.models import LoginStep, PendingLogin, User
from standart.services import (
    access,
    login_failures,
    passwords,
    second_factor_service,
    session_service,
    user_service,
)
from standart.services.access import Origin

# PCI DSS 8.3.4: at most ten tries, then at least half an hour.
FAILURES_PER_NAME: Final = 10
FAILURES_PER_ADDRESS: Final = 50
CODE_FAILURES_PER_NAME: Final = 50

PENDING_LIFETIME: Final = timedelta(minutes=5)
"""How long a right password waits for its code."""

_TOKEN_BYTES: Final = 32

log = logging.getLogger(__name__)


def log_in(session: Session, *, name: str, password: str, ip: str) -> User:
    """Return the user of a right name and password; a second factor is still to be asked for.

    A wrong one is counted and must be committed by the caller too: open the unit of work
    so that ``Unauthenticated`` does not roll the count back.

    Raises:
        TooManyRequests: too many failures lately for this name or from this address.
        Unauthenticated: unknown name, wrong password, no password or deactivated, all in
            the same words and time.
    """
    _enter_queue(session, name, ip)
    user = user_service.find_user(session, name) if len(name) <= 128 and "\0" not in name else None
    if user is None or not _opens(session, user, password):
        if user is None:
            passwords.matches(passwords.hash_of_nobody(), password)
        _failed(session, name, ip, LoginStep.PASSWORD, user)
        raise Unauthenticated("Wrong name or password.")
    if not second_factor_service.is_enrolled(session, user.id):
        login_failures.forget(session, name, ip)
    return user


def ask_for_code(session: Session, user: User) -> str:
    """Keep that the password was right; return the token by which the code may follow."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    session.execute(
        insert(PendingLogin).values(
            digest=_digest(token), user_id=user.id, made_by=user.password_made_by
        )
    )
    return token


def waits_for_code(session: Session, token: str) -> bool:
    """Whether a code may still follow: not for long, and not after anything has changed."""
    return _pending(session, token) is not None


def enter_code(
    session: Session,
    keyring: Keyring,
    token: str,
    code: str,
    *,
    ip: str,
    user_agent: str | None,
) -> str:
    """Open the login whose password was right before; return the token for the cookie.

    A wrong code is counted as in ``log_in``.

    Raises:
        TooManyRequests: as in ``log_in``.
        Unauthenticated: the code is not right or was used, or nothing waits for one.
    """
    user = _pending(session, token)
    if user is None:
        raise Unauthenticated("The password is asked for again.")
    _enter_queue(session, user.name, ip)
    # Held: whoever changes the password or the role at this moment ends what we open, or we
    # find the pending login gone.
    if not _hold(session, user):
        raise Unauthenticated("The password is asked for again.")
    if not _code_is_right(session, keyring, user, code, ip):
        _failed(session, user.name, ip, LoginStep.CODE, user)
        raise Unauthenticated("Wrong code.")
    made_by = session.scalar(
        delete(PendingLogin)
        .where(PendingLogin.digest == _digest(token))
        .returning(PendingLogin.made_by)
    )
    if made_by is None or not user.active:
        raise Unauthenticated("The password is asked for again.")
    login_failures.forget(session, user.name, ip)
    return session_service.open_session(
        session, user, ip=ip or None, user_agent=user_agent, made_by=made_by
    )


def check_password(session: Session, user_id: UUID, *, password: str, ip: str) -> User:
    """Return the user whose password it is; for one's own, and throttled as a login is.

    Raises:
        TooManyRequests, Unauthenticated: as in ``log_in``.
    """
    user = user_service.get_user(session, user_id)
    _enter_queue(session, user.name, ip)
    if not _opens(session, user, password):
        _failed(session, user.name, ip, LoginStep.PASSWORD, user)
        raise Unauthenticated("Wrong password.")
    return user


def prove(
    session: Session, keyring: Keyring, user: User, *, password: str, code: str, ip: str
) -> None:
    """Let somebody who is logged in show once more who it is; throttled as a login is.

    A wrong one is counted as in ``log_in``. The code counts where there is a second factor.

    Raises:
        TooManyRequests, Unauthenticated: as in ``log_in``.
    """
    _enter_queue(session, user.name, ip)
    if not _opens(session, user, password):
        _failed(session, user.name, ip, LoginStep.PASSWORD, user)
        raise Unauthenticated("Wrong password or code.")
    if second_factor_service.is_enrolled(session, user.id) and not _code_is_right(
        session, keyring, user, code, ip
    ):
        _failed(session, user.name, ip, LoginStep.CODE, user)
        raise Unauthenticated("Wrong password or code.")
    login_failures.forget(session, user.name, ip)


def purge(session: Session) -> int:
    """Forget failures and pending logins that count no more; return how many."""
    aged = PendingLogin.created_at < func.clock_timestamp() - literal(PENDING_LIFETIME)
    gone = session.execute(delete(PendingLogin).where(aged).returning(literal(1))).all()
    return len(gone) + login_failures.purge(session)


def _pending(session: Session, token: str) -> User | None:
    young = PendingLogin.created_at > func.clock_timestamp() - literal(PENDING_LIFETIME)
    return session.scalar(
        select(User)
        .join(PendingLogin, User.id == PendingLogin.user_id)
        .where(PendingLogin.digest == _digest(token), young, User.active)
    )


def _opens(session: Session, user: User, password: str) -> bool:
    """Whether a password is the one of an active user, which it stays until the commit."""
    known = user.password_hash
    matches = passwords.matches(known or passwords.hash_of_nobody(), password)
    if not matches or known is None:
        return False
    if not _hold(session, user) or not user.active or user.password_hash != known:
        return False
    if passwords.is_weak(known):
        user.password_hash = passwords.hashed(password)
    return True


def _hold(session: Session, user: User) -> bool:
    """Lock a user as it is now; return whether it is still there."""
    held = (
        select(User)
        .where(User.id == user.id)
        .with_for_update(key_share=True, of=User)
        .execution_options(populate_existing=True)
    )
    return session.scalar(held) is not None


def _code_is_right(session: Session, keyring: Keyring, user: User, code: str, ip: str) -> bool:
    # Tries of one person's codes go one by one, wherever they come from.
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"code {user.id}", 0))))
    apps = login_failures.of_codes(session, user.name) < CODE_FAILURES_PER_NAME
    origin = Origin("panel", ip=ip or None)
    owner = access.operator(user.id, user.name, user.role, origin)
    return second_factor_service.check(session, owner, keyring, user.id, code, apps=apps)


def _enter_queue(session: Session, name: str, ip: str) -> None:
    """Let tries from one address go one by one: at the same time, each would be the first.

    Raises:
        TooManyRequests: this name from this address, or this address, has used up its tries.
    """
    queue = f"login {login_failures.place_of(ip)}"
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(queue, 0))))
    of_name, of_place = login_failures.at_place(session, name, ip)
    if of_name >= FAILURES_PER_NAME or of_place >= FAILURES_PER_ADDRESS:
        log.warning("a login was refused after too many failures", extra={"ip": ip})
        raise TooManyRequests(
            "Too many failed logins; try again later.",
            retry_after=int(login_failures.WINDOW.total_seconds()),
        )


def _failed(session: Session, name: str, ip: str, step: LoginStep, user: User | None) -> None:
    """Count a failure and log it (PCI DSS 10.2.1.4).

    What was typed for a name that nobody has is not logged: it may be a password.
    """
    login_failures.add(session, name, ip, step)
    whose = None if user is None else str(user.id)
    log.warning("a login failed", extra={"ip": ip, "user_id": whose, "step": step.value})


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
