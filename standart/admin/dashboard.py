"""Дашборд: cards with figures, how the background work does, the latest transactions."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from flask import Response, make_response, request
from sqlalchemy import Connection

from standart.admin import language, queries
from standart.admin.base import EVERYBODY, Page, PanelView, actor, page
from standart.admin.transactions import newest
from standart.clock import now
from standart.extensions import in_transaction, on_connection, settings
from standart.services import heartbeat_service, ledger_service, webhook_service
from standart.services.access import Actor

LATEST: Final = 10
REFRESH_SECONDS: Final = (0, 10, 15, 30, 60)

# A part that was not seen for so many of its periods is called late.
_PATIENCE: Final = 6
_DELIVERY_PERIOD: Final = 5


class Dashboard(PanelView):
    """The first tab."""

    @page("/", roles=EVERYBODY)
    def index(self) -> Page:
        """Show everything; without script it is renewed by loading it again."""
        asked = request.args.get("refresh", "")
        chosen = int(asked) if asked in map(str, REFRESH_SECONDS) else None
        return self.render(
            "dashboard.html", choices=REFRESH_SECONDS, refresh=chosen, at=now(), **_contents()
        )

    @page("/live", roles=EVERYBODY)
    def live(self) -> Page:
        """Return the changing part alone, for the script; 304 when nothing has changed."""
        response: Response = make_response(self.render("live.html", **_contents()))
        response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
        return response.make_conditional(request)


def _contents() -> dict[str, Any]:
    viewer = actor()
    since = language.start_of_day(language.viewer_zone()[1])

    def read(connection: Connection) -> dict[str, Any]:
        return {
            "figures": queries.figures(connection, viewer, since),
            "health": _health(connection) if viewer.is_admin else None,
            "balances": None if viewer.is_admin else _balances(connection, viewer),
        }

    contents = on_connection(read)
    contents["latest"] = in_transaction(lambda session: newest(session, viewer, LATEST))
    return contents


def _balances(connection: Connection, viewer: Actor) -> list[queries.Holding]:
    return [queries.as_holding(held) for held in ledger_service.holdings(connection, viewer)]


def _health(connection: Connection) -> list[dict[str, Any]]:
    """Return the state of each background part: name, seconds, ``ok``, ``late`` or ``never``."""
    periods = {"sweep": settings().expiry_sweep_seconds, "delivery": _DELIVERY_PERIOD}
    ages = heartbeat_service.ages(connection)
    strip: list[dict[str, Any]] = []
    for name, period in periods.items():
        age = ages.get(name)
        late = age is not None and age > _PATIENCE * period
        state = "never" if age is None else "late" if late else "ok"
        strip.append({"name": name, "state": state, "seconds": age})
    waiting = webhook_service.oldest_due_seconds(connection)
    state = "ok" if waiting <= webhook_service.LATE_SECONDS else "late"
    strip.append({"name": "webhooks", "state": state, "seconds": waiting})
    return strip
