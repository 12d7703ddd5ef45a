"""Commissions over HTTP: what one would be."""

from __future__ import annotations

from uuid import UUID

import msgspec
from flask import Response

from standart import money
from standart.api import auth, body, query, responses, schemas
from standart.api.checks import uuid_or_none
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.extensions import on_connection
from standart.money import Money
from standart.services import fee_service
from standart.services.fee_service import Preview, Terms


class PreviewCommission(Resource):
    """``POST /preview_commission``."""

    def post(self) -> Response:
        """Compute a commission without creating anything."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.PreviewCommission)
        claimed, origin, user_id = claim(asked), auth.origin(), uuid_or_none(asked.user_id)
        answer = on_connection(
            lambda connection: fee_service.tell_preview(
                connection,
                digest,
                origin,
                lambda found: msgspec.json.encode(_shown(found)).decode(),
                amount=asked.amount,
                currency=asked.currency,
                user_id=user_id,
                claim=claimed,
            )
        )
        return responses.from_answer(answer)


def _shown(found: Preview) -> schemas.CommissionPreview:
    currency = found.amount.currency
    return schemas.CommissionPreview(
        amount=str(found.amount),
        currency=currency,
        commission_rate=money.format_rate(found.terms.rate),
        commission=str(found.commission),
        net=str(found.net),
        fee_schedule=_schedule(found.terms, found.terms.schedule_id, currency),
        calculation=schemas.Calculation(
            rule=fee_service.RULE, rounding=fee_service.ROUNDING, steps=list(found.steps)
        ),
    )


def _schedule(terms: Terms, schedule_id: UUID | None, currency: str) -> schemas.AppliedFee | None:
    """Return the schedule as a transaction shows it; ``None`` for the plain rate."""
    if schedule_id is None:
        return None
    return schemas.AppliedFee(
        id=str(schedule_id),
        rate=money.format_rate(terms.rate),
        fixed=str(Money(terms.fixed, currency)),
        minimum=str(Money(terms.minimum, currency)),
        maximum=None if terms.maximum is None else str(Money(terms.maximum, currency)),
    )
