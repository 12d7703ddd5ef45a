"""Statements made of a seed, for the tests of documents and for the pictures in the docs.

As a program it prints the SHA-256 of a document: ``python -m tests.unit.document_samples
pdf ru``, so that a test may compare what two processes make.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from standart.documents import pdf, xlsx
from standart.documents.statement import Anchor, Foot, Head, Movement, Totals
from standart.documents.words import AMOUNTS, Lang

HEAD = Head(
    number="2026-11-0042",
    merchant_id=UUID("0198f0c2-7a10-7000-8000-00000000002a"),
    merchant="ООО «Ромашка»",
    currency="RUB",
    start=datetime(2026, 10, 31, 21, tzinfo=UTC),
    end=datetime(2026, 11, 30, 21, tzinfo=UTC),
    zone="Europe/Moscow",
    closed=True,
    anchor=Anchor(412, hashlib.sha256(b"seal").hexdigest()),
    available=1_234_567,
    reserved=50_000,
)

KINDS = {
    "settlement": 80,
    "refund": 8,
    "payout_reserved": 4,
    "payout_paid": 4,
    "payout_returned": 2,
    "adjustment": 2,
}


@dataclass(frozen=True, slots=True)
class Statement:
    """Everything that a document is made of."""

    head: Head
    moves: Sequence[Movement]
    foot: Foot

    def render(self, form: str, lang: Lang) -> bytes:
        """Return the document of ``form``: pdf or xlsx."""
        render = {"pdf": pdf.render, "xlsx": xlsx.render}[form]
        return b"".join(render(self.head, iter(self.moves), lambda: self.foot, lang))


def statement(count: int, head: Head = HEAD, *, scale: int = 1, seed: int = 7) -> Statement:
    """Return a statement of ``count`` movements whose amounts are ``scale`` times as large."""
    moves = list(_moves(count, head, scale, random.Random(seed)))
    return Statement(head, moves, foot_of(moves, head))


def changed(made: Statement, change: Callable[[Movement], Movement]) -> Statement:
    """Return ``made`` with every movement changed, and what that comes to."""
    moves = [change(each) for each in made.moves]
    return Statement(made.head, moves, foot_of(moves, made.head))


def foot_of(moves: Sequence[Movement], head: Head) -> Foot:
    """Return what ``moves`` come to."""
    kinds = {each.kind: totals(one for one in moves if one.kind == each.kind) for each in moves}
    whole = totals(moves)
    digest = hashlib.sha256(repr(moves).encode()).hexdigest()
    return Foot(whole, kinds, head.available + whole.net, head.reserved + whole.reserved, digest)


def totals(moves: Iterable[Movement]) -> Totals:
    """Return the sums of ``moves``."""
    each = list(moves)
    return Totals(len(each), **{name: sum(getattr(one, name) for one in each) for name in AMOUNTS})


def _moves(count: int, head: Head, scale: int, chance: random.Random) -> Iterator[Movement]:
    balance = head.available
    step = (head.end - head.start) / max(count, 1)
    for place in range(count):
        [kind] = chance.choices(list(KINDS), list(KINDS.values()))
        amounts = _amounts(kind, scale, chance)
        net = (
            amounts["gross"]
            - amounts["commission"]
            - amounts["refunded"]
            + amounts["commission_returned"]
            - amounts["paid_out"]
            + amounts["adjusted"]
        )
        balance += net
        at = head.start + place * step + timedelta(microseconds=999_999)
        source = _uuid(at, chance)
        yield Movement(
            number=place + 1,
            at=at,
            kind=kind,
            journal_id=_uuid(at, chance),
            source_id=source,
            transaction_id={"settlement": source, "refund": _uuid(at, chance)}.get(kind),
            reference=f"INV-{10_000 + place}" if kind in ("settlement", "refund") else None,
            net=net,
            balance=balance,
            **amounts,
        )


def _amounts(kind: str, scale: int, chance: random.Random) -> dict[str, int]:
    amounts = dict.fromkeys(AMOUNTS, 0)
    del amounts["net"]
    if kind == "settlement":
        amounts["gross"] = chance.randint(9_900, 4_990_000) * scale
        amounts["commission"] = amounts["gross"] * 3 // 100
    elif kind == "refund":
        amounts["refunded"] = chance.randint(9_900, 990_000) * scale
        amounts["commission_returned"] = amounts["refunded"] * 3 // 100
    elif kind == "adjustment":
        amounts["adjusted"] = chance.randint(-50_000, 50_000) * scale
    else:
        reserved = chance.randint(100_000, 2_000_000) * scale
        amounts["reserved"] = reserved if kind == "payout_reserved" else -reserved
        amounts["paid_out"] = 0 if kind == "payout_paid" else amounts["reserved"]
    return amounts


def _uuid(at: datetime, chance: random.Random) -> UUID:
    """Return an id as Standart makes them: a UUIDv7 of that moment."""
    since = int(at.timestamp() * 1000) << 80
    return UUID(
        int=since | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62)
    )


HOSTILE = (
    "=1+1",
    '=HYPERLINK("http://evil.example","pay here")',
    "+1", "-1", "@SUM(A1)", "|cmd",
    "<b>bold</b> & <br/>",
    "]]></t></is></c>",
    "_x0041_ _x000D_",
    "00123",
    "1e5",
    "  spaces  around  ",
    "\u202eRTL\u202c \u200f\u2066mark\u2069",
    "\U0001f600\U0001f469\u200d\U0001f680 emoji",
    "שלום \u0627\u0644\u0633\u0644\u0627\u0645 漢字",
    "\u0301lone accent, \ufffe\uffff",
    "Щ" * 128,
    "W" * 128,
)  # fmt: skip
"""References and names that people have tried, or that a program may send."""


def hostile() -> Statement:
    """Return a statement in which every name and reference is one of ``HOSTILE``."""
    made = statement(len(HOSTILE), replace(HEAD, merchant=HOSTILE[1], number=HOSTILE[0]))
    return changed(made, lambda it: replace(it, reference=HOSTILE[it.number - 1]))


def main(arguments: Sequence[str]) -> None:
    """Print the SHA-256 of the document that ``arguments`` name: form and language."""
    form, lang = arguments
    document = statement(40).render(form, cast("Any", lang))
    sys.stdout.write(hashlib.sha256(document).hexdigest())


if __name__ == "__main__":
    main(sys.argv[1:])
