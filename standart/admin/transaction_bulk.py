"""Confirm or cancel many: choose, see what it comes to, do it, see what became of each."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Final
from uuid import UUID

from flask import flash, redirect, request, url_for
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from standart.admin import listing, proof, transaction_filters
from standart.admin.base import Page, PanelView, actor, origin, page
from standart.admin.forms import CancelForm
from standart.admin.language import gettext
from standart.admin.queries import Sum, as_sum
from standart.clock import monotonic, new_id
from standart.db import is_transient
from standart.errors import InvalidInput, Unavailable
from standart.extensions import in_transaction, nudge, on_connection, settings
from standart.services import bulk_service, transaction_list
from standart.services.bulk_service import Outcome, Preview, Result
from standart.states import Action, TransactionStatus

BUDGET_SECONDS: Final = 20.0
"""What is not reached by then is told as such, and can be sent again."""


_SHOWN: Final = 100


class TransactionBulk(PanelView):
    """Part of the tab of transactions; the form works without script and asks first."""

    @page("/bulk/<any(confirm, cancel):act>/ask", methods=["POST"])
    def bulk_ask(self, act: str) -> Page:
        """Show what would be done to the chosen ones, and what cannot be done and why."""
        if request.form.get("all"):
            ids = in_transaction(_all_that_match)
            nothing = gettext("Nothing that is pending matches, so there is nothing to do.")
        else:
            ids = _ids(request.form.getlist("id"))
            nothing = gettext("Nothing is chosen. Tick some rows, or all that match.")
        if not ids:
            flash(nothing, "error")
            return redirect(url_for(".index", **transaction_filters.way_back()), 303)
        more = len(ids) > bulk_service.MOST
        shown = _preview(act, ids[: bulk_service.MOST])
        if shown.takes_two and (asked := proof.demand()):
            return asked
        return self._bulk_page(act, shown, new_id(), CancelForm(), more=more)

    def _bulk_page(
        self, act: str, shown: Preview, act_id: UUID, form: CancelForm, *, more: bool = False
    ) -> str:
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
            more=more,
            most=bulk_service.MOST,
            parameters=transaction_filters.way_back(),
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
            page_again = self._bulk_page(act, before, act_id, form)
            return page_again, HTTPStatus.UNPROCESSABLE_ENTITY
        if before.takes_two and (asked := proof.demand()):
            return asked
        results = _settled(act, before, act_id, form.reason.data or None)
        counts = {each: sum(r.outcome is each for r in results) for each in Outcome}
        return self.render(
            "bulk_result.html",
            act=act,
            act_id=act_id,
            reason=form.reason.data or "",
            results=results,
            counts=counts,
            rest=",".join(
                str(each.item.id) for each in results if each.outcome is Outcome.NOT_REACHED
            ),
            parameters=transaction_filters.way_back(),
        )


def _settled(act: str, before: Preview, act_id: UUID, reason: str | None) -> list[Result]:
    """Do it; where the database goes away, tell what is done and what may not be."""
    deadline = monotonic() + BUDGET_SECONDS
    results: list[Result] = []

    def work(connection: Connection) -> None:
        # A second run finds done what the first one did.
        results.clear()
        results.extend(
            bulk_service.settle(
                connection,
                actor(),
                origin(),
                before.items,
                Action(act),
                reason=reason,
                alone=settings().four_eyes_above,
                act_id=act_id,
                go_on=lambda: monotonic() < deadline,
            )
        )

    try:
        on_connection(work)
    except Exception as error:
        if not is_transient(error) or not results:
            raise
        left = before.items[len(results) :]
        results += [Result(item, Outcome.NOT_REACHED, Unavailable()) for item in left]
    nudge()
    return results


def _all_that_match(session: Session) -> list[UUID]:
    """Return what matches the list's filter and is pending, one more where there are more."""
    wanted = transaction_filters.read(session, actor()).wanted
    if wanted is None or wanted.status not in (None, TransactionStatus.PENDING):
        return []
    return transaction_list.newest_ids(
        session.connection(),
        actor(),
        replace(wanted, status=TransactionStatus.PENDING),
        limit=bulk_service.MOST + 1,
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


def _sums(shown: Preview) -> list[Sum]:
    return [as_sum(amount, currency, count) for currency, (count, amount) in shown.sums.items()]
