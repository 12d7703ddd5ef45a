"""Notes: what is asked and answered."""

from __future__ import annotations

from standart.api import checks
from standart.api.fields import Cursor, Id, Limit, Moment, NoteText, UserId
from standart.api.schemas.common import Reply, Request


class CreateNote(Request, frozen=True):
    """What to write down about which transaction."""

    id: Id
    text: NoteText
    internal: bool = False

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier), ("text", self.text, checks.said))


class ListNotes(Request, frozen=True):
    """Whose notes to list: a transaction's."""

    id: Id
    limit: Limit | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        checks.require(("id", self.id, checks.identifier), ("limit", self.limit, checks.limit))


class Note(Reply, frozen=True):
    """A note; one that is `internal` is shown to admins' keys only."""

    id: Id
    transaction_id: Id
    user_id: UserId
    author: str
    internal: bool
    text: str
    created_at: Moment


class NotePage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[Note]
    next_cursor: str | None
