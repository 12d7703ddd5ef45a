"""What goes back and forth between the database and who sends: claims and results, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from standart.clock import timestamp
from standart.webhooks import signing


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a claimed delivery goes, with what it is signed by."""

    url: str
    secrets: tuple[str, ...] = field(repr=False)
    extra_headers: Mapping[str, str] = field(repr=False)
    problem: str = ""
    """Why nothing for it can be signed and so not be sent; empty for nearly all."""
    slow: bool = False
    """Whether it is only probed, as it failed too often."""
    ordered: bool = False
    """Whether an object's next event waits for the end of this one."""


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that this worker may try once before the lease ends."""

    user_id: UUID
    id: UUID
    endpoint_id: UUID
    event_id: UUID
    lease: UUID
    attempt: int
    """Which try this is since the retry schedule began, from 1."""
    receiver: Receiver
    body: bytes

    def headers(self) -> dict[str, str]:
        """Return the headers of a try now, signed by Standard Webhooks."""
        receiver = self.receiver
        signed = signing.headers(receiver.secrets, str(self.event_id), timestamp(), self.body)
        return {**receiver.extra_headers, **signed}


@dataclass(frozen=True, slots=True)
class Claim:
    """What was claimed, and when it is worth to ask again.

    ``cursor`` is where the next claim goes on, ``BEGINNING`` once all endpoints were looked at;
    ``soonest`` is in seconds, for those that this claim looked at, None when nothing waits there;
    ``full`` says that more may be due right now.
    """

    deliveries: list[ClaimedDelivery]
    cursor: tuple[UUID, UUID]
    soonest: float | None
    full: bool


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of a try; ``retry_after`` in seconds, all ``_ms`` in milliseconds.

    The headers are JSON objects, name to value; what the request's custom ones said is masked.
    """

    outcome: str
    status_code: int | None
    excerpt: str
    error: str
    duration_ms: int
    retry_after: int | None = None
    request_headers: Mapping[str, str] = field(default_factory=dict)
    response_headers: Mapping[str, str] = field(default_factory=dict)
    dns_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    first_byte_ms: int | None = None


class Latency(NamedTuple):
    """How many seconds an event took from its commit to its first 2xx; whether at the first try."""

    seconds: float
    at_once: bool
