"""Журнал: who did what, when and from where; read-only, for admins."""

from __future__ import annotations

from sqlalchemy.orm import Session

from standart.admin import listing, queries
from standart.admin.base import Page, PanelView, page, query_text
from standart.admin.language import gettext
from standart.extensions import in_transaction
from standart.models import AuditRecord


class Audit(PanelView):
    """The tab of the audit log."""

    @page("/")
    def index(self) -> Page:
        """List, newest first."""
        actor_name = query_text("actor", 128)
        about = query_text("about", 128)

        def read(session: Session) -> listing.Listing[AuditRecord]:
            rows = queries.audit_page(
                session,
                actor=actor_name,
                about=about,
                before=listing.after_number(),
                limit=listing.page_size() + 1,
            )
            session.expunge_all()
            filters = listing.chips(
                {"actor": (gettext("Who"), actor_name), "about": (gettext("About"), about)}
            )
            return listing.listing(rows, [str(row.id) for row in rows], filters)

        return self.render(
            "audit.html",
            listing=in_transaction(read),
            asked={"actor": actor_name, "about": about},
        )
