"""Выплаты: the list, one payout from its asking to its end, and what may be done to it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from flask import flash, redirect, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import (
    formats,
    matrix,
    messages,
    movement_filters,
    movements,
    proof,
    queries,
)
from standart.admin.base import (
    Page,
    PanelView,
    actor,
    attempt,
    origin,
    page,
)
from standart.admin.forms import ActForm, PanelForm
from standart.admin.language import gettext
from standart.admin.movement_forms import ReasonForm, WhyForm
from standart.admin.movements import Fact, Wire
from standart.clock import new_id
from standart.errors import Forbidden, PayoutState
from standart.extensions import in_transaction, keyring, nudge, on_connection, settings
from standart.models import ApprovalOf
from standart.services import (
    audit_service,
    payout_destination,
    payout_list,
    payout_service,
)
from standart.states import PayoutAction, PayoutStatus, payout_target

FILTERS: Final = ("user", "status", "currency", "created_from", "created_to", "reference")


def fetch(payout_id: UUID) -> Wire:
    """Return one payout that the viewer may see, with its merchant's name.

    Raises:
        NotFound: unknown, or somebody else's.
    """
    answer = on_connection(
        lambda connection: payout_service.check(connection, actor(), origin(), payout_id)
    )
    return movements.named(movements.wire(answer))


class PayoutPages(PanelView):
    """What there is about payouts that exist."""

    @page("/")
    def index(self) -> Page:
        """List, newest first."""
        return self.render(
            "payouts.html",
            **in_transaction(
                lambda session: movement_filters.page_of(
                    session, FILTERS, payout_list.list_payouts, messages.PAYOUT_STATUSES
                )
            ),
        )

    @page("/<uuid:payout_id>")
    def detail(self, payout_id: UUID) -> Page:
        """Show one payout and how it went."""
        return self._show(payout_id)

    def _show(self, payout_id: UUID, plain: dict[str, str] | None = None) -> str:
        found = fetch(payout_id)
        shown = in_transaction(lambda session: _details(session, found))
        return self.render("payout.html", found=found, plain=plain, **shown)

    @page("/<uuid:payout_id>/destination", methods=["POST"])
    def destination(self, payout_id: UUID) -> Page:
        """Show where a payout goes in plain; the look is written to the audit log."""
        ring = keyring()
        answer = on_connection(
            lambda connection: payout_destination.read(
                connection, actor(), origin(), ring, payout_id
            )
        )
        return self._show(payout_id, movements.wire(answer)["destination"] or {})

    @page("/<uuid:payout_id>/ask/<any(approve, reject, pay, fail, cancel):act>")
    def ask(self, payout_id: UUID, act: str) -> Page:
        """Ask before anything is done; what stands elsewhere by now is shown as it is."""
        found = fetch(payout_id)
        status, action = PayoutStatus(found["status"]), PayoutAction(act)
        if not matrix.may(actor().role, f"payouts.{_ROUTES[action]}"):
            raise Forbidden
        try:
            moves = payout_target(status, action) is not status
        except PayoutState:
            moves = False
        if not moves:
            flash(messages.describe(PayoutState(payout_status=status.value)), "error")
            return redirect(url_for(".detail", payout_id=payout_id), HTTPStatus.SEE_OTHER)
        if action is PayoutAction.APPROVE and _is_large(found) and (asked := proof.demand()):
            return asked
        return self._ask(found, action, _form(action))

    def _ask(self, found: Wire, action: PayoutAction, form: PanelForm) -> str:
        return self.render(
            "move_ask.html",
            form=form,
            facts=_facts(found),
            url=url_for(f".{_ROUTES[action]}", payout_id=found["id"]),
            back=url_for(".detail", payout_id=found["id"]),
            **_words(found, action),
        )

    @page("/<uuid:payout_id>/approve", methods=["POST"])
    def approve(self, payout_id: UUID) -> Page:
        """Let it be paid; a large sum takes two people."""
        if _is_large(fetch(payout_id)) and (asked := proof.demand()):
            return asked
        alone, act_id = settings().four_eyes_above, new_id()

        def work() -> str:
            answer = on_connection(
                lambda connection: payout_service.approve(
                    connection, actor(), origin(), payout_id, alone=alone, act_id=act_id
                )
            )
            if answer.status == HTTPStatus.ACCEPTED:
                return gettext("Your approval is kept. A second person must approve as well.")
            nudge()
            return gettext("The payout is approved.")

        return attempt(work, url_for(".detail", payout_id=payout_id))

    @page("/<uuid:payout_id>/reject", methods=["POST"])
    def reject(self, payout_id: UUID) -> Page:
        """Refuse it and give its money back."""
        form = WhyForm()
        if not form.validate():
            return self._ask(fetch(payout_id), PayoutAction.REJECT, form), 422

        def work() -> str:
            on_connection(
                lambda connection: payout_service.reject(
                    connection, actor(), origin(), payout_id, reason=form.reason.data or ""
                )
            )
            nudge()
            return gettext("The payout is rejected, and its money is available again.")

        return attempt(work, url_for(".detail", payout_id=payout_id))

    @page("/<uuid:payout_id>/paid", methods=["POST"])
    def paid(self, payout_id: UUID) -> Page:
        """Say that it was paid."""
        said = gettext("The payout is paid.")
        return self._complete(payout_id, PayoutAction.PAY, ReasonForm(), said)

    @page("/<uuid:payout_id>/failed", methods=["POST"])
    def failed(self, payout_id: UUID) -> Page:
        """Say that it was not paid; its money is given back."""
        said = gettext("The payout has failed, and its money is available again.")
        return self._complete(payout_id, PayoutAction.FAIL, ReasonForm(), said)

    def _complete(self, payout_id: UUID, action: PayoutAction, form: ReasonForm, said: str) -> Page:
        if not form.validate():
            return self._ask(fetch(payout_id), action, form), 422

        def work() -> str:
            on_connection(
                lambda connection: payout_service.complete(
                    connection,
                    actor(),
                    origin(),
                    payout_id,
                    paid=action is PayoutAction.PAY,
                    reason=form.reason.data or None,
                )
            )
            nudge()
            return said

        return attempt(work, url_for(".detail", payout_id=payout_id))

    @page("/<uuid:payout_id>/cancel", methods=["POST"])
    def cancel(self, payout_id: UUID) -> AnyResponse:
        """Take it back while nobody has decided."""

        def work() -> str:
            on_connection(
                lambda connection: payout_service.cancel(connection, actor(), origin(), payout_id)
            )
            nudge()
            return gettext("The payout is canceled, and its money is available again.")

        return attempt(work, url_for(".detail", payout_id=payout_id))


_ROUTES: Final = {
    PayoutAction.APPROVE: "approve",
    PayoutAction.REJECT: "reject",
    PayoutAction.PAY: "paid",
    PayoutAction.FAIL: "failed",
    PayoutAction.CANCEL: "cancel",
}


def _form(action: PayoutAction) -> PanelForm:
    match action:
        case PayoutAction.REJECT:
            return WhyForm()
        case PayoutAction.PAY | PayoutAction.FAIL:
            return ReasonForm()
    return ActForm()


def _is_large(found: Wire) -> bool:
    return movements.takes_two(found["amount"], found["currency"])


def _details(session: Session, found: Wire) -> dict[str, Any]:
    viewer = actor()
    shown: dict[str, Any] = {
        "approvals": [],
        "audit": [],
        "by": {},
        "two": _is_large(found),
    }
    # Who the operators are is not for merchants.
    if viewer.sees_all:
        payout_id, user_id = UUID(found["id"]), UUID(found["user_id"])
        waits = found["status"] == PayoutStatus.PENDING.value
        shown["approvals"] = queries.approvals_of(
            session, user_id, ApprovalOf.PAYOUT, payout_id, waits=waits
        )
        shown["audit"] = audit_service.history(session, "payout", payout_id)
        shown["by"] = movements.done_by(shown["audit"])
    session.expunge_all()  # read once; a commit would have each row read again
    return shown


def _facts(found: Wire) -> list[Fact]:
    shown = found["destination"] or {}
    return [
        Fact(label=gettext("Amount"), amount=found["amount"], currency=found["currency"]),
        Fact(label=gettext("User"), text=found["user_name"], user_id=found["user_id"]),
        *(Fact(label=name, text=value) for name, value in shown.items()),
        Fact(label=gettext("Payout reference"), text=found["reference"] or "—"),
        Fact(label=gettext("Id"), text=found["id"]),
    ]


def _words(found: Wire, action: PayoutAction) -> Wire:
    """Return what the question about an act says: heading, consequence, warning, button."""
    who = {
        "sum": f"{formats.amount(found['amount'])} {found['currency']}",
        "merchant": found["user_name"],
    }
    notice = ""
    match action:
        case PayoutAction.APPROVE:
            heading = gettext("Approve the payout of %(sum)s to %(merchant)s?", **who)
            text = gettext("It may be paid then, and the merchant cannot take it back any more.")
            button = gettext("Approve the payout")
            if _is_large(found):
                notice = (
                    gettext("One person has approved already; with your approval it may be paid.")
                    if found["approvals"]
                    else gettext(
                        "This sum takes two people: it stays pending until a second one has "
                        "approved as well."
                    )
                )
        case PayoutAction.REJECT:
            heading = gettext("Reject the payout of %(sum)s to %(merchant)s?", **who)
            text = gettext("Its money is available to the merchant again. This cannot be undone.")
            button = gettext("Reject the payout")
        case PayoutAction.PAY:
            heading = gettext("Was %(sum)s paid to %(merchant)s?", **who)
            text = gettext("Say so only once the money has left. This cannot be undone.")
            button = gettext("Yes, it was paid")
        case PayoutAction.FAIL:
            heading = gettext("Has the payout of %(sum)s to %(merchant)s failed?", **who)
            text = gettext("Its money is available to the merchant again. This cannot be undone.")
            button = gettext("Yes, it has failed")
        case PayoutAction.CANCEL:
            heading = gettext("Cancel the payout of %(sum)s to %(merchant)s?", **who)
            text = gettext("Its money is available to the merchant again. This cannot be undone.")
            button = gettext("Cancel the payout")
    good = action in (PayoutAction.APPROVE, PayoutAction.PAY)
    return {
        "heading": heading,
        "text": text,
        "notice": notice,
        "button": button,
        "danger": not good,
    }
