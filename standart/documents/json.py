"""A statement as JSON, written as it is read: valid JSON at its end and not before.

Money is decimal text with the currency's digits, times are RFC 3339 UTC with microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from standart.documents.plain import ROWS, amounts, utc
from standart.documents.statement import Foot, Head, Movement, Totals
from standart.documents.words import AMOUNTS, Lang

Write = Callable[[int], str]


def render(
    head: Head, movements: Iterable[Movement], foot_of: Callable[[], Foot], lang: Lang
) -> Iterator[bytes]:
    """Yield the document in pieces; ``foot_of`` is called behind the last movement.

    It has no words, so that it is the same in every language.
    """
    yield b'{"statement":' + _text(_head(head)).encode() + b',"movements":[\n'
    write = _row(amounts(head.currency))
    remaining, separator = iter(movements), ""
    while batch := list(islice(remaining, ROWS)):
        yield (separator + ",\n".join(map(write, batch))).encode()
        separator = ",\n"
    yield b"\n]," + _text(_foot(head, foot_of()))[1:].encode() + b"\n"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _head(head: Head) -> dict[str, Any]:
    zone = ZoneInfo(head.zone)
    return {
        "number": head.number,
        "user_id": str(head.merchant_id),
        "merchant": head.merchant,
        "currency": head.currency,
        "from": utc(head.start),
        "to": utc(head.end),
        "timezone": head.zone,
        "from_local": head.start.astimezone(zone).isoformat(),
        "to_local": head.end.astimezone(zone).isoformat(),
        "closed": head.closed,
        "opening": _held(amounts(head.currency), head.available, head.reserved),
    }


def _held(money: Write, available: int, reserved: int) -> dict[str, str]:
    return {"available": money(available), "reserved": money(reserved)}


def _row(money: Write) -> Callable[[Movement], str]:
    """Return what writes one movement; only a reference needs care, all else is plain."""

    def write(each: Movement) -> str:
        transaction = "null" if each.transaction_id is None else f'"{each.transaction_id}"'
        reference = "null" if each.reference is None else _text(each.reference)
        return (
            f'{{"number":{each.number},"at":"{utc(each.at)}","kind":"{each.kind}",'
            f'"source_id":"{each.source_id}","transaction_id":{transaction},'
            f'"reference":{reference},"gross":"{money(each.gross)}",'
            f'"commission":"{money(each.commission)}","refunded":"{money(each.refunded)}",'
            f'"commission_returned":"{money(each.commission_returned)}",'
            f'"paid_out":"{money(each.paid_out)}","adjusted":"{money(each.adjusted)}",'
            f'"net":"{money(each.net)}","reserved":"{money(each.reserved)}",'
            f'"balance":"{money(each.balance)}","journal_id":"{each.journal_id}"}}'
        )

    return write


def _totals(money: Write, totals: Totals) -> dict[str, int | str]:
    return {"count": totals.count, **{name: money(getattr(totals, name)) for name in AMOUNTS}}


def _foot(head: Head, foot: Foot) -> dict[str, Any]:
    money = amounts(head.currency)
    return {
        "totals": _totals(money, foot.totals),
        "totals_by_kind": {kind: _totals(money, each) for kind, each in foot.by_kind.items()},
        "closing": _held(money, foot.available, foot.reserved),
        "digest": foot.digest,
        "chain_head": None if head.anchor is None else str(head.anchor),
    }
