"""Reading a request body: strict JSON, strictly typed, numbers never as binary floats.

Structure first, by the scanner of the standard library with everything lax refused; types
second, by msgspec from the schema. What is not JSON is 400, what is JSON but not what the
schema says is 422.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeVar, get_args, get_origin

import msgspec
from flask import request

from standart.errors import (
    FieldError,
    InvalidInput,
    Malformed,
    PayloadTooLarge,
    UnsupportedMediaType,
)

MAX_BODY_BYTES: Final = 64 * 1024

# Far more digits than any amount has, far fewer than what int() refuses.
_LONGEST_NUMBER: Final = 1000

# An answer names so many unknown fields; more would make it larger than what it answers.
_MOST_UNKNOWN: Final = 20

# How much of a body that is too large anyway is read on and dropped.
_DRAINED_BYTES: Final = 1024 * 1024

_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_CONTENT_TYPE: Final = re.compile(
    r'application/json(?:[ \t]*;[ \t]*charset=(?:utf-8|"utf-8"))?', re.IGNORECASE
)

_WORDS: Final = (
    ("Expected ", "must be "),
    (", got ", ", not "),
    ("`str", "`string"),
    ("`Number`", "`number`"),
    ("`bool`", "`boolean`"),
    ("`int", "`integer"),
)

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, WSGIEnvironment

Schema = TypeVar("Schema", bound=msgspec.Struct)


class Number:
    """A number literal of a body, exactly as it was written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST_NUMBER:
            raise Malformed("The body holds a number that is too long.")
        self.text = text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("The body names a key twice.")
    return found


def _constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is not JSON.")


_SCANNER: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_constant,
)


def read(schema: type[Schema], *, optional: bool = False) -> Schema:
    """Return the body of the current request as ``schema``.

    Where it is ``optional``, none at all says what an empty object says.

    Raises:
        UnsupportedMediaType: not ``application/json`` in UTF-8, or encoded (gzip).
        PayloadTooLarge: more than ``MAX_BODY_BYTES``.
        Malformed: no JSON, or JSON that other readers would read differently.
        InvalidInput: JSON that is not what the schema says.
    """
    environ = request.environ
    if optional and _is_absent(environ):
        return typed({}, schema)
    content_type = environ.get("CONTENT_TYPE", "")
    if content_type != "application/json" and not _CONTENT_TYPE.fullmatch(content_type):
        raise UnsupportedMediaType
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise UnsupportedMediaType
    return parse(_bytes(environ), schema)


def _is_absent(environ: WSGIEnvironment) -> bool:
    """Tell whether the request has no body; one without a length may be sent in chunks."""
    without_length = "HTTP_TRANSFER_ENCODING" not in environ
    return environ.get("CONTENT_LENGTH", "") in ("", "0") and without_length


def _bytes(environ: WSGIEnvironment) -> bytes:
    """Return the whole body and never a part of it.

    Werkzeug would silently cut a chunked body at the limit.
    """
    stream = environ["wsgi.input"]
    text = environ.get("CONTENT_LENGTH")
    if not text:
        # Without a length only a server that marks the end itself can be read.
        wanted = MAX_BODY_BYTES + 1 if environ.get("wsgi.input_terminated") else 0
    elif _LENGTH.fullmatch(text):
        wanted = min(int(text), MAX_BODY_BYTES + 1)
    else:
        raise Malformed("The Content-Length is not a number.")
    data = _read(stream, wanted)
    if len(data) > MAX_BODY_BYTES:
        # A client that is still sending when the connection closes would miss the answer.
        _read(stream, _DRAINED_BYTES)
        raise PayloadTooLarge
    if text and len(data) < wanted:
        raise Malformed("The body ends before its Content-Length.")
    return data


def _read(stream: InputStream, size: int) -> bytes:
    """Return ``size`` bytes, fewer only where the stream ends: one read may bring less."""
    data: bytes = stream.read(size)
    while data and len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            break
        data += more
    return data


def parse(data: bytes, schema: type[Schema]) -> Schema:
    """Return ``data`` as ``schema``; raises as ``read`` does."""
    if len(data) > MAX_BODY_BYTES:
        raise PayloadTooLarge
    try:
        found = _SCANNER.decode(data.decode())
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None
    except (json.JSONDecodeError, RecursionError):
        raise Malformed("The body is not JSON.") from None
    if type(found) is not dict:
        raise InvalidInput.of("body", "must be a JSON object")
    # The fields that may be number literals: the text of an amount is its exact value.
    amount, rate = found.get("amount"), found.get("rate_limit")
    if type(amount) is Number:
        found["amount"] = amount.text
    if type(rate) is Number and _WHOLE.fullmatch(rate.text):
        found["rate_limit"] = int(rate.text)
    return typed(found, schema)


def typed(found: dict[str, Any], schema: type[Schema]) -> Schema:
    """Return fields by name as ``schema``.

    Raises:
        InvalidInput: names every field that is missing or of another type, and the first
            unknown ones.
    """
    try:
        return msgspec.convert(found, schema)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter for half a surrogate pair
        raise InvalidInput(_problems(found, schema)) from None


def _problems(found: dict[str, Any], schema: type[Schema]) -> list[FieldError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(schema)}
    unknown = islice((name for name in found if name not in fields), _MOST_UNKNOWN)
    problems = [FieldError(shown(name), "is not a known field") for name in unknown]
    for name, field in fields.items():
        if name not in found:
            if field.required:
                problems.append(FieldError(name, "is required"))
            continue
        try:
            msgspec.convert(found[name], field.type)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            problems.append(FieldError(name, _sentence(error, field.type)))
    return problems


def _choices(wanted: Any) -> list[str]:
    """Return the values of a ``Literal``, also of one that may be ``None``."""
    if get_origin(wanted) is Literal:
        return list(get_args(wanted))
    return [choice for part in get_args(wanted) for choice in _choices(part)]


def _sentence(error: Exception, wanted: Any) -> str:
    """Return msgspec's message as a predicate in JSON's words: must be `string`, not `number`."""
    if isinstance(error, UnicodeEncodeError):
        return "must not hold half a surrogate pair"
    text = str(error).partition(" - at `")[0]
    if text.startswith("Invalid enum value"):
        return f"must be one of: {', '.join(_choices(wanted))}"
    for theirs, ours in _WORDS:
        text = text.replace(theirs, ours)
    return shown(text[0].lower() + text[1:])


def shown(text: str) -> str:
    """Return foreign text fit for an answer: short, printable, without lone surrogates."""
    return text[:200].encode("ascii", "backslashreplace").decode()
