"""Failed logins, counted in the database, so that every process throttles alike.

They count by name and by place: an address of IPv4, or a network of IPv6, of whose 2^64 addresses
whoever has one has them all.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func, insert, literal, or_, select
from sqlalchemy.orm import Session

from standart.models import LoginFailure, LoginStep

WINDOW: Final = timedelta(minutes=30)
"""How long a failure counts for its place."""

CODE_WINDOW: Final = timedelta(days=1)
"""How long a wrong code counts for its name, wherever it came from."""

_NETWORK: Final = 64
_LONGEST_NAME: Final = 128


def at_place(session: Session, name: str, ip: str) -> tuple[int, int]:
    """Return how many failures there were lately of a name from a place, and of the place."""
    counts = session.execute(
        select(func.count().filter(LoginFailure.name == _name(name)), func.count()).where(
            _younger(WINDOW), LoginFailure.ip == place_of(ip)
        )
    ).one()
    return counts[0], counts[1]


def of_codes(session: Session, name: str) -> int:
    """Return how many wrong codes of a name there were lately, from everywhere."""
    return session.scalar(select(func.count()).where(_younger(CODE_WINDOW), *_codes_of(name))) or 0


def add(session: Session, name: str, ip: str, step: LoginStep) -> None:
    """Count one more."""
    failure = {"name": _name(name), "ip": place_of(ip), "step": step}
    session.execute(insert(LoginFailure).values(**failure))


def forget(session: Session, name: str, ip: str) -> None:
    """Begin to count anew for whoever came in; what others tried elsewhere still counts."""
    mine = (LoginFailure.name == _name(name)) & (LoginFailure.ip == place_of(ip))
    session.execute(delete(LoginFailure).where(mine))


def forget_codes(session: Session, name: str) -> None:
    """Begin to count codes anew: who tried them had a password that opens nothing any more."""
    session.execute(delete(LoginFailure).where(*_codes_of(name)))


def purge(session: Session) -> int:
    """Forget those that count no more; return how many."""
    is_code = LoginFailure.step == LoginStep.CODE
    young = or_(_younger(WINDOW), is_code & _younger(CODE_WINDOW))
    gone = session.execute(delete(LoginFailure).where(~young).returning(literal(1)))
    return len(gone.all())


def place_of(ip: str) -> str:
    """Return what counts as one address."""
    with suppress(ValueError):
        address = ipaddress.ip_address(ip)
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is not None:
                return str(address.ipv4_mapped)
            return str(ipaddress.ip_network((int(address), _NETWORK), strict=False))
    return ip


def _younger(age: timedelta) -> ColumnElement[bool]:
    return LoginFailure.created_at > func.clock_timestamp() - literal(age)


def _codes_of(name: str) -> tuple[ColumnElement[bool], ...]:
    return LoginFailure.name == _name(name), LoginFailure.step == LoginStep.CODE


def _name(name: str) -> str:
    return name[:_LONGEST_NAME].replace("\0", "").lower()
