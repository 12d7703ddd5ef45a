"""Icons drawn into the page: the shapes of Tabler (MIT, ``icons/LICENSE.txt``), no font."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

from markupsafe import Markup

_SHAPES: Final = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


@cache
def icon(name: str) -> Markup:
    """Return an icon of ``icons/``; it says nothing by itself, so words stand beside it.

    Raises:
        FileNotFoundError: there is no such icon.
    """
    source = files("standart.admin").joinpath("icons", f"{name}.svg").read_text(encoding="utf-8")
    found = _SHAPES.search(source)
    shapes = found[1] if found else ""
    return Markup(  # noqa: S704  # a file of the package
        f'<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">{shapes}</svg>'
    )
