"""The triggers that guard the tables: the models know nothing of them, so they stand here.

One that was taken away leaves no trace in the database; a test holds this list complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# By tables; each name begins with that of its table.
_NAMES: Final = {
    "adjustments": "booked kept step",
    "approvals": "append_only by_two kept",
    "attempts": "append_only kept purged",
    "audit_log": "append_only kept",
    "book_clock": "kept step",
    "closes": "append_only kept step",
    "deliveries": "kept purged",
    "entries": "append_only balanced kept",
    "event_clock": "kept step",
    "events": "append_only kept purged",
    "fee_schedules": "append_only kept",
    "journals": "append_only complete dated kept",
    "notes": "append_only kept",
    "particulars": "append_only",
    "payouts": "booked kept step",
    "reconciliation_rows": "append_only kept whole",
    "reconciliations": "append_only kept whole",
    "refund_totals": "add_up kept",
    "refunds": "add_up append_only booked kept",
    "seals": "append_only kept step",
    "signing_keys": "kept step",
    "transactions": "fee final kept late settled told",
    "users": "born renamed",
}

TRIGGERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {table: tuple(f"{table}_{name}" for name in names.split()) for table, names in _NAMES.items()}
)
"""The names of all triggers of each table."""
