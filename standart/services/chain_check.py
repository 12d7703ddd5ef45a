"""The proof of the chain: every seal follows from the one before and from the journals.

What is kept outside the database is compared as well: a chain that somebody made anew is
whole in itself, and one whose end was cut off too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from standart.models import MARK_BYTES
from standart.services import canonical, chain, close_service
from standart.services.chain import Link, moment
from standart.services.findings import Finding

Expected = tuple[int | None, bytes]
"""A head that was kept outside: the seal's number, where it is known, and its hash."""

INVARIANTS: Final = (
    "chain_has_no_gap",
    "seal_follows_from_its_fields",
    "seal_follows_the_one_before",
    "sealed_journals_are_unchanged",
    "close_is_unchanged",
    "chain_has_the_expected_head",
)

_FETCH: Final = 5000
_GROUP: Final = 50_000
_NAMED: Final = 20
"""How many changed journals of one seal are named."""

_SEALS = text(f"SELECT {chain.COLUMNS}, marks FROM seals ORDER BY number")

_LINES = text(
    f"""
    SELECT {chain.readable("j.created_at")} AS at, {canonical.LINE} AS line FROM journals j
    WHERE j.created_at >= coalesce(CAST(:start AS timestamptz), '-infinity')
      AND j.created_at < :before
    ORDER BY {canonical.ORDER}
    """
)

_OF_NUMBER = text("SELECT hash FROM seals WHERE number = :number")
_OF_HASH = text("SELECT number FROM seals WHERE hash = :hash LIMIT 1")
_LENGTH = text("SELECT coalesce(max(number), 0) FROM seals")

_CLOSES = text(
    f"""
    SELECT number, period, {chain.readable("starts_at")} AS starts_at,
        {chain.readable("ends_at")} AS ends_at, journals, digest, seal_number, seal_hash
    FROM closes ORDER BY number
    """
)

# The audit log has each close as it was made; what a later version adds to one is not in it.
_NOT_AS_NOTED = text(
    f"""
    SELECT coalesce(c.period, a.object_id) AS period,
        CASE WHEN c.period IS NULL THEN 'is gone, by the audit log it was closed'
            WHEN a.object_id IS NULL THEN 'was not noted in the audit log'
            ELSE 'is not as it was noted in the audit log' END AS said
    FROM (
        SELECT object_id, after FROM audit_log
        WHERE object_type = 'period' AND action = 'period.closed'
    ) AS a
    FULL JOIN closes c ON c.period = a.object_id
    WHERE (a.after <@ CAST({close_service.JSON} AS jsonb)) IS NOT TRUE
    ORDER BY 1
    """
)


@dataclass(frozen=True, slots=True)
class _Sealed:
    link: Link
    marks: bytes
    start: Any
    """The end of the seal before, ``None`` for the first one."""


def check(connection: Connection, expected: Iterable[Expected] = ()) -> Iterator[Finding]:
    """Check the chain, the closes, and that the ``expected`` heads are in it; yield each breach.

    The connection holds one REPEATABLE READ snapshot. Memory is flat: journals are read in the
    order of the chain, some tens of thousands at a time.
    """
    yield from _seals(connection)
    yield from _closes(connection)
    yield from _expected(connection, expected)


def _seals(connection: Connection) -> Iterator[Finding]:
    former: Link | None = None
    group: list[_Sealed] = []
    rows = connection.execute(_SEALS, execution_options={"yield_per": 100})
    for row in rows:
        link = chain.link_of(row)
        yield from _breaks(former, link)
        group.append(_Sealed(link, row.marks, former.before if former else None))
        if sum(each.link.journals for each in group) >= _GROUP:
            yield from _contents(connection, group)
            group = []
        former = link
    if group:
        yield from _contents(connection, group)


def _breaks(former: Link | None, link: Link) -> Iterator[Finding]:
    subject = f"seal {link.number}"
    due = 1 if former is None else former.number + 1
    if link.number != due:
        missing = f"{due}" if link.number == due + 1 else f"{due} to {link.number - 1}"
        yield Finding("chain_has_no_gap", subject, f"seal {missing} was removed")
    elif link.previous != (former.hash if former else chain.GENESIS):
        yield Finding(
            "seal_follows_the_one_before", subject, f"names {link.previous.hex()} as the former"
        )
    elif former and (link.before <= former.before or link.total != former.total + link.journals):
        yield Finding("seal_follows_the_one_before", subject, "its span or count goes back")
    if link.hash != link.expected_hash:
        yield Finding(
            "seal_follows_from_its_fields",
            subject,
            f"kept {link.hash.hex()}, fields make {link.expected_hash.hex()}",
        )


