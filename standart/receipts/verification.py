"""Checking a receipt offline: every check by name, and what it found.

A file is right when no check fails. What cannot be looked at because an earlier check failed
is told as skipped, never as right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from standart import money
from standart.errors import InvalidInput
from standart.receipts import chain, keys
from standart.receipts.canonical import NotJson, canonical, parse
from standart.receipts.document import LONGEST, Anchor, Envelope, Transaction
from standart.receipts.keys import PublicKey

_AMOUNT: Final = re.compile(r"(-?)([0-9]{1,18})(?:\.([0-9]{1,18}))?")
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class Result(StrEnum):
    """What came of a check."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check; ``detail`` is for people, in printable ASCII."""

    name: str
    result: Result
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks in their order; ``envelope`` is what was read, ``None`` where nothing could be."""

    checks: tuple[Check, ...]
    envelope: Envelope | None

    @property
    def is_right(self) -> bool:
        """Whether every check was made and none failed."""
        return all(check.result is Result.OK for check in self.checks)


class _Failed(Exception):
    """A check failed, and why."""


class _Skipped(Exception):
    """A check has nothing to look at, and why."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file that was read: its bytes, what they say, and what it is checked against."""

    data: bytes
    found: dict[str, Any]
    envelope: Envelope
    known: Mapping[str, PublicKey]
    seals: Iterable[bytes] | None


_Step = Callable[[_File], str]


def verify(
    data: bytes, known: Mapping[str, PublicKey], *, seals: Iterable[bytes] | None = None
) -> Verdict:
    """Check the bytes of a receipt's file against ``known`` keys, by their ids.

    With ``seals``, the lines of an export, also that the chain has the seals it names.

    Raises:
        BadSeals: ``seals`` is no export.
    """
    steps = {**_STEPS, "chain": _chain} if seals is not None else _STEPS
    try:
        found, envelope = _shape(data)
    except _Failed as failure:
        rest = (Check(name, Result.SKIPPED, "it has not the shape of a receipt") for name in steps)
        return Verdict((Check("shape", Result.FAILED, str(failure)), *rest), None)
    file = _File(data, found, envelope, known, seals)
    shape = Check("shape", Result.OK, f"version {envelope.receipt.version}")
    return Verdict((shape, *(_made(name, step, file) for name, step in steps.items())), envelope)


def _made(name: str, step: _Step, file: _File) -> Check:
    try:
        return Check(name, Result.OK, step(file))
    except _Failed as failure:
        return Check(name, Result.FAILED, _printable(str(failure)))
    except _Skipped as reason:
        return Check(name, Result.SKIPPED, str(reason))


def _shape(data: bytes) -> tuple[dict[str, Any], Envelope]:
    """The file is JSON with the parts of a receipt."""
    if len(data) > LONGEST:
        raise _Failed(f"longer than {LONGEST} bytes")
    try:
        found = parse(data)
        return found, msgspec.convert(found, Envelope)
    except (NotJson, msgspec.ValidationError) as error:
        raise _Failed(_printable(str(error))) from None


def _canonical_form(file: _File) -> str:
    """The bytes are the one form of what they say; an editor's line break may follow."""
    if file.data.removesuffix(b"\n") != canonical(file.found):
        raise _Failed("the bytes are not the canonical form (RFC 8785) of what they say")
    return f"{len(file.data)} bytes"


def _key_known(file: _File) -> str:
    """The key is one of those that were given, and the one that the receipt names itself."""
    envelope = file.envelope
    key = file.known.get(envelope.key_id)
    if key is None:
        raise _Failed(f"{envelope.key_id} is not among the keys that were given")
    if envelope.receipt.issuer.key_id != key.id:
        raise _Failed(f"the receipt was issued by {envelope.receipt.issuer.key_id}")
    return key.id if key.retired_at is None else _printable(f"{key.id}, retired {key.retired_at}")


def _signature(file: _File) -> str:
    """The key made the signature of exactly this receipt."""
    key = file.known.get(file.envelope.key_id)
    if key is None:
        raise _Skipped("there is no key to check it with")
    signature = keys.decoded(file.envelope.signature, keys.SIGNATURE_BYTES)
    if signature is None:
        raise _Failed("not base64 of 64 bytes")
    if not key.verifies(signature, canonical(file.found["receipt"])):
        raise _Failed("the key did not sign this receipt")
    return keys.ALGORITHM


def _status(file: _File) -> str:
    """The transaction has ended, and is settled if and only if it was confirmed."""
    transaction, settlement = file.envelope.receipt.transaction, file.envelope.receipt.settlement
    if transaction.status == "pending" or transaction.finished_at is None:
        raise _Failed("the transaction has not ended")
    if (transaction.status == "confirmed") != (settlement is not None):
        raise _Failed(
            f"{transaction.status}, {'without' if settlement is None else 'with'} a settlement"
        )
    for identifier in (
        transaction.id,
        transaction.user_id,
        *([settlement.id] if settlement else []),
    ):
        if not _ID.fullmatch(identifier):
            raise _Failed(f"{identifier} is no id")
    return transaction.status


