"""A pen for pages: the fonts of a PDF document, measured and drawn text.

All lengths are in points, x from the left, y from the bottom of the page.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Literal

from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

Weight = Literal["regular", "bold"]
Colour = Literal["ink", "soft", "faint", "ground", "line", "accent"]

ELLIPSIS = "…"

# What nearly all texts are made of; the fonts have all of it.
_PLAIN = re.compile("[ -~\xa0А-яЁё«»№·–−…]*").fullmatch

# The colours of the panel, so that paper and screen look like one house.
_COLOURS: dict[Colour, tuple[float, float, float]] = {
    "ink": (0.09, 0.125, 0.173),
    "soft": (0.341, 0.38, 0.435),
    "faint": (0.62, 0.66, 0.71),
    "ground": (0.925, 0.937, 0.953),
    "line": (0.847, 0.871, 0.906),
    "accent": (0.106, 0.341, 0.702),
}


@dataclass(frozen=True, slots=True)
class Style:
    """How a text looks: weight, size in points, colour."""

    weight: Weight = "regular"
    size: float = 7
    colour: Colour = "ink"


class Face:
    """A font that is embedded: what it can show and how wide that is."""

    def __init__(self, weight: Weight) -> None:
        self.name = f"DejaVuSansCondensed-{weight}"
        file = "DejaVuSansCondensed-Bold.ttf" if weight == "bold" else "DejaVuSansCondensed.ttf"
        with as_file(files("standart.documents").joinpath("fonts", file)) as path:
            font = TTFont(self.name, str(path))
        registerFont(font)
        self._widths: dict[int, float] = font.face.charWidths
        self._glyphs: dict[int, int] = font.face.charToGlyph

    def width(self, text: str, size: float) -> float:
        """Return how wide ``text`` is at ``size``."""
        widths = self._widths
        return sum(widths[ord(each)] for each in text) * size / 1000

    def printable(self, text: str) -> str:
        """Return ``text`` as it can be shown.

        Marks that only direct the flow of text are left out, so that none turns its
        neighbours around; what has no glyph becomes a replacement character.
        """
        if _PLAIN(text):
            return text
        return "".join(self._shown(text))

    def _shown(self, text: str) -> Iterator[str]:
        for each in text:
            category = unicodedata.category(each)
            if category == "Cf":
                continue
            # ReportLab writes no valid name for a character beyond the first 65,536: it would
            # be seen, but neither found nor copied.
            known = category not in ("Cc", "Cs") and each <= "\uffff"
            yield each if known and ord(each) in self._glyphs else "\N{REPLACEMENT CHARACTER}"


@cache
def face(weight: Weight) -> Face:
    """Return the font of ``weight``, read once."""
    return Face(weight)


def width(text: str, style: Style) -> float:
    """Return how wide ``text`` is, shown as it can be shown."""
    own = face(style.weight)
    return own.width(own.printable(text), style.size)


def cut(text: str, room: float, style: Style) -> str:
    """Return ``text``, with an ellipsis instead of its end if it is wider than ``room``."""
    [line] = wrap(text, [room], style)
    return line


def wrap(text: str, rooms: list[float], style: Style) -> list[str]:
    """Return ``text`` in as many lines as it needs, each no wider than its room.

    It is broken between any two characters, since references are no prose. What the last
    room cannot hold is cut with an ellipsis.
    """
    own = face(style.weight)
    rest = own.printable(text)
    lines: list[str] = []
    for place, room in enumerate(rooms):
        if own.width(rest, style.size) <= room:
            return [*lines, rest]
        last = place == len(rooms) - 1
        room -= own.width(ELLIPSIS, style.size) if last else 0
        fits = 0
        used = 0.0
        while fits < len(rest) and (used := used + own.width(rest[fits], style.size)) <= room:
            fits += 1
        lines.append(rest[:fits] + (ELLIPSIS if last else ""))
        rest = rest[fits:].lstrip(" ")
    return lines


def words(text: str, room: float, style: Style) -> list[str]:
    """Return ``text`` broken into lines no wider than ``room``: between words, or where it must."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width(longer, style) <= room:
            lines[-1] = longer
        else:
            lines += wrap(word, [room] * max(1, len(word)), style)
    return lines


class Pen:
    """Writes on a canvas, page by page.

    A page's texts are one text object, drawn above its boxes when the page is finished: that
    is half the work of drawing each by itself. Font and colour are set where they change.
    """

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self._texts = canvas.beginText()
        self._style: Style | None = None

    def left(self, x: float, y: float, text: str, style: Style) -> None:
        """Write ``text`` from ``x`` on."""
        self._write(x, y, face(style.weight).printable(text), style)

    def right(self, x: float, y: float, text: str, style: Style) -> None:
        """Write ``text`` so that it ends at ``x``."""
        own = face(style.weight)
        shown = own.printable(text)
        self._write(x - own.width(shown, style.size), y, shown, style)

    def box(self, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        """Fill a rectangle whose lower left corner is at ``x``, ``y``."""
        self.canvas.setFillColorRGB(*_COLOURS[colour])
        self.canvas.rect(x, y, wide, high, stroke=0, fill=1)

    def rule(self, x: float, y: float, wide: float, thick: float, colour: Colour) -> None:
        """Draw a line from ``x`` to the right, below ``y``."""
        self.box(x, y - thick, wide, thick, colour)

    def next_page(self) -> None:
        """Finish the page; the next one begins without font or colour."""
        self.canvas.drawText(self._texts)
        self.canvas.showPage()
        self._texts = self.canvas.beginText()
        self._style = None

    def _write(self, x: float, y: float, text: str, style: Style) -> None:
        before = self._style
        if before is None or (before.weight, before.size) != (style.weight, style.size):
            self._texts.setFont(face(style.weight).name, style.size)
        if before is None or before.colour != style.colour:
            self._texts.setFillColorRGB(*_COLOURS[style.colour])
        self._style = style
        self._texts.setTextOrigin(x, y)
        self._texts.textOut(text)
