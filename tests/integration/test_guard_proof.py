"""``verify`` names a guard that was replaced, hollowed out or passed by, and accuses no other."""

from __future__ import annotations

from importlib import import_module

import pytest
from sqlalchemy import Engine, text

from standart.services import verify_service
from standart.services.findings import Finding
from tests.integration.books import findings

HOLLOW = "LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
GUARDED = "BEFORE UPDATE ON transactions FOR EACH ROW"

# What a superuser did to the guards, and who is named for it; rolled back.
PASSED_BY = {
    "a body that lets everything pass": (
        [f"CREATE OR REPLACE FUNCTION standart_refuse() RETURNS trigger {HOLLOW}"],
        "guards_are_as_made: standart_refuse()",
    ),
    "a check that finds all well": (
        [
            (
                "CREATE OR REPLACE FUNCTION standart_reconciliation_is_whole(r reconciliations)"
                " RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'"
            )
        ],
        "guards_are_as_made: standart_reconciliation_is_whole(reconciliations)",
    ),
    "a body of former days": (
        [
            import_module(
                "standart.migrations.versions.0005_book_guards"
            ).TWO_PAIRS_OF_HANDS.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
        ],
        "guards_are_as_made: standart_check_hands()",
    ),
    "an owner's function that looks names up elsewhere": (
        [
            (
                "ALTER FUNCTION standart_purge_events(timestamptz, integer)"
                " SET search_path = pg_temp, pg_catalog"
            )
        ],
        "guards_are_as_made: standart_purge_events(timestamptz, int4)",
    ),
    "an owner's function with the caller's rights": (
        ["ALTER FUNCTION standart_note_particulars() SECURITY INVOKER"],
        "guards_are_as_made: standart_note_particulars()",
    ),
    "a function that is gone": (
        ["DROP FUNCTION standart_reseal_destinations"],
        "guards_are_on: standart_reseal_destinations(_uuid, _uuid, _bytea, _bytea, text, text)",
    ),
    "a trigger with another condition": (
        [
            "DROP TRIGGER transactions_final ON transactions",
            (
                f"CREATE TRIGGER transactions_final {GUARDED} WHEN (NEW.amount < 0)"
                " EXECUTE FUNCTION standart_refuse('a terminal status and the terms of a"
                " transaction are final')"
            ),
        ],
        "guards_are_as_made: transactions transactions_final",
    ),
    "a trigger of fewer columns": (
        [
            "DROP TRIGGER entries_append_only ON entries",
            (
                "CREATE TRIGGER entries_append_only BEFORE UPDATE OF line ON entries FOR EACH ROW"
                " EXECUTE FUNCTION standart_refuse('history is append-only')"
            ),
        ],
        "guards_are_as_made: entries entries_append_only",
    ),
    "a trigger that calls somebody else": (
        [
            f"CREATE FUNCTION pass() RETURNS trigger {HOLLOW}",
            "DROP TRIGGER journals_dated ON journals",
            (
                "CREATE TRIGGER journals_dated BEFORE INSERT ON journals FOR EACH ROW"
                " EXECUTE FUNCTION pass()"
            ),
        ],
        "guards_are_as_made: journals journals_dated",
    ),
    "a trigger that changes what is written": (
        [
            f"CREATE FUNCTION skim() RETURNS trigger {HOLLOW}",
            "CREATE TRIGGER a_skim BEFORE INSERT ON payouts FOR EACH ROW EXECUTE FUNCTION skim()",
        ],
        "guards_are_as_made: payouts a_skim",
    ),
    "a rule that throws away what is written": (
        ["CREATE RULE lost AS ON INSERT TO audit_log DO INSTEAD NOTHING"],
        "guards_are_as_made: audit_log lost",
    ),
    "a policy that hides rows": (
        ["CREATE POLICY hidden ON journals USING (entry_count > 2)"],
        "guards_are_as_made: journals hidden",
    ),
    "a trigger that is gone": (
        ["DROP TRIGGER seals_step ON seals"],
        "guards_are_on: seals seals_step",
    ),
    "a database without triggers": (
        ["ALTER DATABASE {database} SET session_replication_role = replica"],
        "guards_are_on: session_replication_role",
    ),
    "a role without triggers": (
        ["ALTER ROLE {role} SET session_replication_role = replica"],
        "guards_are_on: session_replication_role",
    ),
    "a revision nobody knows": (
        ["UPDATE alembic_version SET version_num = '9999'"],
        "guards_are_as_made: alembic_version",
    ),
    "no revision": (["DELETE FROM alembic_version"], "guards_are_as_made: alembic_version"),
}


def found_after(superuser: Engine, statements: list[str], **names: str) -> list[Finding]:
    with superuser.connect() as connection:
        for statement in statements:
            connection.execute(text(statement.format(**names)))
        found = list(verify_service.verify(connection))
        connection.rollback()
    return found


@pytest.mark.parametrize("way", PASSED_BY)
def test_a_guard_that_was_passed_by_is_named(superuser: Engine, engine: Engine, way: str) -> None:
    statements, named = PASSED_BY[way]
    names = {"database": superuser.url.database or "", "role": engine.url.username or ""}

    found = found_after(superuser, statements, **names)

    assert [f"{each.invariant}: {each.subject}" for each in found] == [named]
    assert findings(engine) == []


def test_an_older_database_is_held_against_its_own_guards(
    superuser: Engine, engine: Engine
) -> None:
    guards = import_module("standart.migrations.versions.0005_book_guards")
    former = guards.TWO_PAIRS_OF_HANDS.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
    older = ["UPDATE alembic_version SET version_num = '0010'", former]

    def hands(statements: list[str]) -> list[str]:
        found = found_after(superuser, statements)
        return [each.detail for each in found if each.subject == "standart_check_hands()"]

    assert hands(older) == []
    assert hands(older[:1]) == ["is not as its migration made it"]
    assert hands(older[1:]) == ["is not as its migration made it"]


def test_a_trigger_of_the_operator_that_changes_nothing_is_let_be(
    superuser: Engine, engine: Engine
) -> None:
    watching = [
        f"CREATE FUNCTION watch() RETURNS trigger {HOLLOW}",
        "CREATE TRIGGER a_watch AFTER INSERT ON payouts FOR EACH ROW EXECUTE FUNCTION watch()",
    ]
    assert found_after(superuser, watching) == []
