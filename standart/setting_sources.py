"""Where the text of a setting is found: environment, ``NAME_FILE``, a running tree's file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from standart.errors import ConfigurationError
from standart.setting_kinds import FOLDER

DATABASE = "DATABASE_URL"
DATA_DIR = "STANDART_DATA_DIR"
DEFAULT_DATA_DIR = Path("./.standart")

ENVIRONMENT_FILE = "environment"
"""The file in the data folder through which other commands find a running tree."""


@dataclass(frozen=True, slots=True)
class Found:
    """A text that somebody set, and where: ``environment`` or the path of a file."""

    text: str
    source: str


def find(environ: Mapping[str, str], variables: Iterable[str]) -> dict[str, Found]:
    """Return which of ``variables`` are set, unparsed; an empty text counts as absent.

    Raises:
        ConfigurationError: a variable is set twice, or a file cannot be read.
    """
    found = {name: hit for name in variables if (hit := _in_environment(environ, name))}
    if DATABASE in found:
        return found
    folder = FOLDER.read(DATA_DIR, found[DATA_DIR].text) if DATA_DIR in found else DEFAULT_DATA_DIR
    left = _in_data_dir(folder)
    return {name: left[name] for name in variables if name in left} | found


def _in_environment(environ: Mapping[str, str], variable: str) -> Found | None:
    text = environ.get(variable, "").strip()
    path = environ.get(f"{variable}_FILE", "").strip()
    if text and path:
        raise ConfigurationError(
            variable, f"is set, and so is {variable}_FILE", "Keep one of the two"
        )
    if path:
        text = _read(Path(path), f"{variable}_FILE").strip()
        if not text:
            raise ConfigurationError(
                f"{variable}_FILE", f"{path} is empty", "Write the value into that file"
            )
    return Found(text, path or "environment") if text else None


def _in_data_dir(folder: Path) -> dict[str, Found]:
    path = folder / ENVIRONMENT_FILE
    try:
        if not path.exists():
            return {}
    except OSError:
        # A folder that must not even be looked into: reading says so in words.
        pass
    pairs = (line.partition("=") for line in _read(path, DATA_DIR).splitlines())
    return {name: Found(text.strip(), str(path)) for name, _, text in pairs if text.strip()}


def _read(path: Path, variable: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigurationError(
            variable,
            f"{path} cannot be read ({reason})",
            "Let it name what this user may read",
        ) from None
