from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from standart import errors
from standart.api import fields, openapi, schemas
from standart.api.operations import OPERATIONS, Operation
from standart.errors import DomainError, InvalidInput
from standart.states import TERMINAL, PayoutStatus, TransactionStatus

DOCUMENT: dict[str, Any] = openapi.document()
IDS = [operation.id for operation in OPERATIONS]


def validator(schema: dict[str, Any]) -> OAS31Validator:
    return OAS31Validator({**schema, "components": DOCUMENT["components"]})


def test_the_document_is_valid_openapi_and_plain_json() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    assert fields.SENT_AS not in json.dumps(DOCUMENT)


def contents() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path, methods in DOCUMENT["paths"].items():
        for method, described in methods.items():
            parts = [described.get("requestBody", {}), *described["responses"].values()]
            found += [
                (f"{method} {path}", content)
                for part in parts
                for content in part.get("content", {}).values()
            ]
    return found


def test_every_content_has_examples_that_fit_its_schema() -> None:
    assert len(contents()) > 50
    for place, content in contents():
        assert content["examples"], place
        for example in content["examples"].values():
            errors_found = list(validator(content["schema"]).iter_errors(example["value"]))
            assert errors_found == [], (place, errors_found)


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_examples_are_what_the_schemas_read_and_answer(operation: Operation) -> None:
    msgspec.convert(operation.example, operation.answer)
    for example in operation.examples.values():
        assert operation.body is not None
        msgspec.convert(example, operation.body)


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_each_operation_shows_each_of_its_errors_by_code(operation: Operation) -> None:
    responses = DOCUMENT["paths"][operation.path][operation.method]["responses"]
    shown = {
        (int(status), code)
        for status, response in responses.items()
        if int(status) >= 400
        for code in response["content"]["application/problem+json"]["examples"]
    }
    assert shown == {(error.status, error.code) for error in operation.errors}


def test_every_error_of_the_service_that_a_client_can_meet_is_shown_somewhere() -> None:
    shown = {error for operation in OPERATIONS for error in operation.errors}
    # Of users and their names, and without an operation to belong to.
    elsewhere = {
        errors.NameTaken,
        errors.UserChanged,
        errors.UserHasHistory,
        errors.MethodNotAllowed,
        errors.ConfigurationError,
    }
    defined = {
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, DomainError) and error is not DomainError
    }
    assert defined - shown == elsewhere


@pytest.mark.parametrize(
    ("value", "fits"),
    [("100.00", True), (100, True), (0.5, True), ("1e3", False), ("-1", False), (None, False)],
)
def test_the_amount_is_documented_as_it_may_be_sent(value: object, fits: bool) -> None:
    schema = {"$ref": "#/components/schemas/CreateTransaction"}
    assert validator(schema).is_valid({"amount": value}) is fits


def test_the_documented_grammars_refuse_what_the_checks_refuse() -> None:
    schema = validator({"$ref": "#/components/schemas/CreateTransaction"})
    for wrong in (
        {"amount": "1", "id": "x"},
        {"amount": "1", "currency": "rub"},
        {"amount": "1", "reference": ""},
        {"amount": "1", "description": "x" * 501},
        {"amount": "1", "metadata": {"a b": "c"}},
        {"amount": "1", "metadata": {"a": "x" * 501}},
        {"amount": "1", "metadata": {f"k{number}": "v" for number in range(51)}},
        {"amount": "1", "surprise": 1},
    ):
        assert not schema.is_valid(wrong), wrong
        with pytest.raises((InvalidInput, msgspec.ValidationError)):
            msgspec.convert(wrong, schemas.CreateTransaction)


@pytest.mark.parametrize("name", ["transaction", "refund", "payout", "adjustment"])
def test_the_body_of_an_event_is_documented_as_the_object_itself(name: str) -> None:
    (described,) = [each for each in OPERATIONS if each.id == f"create_{name}"]
    schema = validator({"$ref": "#/components/schemas/EventBody/properties/data"})
    assert schema.is_valid(described.example)
    assert not schema.is_valid({**described.example, "surprise": 1})
    assert not schema.is_valid({})


def test_states_and_events_are_those_of_the_core() -> None:
    assert set(fields.Status.__args__) == set(TransactionStatus)  # type: ignore[attr-defined]
    transactions = {"transaction.created", *(f"transaction.{status}" for status in TERMINAL)}
    assert set(fields.TransactionEvent.__args__) == transactions  # type: ignore[attr-defined]
    payouts = {f"payout.{status}" for status in PayoutStatus if status != "pending"}
    others = {
        "payout.created",
        "refund.created",
        "balance.adjusted",
        "webhook_endpoint.disabled",
        "ping",
    }
    every = transactions | payouts | others
    assert set(fields.EventType.__args__) == every  # type: ignore[attr-defined]
    assert set(fields.PayoutStatus.__args__) == set(PayoutStatus)  # type: ignore[attr-defined]
