"""The words of a statement in Russian and English, shared by every format that has words.

``COLUMNS`` names a movement's columns in the order they are printed; both languages have a
head for each and a name for every kind of journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Lang = Literal["ru", "en"]

AMOUNTS = (
    "gross",
    "commission",
    "refunded",
    "commission_returned",
    "paid_out",
    "adjusted",
    "net",
    "reserved",
)
"""The columns of money that ``Movement`` and ``Totals`` share: those that may be summed."""

COLUMNS = (
    "number",
    "local",
    "kind",
    "reference",
    *AMOUNTS,
    "balance",
    "at",
    "source_id",
    "transaction_id",
    "journal_id",
)
"""All columns of a table of movements: what people read, then what programs match by.

``local`` is ``at`` in the merchant's zone.
"""


@dataclass(frozen=True, slots=True)
class Words:
    """Everything that a statement says in one language.

    ``columns`` is by name of ``COLUMNS``, ``kinds`` by the value of a journal's kind. Texts
    with braces are for ``str.format``: ``page`` (page, pages), ``numbered`` (number),
    ``local`` in ``columns`` (zone), ``span`` (start, end).
    """

    statement: str
    numbered: str
    movements: str
    merchant: str
    merchant_id: str
    period: str
    span: str
    zone: str
    currency: str
    books: str
    closed: str
    open: str
    balances: str
    available: str
    reserved: str
    opening: str
    change: str
    closing: str
    by_kind: str
    count: str
    totals: str
    chain_head: str
    no_chain: str
    digest: str
    digest_note: str
    payment: str
    nothing: str
    page: str
    long_amounts: str
    net_note: str
    columns: Mapping[str, str]
    kinds: Mapping[str, str]

    def kind(self, kind: str) -> str:
        """Return what a kind of journal is called; one that is not known speaks for itself."""
        return self.kinds.get(kind, kind)


_RU = Words(
    statement="Выписка о расчётах",
    numbered="Выписка о расчётах № {number}",
    movements="Движения",
    merchant="Мерчант",
    merchant_id="Идентификатор",
    period="Период",
    span="с {start} до {end}, не включая",
    zone="Часовой пояс",
    currency="Валюта",
    books="Книги",
    closed="закрыты: выписка окончательная",
    open="не закрыты: период ещё может дополниться",
    balances="Остатки",
    available="Доступно",
    reserved="В резерве на выплаты",
    opening="Входящий остаток",
    change="Изменение за период",
    closing="Исходящий остаток",
    by_kind="Итоги по видам операций",
    count="Количество",
    totals="Итого",
    chain_head="Голова цепочки",
    no_chain="печатей ещё нет",
    digest="Дайджест",
    digest_note="SHA-256 строк журнала за период",
    payment="по операции",
    nothing="За период движений не было.",
    page="стр. {page} из {pages}",
    long_amounts="Суммы длиннее 15 цифр записаны текстом, чтобы остаться точными: "
    "таблица не складывает их, верны итоги выше.",
    net_note="Нетто = поступления − комиссия − возвраты + возвращённая комиссия − выплаты "
    "+ корректировки.",
    columns=MappingProxyType(
        {
            "number": "№",
            "local": "Время ({zone})",
            "at": "Время (UTC)",
            "kind": "Операция",
            "reference": "Номер заказа",
            "source_id": "Идентификатор операции",
            "transaction_id": "Идентификатор платежа",
            "gross": "Поступления",
            "commission": "Комиссия",
            "refunded": "Возвраты",
            "commission_returned": "Возвращено комиссии",
            "paid_out": "Выплаты",
            "adjusted": "Корректировки",
            "net": "Нетто",
            "reserved": "Резерв на выплаты",
            "balance": "Доступно после",
            "journal_id": "Проводка",
        }
    ),
    kinds=MappingProxyType(
        {
            "settlement": "Зачисление",
            "refund": "Возврат",
            "payout_reserved": "Резерв на выплату",
            "payout_paid": "Выплата проведена",
            "payout_returned": "Резерв возвращён",
            "adjustment": "Корректировка",
            "opening_balance": "Начальный остаток",
        }
    ),
)

_EN = Words(
    statement="Settlement statement",
    numbered="Settlement statement No. {number}",
    movements="Movements",
    merchant="Merchant",
    merchant_id="Identifier",
    period="Period",
    span="from {start} until {end}, exclusive",
    zone="Time zone",
    currency="Currency",
    books="Books",
    closed="closed: this statement is final",
    open="not closed: the period may still grow",
    balances="Balances",
    available="Available",
    reserved="Reserved for payouts",
    opening="Opening balance",
    change="Change over the period",
    closing="Closing balance",
    by_kind="Totals by kind of operation",
    count="Count",
    totals="Totals",
    chain_head="Chain head",
    no_chain="no seal yet",
    digest="Digest",
    digest_note="SHA-256 of the period's journal lines",
    payment="of payment",
    nothing="There were no movements in this period.",
    page="page {page} of {pages}",
    long_amounts="Amounts of more than 15 digits are written as text to stay exact: "
    "spreadsheets leave them out of sums; the totals above are right.",
    net_note="Net = gross − commission − refunds + commission returned − payouts + adjustments.",
    columns=MappingProxyType(
        {
            "number": "No.",
            "local": "Time ({zone})",
            "at": "Time (UTC)",
            "kind": "Operation",
            "reference": "Reference",
            "source_id": "Operation ID",
            "transaction_id": "Payment ID",
            "gross": "Gross",
            "commission": "Commission",
            "refunded": "Refunds",
            "commission_returned": "Commission returned",
            "paid_out": "Payouts",
            "adjusted": "Adjustments",
            "net": "Net",
            "reserved": "Reserved for payouts",
            "balance": "Available after",
            "journal_id": "Journal",
        }
    ),
    kinds=MappingProxyType(
        {
            "settlement": "Settlement",
            "refund": "Refund",
            "payout_reserved": "Payout reserved",
            "payout_paid": "Payout paid",
            "payout_returned": "Payout given back",
            "adjustment": "Adjustment",
            "opening_balance": "Opening balance",
        }
    ),
)

WORDS: Mapping[Lang, Words] = MappingProxyType({"ru": _RU, "en": _EN})
"""The words by language."""


def kinds_in_order(kinds: Iterable[str]) -> list[str]:
    """Return ``kinds`` as statements list them: from what comes in to what is put right."""
    order = {kind: place for place, kind in enumerate(_EN.kinds)}
    return sorted(kinds, key=lambda kind: (order.get(kind, len(order)), kind))
