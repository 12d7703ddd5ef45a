"""A merchant's balance over HTTP."""

from __future__ import annotations

import msgspec
from flask import Response

from standart import money
from standart.api import auth, query, responses, schemas
from standart.api.checks import uuid_or_none
from standart.api.restful import Resource
from standart.extensions import on_connection
from standart.services import key_service, ledger_service


class Balance(Resource):
    """``GET /balance``."""

    def get(self) -> Response:
        """Read what is available, in each currency."""
        digest, origin = auth.caller(), auth.origin()
        user_id = uuid_or_none(query.read(schemas.OfUser).user_id)
        rows = on_connection(
            lambda connection: ledger_service.balances(
                connection,
                key_service.authenticate(connection, digest, origin),
                user_id=user_id,
            )
        )
        balances = [
            schemas.CurrencyBalance(currency=currency, balance=money.format_minor(minor, currency))
            for currency, minor in rows
        ]
        return responses.ready(msgspec.json.encode(schemas.Balances(balances=balances)))
