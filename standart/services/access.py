"""Who acts, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from standart.errors import Forbidden, InsufficientScope, NotFound
from standart.models import Role, Scope

STAFF: Final = frozenset({Role.ADMIN, Role.OPERATOR, Role.VIEWER})
"""Who sees the rows of everybody."""

SETTLERS: Final = frozenset({Role.ADMIN, Role.OPERATOR})
"""Who decides over the money of everybody, and so whose consents count."""

SCOPES_OF: Final[Mapping[Role, frozenset[Scope]]] = MappingProxyType(
    {
        Role.ADMIN: frozenset(Scope),
        # To pay out on a merchant's behalf is no decision over what the merchant asked for.
        Role.OPERATOR: frozenset({Scope.READ, Scope.WRITE, Scope.CONFIRM, Scope.REFUND}),
        Role.VIEWER: frozenset({Scope.READ}),
        Role.REGULAR: frozenset(Scope) - {Scope.CONFIRM},
    }
)
"""The scopes that a key of each role may have at most."""


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
        """Whether the actor manages users, and acts on behalf of merchants."""
        return self.role is Role.ADMIN

    @property
    def settles(self) -> bool:
        """Whether the actor decides over everybody's transactions, refunds and payouts."""
        return self.role in SETTLERS

    @property
    def sees_all(self) -> bool:
        """Whether the actor sees everybody's rows."""
        return self.role in STAFF

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
        return self.sees_all or self.user_id == user_id

    def require_keeper(self, user_id: UUID) -> None:
        """Refuse who may see what belongs to ``user_id`` but not change its settings.

        Raises:
            NotFound: as ``require_owner``.
            Forbidden: the actor is of the staff, but no admin.
        """
        self.require_owner(user_id)
        if self.sees_all and not self.is_admin:
            raise Forbidden("Only the merchant or an admin may do this.")

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
    """The actor behind a panel session: its role's rights, but a regular user only reads."""
    scopes = frozenset({Scope.READ}) if role is Role.REGULAR else SCOPES_OF[role]
    return Actor(user_id, name, role, scopes, origin, made_by)
