"""Confirm or cancel many: choose, see what it comes to, do it, see what became of each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from uuid import UUID

from flask import flash, redirect, request, url_for
from sqlalchemy.orm import Session

from standart.admin import listing, proof, transaction_filters
from standart.admin.base import Page, PanelView, actor, origin, page
from standart.admin.forms import CancelForm
from standart.admin.language import gettext
from standart.admin.queries import Sum, as_sum
from standart.clock import monotonic, new_id
from standart.errors import InvalidInput
from standart.extensions import in_transaction, nudge, on_connection, settings
from standart.services import bulk_service, transaction_list
from standart.services.bulk_service import Outcome, Preview
from standart.states import Action

BUDGET_SECONDS: Final = 20.0
"""What is not reached by then is told as such, and can be sent again."""

_SHOWN: Final = 100


class TransactionBulk(PanelView):
    """Part of the tab of transactions; the form works without script and asks first."""

    @page("/bulk/<any(confirm, cancel):act>/ask", methods=["POST"])
    def bulk_ask(self, act: str) -> Page:
        """Show what would be done to the chosen ones, and what cannot be done and why."""
        ids = in_transaction(_chosen)
        if not ids:
            flash(gettext("Nothing is chosen. Tick some rows, or all that match."), "error")
            return redirect(url_for(".index", **transaction_filters.parameters()), 303)
        shown = _preview(act, ids)
        if _takes_two(shown) and (asked := proof.demand()):
            return asked
        return self._bulk_page(act, shown, new_id(), CancelForm())

    def _bulk_page(self, act: str, shown: Preview, act_id: UUID, form: CancelForm) -> str:
        # What cannot be done comes first: of a thousand nobody reads all.
        rows = sorted(shown.items, key=lambda each: each.can)
        return self.render(
            "bulk_ask.html",
            rows=rows[:_SHOWN],
            unshown=max(0, len(rows) - _SHOWN),
            act=act,
            form=form,
            act_id=act_id,
            ids=",".join(str(each.id) for each in shown.items),
            preview=shown,
            sums=_sums(shown),
            parameters=transaction_filters.parameters(),
        )

    @page("/bulk/<any(confirm, cancel):act>", methods=["POST"])
    def bulk(self, act: str) -> Page:
        """Do it; the answer tells of every row. The same form sent twice does nothing twice."""
        act_id = listing.as_id(request.form.get("act_id", ""))
        ids = _ids(request.form.get("ids", "").split(","))
        if act_id is None or not ids:
            raise InvalidInput.of("act_id", "is missing; choose the transactions again")
        form, before = CancelForm(), _preview(act, ids)
        if not form.validate():
            return self._bulk_page(act, before, act_id, form), HTTPStatus.UNPROCESSABLE_ENTITY
        if _takes_two(before) and (asked := proof.demand()):
            return asked
        deadline = monotonic() + BUDGET_SECONDS
        results = on_connection(
            lambda connection: bulk_service.settle(
                connection,
                actor(),
                origin(),
                before.items,
                Action(act),
                reason=form.reason.data or None,
                alone=settings().four_eyes_above,
                act_id=act_id,
                go_on=lambda: monotonic() < deadline,
            )
        )
        nudge()
        counts = {each: sum(r.outcome is each for r in results) for each in Outcome}
        return self.render(
            "bulk_result.html",
            act=act,
            act_id=act_id,
            results=results,
            counts=counts,
            reason=form.reason.data or "",
            parameters=transaction_filters.parameters(),
            rest=",".join(
                str(each.item.id) for each in results if each.outcome is Outcome.NOT_REACHED
            ),
        )


def _chosen(session: Session) -> list[UUID]:
    """Return the ticked ids, or all that match the list's filter, where that was ticked."""
    if not request.form.get("all"):
        return _ids(request.form.getlist("id"))
    asked = transaction_filters.read(session, actor())
    if asked.wanted is None:
        return []
    return transaction_list.newest_ids(
        session.connection(), actor(), asked.wanted, limit=bulk_service.MOST
    )


def _ids(texts: list[str]) -> list[UUID]:
    found = [listing.as_id(text.strip()) for text in texts]
    ids = list(dict.fromkeys(each for each in found if each is not None))
    if len(ids) > bulk_service.MOST:
        raise InvalidInput.of(
            "ids", gettext("at most %(count)s transactions at once", count=bulk_service.MOST)
        )
    return ids


def _preview(act: str, ids: list[UUID]) -> Preview:
    return on_connection(
        lambda connection: bulk_service.preview(
            connection, actor(), ids, Action(act), alone=settings().four_eyes_above
        )
    )


def _takes_two(shown: Preview) -> bool:
    """Whether a sum is among them that one person may not confirm alone."""
    return any(each.two and each.can for each in shown.items)


def _sums(shown: Preview) -> list[Sum]:
    return [as_sum(amount, currency, count) for currency, (count, amount) in shown.sums.items()]
