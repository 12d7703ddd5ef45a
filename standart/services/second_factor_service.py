"""The second factor: six digits of an app (TOTP, RFC 6238), and codes of last resort.

The secret is sealed by the key ring; until a code of it was shown it is kept by the page of the
login that drew it and nowhere else, so nobody confirms what another login has seen. A step of 30
seconds is used up by its first right code, whoever of two that come at once was later is refused.
Recovery codes have 120 bits, so that their SHA-256 is enough at rest; each opens once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import CursorResult, delete, func, insert, select, text
from sqlalchemy.orm import Session

from standart import clock
from standart.encryption import Keyring
from standart.errors import ConfigurationError, Conflict, InvalidInput
from standart.models import RecoveryCode, SecondFactor, User
from standart.services import audit_service, session_service
from standart.services.access import Actor

STEP_SECONDS: Final = 30
DRIFT: Final = 1
"""How many steps an app's clock may be ahead or behind."""
RECOVERY_CODES: Final = 10
DRAWN_SECONDS: Final = 900
"""How long a secret that was drawn may be confirmed."""

_ISSUER: Final = "Standart"
_DIGITS: Final = 6
_SECRET_BYTES: Final = 20
_RECOVERY_BYTES: Final = 15
_MOMENT_BYTES: Final = 8
_CODE = re.compile(rf"[0-9]{{{_DIGITS}}}", re.ASCII)
_RECOVERY = re.compile(r"[A-Z2-7]{24}", re.ASCII)

# The row is locked by it, so of two logins with one code the second finds the step used.
_USE_STEP = text(
    """
    UPDATE second_factors SET last_step = :step
    WHERE user_id = :user_id AND confirmed_at IS NOT NULL AND last_step < :step
    """
)


def is_enrolled(session: Session, user_id: UUID) -> bool:
    """Whether a code is asked for when this user logs in."""
    return bool(
        session.scalar(
            select(
                select(SecondFactor.user_id)
                .where(SecondFactor.user_id == user_id, SecondFactor.confirmed_at.is_not(None))
                .exists()
            )
        )
    )


def draw(keyring: Keyring, user_id: UUID, login_id: UUID) -> str:
    """Draw a secret; return it sealed for one login of the user, as text for its page.

    It counts for nothing until a code of it was shown.
    """
    moment = int(clock.now().timestamp()).to_bytes(_MOMENT_BYTES, "big")
    plain = moment + os.urandom(_SECRET_BYTES)
    box = keyring.encrypt(plain, _drawn_context(user_id, login_id))
    return base64.urlsafe_b64encode(box).decode("ascii")


def drawn_secret(keyring: Keyring, user_id: UUID, login_id: UUID, drawn: str) -> bytes | None:
    """Return the secret that ``draw`` sealed, ``None`` when it is too old or somebody else's."""
    try:
        box = base64.b64decode(drawn.encode("ascii"), altchars=b"-_", validate=True)
        plain = keyring.decrypt(box, _drawn_context(user_id, login_id))
    except (UnicodeEncodeError, binascii.Error, ConfigurationError):
        return None
    moment, secret = plain[:_MOMENT_BYTES], plain[_MOMENT_BYTES:]
    age = clock.now().timestamp() - int.from_bytes(moment, "big")
    return secret if age <= DRAWN_SECONDS else None


def as_text(secret: bytes) -> str:
    """Return the secret as people type it into an app."""
    return base64.b32encode(secret).decode("ascii")


def as_uri(secret: bytes, name: str) -> str:
    """Return the ``otpauth`` URI that apps read from a QR code."""
    return _totp(secret).get_provisioning_uri(name, _ISSUER)


def confirm(
    session: Session,
    actor: Actor,
    keyring: Keyring,
    user: User,
    secret: bytes | None,
    code: str,
    *,
    keep: str | None = None,
) -> list[str]:
    """Let a drawn secret count from now on; return recovery codes, which are shown this once.

    Other logins of the user end, the one of the token ``keep`` goes on.

    Raises:
        InvalidInput: ``code`` is none of the secret's.
        Conflict: there is no drawn secret, or there is a second factor already; it must be
            removed first.
    """
    # Held: who comes in by the password alone at this moment is ended with the others, or is
    # asked for a code.
    _hold(session, user)
    if secret is None or is_enrolled(session, user.id):
        raise Conflict("There is no second factor to confirm.")
    step = _step_of(secret, code)
    if step is None:
        raise InvalidInput.of("code", "This code is not right, or too old.")
    # What an earlier version has kept of a secret that nobody confirmed.
    session.execute(delete(SecondFactor).where(SecondFactor.user_id == user.id))
    session.execute(
        insert(SecondFactor).values(
            user_id=user.id,
            secret=keyring.encrypt(secret, _context(user.id)),
            last_step=step,
            confirmed_at=func.clock_timestamp(),
        )
    )
    codes = _new_codes(session, user.id)
    session_service.end_all(session, user.id, keep=keep)
    audit_service.record(session, actor, "second_factor.added", "user", user.id)
    return codes


