"""Standart's own create statement as a pgbench script."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import make_url, text

from standart.db import HotStatement

_BIND = re.compile(r"%\((\w+)\)s")
_LITERAL = re.compile(r"'(?:[^']|'')*'")

# pgbench's variables hold no NULL; this makes one, and what is given stays a parameter for
# the planner, as it is in the service.
_ABSENT = "-"
_OPTIONAL = f"nullif(:{{name}}, '{_ABSENT}')"


def pgbench_script(
    statement: HotStatement, values: Mapping[str, str | None], drawn: Mapping[str, str]
) -> tuple[str, list[str]]:
    """Return a script that runs ``statement``, and the options of pgbench that it needs.

    ``values`` are the same in each run (``None`` is NULL), as PostgreSQL reads them from
    text. ``drawn`` are new in each run: expressions of pgbench, or of SQL where they start
    with ``SQL``.

    Raises:
        ValueError: a parameter of the statement has no value, or one drawn by SQL is used
            more than once, so that its uses would differ.
    """
    dialect = make_url("postgresql+psycopg://").get_dialect()()
    compiled = str(text(statement.text).compile(dialect=dialect))
    names = _BIND.findall(compiled)
    if unknown := set(names) - values.keys() - drawn.keys():
        raise ValueError(f"no value for {', '.join(sorted(unknown))}")

    def bind(match: re.Match[str]) -> str:
        name = match[1]
        expression = drawn.get(name, "")
        if expression.startswith("SQL "):
            if names.count(name) > 1:
                raise ValueError(f"{name} is used more than once and cannot be drawn by SQL")
            return expression.removeprefix("SQL ")
        if name in values and values[name] is None:
            return _OPTIONAL.format(name=name)
        return f":{name}"

    sql = _BIND.sub(bind, _LITERAL.sub(_hide_colons, compiled)).replace("%%", "%")
    lines = [
        f"\\set {name} {expression}"
        for name, expression in drawn.items()
        if not expression.startswith("SQL ")
    ]
    options = [
        f"--define={name}={_ABSENT if value is None else value}"
        for name, value in values.items()
        if name in names
    ]
    return "\n".join([*lines, f"{sql};", ""]), options


def _hide_colons(literal: re.Match[str]) -> str:
    """Write colons inside a literal as escapes: pgbench would take ``:MI`` for a variable."""
    text = literal[0]
    if ":" not in text:
        return text
    return "E" + text.replace("\\", "\\\\").replace(":", "\\072")
