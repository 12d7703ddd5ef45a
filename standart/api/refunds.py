"""Refunds over HTTP: create, check, list."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from standart.api import auth, body, listing, query, responses, schemas
from standart.api.checks import uuid_or_none
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.extensions import on_connection
from standart.services import key_service, refund_service
from standart.services.refund_service import NewRefund


class CreateRefund(Resource):
    """``POST /create_refund``."""

    def post(self) -> Response:
        """Give back a part of a confirmed transaction, or all that is left."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.CreateRefund)
        claimed, origin = claim(asked), auth.origin()
        new = NewRefund(
            transaction_id=UUID(asked.id),
            amount=asked.amount,
            reason=asked.reason,
            refund_commission=asked.refund_commission,
        )
        answer = on_connection(
            lambda connection: refund_service.create_refund(
                connection, digest, origin, new, claim=claimed
            )
        )
        return responses.from_act(answer)


class CheckRefund(Resource):
    """``GET /check_refund``."""

    def get(self) -> Response:
        """Read one refund."""
        digest, origin = auth.caller(), auth.origin()
        refund_id = UUID(query.read(schemas.CheckRefund).id)
        text = on_connection(
            lambda connection: refund_service.check_refund(
                connection, key_service.authenticate(connection, digest, origin), refund_id
            )
        )
        return responses.ready(text.encode())


class ListRefunds(Resource):
    """``GET /refunds``."""

    def get(self) -> Response:
        """List refunds, newest first."""
        digest = auth.caller()
        asked = query.read(schemas.ListRefunds)
        user_id = uuid_or_none(asked.user_id)
        transaction_id = uuid_or_none(asked.transaction_id)
        return listing.answer(
            digest,
            "refunds",
            asked,
            lambda connection, actor, bounds: refund_service.list_refunds(
                connection,
                actor,
                user_id=user_id,
                transaction_id=transaction_id,
                currency=asked.currency,
                created_from=asked.created_from,
                created_to=asked.created_to,
                **bounds,
            ),
        )
