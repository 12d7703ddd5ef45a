"""Transactions over HTTP: create, cancel, check, confirm, list."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from standart.api import auth, body, listing, query, responses, schemas
from standart.api.checks import uuid_or_none
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.clock import new_id
from standart.extensions import nudge, on_connection, settings
from standart.services import transaction_list, transaction_service
from standart.services.transaction_request import NewTransaction
from standart.states import TransactionStatus


class CreateTransaction(Resource):
    """``POST /create_transaction``."""

    def post(self) -> Response:
        """Create a pending transaction."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.CreateTransaction)
        claimed = claim(asked)
        new = NewTransaction(
            amount=asked.amount,
            currency=asked.currency,
            id=uuid_or_none(asked.id),
            reference=asked.reference,
            description=asked.description,
            metadata=asked.metadata or {},
            user_id=uuid_or_none(asked.user_id),
        )
        origin, ttl = auth.origin(), settings().transaction_ttl_seconds
        answer = on_connection(
            lambda connection: transaction_service.create(
                connection, digest, origin, new, ttl_seconds=ttl, claim=claimed
            )
        )
        if answer.told:
            nudge()
        return responses.from_answer(answer)


class CancelTransaction(Resource):
    """``POST /cancel_transaction``."""

    def post(self) -> Response:
        """Cancel a pending transaction."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.CancelTransaction)
        claimed, origin = claim(asked), auth.origin()
        transaction_id = UUID(asked.id)
        answer = on_connection(
            lambda connection: transaction_service.cancel(
                connection, digest, origin, transaction_id, reason=asked.reason, claim=claimed
            )
        )
        return responses.from_act(answer)


class ConfirmTransaction(Resource):
    """``POST /confirm_transaction``."""

    def post(self) -> Response:
        """Confirm a pending transaction."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.ConfirmTransaction)
        claimed, origin = claim(asked), auth.origin()
        transaction_id, alone = UUID(asked.id), settings().four_eyes_above
        act_id = new_id()
        answer = on_connection(
            lambda connection: transaction_service.confirm(
                connection,
                digest,
                origin,
                transaction_id,
                claim=claimed,
                alone=alone,
                act_id=act_id,
            )
        )
        return responses.from_act(answer)


class CheckTransaction(Resource):
    """``GET /check_transaction``."""

    def get(self) -> Response:
        """Read one transaction."""
        digest = auth.caller()
        transaction_id = UUID(query.read(schemas.CheckTransaction).id)
        origin = auth.origin()
        answer = on_connection(
            lambda connection: transaction_service.check(connection, digest, origin, transaction_id)
        )
        return responses.from_answer(answer)


class ListTransactions(Resource):
    """``GET /transactions``."""

    def get(self) -> Response:
        """List transactions, newest first."""
        digest = auth.caller()
        asked = query.read(schemas.ListTransactions)
        user_id = uuid_or_none(asked.user_id)
        return listing.answer(
            digest,
            "transactions",
            asked,
            lambda connection, actor, bounds: transaction_list.list_transactions(
                connection,
                actor,
                user_id=user_id,
                status=TransactionStatus(asked.status) if asked.status else None,
                reference=asked.reference,
                reference_prefix=asked.reference_prefix,
                metadata_key=asked.metadata_key,
                metadata_value=asked.metadata_value,
                currency=asked.currency,
                created_from=asked.created_from,
                created_to=asked.created_to,
                **bounds,
            ),
        )