def _amounts(file: _File) -> str:
    """Net and commission make up the amount, and the commission follows its rule."""
    transaction = file.envelope.receipt.transaction
    amount, commission, net, refunded = (
        _minor(text, transaction.currency)
        for text in (
            transaction.amount,
            transaction.commission,
            transaction.net,
            transaction.refunded_amount,
        )
    )
    if not 0 < amount <= money.MAX_MINOR:
        raise _Failed(f"an amount of {transaction.amount}")
    if not 0 <= commission <= amount:
        raise _Failed(f"a commission of {transaction.commission} on {transaction.amount}")
    if net != amount - commission:
        raise _Failed(
            f"{transaction.amount} less {transaction.commission} is not {transaction.net}"
        )
    if commission != _by_the_rule(transaction, amount):
        raise _Failed(f"a commission of {transaction.commission} does not follow from its rate")
    if not 0 <= refunded <= (amount if transaction.status == "confirmed" else 0):
        raise _Failed(f"{transaction.refunded_amount} refunded of {transaction.amount}")
    return f"{transaction.amount} - {transaction.commission} = {transaction.net}"


def _by_the_rule(transaction: Transaction, amount: int) -> int:
    fee, currency = transaction.fee_schedule, transaction.currency
    try:
        rate = money.parse_rate(transaction.commission_rate)
        if fee is None:
            return money.commission(amount, rate)
        if money.parse_rate(fee.rate) != rate:
            raise _Failed("the rate is not that of its fee schedule")
        highest = None if fee.maximum is None else _minor(fee.maximum, currency)
        fixed, lowest = _minor(fee.fixed, currency), _minor(fee.minimum, currency)
        return money.fee(amount, rate, fixed, lowest, highest)
    except InvalidInput as error:
        raise _Failed("; ".join(f"{each.field} {each.message}" for each in error.errors)) from None
    except ValueError as error:
        raise _Failed(str(error)) from None


def _entries(file: _File) -> str:
    """The settlement sums to zero and moves what the transaction says, no more."""
    transaction, settlement = file.envelope.receipt.transaction, file.envelope.receipt.settlement
    if settlement is None:
        return "no settlement"
    currency = transaction.currency
    moved = [(each.account, _minor(each.amount, currency)) for each in settlement.entries]
    if any(each.currency != currency for each in settlement.entries):
        raise _Failed(f"not all entries are in {currency}")
    if sum(amount for _, amount in moved) != 0:
        raise _Failed("they do not sum to zero")
    wanted = {
        "clearing": -_minor(transaction.amount, currency),
        "available": _minor(transaction.net, currency),
        "commission": _minor(transaction.commission, currency),
    }
    if sorted(moved) != sorted((account, sum_) for account, sum_ in wanted.items() if sum_):
        raise _Failed("they are not the settlement of this transaction")
    return f"{len(moved)} that sum to zero"


def _seal(file: _File) -> str:
    """The seal is one of the chain up to its head, and only what was settled has one."""
    receipt = file.envelope.receipt
    seal, head = receipt.seal, receipt.chain_head
    for anchor in (seal, head):
        if anchor is not None and (anchor.number < 1 or not _HASH.fullmatch(anchor.hash)):
            raise _Failed(f"{anchor.number}:{anchor.hash} is no seal")
    if seal is None:
        return "not sealed yet" if receipt.settlement else "nothing to seal"
    if receipt.settlement is None or head is None or seal.number > head.number:
        raise _Failed(f"seal {seal.number} is not below the head of the chain")
    if seal.number == head.number and seal.hash != head.hash:
        raise _Failed(f"seal {seal.number} has two hashes")
    return f"seal {seal.number} of {head.number}"


def _chain(file: _File) -> str:
    """The exported chain has the seals that the receipt names."""
    receipt = file.envelope.receipt
    wanted = [anchor for anchor in (receipt.seal, receipt.chain_head) if anchor is not None]
    try:
        found = chain.find(file.seals or (), wanted)
    except chain.BrokenChain as error:
        raise _Failed(str(error)) from None
    for anchor in wanted:
        _require_link(anchor, found.get(anchor.number))
    return f"{len(set(wanted))} seals of the receipt are in it" if wanted else "no seal to look for"


def _require_link(anchor: Anchor, kept: str | None) -> None:
    if kept is None:
        raise _Failed(f"seal {anchor.number} is not in it")
    if kept != anchor.hash:
        raise _Failed(f"seal {anchor.number} is {kept} there and {anchor.hash} here")


def _minor(text: str, currency: str) -> int:
    """Return decimal text in minor units; only the form that the service writes will do."""
    match = _AMOUNT.fullmatch(text)
    if match is None or currency not in money.CURRENCIES:
        raise _Failed(f"{text} {currency} is no sum of money")
    sign, whole, fraction = match.groups(default="")
    if len(fraction) == money.CURRENCIES[currency]:
        amount = int(f"{sign}{whole}{fraction}")
        if money.format_minor(amount, currency) == text:
            return amount
    raise _Failed(f"{text} {currency} is not written as money is")


def _printable(text: str) -> str:
    """Return foreign text fit for any terminal: what a file says must not move its cursor."""
    return ascii(text[:200])[1:-1]


_STEPS: Final[Mapping[str, _Step]] = {
    "canonical form": _canonical_form,
    "key known": _key_known,
    "signature": _signature,
    "status": _status,
    "amounts": _amounts,
    "entries": _entries,
    "seal": _seal,
}
