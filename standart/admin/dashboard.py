"""Дашборд: figures, a chart, how the background work does, the latest transactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any, Final

import msgspec
from flask import Response, make_response, request
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from standart import money
from standart.admin import health, language, messages, preferences, queries
from standart.admin.base import Page, PanelView, actor, page, query_text
from standart.admin.pages import fingerprint
from standart.admin.queries import Sum, as_sum
from standart.admin.slow import hurry, is_too_slow
from standart.admin.transactions import Wire, newest
from standart.clock import now
from standart.extensions import in_transaction
from standart.services import dashboard_service, ledger_service
from standart.services.access import Actor
from standart.services.dashboard_service import Soon, Totals, Users, Webhooks

LATEST: Final = 10
_LATEST_MILLISECONDS: Final = 1000

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
PERIODS: Final = {"24h": 24, "7d": 7 * 24, "30d": 30}
"""The periods of the chart: how many steps each has, of an hour or (the longest) a day."""


@dataclass(frozen=True)
class Earned:
    """Commission of one currency: what is left of it after what refunds gave back."""

    net: Sum
    returned: Sum
    any_returned: bool


@dataclass(frozen=True)
class Figures:
    """What the cards show; ``users`` is for staff only. ``pending`` are sums."""

    by_status: dict[str, int]
    created: int
    today: list[Sum]
    yesterday: list[Sum]
    commission: list[Earned]
    pending: list[Sum]
    soon: Soon
    webhooks: Webhooks
    users: int | None
    active_users: int | None


class Dashboard(PanelView):
    """The first tab."""

    @page("/")
    def index(self) -> Page:
        """Show everything; without script it is renewed by loading it again."""
        return self.render(
            "dashboard.html",
            choices=preferences.REFRESH_SECONDS,
            refresh=preferences.refresh_seconds(),
            at=now(),
            **_contents(),
        )

    @page("/live")
    def live(self) -> Page:
        """Return the changing part alone, for the script; 304 when nothing has changed."""
        return _unless_known(make_response(self.render("live.html", **_contents())))

    @page("/chart")
    def chart(self) -> Page:
        """Return the chart's numbers as JSON; 304 when nothing has changed."""
        viewer, currency, period = actor(), _currency(), _period()
        edges = edges_of(period, now(), language.viewer_zone()[1])

        def read(session: Session) -> tuple[dashboard_service.Chart, Totals]:
            connection, owner = _snapshot(session), _owner(viewer)
            made = dashboard_service.chart(connection, owner, edges, currency or None)
            return made, dashboard_service.totals(connection, owner)

        made, totals = in_transaction(read)
        body = {
            "period": period,
            "currency": currency or None,
            "step": int((DAY if period == "30d" else HOUR).total_seconds()),
            "times": [int(edge.timestamp()) for edge in edges],
            "series": _series(made, totals, currency),
        }
        return _unless_known(Response(msgspec.json.encode(body), mimetype="application/json"))


def _series(made: dashboard_service.Chart, totals: Totals, currency: str) -> list[dict[str, Any]]:
    """Return a row for each status: what ended stands where it did, what is pending at the end."""
    earlier = [0] * (len(made.edges) - 1)
    pending = totals.pending(currency or None)
    counts = {**made.counts, "pending": [*earlier, pending]}
    sums = {**made.amounts}
    if currency:
        sums["pending"] = [*earlier, totals.pending_amount(currency)]
    return [
        {
            "status": status,
            "label": messages.label(messages.STATUSES, status),
            "counts": counts[status],
            "sums": [money.format_minor(amount, currency) for amount in sums[status]]
            if currency
            else None,
        }
        for status in (*dashboard_service.ENDINGS, "pending")
    ]


def _snapshot(session: Session) -> Connection:
    """Return the session's connection; all that it reads now is of one moment."""
    return session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def _unless_known(response: Response) -> Page:
    response.set_etag(fingerprint(response.get_data(as_text=True)))
    response.headers["Cache-Control"] = "private, no-cache"
    return response.make_conditional(request)


def edges_of(period: str, at: datetime, zone: tzinfo) -> list[datetime]:
    """Return where the steps of a period that ends ``at`` begin, in UTC.

    Days are those of the zone, from their first full hour on.
    """
    count = PERIODS[period]
    if period != "30d":
        last = at.replace(minute=0, second=0, microsecond=0)
        return [last - n * HOUR for n in reversed(range(count))]
    return [_full_hour(day) for day in language.day_starts(zone, count, at)[:-1]]


