"""The HTTP API: what comes in is checked here, what happens is decided in the services."""

from __future__ import annotations

from flask import Blueprint, Flask

from standart.api import (
    adjustments,
    balance,
    closes,
    docs,
    endpoint_replays,
    endpoints,
    errors,
    events,
    fees,
    health,
    late_payments,
    metrics,
    notes,
    payouts,
    receipts,
    refunds,
    responses,
    statements,
    transactions,
)
from standart.api.body import MAX_BODY_BYTES
from standart.api.restful import Api
from standart.extensions import csrf, settings_of

__all__ = ["MAX_BODY_BYTES", "init_app"]


def init_app(app: Flask) -> None:
    """Add the API, its errors and, if wanted, its documentation to ``app``."""
    settings = settings_of(app)
    responses.init_app(app)
    errors.init_app(app)
    if settings.rate_limit is not None:
        # The client of Redis takes half a second to load; few need it here.
        from standart.api import limits

        limits.init_app(app, settings.rate_limit, settings.redis_url)
    if settings.metrics_port is not None:
        metrics.init_app(app)
    blueprint = Blueprint("api", __name__)
    api = Api(blueprint)
    api.add(transactions.CreateTransaction, "/create_transaction", "create_transaction")
    api.add(transactions.CancelTransaction, "/cancel_transaction", "cancel_transaction")
    api.add(transactions.ConfirmTransaction, "/confirm_transaction", "confirm_transaction")
    api.add(transactions.CheckTransaction, "/check_transaction", "check_transaction")
    api.add(transactions.ListTransactions, "/transactions", "transactions")
    api.add(fees.PreviewCommission, "/preview_commission", "preview_commission")
    api.add(late_payments.RecordLatePayment, "/record_late_payment", "record_late_payment")
    api.add(refunds.CreateRefund, "/create_refund", "create_refund")
    api.add(refunds.CheckRefund, "/check_refund", "check_refund")
    api.add(refunds.ListRefunds, "/refunds", "refunds")
    api.add(payouts.CreatePayout, "/create_payout", "create_payout")
    api.add(payouts.ApprovePayout, "/approve_payout", "approve_payout")
    api.add(payouts.RejectPayout, "/reject_payout", "reject_payout")
    api.add(payouts.CancelPayout, "/cancel_payout", "cancel_payout")
    api.add(payouts.CompletePayout, "/complete_payout", "complete_payout")
    api.add(payouts.CheckPayout, "/check_payout", "check_payout")
    api.add(payouts.ListPayouts, "/payouts", "payouts")
    api.add(payouts.ReadDestination, "/payout_destination", "payout_destination")
    api.add(adjustments.CreateAdjustment, "/create_adjustment", "create_adjustment")
    api.add(adjustments.ApproveAdjustment, "/approve_adjustment", "approve_adjustment")
    api.add(adjustments.CancelAdjustment, "/cancel_adjustment", "cancel_adjustment")
    api.add(adjustments.CheckAdjustment, "/check_adjustment", "check_adjustment")
    api.add(adjustments.ListAdjustments, "/adjustments", "adjustments")
    api.add(notes.CreateNote, "/create_note", "create_note")
    api.add(notes.ListNotes, "/notes", "notes")
    api.add(balance.Balance, "/balance", "balance")
    api.add(statements.ReadStatement, "/statement", "statement")
    api.add(receipts.OneReceipt, "/receipt", "receipt")
    api.add(receipts.ListKeys, "/receipt_keys", "receipt_keys")
    api.add(closes.ClosePeriod, "/close_period", "close_period")
    api.add(closes.ListCloses, "/closes", "closes")
    api.add(closes.ChainHead, "/chain_head", "chain_head")
    _add_webhooks(api)
    api.add(health.Alive, "/healthz", "healthz")
    api.add(health.ReadyToServe, "/readyz", "readyz")
    app.register_blueprint(blueprint)
    # A key is no cookie: no browser sends it by itself, so there is nothing to forge.
    csrf.exempt(blueprint)
    if settings.api_docs:
        docs.init_app(app)


def _add_webhooks(api: Api) -> None:
    """Add events, and the endpoints that they are sent to."""
    api.add(events.ListEvents, "/events", "events")
    api.add(events.OneEvent, "/events/<event_id>", "event")
    api.add(events.ListAttempts, "/events/<event_id>/attempts", "attempts")
    api.add(events.ReplayEvent, "/events/<event_id>/replay", "replay_event")
    api.add(endpoints.CreateEndpoint, "/webhook_endpoints", "create_webhook_endpoint")
    api.add(endpoints.ListEndpoints, "/webhook_endpoints", "webhook_endpoints")
    one = "/webhook_endpoints/<endpoint_id>"
    api.add(endpoints.OneEndpoint, one, "webhook_endpoint")
    api.add(endpoints.UpdateEndpoint, one, "update_webhook_endpoint")
    api.add(endpoints.DeleteEndpoint, one, "delete_webhook_endpoint")
    api.add(endpoints.RotateSecret, f"{one}/rotate_secret", "rotate_webhook_secret")
    api.add(endpoint_replays.TestEndpoint, f"{one}/test", "test_webhook_endpoint")
    api.add(endpoint_replays.ReplayEndpoint, f"{one}/replay", "replay_webhook_endpoint")
    api.add(endpoint_replays.ListReplays, f"{one}/replays", "webhook_replays")
    api.add(endpoint_replays.OneReplay, f"{one}/replays/<replay_id>", "webhook_replay")
