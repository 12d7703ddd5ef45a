"""The accounts that an exchange file is of, and what went through them by what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from standart import money
from standart.bank_files import values
from standart.bank_files.records import wrong
from standart.phrases import Phrase

ACCOUNT, RECEIVED, SPENT = "РасчСчет", "ВсегоПоступило", "ВсегоСписано"

_MOST: Final = 1000
_LONGEST: Final = 34


@dataclass(slots=True)
class Turnover:
    """What went through an account in minor units, as stated and as the documents say."""

    currency: str
    stated_in: int | None = None
    stated_out: int | None = None
    came: int = 0
    went: int = 0

    def state(self, *, came: int | None, went: int | None) -> None:
        """Add what a section states; an account may have one for each of its days."""
        if came is not None:
            self.stated_in = (self.stated_in or 0) + came
        if went is not None:
            self.stated_out = (self.stated_out or 0) + went


class Accounts:
    """The accounts of one file; ``currency`` is of those whose number does not tell it."""

    def __init__(self, currency: str) -> None:
        self._currency = currency
        self._known: dict[str, Turnover] = {}

    def __bool__(self) -> bool:
        """Whether the file has named any."""
        return bool(self._known)

    def get(self, account: str) -> Turnover | None:
        """Return what went through an account, ``None`` for one that is not the file's."""
        return self._known.get(account)

    def own(self, account: str, line: int) -> Turnover:
        """Return what is known of one of the file's accounts, noting a new one.

        Raises:
            InvalidInput: ``line`` names none, or one too many.
        """
        if not account:
            raise wrong(line, Phrase("has no value for %(key)s", key=ACCOUNT))
        if account not in self._known:
            if len(self._known) == _MOST:
                raise wrong(line, Phrase("is of more than %(most)s accounts", most=_MOST))
            currency = values.currency_of_account(account) or self._currency
            self._known[account] = Turnover(currency)
        return self._known[account]

    def warnings(self) -> Iterator[Phrase]:
        """Yield where the documents do not add up to what is stated."""
        for account, turnover in self._known.items():
            for key, stated, found in (
                (RECEIVED, turnover.stated_in, turnover.came),
                (SPENT, turnover.stated_out, turnover.went),
            ):
                if stated is not None and stated != found:
                    yield Phrase(
                        "%(account)s: %(key)s is %(said)s, its documents make %(summed)s",
                        account=account[:_LONGEST],
                        key=key,
                        said=money.format_minor(stated, turnover.currency),
                        summed=money.format_minor(found, turnover.currency),
                    )
