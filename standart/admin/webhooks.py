"""Вебхуки: events with their deliveries and attempts, what is in trouble on top; sent anew."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import UUID

import msgspec
from flask import request, url_for
from sqlalchemy.orm import Session

from standart.admin import health, listing, messages, queries, webhook_queries
from standart.admin.base import (
    Page,
    actor,
    attempt,
    keeper,
    origin,
    page,
    query_text,
)
from standart.admin.endpoint_checks import EndpointChecks
from standart.admin.endpoint_forms import ReplayForm
from standart.admin.endpoints import Wire, of_user
from standart.admin.language import gettext
from standart.extensions import in_transaction, nudge, on_connection
from standart.models import DeliveryState
from standart.services import attempt_list, event_list, replay_service, user_service

_SHOWN_TROUBLES: Final = 10
_SHOWN_ATTEMPTS: Final = 50


class Webhooks(EndpointChecks):
    """The tab of events, deliveries and endpoints."""

    @page("/")
    def index(self) -> Page:
        """List events, newest first; above them how sending does, and who is in trouble."""
        return self.render("webhooks.html", **in_transaction(_list))

    @page("/<uuid:event_id>")
    def detail(self, event_id: UUID) -> Page:
        """Show one event: its body and every try to deliver it."""
        return self.render(
            "webhook.html", **in_transaction(lambda session: _details(session, event_id))
        )

    @page("/<uuid:event_id>/ask")
    def ask_replay(self, event_id: UUID) -> Page:
        """Ask to whom an event shall be sent anew."""
        return self._ask_replay(event_id)

    def _ask_replay(self, event_id: UUID, form: ReplayForm | None = None) -> str:
        event, endpoints = in_transaction(lambda session: _event_and_receivers(session, event_id))
        if form is None:
            form = ReplayForm()
            form.offer(endpoints, request.args.get("endpoint", ""))
        return self.render("replay_ask.html", event=event, form=form)

    @page("/<uuid:event_id>/replay", methods=["POST"])
    def replay(self, event_id: UUID) -> Page:
        """Send an event anew, with the id and the body that it has."""
        _, endpoints = in_transaction(lambda session: _event_and_receivers(session, event_id))
        form = ReplayForm()
        form.offer(endpoints)
        if not form.validate():
            return self._ask_replay(event_id, form), 422
        by = keeper()
        endpoint_id = UUID(form.endpoint.data) if form.endpoint.data else None

        def work() -> str:
            on_connection(
                lambda connection: replay_service.replay_event(
                    connection, by, origin(), event_id, endpoint_id=endpoint_id
                )
            )
            nudge()
            return gettext("It is sent anew; load the page again to see more.")

        return attempt(work, url_for(".detail", event_id=event_id))


def _event(session: Session, event_id: UUID) -> Wire:
    body = event_list.get_event(session.connection(), actor(), event_id)
    event: Wire = msgspec.json.decode(body)
    return event


def _event_and_receivers(session: Session, event_id: UUID) -> tuple[Wire, list[Wire]]:
    event = _event(session, event_id)
    return event, of_user(session, UUID(event["user_id"]))


def _details(session: Session, event_id: UUID) -> Wire:
    event = _event(session, event_id)
    user_id = UUID(event["user_id"])
    rows = attempt_list.list_attempts(
        session.connection(),
        actor(),
        event_id,
        after=listing.after_row(),
        limit=_SHOWN_ATTEMPTS + 1,
    )
    shown = rows[:_SHOWN_ATTEMPTS]
    attempts: dict[str, list[Wire]] = {}
    for row in shown:
        one = msgspec.json.decode(row[0])
        attempts.setdefault(one["delivery_id"], []).append(one)
    ids = [UUID(delivery["endpoint_id"]) for delivery in event["deliveries"]]
    if event["object_type"] == "webhook_endpoint":
        ids.append(UUID(event["object_id"]))
    return {
        "event": {**event, "user_name": queries.names_of(session, [user_id])[event["user_id"]]},
        "body": json.dumps(event["payload"], ensure_ascii=False, indent=2),
        "attempts": attempts,
        "receivers": webhook_queries.named(session, user_id, ids),
        "older": (
            listing.link(after=listing.mark(*shown[-1][1:])) if len(rows) > len(shown) else None
        ),
        "newest": listing.link(after=None) if listing.after_row() else None,
    }


def _list(session: Session) -> dict[str, Any]:
    viewer = actor()
    connection = session.connection()
    asked = _asked(viewer.sees_all)
    user = user_service.find_user(session, asked["user"]) if asked["user"] else None
    transaction_id = listing.as_id(asked["transaction"])
    endpoint_id = listing.as_id(asked["endpoint"])
    rows = []
    # An unknown name and what is no id are in force too: they match nothing.
    if all(
        found or not wanted
        for found, wanted in (
            (user, asked["user"]),
            (transaction_id, asked["transaction"]),
            (endpoint_id, asked["endpoint"]),
        )
    ):
        rows = event_list.list_events(
            connection,
            viewer,
            user_id=user.id if user else None,
            type=asked["type"] or None,
            transaction_id=transaction_id,
            endpoint_id=endpoint_id,
            state=DeliveryState(asked["state"]) if asked["state"] else None,
            after=listing.after_row(),
            limit=listing.page_size() + 1,
        )
    events: list[Wire] = [msgspec.json.decode(row[0]) for row in rows]
    names = queries.names_of(session, (UUID(event["user_id"]) for event in events))
    owner_id = (user.id if user else None) if viewer.sees_all else viewer.user_id
    return {
        "listing": listing.listing(
            [_row(event, names) for event in events],
            [listing.mark(row[1], row[2]) for row in rows],
            _chips(asked),
        ),
        "asked": asked,
        "health": health.of_webhooks(connection) if viewer.sees_all else [],
        "troubled": webhook_queries.troubled(connection, owner_id, limit=_SHOWN_TROUBLES),
    }


def _asked(sees_all: bool) -> dict[str, str]:
    type_, state = request.args.get("type", ""), request.args.get("state", "")
    return {
        "user": query_text("user") if sees_all else "",
        "type": type_ if type_ in messages.EVENT_TYPES else "",
        "state": state if state in messages.DELIVERY_STATES else "",
        "endpoint": query_text("endpoint"),
        "transaction": query_text("transaction"),
    }


def _chips(asked: dict[str, str]) -> list[listing.Chip]:
    shown = {
        "user": (gettext("User"), asked["user"]),
        "type": (gettext("Event"), messages.label(messages.EVENT_TYPES, asked["type"])),
        "state": (gettext("Delivery"), messages.label(messages.DELIVERY_STATES, asked["state"])),
        "endpoint": (gettext("Endpoint"), asked["endpoint"]),
        "transaction": (gettext("Transaction"), asked["transaction"]),
    }
    return listing.chips(shown)


def _row(event: Wire, names: dict[str, str]) -> Wire:
    """Sum up the deliveries of an event: how many are in which state, and what comes next."""
    deliveries = event["deliveries"]
    counts = {
        state: sum(delivery["state"] == state for delivery in deliveries)
        for state in messages.DELIVERY_STATES
    }
    due = [each["next_attempt_at"] for each in deliveries if each["next_attempt_at"]]
    done = [each["delivered_at"] for each in deliveries if each["delivered_at"]]
    return {
        **event,
        "user_name": names[event["user_id"]],
        "states": {state: count for state, count in counts.items() if count},
        "tries": sum(delivery["attempt_count"] for delivery in deliveries),
        "moment": min(due) if due else max(done, default=None),
    }
