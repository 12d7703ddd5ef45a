"""Sentences that rooms below the panel say in English, and the panel in its viewer's language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self


class Phrase(str):
    """An English sentence that knows what it was made of; everywhere else a text as any other.

    ``template`` is what the catalogues know, ``values`` stand for its ``%(name)s``: texts,
    numbers, phrases, or tuples of phrases, which are written one after the other.
    """

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, /, **values: object) -> Self:
        """Without ``values`` a ``%`` stands for itself."""
        shown = {name: joined(value) for name, value in values.items()}
        made = super().__new__(cls, template % shown if shown else template)
        made.template, made.values = template, values
        return made


def joined(value: object) -> object:
    """Return a value as a template takes it: of a tuple its parts with commas between them."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
