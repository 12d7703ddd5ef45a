"""A second factor as its owner's app has it."""

from __future__ import annotations

import base64
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from standart import clock
from standart.db import transaction
from standart.encryption import Keyring
from standart.models import User
from standart.services import second_factor_service
from standart.services.access import SYSTEM


def code_of(secret: bytes, ahead: int = 0) -> str:
    """What the app shows now, or some steps of 30 seconds ``ahead``."""
    step = int(clock.now().timestamp()) // 30 + ahead
    return TOTP(secret, 6, SHA1(), 30).generate(step * 30).decode()


def from_text(shown: str) -> bytes:
    """The secret that a page shows for typing."""
    return base64.b32decode(shown.replace(" ", ""))


def enrol(engine: Engine, keyring: Keyring, user_id: UUID) -> tuple[bytes, list[str]]:
    """Give a user a second factor; no step of it is used up. Return secret and recovery codes."""
    with Session(engine) as session, transaction(session):
        user = session.get_one(User, user_id)
        second_factor_service.draw(session, keyring, user)
        secret = second_factor_service.drawn_secret(session, keyring, user_id)
        assert secret
        codes = second_factor_service.confirm(session, SYSTEM, keyring, user, code_of(secret))
    forget_steps(engine, user_id)
    return secret, codes


def forget_steps(engine: Engine, user_id: UUID) -> None:
    """Let codes count again that were used, as if the time of another step had come."""
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE second_factors SET last_step = 0 WHERE user_id = :id"), {"id": user_id}
        )
