"""The guards of the tables: that all are there, are on, and are those that migrations made.

Rows can be checked again; what must never happen to a row leaves none that is wrong. So what
refuses it is compared itself: a function that lets everything pass keeps its name.
``guards.csv`` has the digest of each function and trigger as a freshly migrated database has
it, by the migration that made it so, so that an older database is held against its own.
Renew it after a migration that changes a guard:
``RENEW_GUARDS=1 .venv/bin/python -m pytest -n 0 tests/migration/test_guard_digests.py``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from sqlalchemy import Connection, text

from standart import migrations
from standart.services.findings import Finding
from standart.services.proof.schema import rules, tables

INVARIANTS: Final = ("guards_are_on", "guards_are_as_made")

_EXPECTED: Final = """
    SELECT w.table_name, w.rule FROM unnest(CAST(:tables AS text[]), CAST(:rules AS text[]))
        AS w (table_name, rule)"""

# Constraints and indexes by their names, then whatever is there and does not work. A setting
# that every session begins with switches triggers off and leaves no mark on them.
_OFF: Final = text(
    f"""
    SELECT w.table_name || ' ' || w.rule AS subject, 'is missing' AS detail
    FROM ({_EXPECTED}) AS w
    WHERE NOT EXISTS (SELECT FROM pg_constraint c
            WHERE c.conrelid = to_regclass(w.table_name) AND c.conname = w.rule)
        AND NOT EXISTS (SELECT FROM pg_index i JOIN pg_class k ON k.oid = i.indexrelid
            WHERE i.indrelid = to_regclass(w.table_name) AND k.relname = w.rule)
    UNION ALL
    SELECT conrelid::regclass || ' ' || conname, 'was never checked on old rows'
    FROM pg_constraint WHERE NOT convalidated AND connamespace = 'public'::regnamespace
    UNION ALL
    SELECT i.indrelid::regclass || ' ' || i.indexrelid::regclass, 'is broken'
    FROM pg_index i JOIN pg_class k ON k.oid = i.indexrelid
    WHERE NOT (i.indisvalid AND i.indisready) AND k.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT tgrelid::regclass || ' ' || tgname, 'is switched off'
    FROM pg_trigger t JOIN pg_class k ON k.oid = t.tgrelid
    WHERE tgenabled NOT IN ('O', 'A') AND k.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'session_replication_role', 'switches triggers off in each new session'
    FROM pg_settings WHERE name = 'session_replication_role' AND reset_val = 'replica'
    UNION ALL
    SELECT 'session_replication_role', 'switches triggers off in sessions of '
        || coalesce(pg_get_userbyid(nullif(s.setrole, 0)), 'this database')
    FROM pg_db_role_setting s
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        AND 'session_replication_role=replica' = ANY (s.setconfig)
    ORDER BY 1, 2
    """
)

# Everything that says what a guard does, by names: numbers of rows and columns are others in
# a copy. A condition is compared without brackets and casts, which a restore may write anew.
_MADE: Final = r"""
    SELECT p.proname || '(' || (SELECT coalesce(string_agg(y.typname, ', ' ORDER BY a.place), '')
            FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, place)
            JOIN pg_type y ON y.oid = a.type) || ')' AS guard,
        concat_ws('|', l.lanname, p.prokind, p.prosecdef, p.proisstrict, p.proretset,
            p.provolatile, r.typname, p.pronargdefaults, array_to_string(p.proargnames, ','),
            coalesce(array_to_string(p.proconfig, ','), ''), p.prosqlbody IS NULL, p.prosrc) AS made
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_type r ON r.oid = p.prorettype
    WHERE p.pronamespace = 'public'::regnamespace AND starts_with(p.proname, 'standart_')
    UNION ALL
    SELECT c.relname || ' ' || t.tgname,
        concat_ws('|', n.nspname, p.proname, t.tgtype, t.tgconstraint <> 0, t.tgdeferrable,
            t.tginitdeferred, encode(t.tgargs, 'hex'), coalesce(t.tgnewtable, ''),
            coalesce(t.tgoldtable, ''),
            (SELECT coalesce(string_agg(a.attname, ',' ORDER BY a.attname), '')
                FROM pg_attribute a WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr)),
            CASE WHEN t.tgqual IS NULL THEN '' ELSE coalesce(regexp_replace(
                substring(pg_get_triggerdef(t.oid) FROM ' WHEN \((.*)\) EXECUTE FUNCTION '),
                '::(character varying|text)(\[\])?|[()\s]', '', 'g'), '?') END)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace"""

THERE: Final = text(
    f"SELECT guard, encode(sha256(convert_to(made, 'UTF8')), 'hex') AS digest FROM ({_MADE}) AS m"
)
"""Each guard that is there, and its digest."""

# What changes or hides a row as it is written or read, and is none of ours.
_FOREIGN: Final = text(
    """
    SELECT c.relname || ' ' || t.tgname AS subject
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND t.tgtype::int & 2 > 0 AND c.relname = ANY (:tables)
        AND c.relnamespace = 'public'::regnamespace
        AND c.relname || ' ' || t.tgname <> ALL (:guards)
    UNION ALL
    SELECT c.relname || ' ' || r.rulename
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    WHERE c.relname = ANY (:tables) AND c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT c.relname || ' ' || p.polname
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE c.relname = ANY (:tables) AND c.relnamespace = 'public'::regnamespace
    ORDER BY 1
    """
)

_REVISION: Final = text("SELECT version_num FROM alembic_version")


def check(connection: Connection) -> Iterator[Finding]:
    """Yield every breach of ``INVARIANTS``; ``connection`` holds one snapshot."""
    expected = [(table.name, rule) for table in tables() for rule in rules(table)]
    bound = {
        "tables": [table for table, _ in expected],
        "rules": [rule for _, rule in expected],
    }
    for row in connection.execute(_OFF, bound):
        yield Finding("guards_are_on", row.subject, row.detail)
    revision = connection.scalar(_REVISION)
    if revision in migrations.revisions():
        yield from _made(connection, expected_at(revision))
    else:
        told = f"is {revision}, which this version does not know: prove it with the one that does"
        yield Finding("guards_are_as_made", "alembic_version", told)


def _made(connection: Connection, expected: Mapping[str, str]) -> Iterator[Finding]:
    there = {row.guard: row.digest for row in connection.execute(THERE)}
    for guard, digest in expected.items():
        if guard not in there:
            yield Finding("guards_are_on", guard, "is missing")
        elif there[guard] != digest:
            yield Finding("guards_are_as_made", guard, "is not as its migration made it")
    bound = {"tables": [table.name for table in tables()], "guards": list(expected)}
    for row in connection.execute(_FOREIGN, bound):
        yield Finding("guards_are_as_made", row.subject, "is none of ours")


def expected_at(revision: str) -> dict[str, str]:
    """Return the digest of each guard of a database that is at ``revision``."""
    found = {}
    for guard, digests in known().items():
        made = max((each for each in digests if each <= revision), default=None)
        if made is not None and digests[made]:
            found[guard] = digests[made]
    return found


@cache
def known() -> Mapping[str, Mapping[str, str]]:
    """Return the digests of each guard by the revision that made it so, none where it ended.

    A function is named with the types that it takes, a trigger behind its table.
    """
    listed = files("standart.services.proof").joinpath("guards.csv").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = {}
    for row in csv.DictReader(listed.splitlines()):
        found.setdefault(row["guard"], {})[row["revision"]] = row["digest"]
    return found
