"""What leads from the name of an object to its page."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from flask import current_app, url_for

# Kind of object → its page, and how that page calls the id.
_PAGES: Final = {
    "transaction": ("transactions.detail", "transaction_id"),
    "late_payment": ("transactions.detail", "transaction_id"),
    "user": ("users.detail", "user_id"),
    "payout": ("payouts.detail", "payout_id"),
    "refund": ("refunds.detail", "refund_id"),
    "adjustment": ("refunds.adjustment", "adjustment_id"),
    "reconciliation": ("reconciliation.run", "run_id"),
    "event": ("webhooks.detail", "event_id"),
    "webhook_endpoint": ("webhooks.one_endpoint", "endpoint_id"),
}
_GONE: Final = frozenset({"user.deleted", "endpoint.deleted"})


def object_url(object_type: str, object_id: str, action: str = "") -> str | None:
    """Return the address of an object's page, ``None`` where it has none or not any more."""
    endpoint, name = _PAGES.get(object_type, ("", ""))
    if action in _GONE or endpoint not in current_app.view_functions:
        return None
    try:
        values: dict[str, Any] = {name: UUID(object_id)}
    except ValueError:
        return None
    return url_for(endpoint, **values)
