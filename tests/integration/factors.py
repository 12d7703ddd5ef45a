"""A second factor as its owner's app has it."""

from __future__ import annotations

import base64
import re
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from standart import clock
from standart.clock import new_id
from standart.db import transaction
from standart.encryption import Keyring
from standart.models import User
from standart.services import second_factor_service
from standart.services.access import SYSTEM
from tests.integration.panel import Panel

_SECRET = re.compile(r'<code class="whole secret">([A-Z2-7 ]+)</code>')
_DRAWN = re.compile(r'name="drawn" type="hidden" value="([^"]+)"')


def code_of(secret: bytes, ahead: int = 0) -> str:
    """What the app shows now, or some steps of 30 seconds ``ahead``."""
    step = int(clock.now().timestamp()) // 30 + ahead
    return TOTP(secret, 6, SHA1(), 30).generate(step * 30).decode()


def from_text(shown: str) -> bytes:
    """The secret that a page shows for typing."""
    return base64.b32decode(shown.replace(" ", ""))


def enrol(engine: Engine, keyring: Keyring, user_id: UUID) -> tuple[bytes, list[str]]:
    """Give a user a second factor; no step of it is used up. Return secret and recovery codes."""
    secret = drawn(keyring, user_id)
    with Session(engine) as session, transaction(session):
        user = session.get_one(User, user_id)
        codes = second_factor_service.confirm(
            session, SYSTEM, keyring, user, secret, code_of(secret)
        )
    forget_steps(engine, user_id)
    return secret, codes


def drawn(keyring: Keyring, user_id: UUID) -> bytes:
    """A secret that was drawn in some login, and is not confirmed yet."""
    login_id = new_id()
    sealed = second_factor_service.draw(keyring, user_id, login_id)
    secret = second_factor_service.drawn_secret(keyring, user_id, login_id, sealed)
    assert secret
    return secret


def begin(panel: Panel) -> tuple[bytes, dict[str, str]]:
    """Draw a secret in the panel; return it, and what the form about its first code carries."""
    page = panel.post("/admin/profile/second-factor/begin")
    assert page.status_code == 200, page.text
    assert '<svg class="qr"' in page.text
    shown = _SECRET.search(page.text)
    carried = _DRAWN.search(page.text)
    assert shown
    assert carried
    return from_text(shown[1]), {"drawn": carried[1]}


def forget_steps(engine: Engine, user_id: UUID) -> None:
    """Let codes count again that were used, as if the time of another step had come."""
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE second_factors SET last_step = 0 WHERE user_id = :id"), {"id": user_id}
        )
