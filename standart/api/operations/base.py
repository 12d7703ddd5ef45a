"""What the documentation tells of a call, and the errors that calls of a kind share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec import Struct

from standart.errors import (
    DomainError,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InsufficientScope,
    InvalidInput,
    Malformed,
    PayloadTooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from standart.models import Scope

Errors = tuple[type[DomainError], ...]

ANY: Final[Errors] = (Malformed, InvalidInput, Unavailable)
KEYED: Final[Errors] = (*ANY, Unauthenticated, InsufficientScope, TooManyRequests)
SENT: Final[Errors] = (*KEYED, PayloadTooLarge, UnsupportedMediaType)
POSTED: Final[Errors] = (*SENT, IdempotencyKeyInFlight, IdempotencyKeyReused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call: ``scope`` is what its key needs, ``None`` for no key at all.

    ``examples`` are bodies, ``example`` is the answer; ``wrong_field`` is the field that the
    example of a 422 complains about. ``other_answers`` are further forms that a success may have,
    by the name of their example; ``other_types`` are other media types, each with an example.
    """

    method: Literal["get", "post", "patch", "delete"]
    path: str
    id: str
    tag: str
    summary: str
    description: str
    scope: Scope | None
    answer: type[Struct]
    example: Mapping[str, Any]
    errors: Errors
    wrong_field: str
    successes: Mapping[int, str] = field(default_factory=lambda: {200: "Done."})
    body: type[Struct] | None = None
    body_optional: bool = False
    other_answers: Mapping[str, tuple[type[Struct], Mapping[str, Any]]] = field(
        default_factory=dict
    )
    other_types: Mapping[str, str] = field(default_factory=dict)
    examples: Mapping[str, Any] = field(default_factory=dict)
    query: type[Struct] | None = None

    @property
    def path_parameters(self) -> list[str]:
        """The names in the path; each is an id."""
        return re.findall(r"{(\w+)}", self.path)
