"""Reading the query string: UTF-8, each parameter once, none that is not known."""

from __future__ import annotations

from collections import Counter
from typing import Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from flask import request

from standart.api.body import shown, typed
from standart.api.schemas import NoQuery
from standart.errors import FieldError, InvalidInput

_MOST_PARAMETERS: Final = 50

Schema = TypeVar("Schema", bound=msgspec.Struct)


def read(schema: type[Schema]) -> Schema:
    """Return the query of the current request as ``schema``.

    Raises:
        InvalidInput: a parameter is unknown, repeated, missing or malformed.
    """
    try:
        pairs = parse_qsl(
            request.query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise InvalidInput.of("query", "must be percent-encoded UTF-8 of few parameters") from None
    names = Counter(name for name, _ in pairs)
    repeated = [FieldError(shown(name), "is given twice") for name in names if names[name] > 1]
    if repeated:
        raise InvalidInput(repeated)
    return typed(dict(pairs), schema)


def refuse() -> None:
    """Refuse any query parameter where none is known.

    Raises:
        InvalidInput: names the parameters.
    """
    if request.environ.get("QUERY_STRING"):
        read(NoQuery)
