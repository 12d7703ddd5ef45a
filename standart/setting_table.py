"""All settings as `standart settings` and the panel show them, and names that no setting has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from standart import setting_kinds as kinds
from standart.config import REQUIRED, SETTINGS, VARIABLES, default_text
from standart.setting_kinds import Setting
from standart.setting_sources import find

_OF_COMMANDS = frozenset({"STANDART_API_KEY"})  # what a command reads as an option of its own


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as ``standart settings`` shows it; ``value`` is masked where secret."""

    variable: str
    value: str
    source: str
    default: str
    help: str


def describe(environ: Mapping[str, str] | None = None) -> list[Row]:
    """Return a row for each setting, ``source`` being ``default`` or ``missing`` if unset.

    Values are shown as they were written, so that a wrong one can be seen as well.

    Raises:
        ConfigurationError: a variable is set twice, or a file cannot be read.
    """
    found = find(os.environ if environ is None else environ, VARIABLES)
    rows = []
    for name, setting in SETTINGS.items():
        default = default_text(name)
        hit = found.get(setting.variable)
        if hit is not None:
            value, source = _shown(setting, hit.text), hit.source
        else:
            value, source = default, "missing" if name in REQUIRED else "default"
        rows.append(Row(setting.variable, value, source, default, setting.help))
    return rows


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the ``STANDART_*`` variables that no setting reads: typing errors, mostly."""
    known = {name + suffix for name in VARIABLES for suffix in ("", "_FILE")} | _OF_COMMANDS
    given = os.environ if environ is None else environ
    return sorted(name for name in given if name.startswith("STANDART_") and name not in known)


def _shown(setting: Setting, text: str) -> str:
    """Return what may be shown of a setting's text: of any URL all but login and parameters."""
    is_url = setting.kind in (kinds.DATABASE_URL, kinds.REDIS_URL) and "://" in text
    return kinds.MASK if setting.secret and not is_url else kinds.shown_url(text)
