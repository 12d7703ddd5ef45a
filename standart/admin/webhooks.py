"""Вебхуки: events with their deliveries and attempts, what is in trouble on top; sent anew."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import msgspec
from flask import request, url_for
from sqlalchemy.orm import Session

from standart.admin import (
    health,
    listing,
    messages,
    queries,
    webhook_filters,
    webhook_queries,
    webhook_rows,
)
from standart.admin.base import (
    Page,
    actor,
    attempt,
    keeper,
    origin,
    page,
)
from standart.admin.endpoint_forms import ReplayForm
from standart.admin.endpoints import Wire, of_user
from standart.admin.language import gettext
from standart.admin.webhook_sets import WebhookSets
from standart.extensions import in_transaction, nudge, on_connection
from standart.services import attempt_list, event_list, event_search, replay_service
from standart.services.event_search import Page as EventPage

_SHOWN_TROUBLES: Final = 10
_SHOWN_ATTEMPTS: Final = 50


class Webhooks(WebhookSets):
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
        one = webhook_rows.clean_attempt(msgspec.json.decode(row[0]))
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
    asked = webhook_filters.read(session, viewer)
    found = EventPage([])
    if asked.wanted is not None:
        found = event_search.page(
            connection,
            viewer,
            asked.wanted,
            after=listing.after_row(),
            limit=listing.page_size() + 1,
            seconds=0,
        )
    events: list[Wire] = [msgspec.json.decode(body) for body, _, _ in found.rows]
    names = queries.names_of(session, (UUID(event["user_id"]) for event in events))
    narrowed = asked.wanted.user_id if asked.wanted else None
    owner_id = narrowed if viewer.sees_all else viewer.user_id
    shown = listing.listing(
        [webhook_rows.summed_up(event, names) for event in events],
        [listing.mark(*row[1:]) for row in found.rows],
        asked.chips,
    )
    if found.looked_to is not None:
        shown = replace(shown, older=listing.link(after=listing.mark(*found.looked_to)))
    return {
        "listing": shown,
        "looked_to": found.looked_to and found.looked_to[0],
        "look": event_search.LOOK,
        "asked": asked,
        "states": listing.tabs(
            asked.texts["state"],
            {"": gettext("All events"), **messages.DELIVERY_STATES},
            lambda state: listing.link(state=state, after=None),
        ),
        "health": health.of_webhooks(connection) if viewer.sees_all else [],
        "troubled": webhook_queries.troubled(connection, owner_id, limit=_SHOWN_TROUBLES),
    }
