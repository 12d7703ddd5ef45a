"""What an owner does to see whether its receiver is well: a ping, a check-up, a span anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final
from uuid import UUID

from flask import flash, redirect, url_for
from sqlalchemy.orm import Session

from standart import clock
from standart.admin import findings, messages
from standart.admin.base import Page, keeper, origin, page
from standart.admin.endpoint_forms import SpanForm
from standart.admin.endpoints import Endpoints, fetch
from standart.admin.language import gettext
from standart.clock import new_id
from standart.delivery import url_rules
from standart.errors import DomainError, NotFound
from standart.extensions import in_transaction, keyring, nudge, nudge_replay, on_connection
from standart.models import ReplayScope
from standart.services import endpoint_checkup, ping_service, span_replay_service
from standart.services.span_replay_service import NewReplay
from standart.services.webhook_work import Receiver
from standart.webhooks import checkup, sender
from standart.webhooks.checkup import Step

# A check-up holds a thread of the web process for as long as the receiver takes.
_AT_ONCE: Final = 2
_check_ups = threading.BoundedSemaphore(_AT_ONCE)


class EndpointChecks(Endpoints):
    """What is sent to one endpoint because somebody asks for it."""

    @page("/endpoints/<uuid:endpoint_id>/ping", methods=["POST"])
    def ping(self, endpoint_id: UUID) -> Page:
        """Send a test event; its own page tells what comes of it."""
        by, event_id = keeper(), new_id()
        try:
            on_connection(
                lambda connection: ping_service.ping(
                    connection, by, origin(), endpoint_id, event_id=event_id
                )
            )
        except NotFound:
            raise
        except DomainError as error:
            flash(messages.describe(error), "error")
            return redirect(url_for(".one_endpoint", endpoint_id=endpoint_id), 303)
        nudge()
        flash(gettext("The test event is on its way; load the page again to see more."), "success")
        return redirect(url_for(".detail", event_id=event_id), 303)

    @page("/endpoints/<uuid:endpoint_id>/check", methods=["POST"])
    def check(self, endpoint_id: UUID) -> Page:
        """Send test messages, right and wrong ones, and tell what the receiver did wrong."""
        found = fetch(endpoint_id)
        by, ring = keeper(), keyring()
        if not _check_ups.acquire(blocking=False):
            flash(gettext("Other check-ups are running; try again in half a minute."), "error")
            return redirect(url_for(".one_endpoint", endpoint_id=endpoint_id), 303)
        try:

            def work(session: Session) -> Receiver:
                return endpoint_checkup.prepare(session, by, ring, endpoint_id)

            steps = list(_checked(in_transaction(work)))
        except NotFound:
            raise
        except DomainError as error:
            flash(messages.describe(error), "error")
            return redirect(url_for(".one_endpoint", endpoint_id=endpoint_id), 303)
        finally:
            _check_ups.release()
        return self.render("endpoint_check.html", found=found, steps=steps, findings=findings)

    @page("/endpoints/<uuid:endpoint_id>/replay", methods=["POST"])
    def replay_span(self, endpoint_id: UUID) -> Page:
        """Begin to send a span of events anew; the endpoint's page shows how far it has come."""
        fetch(endpoint_id)
        form = SpanForm()
        if not form.validate():
            return self.show_endpoint(endpoint_id, form), HTTPStatus.UNPROCESSABLE_ENTITY.value
        since, until = form.span()
        by = keeper()
        new = NewReplay(
            endpoint_id=endpoint_id, since=since, until=until, scope=ReplayScope(form.scope.data)
        )
        try:
            on_connection(
                lambda connection: span_replay_service.start(connection, by, origin(), new)
            )
        except NotFound:
            raise
        except DomainError as error:
            form.take(error)
            return self.show_endpoint(endpoint_id, form), error.status
        nudge_replay()
        flash(gettext("The events of this span are being sent anew."), "success")
        return redirect(url_for(".one_endpoint", endpoint_id=endpoint_id), 303)


def _checked(receiver: Receiver) -> Iterator[Step]:
    """Check a receiver; no message is sent any more once one deadline is over."""
    end = time.monotonic() + sender.DEADLINE
    for step in checkup.check(
        receiver.url,
        receiver.secrets,
        url_rules(),
        new_id=clock.new_id,
        timestamp=clock.timestamp(),
        extra_headers=receiver.extra_headers,
    ):
        yield step
        if time.monotonic() >= end:
            return
