"""Дашборд: cards with figures, how the background work does, the latest transactions."""

from __future__ import annotations

from typing import Any, Final

from flask import Response, make_response, request
from sqlalchemy import Connection

from standart.admin import health, language, queries
from standart.admin.base import EVERYBODY, Page, PanelView, actor, page
from standart.admin.pages import fingerprint
from standart.admin.transactions import newest
from standart.clock import now
from standart.extensions import in_transaction, on_connection
from standart.services import ledger_service
from standart.services.access import Actor

LATEST: Final = 10
REFRESH_SECONDS: Final = (0, 10, 15, 30, 60)


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
        shown = self.render("live.html", **_contents())
        response: Response = make_response(shown)
        response.set_etag(fingerprint(shown))
        return response.make_conditional(request)


def _contents() -> dict[str, Any]:
    viewer = actor()
    since = language.start_of_day(language.viewer_zone()[1])

    def read(connection: Connection) -> dict[str, Any]:
        return {
            "figures": queries.figures(connection, viewer, since),
            "health": health.parts(connection) if viewer.is_admin else None,
            "balances": None if viewer.is_admin else _balances(connection, viewer),
        }

    contents = on_connection(read)
    contents["latest"] = in_transaction(lambda session: newest(session, viewer, LATEST))
    return contents


def _balances(connection: Connection, viewer: Actor) -> list[queries.Holding]:
    return [queries.as_holding(held) for held in ledger_service.holdings(connection, viewer)]
