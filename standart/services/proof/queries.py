"""Running the proof's queries: each breach by name, and no more of a kind than can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import Connection, text

from standart.services.findings import Finding

NAMED: Final = 100
"""How many breaches of one invariant a query names; the others are counted."""

_BOUNDED: Final = """
    SELECT invariant, subject, detail, found FROM (
        SELECT b.*, count(*) OVER (PARTITION BY invariant) AS found,
            row_number() OVER (PARTITION BY invariant ORDER BY subject, detail) AS place
        FROM ({query}) AS b (invariant, subject, detail)
    ) AS w
    WHERE place <= :named ORDER BY invariant, place"""

# What reads everything once is better off with room for its hashes, and never with machine
# code that is made for each of a hundred queries. The first rows are no hurry.
SETTINGS: Final = (
    "statement_timeout = 0",
    "idle_in_transaction_session_timeout = 0",
    "work_mem = '64MB'",
    "jit = off",
    "cursor_tuple_fraction = 1",
)


def prepare(connection: Connection) -> None:
    """Set what a proof needs, for this transaction only."""
    for setting in SETTINGS:
        connection.execute(text(f"SET LOCAL {setting}"))


def named(invariant: str, query: str) -> str:
    """Return ``query`` (subject and detail of each breach) with its invariant before them."""
    return f"SELECT '{invariant}', q.* FROM ({query}) AS q"


def breaches(connection: Connection, query: str) -> Iterator[Finding]:
    """Run a query for (invariant, subject, detail) of each breach; yield some and count all."""
    bounded = text(_BOUNDED.format(query=query))
    shown: dict[str, int] = {}
    totals: dict[str, int] = {}
    for row in connection.execute(bounded, {"named": NAMED}):
        shown[row.invariant] = shown.get(row.invariant, 0) + 1
        totals[row.invariant] = row.found
        yield Finding(row.invariant, row.subject, row.detail)
    for invariant, total in totals.items():
        if more := total - shown[invariant]:
            yield Finding(invariant, "others", f"{more} more", more)


def each(connection: Connection, invariants: Mapping[str, str]) -> Iterator[Finding]:
    """Run a query (subject and detail of each breach) for each of ``invariants``."""
    for invariant, query in invariants.items():
        yield from breaches(connection, named(invariant, query))
