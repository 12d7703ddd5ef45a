"""Signed receipts: what became of a transaction, in a form that others can check offline."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection

from standart.encryption import Keyring
from standart.errors import NotFinished, NotFound
from standart.models import Scope
from standart.receipts import document
from standart.services import receipt_sql as sql
from standart.services import signing_key_service, transaction_sql
from standart.services.access import Actor, Origin
from standart.services.guarded import who_asks
from standart.services.key_service import KeyDigest
from standart.states import TransactionStatus


def issue(
    connection: Connection,
    caller: KeyDigest | Actor,
    origin: Origin,
    keyring: Keyring,
    transaction_id: UUID,
) -> bytes:
    """Return the signed receipt of a finished transaction, as the answer's bytes.

    It states the moment: the same bytes until money is given back, the chain gets another
    seal or the signing key is rotated. ``connection`` is in autocommit mode.

    Raises:
        NotFound: unknown, or somebody else's, in the same words.
        NotFinished: the transaction is still pending.
        ConfigurationError: the key ring does not open the signing key.
    """
    if isinstance(caller, KeyDigest):
        asked = {"digest": caller.value, "scope": Scope.READ.value, "id": transaction_id}
        found = sql.READ_BY_KEY.first(connection, asked)
        if found is not None and _is_final(row := sql.Row(*found)):
            return _signed(keyring, row)
    actor, _ = who_asks(connection, caller, origin, Scope.READ, None)
    return _signed(keyring, _read(connection, actor, keyring, transaction_id))


def _is_final(row: sql.Row) -> bool:
    """Whether the row needs no second look."""
    return not row.unswept and (_is_pending(row) or row.key_id is not None)


def _is_pending(row: sql.Row) -> bool:
    return bool(row.transaction["status"] == TransactionStatus.PENDING)


def _read(connection: Connection, actor: Actor, keyring: Keyring, transaction_id: UUID) -> sql.Row:
    """Read one transaction for ``actor``, once nobody is about to confirm it any more."""
    asked = {"id": transaction_id}
    found = connection.execute(sql.READ, asked).one_or_none()
    if found is None:
        raise NotFound
    *columns, user_id = found
    actor.require_owner(user_id)
    row = sql.Row(*columns)
    if _is_final(row):
        return row
    if row.unswept:
        # Waits for whoever holds the row; its journal is seen by a statement that begins later.
        connection.execute(transaction_sql.READ_ONE_SETTLED, asked)
    if row.key_id is None:
        signing_key_service.ensure(connection, keyring)
    *columns, _ = connection.execute(sql.READ, asked).one()
    return sql.Row(*columns)


def _signed(keyring: Keyring, row: sql.Row) -> bytes:
    if _is_pending(row):
        raise NotFinished(transaction_status=row.transaction["status"])
    assert row.key_id is not None
    assert row.private_key is not None
    return document.signed(
        row.key_id,
        signing_key_service.open_key(keyring, row.key_id, row.private_key),
        transaction=row.transaction,
        settlement=row.settlement,
        seal=row.seal,
        chain_head=row.chain_head,
    )
