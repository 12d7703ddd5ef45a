"""The calls about webhook endpoints."""

from __future__ import annotations

from typing import Any, Final

from standart.api import fields, schemas
from standart.api.operations.base import KEYED, POSTED, SENT, Operation
from standart.errors import Conflict, EndpointLimit, NotFound
from standart.models import Scope

_NEW: Final[dict[str, Any]] = {
    "url": "https://warehouse.example/hooks/standart",
    "event_types": ["transaction.*", "refund.created"],
    "description": "The warehouse",
    "headers": {"Authorization": "Bearer 4f1b"},
    "rate_limit": 50,
}

_SECRET: Final = {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}

ENDPOINT: Final[dict[str, Any]] = {
    "id": fields.EXAMPLE_ENDPOINT,
    "user_id": fields.EXAMPLE_USER,
    "default": False,
    "url": "https://warehouse.example/hooks/standart",
    "event_types": ["transaction.*", "refund.created"],
    "description": "The warehouse",
    "ordered": False,
    "rate_limit": 50,
    "headers": {"Authorization": "***"},
    "enabled": True,
    "disabled_reason": None,
    "status": "enabled",
    "disabled_at": None,
    "lane": "normal",
    "failing_since": None,
    "previous_secret_until": None,
    "created_at": "2026-11-23T08:00:00.123456Z",
}

_PATH: Final = "/webhook_endpoints/{id}"

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/webhook_endpoints",
        id="create_webhook_endpoint",
        tag="webhook endpoints",
        summary="Add an endpoint",
        description="Another receiver of events, beside the default one that every merchant has. "
        "A merchant has at most 20, the default one among them. The answer shows the secret, "
        "this once; it is kept encrypted, a kept answer too. An admin's key names the merchant "
        "by `user_id`, a merchant's key must not.",
        scope=Scope.WRITE,
        body=schemas.CreateEndpoint,
        examples={
            "merchant": _NEW,
            "admin": {"url": _NEW["url"], "user_id": fields.EXAMPLE_USER},
        },
        answer=schemas.EndpointWithSecret,
        example={**ENDPOINT, **_SECRET},
        successes={201: "Added."},
        errors=(*POSTED, EndpointLimit),
        wrong_field="url",
    ),
    Operation(
        method="get",
        path="/webhook_endpoints",
        id="list_webhook_endpoints",
        tag="webhook endpoints",
        summary="List endpoints",
        description="Newest first; the default one, whose id is the merchant's, is the oldest.",
        scope=Scope.READ,
        query=schemas.ListEndpoints,
        answer=schemas.EndpointPage,
        example={"data": [ENDPOINT], "next_cursor": None},
        errors=KEYED,
        wrong_field="limit",
    ),
    Operation(
        method="get",
        path=_PATH,
        id="webhook_endpoint",
        tag="webhook endpoints",
        summary="Read one endpoint",
        description="Its settings, and how it bears what it gets; never its secret.",
        scope=Scope.READ,
        answer=schemas.Endpoint,
        example=ENDPOINT,
        errors=(*KEYED, NotFound),
        wrong_field="id",
    ),
    Operation(
        method="patch",
        path=_PATH,
        id="update_webhook_endpoint",
        tag="webhook endpoints",
        summary="Change an endpoint",
        description="What is left out stays. `enabled` true lets it be called again, whyever it "
        "was not; so does another `url` after an answer 410 or days of failing. `headers` "
        "replaces them all.",
        scope=Scope.WRITE,
        body=schemas.UpdateEndpoint,
        examples={
            "types": {"event_types": ["*"]},
            "stop": {"enabled": False},
            "default": {"url": None},
        },
        answer=schemas.Endpoint,
        example={**ENDPOINT, "event_types": ["*"]},
        errors=(*SENT, NotFound),
        wrong_field="url",
    ),
    Operation(
        method="delete",
        path=_PATH,
        id="delete_webhook_endpoint",
        tag="webhook endpoints",
        summary="Delete an endpoint",
        description="Nothing more is sent to it, whatever waits; its events and attempts stay. "
        "The default one cannot be deleted: set its `url` to null, or disable it.",
        scope=Scope.WRITE,
        answer=schemas.DeletedEndpoint,
        example={"id": fields.EXAMPLE_ENDPOINT, "deleted": True},
        errors=(*KEYED, NotFound, Conflict),
        wrong_field="id",
    ),
    Operation(
        method="post",
        path=f"{_PATH}/rotate_secret",
        id="rotate_webhook_secret",
        tag="webhook endpoints",
        summary="Give an endpoint another secret",
        description="The answer shows the new secret, this once. For 24 hours each request is "
        "signed by the former one as well, so that a receiver can change at leisure.",
        scope=Scope.WRITE,
        body=schemas.NoBody,
        body_optional=True,
        examples={"none": {}},
        answer=schemas.EndpointWithSecret,
        example={
            **ENDPOINT,
            "previous_secret_until": "2026-11-24T12:00:00.123456Z",
            **_SECRET,
        },
        errors=(*POSTED, NotFound),
        wrong_field="id",
    ),
)
