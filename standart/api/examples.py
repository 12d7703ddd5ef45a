"""One story told by all examples of the documentation: a transaction, confirmed and told."""

from __future__ import annotations

from typing import Any, Final

from standart.api.fields import EXAMPLE_ID, EXAMPLE_USER
from standart.errors import (
    AdjustmentState,
    DomainError,
    IdempotencyKeyReused,
    InsufficientBalance,
    InsufficientScope,
    InvalidInput,
    LimitExceeded,
    NotConfirmed,
    NotFinished,
    NotLate,
    NotOver,
    NotPending,
    PayoutState,
    RefundTooLarge,
    ReplayRunning,
)
from standart.models import Scope

REQUEST_ID: Final = "0198f0c3-4e5f-7a6b-8c7d-9e0f1a2b3c4d"

NEW: Final[dict[str, Any]] = {
    "amount": "100.00",
    "currency": "RUB",
    "reference": "order-1017",
    "description": "Two tickets",
    "metadata": {"cart": "17"},
}

TRANSACTION: Final[dict[str, Any]] = {
    "id": EXAMPLE_ID,
    "user_id": EXAMPLE_USER,
    "amount": "100.00",
    "currency": "RUB",
    "commission_rate": "0.03",
    "commission": "3.00",
    "net": "97.00",
    "status": "pending",
    "reference": "order-1017",
    "description": "Two tickets",
    "metadata": {"cart": "17"},
    "reason": None,
    "created_at": "2026-11-23T09:00:00.123456Z",
    "expires_at": "2026-11-23T09:15:00.123456Z",
    "finished_at": None,
    "fee_schedule": None,
    "refunded_amount": "0.00",
    "late_for": None,
    "approvals": 0,
}

CONFIRMED: Final = {
    **TRANSACTION,
    "status": "confirmed",
    "finished_at": "2026-11-23T09:02:11.654321Z",
}

CANCELED: Final = {
    **CONFIRMED,
    "status": "canceled",
    "reason": "Customer changed her mind",
}

TRANSACTIONS: Final = {"data": [CONFIRMED], "next_cursor": None}

BALANCES: Final = {"balances": [{"currency": "RUB", "balance": "57.00", "pending_payout": "40.00"}]}

_NO_MONEY: Final = dict.fromkeys(
    ("gross", "commission", "refunded", "commission_returned", "paid_out", "adjusted"), "0.00"
)
_SETTLED: Final = {
    **_NO_MONEY,
    "gross": "100.00",
    "commission": "3.00",
    "net": "97.00",
    "reserved": "0.00",
}
_RESERVED: Final = {**_NO_MONEY, "paid_out": "40.00", "net": "-40.00", "reserved": "40.00"}

