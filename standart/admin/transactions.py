"""Транзакции: the list, one transaction with all that happened to it, confirm and cancel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import msgspec
from flask import Response, flash, redirect, request, url_for
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from standart import money
from standart.admin import listing, messages, proof, queries, timeline, transaction_filters
from standart.admin.base import (
    Page,
    actor,
    attempt,
    origin,
    page,
    query_text,
)
from standart.admin.forms import ActForm, CancelForm, NoteForm
from standart.admin.language import gettext
from standart.admin.slow import hurry, is_too_slow
from standart.admin.transaction_bulk import TransactionBulk
from standart.admin.transaction_export import TransactionExport
from standart.admin.transaction_filters import Asked
from standart.clock import new_id
from standart.errors import NotFound
from standart.extensions import in_transaction, nudge, on_connection, settings
from standart.models import ApprovalOf
from standart.services import (
    approval_service,
    audit_service,
    bulk_service,
    event_search,
    note_service,
    transaction_list,
    transaction_service,
)
from standart.services.access import Actor
from standart.services.event_search import Wanted
from standart.services.note_service import NewNote
from standart.services.transaction_list import Conditions
from standart.states import TransactionStatus

Wire = dict[str, Any]

_OFFERED_NAMES: Final = 100
_SHOWN_NOTES: Final = 100
_COUNTED: Final = 1000
_LIST_MILLISECONDS: Final = 3000
_COUNT_MILLISECONDS: Final = 500
_ENDED_UNPAID: Final = (TransactionStatus.CANCELED.value, TransactionStatus.EXPIRED.value)


def newest(session: Session, viewer: Actor, limit: int, currency: str | None = None) -> list[Wire]:
    """Return the newest transactions that ``viewer`` may see, with the names of their users."""
    rows = transaction_list.list_transactions(
        session.connection(), viewer, limit=limit, currency=currency
    )
    return _with_names(session, [row[0] for row in rows])


def named(session: Session, viewer: Actor, ids: Sequence[UUID]) -> list[Wire]:
    """Return the transactions of these ids that ``viewer`` may see, as ``newest`` does."""
    rows = transaction_list.of_ids(session.connection(), viewer, ids)
    return _with_names(session, [row[0] for row in rows])


def _with_names(session: Session, bodies: list[str]) -> list[Wire]:
    found: list[Wire] = [msgspec.json.decode(body) for body in bodies]
    names = queries.names_of(session, (UUID(row["user_id"]) for row in found))
    return [{**row, "user_name": names[row["user_id"]]} for row in found]


def fetch(transaction_id: UUID) -> Wire:
    """Return one transaction that the viewer may see, in its settled state.

    Raises:
        NotFound: unknown, or somebody else's.
    """
    answer = on_connection(
        lambda connection: transaction_service.check(connection, actor(), origin(), transaction_id)
    )
    found: Wire = msgspec.json.decode(answer.body)
    return found


class Transactions(TransactionExport, TransactionBulk):
    """The tab of transactions; only admins change a status here."""

    @page("/")
    def index(self) -> Page:
        """List, newest first; a full id opens the transaction."""
        wanted = query_text("id")
        if wanted and (found := self._jump(wanted)):
            return redirect(found, 303)
        try:
            shown = in_transaction(_list)
        except DBAPIError as error:
            if not is_too_slow(error):
                raise
            shown = in_transaction(_unread)
        counted = _counted(shown["asked"], shown.pop("conditions"))
        return self.render("transactions.html", **shown, **counted)

    def _jump(self, wanted: str) -> str | None:
        transaction_id = listing.as_id(wanted)
        if transaction_id is None:
            return None
        try:
            fetch(transaction_id)
        except NotFound:
            return None
        return url_for(".detail", transaction_id=transaction_id)

    @page("/<uuid:transaction_id>")
    def detail(self, transaction_id: UUID) -> Page:
        """Show one transaction with all that belongs to it."""
        return self._show(transaction_id, NoteForm())

    def _show(self, transaction_id: UUID, form: NoteForm) -> str:
        return self.render(
            "transaction.html",
            form=form,
            place=transaction_filters.place_left(),
            **_details(transaction_id),
        )

    @page("/<uuid:transaction_id>/json")
    def as_json(self, transaction_id: UUID) -> Page:
        """Return the transaction on the wire, with all that happened to it, as JSON."""
        shown = _details(transaction_id)
        body = {"transaction": shown["found"], "timeline": shown["timeline"]}
        return Response(
            msgspec.json.format(msgspec.json.encode(body), indent=2), mimetype="application/json"
        )

    @page("/<uuid:transaction_id>/notes", methods=["POST"])
    def write_note(self, transaction_id: UUID) -> Page:
        """Add a note, for the merchant as well or for admins only."""
        form = NoteForm()
        if not form.validate():
            fetch(transaction_id)
            return self._show(transaction_id, form), 422
        new = NewNote(
            transaction_id=transaction_id,
            text=form.text.data or "",
            internal=bool(form.internal.data),
        )

        def work() -> str:
            on_connection(
                lambda connection: note_service.create_note(connection, actor(), origin(), new)
            )
            return gettext("The note is kept.")

        return attempt(work, _detail_url(transaction_id))

    @page("/<uuid:transaction_id>/ask/<any(confirm, cancel):act>")
    def ask(self, transaction_id: UUID, act: str) -> Page:
        """Ask before the status is changed; what is not pending is shown as it is."""
        found = fetch(transaction_id)
        if found["status"] != TransactionStatus.PENDING.value:
            status = messages.label(messages.STATUSES, found["status"])
            flash(
                gettext("This transaction is not pending any more: %(status)s.", status=status),
                "error",
            )
            return redirect(_detail_url(transaction_id), 303)
        if act == "confirm" and _takes_two(found) and (asked := proof.demand()):
            return asked
        form = CancelForm() if act == "cancel" else ActForm()
        return self._ask(transaction_id, act, form)

    def _ask(self, transaction_id: UUID, act: str, form: ActForm | CancelForm) -> str:
        found = fetch(transaction_id)
        user_id = found["user_id"]
        names = in_transaction(lambda session: queries.names_of(session, [UUID(user_id)]))
        found["user_name"] = names[user_id]
        two = act == "confirm" and _takes_two(found)
        return self.render(
            "settle.html",
            act=act,
            form=form,
            found=found,
            two=two,
            place=transaction_filters.place_left(),
        )

    @page("/<uuid:transaction_id>/confirm", methods=["POST"])
    def confirm(self, transaction_id: UUID) -> Page:
        """Confirm; doing it twice is doing it once. A large sum takes two admins."""
        if _takes_two(fetch(transaction_id)) and (asked := proof.demand()):
            return asked
        alone, act_id = settings().four_eyes_above, new_id()

        def work() -> str:
            answer = on_connection(
                lambda connection: transaction_service.confirm(
                    connection, actor(), origin(), transaction_id, alone=alone, act_id=act_id
                )
            )
            if answer.status == HTTPStatus.ACCEPTED:
                return gettext("Your approval is kept. A second admin must confirm as well.")
            nudge()
            return gettext("The transaction is confirmed.")

        return attempt(work, _detail_url(transaction_id))

    @page("/<uuid:transaction_id>/cancel", methods=["POST"])
    def cancel(self, transaction_id: UUID) -> Page:
        """Cancel, with a reason if one is given; doing it twice is doing it once."""
        form = CancelForm()
        if not form.validate():
            return self._ask(transaction_id, "cancel", form), 422

        def work() -> str:
            on_connection(
                lambda connection: transaction_service.cancel(
                    connection, actor(), origin(), transaction_id, reason=form.reason.data or None
                )
            )
            nudge()
            return gettext("The transaction is canceled.")

        return attempt(work, _detail_url(transaction_id))


def _detail_url(transaction_id: UUID) -> str:
    """Return where a transaction is shown, with the way back to the list as it was."""
    place = transaction_filters.place_left() or None
    return url_for("transactions.detail", transaction_id=transaction_id, list=place)


def _takes_two(found: Wire) -> bool:
    amount = money.parse_amount(found["amount"], found["currency"])
    return approval_service.needs_two(amount, settings().four_eyes_above)


def _list(session: Session) -> dict[str, Any]:
    """Read the page that the URL asks for."""
    viewer = actor()
    asked = transaction_filters.read(session, viewer)
    rows = []
    conditions = None
    if asked.wanted is not None:
        hurry(session, _LIST_MILLISECONDS)
        connection = session.connection()
        conditions = transaction_list.conditions(connection, viewer, asked.wanted)
        rows = transaction_list.page(
            connection,
            viewer,
            asked.wanted,
            found=conditions,
            after=transaction_filters.after(),
            before=listing.row_at("before"),
            limit=listing.page_size() + 1,
        )
    found = _with_names(session, [row[0] for row in rows])
    marks = [listing.mark(row[1], row[2]) for row in rows]
    return {
        **_frame(asked),
        "listing": listing.two_way(found, marks, asked.chips),
        "conditions": conditions,
        "too_slow": False,
        "user_names": queries.first_names(session, _OFFERED_NAMES) if viewer.sees_all else [],
    }


def _frame(asked: Asked) -> dict[str, Any]:
    """Return what stands around the rows, whatever they are."""
    parameters = transaction_filters.parameters()
    size = request.args.get("limit") or None
    return {
        "asked": asked,
        "states": listing.tabs(
            asked.texts["status"],
            {"": gettext("All"), **messages.STATUSES},
            lambda status: url_for(".index", **{**parameters, "status": status, "limit": size}),
        ),
        "parameters": parameters,
        "place": transaction_filters.place(),
        "carried": transaction_filters.way_back(),
        "sizes": listing.PAGE_SIZES,
        "size": listing.page_size(),
        "most": bulk_service.MOST,
    }


def _unread(session: Session) -> dict[str, Any]:
    """Return the page with its filters, of which it took too long to read the rows."""
    asked = transaction_filters.read(session, actor())
    return {
        **_frame(asked),
        "listing": listing.two_way([], [], asked.chips),
        "conditions": None,
        "too_slow": True,
        "user_names": [],
    }


def _counted(asked: Asked, conditions: Conditions | None) -> dict[str, Any]:
    """Return how many match: exactly up to a thousand, unknown where it takes too long."""
    wanted = asked.wanted
    if wanted is None:
        return {"count": 0, "more": False}

    def count(session: Session) -> int:
        hurry(session, _COUNT_MILLISECONDS)
        return transaction_list.count(
            session.connection(), actor(), wanted, most=_COUNTED + 1, found=conditions
        )

    try:
        found = in_transaction(count)
    except DBAPIError as error:
        if not is_too_slow(error):
            raise
        return {"count": None, "more": False}
    return {"count": min(found, _COUNTED), "more": found > _COUNTED}


def _details(transaction_id: UUID) -> dict[str, Any]:
    found = fetch(transaction_id)
    viewer = actor()
    user_id = UUID(found["user_id"])

    def read(session: Session) -> dict[str, Any]:
        connection = session.connection()
        told = Wanted(user_id=user_id, transaction_id=transaction_id)
        events = event_search.page(connection, viewer, told).rows
        notes = note_service.list_notes(connection, viewer, transaction_id, limit=_SHOWN_NOTES)
        shown = {
            "found": {**found, "user_name": queries.names_of(session, [user_id])[str(user_id)]},
            "postings": queries.postings_of(session, user_id, transaction_id),
            "paid_late": queries.paid_late(session, user_id, transaction_id),
            "events": [_with_body(msgspec.json.decode(event[0])) for event in events],
            "notes": [msgspec.json.decode(note[0]) for note in notes],
            "approvals": [],
            "audit": [],
        }
        # Who the operators are is not for merchants; what they wrote to them is.
        if viewer.sees_all:
            shown["approvals"] = _approvals(session, found)
            shown["audit"] = audit_service.history(session, "transaction", transaction_id)
        session.expunge_all()  # read once; a commit would have each row read again
        moments = timeline.of(shown)
        return {**shown, "timeline": moments, "course": timeline.as_course(moments, found)}

    return in_transaction(read)


def _with_body(event: Wire) -> Wire:
    """Return an event with what is sent of it, set in lines to be read."""
    return {**event, "body": json.dumps(event["payload"], ensure_ascii=False, indent=2)}


def _approvals(session: Session, found: Wire) -> list[tuple[str, datetime]]:
    """Return whose consents the transaction's ``approvals`` counts."""
    of_late = found["late_for"] or found["status"] in _ENDED_UNPAID
    of = ApprovalOf.LATE_PAYMENT if of_late else ApprovalOf.TRANSACTION
    about = UUID(found["late_for"] or found["id"])
    waits = found["status"] != TransactionStatus.CONFIRMED.value
    return queries.approvals_of(session, UUID(found["user_id"]), of, about, waits=waits)
