"""Messages of the size and form that Standart's events have, for those that have no events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

_MOMENT = "2026-11-23T09:00:00.123456Z"


@dataclass(frozen=True, slots=True)
class Message:
    """One webhook: its id, and the body to sign."""

    id: str
    body: bytes


def messages(count: int) -> Iterator[Message]:
    """Make ``count`` different messages."""
    user = str(uuid4())
    for _ in range(count):
        yield Message(str(uuid4()), _body(uuid4(), user).encode())


def _body(transaction: UUID, user: str) -> str:
    data: dict[str, object] = {
        "id": str(transaction),
        "user_id": user,
        "amount": "100.00",
        "currency": "RUB",
        "commission_rate": "0.03",
        "commission": "3.00",
        "net": "97.00",
        "status": "confirmed",
        "reference": "order-1",
        "description": None,
        "metadata": {},
        "reason": None,
        "created_at": _MOMENT,
        "expires_at": _MOMENT,
        "finished_at": _MOMENT,
        "fee_schedule": None,
        "refunded_amount": "0.00",
        "late_for": None,
        "approvals": 0,
    }
    event = {
        "type": "transaction.confirmed",
        "timestamp": _MOMENT,
        "id": str(transaction),
        "status": "confirmed",
        "sequence": 2,
        "data": data,
    }
    return json.dumps(event, separators=(",", ":"))