STATEMENT: Final[dict[str, Any]] = {
    "statement": {
        "number": "RUB-20261101-20261130-5b8c2f9a01",
        "user_id": EXAMPLE_USER,
        "merchant": "shop",
        "currency": "RUB",
        "from": "2026-10-31T21:00:00.000000Z",
        "to": "2026-11-30T21:00:00.000000Z",
        "timezone": "Europe/Moscow",
        "from_local": "2026-11-01T00:00:00+03:00",
        "to_local": "2026-12-01T00:00:00+03:00",
        "closed": True,
        "opening": {"available": "0.00", "reserved": "0.00"},
    },
    "movements": [
        {
            "number": 1,
            "at": "2026-11-23T09:02:11.654400Z",
            "kind": "settlement",
            "source_id": EXAMPLE_ID,
            "transaction_id": EXAMPLE_ID,
            "reference": "order-1017",
            **_SETTLED,
            "balance": "97.00",
            "journal_id": "0198f0c4-0a1b-7c2d-8e3f-4a5b6c7d8e9f",
        },
        {
            "number": 2,
            "at": "2026-11-24T08:00:00.000120Z",
            "kind": "payout_reserved",
            "source_id": "0198f0d7-4c5d-7e6f-8a9b-0c1d2e3f4a5b",
            "transaction_id": None,
            "reference": None,
            **_RESERVED,
            "balance": "57.00",
            "journal_id": "0198f0d7-4c5e-7a1b-9c2d-3e4f5a6b7c8d",
        },
    ],
    "totals": {
        **_SETTLED,
        "paid_out": "40.00",
        "net": "57.00",
        "reserved": "40.00",
        "count": 2,
    },
    "totals_by_kind": {
        "payout_reserved": {**_RESERVED, "count": 1},
        "settlement": {**_SETTLED, "count": 1},
    },
    "closing": {"available": "57.00", "reserved": "40.00"},
    "digest": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    "chain_head": "12:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
STATEMENT_FILES: Final = {
    "csv": "number,item,value,at,at_local,reference,gross,commission,refunded,…\r\n"
    ",opening_available,0.00,,,,,,,…\r\n"
    "1,settlement,,2026-11-23T09:02:11.654400Z,2026-11-23T12:02:11.654400+03:00,order-1017,"
    "100.00,3.00,0.00,…\r\n",
    "xlsx": "An Office Open XML workbook.",
    "pdf": "A PDF document.",
}
"""What a statement looks like in other formats."""

EVENT: Final[dict[str, Any]] = {
    "id": "0198f0c4-0a1b-7c2d-8e3f-4a5b6c7d8e9f",
    "type": "transaction.confirmed",
    "object_type": "transaction",
    "object_id": EXAMPLE_ID,
    "transaction_id": EXAMPLE_ID,
    "user_id": EXAMPLE_USER,
    "sequence": 2,
    "created_at": "2026-11-23T09:02:11.654400Z",
    "payload": {
        "type": "transaction.confirmed",
        "timestamp": "2026-11-23T09:02:11.654321Z",
        "id": EXAMPLE_ID,
        "status": "confirmed",
        "sequence": 2,
        "data": CONFIRMED,
    },
    "deliveries": [
        {
            "id": "0198f0c4-0a1c-7d2e-8f3a-4b5c6d7e8f90",
            "endpoint_id": EXAMPLE_USER,
            "state": "delivered",
            "attempt_count": 1,
            "next_attempt_at": None,
            "delivered_at": "2026-11-23T09:02:11.912345Z",
            "attempts": [
                {
                    "number": 1,
                    "url": "https://shop.example/hooks/standart",
                    "outcome": "delivered",
                    "status_code": 200,
                    "duration_ms": 143,
                    "created_at": "2026-11-23T09:02:11.912345Z",
                }
            ],
        }
    ],
}

EVENTS: Final = {"data": [EVENT], "next_cursor": None}

REPLAYED: Final = {
    **EVENT,
    "deliveries": [
        {
            **EVENT["deliveries"][0],
            "state": "waiting",
            "next_attempt_at": "2026-11-23T10:00:00.123456Z",
            "delivered_at": None,
        }
    ],
}

ATTEMPTS: Final = {
    "data": [
        {
            "event_id": EVENT["id"],
            "delivery_id": EVENT["deliveries"][0]["id"],
            "endpoint_id": EXAMPLE_USER,
            "number": 1,
            "outcome": "delivered",
            "error": None,
            "request": {
                "url": "https://shop.example/hooks/standart",
                "headers": {
                    "content-type": "application/json",
                    "webhook-id": EVENT["id"],
                    "webhook-timestamp": "1795424531",
                    "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
                },
                "body": '{"type":"transaction.confirmed"}',
            },
            "response": {"status_code": 200, "headers": {"content-length": "2"}, "body": "ok"},
            "timing": {
                "dns_ms": 3,
                "connect_ms": 21,
                "tls_ms": 48,
                "first_byte_ms": 69,
                "total_ms": 143,
            },
            "created_at": "2026-11-23T09:02:11.912345Z",
        }
    ],
    "next_cursor": None,
}

FEED: Final = {
    "data": [EVENT],
    "next": "AAAAAAAAJxAAAAAAAAAAAAAAAAAAAAAAtN5x1pV0N2k3m8Jq4hQ0bg",
    "poll_after": 0,
}

HEALTH: Final = {"status": "ok"}

_MESSAGES: Final = {
    "amount": "has more than 2 fractional digits (RUB)",
    "endpoint_id": "must be a UUID with dashes",
    "id": "must be a UUID with dashes",
    "limit": "must be a whole number from 1 to 100",
    "period": "must be a day or a month such as 2026-11-28 or 2026-11",
    "replay_id": "must be a UUID with dashes",
    "until": "must be later than since",
    "url": "must start with https://",
    "user_id": "An admin's key must name the merchant.",
    "verbose": "is not a known field",
}


def field_errors(error: type[DomainError], field: str) -> dict[str, Any]:
    """Return the member ``errors`` of an example of ``error``."""
    if error is IdempotencyKeyReused:
        message = "This key was used with another request."
        return {"errors": [{"field": "Idempotency-Key", "message": message}]}
    if error is LimitExceeded:
        message = "would exceed the limit daily_amount of 500000.00 RUB"
        return {"errors": [{"field": "amount", "message": message}]}
    if error is InvalidInput:
        return {"errors": [{"field": field, "message": _MESSAGES[field]}]}
    return {}


def members_of(error: type[DomainError], scope: Scope | None) -> dict[str, Any]:
    """Return the members that an example of ``error`` has of its own."""
    if error in (NotConfirmed, NotFinished, NotLate):
        return {"transaction_status": "pending"}
    if error is NotOver:
        return {"period": "2026-11", "ends_at": "2026-11-30T21:00:00.000000Z"}
    if error is RefundTooLarge:
        return {"refundable": "25.00", "currency": "RUB"}
    if error is ReplayRunning:
        return {"replay_id": "0198f0c9-1a2b-7c3d-8e4f-5a6b7c8d9e0f"}
    if error is NotPending:
        return {"transaction_status": "expired"}
    if error is AdjustmentState:
        return {"adjustment_status": "canceled"}
    if error is PayoutState:
        return {"payout_status": "failed"}
    if error is InsufficientBalance:
        return {"currency": "RUB", "available": "17.00"}
    if error is LimitExceeded:
        return {"limit": "daily_amount", "value": "500000.00", "currency": "RUB"}
    if error is InsufficientScope and scope is not None:
        return {"required_scope": scope.value}
    return {}
