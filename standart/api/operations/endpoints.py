"""The calls about webhook endpoints."""

from __future__ import annotations

from typing import Any, Final

from standart.api import fields, schemas
from standart.api.operations.base import KEYED, POSTED, SENT, Operation
from standart.errors import (
    Conflict,
    EndpointLimit,
    EndpointNotCallable,
    NotFound,
    ReplayRunning,
)
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

_SPAN: Final = {
    "since": "2026-11-23T00:00:00Z",
    "until": "2026-11-23T12:00:00Z",
    "status": "dead",
}

_REPLAY: Final[dict[str, Any]] = {
    "id": "0198f0c9-1a2b-7c3d-8e4f-5a6b7c8d9e0f",
    "user_id": fields.EXAMPLE_USER,
    "endpoint_id": fields.EXAMPLE_ENDPOINT,
    "since": "2026-11-23T00:00:00.000000Z",
    "until": "2026-11-23T12:00:00.000000Z",
    "status": "dead",
    "state": "running",
    "total": 1200,
    "examined": 500,
    "requeued": 480,
    "created_at": "2026-11-23T12:30:00.123456Z",
    "finished_at": None,
}

_PING: Final[dict[str, Any]] = {
    "id": "0198f0ca-2b3c-7d4e-8f5a-6b7c8d9e0f1a",
    "type": "ping",
    "object_type": "webhook_endpoint",
    "object_id": fields.EXAMPLE_ENDPOINT,
    "transaction_id": None,
    "user_id": fields.EXAMPLE_USER,
    "sequence": 1,
    "created_at": "2026-11-23T12:31:00.123456Z",
    "payload": {
        "type": "ping",
        "timestamp": "2026-11-23T12:31:00.123456Z",
        "id": fields.EXAMPLE_ENDPOINT,
        "status": "enabled",
        "sequence": 1,
        "data": ENDPOINT,
    },
    "deliveries": [
        {
            "id": "0198f0ca-2b3d-7e4f-8a5b-6c7d8e9f0a1b",
            "endpoint_id": fields.EXAMPLE_ENDPOINT,
            "state": "waiting",
            "attempt_count": 0,
            "next_attempt_at": "2026-11-23T12:31:00.123456Z",
            "delivered_at": None,
            "attempts": [],
        }
    ],
}

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
    Operation(
        method="post",
        path=f"{_PATH}/test",
        id="test_webhook_endpoint",
        tag="webhook endpoints",
        summary="Send an endpoint a ping",
        description="An event of the type `ping`, for this endpoint alone and whatever it asks "
        "for. What came of it is in the event's attempts.",
        scope=Scope.WRITE,
        body=schemas.NoBody,
        body_optional=True,
        examples={"none": {}},
        answer=schemas.Event,
        example=_PING,
        successes={202: "It is due now."},
        errors=(*POSTED, NotFound, EndpointNotCallable),
        wrong_field="id",
    ),
    Operation(
        method="post",
        path=f"{_PATH}/replay",
        id="replay_webhook_endpoint",
        tag="webhook endpoints",
        summary="Send a span of an endpoint's events anew",
        description="With the same ids and bodies, each by a retry schedule from its start. What "
        "waits or is under way is left alone, and tests are. A span holds at most 100,000 events, "
        "counted first. The work is done in the background, for one span of an endpoint at a "
        "time: while it runs, the same request is answered with it.",
        scope=Scope.WRITE,
        body=schemas.ReplaySpan,
        examples={"dead": _SPAN},
        answer=schemas.Replay,
        example=_REPLAY,
        successes={202: "Begun, or running already."},
        errors=(*POSTED, NotFound, EndpointNotCallable, ReplayRunning),
        wrong_field="until",
    ),
    Operation(
        method="get",
        path=f"{_PATH}/replays",
        id="list_webhook_replays",
        tag="webhook endpoints",
        summary="List an endpoint's replays",
        description="Newest first, with how far each has come.",
        scope=Scope.READ,
        query=schemas.ListReplays,
        answer=schemas.ReplayPage,
        example={"data": [_REPLAY], "next_cursor": None},
        errors=(*KEYED, NotFound),
        wrong_field="limit",
    ),
    Operation(
        method="get",
        path=f"{_PATH}/replays/{{replay_id}}",
        id="webhook_replay",
        tag="webhook endpoints",
        summary="Read one replay",
        description="How far it has come.",
        scope=Scope.READ,
        answer=schemas.Replay,
        example=_REPLAY,
        errors=(*KEYED, NotFound),
        wrong_field="replay_id",
    ),
)
