"""Balances: what is answered."""

from __future__ import annotations

from standart.api.fields import Currency, Money
from standart.api.schemas.common import Reply


class CurrencyBalance(Reply, frozen=True):
    """What is available in one currency."""

    currency: Currency
    balance: Money


class Balances(Reply, frozen=True):
    """One row for each currency."""

    balances: list[CurrencyBalance]
