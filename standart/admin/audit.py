"""Журнал: who did what, when and from where; read, filtered and exported, never changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row

from standart.admin import audit_filters, changes, downloads, listing
from standart.admin.base import Page, PanelView, actor, page
from standart.clock import now
from standart.errors import InvalidInput
from standart.extensions import engine, on_connection
from standart.services import audit_list
from standart.services.audit_list import Kind

COLUMNS: Final = (
    "id",
    "created_at",
    "actor_id",
    "actor_name",
    "channel",
    "ip",
    "request_id",
    "action",
    "object_type",
    "object_id",
    "before",
    "after",
)
"""What a row of the export has; ``created_at`` is UTC, ``before`` and ``after`` are JSON."""


class Audit(PanelView):
    """The tab of the audit log."""

    @page("/")
    def index(self) -> Page:
        """List, newest first."""
        known, asked, rows = on_connection(_read)
        return self.render(
            "audit.html",
            listing=listing.two_way(
                rows, [audit_filters.mark(row.created_at, row.id) for row in rows], asked.chips
            ),
            asked=asked,
            known=known,
        )

    @page("/export", methods=["POST"])
    def export(self) -> Page:
        """Send what the filter shows as CSV; that it was taken away is written down first."""
        viewer = actor()
        asked = audit_filters.read(on_connection(audit_list.kinds))
        wanted = asked.wanted
        if wanted is None:
            raise InvalidInput.of("filters", "do not make sense, so nothing is exported")
        on_connection(lambda connection: audit_list.note_export(connection, viewer, wanted))
        rows = map(_cells, audit_list.rows(engine(), viewer, wanted))
        pieces = downloads.csv_pieces(COLUMNS, rows)
        return downloads.download(f"audit-{now():%Y%m%d-%H%M%S}.csv", downloads.CSV, pieces)


def _read(connection: Connection) -> tuple[list[Kind], audit_filters.Asked, list[Row[Any]]]:
    known = audit_list.kinds(connection)
    asked = audit_filters.read(known)
    if asked.wanted is None:
        return known, asked, []
    found = audit_list.page(
        connection,
        actor(),
        asked.wanted,
        known,
        after=audit_filters.place("after"),
        before=audit_filters.place("before"),
        limit=listing.page_size() + 1,
    )
    return known, asked, found


def _cells(row: Row[Any]) -> list[str]:
    return list(_texts(row))


def _texts(row: Row[Any]) -> Iterator[str]:
    for name in COLUMNS:
        value = getattr(row, name)
        if name in ("before", "after"):
            clean = changes.clean(value)
            yield "" if clean is None else msgspec.json.encode(clean).decode()
        elif name == "created_at":
            yield value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        else:
            yield "" if value is None else str(value)
