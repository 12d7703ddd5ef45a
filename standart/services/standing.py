"""Whether whoever acts still is what it was when its request began.

Who loses its rights at this moment must not give them to anybody, not to itself either. So the
rows of all whom an act is about are held until its commit, in one order for everybody: of two
acts that take each other's rights one waits, and finds its own gone.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Select, and_, literal, or_, select
from sqlalchemy.orm import Session

from standart.errors import NotFound, Unauthenticated
from standart.models import Role, User
from standart.services.access import Actor

_Rows = Select[UUID, bool, Role]

_ROW = select(User.id, User.active, User.role)


def require(session: Session, actor: Actor, user_id: UUID | None = None) -> None:
    """Hold who acts, and the user that it is about, as they are; others may do so too.

    Raises:
        Unauthenticated: the actor is not active any more, or has another role.
    """
    ids = {each for each in (actor.user_id, user_id) if each is not None}
    query = _ROW.where(User.id.in_(ids)).order_by(User.id)
    _check(session, actor, query.with_for_update(read=True, of=User))


def require_alone(session: Session, actor: Actor, user: User, *, admins: bool) -> None:
    """Hold who acts and ``user``, which is about to change and is read anew; nobody else may.

    With ``admins`` all of those are held too: their number is what the change depends on.

    Raises:
        Unauthenticated: as in ``require``.
        NotFound: the user was deleted meanwhile.
    """
    ids = {each for each in (actor.user_id, user.id) if each is not None}
    among = and_(literal(admins), User.role == Role.ADMIN, User.active)
    query = _ROW.where(or_(User.id.in_(ids), among)).order_by(User.id)
    held = _check(session, actor, query.with_for_update(key_share=True, of=User))
    if user.id not in held:
        raise NotFound("There is no such user.")
    session.refresh(user)


def _check(session: Session, actor: Actor, query: _Rows) -> set[UUID]:
    found = {row.id: row for row in session.execute(query)}
    if actor.user_id is not None:
        mine = found.get(actor.user_id)
        if mine is None or not mine.active or mine.role is not actor.role:
            raise Unauthenticated("This login is not active any more.")
    return set(found)
