"""Amounts in whatever currency, asked for so that an index finds them.

``t.amount`` is in minor units, of which currencies have different numbers, so a range of main
units is another range of ``amount`` for each number of digits. Written out it is compared as
integers, and the index over (currency, amount) finds what is rare.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from standart.money import CURRENCIES, MAX_MINOR

_USUAL_DIGITS: Final = 2

# What is behind the mark of the sums is read from the rows; usually it is a minute's, but nobody
# moves the mark while its sweep stands still.
BEHIND: Final = 10_000
"""How many rows without sums are read at most to learn their currencies."""

_KNOWN: Final = text(
    """
    WITH behind AS MATERIALIZED (
        SELECT currency FROM transactions
        WHERE user_id = :user_id AND created_at > (SELECT upto FROM sums_mark)
        LIMIT :most + 1
    )
    SELECT ARRAY(
        SELECT currency FROM merchant_sums WHERE user_id = :user_id AND series = 'created'
        UNION
        SELECT currency FROM behind
    ) WHERE (SELECT count(*) FROM behind) <= :most
    """
)


def currencies_of(connection: Connection, user_id: UUID) -> list[str] | None:
    """Return in which currencies a merchant has transactions, ``None`` if it takes long to say.

    The planner does not know which merchant has which: it would look for another's amounts.
    """
    found: list[str] | None = connection.scalar(_KNOWN, {"user_id": user_id, "most": BEHIND})
    return found


def between(low: Decimal | None, high: Decimal | None, currencies: Collection[str] | None) -> str:
    """SQL: whether ``t.amount`` is from ``low`` up to ``high`` main units of its currency.

    Both are inclusive, ``None`` for no bound; only ``currencies`` are found, ``None`` for all.
    The bounds stand in it as numbers: a plan that is kept for all bounds would suit few.
    """
    groups: dict[int, list[str]] = defaultdict(list)
    for code in CURRENCIES if currencies is None else currencies:
        groups[CURRENCIES.get(code, _USUAL_DIGITS)].append(code)
    ways = []
    # What most payments are in comes first.
    for digits in sorted(groups, key=lambda each: (each != _USUAL_DIGITS, each)):
        least = max(1, 1 if low is None else math.ceil(low.scaleb(digits)))
        most = min(MAX_MINOR, MAX_MINOR if high is None else math.floor(high.scaleb(digits)))
        if least <= most:
            codes = ", ".join(f"'{code}'" for code in sorted(groups[digits]))
            ways.append(f"t.amount BETWEEN {least} AND {most} AND t.currency IN ({codes})")
    return f"({' OR '.join(ways)})" if ways else "false"
