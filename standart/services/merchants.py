"""Whose money a call is about: the rule that calls with an optional ``user_id`` share."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from standart.errors import InvalidInput
from standart.services.access import Actor

_MERCHANT = "SELECT id, currency, active FROM users WHERE id = :user_id"
_READ = text(_MERCHANT)
# Locked as a foreign key would lock it anyway: who is found stays until the commit.
_HOLD = text(f"{_MERCHANT} FOR KEY SHARE")


@dataclass(frozen=True, slots=True)
class Merchant:
    """A user as the owner of money; ``currency`` is what counts when none is named."""

    id: UUID
    currency: str


def meant_by(
    connection: Connection, actor: Actor, user_id: UUID | None, *, leaving: bool = False
) -> Merchant:
    """Return the merchant that a call is about: the one an admin names, or the caller.

    ``leaving`` is for what moves money out: also that of a deactivated merchant, whose row
    is held until the commit.

    Raises:
        InvalidInput: an admin names nobody, a merchant names somebody, or the user is
            unknown or deactivated.
    """
    if actor.sees_all and user_id is None:
        raise InvalidInput.of("user_id", "An admin's key must name the merchant.")
    if not actor.sees_all and user_id is not None:
        raise InvalidInput.of("user_id", "Only an admin's key may name a merchant.")
    query = _HOLD if leaving else _READ
    row = connection.execute(query, {"user_id": user_id or actor.user_id}).one_or_none()
    if row is None:
        raise InvalidInput.of("user_id", "There is no such user.")
    if not row.active and not leaving:
        raise InvalidInput.of("user_id", "This user is deactivated.")
    return Merchant(row.id, row.currency)
