"""Adjustments over HTTP: create, approve, cancel, check, list."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from flask import Response
from sqlalchemy import Connection

from standart.api import auth, body, listing, query, responses, schemas
from standart.api.checks import uuid_or_none
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.clock import new_id
from standart.extensions import on_connection, settings
from standart.services import adjustment_list, adjustment_service
from standart.services.adjustment_service import Direction, NewAdjustment
from standart.services.idempotency_service import Answer
from standart.states import AdjustmentStatus


class CreateAdjustment(Resource):
    """``POST /create_adjustment``."""

    def post(self) -> Response:
        """Correct what is available to a merchant."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.CreateAdjustment)
        claimed, origin, alone = claim(asked), auth.origin(), settings().four_eyes_above
        new = NewAdjustment(
            user_id=UUID(asked.user_id),
            amount=asked.amount,
            direction=Direction(asked.direction),
            reason=asked.reason,
            currency=asked.currency,
        )
        return _act(
            lambda connection: adjustment_service.create(
                connection, digest, origin, new, claim=claimed, alone=alone
            )
        )


class ApproveAdjustment(Resource):
    """``POST /approve_adjustment``."""

    def post(self) -> Response:
        """Post an adjustment that waits for a second admin."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.OneAdjustment)
        claimed, origin, alone = claim(asked), auth.origin(), settings().four_eyes_above
        act_id = new_id()
        return _act(
            lambda connection: adjustment_service.approve(
                connection,
                digest,
                origin,
                UUID(asked.id),
                claim=claimed,
                alone=alone,
                act_id=act_id,
            )
        )


class CancelAdjustment(Resource):
    """``POST /cancel_adjustment``."""

    def post(self) -> Response:
        """Drop an adjustment that waits for a second admin."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.OneAdjustment)
        claimed, origin = claim(asked), auth.origin()
        return _act(
            lambda connection: adjustment_service.cancel(
                connection, digest, origin, UUID(asked.id), claim=claimed
            )
        )


class CheckAdjustment(Resource):
    """``GET /check_adjustment``."""

    def get(self) -> Response:
        """Read one adjustment."""
        digest, origin = auth.caller(), auth.origin()
        adjustment_id = UUID(query.read(schemas.OneAdjustment).id)
        return _answer(
            lambda connection: adjustment_service.check(connection, digest, origin, adjustment_id)
        )


class ListAdjustments(Resource):
    """``GET /adjustments``."""

    def get(self) -> Response:
        """List adjustments, newest first."""
        digest = auth.caller()
        asked = query.read(schemas.ListAdjustments)
        user_id = uuid_or_none(asked.user_id)
        return listing.answer(
            digest,
            "adjustments",
            asked,
            lambda connection, actor, bounds: adjustment_list.list_adjustments(
                connection,
                actor,
                user_id=user_id,
                status=AdjustmentStatus(asked.status) if asked.status else None,
                currency=asked.currency,
                created_from=asked.created_from,
                created_to=asked.created_to,
                **bounds,
            ),
        )


def _act(work: Callable[[Connection], Answer]) -> Response:
    return responses.from_act(on_connection(work))


def _answer(work: Callable[[Connection], Answer]) -> Response:
    return responses.from_answer(on_connection(work))
