"""Endpoints: a page each, made, changed, stopped and deleted; their secrets.

A merchant does all that to its own ones: it changes no money, and its keys may do the same.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from flask import flash, redirect, url_for
from sqlalchemy.orm import Session

from standart.admin import queries, webhook_queries
from standart.admin.base import (
    Page,
    PanelView,
    actor,
    attempt,
    get_user,
    keeper,
    origin,
    page,
)
from standart.admin.endpoint_forms import EndpointForm, SpanForm
from standart.admin.forms import ActForm
from standart.admin.language import gettext
from standart.errors import DomainError, NotFound
from standart.extensions import in_transaction, keyring, on_connection
from standart.services import (
    audit_service,
    endpoint_acts,
    endpoint_list,
    endpoint_service,
    span_replay_service,
)
from standart.services.endpoint_acts import Changes, NewEndpoint
from standart.webhooks import signing

Wire = dict[str, Any]

_SHOWN_REPLAYS = 10


def fetch(endpoint_id: UUID) -> Wire:
    """Return one endpoint that the viewer may see.

    Raises:
        NotFound: unknown, deleted, or somebody else's.
    """
    body = on_connection(
        lambda connection: endpoint_list.get_endpoint(connection, actor(), endpoint_id)
    )
    found: Wire = msgspec.json.decode(body)
    return found


def of_user(session: Session, user_id: UUID) -> list[Wire]:
    """Return the endpoints of a user, newest first."""
    rows = endpoint_list.list_endpoints(
        session.connection(), actor(), user_id=user_id, limit=endpoint_acts.MOST_ENDPOINTS
    )
    return [msgspec.json.decode(row[0]) for row in rows]


class Endpoints(PanelView):
    """What may be done to an endpoint itself."""

    @page("/endpoints/<uuid:endpoint_id>")
    def one_endpoint(self, endpoint_id: UUID) -> Page:
        """Show one endpoint, how it does, and what may be done with it."""
        form = SpanForm()
        form.suggest()
        return self.show_endpoint(endpoint_id, form)

    def show_endpoint(self, endpoint_id: UUID, form: SpanForm, **more: Any) -> str:
        """Render the page of an endpoint with the form for a span as it is."""
        found = fetch(endpoint_id)
        return self.render("endpoint.html", form=form, found=found, **_details(found), **more)

    @page("/endpoints/new/<uuid:user_id>", methods=["GET", "POST"])
    def new_endpoint(self, user_id: UUID) -> Page:
        """Give a user another endpoint; its secret is shown at once."""
        name = in_transaction(lambda session: get_user(session, user_id).name)
        form = EndpointForm()
        if not form.is_submitted():
            return self._new(form, user_id, name)
        if not form.validate():
            return self._new(form, user_id, name), 422
        ring, by = keyring(), keeper()
        try:
            new = NewEndpoint(
                **form.values(url_needed=True), user_id=user_id if by.is_admin else None
            )
            on_connection(
                lambda connection: endpoint_acts.create(connection, by, origin(), ring, new)
            )
        except DomainError as error:
            form.take(error)
            return self._new(form, user_id, name), error.status
        heading = gettext("The endpoint is there")
        return self._secret(new.fresh_id, heading, new.fresh_secret), 201

    def _new(self, form: EndpointForm, user_id: UUID, name: str) -> str:
        return self.render(
            "endpoint_form.html",
            form=form,
            found=None,
            name=name,
            back=url_for("users.detail", user_id=user_id),
        )

    @page("/endpoints/<uuid:endpoint_id>/edit", methods=["GET", "POST"])
    def edit_endpoint(self, endpoint_id: UUID) -> Page:
        """Change an endpoint; a header that is left as it is shown keeps its value."""
        found = fetch(endpoint_id)
        form = EndpointForm()
        if not form.is_submitted():
            form.show(found)
            return self._edit(form, found)
        if not form.validate():
            return self._edit(form, found), 422
        ring, by = keyring(), keeper()
        try:
            changes = Changes(**form.values(url_needed=not found["default"]))
            on_connection(
                lambda connection: endpoint_acts.update(
                    connection, by, origin(), ring, endpoint_id, changes
                )
            )
        except NotFound:
            raise
        except DomainError as error:
            form.take(error)
            return self._edit(form, found), error.status
        flash(gettext("Saved."), "success")
        return redirect(url_for(".one_endpoint", endpoint_id=endpoint_id), 303)

    def _edit(self, form: EndpointForm, found: Wire) -> str:
        back = url_for(".one_endpoint", endpoint_id=found["id"])
        return self.render("endpoint_form.html", form=form, found=found, name="", back=back)

    @page("/endpoints/<uuid:endpoint_id>/ask/<any(delete, disable, enable):act>")
    def ask_endpoint(self, endpoint_id: UUID, act: str) -> Page:
        """Ask before an endpoint is deleted, stopped or called again."""
        return self.render("endpoint_ask.html", found=fetch(endpoint_id), act=act, form=ActForm())

    @page("/endpoints/<uuid:endpoint_id>/delete", methods=["POST"])
    def delete_endpoint(self, endpoint_id: UUID) -> Page:
        """Delete an endpoint, all but the default one."""
        found = fetch(endpoint_id)
        by = keeper()
        if found["default"]:
            flash(gettext("The default endpoint stays; it can be disabled instead."), "error")
            return redirect(url_for(".one_endpoint", endpoint_id=endpoint_id), 303)

        def work() -> str:
            on_connection(
                lambda connection: endpoint_acts.delete(connection, by, origin(), endpoint_id)
            )
            return gettext("The endpoint is deleted.")

        return attempt(work, url_for("users.detail", user_id=found["user_id"]))

    @page("/endpoints/<uuid:endpoint_id>/disable", methods=["POST"])
    def disable_endpoint(self, endpoint_id: UUID) -> Page:
        """Send nothing to an endpoint any more."""
        return _set_enabled(endpoint_id, enabled=False, said=gettext("The endpoint is disabled."))

    @page("/endpoints/<uuid:endpoint_id>/enable", methods=["POST"])
    def enable_endpoint(self, endpoint_id: UUID) -> Page:
        """Call an endpoint again, whyever it was not; its failures are forgotten."""
        return _set_enabled(endpoint_id, enabled=True, said=gettext("The endpoint is enabled."))

    @page("/endpoints/<uuid:endpoint_id>/secret", methods=["POST"])
    def endpoint_secret(self, endpoint_id: UUID) -> Page:
        """Show the secret; that it was shown is written down."""
        by, ring = actor(), keyring()

        def work(session: Session) -> str:
            endpoint = webhook_queries.get_endpoint(session, by, endpoint_id)
            return endpoint_service.show_secret(session, by, ring, endpoint)

        secret = in_transaction(work)
        return self._secret(endpoint_id, gettext("Secret of the endpoint"), secret)

    @page("/endpoints/<uuid:endpoint_id>/secret/ask")
    def ask_rotate_endpoint(self, endpoint_id: UUID) -> Page:
        """Ask before the receiver has to learn a new secret."""
        found = fetch(endpoint_id)
        return self.render("endpoint_ask.html", found=found, act="rotate", form=ActForm())

    @page("/endpoints/<uuid:endpoint_id>/secret/rotate", methods=["POST"])
    def rotate_endpoint(self, endpoint_id: UUID) -> Page:
        """Give an endpoint a new secret and show it."""
        by, ring, secret = keeper(), keyring(), signing.new_secret()
        on_connection(
            lambda connection: endpoint_acts.rotate_secret(
                connection, by, origin(), ring, endpoint_id, fresh_secret=secret
            )
        )
        return self._secret(endpoint_id, gettext("New secret of the endpoint"), secret)

    def _secret(self, endpoint_id: UUID, heading: str, secret: str) -> str:
        return self.render(
            "secret.html",
            heading=heading,
            label=gettext("Webhook secret"),
            secret=secret,
            once=False,
            back=url_for(".one_endpoint", endpoint_id=endpoint_id),
            back_text=gettext("To the endpoint"),
        )


def _details(found: Wire) -> Wire:
    viewer = actor()
    endpoint_id, user_id = UUID(found["id"]), UUID(found["user_id"])

    def read(session: Session) -> Wire:
        connection = session.connection()
        replays = span_replay_service.list_replays(
            connection, viewer, endpoint_id, limit=_SHOWN_REPLAYS
        )
        shown = {
            "user_name": queries.names_of(session, [user_id])[found["user_id"]],
            "lane": webhook_queries.lane_of(connection, user_id, endpoint_id),
            "replays": [msgspec.json.decode(row[0]) for row in replays],
            "audit": (
                audit_service.history(session, "webhook_endpoint", endpoint_id)
                if viewer.sees_all
                else []
            ),
        }
        session.expunge_all()
        return shown

    return in_transaction(read)


def _set_enabled(endpoint_id: UUID, *, enabled: bool, said: str) -> Page:
    by, ring = keeper(), keyring()

    def work() -> str:
        on_connection(
            lambda connection: endpoint_acts.update(
                connection, by, origin(), ring, endpoint_id, Changes(enabled=enabled)
            )
        )
        return said

    return attempt(work, url_for(".one_endpoint", endpoint_id=endpoint_id))
