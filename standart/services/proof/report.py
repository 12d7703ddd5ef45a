"""What a proof of the books says: what was looked at, and how each invariant fared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, text

from standart.documents.statement import Anchor
from standart.services import chain
from standart.services.chain_check import Expected
from standart.services.findings import Finding

SHOWN: Final = 20
"""How many findings of one invariant a report names; it counts the others."""

_COUNTS = text(
    f"""
    SELECT (SELECT count(*) FROM transactions) AS transactions,
        (SELECT count(*) FROM journals) AS journals,
        (SELECT count(*) FROM entries) AS entries,
        (SELECT count(*) FROM journals WHERE created_at < coalesce(
            (SELECT max(before) FROM seals), '-infinity')) AS sealed,
        (SELECT count(*) FROM seals) AS seals,
        (SELECT {chain.readable("max(before)")} FROM seals) AS sealed_to,
        (SELECT count(*) FROM closes) AS closes,
        (SELECT {chain.readable("max(purged_before)")} FROM event_clock) AS events_from,
        now() AS at
    """
)
_SINCE = text("SELECT CAST(extract(epoch FROM clock_timestamp() - now()) * 1000 AS bigint)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What was looked at, in the snapshot of ``at`` (UTC).

    ``sealed`` counts the journals dated before ``sealed_to``, the end of the last seal. What
    happened before ``events_from`` may have lost its event to the purge; none was purged yet
    where it is ``None``.
    """

    at: datetime
    transactions: int
    journals: int
    entries: int
    sealed: int
    seals: int
    sealed_to: datetime | None
    head: Anchor | None
    closes: int
    events_from: datetime | None

    def wire(self) -> dict[str, Any]:
        """Return it as JSON would hold it."""
        return {
            "transactions": self.transactions,
            "journals": self.journals,
            "entries": self.entries,
            "seals": self.seals,
            "sealed_journals": self.sealed,
            "unsealed_journals": self.journals - self.sealed,
            "sealed_to": chain.moment(self.sealed_to) if self.sealed_to else None,
            "chain_head": {"number": self.head.number, "hash": self.head.hash}
            if self.head
            else None,
            "closes": self.closes,
            "events_from": chain.moment(self.events_from) if self.events_from else None,
        }


@dataclass(slots=True)
class Outcome:
    """How one invariant fared: the count of its breaches, and the first of them."""

    name: str
    broken: int = 0
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """The whole proof; ``milliseconds`` is how long it took."""

    covered: Coverage
    expected_heads: int
    outcomes: Sequence[Outcome]
    milliseconds: int

    @property
    def broken(self) -> int:
        """How many breaches there are in all."""
        return sum(each.broken for each in self.outcomes)

    def wire(self) -> dict[str, Any]:
        """Return it as JSON would hold it."""
        return {
            "right": self.broken == 0,
            "at": chain.moment(self.covered.at),
            "milliseconds": self.milliseconds,
            "broken": self.broken,
            "covered": self.covered.wire() | {"expected_heads": self.expected_heads},
            "invariants": [
                {
                    "name": each.name,
                    "broken": each.broken,
                    "findings": [
                        {"subject": found.subject, "detail": found.detail}
                        for found in each.findings
                    ],
                }
                for each in self.outcomes
            ],
        }

    def lines(self) -> Iterator[str]:
        """Yield it as people read it; the verdict is left to the caller."""
        width = max(len(each.name) for each in self.outcomes)
        yield f"the books as of {chain.moment(self.covered.at)}"
        for each in self.outcomes:
            fared = f"BROKEN {each.broken:,}" if each.broken else "ok"
            yield f"  {each.name.ljust(width)}  {fared}"
        yield from self._covered()
        for each in self.outcomes:
            for found in each.findings:
                yield f"{found.invariant}: {found.subject}: {found.detail}"
            if more := each.broken - sum(found.rows for found in each.findings):
                yield f"{each.name}: {more:,} more"

    def _covered(self) -> Iterator[str]:
        covered = self.covered
        yield (
            f"covered {covered.transactions:,} transactions, {covered.journals:,} journals,"
            f" {covered.entries:,} entries, {covered.closes:,} closes"
        )
        if covered.head and covered.sealed_to:
            yield (
                f"sealed {covered.sealed:,} journals by {covered.seals:,} seals, up to"
                f" {chain.moment(covered.sealed_to)}"
            )
        if covered.events_from:
            yield f"events are kept from {chain.moment(covered.events_from)} on"
        yield f"not sealed yet {covered.journals - covered.sealed:,} journals"
        yield f"head of the chain {covered.head or 'none'}"
        if self.expected_heads:
            yield f"compared with {self.expected_heads:,} heads kept outside"
        yield f"took {self.milliseconds / 1000:.1f} s"


class Tally:
    """Findings by their invariants, as they come."""

    def __init__(self, invariants: Sequence[str]) -> None:
        self._outcomes = {name: Outcome(name) for name in invariants}
        self._expected = 0

    def counting(self, expected: Iterable[Expected]) -> Iterator[Expected]:
        """Pass on heads that were kept outside, and count them."""
        for each in expected:
            self._expected += 1
            yield each

    def add(self, finding: Finding) -> None:
        """Take in a finding."""
        outcome = self._outcomes[finding.invariant]
        outcome.broken += finding.rows
        if len(outcome.findings) < SHOWN and finding.rows == 1:
            outcome.findings.append(finding)

    def report(self, covered: Coverage, connection: Connection) -> Report:
        """Return the report on everything that came."""
        took: int = connection.execute(_SINCE).scalar_one()
        return Report(covered, self._expected, list(self._outcomes.values()), took)


def coverage(connection: Connection) -> Coverage:
    """Count what ``connection``'s snapshot holds."""
    head = chain.last(connection)
    counts = connection.execute(_COUNTS).one()._asdict()
    return Coverage(head=head.anchor if head else None, **counts)
