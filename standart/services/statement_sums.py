"""Adding up movements: plain integers, whatever their number."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from standart.documents.statement import Movement, Totals

_COLUMNS: Final = (
    "gross",
    "commission",
    "refunded",
    "commission_returned",
    "paid_out",
    "adjusted",
    "net",
    "reserved",
)


class Sums:
    """The sums of the columns by kind of journal."""

    def __init__(self) -> None:
        self._kinds: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (1 + len(_COLUMNS)))

    def add(self, one: Movement) -> None:
        """Count a movement in."""
        sums = self._kinds[one.kind]
        sums[0] += 1
        sums[1] += one.gross
        sums[2] += one.commission
        sums[3] += one.refunded
        sums[4] += one.commission_returned
        sums[5] += one.paid_out
        sums[6] += one.adjusted
        sums[7] += one.net
        sums[8] += one.reserved

    def by_kind(self) -> dict[str, Totals]:
        """Return the totals of each kind that there was, by its name."""
        return {kind: Totals(*self._kinds[kind]) for kind in sorted(self._kinds)}

    def total(self) -> Totals:
        """Return the totals of all kinds."""
        columns = zip(*self._kinds.values(), strict=True)
        return Totals(*map(sum, columns))
