"""Возвраты: the list, one refund, and giving money back from a transaction."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import msgspec
from flask import flash, redirect, url_for
from sqlalchemy.orm import Session

from standart import money
from standart.admin import formats, messages, movement_filters, movements
from standart.admin.base import Page, actor, origin, page
from standart.admin.language import gettext
from standart.admin.late_payments import LatePayments
from standart.admin.movement_forms import NewRefundForm, RefundForm, amount_text, read_amount
from standart.admin.movements import Fact, Wire
from standart.admin.transactions import fetch
from standart.errors import DomainError, NotConfirmed, RefundTooLarge
from standart.extensions import in_transaction, nudge, on_connection
from standart.money import Money
from standart.services import audit_service, refund_service
from standart.services.refund_service import NewRefund
from standart.states import TransactionStatus

FILTERS: Final = ("user", "transaction", "currency", "created_from", "created_to")


class Refunds(LatePayments):
    """The tab of refunds, adjustments and late payments."""

    @page("/")
    def index(self) -> Page:
        """List, newest first."""
        return self.render(
            "refunds.html",
            **in_transaction(
                lambda session: movement_filters.page_of(
                    session, FILTERS, refund_service.list_refunds
                )
            ),
        )

    @page("/<uuid:refund_id>")
    def detail(self, refund_id: UUID) -> Page:
        """Show one refund: what was given back, and who paid for it."""
        body = on_connection(
            lambda connection: refund_service.check_refund(connection, actor(), refund_id)
        )
        found = movements.named(msgspec.json.decode(body))
        audit = []
        if actor().sees_all:
            audit = in_transaction(lambda session: _history(session, refund_id))
        return self.render("refund.html", found=found, audit=audit, by=movements.done_by(audit))

    @page("/new/<uuid:transaction_id>", methods=["GET", "POST"])
    def new(self, transaction_id: UUID) -> Page:
        """Take how much is given back, and ask whether it is meant so; nothing is kept yet."""
        paid = Paid(movements.named(fetch(transaction_id)))
        refusal = paid.refusal()
        if refusal is not None:
            flash(messages.describe(refusal), "error")
            return redirect(paid.url(), HTTPStatus.SEE_OTHER)
        form = RefundForm()
        if not form.is_submitted():
            return self._take(form, paid)
        good, amount = form.validate(), paid.read(form)
        if not good or amount is None:
            return self._take(form, paid), HTTPStatus.UNPROCESSABLE_ENTITY
        return self.render("move_ask.html", **_question(form, paid, amount))

    def _take(self, form: RefundForm, paid: Paid) -> str:
        return self.render("refund_form.html", form=form, found=paid.found, left=paid.left)

    @page("/create/<uuid:transaction_id>", methods=["POST"])
    def create(self, transaction_id: UUID) -> Page:
        """Give back; the same form sent twice gives back once."""
        paid = Paid(movements.named(fetch(transaction_id)))
        form = NewRefundForm()
        # Not held against what is left by now: what was given back by this very form counts too.
        good, amount = form.validate(), read_amount(form.amount, paid.currency)
        if not good or amount is None:
            return self._take(form, paid), HTTPStatus.UNPROCESSABLE_ENTITY
        new = NewRefund(
            transaction_id=transaction_id,
            amount=str(amount),
            reason=form.reason.data or None,
            refund_commission=bool(form.refund_commission.data),
        )
        asked = [str(transaction_id), new.amount, new.reason, new.refund_commission]
        claim, by = movements.claim(form.once.data or "", asked), actor()
        try:
            answer = on_connection(
                lambda connection: refund_service.create_refund(
                    connection, by, origin(), new, claim=claim
                )
            )
        except DomainError as error:
            form.take(error)
            return self._take(form, paid), error.status
        nudge()
        flash(gettext("The money is given back."), "success")
        made = movements.wire(answer)["id"]
        return redirect(url_for(".detail", refund_id=made), HTTPStatus.SEE_OTHER)


class Paid:
    """A transaction, by what can be given back of it; sums are minor units."""

    def __init__(self, found: Wire) -> None:
        self.found = found
        self.currency: str = found["currency"]
        self.amount = self._minor("amount")
        self.commission = self._minor("commission")
        self.refunded = self._minor("refunded_amount")

    def _minor(self, name: str) -> int:
        return money.parse_amount(self.found[name], self.currency, may_be_zero=True).amount

    @property
    def left(self) -> Money:
        """What can still be given back."""
        return Money(self.amount - self.refunded, self.currency)

    def refusal(self) -> DomainError | None:
        """Why nothing can be given back, ``None`` if something can."""
        if self.found["status"] != TransactionStatus.CONFIRMED.value:
            return NotConfirmed(transaction_status=self.found["status"])
        if self.left.amount == 0:
            return RefundTooLarge(refundable=str(self.left), currency=self.currency)
        return None

    def share_of(self, part: Money) -> Money:
        """Return the commission's share in ``part``, as the service reckons it."""
        share = money.share(self.commission, self.amount, self.refunded, part.amount)
        return Money(share, self.currency)

    def read(self, form: RefundForm) -> Money | None:
        """Return the sum that was typed, all that is left for none; ``None`` if it is wrong."""
        if not amount_text(form.amount.data):
            return self.left
        amount = read_amount(form.amount, self.currency)
        if amount is None:
            return None
        if amount.amount > self.left.amount:
            error = RefundTooLarge(refundable=str(self.left), currency=self.currency)
            form.take(error)
            return None
        return amount

    def url(self) -> str:
        """Return the address of the transaction's page."""
        return url_for("transactions.detail", transaction_id=self.found["id"])


def _question(form: RefundForm, paid: Paid, amount: Money) -> dict[str, Any]:
    found, currency = paid.found, paid.currency
    share = paid.share_of(amount)
    with_share = bool(form.refund_commission.data)
    debited = Money(amount.amount - (share.amount if with_share else 0), currency)
    return {
        "heading": gettext(
            "Give back %(sum)s of the payment to %(merchant)s?",
            sum=f"{formats.amount(str(amount))} {currency}",
            merchant=found["user_name"],
        ),
        "text": gettext(
            "The merchant's balance is debited at once, and its webhook is called. This cannot be "
            "undone."
        ),
        "notice": "",
        "button": gettext("Give the money back"),
        "danger": True,
        "form": None,
        "facts": [
            Fact(label=gettext("To be given back"), amount=str(amount), currency=currency),
            Fact(
                label=gettext("Commission to be given back"),
                amount=str(share if with_share else Money(0, currency)),
                currency=currency,
            ),
            Fact(label=gettext("From the merchant"), amount=str(debited), currency=currency),
            Fact(label=gettext("Left to refund before"), amount=str(paid.left), currency=currency),
            Fact(label=gettext("User"), text=found["user_name"], user_id=found["user_id"]),
            Fact(label=gettext("Transaction"), text=found["id"]),
            Fact(label=gettext("Reason"), text=form.reason.data or "—"),
        ],
        "carried": {
            "amount": str(amount),
            **({"refund_commission": "y"} if with_share else {}),
            "reason": form.reason.data or "",
            "once": movements.once(),
        },
        "url": url_for(".create", transaction_id=found["id"]),
        "back": url_for(".new", transaction_id=found["id"]),
    }


def _history(session: Session, refund_id: UUID) -> list[Any]:
    rows = audit_service.history(session, "refund", refund_id)
    session.expunge_all()
    return list(rows)
