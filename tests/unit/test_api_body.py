from __future__ import annotations

import io
import json
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from standart.api import body, schemas
from standart.errors import DomainError, InvalidInput, Malformed, PayloadTooLarge


class Small(schemas.Request, frozen=True):
    """A schema with a field of each kind."""

    amount: str
    note: Annotated[str, Meta(max_length=3)] | None = None
    tags: dict[str, str] | None = None


def fields_of(error: InvalidInput) -> dict[str, str]:
    return {each.field: each.message for each in error.errors}


def test_a_number_literal_is_kept_exactly_as_written() -> None:
    for literal in ("1", "1.10", "0.1", "1e400", "-0.0", "123456789012345678901234567890.123"):
        assert body.parse(b'{"amount": %s}' % literal.encode(), Small).amount == literal


def test_only_the_amount_may_be_a_number() -> None:
    with pytest.raises(InvalidInput) as caught:
        body.parse(b'{"amount": 1, "note": 1}', Small)
    assert fields_of(caught.value) == {"note": "must be `string | null`, not `number`"}


def test_a_number_of_a_thousand_characters_is_read_and_one_more_is_not() -> None:
    assert body.parse(b'{"amount": %s}' % (b"9" * 1000), Small).amount == "9" * 1000
    with pytest.raises(Malformed):
        body.parse(b'{"amount": %s}' % (b"9" * 1001), Small)


def test_all_wrong_fields_are_named_in_short_printable_words() -> None:
    sent = {"note": "long", "tags": {"\udfff": 1}, "\ud800": 1, "u" * 300: 1}
    with pytest.raises(InvalidInput) as caught:
        body.parse(json.dumps(sent).encode(), Small)
    found = fields_of(caught.value)
    assert set(found) == {"amount", "note", "tags", "\\ud800", "u" * 200}
    assert found["amount"] == "is required"
    assert found["note"] == "must be `string` of length <= 3"
    assert all(text.isascii() for pair in found.items() for text in pair)


def test_an_answer_to_many_unknown_fields_stays_smaller_than_what_was_sent() -> None:
    sent = json.dumps({"amount": 1, **{f"\uffff{number}": 0 for number in range(3000)}}).encode()
    with pytest.raises(InvalidInput) as caught:
        body.parse(sent, Small)
    assert 1 <= len(caught.value.errors) <= 20


def test_a_word_that_is_none_of_a_few_is_told_which_there_are() -> None:
    with pytest.raises(InvalidInput) as caught:
        body.typed({"status": "paid"}, schemas.ListTransactions)
    assert fields_of(caught.value) == {
        "status": "must be one of: pending, confirmed, canceled, expired"
    }


@pytest.mark.parametrize("text", ["{}", "[]", "null", "1", '"x"', "true"])
def test_json_that_is_not_the_schema_is_invalid_and_not_malformed(text: str) -> None:
    with pytest.raises(InvalidInput):
        body.parse(text.encode(), Small)


def test_one_byte_over_the_limit_is_too_large() -> None:
    fine = b'{"amount":"1"}'
    assert body.parse(fine.ljust(body.MAX_BODY_BYTES), Small).amount == "1"
    with pytest.raises(PayloadTooLarge):
        body.parse(fine.ljust(body.MAX_BODY_BYTES + 1), Small)


def refusal(data: bytes) -> DomainError | None:
    """What the service says to ``data``; anything but a domain error is a failure."""
    try:
        body.parse(data, schemas.CreateTransaction)
    except DomainError as error:
        return error
    return None


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    error = refusal(data)
    assert error is not None
    assert error.status in (400, 422)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = st.sampled_from([*schemas.CreateTransaction.__struct_fields__, "odd", "\ud800"])


@given(st.dictionaries(NAMES, JSON | st.text(st.characters(codec=None)), max_size=7))
def test_no_json_raises_anything_but_a_refusal_that_can_be_sent(sent: dict[str, object]) -> None:
    error = refusal(json.dumps(sent).encode())
    if isinstance(error, InvalidInput):
        assert fields_of(error)
        assert msgspec.json.encode(error.errors)
    else:
        assert error is None or isinstance(error, Malformed)


@given(st.dictionaries(st.sampled_from(["amount", "note"]), st.text(max_size=3), min_size=1))
def test_a_key_given_twice_is_malformed_wherever_it_stands(sent: dict[str, str]) -> None:
    pairs = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in sent.items()]
    doubled = "{" + ",".join([*pairs, pairs[0]]) + "}"
    with pytest.raises(Malformed):
        body.parse(doubled.encode(), Small)


class Trickle(io.BytesIO):
    """A stream that brings at most three bytes at a time, as a slow client does."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size if size is not None and size >= 0 else 3, 3))


def received(data: bytes, **environ: Any) -> bytes:
    return body._bytes({"wsgi.input": Trickle(data), **environ})


def test_a_body_that_comes_in_pieces_is_read_whole() -> None:
    assert received(b"0123456789", CONTENT_LENGTH="10") == b"0123456789"
    assert received(b"0123456789", **{"wsgi.input_terminated": True}) == b"0123456789"


def test_only_the_length_is_read_and_nothing_without_one() -> None:
    assert received(b"0123456789", CONTENT_LENGTH="4") == b"0123"
    assert received(b"0123456789", CONTENT_LENGTH="0") == b""
    assert received(b"0123456789") == b""


@pytest.mark.parametrize("length", ["11", "x", "-1", "+1", "1.0", "１", "9" * 19])
def test_a_length_that_is_wrong_is_malformed(length: str) -> None:
    with pytest.raises(Malformed):
        received(b"0123456789", CONTENT_LENGTH=length)


@pytest.mark.parametrize(
    "environ", [{"CONTENT_LENGTH": "70000"}, {"wsgi.input_terminated": True}], ids=str
)
def test_a_body_over_the_limit_is_too_large_and_read_on_a_little(environ: dict[str, Any]) -> None:
    stream = io.BytesIO(b" " * 70_000)
    with pytest.raises(PayloadTooLarge):
        body._bytes({"wsgi.input": stream, **environ})
    assert stream.read() == b""
