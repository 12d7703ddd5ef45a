"""A new payout: filled in, looked at once more, asked for once."""

from __future__ import annotations

from decimal import Decimal
from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import flash, redirect, url_for

from standart.admin import formats, movements, queries
from standart.admin.base import Page, actor, origin, page, query_text
from standart.admin.language import gettext
from standart.admin.movement_forms import (
    NewPayoutForm,
    PayoutForm,
    amount_text,
    merchant_of,
    read_amount,
    whole_amount,
)
from standart.admin.movements import Fact
from standart.admin.payouts import PayoutPages
from standart.errors import DomainError, InsufficientBalance
from standart.extensions import in_transaction, keyring, nudge, on_connection
from standart.models import User
from standart.services import ledger_service, payout_service
from standart.services.payout_service import NewPayout

_OFFERED_NAMES = 100


class Payouts(PayoutPages):
    """The tab of payouts."""

    @page("/new", methods=["GET", "POST"])
    def new(self) -> Page:
        """Take what a payout shall be, and ask whether it is meant so; nothing is kept yet."""
        form = PayoutForm()
        if not form.is_submitted():
            form.user.data = query_text("user")
            return self._fill_in(form)
        user = _read(form)
        if user is None:
            return self._fill_in(form), HTTPStatus.UNPROCESSABLE_ENTITY
        currency = form.currency_of(user)
        amount = whole_amount(form.amount.data, currency)
        held = _available(user.id, currency)
        if Decimal(amount) > Decimal(held.amount):
            form.take(InsufficientBalance(currency=currency, available=held.amount))
            return self._fill_in(form), HTTPStatus.UNPROCESSABLE_ENTITY
        shown = f"{formats.amount(amount)} {currency}"
        return self.render(
            "move_ask.html",
            heading=gettext(
                "Ask for a payout of %(sum)s to %(merchant)s?", sum=shown, merchant=user.name
            ),
            text=gettext("The money is reserved at once; somebody approves it before it is paid."),
            notice="",
            button=gettext("Ask for the payout"),
            danger=False,
            form=None,
            facts=[
                Fact(label=gettext("Amount"), amount=amount, currency=currency),
                Fact(label=gettext("User"), text=user.name, user_id=str(user.id)),
                Fact(label=gettext("Available"), amount=held.amount, currency=held.currency),
                *(Fact(label=name, text=value) for name, value in (form.where() or {}).items()),
                Fact(label=gettext("Payout reference"), text=form.reference.data or "—"),
            ],
            carried={
                "user": user.name,
                "amount": form.amount.data,
                "currency": currency,
                "destination": form.destination.data or "",
                "reference": form.reference.data or "",
                "once": movements.once(),
            },
            url=url_for(".create"),
            back=url_for(".new", user=user.name),
        )

    def _fill_in(self, form: PayoutForm) -> str:
        names = in_transaction(lambda session: queries.first_names(session, _OFFERED_NAMES))
        return self.render("payout_form.html", form=form, names=names)

    @page("/create", methods=["POST"])
    def create(self) -> Page:
        """Ask for a payout; the same form sent twice asks once."""
        form = NewPayoutForm()
        user = _read(form)
        if user is None:
            return self._fill_in(form), HTTPStatus.UNPROCESSABLE_ENTITY
        new = NewPayout(
            amount=amount_text(form.amount.data),
            currency=form.currency_of(user),
            destination=form.where(),
            reference=form.reference.data or None,
            user_id=user.id,
        )
        asked = [new.amount, new.currency, new.destination, new.reference, str(user.id)]
        claim, ring, by = movements.claim(form.once.data or "", asked), keyring(), actor()
        try:
            answer = on_connection(
                lambda connection: payout_service.create(
                    connection, by, origin(), ring, new, claim=claim
                )
            )
        except DomainError as error:
            form.take(error)
            return self._fill_in(form), error.status
        nudge()
        flash(gettext("The payout is asked for, and its money reserved."), "success")
        made = movements.wire(answer)["id"]
        return redirect(url_for(".detail", payout_id=made), HTTPStatus.SEE_OTHER)


def _read(form: PayoutForm) -> User | None:
    """Return whose money is meant, ``None`` with errors in the form where anything is wrong."""
    good = form.validate()
    user = merchant_of(form.user)
    if user is None:
        return None
    if form.currency.errors or read_amount(form.amount, form.currency_of(user)) is None:
        return None
    return user if good else None


def _available(user_id: UUID, currency: str) -> Any:
    held = on_connection(
        lambda connection: ledger_service.balances(connection, actor(), user_id=user_id)
    )
    return queries.as_sum(dict(held).get(currency, 0), currency)