def _full_hour(at: datetime) -> datetime:
    whole = at.replace(minute=0, second=0, microsecond=0)
    return whole if whole == at else whole + HOUR


def _period() -> str:
    asked = query_text("period")
    return asked if asked in PERIODS else "24h"


def _currency() -> str:
    """Return the currency that is asked for, "" for all."""
    asked = query_text("currency").upper()
    return asked if asked in money.CURRENCIES else ""


def _owner(viewer: Actor) -> Any:
    return None if viewer.sees_all else viewer.user_id


def _contents() -> dict[str, Any]:
    viewer = actor()
    zone = language.viewer_zone()[1]
    days = language.day_starts(zone, 2)
    chosen = _currency()

    def read(session: Session) -> dict[str, Any]:
        owner, connection = _owner(viewer), _snapshot(session)
        totals = dashboard_service.totals(connection, owner)
        spans = list(pairwise(days))
        yesterday, so_far = dashboard_service.confirmed_in(connection, owner, spans)
        refunded = dashboard_service.refunded_in(connection, owner, *spans[-1])
        users = dashboard_service.users(connection) if viewer.sees_all else None
        return {
            "figures": _figures(
                totals,
                {"yesterday": yesterday, "today": so_far, "refunded": refunded},
                dashboard_service.soon(connection, owner),
                dashboard_service.webhooks(connection, owner),
                users,
                chosen,
            ),
            "currencies": totals.currencies,
            "health": health.parts(connection) if viewer.sees_all else None,
            "balances": None if viewer.sees_all else _balances(connection, viewer),
        }

    return {
        **in_transaction(read),
        "latest": _latest(viewer, chosen),
        "currency": chosen,
        "period": _period(),
        "periods": list(PERIODS),
        "most": dashboard_service.MOST,
    }


def _latest(viewer: Actor, chosen: str) -> list[Wire] | None:
    """Return the latest transactions; ``None`` where a rare currency was sought for too long."""

    def read(session: Session) -> list[Wire]:
        hurry(session, _LATEST_MILLISECONDS)
        return newest(session, viewer, LATEST, chosen or None)

    try:
        return in_transaction(read)
    except DBAPIError as error:
        if not is_too_slow(error):
            raise
        return None


def _figures(
    totals: Totals,
    days: Mapping[str, list[dashboard_service.Sum]],
    soon: Soon,
    webhooks: Webhooks,
    users: Users | None,
    chosen: str,
) -> Figures:
    currency = chosen or None
    kept = {
        day: [each for each in sums if not chosen or each.currency == chosen]
        for day, sums in days.items()
    }
    endings = {each: totals.count(each, currency) for each in dashboard_service.ENDINGS}
    pending = [
        as_sum(totals.pending_amount(each), each, totals.pending(each))
        for each in totals.currencies
        if totals.pending(each) and (not chosen or each == chosen)
    ]
    return Figures(
        by_status={"pending": totals.pending(currency), **endings},
        created=totals.count(dashboard_service.CREATED, currency),
        today=[as_sum(each.amount, each.currency, each.count) for each in kept["today"]],
        yesterday=[as_sum(each.amount, each.currency, each.count) for each in kept["yesterday"]],
        commission=_earned(kept["today"], kept["refunded"]),
        pending=pending,
        soon=soon,
        webhooks=webhooks,
        users=users.known if users else None,
        active_users=users.active if users else None,
    )


def _earned(
    confirmed: list[dashboard_service.Sum], refunded: list[dashboard_service.Sum]
) -> list[Earned]:
    """Return what was earned in each currency; it may be less than nothing."""
    earned = {each.currency: (each.commission, each.count) for each in confirmed}
    returned = {each.currency: each.commission for each in refunded if each.commission}
    found = []
    for currency in sorted({*earned, *returned}):
        commission, count = earned.get(currency, (0, 0))
        back = returned.get(currency, 0)
        net = as_sum(commission - back, currency, count)
        found.append(Earned(net, as_sum(back, currency), any_returned=back > 0))
    return found


def _balances(connection: Connection, viewer: Actor) -> list[queries.Holding]:
    return [queries.as_holding(held) for held in ledger_service.holdings(connection, viewer)]
