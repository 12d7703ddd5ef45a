"""Настройки: what is set and where from, what runs, how it does; read only, for admins."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from standart import __version__, checks, migrations
from standart.admin.base import Page, PanelView, page
from standart.extensions import on_connection, settings
from standart.services import chain, signing_key_service
from standart.setting_table import describe, unknown_variables


class SettingsPage(PanelView):
    """The tab of settings."""

    @page("/")
    def index(self) -> Page:
        """Show every setting, and what the service and its database are."""
        return self.render(
            "settings.html",
            rows=describe(),
            unknown=unknown_variables(),
            version=__version__,
            needed=migrations.head(),
            **on_connection(_facts),
        )

    @page("/health")
    def health(self) -> Page:
        """Check everything that `standart doctor` checks of a service that runs."""
        configured = settings()
        found = on_connection(lambda connection: list(checks.of_database(connection, configured)))
        return self.render("health.html", results=[checks.of_broker(configured), *found])


def _facts(connection: Connection) -> dict[str, Any]:
    return {
        "server": checks.server(connection),
        "head": chain.last(connection),
        "keys": signing_key_service.list_keys(connection),
    }
