"""Late payments over HTTP."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from standart.api import auth, body, query, responses, schemas
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.extensions import nudge, on_connection, settings
from standart.services import late_payment_service
from standart.services.late_payment_service import LatePayment


class RecordLatePayment(Resource):
    """``POST /record_late_payment``."""

    def post(self) -> Response:
        """Record money that came after a transaction had ended unpaid."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.RecordLatePayment)
        claimed, origin, alone = claim(asked), auth.origin(), settings().four_eyes_above
        payment = LatePayment(transaction_id=UUID(asked.id))
        answer = on_connection(
            lambda connection: late_payment_service.record_late_payment(
                connection, digest, origin, payment, claim=claimed, alone=alone
            )
        )
        if not answer.replayed:
            # Also the first consent may have a webhook: it ends what was overdue.
            nudge()
        return responses.from_answer(answer)
