"""Payouts over HTTP: create, approve, reject, cancel, complete, check, list."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec
from flask import Response
from sqlalchemy import Connection

from standart.api import auth, body, listing, query, responses, schemas
from standart.api.checks import uuid_or_none
from standart.api.idempotency import claim
from standart.api.restful import Resource
from standart.clock import new_id
from standart.extensions import keyring, on_connection, settings
from standart.services import payout_destination, payout_list, payout_service
from standart.services.idempotency_service import Answer, IdempotencyClaim
from standart.services.payout_service import NewPayout
from standart.states import PayoutStatus

_DERIVATION: Final = b"standart destination 1 "

_CANONICAL: Final = msgspec.json.Encoder(order="deterministic")


class _Sealed(msgspec.Struct, frozen=True):
    """What was asked, with a keyed digest in place of the destination.

    Its fingerprint is kept. From a plain one, whoever reads the table could find out an
    account's number by trying.
    """

    asked: schemas.CreatePayout
    destination: str


def _claim(asked: schemas.CreatePayout) -> IdempotencyClaim | None:
    if asked.destination is None:
        return claim(asked)
    key = hashlib.sha256(_DERIVATION + settings().secret_key.encode()).digest()
    digest = hmac.new(key, _CANONICAL.encode(asked.destination), hashlib.sha256).hexdigest()
    return claim(_Sealed(msgspec.structs.replace(asked, destination=None), digest))


class CreatePayout(Resource):
    """``POST /create_payout``."""

    def post(self) -> Response:
        """Reserve money and create a pending payout."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.CreatePayout)
        claimed, origin, ring = _claim(asked), auth.origin(), keyring()
        new = NewPayout(
            amount=asked.amount,
            currency=asked.currency,
            destination=asked.destination,
            reference=asked.reference,
            user_id=uuid_or_none(asked.user_id),
        )
        return _act(
            lambda connection: payout_service.create(
                connection, digest, origin, ring, new, claim=claimed
            )
        )


class ApprovePayout(Resource):
    """``POST /approve_payout``."""

    def post(self) -> Response:
        """Approve a pending payout."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.OnePayout)
        claimed, origin, alone = claim(asked), auth.origin(), settings().four_eyes_above
        act_id = new_id()
        return _act(
            lambda connection: payout_service.approve(
                connection,
                digest,
                origin,
                UUID(asked.id),
                claim=claimed,
                alone=alone,
                act_id=act_id,
            )
        )


class RejectPayout(Resource):
    """``POST /reject_payout``."""

    def post(self) -> Response:
        """Refuse a pending payout and give its money back."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.RejectPayout)
        claimed, origin = claim(asked), auth.origin()
        return _act(
            lambda connection: payout_service.reject(
                connection, digest, origin, UUID(asked.id), reason=asked.reason, claim=claimed
            )
        )


class CancelPayout(Resource):
    """``POST /cancel_payout``."""

    def post(self) -> Response:
        """Take a pending payout back."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.OnePayout)
        claimed, origin = claim(asked), auth.origin()
        return _act(
            lambda connection: payout_service.cancel(
                connection, digest, origin, UUID(asked.id), claim=claimed
            )
        )


class CompletePayout(Resource):
    """``POST /complete_payout``."""

    def post(self) -> Response:
        """Say whether an approved payout was paid."""
        digest = auth.caller()
        query.refuse()
        asked = body.read(schemas.CompletePayout)
        claimed, origin = claim(asked), auth.origin()
        return _act(
            lambda connection: payout_service.complete(
                connection,
                digest,
                origin,
                UUID(asked.id),
                paid=asked.result == "paid",
                reason=asked.reason,
                claim=claimed,
            )
        )


class CheckPayout(Resource):
    """``GET /check_payout``."""

    def get(self) -> Response:
        """Read one payout."""
        digest, origin = auth.caller(), auth.origin()
        payout_id = UUID(query.read(schemas.OnePayout).id)
        return _answer(
            lambda connection: payout_service.check(connection, digest, origin, payout_id)
        )


class ReadDestination(Resource):
    """``GET /payout_destination``."""

    def get(self) -> Response:
        """Read where a payout goes, in plain."""
        digest, origin, ring = auth.caller(), auth.origin(), keyring()
        payout_id = UUID(query.read(schemas.OnePayout).id)
        return _answer(
            lambda connection: payout_destination.read(connection, digest, origin, ring, payout_id)
        )


class ListPayouts(Resource):
    """``GET /payouts``."""

    def get(self) -> Response:
        """List payouts, newest first."""
        digest = auth.caller()
        asked = query.read(schemas.ListPayouts)
        user_id = uuid_or_none(asked.user_id)
        return listing.answer(
            digest,
            "payouts",
            asked,
            lambda connection, actor, bounds: payout_list.list_payouts(
                connection,
                actor,
                user_id=user_id,
                status=PayoutStatus(asked.status) if asked.status else None,
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
