"""Закрытия: the chain of seals as it stands, closed periods, and closing one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
from flask import flash, redirect, request, url_for
from sqlalchemy.orm import Session

from standart.admin import listing, messages, movements
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
from standart.admin.movements import Fact
from standart.clock import now
from standart.errors import DomainError, NotOver
from standart.extensions import in_transaction, on_connection, settings
from standart.services import chain, close_service, periods, seal_service

_LATE_SECONDS: Final = 3600


class Closes(PanelView):
    """The pages of closed periods."""

    @page("/")
    def index(self) -> Page:
        """Show the chain's head and list the closed periods, the last one first."""
        return self.render("closes.html", last_month=_last_month(), **in_transaction(_list))

    @page("/close", methods=["GET", "POST"])
    def close(self) -> Page:
        """Ask before a period is closed; close it when the answer is sent."""
        if request.method == "GET":
            return self._ask(query_text("period", 20).strip())
        period, zone = request.form.get("period", "")[:20].strip(), settings().timezone

        def work() -> str:
            answer = on_connection(
                lambda connection: close_service.close(
                    connection, actor(), origin(), period=period, zone=zone
                )
            )
            if answer.status == HTTPStatus.OK:
                return gettext("%(period)s was closed before; nothing was changed.", period=period)
            return gettext("%(period)s is closed.", period=period)

        return attempt(work, url_for(".index"))

    def _ask(self, period: str) -> Page:
        zone = settings().timezone
        try:
            starts_at, ends_at = periods.bounds(period, zone)
            if ends_at > now():
                raise NotOver(period=period, ends_at=chain.moment(ends_at))
        except DomainError as error:
            flash(messages.describe(error), "error")
            return redirect(url_for(".index"), HTTPStatus.SEE_OTHER)
        return self.render(
            "move_ask.html",
            form=ActForm(),
            heading=gettext("Close %(period)s?", period=period),
            text=gettext(
                "From then on nothing in it changes, and a digest of all its journals is kept. "
                "This cannot be undone."
            ),
            notice="",
            button=gettext("Close the period"),
            danger=False,
            facts=[
                Fact(label=gettext("Period"), text=period),
                Fact(label=gettext("Since"), at=starts_at),
                Fact(label=gettext("To, without this moment"), at=ends_at),
                Fact(label=gettext("Time zone"), text=zone.key),
            ],
            carried={"period": period},
            url=url_for(".close"),
            back=url_for(".index"),
        )


def _last_month() -> str:
    """Return the month before the present one in the operator's calendar, such as 2026-11."""
    today = now().astimezone(settings().timezone)
    year, month = (today.year, today.month - 1) if today.month > 1 else (today.year - 1, 12)
    return f"{year:04}-{month:02}"


def _list(session: Session) -> dict[str, Any]:
    connection = session.connection()
    rows = close_service.list_closes(
        connection,
        actor(),
        before=listing.after_number(),
        limit=listing.page_size() + 1,
    )
    found: list[movements.Wire] = [msgspec.json.decode(body) for body, _ in rows]
    lag = seal_service.lag_seconds(connection)
    return {
        "listing": listing.listing(found, [str(number) for _, number in rows], []),
        "head": chain.last(connection),
        "lag": lag,
        "late": lag > _LATE_SECONDS,
    }
