"""Money that came after its transaction had ended unpaid, recorded from that transaction."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from flask import flash, redirect, url_for

from standart.admin import messages, movements, proof
from standart.admin.adjustments import Adjustments
from standart.admin.base import Page, actor, origin, page
from standart.admin.formats import amount as shown_amount
from standart.admin.forms import ActForm
from standart.admin.language import gettext
from standart.admin.movements import Fact
from standart.admin.transactions import fetch
from standart.errors import DomainError, NotFound, NotLate
from standart.extensions import nudge, on_connection, settings
from standart.services import late_payment_service
from standart.services.late_payment_service import LatePayment
from standart.states import TransactionStatus

UNPAID = (TransactionStatus.CANCELED.value, TransactionStatus.EXPIRED.value)
"""What a transaction that can be paid late has ended as."""


class LatePayments(Adjustments):
    """The pages about late payments, beside those of refunds."""

    @page("/late/<uuid:transaction_id>/ask")
    def ask_late(self, transaction_id: UUID) -> Page:
        """Ask whether the payment has come after all."""
        found = movements.named(fetch(transaction_id))
        back = url_for("transactions.detail", transaction_id=transaction_id)
        if found["status"] not in UNPAID:
            error = NotLate(transaction_status=found["status"])
            flash(messages.describe(error), "error")
            return redirect(back, HTTPStatus.SEE_OTHER)
        shown = f"{shown_amount(found['amount'])} {found['currency']}"
        two = movements.takes_two(found["amount"], found["currency"])
        if two and (asked := proof.demand()):
            return asked
        return self.render(
            "move_ask.html",
            form=ActForm(),
            heading=gettext(
                "Have %(sum)s for %(merchant)s come after all?",
                sum=shown,
                merchant=found["user_name"],
            ),
            text=gettext(
                "The old transaction stays as it is. A new one is made, confirmed from the start: "
                "the merchant is credited at once. This cannot be undone."
            ),
            notice=gettext("This sum takes two people.") if two else "",
            button=gettext("Record the payment"),
            danger=False,
            facts=[
                Fact(label=gettext("Amount"), amount=found["amount"], currency=found["currency"]),
                Fact(
                    label=gettext("To the merchant"),
                    amount=found["net"],
                    currency=found["currency"],
                ),
                Fact(label=gettext("User"), text=found["user_name"], user_id=found["user_id"]),
                Fact(
                    label=gettext("Status"),
                    text=messages.label(messages.STATUSES, found["status"]),
                ),
                Fact(label=gettext("Id"), text=found["id"]),
            ],
            url=url_for(".record_late", transaction_id=transaction_id),
            back=back,
        )

    @page("/late/<uuid:transaction_id>", methods=["POST"])
    def record_late(self, transaction_id: UUID) -> Page:
        """Make the confirmed transaction; twice is once. A large sum takes two people."""
        found = fetch(transaction_id)
        two = movements.takes_two(found["amount"], found["currency"])
        if two and (asked := proof.demand()):
            return asked
        late, alone = LatePayment(transaction_id=transaction_id), settings().four_eyes_above
        try:
            answer = on_connection(
                lambda connection: late_payment_service.record_late_payment(
                    connection, actor(), origin(), late, alone=alone
                )
            )
        except NotFound:
            raise
        except DomainError as error:
            flash(messages.describe(error), "error")
            shown = str(transaction_id)
        else:
            waits = answer.status == HTTPStatus.ACCEPTED
            nudge()
            flash(
                gettext("Your approval is kept. A second person must approve as well.")
                if waits
                else gettext("The late payment is recorded."),
                "success",
            )
            shown = movements.wire(answer)["id"]
        return redirect(url_for("transactions.detail", transaction_id=shown), HTTPStatus.SEE_OTHER)
