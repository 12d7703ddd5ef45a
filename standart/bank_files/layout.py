"""How a CSV file is to be understood: which column is what, and how values are written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

from standart import money
from standart.bank_files import lines, values
from standart.errors import InvalidInput
from standart.phrases import Phrase

COLUMNS: Final = (
    "reference",
    "amount",
    "date",
    "time",
    "currency",
    "direction",
    "status",
    "fee",
    "purpose",
    "counterparty",
    "document",
)
"""What a column of a file can be."""

_REQUIRED: Final = ("amount", "date")

DELIMITERS: Final = (",", ";", "\t")

UTC: Final = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the operator says of a file; ``None`` leaves it to the file.

    ``columns`` maps what a column is to its name in the header. ``currency`` holds where the
    file has no currency of its own. ``zone`` is where the file's days begin.

    Raises:
        InvalidInput: names the option that makes no sense.
    """

    currency: str
    columns: Mapping[str, str] = field(default_factory=dict)
    delimiter: str | None = None
    encoding: str | None = None
    date_format: str | None = None
    decimal_mark: str | None = None
    zone: ZoneInfo = UTC

    def __post_init__(self) -> None:
        money.digits_of(self.currency)
        for option, value, known in (
            ("--delimiter", self.delimiter, DELIMITERS),
            ("--encoding", self.encoding, lines.ENCODINGS),
            ("--decimal-mark", self.decimal_mark, values.DECIMAL_MARKS),
        ):
            if value is not None and value not in known:
                message = Phrase("must be one of %(known)s", known=" ".join(map(repr, known)))
                raise InvalidInput.of(option, message)
        values.Days(self.date_format, self.zone)


def columns(written: Iterable[str]) -> dict[str, str]:
    """Return what texts such as ``reference=Order,amount=Sum`` say of a file's columns.

    A name with a comma stands in quotation marks: ``reference=Order,"amount=Sum, RUB"``.

    Raises:
        InvalidInput: names what is unknown, said twice or missing.
    """
    found: dict[str, str] = {}
    for text in written:
        for part in _parts(text):
            kind, sign, name = part.partition("=")
            kind, name = kind.strip(), name.strip()
            if not sign or not name:
                raise _unmapped(f"must be like reference=Order,amount=Sum,date=Date, not {part!r}")
            if kind not in COLUMNS:
                raise _unmapped(f"knows no {kind!r}; it knows {' '.join(COLUMNS)}")
            if kind in found or name in found.values():
                raise _unmapped(f"names {kind if kind in found else name} twice")
            found[kind] = name
    missing = [each for each in _REQUIRED if each not in found]
    if missing:
        raise _unmapped(f"must say which column is the {' and the '.join(missing)}")
    return found


def _parts(text: str) -> list[str]:
    try:
        [parts] = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise _unmapped("has a quotation mark too many or too few") from None
    return parts


def _unmapped(message: str) -> InvalidInput:
    return InvalidInput.of("--map", message)
