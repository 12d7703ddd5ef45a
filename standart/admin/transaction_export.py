"""The export of a filtered list: asked for with its size, then streamed as it is read."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from standart.admin import downloads, transaction_filters, workbook
from standart.admin.base import Page, PanelView, actor, page
from standart.admin.slow import hurry, is_too_slow
from standart.clock import now
from standart.errors import InvalidInput
from standart.extensions import engine, in_transaction, on_connection
from standart.services import export_service
from standart.services.transaction_list import Wanted

FORMS: Final = {
    "csv": downloads.CSV,
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

_COUNT_MILLISECONDS: Final = 500

# Where somebody else chose the words: names, references and what people wrote.
_FREE: Final = frozenset(
    export_service.COLUMNS.index(name)
    for name in ("user_name", "reference", "description", "reason")
)


class TransactionExport(PanelView):
    """Part of the tab of transactions."""

    @page("/export")
    def ask_export(self) -> Page:
        """Say how many rows it would be, and in which forms they come."""
        asked = in_transaction(lambda session: transaction_filters.read(session, actor()))
        return self.render(
            "export_ask.html",
            asked=asked,
            rows=_count(asked.wanted),
            most=export_service.MOST_ROWS,
            forms=list(FORMS),
            parameters=transaction_filters.parameters(),
        )

    @page("/export/<any(csv, xlsx):form>", methods=["POST"])
    def export(self, form: str) -> Page:
        """Note in the audit log who asked, then send the rows while they are read."""
        viewer = actor()
        asked = in_transaction(lambda session: transaction_filters.read(session, viewer))
        wanted = asked.wanted
        if wanted is None:
            raise InvalidInput.of("filters", "do not make sense, so nothing is exported")
        on_connection(lambda connection: export_service.note(connection, viewer, wanted, form))
        columns, rows = export_service.COLUMNS, export_service.rows(engine(), viewer, wanted)
        if form == "csv":
            pieces = downloads.csv_pieces(columns, rows, free=_FREE)
        else:
            pieces = workbook.stream(columns, rows)
        name = f"transactions-{now():%Y%m%d-%H%M%S}.{form}"
        return downloads.download(name, FORMS[form], pieces)


def _count(wanted: Wanted | None) -> int | None:
    """Return how many rows there are, ``None`` where it takes too long to count them."""
    if wanted is None:
        return 0

    def count(session: Session) -> int | None:
        hurry(session, _COUNT_MILLISECONDS)
        return export_service.count(session.connection(), actor(), wanted)

    try:
        return in_transaction(count)
    except DBAPIError as error:
        if is_too_slow(error):
            return None
        raise
