"""What the database's own rules say, checked again in all rows.

Foreign keys and unique keys do nothing while somebody has them switched off, and say nothing
about rows that came in then. The rules are taken from the models, not from the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import CheckConstraint, Connection, ForeignKeyConstraint, Table, text
from sqlalchemy import UniqueConstraint as Unique

from standart.db import DIALECT, Base
from standart.services.findings import Finding
from standart.services.proof import queries

INVARIANTS: Final = ("references_are_whole", "constraints_hold")


def check(connection: Connection) -> Iterator[Finding]:
    """Yield every breach of ``INVARIANTS``; ``connection`` holds one snapshot."""
    for table in tables():
        for query in _references(table):
            yield from queries.breaches(connection, query)
        yield from queries.breaches(connection, _conditions(table))
    _by_order(connection, "off")
    for table in tables():
        for query in _uniqueness(table):
            yield from queries.breaches(connection, query)
    _by_order(connection, "on")


def _by_order(connection: Connection, otherwise: str) -> None:
    # An index has its keys in order; hashes of millions of them cost five times as much.
    for way in ("enable_hashagg", "enable_sort"):
        connection.execute(text(f"SET LOCAL {way} = {otherwise}"))


def tables() -> list[Table]:
    """Return all tables of the service, without its views."""
    return [table for table in Base.metadata.sorted_tables if not table.info.get("is_view")]


def rules(table: Table) -> list[str]:
    """Return the names of the constraints and unique indexes of ``table``."""
    named = [str(each.name) for each in table.constraints]
    return sorted([*named, *(str(each.name) for each in table.indexes if each.unique)])


def _key(table: Table, alias: str) -> str:
    """SQL: a row's table and primary key."""
    columns = ", ".join(f"{alias}.{column.name}" for column in table.primary_key.columns)
    return f"'{table.name} ' || concat_ws('/', {columns})"


def _sql(expression: Any) -> str:
    compiled = expression.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True})
    # A colon of the expression is none of ours.
    return str(compiled).replace(":", r"\:").replace("%%", "%")


def _references(table: Table) -> Iterator[str]:
    for key in sorted(table.foreign_key_constraints, key=lambda each: str(each.name)):
        yield _reference(table, key)


def _reference(table: Table, key: ForeignKeyConstraint) -> str:
    pairs = [(each.parent.name, each.column.name) for each in key.elements]
    known = " AND ".join(f"c.{column} IS NOT NULL" for column, _ in pairs)
    same = " AND ".join(f"p.{theirs} = c.{ours}" for ours, theirs in pairs)
    return f"""
        SELECT 'references_are_whole', {_key(table, "c")},
            '{key.name}: names no row of {key.referred_table.name}'
        FROM {table.name} c
        WHERE {known} AND NOT EXISTS (SELECT FROM {key.referred_table.name} p WHERE {same})"""


def _uniqueness(table: Table) -> Iterator[str]:
    keys: list[tuple[str, list[str], str | None]] = [
        (str(table.primary_key.name), [each.name for each in table.primary_key.columns], None)
    ]
    keys.extend(
        (str(constraint.name), [each.name for each in constraint.columns], None)
        for constraint in table.constraints
        if isinstance(constraint, Unique)
    )
    for index in table.indexes:
        if index.unique:
            where = index.dialect_options["postgresql"]["where"]
            columns = [_sql(each) for each in index.expressions]
            keys.append((str(index.name), columns, None if where is None else _sql(where)))
    for name, columns, where in sorted(keys):
        listed = ", ".join(columns)
        known = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        yield f"""
        SELECT 'constraints_hold', '{table.name} ' || concat_ws('/', {listed}),
            '{name}: ' || count(*) || ' rows are alike'
        FROM {table.name} WHERE {known} AND ({where or "true"})
        GROUP BY {listed} HAVING count(*) > 1"""


def _conditions(table: Table) -> str:
    conditions = {
        str(each.name): f"({_sql(each.sqltext)})"
        for each in table.constraints
        if isinstance(each, CheckConstraint)
    }
    needed = [column.name for column in table.columns if not column.nullable]
    conditions["columns that must not be empty"] = f"(num_nulls({', '.join(needed)}) = 0)"
    broken = " OR ".join(f"{each} IS FALSE" for each in conditions.values())
    named = ", ".join(f"('{name}', {each})" for name, each in sorted(conditions.items()))
    return f"""
        SELECT 'constraints_hold', {_key(table, table.name)}, b.of_rule
        FROM (SELECT * FROM {table.name} WHERE {broken}) AS {table.name}
        CROSS JOIN LATERAL (VALUES {named}) AS b (of_rule, of_rule_holds)
        WHERE b.of_rule_holds IS FALSE"""
