"""What an audit record changed: only the fields that differ, what is secret masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from standart.observability import masked

# By this part of it a key is known; it opens nothing.
_KNOWN_BY: Final = frozenset({"prefix"})
# That it was changed is told, never to what.
_FLAGS: Final = frozenset({"password_changed", "headers_changed"})

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One field: ``key`` is the last part of ``path``, by which it has its words.

    ``was_there`` and ``is_there`` tell a field that is absent from one that holds nothing.
    """

    path: str
    key: str
    before: object
    after: object
    was_there: bool
    is_there: bool


def changes_of(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, object_id: str = ""
) -> list[Change]:
    """Return the fields that differ, in their order; the object's own id is no news."""
    old, new = dict(_flat(before or {})), dict(_flat(after or {}))
    return [
        _change(path, old.get(path, _MISSING), new.get(path, _MISSING))
        for path in dict.fromkeys([*new, *old])
        if old.get(path, _MISSING) != new.get(path, _MISSING) and new.get(path) != object_id
    ]


def clean(content: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a whole side of a record with what is secret masked."""
    return None if content is None else {key: _masked(key, it) for key, it in content.items()}


def _change(path: str, before: object, after: object) -> Change:
    key = path.rpartition(".")[2]
    return Change(
        path,
        key,
        before=None if before is _MISSING else _masked(key, before),
        after=None if after is _MISSING else _masked(key, after),
        was_there=before is not _MISSING,
        is_there=after is not _MISSING,
    )


def _masked(key: str, value: object) -> object:
    if key in _KNOWN_BY or key in _FLAGS:
        return value
    return masked(key, value)


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
