"""The OpenAPI 3.1 document, made from the schemas that validate.

``operations`` says what each call does; this module turns schemas, errors and examples
into the document. Nothing is written down twice.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import msgspec
from msgspec import Struct

from standart import __version__
from standart.api import fields, schemas
from standart.api.errors import MIMETYPE
from standart.api.examples import EVENT, REQUEST_ID, field_errors, members_of
from standart.api.operations import OPERATIONS, Operation
from standart.errors import DomainError

TITLE: Final = "Standart API"
VERSION: Final = __version__

_REF: Final = "#/components/schemas/{name}"

_ABOUT: Final = """\
Payment transactions with exact money and signed webhooks.

Send `Authorization: Bearer <API key>`. Bodies are JSON in UTF-8, at most 64 KiB; unknown
fields and unknown or repeated query parameters are refused. Every answer carries
`X-Request-Id`; send your own (letters, digits, `.`, `_`, `:`, `-`) and it is kept. Errors are
RFC 9457 problem documents with a stable `code`. A body sent with GET is ignored; HEAD is
answered as GET without its body; OPTIONS is not, since there is no CORS. `429` comes only
where a rate limit is set.
"""

_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Repeating the request with this key within 24 hours has no second effect and "
    "answers the same bytes, with `Idempotent-Replayed: true`.",
    "schema": {"type": "string", "pattern": "^[!-+\\--~]{1,255}$", "examples": ["order-1017"]},
}

_HEADERS: Final = {
    "X-Request-Id": {"description": "The request's id.", "schema": {"type": "string"}}
}


def document() -> Any:
    """Return the document as JSON-ready dictionaries."""
    return _as_sent(
        {
            "openapi": "3.1.0",
            "info": {"title": TITLE, "version": VERSION, "description": _ABOUT},
            "servers": [{"url": "/"}],
            "security": [{"key": []}],
            "tags": [{"name": tag} for tag in dict.fromkeys(each.tag for each in OPERATIONS)],
            "paths": _paths(),
            "webhooks": _webhooks(),
            "components": {
                "securitySchemes": {
                    "key": {"type": "http", "scheme": "bearer", "bearerFormat": "sk_live_…"}
                },
                "schemas": _components(),
            },
        }
    )


def _as_sent(part: Any) -> Any:
    """Return a part of the document with what clients send in place of what is read."""
    if isinstance(part, list):
        return [_as_sent(one) for one in part]
    if not isinstance(part, dict):
        return part
    sent = part.get(fields.SENT_AS, {})
    return {key: _as_sent(one) for key, one in (part | sent).items() if key != fields.SENT_AS}


def _components() -> dict[str, Any]:
    types: list[type[Struct]] = [schemas.Problem, schemas.WebhookBody, schemas.EventBody]
    types += [each.body for each in OPERATIONS if each.body]
    types += [each.answer for each in OPERATIONS]
    types += [kind for each in OPERATIONS for kind, _ in each.other_answers.values()]
    _, components = msgspec.json.schema_components(types, ref_template=_REF)
    return dict(components)


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = defaultdict(dict)
    for each in OPERATIONS:
        paths[each.path][each.method] = _operation(each)
    return dict(paths)


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": _description(operation),
        "responses": _successes(operation) | _failures(operation),
    }
    parameters = _parameters(operation)
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": {
                "application/json": {
                    "schema": _ref(operation.body),
                    "examples": {
                        name: {"value": value} for name, value in operation.examples.items()
                    },
                }
            },
        }
    if operation.scope is None:
        described["security"] = []
    return described


def _description(operation: Operation) -> str:
    if operation.scope is None:
        return f"{operation.description} Needs no key."
    return f"{operation.description} Needs the scope `{operation.scope.value}`."


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": msgspec.json.schema(fields.Id)}
        for name in operation.path_parameters
    ]
    if operation.query:
        parameters += [_parameter(field) for field in msgspec.structs.fields(operation.query)]
    if operation.method == "post" and operation.body:
        parameters.append(_IDEMPOTENCY_KEY)
    return parameters


def _parameter(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    """Return a query parameter; there is no null in a query, so that branch is dropped."""
    schema = msgspec.json.schema(field.type)
    branches = [one for one in schema.get("anyOf", [schema]) if one != {"type": "null"}]
    (only,) = branches
    return {
        "name": field.encode_name,
        "in": "query",
        "required": field.required,
        "description": only.get("description", ""),
        "schema": {key: value for key, value in only.items() if key != "description"},
    }


def _successes(operation: Operation) -> dict[str, Any]:
    others = operation.other_answers
    schema: dict[str, Any] = _ref(operation.answer)
    if others:
        schema = {"oneOf": [schema, *(_ref(kind) for kind, _ in others.values())]}
    return {
        str(status): {
            "description": meaning,
            "headers": _HEADERS,
            "content": {
                "application/json": {
                    "schema": schema,
                    "examples": {
                        operation.id: {"value": operation.example},
                        **{name: {"value": example} for name, (_, example) in others.items()},
                    },
                },
                **{
                    mimetype: {
                        "schema": {"type": "string"},
                        "examples": {operation.id: {"value": example}},
                    }
                    for mimetype, example in operation.other_types.items()
                },
            },
        }
        for status, meaning in operation.successes.items()
    }


def _failures(operation: Operation) -> dict[str, Any]:
    by_status: dict[int, list[type[DomainError]]] = defaultdict(list)
    for error in operation.errors:
        by_status[error.status].append(error)
    return {
        str(status): {
            "description": " or ".join(error.title.lower() for error in errors),
            "headers": _HEADERS | _retry_header(status),
            "content": {
                MIMETYPE: {
                    "schema": _ref(schemas.Problem),
                    "examples": {
                        error.code: {"value": problem_example(error, operation)} for error in errors
                    },
                }
            },
        }
        for status, errors in sorted(by_status.items())
    }


def _retry_header(status: int) -> dict[str, Any]:
    if status not in (429, 503):
        return {}
    return {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}}


def problem_example(error: type[DomainError], operation: Operation) -> dict[str, Any]:
    """Return what ``error`` looks like as an answer to ``operation``."""
    example: dict[str, Any] = {
        "type": f"urn:standart:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": (error.__doc__ or "").strip().splitlines()[0],
        "code": error.code,
        "request_id": REQUEST_ID,
    }
    return example | field_errors(error, operation.wrong_field) | members_of(error, operation.scope)


def _webhooks() -> dict[str, Any]:
    transaction = _webhook(
        "webhook",
        "A transaction was created, confirmed, canceled or has expired",
        schemas.WebhookBody,
    )
    event = _webhook(
        "event_webhook", "Anything an endpoint may ask for, by `type`", schemas.EventBody
    )
    return {"transaction": {"post": transaction}, "event": {"post": event}}


def _webhook(name: str, summary: str, body: type[Struct]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "description": "Sent to the endpoints that ask for its type and signed by Standard "
        "Webhooks; any 2xx answer means it has arrived. It may come more than once with the same "
        "`webhook-id`, and out of order: `sequence` tells which change of its object is newer.",
        "security": [],
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
            for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        ],
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": _ref(body),
                    "examples": {"confirmed": {"value": EVENT["payload"]}},
                }
            }
        },
        "responses": {"2XX": {"description": "It has arrived."}},
    }


def _ref(type: type[Struct]) -> dict[str, str]:
    return {"$ref": _REF.format(name=type.__name__)}
