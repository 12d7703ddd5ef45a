"""Passwords: argon2id with 19 MiB, 2 passes, 1 lane, the OWASP minimum of 2023.

Of what a password must be made nothing is asked, only that it is long and none of those that are
tried first.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from standart.errors import InvalidInput

MINIMUM: Final = 12
MAXIMUM: Final = 1024

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@cache
def hash_of_nobody() -> str:
    """Checked when the name is unknown, so that it takes as long as a wrong password."""
    return _HASHER.hash("nobody has this password")


def require_uncommon(password: str, name: str) -> None:
    """Refuse what everybody tries first, in whatever case: the most used ones, and the name.

    Raises:
        InvalidInput: it is such a password.
    """
    plain = password.strip().lower()
    if plain == name.strip().lower() or plain in _common():
        raise InvalidInput.of("password", "must not be one of the most used passwords or the name")


@cache
def _common() -> frozenset[str]:
    listed = files("standart.services").joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in listed.splitlines() if not line.startswith("#"))


def hashed(password: str) -> str:
    """Return the argon2id hash of a password.

    Raises:
        InvalidInput: shorter than 12 or longer than 1024 characters, or not valid text.
    """
    if not MINIMUM <= len(password) <= MAXIMUM:
        raise InvalidInput.of("password", f"must have {MINIMUM} to {MAXIMUM} characters")
    try:
        return _HASHER.hash(password)
    except UnicodeEncodeError:
        raise InvalidInput.of("password", "must be valid text") from None


def matches(known: str, password: str) -> bool:
    """Whether a password has this hash."""
    if len(password) > MAXIMUM:
        return False
    try:
        return bool(_HASHER.verify(known, password))
    except (VerifyMismatchError, InvalidHashError, UnicodeEncodeError):
        return False


def is_weak(known: str) -> bool:
    """Whether a hash was made with weaker parameters than today's."""
    return _HASHER.check_needs_rehash(known)
