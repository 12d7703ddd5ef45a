"""A receipt as the service would sign it, made without the service."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from standart.receipts import document, keys
from standart.receipts.keys import PublicKey

SEED = bytes(range(32))
PUBLIC = keys.public_key_of(SEED)
KEY_ID = keys.id_of(PUBLIC)
KNOWN = {KEY_ID: PublicKey(KEY_ID, PUBLIC)}

OTHER_SEED = bytes(range(32, 64))
OTHER_PUBLIC = keys.public_key_of(OTHER_SEED)
OTHER_ID = keys.id_of(OTHER_PUBLIC)


def link(number: int, previous: str) -> dict[str, Any]:
    """A seal as it is exported, with the hash that its fields make."""
    seal = {
        "number": number,
        "before": f"2026-11-{number:02}T00:00:00.000000Z",
        "journals": 10,
        "total": 10 * number,
        "previous": previous,
        "content": hashlib.sha256(str(number).encode()).hexdigest(),
    }
    line = "|".join(["standart-seal-1", *map(str, seal.values())])
    return {**seal, "hash": hashlib.sha256(line.encode()).hexdigest()}


def exported(length: int = 5) -> list[dict[str, Any]]:
    """A chain of seals."""
    seals: list[dict[str, Any]] = []
    for number in range(1, length + 1):
        seals.append(link(number, seals[-1]["hash"] if seals else "0" * 64))
    return seals


SEALS = exported()


def anchor(number: int) -> dict[str, Any]:
    """Seal ``number`` as a receipt names it."""
    return {name: SEALS[number - 1][name] for name in ("number", "hash")}


CONFIRMED: dict[str, Any] = {
    "transaction": {
        "id": "0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a",
        "user_id": "0198f0c1-1b2a-7e0d-8c3f-5a6b7c8d9e0f",
        "amount": "100.00",
        "currency": "RUB",
        "commission_rate": "0.03",
        "commission": "3.00",
        "net": "97.00",
        "status": "confirmed",
        "reference": 'заказ "17"\\',
        "description": "Чай 🍵",
        "metadata": {"cart": "17", "receipt": '"receipt":', "Z": "\u2028"},
        "reason": None,
        "created_at": "2026-11-23T09:00:00.123456Z",
        "expires_at": "2026-11-23T09:15:00.123456Z",
        "finished_at": "2026-11-23T09:02:11.654321Z",
        "fee_schedule": None,
        "refunded_amount": "0.00",
        "late_for": None,
        "approvals": 0,
    },
    "settlement": {
        "id": "0198f0c4-0a1a-7b2c-8d3e-4f5a6b7c8d9e",
        "kind": "settlement",
        "created_at": "2026-11-23T09:02:11.654330Z",
        "entries": [
            {"account": "clearing", "currency": "RUB", "amount": "-100.00"},
            {"account": "available", "currency": "RUB", "amount": "97.00"},
            {"account": "commission", "currency": "RUB", "amount": "3.00"},
        ],
    },
    "seal": anchor(3),
    "chain_head": anchor(5),
}


def content(**changes: Any) -> dict[str, Any]:
    """The parts of a receipt with some of them changed: ``transaction__net="1.00"``."""
    parts = copy.deepcopy(CONFIRMED)
    for path, value in changes.items():
        *way, last = path.split("__")
        place: Any = parts
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        place[int(last) if last.isdigit() else last] = value
    return parts


def signed(seed: bytes = SEED, **changes: Any) -> bytes:
    """A receipt that is rightly signed, whatever it says."""
    return document.signed(keys.id_of(keys.public_key_of(seed)), seed, **content(**changes))


def key_list(*entries: dict[str, Any]) -> bytes:
    """The answer that lists keys."""
    return json.dumps({"keys": list(entries)}).encode()


def key_entry(raw: bytes = PUBLIC, **changes: Any) -> dict[str, Any]:
    """A key in that list."""
    return {
        "id": keys.id_of(raw),
        "algorithm": "ed25519",
        "public_key": keys.encoded(raw),
        "created_at": "2026-11-01T00:00:00.000000Z",
        "retired_at": None,
        **changes,
    }
