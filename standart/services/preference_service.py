"""How a person wants the panel to look, kept for whatever device it comes with."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from standart.models import PanelPreference, Theme


def get(session: Session, user_id: UUID) -> PanelPreference:
    """Return what a user has chosen; what it has not is ``None``."""
    return session.get(PanelPreference, user_id) or PanelPreference(user_id=user_id)


def save(session: Session, user_id: UUID, **chosen: str | int | Theme | None) -> None:
    """Keep the given choices among the columns of ``PanelPreference``; others stay."""
    added = insert(PanelPreference).values(user_id=user_id, **chosen)
    session.execute(added.on_conflict_do_update(index_elements=["user_id"], set_=chosen))
