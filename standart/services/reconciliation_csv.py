"""The rows of a reconciliation as cells of CSV: columns that sum up, and no formulas."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from standart import money
from standart.documents.csv import safe
from standart.services.reconciliation_list import Row, Run

_TEXTS: Final = ("reference", "purpose", "counterparty", "document", "our_reference")
_OF_ROW: Final = tuple(field.name for field in dataclasses.fields(Row))

HEADER: Final = ("reconciliation", "user", *_OF_ROW)
"""What the columns are called."""


def cells(run: Run, row: Row, name: str) -> list[Any]:
    """Return the cells of one row under ``HEADER``; ``name`` is the merchant's, if any."""
    written: dict[str, Any] = {each: getattr(row, each) for each in _OF_ROW}
    written["outcome"], written["direction"] = row.outcome.value, row.direction.value
    written["fields"] = " ".join(row.fields)
    for each, amount, currency in (
        ("amount", row.amount, row.currency),
        ("fee", row.fee, row.currency),
        ("our_amount", row.our_amount, row.our_currency),
    ):
        if amount is not None and currency is not None:
            written[each] = money.format_minor(amount, currency)
    for each in _TEXTS:
        if written[each] is not None:
            written[each] = safe(written[each])
    return [run.number, safe(name), *written.values()]
