"""JSON with one form for each value (RFC 8785), and a reader that takes nothing else for JSON.

Only what receipts are made of: texts, whole numbers, null, objects and arrays. Two readers
that disagree about a file would let one signature stand for two contents, so what they could
disagree about (a key twice, ``NaN``, halves of surrogate pairs) is no JSON here.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

MAX_SAFE: Final = 2**53 - 1
"""The largest whole number that every reader of JSON reads exactly."""

_LONGEST_NUMBER: Final = 17

# Escapes what RFC 8785 wants escaped and nothing else.
_TEXT: Final = json.JSONEncoder(ensure_ascii=False).encode


class NotJson(ValueError):
    """The bytes are no JSON that everybody reads alike; the message says what is wrong."""


def canonical(value: Any) -> bytes:
    """Return the one form of ``value`` in UTF-8: keys in order, no spaces.

    Raises:
        ValueError: ``value`` holds something that has no place in a receipt.
    """
    return _written(value).encode("utf-8")


def _written(value: Any) -> str:
    if value is None:
        return "null"
    kind = type(value)
    if kind is str:
        return _TEXT(value)
    if kind is int and -MAX_SAFE <= value <= MAX_SAFE:
        return str(value)
    if kind is list:
        return "[" + ",".join(_written(each) for each in value) + "]"
    if kind is dict:
        members = sorted(value.items(), key=_place)
        return "{" + ",".join(f"{_written(name)}:{_written(each)}" for name, each in members) + "}"
    raise ValueError(f"{kind.__name__} has no place in a receipt")


def _place(member: tuple[str, Any]) -> bytes:
    """Return what members are sorted by: the UTF-16 code units of their names."""
    return member[0].encode("utf-16-be")


def parse(data: bytes) -> Any:
    """Return what ``data`` says.

    Raises:
        NotJson: it is no JSON, or JSON that readers read differently.
    """
    try:
        text = data.decode("utf-8")
        # A scanner reads halves of surrogate pairs out of escapes; no text has them.
        found = _SCANNER.decode(text)
        canonical(found)
    except UnicodeDecodeError:
        raise NotJson("not UTF-8") from None
    except UnicodeEncodeError:
        raise NotJson("half a surrogate pair") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except NotJson:
        raise
    except ValueError as error:
        raise NotJson(str(error)) from None
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("a key is there twice")
    return found


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER or abs(int(text)) > MAX_SAFE or text == "-0":
        raise NotJson("a number that readers may round")
    return int(text)


def _fraction(text: str) -> NoReturn:
    raise NotJson("a number that is not whole")


def _constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")


_SCANNER: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_whole,
    parse_float=_fraction,
    parse_constant=_constant,
)
