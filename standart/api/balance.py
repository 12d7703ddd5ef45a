"""A merchant's balance over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from flask import Response

from standart import money
from standart.api import auth, query, responses, schemas
from standart.api.checks import uuid_or_none
from standart.api.restful import Resource
from standart.errors import InvalidInput
from standart.extensions import on_connection
from standart.services import key_service, ledger_service


class Balance(Resource):
    """``GET /balance``."""

    def get(self) -> Response:
        """Read what is there, or was at a moment, in each currency."""
        digest, origin = auth.caller(), auth.origin()
        asked = query.read(schemas.ReadBalance)
        user_id = uuid_or_none(asked.user_id)
        at = None if asked.at is None else _in_utc(asked.at)
        rows = on_connection(
            lambda connection: ledger_service.holdings(
                connection,
                key_service.authenticate(connection, digest, origin),
                user_id=user_id,
                at=at,
            )
        )
        balances = [
            schemas.CurrencyBalance(
                currency=row.currency,
                balance=money.format_minor(row.available, row.currency),
                pending_payout=money.format_minor(row.pending_payout, row.currency),
            )
            for row in rows
        ]
        answer = schemas.Balances(balances=balances, at=None if at is None else _shown(at))
        return responses.ready(msgspec.json.encode(answer))


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInput.of("at", "must be in the years 1 to 9999 of UTC") from None


def _shown(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
