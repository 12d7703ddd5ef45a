"""The one search box: what is found alone is opened at once, several are listed by kind."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from flask import redirect, url_for
from sqlalchemy.orm import Session

from standart.admin import transaction_filters, transactions
from standart.admin.base import Page, PanelView, actor, page, query_text
from standart.extensions import in_transaction
from standart.services import search_service
from standart.services.search_service import Hit

_LONGEST: Final = 128


class Search(PanelView):
    """The box is on every page, so there is no tab for it."""

    def is_visible(self) -> bool:
        """Leave it out of the menu."""
        return False

    @page("/")
    def index(self) -> Page:
        """Find anything by its id, a transaction by its reference, a user by its name."""
        wanted = query_text("q", _LONGEST)
        found, rows = in_transaction(lambda session: _find(session, wanted))
        if len(found) == 1:
            return redirect(address_of(found[0]), 303)
        groups = {
            kind: [(hit, address_of(hit)) for hit in hits]
            for kind, hits in groupby(found, lambda hit: hit.kind)
        }
        return self.render(
            "search.html",
            searched=wanted,
            groups=groups,
            rows=rows,
            most=search_service.MOST,
            is_amount=_is_amount(wanted),
        )


def _find(session: Session, wanted: str) -> tuple[list[Hit], list[dict[str, Any]]]:
    """Return what is found, and the transactions among it as lists show them."""
    viewer = actor()
    found = search_service.find(session.connection(), viewer, wanted)
    ids = [hit.id for hit in found if hit.kind == "transaction"]
    listed = transactions.named(session, viewer, ids) if ids and len(found) > 1 else []
    return found, listed


def _is_amount(wanted: str) -> bool:
    """Whether a sum may be meant, which is looked for by the list of transactions."""
    try:
        return transaction_filters.amount(wanted) > 0
    except (ValueError, ArithmeticError):
        return False


def address_of(hit: Hit) -> str:
    """Return where a hit is shown: on its own page; a note is on that of its transaction."""
    match hit.kind:
        case "transaction":
            return url_for("transactions.detail", transaction_id=hit.id)
        case "note":
            return url_for("transactions.detail", transaction_id=hit.about)
        case "payout":
            return url_for("payouts.detail", payout_id=hit.id)
        case "refund":
            return url_for("refunds.detail", refund_id=hit.id)
        case "adjustment":
            return url_for("refunds.adjustment", adjustment_id=hit.id)
        case "event":
            return url_for("webhooks.detail", event_id=hit.id)
        case "endpoint":
            return url_for("webhooks.one_endpoint", endpoint_id=hit.id)
    return url_for("users.detail", user_id=hit.user_id)
