"""Транзакции: the list, one transaction with all that happened to it, confirm and cancel."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import msgspec
from flask import flash, redirect, request, url_for
from sqlalchemy.orm import Session

from standart import money
from standart.admin import listing, messages, queries
from standart.admin.base import (
    ADMINS,
    EVERYBODY,
    Page,
    PanelView,
    actor,
    attempt,
    origin,
    page,
    query_text,
)
from standart.admin.forms import ActForm, CancelForm, NoteForm
from standart.admin.language import gettext
from standart.clock import new_id
from standart.errors import NotFound
from standart.extensions import in_transaction, nudge, on_connection, settings
from standart.models import ApprovalOf
from standart.services import (
    approval_service,
    audit_service,
    event_list,
    note_service,
    transaction_list,
    transaction_service,
    user_service,
)
from standart.services.access import Actor
from standart.services.note_service import NewNote
from standart.states import TransactionStatus

Wire = dict[str, Any]

_OFFERED_NAMES: Final = 100
_SHOWN_NOTES: Final = 100
_ENDED_UNPAID: Final = (TransactionStatus.CANCELED.value, TransactionStatus.EXPIRED.value)


def newest(session: Session, viewer: Actor, limit: int) -> list[Wire]:
    """Return the newest transactions that ``viewer`` may see, with the names of their users."""
    rows = transaction_list.list_transactions(session.connection(), viewer, limit=limit)
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


class Transactions(PanelView):
    """The tab of transactions; only admins change a status here."""

    @page("/", roles=EVERYBODY)
    def index(self) -> Page:
        """List, newest first; a full id opens the transaction."""
        wanted = query_text("id")
        if wanted and (found := self._jump(wanted)):
            return redirect(found, 303)
        shown = in_transaction(lambda session: self._list(session, wanted))
        return self.render("transactions.html", **shown)

    def _jump(self, wanted: str) -> str | None:
        transaction_id = listing.as_id(wanted)
        if transaction_id is None:
            return None
        try:
            fetch(transaction_id)
        except NotFound:
            return None
        return url_for(".detail", transaction_id=transaction_id)

    def _list(self, session: Session, wanted: str) -> dict[str, Any]:
        viewer = actor()
        status = request.args.get("status", "")
        known = status if status in messages.STATUSES else ""
        reference = query_text("reference")
        name = query_text("user") if viewer.is_admin else ""
        user = user_service.find_user(session, name) if name else None
        filters = listing.chips(
            {
                "user": (gettext("User"), name),
                "status": (gettext("Status"), messages.label(messages.STATUSES, known)),
                "reference": (gettext("Reference"), reference),
                "id": (gettext("Id"), wanted),
            }
        )
        rows = []
        # An unknown name or id is in force too: it matches nothing.
        if not wanted and (user or not name):
            rows = transaction_list.list_transactions(
                session.connection(),
                viewer,
                user_id=user.id if user else None,
                status=TransactionStatus(known) if known else None,
                reference=reference or None,
                after=listing.after_row(),
                limit=listing.page_size() + 1,
            )
        return {
            "listing": listing.listing(
                _with_names(session, [row[0] for row in rows]),
                [listing.mark(row[1], row[2]) for row in rows],
                filters,
            ),
            "asked": {"user": name, "status": known, "reference": reference, "id": wanted},
            "user_names": queries.first_names(session, _OFFERED_NAMES) if viewer.is_admin else [],
        }

    @page("/<uuid:transaction_id>", roles=EVERYBODY)
    def detail(self, transaction_id: UUID) -> Page:
        """Show one transaction with all that belongs to it."""
        return self._show(transaction_id, NoteForm())

    def _show(self, transaction_id: UUID, form: NoteForm) -> str:
        return self.render("transaction.html", form=form, **_details(transaction_id))

    @page("/<uuid:transaction_id>/notes", roles=ADMINS, methods=["POST"])
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

        return attempt(work, url_for(".detail", transaction_id=transaction_id))

    @page("/<uuid:transaction_id>/ask/<any(confirm, cancel):act>", roles=ADMINS)
    def ask(self, transaction_id: UUID, act: str) -> Page:
        """Ask before the status is changed; what is not pending is shown as it is."""
        found = fetch(transaction_id)
        if found["status"] != TransactionStatus.PENDING.value:
            status = messages.label(messages.STATUSES, found["status"])
            flash(
                gettext("This transaction is not pending any more: %(status)s.", status=status),
                "error",
            )
            return redirect(url_for(".detail", transaction_id=transaction_id), 303)
        form = CancelForm() if act == "cancel" else ActForm()
        return self._ask(transaction_id, act, form)

    def _ask(self, transaction_id: UUID, act: str, form: ActForm | CancelForm) -> str:
        found = fetch(transaction_id)
        user_id = found["user_id"]
        names = in_transaction(lambda session: queries.names_of(session, [UUID(user_id)]))
        found["user_name"] = names[user_id]
        amount = money.parse_amount(found["amount"], found["currency"])
        two = act == "confirm" and approval_service.needs_two(amount, settings().four_eyes_above)
        return self.render("settle.html", act=act, form=form, found=found, two=two)

    @page("/<uuid:transaction_id>/confirm", roles=ADMINS, methods=["POST"])
    def confirm(self, transaction_id: UUID) -> Page:
        """Confirm; doing it twice is doing it once. A large sum takes two admins."""
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

        return attempt(work, url_for(".detail", transaction_id=transaction_id))

    @page("/<uuid:transaction_id>/cancel", roles=ADMINS, methods=["POST"])
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

        return attempt(work, url_for(".detail", transaction_id=transaction_id))


def _details(transaction_id: UUID) -> dict[str, Any]:
    found = fetch(transaction_id)
    viewer = actor()
    user_id = UUID(found["user_id"])

    def read(session: Session) -> dict[str, Any]:
        connection = session.connection()
        events = event_list.list_events(connection, viewer, transaction_id=transaction_id)
        notes = note_service.list_notes(connection, viewer, transaction_id, limit=_SHOWN_NOTES)
        shown = {
            "found": {**found, "user_name": queries.names_of(session, [user_id])[str(user_id)]},
            "postings": queries.postings_of(session, user_id, transaction_id),
            "paid_late": queries.paid_late(session, user_id, transaction_id),
            "events": [msgspec.json.decode(event[0]) for event in events],
            "notes": [msgspec.json.decode(note[0]) for note in notes],
            "approvals": [],
            "audit": [],
        }
        # Who the operators are is not for merchants; what they wrote to them is.
        if viewer.is_admin:
            shown["approvals"] = _approvals(session, found)
            shown["audit"] = audit_service.history(session, "transaction", transaction_id)
        session.expunge_all()  # read once; a commit would have each row read again
        return shown

    return in_transaction(read)


def _approvals(session: Session, found: Wire) -> list[tuple[str, datetime]]:
    """Return whose consents the transaction's ``approvals`` counts."""
    of_late = found["late_for"] or found["status"] in _ENDED_UNPAID
    of = ApprovalOf.LATE_PAYMENT if of_late else ApprovalOf.TRANSACTION
    about = UUID(found["late_for"] or found["id"])
    waits = found["status"] != TransactionStatus.CONFIRMED.value
    return queries.approvals_of(session, UUID(found["user_id"]), of, about, waits=waits)
