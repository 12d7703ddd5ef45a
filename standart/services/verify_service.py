"""The proof that the books are right: every rule checked again from the rows themselves.

The database's constraints refuse most of what is wrong; this finds what was broken behind
them, by a damaged disk or by somebody who could switch them off. It trusts neither them nor
the functions they use: each rule is written here a second time. The chain of seals says that
nothing has changed since, and heads of it that were kept outside that it is still that chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sqlalchemy import Connection

from standart.services import chain_check
from standart.services.chain_check import Expected
from standart.services.findings import Finding
from standart.services.proof import (
    guards,
    movements,
    postings,
    queries,
    reconciliations,
    schema,
    sums,
    traces,
)
from standart.services.proof.report import Report, Tally, coverage

INVARIANTS: Final = (
    *postings.INVARIANTS,
    *movements.INVARIANTS,
    *traces.INVARIANTS,
    *sums.INVARIANTS,
    *reconciliations.INVARIANTS,
    *schema.INVARIANTS,
    *guards.INVARIANTS,
    *chain_check.INVARIANTS,
)
"""The names of all that is proven, in the order of a report."""

_PARTS: Final = (
    postings.check,
    movements.check,
    traces.check,
    sums.check,
    reconciliations.check,
    schema.check,
    guards.check,
)


def verify(connection: Connection, expected: Iterable[Expected] = ()) -> Iterator[Finding]:
    """Check every invariant of the books; yield each breach, nothing when they are right.

    ``expected`` are heads of the chain that were kept outside. The connection must hold one
    REPEATABLE READ snapshot, so that all checks see the same moment. Nothing is locked that a
    writer needs, and memory stays flat.
    """
    queries.prepare(connection)
    for part in _PARTS:
        yield from part(connection)
    yield from chain_check.check(connection, expected)


def prove(connection: Connection, expected: Iterable[Expected] = ()) -> Report:
    """Check every invariant, as ``verify`` does, and report on all of them."""
    queries.prepare(connection)
    tally = Tally(INVARIANTS)
    covered = coverage(connection)
    for finding in verify(connection, tally.counting(expected)):
        tally.add(finding)
    return tally.report(covered, connection)
