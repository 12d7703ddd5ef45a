"""Balances: what is asked and answered."""

from __future__ import annotations

from standart.api.fields import Currency, Moment, Money, Since
from standart.api.schemas.common import OfUser, Reply


class ReadBalance(OfUser, frozen=True):
    """Whose balance, and of which moment if not of now."""

    at: Since | None = None


class CurrencyBalance(Reply, frozen=True):
    """`balance` is available; `pending_payout` is reserved for payouts on their way."""

    currency: Currency
    balance: Money
    pending_payout: Money


class Balances(Reply, frozen=True, omit_defaults=True):
    """One row for each currency; `at` only if it was asked for."""

    balances: list[CurrencyBalance]
    at: Moment | None = None
