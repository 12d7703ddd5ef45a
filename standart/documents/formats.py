"""The formats of a statement: what each is made by, is called, and holds at most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Final, Protocol, cast

from standart.documents.statement import Foot, Head, Movement
from standart.documents.words import Lang


class Render(Protocol):
    """Yields a document in pieces; the foot is asked for behind the last movement."""

    def __call__(
        self, head: Head, movements: Iterable[Movement], foot: Callable[[], Foot], lang: Lang, /
    ) -> Iterator[bytes]:
        """Write a statement."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is written as it is read: ``most`` is how many movements it can hold.

    ``None`` is for any number, or where rendering itself refuses before the first piece.
    """

    name: str
    mimetype: str
    most: int | None = None

    def language(self, named: str | None, usual: str) -> Lang:
        """Return the language: the one that is ``named``, else the ``usual`` one of people.

        What programs read is in no language unless one is named.
        """
        wanted = named or (usual if self.name in ("xlsx", "pdf") else "en")
        return "ru" if wanted == "ru" else "en"

    @property
    def render(self) -> Render:
        """What makes the document; loaded when it is asked for, since some need much."""
        return cast("Render", import_module(f"standart.documents.{self.name}").render)


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        each.name: each
        for each in (
            Format("json", "application/json"),
            Format("csv", "text/csv; charset=utf-8"),
            Format(
                "xlsx",
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                most=10_000_000,
            ),
            Format("pdf", "application/pdf"),
        )
    }
)
"""All formats by name."""


def file_name(head: Head, format: Format) -> str:
    """Return a name for the document: letters, digits, dots and dashes of ASCII."""
    return f"statement-{head.number}.{format.name}"
