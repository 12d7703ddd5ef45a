"""Who acts, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from standart.errors import InsufficientScope, NotFound
from standart.models import Role, Scope


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from: for the audit log only."""

    channel: str
    request_id: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who passed authentication; ``user_id`` is ``None`` for the service itself.

    ``made_by`` is who else may have the key or the password that was shown for it: whoever
    made it, and whoever had made the one that was used for that.
    """

    user_id: UUID | None
    name: str
    role: Role
    scopes: frozenset[Scope]
    origin: Origin = field(default=Origin("system"))
    made_by: frozenset[UUID] = frozenset()

    @property
    def hands(self) -> frozenset[UUID]:
        """All who may really be acting; what is made by this actor was made by them."""
        return self.made_by if self.user_id is None else self.made_by | {self.user_id}

    @property
    def is_admin(self) -> bool:
        """Whether the actor sees and settles everybody's transactions."""
        return self.role is Role.ADMIN

    def require(self, scope: Scope) -> None:
        """Refuse an actor that lacks ``scope``.

        Raises:
            InsufficientScope: names the scope that is missing.
        """
        if scope not in self.scopes:
            raise InsufficientScope(
                f"This call needs an API key with the scope {scope.value}.",
                required_scope=scope.value,
            )

    def owns(self, user_id: UUID) -> bool:
        """Whether rows of ``user_id`` may be seen by this actor."""
        return self.is_admin or self.user_id == user_id

    def require_owner(self, user_id: UUID) -> None:
        """Refuse rows of somebody else exactly as rows that do not exist.

        Raises:
            NotFound: the same words for both cases.
        """
        if not self.owns(user_id):
            raise NotFound

    def at(self, origin: Origin) -> Actor:
        """The same actor, seen coming from ``origin``."""
        return replace(self, origin=origin)

    def audit_parameters(self) -> dict[str, Any]:
        """Bind parameters for the audit columns of a statement."""
        return {
            "actor_id": self.user_id,
            "actor_name": self.name,
            "channel": self.origin.channel,
            "request_id": self.origin.request_id,
            "ip": self.origin.ip,
        }


SYSTEM = Actor(None, "system", Role.ADMIN, frozenset(Scope))


def operator(
    user_id: UUID,
    name: str,
    role: Role,
    origin: Origin,
    made_by: frozenset[UUID] = frozenset(),
) -> Actor:
    """The actor behind a panel session: an admin may settle, a regular user only reads."""
    scopes = frozenset(Scope) if role is Role.ADMIN else frozenset({Scope.READ})
    return Actor(user_id, name, role, scopes, origin, made_by)