def _contents(connection: Connection, group: Sequence[_Sealed]) -> Iterator[Finding]:
    """Compare the journals of some seals in a row with what the seals say of them."""
    span = {"start": group[0].start, "before": group[-1].link.before}
    rows = connection.execute(_LINES, span, execution_options={"yield_per": _FETCH})
    found = ((row.at, row.line) for row in rows)
    ahead = next(found, None)
    for sealed in group:
        lines = []
        while ahead is not None and ahead[0] < sealed.link.before:
            lines.append(ahead[1])
            ahead = next(found, None)
        yield from _content(sealed, lines)


def _content(sealed: _Sealed, lines: Sequence[str]) -> Iterator[Finding]:
    link = sealed.link
    digest = canonical.Digest()
    for line in lines:
        digest.add(line)
    if digest.value() == link.content and digest.lines == link.journals:
        return
    since = moment(sealed.start) if sealed.start else "the beginning"
    where = f"seal {link.number}, from {since} to {moment(link.before)}"
    kept = Counter(
        sealed.marks[place : place + MARK_BYTES]
        for place in range(0, len(sealed.marks), MARK_BYTES)
    )
    strange = []
    for line in lines:
        mark = canonical.mark(line)
        if kept[mark]:
            kept[mark] -= 1
        else:
            strange.append(line)
    lost = kept.total() - len(strange)
    for line in strange[:_NAMED]:
        user_id, journal_id, *_ = line.split("|")
        yield Finding(
            "sealed_journals_are_unchanged",
            f"{user_id}/{journal_id}",
            f"is not as it was sealed, or was added later: {where}",
        )
    if len(strange) > _NAMED:
        more = f"{len(strange) - _NAMED} more journals are not as they were sealed"
        yield Finding("sealed_journals_are_unchanged", f"seal {link.number}", f"{more}: {where}")
    if lost > 0 or not strange:
        said = f"{lost} of {link.journals} journals are gone" if lost > 0 else "the order differs"
        yield Finding("sealed_journals_are_unchanged", f"seal {link.number}", f"{said}: {where}")


def _closes(connection: Connection) -> Iterator[Finding]:
    for row in connection.execute(_NOT_AS_NOTED):
        yield Finding("close_is_unchanged", f"close {row.period}", row.said)
    due = 1
    for close in connection.execute(_CLOSES).all():
        subject = f"close {close.period}"
        if close.number != due:
            yield Finding("close_is_unchanged", subject, f"close {due} was removed before it")
        due = close.number + 1
        if close.seal_number is not None:
            head = (close.seal_number, close.seal_hash)
            yield from _compare(connection, "close_is_unchanged", subject, head)
        digest = canonical.Digest()
        span = {"start": close.starts_at, "before": close.ends_at}
        for row in connection.execute(_LINES, span, execution_options={"yield_per": _FETCH}):
            digest.add(row.line)
        if digest.value() != close.digest or digest.lines != close.journals:
            yield Finding(
                "close_is_unchanged",
                subject,
                f"{close.journals} journals with digest {close.digest.hex()} were closed,"
                f" there are {digest.lines} with {digest.value().hex()}",
            )


def _expected(connection: Connection, expected: Iterable[Expected]) -> Iterator[Finding]:
    for number, hashed in expected:
        subject = hashed.hex() if number is None else f"{number}:{hashed.hex()}"
        yield from _compare(connection, "chain_has_the_expected_head", subject, (number, hashed))


def _compare(
    connection: Connection, invariant: str, subject: str, expected: Expected
) -> Iterator[Finding]:
    """Compare a head that was kept with the chain as it is."""
    number, hashed = expected
    if number is None:
        if connection.scalar(_OF_HASH, {"hash": hashed}) is None:
            said = "no seal has this hash: the chain was rebuilt, or cut before it"
            yield Finding(invariant, subject, said)
        return
    found = connection.scalar(_OF_NUMBER, {"number": number})
    if found == hashed:
        return
    length = connection.scalar(_LENGTH)
    if found is None and number > length:
        yield Finding(invariant, subject, f"the chain was cut: it ends with seal {length}")
    elif found is None:
        yield Finding(invariant, subject, f"seal {number} was removed")
    else:
        yield Finding(invariant, subject, f"the chain was rebuilt: seal {number} is {found.hex()}")
