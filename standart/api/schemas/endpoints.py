"""Webhook endpoints: what is asked and answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from standart.api import checks
from standart.api.fields import Cursor, Id, Limit, Moment, UserId
from standart.api.schemas.common import Reply, Request
from standart.services import endpoint_rules as rules
from standart.webhooks.addresses import MAX_URL_LENGTH

Url = Annotated[
    str,
    Meta(
        max_length=MAX_URL_LENGTH,
        description="Where its events are sent: `https`, a public host, port 443 or 8443, unless "
        "the operator allows more. No user name, no fragment.",
        examples=["https://shop.example/hooks/standart"],
    ),
]
EventTypes = Annotated[
    list[str],
    Meta(
        min_length=1,
        max_length=rules.MOST_EVENT_TYPES,
        description="Which events it gets: names, prefixes such as `payout.*`, or `*`, each once.",
        examples=[["transaction.*", "refund.created"]],
        extra_json_schema={
            "items": {"type": "string", "enum": list(rules.PATTERNS)},
            "uniqueItems": True,
        },
    ),
]
Description = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=rules.LONGEST_DESCRIPTION,
        description="For people. No control characters, no card numbers.",
        examples=["The warehouse"],
    ),
]
Headers = Annotated[
    dict[str, Annotated[str, Meta(max_length=rules.LONGEST_HEADER)]],
    Meta(
        max_length=rules.MOST_HEADERS,
        description="Headers that each request to it carries: visible ASCII values under tokens of "
        "RFC 9110. Not the signing ones (`webhook-*`) and none that describes the message or the "
        "connection (`content-*`, `proxy-*`, `x-forwarded-*`, `host`, `user-agent`, …). Kept "
        f"encrypted and shown as `{rules.MASK}`; sent back so, a value stays as it is.",
        examples=[{"Authorization": "Bearer 4f1b"}],
        extra_json_schema={"propertyNames": {"pattern": f"^{rules.HEADER_NAME}$"}},
    ),
]
ShownHeaders = Annotated[
    dict[str, str],
    Meta(
        description="The names of its headers; what they say is not shown.",
        examples=[{"Authorization": rules.MASK}],
    ),
]
RateLimit = Annotated[
    int,
    Meta(
        ge=1,
        le=rules.HIGHEST_RATE,
        description="Requests a second at most; null: as many as it bears.",
        examples=[50],
    ),
]
Ordered = Annotated[
    bool,
    Meta(
        description="Whether the next event of an object waits until the former one was delivered "
        "or is dead. Events of different objects never wait for each other."
    ),
]

Since = Annotated[
    datetime,
    Meta(
        tz=True,
        description="RFC 3339 with a zone: the first moment of the span.",
        examples=["2026-11-23T00:00:00Z"],
    ),
]
Until = Annotated[
    datetime,
    Meta(
        tz=True,
        description="The end of the span, not within it. What happens after the request is "
        "delivered anyhow.",
        examples=["2026-11-23T12:00:00Z"],
    ),
]
ReplayStatus = Annotated[
    Literal["dead", "all"],
    Meta(
        description="`dead`: those that the endpoint never took. `all`: also those that it did "
        "take, and those that it asks for but never got."
    ),
]


class CreateEndpoint(Request, frozen=True):
    """A new endpoint; by default it gets the three endings of transactions."""

    url: Url
    event_types: EventTypes | None = None
    description: Description | None = None
    headers: Headers | None = None
    rate_limit: RateLimit | None = None
    ordered: Ordered = False
    enabled: bool = True
    user_id: UserId | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("event_types", self.event_types, rules.event_types),
            ("description", self.description, rules.description),
            ("headers", self.headers, rules.headers),
            ("user_id", self.user_id, checks.identifier),
        )


class UpdateEndpoint(Request, frozen=True):
    """What shall be otherwise; what is left out stays.

    Only the default endpoint may have a null `url`: then nothing is sent to it.
    """

    url: Url | UnsetType | None = UNSET
    event_types: EventTypes | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    headers: Headers | UnsetType | None = UNSET
    rate_limit: RateLimit | UnsetType | None = UNSET
    ordered: Ordered | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        checks.require(
            ("event_types", self.event_types or None, rules.event_types),
            ("description", self.description or None, rules.description),
            ("headers", self.headers or None, rules.headers),
        )


class NoBody(Request, frozen=True):
    """Nothing to say: an empty object, or no body."""


class ListEndpoints(Request, frozen=True):
    """Whose endpoints to list."""

    user_id: UserId | None = None
    limit: Limit | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        checks.require(
            ("user_id", self.user_id, checks.identifier), ("limit", self.limit, checks.limit)
        )


class Endpoint(Reply, frozen=True):
    """A receiver of events.

    Its `lane` is `slow` while it fails again and again: then it is only probed. One that is
    disabled says why: its owner's wish, an answer 410, or failing for days.
    """

    id: Id
    user_id: UserId
    default: bool
    url: str | None
    event_types: list[str]
    description: str | None
    ordered: bool
    rate_limit: int | None
    headers: ShownHeaders
    enabled: bool
    disabled_reason: Literal["owner", "gone", "failing"] | None
    status: Literal["enabled", "disabled"]
    disabled_at: Moment | None
    lane: Literal["normal", "slow"]
    failing_since: Moment | None
    previous_secret_until: Moment | None
    created_at: Moment


class EndpointWithSecret(Endpoint, frozen=True):
    """An endpoint with the secret that signs what is sent to it, this once."""

    secret: Annotated[
        str,
        Meta(
            description="Of Standard Webhooks. Shown when it is made, here and in the panel.",
            examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
        ),
    ]


class EndpointPage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[Endpoint]
    next_cursor: str | None


class DeletedEndpoint(Reply, frozen=True):
    """It is gone."""

    id: Id
    deleted: Literal[True]


class ReplaySpan(Request, frozen=True):
    """Which of an endpoint's events to send anew."""

    since: Since
    until: Until
    status: ReplayStatus

    def __post_init__(self) -> None:
        if self.since >= self.until:
            checks.require(("until", self.until, lambda _: "must be later than since"))


class ListReplays(Request, frozen=True):
    """A page of an endpoint's replays."""

    limit: Limit | None = None
    cursor: Cursor | None = None

    def __post_init__(self) -> None:
        checks.require(("limit", self.limit, checks.limit))


class Replay(Reply, frozen=True):
    """How far the sending anew of a span has come.

    Of `total` events `examined` are done with; `requeued` of them are sent anew.
    """

    id: Id
    user_id: UserId
    endpoint_id: Id
    since: Moment
    until: Moment
    status: ReplayStatus
    state: Literal["running", "finished"]
    total: int
    examined: int
    requeued: int
    created_at: Moment
    finished_at: Moment | None


class ReplayPage(Reply, frozen=True):
    """Newest first; `next_cursor` is null on the last page."""

    data: list[Replay]
    next_cursor: str | None
