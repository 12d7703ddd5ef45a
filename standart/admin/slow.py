"""Lists whose filter is too broad for one look: told as such, instead of kept waiting."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from standart.db import sqlstate

_CANCELED: Final = "57014"


def hurry(session: Session, milliseconds: int) -> None:
    """Let no further statement of this unit of work take longer, nor start helpers for a page.

    For what lists read again and again a page somewhere else costs no more than the next one;
    on the word of the default the planner would rather read all of a table's pages in turn.
    """
    session.execute(
        text(
            "SELECT set_config('statement_timeout', :most, true),"
            " set_config('max_parallel_workers_per_gather', '0', true),"
            " set_config('random_page_cost', '1.1', true)"
        ),
        {"most": f"{milliseconds}ms"},
    )


def is_too_slow(error: DBAPIError) -> bool:
    """Whether the database gave up because it took too long."""
    return sqlstate(error) == _CANCELED