def check(
    session: Session, owner: Actor, keyring: Keyring, user_id: UUID, code: str, *, apps: bool
) -> bool:
    """Use up ``code``; return whether it was right. Without ``apps`` only recovery codes are.

    That one of those was used is written down: its owner may not have been who did.
    """
    plain = code.strip().upper().replace("-", "").replace(" ", "")
    if _CODE.fullmatch(plain):
        return apps and _use_step(session, keyring, user_id, plain)
    if not _RECOVERY.fullmatch(plain) or not _use_recovery(session, user_id, plain):
        return False
    after = {"codes_left": count_codes(session, user_id)}
    audit_service.record(session, owner, "recovery_code.used", "user", user_id, after=after)
    return True


def renew_codes(session: Session, actor: Actor, user: User) -> list[str]:
    """Replace the recovery codes; return the new ones, which are shown this once.

    Raises:
        Conflict: there is no second factor.
    """
    _hold(session, user)
    if not is_enrolled(session, user.id):
        raise Conflict("There is no second factor.")
    codes = _new_codes(session, user.id)
    audit_service.record(session, actor, "recovery_codes.renewed", "user", user.id)
    return codes


def count_codes(session: Session, user_id: UUID) -> int:
    """Return how many recovery codes are left."""
    return session.scalar(select(func.count()).where(RecoveryCode.user_id == user_id)) or 0


def remove(session: Session, actor: Actor, user: User, *, keep: str | None = None) -> None:
    """Let the password alone open the user's login again; its other logins end.

    Removing what is not there changes nothing.
    """
    _hold(session, user)
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    gone = session.execute(
        delete(SecondFactor)
        .where(SecondFactor.user_id == user.id)
        .returning(SecondFactor.confirmed_at)
    ).one_or_none()
    if gone is None or gone.confirmed_at is None:
        return
    session_service.end_all(session, user.id, keep=keep)
    audit_service.record(session, actor, "second_factor.removed", "user", user.id)


def reseal(ring: Keyring, user_id: UUID, box: bytes) -> bytes:
    """Seal a secret with the ring's first key.

    Raises:
        ConfigurationError: the ring does not open it.
    """
    return ring.reseal(box, _context(user_id))


def _use_step(session: Session, keyring: Keyring, user_id: UUID, code: str) -> bool:
    sealed = session.scalar(
        select(SecondFactor.secret).where(
            SecondFactor.user_id == user_id, SecondFactor.confirmed_at.is_not(None)
        )
    )
    if sealed is None:
        return False
    step = _step_of(keyring.decrypt(sealed, _context(user_id)), code)
    if step is None:
        return False
    used: CursorResult[tuple[()]] = session.execute(  # type: ignore[assignment]  # an UPDATE
        _USE_STEP, {"user_id": user_id, "step": step}
    )
    return used.rowcount == 1


def _step_of(secret: bytes, code: str) -> int | None:
    """Return the step that ``code`` belongs to, as near to now as may be; ``None``: none.

    All are compared, whichever is right, so the time tells nothing.
    """
    if not _CODE.fullmatch(code.strip()):
        return None
    given, totp = code.strip().encode("ascii"), _totp(secret)
    present = int(clock.now().timestamp()) // STEP_SECONDS
    right = [
        step
        for step in range(present - DRIFT, present + DRIFT + 1)
        if hmac.compare_digest(totp.generate(step * STEP_SECONDS), given)
    ]
    return right[-1] if right else None


def _use_recovery(session: Session, user_id: UUID, plain: str) -> bool:
    used = session.execute(
        delete(RecoveryCode)
        .where(
            RecoveryCode.user_id == user_id,
            RecoveryCode.digest == _digest(user_id, plain),
            select(SecondFactor.user_id)
            .where(SecondFactor.user_id == user_id, SecondFactor.confirmed_at.is_not(None))
            .exists(),
        )
        .returning(RecoveryCode.user_id)
    )
    return used.one_or_none() is not None


def _new_codes(session: Session, user_id: UUID) -> list[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    plain = [
        base64.b32encode(os.urandom(_RECOVERY_BYTES)).decode("ascii") for _ in range(RECOVERY_CODES)
    ]
    session.execute(
        insert(RecoveryCode),
        [{"user_id": user_id, "digest": _digest(user_id, each)} for each in plain],
    )
    return ["-".join(each[at : at + 4] for at in range(0, len(each), 4)) for each in plain]


def _digest(user_id: UUID, plain: str) -> bytes:
    return hashlib.sha256(user_id.bytes + plain.encode("ascii")).digest()


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, _DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 - what apps agree on


def _hold(session: Session, user: User) -> None:
    """Let nobody change the factor of ``user``, or come in by the password, until the commit."""
    session.execute(select(User.id).where(User.id == user.id).with_for_update(key_share=True))


def _context(user_id: UUID) -> bytes:
    return b"second factor " + user_id.bytes


def _drawn_context(user_id: UUID, login_id: UUID) -> bytes:
    return b"drawn second factor " + user_id.bytes + login_id.bytes
