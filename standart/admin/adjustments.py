"""Корректировки: what admins correct by hand, with a reason; a large one takes two of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from flask import flash, redirect, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from standart.admin import formats, messages, movement_filters, movements, queries
from standart.admin.base import (
    Page,
    PanelView,
    actor,
    attempt,
    origin,
    page,
    query_text,
)
from standart.admin.forms import ActForm
from standart.admin.language import gettext
from standart.admin.movement_forms import (
    AdjustmentForm,
    NewAdjustmentForm,
    amount_text,
    merchant_of,
    read_amount,
    whole_amount,
)
from standart.admin.movements import Fact, Wire
from standart.clock import new_id
from standart.errors import AdjustmentState, DomainError
from standart.extensions import in_transaction, nudge, on_connection, settings
from standart.models import ApprovalOf, User
from standart.services import (
    adjustment_list,
    adjustment_service,
    approval_service,
    audit_service,
)
from standart.services.adjustment_service import Direction, NewAdjustment
from standart.states import AdjustmentStatus

FILTERS: Final = ("user", "status", "currency", "created_from", "created_to")

_OFFERED_NAMES: Final = 100


def _fetch(adjustment_id: UUID) -> Wire:
    answer = on_connection(
        lambda connection: adjustment_service.check(connection, actor(), origin(), adjustment_id)
    )
    return movements.named(movements.wire(answer))


class Adjustments(PanelView):
    """The pages of adjustments, beside those of refunds."""

    @page("/adjustments/")
    def adjustments(self) -> Page:
        """List, newest first."""
        return self.render(
            "adjustments.html",
            **in_transaction(
                lambda session: movement_filters.page_of(
                    session,
                    FILTERS,
                    adjustment_list.list_adjustments,
                    messages.ADJUSTMENT_STATUSES,
                )
            ),
        )

    @page("/adjustments/<uuid:adjustment_id>")
    def adjustment(self, adjustment_id: UUID) -> Page:
        """Show one adjustment and who agreed to it."""
        found = _fetch(adjustment_id)
        shown = in_transaction(lambda session: _details(session, found))
        return self.render("adjustment.html", found=found, **shown)

    @page("/adjustments/new", methods=["GET", "POST"])
    def new_adjustment(self) -> Page:
        """Take what shall be corrected, and ask whether it is meant so; nothing is kept yet."""
        form = AdjustmentForm()
        if not form.is_submitted():
            form.user.data = query_text("user")
            return self._fill_in(form)
        user = _read(form)
        if user is None:
            return self._fill_in(form), HTTPStatus.UNPROCESSABLE_ENTITY
        return self.render("move_ask.html", **_question(form, user))

    def _fill_in(self, form: AdjustmentForm) -> str:
        names = in_transaction(lambda session: queries.first_names(session, _OFFERED_NAMES))
        return self.render("adjustment_form.html", form=form, names=names)

    @page("/adjustments/create", methods=["POST"])
    def create_adjustment(self) -> Page:
        """Correct a balance; the same form sent twice corrects once."""
        form = NewAdjustmentForm()
        user = _read(form)
        if user is None:
            return self._fill_in(form), HTTPStatus.UNPROCESSABLE_ENTITY
        new = NewAdjustment(
            user_id=user.id,
            amount=amount_text(form.amount.data),
            direction=Direction(form.direction.data),
            reason=form.reason.data or "",
            currency=form.currency_of(user),
        )
        asked = [str(user.id), new.amount, new.direction.value, new.reason, new.currency]
        claim, alone, by = movements.claim(form.once.data or "", asked), _alone(), actor()
        try:
            answer = on_connection(
                lambda connection: adjustment_service.create(
                    connection, by, origin(), new, claim=claim, alone=alone
                )
            )
        except DomainError as error:
            form.take(error)
            return self._fill_in(form), error.status
        flash(_said(answer.status), "success")
        made = movements.wire(answer)["id"]
        return redirect(url_for(".adjustment", adjustment_id=made), HTTPStatus.SEE_OTHER)

    @page("/adjustments/<uuid:adjustment_id>/ask/<any(approve, cancel):act>")
    def ask_adjustment(self, adjustment_id: UUID, act: str) -> Page:
        """Ask before one that waits is posted or dropped."""
        found = _fetch(adjustment_id)
        back = url_for(".adjustment", adjustment_id=adjustment_id)
        if found["status"] != AdjustmentStatus.PENDING.value:
            error = AdjustmentState(adjustment_status=found["status"])
            flash(messages.describe(error), "error")
            return redirect(back, HTTPStatus.SEE_OTHER)
        who = {"sum": _signed(found), "merchant": found["user_name"]}
        approve = act == "approve"
        return self.render(
            "move_ask.html",
            form=ActForm(),
            heading=gettext("Post the adjustment of %(sum)s for %(merchant)s?", **who)
            if approve
            else gettext("Drop the adjustment of %(sum)s for %(merchant)s?", **who),
            text=gettext("The balance changes at once. This cannot be undone.")
            if approve
            else gettext("No money moves. This cannot be undone."),
            notice="",
            button=gettext("Post it") if approve else gettext("Drop it"),
            danger=not approve,
            facts=_facts(found),
            url=url_for(f".{act}_adjustment", adjustment_id=adjustment_id),
            back=back,
        )

    @page("/adjustments/<uuid:adjustment_id>/approve", methods=["POST"])
    def approve_adjustment(self, adjustment_id: UUID) -> AnyResponse:
        """Post one that waits for a second admin."""
        alone, act_id = _alone(), new_id()

        def work() -> str:
            answer = on_connection(
                lambda connection: adjustment_service.approve(
                    connection, actor(), origin(), adjustment_id, alone=alone, act_id=act_id
                )
            )
            return _said(answer.status)

        return attempt(work, url_for(".adjustment", adjustment_id=adjustment_id))

    @page("/adjustments/<uuid:adjustment_id>/cancel", methods=["POST"])
    def cancel_adjustment(self, adjustment_id: UUID) -> AnyResponse:
        """Drop one that waits for a second admin."""

        def work() -> str:
            on_connection(
                lambda connection: adjustment_service.cancel(
                    connection, actor(), origin(), adjustment_id
                )
            )
            return gettext("The adjustment is dropped.")

        return attempt(work, url_for(".adjustment", adjustment_id=adjustment_id))


def _alone() -> approval_service.Thresholds:
    return settings().four_eyes_above


def _said(status: int) -> str:
    if status == HTTPStatus.ACCEPTED:
        return gettext("The adjustment is kept. A second admin must approve it.")
    nudge()
    return gettext("The adjustment is posted.")


def _read(form: AdjustmentForm) -> User | None:
    """Return whose money is meant, ``None`` with errors in the form where anything is wrong."""
    good = form.validate()
    user = merchant_of(form.user)
    if user is None or form.currency.errors:
        return None
    good = read_amount(form.amount, form.currency_of(user)) is not None and good
    return user if good else None


def _question(form: AdjustmentForm, user: User) -> Wire:
    currency = form.currency_of(user)
    amount = whole_amount(form.amount.data, currency)
    read = read_amount(form.amount, currency)
    assert read is not None
    shown = {
        "direction": form.direction.data,
        "amount": amount,
        "currency": currency,
        "user_id": str(user.id),
        "user_name": user.name,
        "reason": form.reason.data,
    }
    waits = approval_service.needs_two(read, _alone())
    return {
        "heading": gettext(
            "Adjust the balance of %(merchant)s by %(sum)s?",
            merchant=user.name,
            sum=_signed(shown),
        ),
        "text": gettext("The merchant sees the reason, and its webhook is called."),
        "notice": gettext("This sum takes two admins: it waits until a second one has approved.")
        if waits
        else "",
        "button": gettext("Adjust the balance"),
        "danger": form.direction.data == Direction.DEBIT.value,
        "form": None,
        "facts": _facts(shown),
        "carried": {
            "user": user.name,
            "direction": form.direction.data,
            "amount": form.amount.data,
            "currency": currency,
            "reason": form.reason.data,
            "once": movements.once(),
        },
        "url": url_for(".create_adjustment"),
        "back": url_for(".new_adjustment", user=user.name),
    }


def _signed(found: Wire) -> str:
    sign = "+" if found["direction"] == Direction.CREDIT.value else "-"
    return f"{sign}{formats.amount(found['amount'])} {found['currency']}"


def _facts(found: Wire) -> list[Fact]:
    return [
        Fact(label=gettext("Amount"), text=_signed(found)),
        Fact(label=gettext("User"), text=found["user_name"], user_id=found["user_id"]),
        Fact(label=gettext("Reason"), text=found["reason"]),
    ]


def _details(session: Session, found: Wire) -> dict[str, Any]:
    shown: dict[str, Any] = {"approvals": [], "audit": [], "by": {}}
    # Who the operators are is not for merchants.
    if actor().sees_all:
        adjustment_id, user_id = UUID(found["id"]), UUID(found["user_id"])
        shown["approvals"] = queries.approvals_of(
            session,
            user_id,
            ApprovalOf.ADJUSTMENT,
            adjustment_id,
            waits=found["status"] == AdjustmentStatus.PENDING.value,
        )
        shown["audit"] = audit_service.history(session, "adjustment", adjustment_id)
        shown["by"] = movements.done_by(shown["audit"])
    session.expunge_all()  # read once; a commit would have each row read again
    return shown
