"""Writes ``docs/configuration.md`` and ``.env.example`` from the table of settings.

``python -m standart.config [--env-example] [--check FILE]``
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from standart.setting_kinds import Setting
from standart.setting_sources import DATABASE, ENVIRONMENT_FILE

Table = Mapping[str, tuple[Setting, str]]
"""Name of a setting's field → its description and its default as text."""

_INTRODUCTION = f"""\
# Configuration

<!-- Made by `python -m standart.config`; change the table in standart/config.py instead. -->

Settings come from the environment; in development the command line reads `.env` as well.

- Each `NAME` can also be given as `NAME_FILE`, the path of a file that holds the value. Setting
  both is refused.
- An empty value counts as absent.
- Where `{DATABASE}` is absent, what is not set is read from `{ENVIRONMENT_FILE}` in the data
  folder, which a running `standart up` leaves there. So every command finds its engines.
- A value that makes no sense is refused at start, with one line that names the variable and the
  remedy.

`standart settings` prints all of them with source and default, secrets masked.

"""

_OWN_WORDS = {
    "database_url": "required",
    "migration_database_url": f"the value of `{DATABASE}`",
    "secret_key": "required",
    "encryption_keys": "required",
    "metrics_port": "off",
    "rate_limit": "off",
    "four_eyes_above": "off",
    "seal_anchor": "none",
    "webhook_allowed_networks": "none",
}


def markdown(table: Table) -> str:
    """Return ``docs/configuration.md``: one section for each setting."""
    sections = []
    for name, (setting, default) in table.items():
        shown = _OWN_WORDS.get(name) or f"`{default}`"
        form = setting.kind.form
        sections.append(
            f"## {setting.variable}\n\n{setting.help}\n\n- Value: {form}\n- Default: {shown}\n"
        )
    return _INTRODUCTION + "\n".join(sections)


def env_example(table: Table) -> str:
    """Return ``.env.example``: what is required is empty, the rest a comment."""
    blocks = ["# Copy to .env and fill in; docs/configuration.md explains each setting.\n"]
    for name, (setting, default) in table.items():
        required = _OWN_WORDS.get(name) == "required"
        lines = textwrap.wrap(f"{setting.help} Value: {setting.kind.form}.", 96)
        assignment = f"{setting.variable}={default}"
        comment = "".join(f"# {line}\n" for line in lines)
        blocks.append(f"{comment}{'' if required else '# '}{assignment}\n")
    return "\n".join(blocks)


def main(arguments: Sequence[str], table: Table) -> int:
    """Print a document, or with ``--check`` return 1 where a file differs from it."""
    parser = argparse.ArgumentParser(prog="python -m standart.config")
    parser.add_argument("--env-example", action="store_true", help="write .env.example instead")
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare, exit 1 when stale")
    options = parser.parse_args(arguments)
    text = env_example(table) if options.env_example else markdown(table)
    if options.check is None:
        sys.stdout.write(text)
        return 0
    if options.check.is_file() and options.check.read_text(encoding="utf-8") == text:
        return 0
    flag = " --env-example" if options.env_example else ""
    sys.stderr.write(
        f"{options.check} is stale: python -m standart.config{flag} > {options.check}\n"
    )
    return 1
