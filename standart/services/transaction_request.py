"""What a client asks for when it creates a transaction, and what may stand against it.

The hot statement looks at all of this by itself; here it is found out why it made nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, text

from standart import money
from standart.clock import new_id
from standart.errors import IdConflict, ReferenceTaken
from standart.services import merchants
from standart.services.access import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTransaction:
    """What a client asks for; ``amount`` is exact decimal text.

    ``id`` is the client's own choice, ``user_id`` names the merchant when an admin asks.
    ``fresh_id`` serves where the client chose none; it is drawn here, so that running the
    same request twice (the connection died after the commit) makes one transaction.
    """

    amount: str
    currency: str | None = None
    id: UUID | None = None
    reference: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    user_id: UUID | None = None
    fresh_id: UUID = field(default_factory=new_id)

    @property
    def wanted_id(self) -> UUID:
        """The id that the transaction gets: the client's own choice, or the fresh one."""
        return self.id or self.fresh_id


def is_sound(new: NewTransaction) -> bool:
    """Whether the statement may see the amount: PostgreSQL reads texts that are no amounts.

    Without an amount nothing is created, and the explaining path says what is wrong.
    """
    known = new.currency is None or new.currency in money.CURRENCIES
    return known and money.may_be_amount(new.amount)


def terms(connection: Connection, actor: Actor, new: NewTransaction) -> tuple[UUID, money.Money]:
    """Return whose transaction it shall be and its exact amount.

    Raises:
        InvalidInput: the currency is unknown, the amount does not fit it, or ``user_id`` names
            no merchant that the actor may act for.
        Forbidden: the actor keeps nobody's transactions.
    """
    merchant = merchants.meant_by(connection, actor, new.user_id)
    actor.require_keeper(merchant.id)
    currency = merchant.currency if new.currency is None else new.currency
    return merchant.id, money.parse_amount(new.amount, currency)


_REFERENCE_TAKEN = text(
    """
    SELECT EXISTS (SELECT FROM transactions t JOIN users u ON u.id = t.user_id
        WHERE t.user_id = :user_id AND t.reference = :reference AND u.unique_reference
          AND t.id <> :id)
    """
)


def require_free_reference(connection: Connection, user_id: UUID, new: NewTransaction) -> None:
    """Refuse a second transaction of a reference where the merchant wants one at most.

    The transaction of the very id that was asked for may have been committed since we
    looked for it; that is no second one.

    Raises:
        ReferenceTaken: also by one that was canceled or has expired.
    """
    taken = {"user_id": user_id, "reference": new.reference, "id": new.wanted_id}
    if new.reference is not None and connection.scalar(_REFERENCE_TAKEN, taken):
        raise ReferenceTaken


_SAME = text(
    """
    SELECT user_id, amount, currency, reference, description, metadata
    FROM transactions WHERE id = :id
    """
)


def is_repeated(
    connection: Connection, owner_id: UUID, amount: money.Money, new: NewTransaction
) -> bool:
    """Whether the id that is asked for has made its transaction already.

    Raises:
        IdConflict: the id has other content or another owner; shows nothing of the row.
    """
    row = connection.execute(_SAME, {"id": new.wanted_id}).one_or_none()
    if row is None:
        return False
    asked = (owner_id, amount.amount, amount.currency, new.reference, new.description)
    found = (row.user_id, row.amount, row.currency, row.reference, row.description)
    if found != asked or row.metadata != new.metadata:
        raise IdConflict
    return True
